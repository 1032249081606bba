"""A classifier on a stream, to which new classes come that nobody announced.

Handwritten digits arrive in batches, of three kinds at first; now and then a kind appears that was
never seen. The network then gets one more output and keeps what it has learnt: its weights are
copied into a larger one. Every batch is answered first and learnt from afterwards, so each answer
is on rows that are new. The means of the classes so far, of which the nearest answers, are what it
must beat.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

import fastnet as fn


def stream(batches: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of 32 images and digits, of three kinds at first and of ten at the end."""
    data = fn.data.load("digits")
    kinds = rng.permutation(10)
    for batch in range(batches):
        known = kinds[: 3 + 8 * batch // batches]
        rows = rng.choice(np.flatnonzero(np.isin(data.y, known)), 32)
        # No image comes twice: each is moved by up to a pixel, and is a little noisy.
        images = data.x[rows].reshape(-1, 8, 8)
        images = np.roll(images, rng.integers(-1, 2), axis=2)
        images = images + rng.normal(0, 0.1, images.shape)
        yield images.reshape(-1, 64).astype(np.float32), data.y[rows]


def grown(net: fn.Network) -> fn.Network:
    """Return the network with one more output; it answers the same between the old classes."""
    larger = fn.Network([64, 64, net.outputs + 1], output_activation="softmax", seed=net.outputs)
    larger.weights[0], larger.biases[0] = net.weights[0], net.biases[0]
    larger.weights[1][:, :-1] = net.weights[1]
    larger.biases[1][:-1] = net.biases[1]
    return larger


class NearestMean:
    """Answers with the class whose mean is nearest."""

    def __init__(self) -> None:
        self.sums = np.zeros((0, 64))
        self.counts = np.zeros(0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the class of each row."""
        means = self.sums / self.counts[:, None]
        return ((x[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)

    def learn(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add rows to the means of their classes."""
        more = y.max() + 1 - len(self.counts)
        if more > 0:
            self.sums = np.concatenate([self.sums, np.zeros((more, 64))])
            self.counts = np.concatenate([self.counts, np.zeros(more)])
        np.add.at(self.sums, y, x)
        np.add.at(self.counts, y, 1)


def main(quick: bool = False) -> None:
    """Follow the stream, and show how many answers were right since each new class."""
    optimizer = fn.Adam(3e-3)
    names: list[int] = []  # what each output of the network stands for, in the order of coming
    net, simple = None, NearestMean()
    right: dict[int, list[tuple[float, float]]] = {}
    for x, digits in stream(400 if quick else 2_000, np.random.default_rng(0)):
        if net is not None:
            answers = np.array(names)[net.predict(x).argmax(axis=1)]
            others = np.array(names)[simple.predict(x)]
            right.setdefault(len(names), []).append(
                (float(np.mean(answers == digits)), float(np.mean(others == digits)))
            )
        for digit in dict.fromkeys(digits.tolist()):
            if digit not in names:
                names.append(digit)
                if net is not None:
                    net = grown(net)
        if net is None:
            net = fn.Network([64, 64, len(names)], output_activation="softmax", seed=1)
        y = np.array([names.index(digit) for digit in digits])
        net.partial_fit(x, y, optimizer=optimizer)
        simple.learn(x, y)

    for kinds, scores in right.items():
        ours, theirs = np.mean(scores, axis=0)
        new = "" if kinds == 3 else f" since {names[kinds - 1]} came"
        print(f"{kinds:2} classes: fastnet {ours:.1%}, nearest mean {theirs:.1%}{new}")
    ours, theirs = np.mean([pair for scores in right.values() for pair in scores], axis=0)
    print(f"all answers: fastnet {ours:.1%}, nearest mean {theirs:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a shorter stream")
    main(**vars(parser.parse_args()))
