"""Small tables drawn from formulas, each with something that a default may stumble over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Columns = dict[str, Array]


@dataclass(frozen=True)
class Drawn:
    """Columns of inputs, and a target of classes or of numbers."""

    name: str
    columns: Columns
    target: Array
    classes: bool

    def __len__(self) -> int:
        return len(self.target)


def _named(x: Array) -> Columns:
    return {f"x{k}": column for k, column in enumerate(x.T)}


def _friedman1(r: np.random.Generator) -> tuple[Columns, Array]:
    x = r.uniform(size=(1_000, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    return _named(x), y + 10 * x[:, 3] + 5 * x[:, 4] + r.normal(size=1_000)


def _friedman(r: np.random.Generator) -> tuple[Columns, Array]:
    low, high = [0.0, 40 * np.pi, 0.0, 1.0], [100.0, 560 * np.pi, 1.0, 11.0]
    x = r.uniform(low, high, size=(1_000, 4))
    return _named(x), x[:, 1] * x[:, 2] - 1 / (x[:, 1] * x[:, 3])


def _friedman2(r: np.random.Generator) -> tuple[Columns, Array]:
    columns, inner = _friedman(r)
    return columns, np.hypot(columns["x0"], inner) + r.normal(0, 50, 1_000)


def _friedman3(r: np.random.Generator) -> tuple[Columns, Array]:
    columns, inner = _friedman(r)
    return columns, np.arctan(inner / columns["x0"]) + r.normal(0, 0.1, 1_000)


def _moons(r: np.random.Generator) -> tuple[Columns, Array]:
    side, angle = np.arange(400) % 2, np.pi * r.uniform(size=400)
    x = np.where(side, 1 - np.cos(angle), np.cos(angle)) + r.normal(0, 0.3, 400)
    y = np.where(side, 0.5 - np.sin(angle), np.sin(angle)) + r.normal(0, 0.3, 400)
    return {"x": x, "y": y}, side


def _texts_and_gaps(r: np.random.Generator) -> tuple[Columns, Array]:
    size, kind = (
        r.uniform(30, 200, 800),
        r.choice(["house", "flat", "loft"], 800, p=[0.4, 0.4, 0.2]),
    )
    town = r.choice(list("abcdefghij"), 800)
    price = 4 * size + (kind == "house") * (150 + 2 * size) + (town < "d") * 100
    words: Array = kind.astype(object)
    words[r.random(800) < 0.05] = None
    gaps = np.where(r.random(800) < 0.1, np.nan, size)
    columns = {"size": gaps, "kind": words, "town": town.astype(object)}
    return columns, price + r.normal(0, 40, 800)


def _imbalanced(r: np.random.Generator) -> tuple[Columns, Array]:
    x = r.normal(size=(1_500, 8))
    chance = 1 / (1 + np.exp(4 - 1.5 * x[:, 0] - x[:, 1]))
    return _named(x), (r.random(1_500) < chance).astype(np.int64)


def _forty_rows(r: np.random.Generator) -> tuple[Columns, Array]:
    x = r.normal(size=(40, 4))
    return _named(x), x @ [2.0, 1.0, 0.0, -1.0] + r.normal(0, 0.5, 40)


def _wide(r: np.random.Generator) -> tuple[Columns, Array]:
    x = r.normal(size=(80, 10)) @ r.normal(size=(10, 200)) + 0.1 * r.normal(size=(80, 200))
    return _named(x), x[:, :10].sum(axis=1) + r.normal(size=80)


def _offset(r: np.random.Generator) -> tuple[Columns, Array]:
    z = r.normal(size=(300, 6))
    y = 1e6 + z @ [3.0, 2.0, 1.0, 0.0, -1.0, -2.0] + r.normal(size=300)
    return _named(z * [1, 10, 100, 0.1, 1e4, 1] + [0, 5, 1e3, 0, 1e6, 3]), y


def _counts(r: np.random.Generator) -> tuple[Columns, Array]:
    x = r.uniform(-1, 1, size=(1_000, 5))
    return _named(x), r.poisson(np.exp(1 + x[:, 0] + 0.5 * x[:, 1] ** 2)).astype(np.float64)


DRAWN: Final[dict[str, tuple[Callable[[np.random.Generator], tuple[Columns, Array]], bool]]] = {
    "Friedman 1": (_friedman1, False),
    "Friedman 2": (_friedman2, False),
    "Friedman 3": (_friedman3, False),
    "moons": (_moons, True),
    "texts and gaps": (_texts_and_gaps, False),
    "imbalanced": (_imbalanced, True),
    "forty rows": (_forty_rows, False),
    "wide": (_wide, False),
    "offset of 1e6": (_offset, False),
    "counts": (_counts, False),
}
"""The tables, and whether their targets are classes."""


def draw(name: str, seed: int = 0) -> Drawn:
    """Return the table of that name."""
    make, classes = DRAWN[name]
    columns, target = make(np.random.default_rng(seed))
    return Drawn(name, columns, target, classes)
