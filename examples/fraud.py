"""One payment in a hundred is a fraud: class weights, thresholds by cost, and true probabilities.

Payments are made up. A missed fraud costs its amount, and a payment that somebody looks at costs
4. With true probabilities the rule follows at once: look where ``probability * amount > 4``.
`calibrate` makes them truer, by a temperature that is fitted on payments that were held out. Class
weights let a network see more of the rare class, but multiply the odds of all its answers, which
no temperature undoes: divide the odds again, or find a threshold by trial. A logistic regression
is the simple answer.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastnet as fn

LOOK = 4.0
"""What it costs to look at a payment."""


def payments(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return payments of which about 1 % are frauds."""
    amount = rng.lognormal(3.8, 1.1, count)
    hour = rng.integers(0, 24, count)
    distance = rng.exponential(20, count) * (1 + 20 * (rng.random(count) < 0.06))
    recent = rng.poisson(1.5, count) + rng.poisson(6, count) * (rng.random(count) < 0.05)
    shop = rng.choice(["food", "fuel", "online", "travel"], count, p=[0.45, 0.2, 0.3, 0.05])
    # Far away from home is no matter on a journey; many payments within an hour are, at night.
    far, night = distance > 150, (hour < 6) | (hour > 22)
    score = -7.0 + 4.2 * far * (shop != "travel") + 0.7 * (recent - 2).clip(0) * (0.3 + night)
    score += 2.5 * (shop == "online") * (amount > 150) - 0.8 * (shop == "food")
    fraud = rng.random(count) < 1 / (1 + np.exp(-score))
    columns = {"amount": amount.round(2), "hour": hour, "km_from_home": distance.round()}
    columns |= {"payments_last_hour": recent, "shop": shop, "fraud": fraud}
    return pd.DataFrame(columns)


def cost(looked_at: np.ndarray, table: pd.DataFrame) -> float:
    """Return what a day of 1,000 payments costs: the frauds that got through, and the looking."""
    missed = table["amount"][table["fraud"] & ~looked_at].sum()
    return float((missed + LOOK * looked_at.sum()) / len(table) * 1_000)


def main(quick: bool = False) -> None:
    """Train with and without class weights, calibrate, choose thresholds, and add up the costs."""
    rng, epochs = np.random.default_rng(0), 10 if quick else 20
    train, held, test = (payments(n, rng) for n in (40_000, 20_000, 40_000))
    fraud = test["fraud"].to_numpy()
    print(f"{len(train):,} payments to learn from, {train['fraud'].mean():.1%} of them frauds")

    def network(class_weight: str | None) -> fn.Network:
        return fn.tables.train(
            train,
            "fraud",
            preset=None,
            hidden=[32, 32],
            activation="silu",
            optimizer=fn.Adam(fn.schedules.Cosine(5e-3, epochs=epochs)),
            epochs=epochs,
            class_weight=class_weight,
        )

    encode = make_column_transformer((OneHotEncoder(), ["shop"]), remainder=StandardScaler())
    logistic = make_pipeline(encode, LogisticRegression(max_iter=1_000))
    logistic.fit(train.drop(columns="fraud"), train["fraud"])

    plain, weighted = network(None), network("balanced")
    # `predict` gives a column of probabilities for each class, in the order of `label_names`.
    chances = {
        "logistic regression": logistic.predict_proba(test)[:, 1],
        "network": plain.predict(test)[:, 1],
        "network, class weights": weighted.predict(test)[:, 1],
    }
    print(f"calibrated by a temperature of {plain.calibrate(held, held['fraud']):.2f}")
    chances["network, calibrated"] = plain.predict(test)[:, 1]
    p, rare = chances["network, class weights"], train["fraud"].mean()
    odds = p / (1 - p) * rare / (1 - rare)  # "balanced" weighted frauds by (1 - rare) / rare
    chances["class weights undone"] = odds / (1 + odds)

    print(f"of {len(test):,} new payments {fraud.sum()} are frauds:")
    amount = test["amount"].to_numpy()
    for name, p in chances.items():
        print(
            f"{name:23} average precision {average_precision_score(fraud, p):.3f}, "
            f"log loss {log_loss(fraud, p):.4f}, {p.sum():5.0f} frauds expected"
        )
    print("cost of a thousand payments:")
    print(f"{'looking at none':33} {cost(np.zeros(len(test), bool), test):5.0f}")
    for name, p in chances.items():
        print(f"{name:33} {cost(p * amount > LOOK, test):5.0f}")
    # The threshold that would have cost least on the payments that were held out.
    on_held = weighted.predict(held)[:, 1] * held["amount"].to_numpy()
    limits = np.quantile(on_held, np.linspace(0.8, 1, 200))
    limit = min(limits, key=lambda limit: cost(on_held > limit, held))
    found = chances["network, class weights"] * amount > limit
    print(f"{'network, class weights, threshold':33} {cost(found, test):5.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer epochs")
    main(**vars(parser.parse_args()))
