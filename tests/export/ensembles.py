"""Ensembles for the tests of export: every kind of answer, of arrays and of tables."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.target import TableTarget
from fastnet.tables import TablePreprocessor
from tests.exports import disturbed
from tests.networks import exact

RNG = np.random.default_rng(11)

# --- arrays ---------------------------------------------------------------------------------------

X = exact(RNG.normal(size=(23, 3)) * [1.0, 3.0, 0.5] + [0.5, -2.0, 9.0])
SCALERS = (None, ([0.25, -2.0, 8.5], [1.0, 2.0, 0.5]), ([0.5, -1.0, 9.0], [2.0, 4.0, 0.25]))


def member(
    seed: int, last: str, outputs: int, *, dtype: str, loss: Any = None, scaled: Any = None
) -> fn.Network:
    """Return a network for X; each seed has other layers and another way to standardise.

    `scaled` has center and scale of the targets.
    """
    hidden = [[fn.Dense(5, "tanh"), fn.BatchNorm("relu")], [fn.Residual([fn.Dense(3, "gelu")])]]
    layers = [*hidden[seed % 2], fn.Dense(4 + seed, "relu"), fn.Dense(outputs, last)]
    net = fn.Network(layers, inputs=3, dtype=dtype, seed=seed, backend="numpy")
    disturbed(net, seed, scaled=False)
    target = None
    if scaled is not None:
        target = TableTarget((), None, *(np.asarray(part, float) for part in scaled))
    chosen = SCALERS[seed % 3]
    net.preprocessor = Passthrough(3, target)
    if chosen is not None:
        net.preprocessor = Scaler(*map(np.asarray, chosen), target)
    net.loss = loss
    return net


def together(nets: Sequence[fn.Network], temperature: float | None = None) -> fn.Ensemble:
    ensemble = fn.Ensemble(nets, weights=np.arange(1, len(nets) + 1))
    ensemble.temperature = temperature
    return ensemble


def of_arrays(dtype: str) -> dict[str, fn.Ensemble]:
    """Return ensembles for X, with every kind of mean."""

    def some(last: str, outputs: int, count: int = 4, **how: Any) -> list[fn.Network]:
        return [member(k, last, outputs, dtype=dtype, **how) for k in range(count)]

    quantile = fn.losses.Quantile((0.1, 0.5, 0.9))
    normal: dict[str, Any] = {"loss": "gaussian_nll"}
    # Far from 0: of the means' digits in single precision nothing is left that tells them apart.
    units = [([1e6 + k, -3.0], [20.0 + k, 0.5 + k]) for k in range(3)]
    in_units = [member(k, "identity", 4, dtype=dtype, scaled=units[k], **normal) for k in range(3)]
    mixed = [
        member(k, "identity", 4, dtype=dtype, scaled=([2.0, -1.0], [1.5, 0.5]), **normal)
        for k in range(3)
    ]
    mixed[1].preprocessor = replace(mixed[1].preprocessor, target=None)  # learned as they are
    floored = some("identity", 4, **normal)
    floored[2].biases[-1][2:] = -300.0  # below the least variance
    two = [member(k, "identity", 2, dtype=dtype, scaled=unit) for k, unit in enumerate(units)]
    positive = [
        member(k, "softplus", 2, dtype=dtype, scaled=([0.0, 0.0], unit[1]))
        for k, unit in enumerate(units)
    ]
    return {
        "classes": together(some("softmax", 3)),
        "calibrated": together(some("softmax", 3), 1.7),
        "sharpened": together(some("softmax", 3), 0.4),
        "one_probability": together(some("sigmoid", 1), 2.5),
        "several_answers": together(some("sigmoid", 3), 0.7),
        "numbers": together(some("identity", 2)),
        "units": together(two),
        "units_after_an_activation": together(positive),
        "normal": together(floored),
        "normal_in_units": together(in_units),
        "normal_mixed": together(mixed),
        "quantiles": together(some("identity", 6, loss=quantile)),
        "one_member": together(some("softmax", 3, 1)),
        "one_at_a_temperature": together(some("softmax", 3, 1), 3.0),
        "one_normal": together(some("identity", 2, 1, **normal)),
    }


# --- tables ---------------------------------------------------------------------------------------

ROWS = 60
KINDS = ("flat", "house", "hut", "\N{SNOWMAN}")


def homes() -> dict[str, Any]:
    """Return a table with a column of every kind, and targets that follow from it."""
    rng = np.random.default_rng(3)
    table: dict[str, Any] = {
        "size": rng.normal(1e5, 300, ROWS),
        "gap": np.where(rng.random(ROWS) < 0.3, np.nan, rng.normal(size=ROWS)),
        "kind": rng.choice(np.array(KINDS, object), ROWS),
        "side": rng.choice(np.array(["left", "right"], object), ROWS),
        "flag": rng.choice(np.array(["yes", "no"], object), ROWS),
        "grade": rng.choice(np.array(["1", "2", "10"], object), ROWS),
    }
    table["side"][::7] = None
    size = table["size"] - 1e5
    table["price"] = 1e6 + 100 * size + 5e3 * (table["kind"] == "hut")
    table["rent"] = size + rng.normal(size=ROWS)
    table["class"] = np.where(size > 100, "dear", np.where(size > -100, "usual", "cheap"))
    return table


TABLE = homes()
TARGETS = ("price", "rent", "class")
ASKED: dict[str, list[Any]] = {
    "size": [1e5, None, 100250.5, 99500.0, 1e5, -1e300, 100001.0, 0.0],
    "gap": [0.5, None, np.nan, -1e8, 0.0, 1.0, None, -0.25],
    "kind": ["flat", None, "castle", "hut", "\N{SNOWMAN}", "", "house", " flat "],
    "side": ["left", None, "neither", "right", "left", "", None, "right"],
    "flag": ["yes", None, "no", "F", "1", "true", "off", None],
    "grade": ["1", "10", None, "7", "2", "", "10", "1"],
}


def train(target: Any, **how: Any) -> Any:
    """Return what one call of `fastnet.tables.train` makes, with weights that count."""
    names = [target] if isinstance(target, str) else target
    given = {"epochs": 1, "hidden": (6,), "preset": None, "batch_size": 32} | how
    given |= {"categorical": ["grade"], "backend": "numpy"}
    table = {name: v for name, v in TABLE.items() if name not in TARGETS or name in names}
    with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):
        made = fn.tables.train(table, target, **given)
    for k, net in enumerate(made if isinstance(made, fn.Ensemble) else [made]):
        values = np.asarray(net.parameters)
        size = 0.2 if len(values) < 2000 else 0.02
        noise = size * np.random.default_rng(k).standard_normal(len(values))
        net.parameters[...] = np.where(values == 0, 0, values + noise)
    return made


def encoded_otherwise(net: fn.Network, table: Mapping[str, Any]) -> fn.Network:
    """Return a network with the target of another one, and an encoding of its own table."""
    assert net.preprocessor.target is not None
    with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):
        pre = TablePreprocessor.fit(table, categorical=["grade"] if "grade" in table else [])
    other = fn.Network([pre.inputs, 5, net.outputs], dtype=net.dtype, backend="numpy", seed=8)
    other.preprocessor = pre.with_target(net.preprocessor.target)
    other.loss, other.target_axes = net.loss, net.target_axes
    return disturbed(other, scaled=False)


def of_tables() -> dict[str, fn.Ensemble]:
    """Return ensembles for ASKED: encodings that members share, and several of them."""
    classes = train("class", n_estimators=3)
    calibrated = fn.Ensemble(classes.networks, weights=[3, 1, 2])
    calibrated.temperature = 1.3
    chosen = {name: v for name, v in TABLE.items() if name not in ("price", "rent")}
    price = train("price", n_estimators=2, dtype="float64")
    # Other columns, other categories, other spellings of two truths, and a column without values.
    some: dict[str, Any] = {name: TABLE[name][:40] for name in ("gap", "flag", "grade", "kind")}
    some["kind"] = np.where(some["kind"] == "hut", "cabin", some["kind"])
    some["flag"] = np.array(["true", "false"], object)[np.arange(40) % 2]
    some["side"] = np.full(40, None)
    other = encoded_otherwise(price[0], some)
    few = encoded_otherwise(price[0], {"side": ["right", "left", None], "size": [1.0, 2.0, 4.0]})
    return {
        "shared": classes,
        "calibrated_table": calibrated,
        "greedy": fn.Ensemble.greedy(classes, chosen, "class", rounds=5),
        "targets": train(["price", "rent"], n_estimators=2),
        "normal_table": train("price", n_estimators=3, loss="gaussian_nll"),
        "quantile_table": train("price", n_estimators=2, loss=fn.losses.Quantile([0.1, 0.9])),
        "best": train("price", preset="tabular-best", n_estimators=3),
        "best_classes": train("class", preset="tabular-best", n_estimators=2, dtype="float64"),
        "different": fn.Ensemble([*price, other, few], weights=[1, 1, 2, 1]),
    }


def expected(ensemble: fn.Ensemble, rows: Any) -> NDArray[Any]:
    """Return what an ensemble predicts, in the dtype of its networks."""
    with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):
        return ensemble.predict_columns(rows).astype(ensemble[0].dtype)
