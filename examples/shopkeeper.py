"""How much to order for tomorrow: learnt by a policy gradient and by deep Q-learning.

A shop sells fresh goods. Demand depends on the day of the week, a delivery costs a fee whatever
its size, and part of what is left spoils. The problem is small enough to be solved exactly, by
value iteration, so one sees how good the two agents are; what they must beat is to fill the shelf
to the same level every day, the best such level. Both agents are loops of `forward`, `backward`
and `update`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

import fastnet as fn

ROOM, ORDERS, DISCOUNT = 20, np.array([0, 4, 8, 12]), 0.95
DEMAND = np.array([3.0, 3.0, 3.0, 4.0, 7.0, 11.0, 0.0])
"""Customers on an average Monday, Tuesday, ...; the shop is closed on Sundays."""

Policy = Callable[[np.ndarray], np.ndarray]


def day(stock: np.ndarray, order: np.ndarray, demand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the profit of a day, and what is left in the evening."""
    filled = np.minimum(stock + order, ROOM)
    sold = np.minimum(filled, demand)
    left = filled - sold
    profit = 5 * sold - 2 * order - 3 * (order > 0) - 0.3 * left
    return profit, left - left // 4


def inputs(stock: np.ndarray, weekday: np.ndarray) -> np.ndarray:
    """Return what the agents see (N, 8): the stock, and which day it is."""
    return np.column_stack([stock / ROOM, np.eye(7)[weekday]]).astype(np.float32)


def profit_per_day(policy: Policy, weeks: int = 100) -> float:
    """Return what a policy (stock, weekday) -> order earns; all meet the same customers."""
    rng = np.random.default_rng(99)
    stock, total = np.zeros(64, int), 0.0
    for today in range(7 * weeks):
        order = policy(np.stack([stock, np.full(64, today % 7)]))
        profit, stock = day(stock, order, rng.poisson(DEMAND[today % 7], 64))
        total += profit.mean()
    return total / (7 * weeks)


def exact() -> np.ndarray:
    """Return the best order for each stock and weekday, by value iteration."""
    stock, order = np.arange(ROOM + 1)[:, None, None], ORDERS[None, :, None]
    customers = np.arange(40)
    profit, left = day(stock, order, customers[None, None, :])
    value = np.zeros((ROOM + 1, 7))
    for _ in range(400):
        quality = [
            (profit + DISCOUNT * value[left, (k + 1) % 7])
            @ np.array([math.exp(-m) * m**c / math.factorial(c) for c in range(40)])
            for k, m in enumerate(DEMAND)
        ]
        value = np.stack([q.max(axis=1) for q in quality], axis=1)
    return ORDERS[np.stack([q.argmax(axis=1) for q in quality], axis=1)]


def policy_gradient(rounds: int, rng: np.random.Generator) -> fn.Network:
    """Return a network that gives the probability of each order (REINFORCE with a baseline)."""
    net = fn.Network([8, 32, len(ORDERS)], activation="tanh", output_activation="softmax", seed=1)
    optimizer = fn.Adam(fn.schedules.Cosine(0.02, epochs=rounds))
    for _ in range(rounds):
        stock = rng.integers(0, ROOM, 64)
        seen, chosen, profits = [], [], []
        for today in range(35):
            seen.append(inputs(stock, np.full(64, today % 7)))
            p = net.predict(seen[-1])
            chosen.append((p.cumsum(axis=1) < rng.random((64, 1))).sum(axis=1).clip(max=3))
            profit, stock = day(stock, ORDERS[chosen[-1]], rng.poisson(DEMAND[today % 7], 64))
            profits.append(profit)
        future, returns = np.zeros(64), []
        for profit in reversed(profits):
            future = profit + DISCOUNT * future
            returns.insert(0, future)
        # Better or worse than the other shops on this day; the last week sees too little future.
        advantage = np.stack(returns[:28])
        advantage = advantage - advantage.mean(axis=1, keepdims=True)
        advantage = (advantage / advantage.std()).reshape(-1, 1)
        p = net.forward(np.concatenate(seen[:28]))
        taken = np.eye(len(ORDERS))[np.concatenate(chosen[:28])]
        # The derivative of -advantage * log p(taken) by the logits.
        net.backward(advantage * (p - taken) / len(p), logits=True)
        net.update(optimizer)
    return net


def q_learning(steps: int, rng: np.random.Generator) -> fn.Network:
    """Return a network that gives the value of each order (DQN: a memory and a slow copy)."""
    net = fn.Network([8, 64, 64, len(ORDERS)], seed=1)
    slow = net.copy()
    optimizer = fn.Adam(fn.schedules.Cosine(3e-3, epochs=steps))
    memory: list[tuple[np.ndarray, ...]] = []
    stock, weekday = rng.integers(0, ROOM, 32), rng.integers(0, 7, 32)
    for step in range(steps):
        x = inputs(stock, weekday)
        best, random = net.predict(x).argmax(axis=1), rng.integers(0, len(ORDERS), 32)
        choice = np.where(rng.random(32) < max(0.1, 1 - 2 * step / steps), random, best)
        profit, stock = day(stock, ORDERS[choice], rng.poisson(DEMAND[weekday]))
        weekday = (weekday + 1) % 7
        memory.append((x, choice, profit / 10, inputs(stock, weekday)))
        some = rng.integers(max(0, len(memory) - 1_000), len(memory), 8)
        x, choice, reward, then = (
            np.concatenate(part) for part in zip(*(memory[k] for k in some), strict=True)
        )
        target = reward + DISCOUNT * slow.predict(then).max(axis=1)
        quality = net.forward(x)
        rows = np.arange(len(x))
        slope = np.zeros_like(quality)  # Only the order that was tried has an error.
        slope[rows, choice] = (quality[rows, choice] - target).clip(-1, 1) / len(x)
        net.backward(slope)
        net.update(optimizer)
        if step % 50 == 0:
            slow.parameters = net.parameters
    return net


def main(quick: bool = False) -> None:
    """Let both agents learn, and show what they earn."""
    agents = {
        "policy gradient": policy_gradient(150 if quick else 600, np.random.default_rng(0)),
        "Q-learning": q_learning(1_500 if quick else 6_000, np.random.default_rng(0)),
    }

    def fill(level: int) -> Policy:
        return lambda s: ORDERS[np.abs(level - s[0] - ORDERS[:, None]).argmin(axis=0)]

    simple = max(profit_per_day(fill(level)) for level in range(2, ROOM, 2))
    table = exact()
    best = profit_per_day(lambda s: table[s[0], s[1]])
    print(f"filled to one level      {simple:.2f} a day")
    for name, net in agents.items():
        earned = profit_per_day(lambda s, net=net: ORDERS[net.predict(inputs(*s)).argmax(axis=1)])
        print(f"{name:24} {earned:.2f} a day")
    print(f"value iteration (exact)  {best:.2f} a day")
    print("orders of the policy gradient on Mondays to Sundays, with 0, 5 and 10 in stock:")
    for stock in (0, 5, 10):
        orders = agents["policy gradient"].predict(inputs(np.full(7, stock), np.arange(7)))
        print(f"{stock:2}: {ORDERS[orders.argmax(axis=1)]}, exact {table[stock]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less practice")
    main(**vars(parser.parse_args()))
