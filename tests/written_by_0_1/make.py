"""Writes the records of this folder: model files and checkpoints, and what comes of them.

Run it, with the replays of that day, in a checkout of commit d043997, whose files are recorded,
with all extras of the tests::

    python -m tests.written_by_0_1.make

It replaces ``models``, ``checkpoints``, ``histories`` and ``index.json`` beside itself. All rows
are drawn from fixed seeds. What the tests look at does not depend on where and when it runs, but
for the last bits of arithmetic; checkpoints and histories also hold the seconds that training took,
and checkpoints the versions and the width of the vectors that it was done with.

models/NAME.safetensors
    As ``net.save`` or ``fastnet train`` wrote it.
models/NAME.npz
    Parameters, running statistics, encoded inputs and what else is in the file, to the bit; and
    the predictions of the backends numba and numpy.
models/NAME.csv, .json, .npy
    The rows that are predicted, where they are no array (that is in the .npz).
checkpoints/NAME/run
    The folder of checkpoints as an interrupted run left it.
checkpoints/NAME/rows.*, expected.npz
    What it trains on, and what it ends with.
histories/*
    What ``fastnet train --history`` and ``--log`` wrote.
index.json
    What of all these is no array: names, kinds, texts.
"""

from __future__ import annotations

import csv
import json
import shutil
import signal
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from click.testing import CliRunner
from numpy.typing import NDArray

import fastnet as fn
from fastnet import checkpoint, training
from fastnet.cli import group
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from tests.written_by_0_1.contents import encoded, facts, held, labels, plain, predict
from tests.written_by_0_1.replays import COMMANDS, FITS, WRITERS, Fit, Seen, columns

HERE = Path(__file__).parent
BACKENDS = "numba", "numpy"
RNG = np.random.Generator

Array = NDArray[Any]
Made = tuple[fn.Network | Path, Any]
"""A network, or the model file that the command wrote; and the rows to predict."""

MODELS: dict[str, Callable[[RNG, Path], Made]] = {}


def model(function: Callable[[RNG, Path], Made]) -> Callable[[RNG, Path], Made]:
    """Add a function to `MODELS`, under its name with hyphens."""
    MODELS[function.__name__.replace("_", "-")] = function
    return function


# --- rows -----------------------------------------------------------------------------------------


def numbers(rng: RNG, rows: int, width: int) -> Array:
    """Return numbers of few digits, so that a text file of them is short."""
    return rng.normal(0, 1, (rows, width)).round(2) + 0.0


def quarters(rng: RNG, rows: int, width: int) -> Array:
    """Return such numbers with few bits, that take little room in a compressed file."""
    return rng.normal(0, 4, (rows, width)).round() / 4 + 0.0


def houses(rng: RNG, rows: int, *, gaps: bool = True) -> dict[str, list[Any]]:
    """Return a table of numbers, texts and truth values, from which price and rent follow."""
    size, floor = rng.normal(50, 20, rows).round(1), rng.integers(0, 6, rows)
    kind, new = rng.choice(["flat", "house", "Hütte"], rows), rng.choice(["yes", "no"], rows)
    price = 4000 + 30 * size - 50 * floor + 700 * (kind == "house") + rng.normal(0, 50, rows)
    table: dict[str, list[Any]] = {
        "size": size.tolist(),
        "floor": floor.tolist(),
        "kind": kind.tolist(),
        "new": new.tolist(),
        "lift": (floor > rng.integers(1, 4, rows)).tolist(),
        "price": price.round(0).tolist(),
        "rent": (price / 8 + 100 * (new == "yes")).round(1).tolist(),
        "grade": np.where(price > 5800, "dear", np.where(price > 5300, "fair", "cheap")).tolist(),
    }
    if gaps:
        table["size"][3::9] = [None] * len(table["size"][3::9])
        table["kind"][5::11] = [None] * len(table["kind"][5::11])
    return table


INPUTS = "size", "floor", "kind", "new", "lift"


def part(table: dict[str, list[Any]], *names: str) -> dict[str, list[Any]]:
    """Return some columns."""
    return {name: table[name] for name in names}


def odd(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the table with rows that training did not have: unknown, missing, far away."""
    last = {
        "size": [1e6, None, -3.0],
        "floor": [None, 40, 2],
        "kind": ["castle", None, "flat"],
        "new": ["no", None, "perhaps"],
        "lift": [True, None, False],
    }
    return {name: [*cells, *last[name]] for name, cells in table.items() if name in last}


def write_csv(path: Path, table: dict[str, list[Any]], *, header: bool = True) -> Path:
    """Write a table; a missing value is an empty cell."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if header:
            writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow(["" if cell is None else cell for cell in row])
    return path


def command(*words: object) -> str:
    """Run fastnet; return what it wrote."""
    result = CliRunner().invoke(group, [str(word) for word in words], prog_name="fastnet")
    assert result.exit_code == 0, result.output
    return result.stdout


def train(work: Path, data: Path, *options: object) -> Path:
    """Run ``fastnet train``; return the model file."""
    command("train", data, *options, "--out", work / "m.safetensors", "--backend", "numba")
    return work / "m.safetensors"


# --- networks of arrays ---------------------------------------------------------------------------

FAR = np.array([50, 0, -3])
NAMES = "rosa", "iris [blue]", "café, wild"


def by_sum(x: Array, classes: int) -> Array:
    """Return the class of each row, of about equally many each."""
    edges = np.quantile(x.sum(axis=1), np.linspace(0, 1, classes + 1)[1:-1])
    return np.searchsorted(edges, x.sum(axis=1))


@model
def classes_calibrated(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 90, 4)
    net = fn.Network([4, 6, 3], output_activation="softmax", seed=1, backend="numba")
    loss = fn.losses.CrossEntropy(label_smoothing=0.05)
    net.fit(x[:60], by_sum(x, 3)[:60], loss=loss, optimizer=fn.Adam(0.02), epochs=20)
    net.calibrate(x[60:], by_sum(x, 3)[60:])
    net.label_names = NAMES
    return net, numbers(rng, 9, 4)


@model
def normalised_float64(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 80, 4)
    layers = [
        fn.Dense(6, initializer="glorot_normal", blocks=((1, 2), (3, 4, "he_normal", 0.5))),
        fn.BatchNorm("gelu", momentum=0.2, epsilon=1e-4),
        fn.Dropout(0.2),
        fn.Dense(5, "selu", bias_initializer="standard_normal", weight_rate=0.5, bias_rate=2.0),
        fn.LayerNorm("mish", epsilon=1e-6),
        fn.Dropout(0.1),
        fn.Dense(3, bias_rate=0.0),
        fn.BatchNorm(),
        fn.LayerNorm(),
        fn.Dense(3, "softmax"),
    ]
    net = fn.Network(layers, inputs=4, dtype="float64", seed=2, backend="numba")
    net.fit(x, by_sum(x, 3), optimizer="adamw", epochs=6, batch_size=16)
    return net, numbers(rng, 9, 4)


@model
def standardised_huber(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 3) * [1, 100, 1e-3] + [5, 0, 7]
    net = fn.Network([3, 5, 1], activation="silu", seed=3, backend="numba")
    net.fit(x, x[:, 0] - 5, loss=fn.losses.Huber(0.7), epochs=10, standardize=True)
    return net, numbers(rng, 9, 3) * [1, 100, 1e-3] + [5, 0, 7]


@model
def standardised_gaussian_float64(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 3) + FAR
    net = fn.Network([3, 5, 4], activation="tanh", dtype="float64", seed=4, backend="numba")
    y = np.column_stack([x[:, 0] - FAR[0], x[:, 1] * x[:, 2]])
    net.fit(x, y, loss="gaussian_nll", epochs=20, batch_size=16, standardize=True)
    return net, numbers(rng, 9, 3) + FAR


@model
def untrained_every_activation(rng: RNG, work: Path) -> Made:
    kinds = [
        *("identity", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh"),
        *("sigmoid", "softplus", "exp"),
    ]
    starts = [
        *("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform"),
        *("lecun_normal", "normal", "standard_normal", "ones"),
    ]
    layers = [
        fn.Dense(3, kind, starts[k % len(starts)], bias_initializer="standard_normal")
        for k, kind in enumerate(kinds)
    ]
    layers.append(fn.Dense(2, "softmax", "zeros", bias_initializer="standard_normal"))
    layers[-2] = fn.Dense(3, "exp", "lecun_normal")
    net = fn.Network(layers, inputs=3, seed=2**64 - 1, backend="numba")
    net.parameters[-8:-2] = [0.5, -0.25, 1.0, 0.125, -1.0, 2.0]  # the last weights
    return net, numbers(rng, 9, 3)


@model
def yes_or_no_outputs(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 80, 4)
    net = fn.Network([4, 5, 3], output_activation="sigmoid", seed=5, backend="numba")
    y = (x[:, :3] + x[:, 3:] > 0).astype(float)
    net.fit(x[:60], y[:60], loss=fn.losses.BinaryCrossEntropy(0.1), epochs=15, batch_size=16)
    net.calibrate(x[60:], y[60:])
    return net, numbers(rng, 9, 4)


@model
def yes_or_no_named(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 2)
    net = fn.Network([2, 4, 1], output_activation="sigmoid", seed=6, backend="numba")
    net.fit(x, x[:, 0] > 0, optimizer=fn.Adam(0.02), epochs=15, batch_size=16)
    net.label_names = "no", "yes"
    return net, numbers(rng, 9, 2)


@model
def counts_poisson(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 2)
    net = fn.Network([2, 4, 1], output_activation="exp", seed=7, backend="numba")
    net.fit(x, rng.poisson(np.exp(x[:, 0])), optimizer=fn.NAdam(0.01), epochs=10, batch_size=16)
    return net, numbers(rng, 9, 2)


@model
def quantiles_softplus(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 2)
    layers = [fn.Dense(5, "elu"), fn.Dense(6, "softplus")]
    net = fn.Network(layers, inputs=2, seed=8, backend="numba")
    loss = fn.losses.Quantile((0.05, 0.5, 0.9))
    net.fit(x, np.abs(x) + 1, loss=loss, optimizer=fn.RMSprop(0.01), epochs=10, batch_size=16)
    return net, numbers(rng, 9, 2)


@model
def linear_mae_lbfgs(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 40, 3)
    net = fn.Network([3, 2], seed=9, backend="numba")
    net.fit(x, x[:, :2] * 2 + 1, loss="mae", optimizer=fn.LBFGS(l2=0.01), epochs=10)
    return net, numbers(rng, 9, 3)


@model
def stream_of_partial_fit(rng: RNG, work: Path) -> Made:
    net = fn.Network([3, 4, 2], activation="leaky_relu", seed=10, backend="numba")
    for _ in range(5):
        x = numbers(rng, 8, 3)
        net.partial_fit(x, x[:, :2], optimizer="lion")
    return net, numbers(rng, 9, 3)


@model
def regressor_standardised(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 3)
    options = {"standardize": True, "random_state": 11, "epochs": 8, "normalization": "layer"}
    made = FastNetRegressor((4,), dtype="float32", backend="numba", **options).fit(x, x[:, 0])
    return made.network_, numbers(rng, 9, 3)


# --- the command, without --table -----------------------------------------------------------------


def flowers(rng: RNG, rows: int) -> dict[str, list[Any]]:
    """Return a table without gaps."""
    k = rng.integers(0, 3, rows)
    colour = np.where(k == 0, "blue", rng.choice(["red", "white, mostly"], rows))
    length, width = ((2 * k + rng.normal(0, 1.2, rows)).round(2).tolist() for _ in range(2))
    species = [NAMES[i] for i in k]
    return {"length": length, "colour": colour.tolist(), "width": width, "species": species}


@model
def command_flowers_calibrated(rng: RNG, work: Path) -> Made:
    data = write_csv(work / "flowers.csv", flowers(rng, 90))
    given = "--target", "species", "--hidden", 5, "--epochs", 10, "--batch-size", 16
    more = "--validation", 0.2, "--calibrate", "--dropout", 0.1, "--learning-rate", 0.02
    made = train(work, data, *given, *more)
    rows = part(flowers(rng, 9), "width", "length", "colour")  # found by name
    rows["colour"][4] = "a new one"
    return made, write_csv(work / "rows.csv", rows)


@model
def command_two_targets(rng: RNG, work: Path) -> Made:
    data = write_csv(work / "houses.csv", houses(rng, 60, gaps=False))
    given = "--target", "price,rent", "--hidden", 5, "--epochs", 20, "--batch-size", 16
    given = *given, "--learning-rate", 0.1
    made = train(work, data, *given, "--loss", "quantile", "--log", HERE / "histories/log.jsonl")
    return made, write_csv(work / "rows.csv", houses(rng, 9, gaps=False))


@model
def command_without_a_header(rng: RNG, work: Path) -> Made:
    table, rows = flowers(rng, 60), part(flowers(rng, 9), "length", "colour", "width")
    table["species"] = [7 if name == "rosa" else -1 for name in table["species"]]
    table["colour"][0] = rows["colour"][0] = "5"  # a first row of numbers is no header
    data = write_csv(work / "plain.csv", table, header=False)
    given = "--target", "x3", "--hidden", 4, "--epochs", 15, "--loss", "binary_cross_entropy"
    made = train(work, data, *given, "--dtype", "float64")
    return made, write_csv(work / "rows.csv", rows, header=False)


@model
def command_matrix_of_classes(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 3)
    np.save(work / "m.npy", np.column_stack([by_sum(x, 3) * 5, x]))
    given = "--target", 0, "--hidden", 4, "--epochs", 10, "--learning-rate", 0.1
    made = train(work, work / "m.npy", *given)
    np.save(work / "rows.npy", numbers(rng, 9, 3))
    return made, work / "rows.npy"


@model
def command_digits(rng: RNG, work: Path) -> Made:
    made = train(work, Path("digits"), "--hidden", 3, "--epochs", 8, "--learning-rate", 0.02)
    np.save(work / "rows.npy", fn.data.load("digits").test.x[:6])
    return made, work / "rows.npy"


@model
def command_arrays_not_standardised(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 60, 3)
    np.savez(work / "m.npz", x=x, y=np.exp(x[:, 0]))
    given = "--no-standardize", "--loss", "poisson", "--hidden", "4,3", "--epochs", 10
    made = train(work, work / "m.npz", *given, "--activation", "gelu")
    np.save(work / "rows.npy", numbers(rng, 9, 3))
    return made, work / "rows.npy"


@model
def command_blocks(rng: RNG, work: Path) -> Made:
    x = numbers(rng, 90, 3)
    np.save(work / "m.npy", np.column_stack([x, x[:, 0] * x[:, 1]]))
    given = "--target", -1, "--block-rows", 32, "--batch-size", 16, "--hidden", 4
    made = train(work, work / "m.npy", *given, "--loss", "huber")
    np.save(work / "rows.npy", numbers(rng, 9, 3))
    return made, work / "rows.npy"


# --- tables ---------------------------------------------------------------------------------------


@model
def command_table_classes(rng: RNG, work: Path) -> Made:
    table = houses(rng, 80)
    table = part(table, *INPUTS, "grade") | {"empty": [None] * 80, "city": ["Ulm"] * 80}
    data = write_csv(work / "houses.csv", table)
    given = "--target", "grade", "--hidden", 6, "--epochs", 25, "--batch-size", 16
    made = train(work, data, *given, "--table", "--validation", 0.2, "--calibrate")
    rows = odd(part(houses(rng, 9), *INPUTS))
    rows = rows | {"empty": [None] * 12, "city": ["Ulm", None, "Bonn"] * 4}
    return made, write_csv(work / "rows.csv", rows)


@model
def command_table_numbers(rng: RNG, work: Path) -> Made:
    data = write_csv(work / "houses.csv", part(houses(rng, 80), *INPUTS, "price"))
    given = "--target", "price", "--hidden", 6, "--epochs", 25, "--batch-size", 16, "--table"
    more = "--early-stopping", 2, "--history", HERE / "histories/history.json"
    made = train(work, data, *given, *more, "--learning-rate", 0.2)
    return made, write_csv(work / "rows.csv", odd(part(houses(rng, 9), *INPUTS)))


@model
def command_table_without_a_header(rng: RNG, work: Path) -> Made:
    table = part(houses(rng, 60), "size", "kind", "floor")
    table["kind"] = [None if k is None else len(k) for k in table["kind"]]
    data = write_csv(work / "plain.csv", table, header=False)
    given = "--target", "x2", "--table", "--hidden", 5, "--epochs", 20
    made = train(work, data, *given, "--optimizer", "nadam", "--learning-rate", 0.1)
    rows = part(houses(rng, 9), "size", "kind")
    rows["kind"] = [None if k is None else len(k) for k in rows["kind"]]
    return made, write_csv(work / "rows.csv", rows, header=False)


@model
def command_table_matrix(rng: RNG, work: Path) -> Made:
    x = np.where(rng.random((60, 3)) < 0.1, np.nan, numbers(rng, 60, 3))
    np.save(work / "m.npy", np.column_stack([x, np.nan_to_num(x).sum(axis=1)]))
    given = "--target", -1, "--table", "--hidden", 5, "--loss", "mae", "--dtype", "float64"
    made = train(work, work / "m.npy", *given)
    np.save(work / "rows.npy", np.where(rng.random((9, 3)) < 0.2, np.nan, numbers(rng, 9, 3)))
    return made, work / "rows.npy"


@model
def command_preset_numbers(rng: RNG, work: Path) -> Made:
    data = write_csv(work / "houses.csv", part(houses(rng, 80), *INPUTS, "price"))
    given = "--target", "price", "--preset", "tabular", "--hidden", "8,8", "--epochs", 20
    made = train(work, data, *given, "--batch-size", 32)
    return made, write_csv(work / "rows.csv", odd(part(houses(rng, 9), *INPUTS)))


@model
def command_preset_classes(rng: RNG, work: Path) -> Made:
    data = write_csv(work / "houses.csv", part(houses(rng, 80), *INPUTS, "grade"))
    given = "--target", "grade", "--preset", "tabular", "--hidden", "6", "--epochs", 15
    made = train(work, data, *given, "--embedding-size", 2, "--batch-size", 32)
    return made, write_csv(work / "rows.csv", odd(part(houses(rng, 9), *INPUTS)))


@model
def command_piecewise(rng: RNG, work: Path) -> Made:
    table = part(houses(rng, 80), "size", "floor", "kind", "price")  # floors: bins without width
    data = write_csv(work / "houses.csv", table)
    given = "--target", "price", "--hidden", 4, "--epochs", 15, "--batch-size", 16
    more = "--numeric-embedding", "piecewise", "--embedding-size", 2
    made = train(work, data, *given, *more)
    return made, write_csv(work / "rows.csv", odd(part(houses(rng, 9), *INPUTS)))


def tabular(
    rng: RNG, target: Any, names: tuple[str, ...] = INPUTS, **options: Any
) -> tuple[fn.Network, dict[str, list[Any]]]:
    """Return what ``fn.tables.train`` makes of a data frame, and rows for it."""
    frame = pd.DataFrame(part(houses(rng, 80), *names, *np.atleast_1d(target)))
    given = {"epochs": 15, "hidden": (5,), "batch_size": 16, "backend": "numba"} | options
    return fn.tables.train(frame, target, **given), odd(part(houses(rng, 9), *names))


@model
def preset_classes(rng: RNG, work: Path) -> Made:
    return tabular(rng, "grade", hidden=(8, 8))


@model
def preset_numbers_periodic(rng: RNG, work: Path) -> Made:
    options = {"embedding_size": 3, "numeric_embedding": "periodic", "seed": 4}
    return tabular(rng, "price", ("size", "floor", "kind"), hidden=(6,), **options)


@model
def embedded_periodic(rng: RNG, work: Path) -> Made:
    options = {"embedding_size": 3, "numeric_embedding": "periodic", "preset": None}
    return tabular(rng, "grade", ("size", "kind"), **options)


@model
def embedded_piecewise_float64(rng: RNG, work: Path) -> Made:
    options = {"numeric_embedding": "piecewise", "preset": None, "dtype": "float64"}
    return tabular(rng, ["price", "rent"], ("floor", "kind", "new"), **options)


@model
def table_gaussian(rng: RNG, work: Path) -> Made:
    return tabular(rng, ["price", "rent"], preset=None, loss="gaussian_nll", seed=5)


@model
def table_quantiles(rng: RNG, work: Path) -> Made:
    loss = fn.losses.Quantile((0.25, 0.75))
    return tabular(rng, ["price", "rent"], preset=None, loss=loss)


@model
def table_yes_or_no_float64(rng: RNG, work: Path) -> Made:
    options = {"loss": "binary_cross_entropy", "preset": None, "dtype": "float64"}
    return tabular(rng, "new", ("size", "floor", "kind", "lift"), **options)


@model
def table_counts(rng: RNG, work: Path) -> Made:
    return tabular(rng, "floor", ("size", "kind"), task="regression", loss="poisson", preset=None)


@model
def table_truth_values(rng: RNG, work: Path) -> Made:
    return tabular(rng, "lift", ("size", "floor"), preset=None)


@model
def frame_scaled_target(rng: RNG, work: Path) -> Made:
    table = houses(rng, 60)
    frame = pd.DataFrame(part(table, *INPUTS))
    frame["rooms"] = pd.Categorical(rng.integers(1, 4, 60))  # numbers as categories
    frame["lift"] = frame["lift"].astype("boolean").mask(frame.index % 7 == 0)
    width = fn.tables.TablePreprocessor.fit(frame).inputs
    net = fn.Network([width, 5, 1], activation="tanh", seed=12, backend="numba")
    net.fit(frame, pd.Series(table["price"]), epochs=15, batch_size=16)
    rows = odd(part(houses(rng, 9), *INPUTS))
    return net, rows | {"rooms": ["1", "2", "3", None] * 3}


@model
def frame_of_class_numbers(rng: RNG, work: Path) -> Made:
    table = part(houses(rng, 60), "size", "kind")
    y = [0 if size is None else int(size > 50) + 1 for size in table["size"]]
    net = fn.Network([5, 5, 3], output_activation="softmax", seed=13, backend="numba")
    net.fit(table, y, epochs=15, batch_size=16)
    return net, odd(part(houses(rng, 9), "size", "kind"))


@model
def frame_of_several_yes_or_no(rng: RNG, work: Path) -> Made:
    table = part(houses(rng, 60), "size", "floor", "kind", "lift")
    table["large"] = [int(size is not None and size > 50) for size in table["size"]]
    net = fn.Network([6, 5, 2], output_activation="sigmoid", seed=14, backend="numba")
    net.fit(table, ["lift", "large"], epochs=15, batch_size=16)
    return net, odd(part(houses(rng, 9), "size", "floor", "kind"))


@model
def classifier_of_a_frame(rng: RNG, work: Path) -> Made:
    table = houses(rng, 60)
    options = {"random_state": 15, "epochs": 10, "table": True, "embedding_size": 2}
    made = FastNetClassifier((4,), dropout=0.1, backend="numba", **options)
    made.fit(pd.DataFrame(part(table, "size", "kind")), table["grade"])
    return made.network_, odd(part(houses(rng, 9), "size", "kind"))


def save(path: Path, **arrays: Array) -> None:
    """Write arrays, but for the empty ones."""
    np.savez_compressed(path, **{name: values for name, values in arrays.items() if values.size})


# --- models ---------------------------------------------------------------------------------------


def sure(net: fn.Network, outputs: Array) -> bool:
    """Return whether the labels stay the same if the last bits are others."""
    if net.label_names is None:
        return True
    outputs = outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])
    return bool((np.diff(np.sort(outputs, axis=1))[:, -1] > 1e-3).all())


def record_model(name: str, work: Path) -> dict[str, Any]:
    """Write the files of one model; return its entry in the index."""
    made, rows = MODELS[name](np.random.default_rng(zlib.crc32(name.encode())), work)
    path = HERE / "models" / f"{name}.safetensors"
    if isinstance(made, Path):
        shutil.copyfile(made, path)
        made = fn.load(path, backend="numba")
    else:
        made.save(path)
    read = fn.load(path, backend="numba")
    assert facts(read) == json.loads(json.dumps(facts(made)))
    assert all(np.array_equal(read_, held(made)[k]) for k, read_ in held(read).items())

    entry: dict[str, Any] = {"rows": None, **facts(made)}
    found = held(made)
    if isinstance(rows, Path):
        entry["rows"] = f"{name}{rows.suffix}"
        rows = shutil.copyfile(rows, path.with_suffix(rows.suffix))
        entry["command_names"], found["command"] = predict(path, rows, made)[::2]
    elif isinstance(rows, dict):
        entry["rows"] = f"{name}.json"
        file = path.with_suffix(".json")
        file.write_text(json.dumps(rows, ensure_ascii=False) + "\n", encoding="utf-8")
        frame, rows = pd.DataFrame(rows), columns(file)
        assert np.array_equal(made.predict(frame), made.predict(rows))
    else:
        found["x"] = rows
    rows, arrays = encoded(made, rows)
    for backend in BACKENDS:
        net = made.to(backend)
        arrays[backend] = net.predict(rows)
        if isinstance(net.loss, fn.losses.GaussianNLL):
            arrays[f"{backend}.std"] = net.predict(rows, return_std=True)[1]
        entry["answer_labels"] = labels(net, arrays[backend])
        assert sure(net, arrays[backend]), "a label hangs on the last bits"
    save(path.with_suffix(".npz"), **found, **arrays)
    return entry


# --- checkpoints ----------------------------------------------------------------------------------


def rows_of(name: str, place: Path) -> None:
    """Write what a run trains on."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name == "command-with-a-schema":
        write_csv(place / "rows.csv", flowers(rng, 60))
    elif name == "command-with-a-preset":
        write_csv(place / "rows.csv", whole(part(houses(rng, 80), *INPUTS, "price")))
    elif name == "table-early-stopping":
        table = whole(part(houses(rng, 80), *INPUTS, "price"))
        text = json.dumps(table, ensure_ascii=False)
        (place / "rows.json").write_text(text + "\n", encoding="utf-8")
    elif name == "blocks-in-a-window":
        x = numbers(rng, 66, 3)
        weight = rng.integers(0, 4, 66)
        np.save(place / "rows.npy", np.column_stack([x, np.sin(x.sum(axis=1)), weight]))
    elif name == "blocks-of-a-table":
        x = np.where(rng.random((60, 3)) < 0.15, np.nan, rng.integers(-9, 9, (60, 3)))
        np.save(place / "rows.npy", np.column_stack([x, np.nansum(x, axis=1)]))
    elif name == "every-layer-adam":
        x = quarters(rng, 50, 4)
        save(place / "rows.npz", x=x, y=by_sum(x, 3))
    else:
        x = quarters(rng, 48, 3)
        y = np.tanh(x[:, :1] - x[:, 1:2] * x[:, 2:]).round(2)
        held = {"x_val": x[40:], "y_val": y[40:]} if name.startswith(("sgd", "early")) else {}
        weight = {"sample_weight": rng.integers(1, 4, 40) / 2} if name.startswith("adamw") else {}
        save(place / "rows.npz", x=x[:40], y=y[:40], **held, **weight)


def whole(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the table with whole numbers: their quantiles have no rounding that could differ."""
    sizes = [None if size is None else round(size) for size in table["size"]]
    return table | {"size": sizes}


@contextmanager
def ctrl_c_after(batches: int | None) -> Iterator[None]:
    """Press Ctrl-C after so many batches of what is trained inside.

    Each batch is made a span of its own, and the signal comes right behind it: what is written
    then is what it is when somebody presses the keys.
    """
    before = training.FIRST_SPAN_FLOPS, training.SPAN_SECONDS, checkpoint.Keeper.after_span
    done = 0

    def after_span(keeper: Any, course: Any) -> None:
        nonlocal done
        before[2](keeper, course)
        done += 1
        if done == batches:
            signal.raise_signal(signal.SIGINT)

    training.FIRST_SPAN_FLOPS, training.SPAN_SECONDS = 0, 0
    checkpoint.Keeper.after_span = after_span  # type: ignore[method-assign]
    try:
        yield
    finally:
        training.FIRST_SPAN_FLOPS, training.SPAN_SECONDS = before[:2]
        checkpoint.Keeper.after_span = before[2]  # type: ignore[method-assign]


class Stop(fn.Callback):
    """Interrupts L-BFGS, which has no batches, between two checkpoints."""

    def on_epoch_end(self, run: fn.Run) -> None:
        if run.epoch == 7:
            signal.raise_signal(signal.SIGINT)


def another_start(network: fn.Network) -> None:
    """Change the weights that training begins with.

    A checkpoint does not tell what they were, and who goes on from it has the usual ones: so a run
    that only began anew, and took no notice of the checkpoint, ends elsewhere.
    """
    network.parameters *= 1.25


def record_fit(name: str, place: Path, work: Path) -> dict[str, Any]:
    """Interrupt a call of ``fit``, and tell what it had to end with."""
    run: Fit = FITS[name]
    backend = WRITERS.get(name, "numba")
    seen = Seen()
    interrupted = name != "early-stopped"
    with ctrl_c_after(run.stop):
        try:
            callbacks = (Stop(),) if name == "lbfgs" else ()
            run.run(place, place / "run", backend, start=another_start, callbacks=callbacks)
        except KeyboardInterrupt:
            assert interrupted
        else:
            assert not interrupted
    net = run.run(place, work / "alone", backend, start=another_start)
    shutil.copytree(place / "run", work / "run")
    gone_on = run.run(place, work / "run", backend, callbacks=(seen,), resume=True)
    assert np.array_equal(gone_on.parameters, net.parameters), name
    anew = run.run(place, work / "anew", backend)
    assert not np.allclose(anew.parameters, net.parameters, rtol=1e-3), name
    history = net.history
    assert history is not None
    records = {f"history.{key}": np.array(values) for key, values in history.items()}
    save(place / "expected.npz", parameters=net.parameters, state=net.state, **records)
    return {
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "stop_reason": history.stop_reason,
        "first": plain(seen.first),
        "epochs_left": seen.epochs,
    }


def record_command(name: str, place: Path, work: Path) -> dict[str, Any]:
    """Interrupt ``fastnet train``, and tell what it had to end with."""
    folders = [work / part for part in ("stopped", "alone", "more")]
    for folder in folders:
        folder.mkdir()
        shutil.copyfile(place / "rows.csv", folder / "rows.csv")
    with ctrl_c_after(COMMANDS[name].stop):
        COMMANDS[name].run(folders[0], "numba")
    shutil.copytree(folders[0] / "run", place / "run")
    shutil.copytree(folders[0] / "run", folders[2] / "run")
    net, epochs = COMMANDS[name].run(folders[1], "numba")
    gone_on, left = COMMANDS[name].run(folders[2], "numba", "--resume")
    assert np.array_equal(gone_on.parameters, net.parameters), name
    assert 0 < len(left) < len(epochs), (left, epochs)
    save(place / "expected.npz", parameters=net.parameters, state=net.state)
    return {"epochs_left": len(left)}


def main() -> None:
    """Write everything."""
    warnings.simplefilter("error")
    # A column without a value is ignored, as it should be.
    warnings.filterwarnings("ignore", message=".*has no value", category=fn.FastNetWarning)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    index: dict[str, Any] = {"models": {}, "checkpoints": {}, "histories": {}}
    for folder in index:
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    for name in MODELS:
        with tempfile.TemporaryDirectory() as work:
            index["models"][name] = record_model(name, Path(work))
    for name in (*FITS, *COMMANDS):
        place = HERE / "checkpoints" / name
        place.mkdir()
        record = record_fit if name in FITS else record_command
        with tempfile.TemporaryDirectory() as work:
            rows_of(name, place)
            index["checkpoints"][name] = record(name, place, Path(work))
    for path in sorted((HERE / "histories").iterdir()):
        read = fn.History.read(path)
        names = ("epochs", "records", "stop_reason", "best_epoch")
        index["histories"][path.name] = {name: getattr(read, name) for name in names}
    write_index({"fastnet": fn.__version__, **index})


def compact(value: Any) -> str:
    """Return JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_index(index: dict[str, Any]) -> None:
    """Write the index, a record in a line."""
    lines = ['{"fastnet": ' + json.dumps(index.pop("fastnet"))]
    for kind, records in index.items():
        rows = (f' "{k}": {compact(v)}' for k, v in records.items())
        lines.append(f'"{kind}": {{\n' + ",\n".join(rows) + "\n}")
    text = ",\n".join(lines) + "\n}\n"
    assert json.loads(text)
    (HERE / "index.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
