"""What ``fastnet train`` decides by the number of rows, and what it says of it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from tests.cli.calling import run, succeed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1_000, 2))
NUMPY = ("--backend", "numpy")
SHORT = (*NUMPY, "--epochs", 2)


@pytest.fixture
def folder(empty_folder: Path) -> Path:
    y = X @ [1.0, -2.0] + 1e6
    for name, count in (("few", 60), ("some", 300), ("many", 1_000)):
        rows = (f"{a},{b},{c}\n" for (a, b), c in zip(X[:count], y, strict=False))
        Path(f"{name}.csv").write_text("a,b,y\n" + "".join(rows), encoding="utf-8")
    return empty_folder


def said(text: str) -> str:
    """Return the line about defaults, or nothing."""
    found = re.search(r"^defaults +(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("few", "--preset none, --epochs 2000, --batch-size 64, --validation 0"),
        ("some", "--preset none, --epochs 222, --batch-size 32, --validation 0.1"),
    ],
)
def test_a_plain_network_trains_as_long_as_the_rows_ask_for(
    name: str, expected: str, folder: Path
) -> None:
    text = succeed("train", f"{name}.csv", "--target", "y", "--hidden", 4, *NUMPY)
    text = text.replace("--preset none, ", "")
    assert said(text) == f"{expected.replace('--preset none, ', '')}, by the number of rows"
    net = fn.load("model.safetensors", backend="numpy")
    assert net.evaluate({"a": X[:, 0], "b": X[:, 1]}, X @ [1, -2] + 1e6, metrics=["r2"])["r2"] > 0.9


@pytest.mark.parametrize(
    ("options", "preset"),
    [
        ((), "tabular"),
        (("--hidden", "8"), "none"),
        (("--activation", "relu"), "none"),
        (("--optimizer", "adam"), "none"),
        (("--learning-rate", 0.1), "none"),
        (("--dropout", 0.1), "none"),
        (("--schedule", "step"), "none"),
        (("--batch-size", 500), "tabular"),
        (("--l2", 0.1), "tabular"),
    ],
)
def test_a_table_of_1000_rows_has_the_preset_unless_a_network_is_described(
    options: tuple[object, ...], preset: str, folder: Path
) -> None:
    text = succeed("train", "many.csv", "--target", "y", *options, *SHORT)
    assert said(text).startswith(f"--preset {preset}")
    assert ("cos_log" in text) == (preset == "tabular")


def test_what_is_given_is_no_default(folder: Path) -> None:
    given = ("--preset", "none", "--batch-size", 50, "--validation", 0.2)
    text = succeed("train", "some.csv", "--target", "y", *given, *SHORT)
    assert said(text) == ""
    assert "batches of 50, 2 epochs" in text
    other = succeed("train", "many.csv", "--target", "y", "--preset", "tabular", *SHORT)
    assert "--preset" not in said(other)


def test_arrays_have_scaled_targets(folder: Path) -> None:
    np.savez("a.npz", x=X, y=X @ [1.0, -2.0] + 1e6)
    text = succeed("train", "a.npz", "--hidden", 8, *NUMPY)
    assert float(re.search(r"validation r2 (\S+)", text)[1]) > 0.9
    assert fn.load("model.safetensors", backend="numpy").preprocessor.target.is_scaled


def test_a_constant_answer_that_is_as_good_is_pointed_out(folder: Path) -> None:
    rows = "".join(f"{k % 7},{'b' if k % 4 else 'a'}\n" for k in range(40))
    Path("sides.csv").write_text(f"x,side\n{rows}", encoding="utf-8")
    result = run("train", "sides.csv", "--target", "side", *SHORT)
    pattern = r"hint: training accuracy \S+ is not above that of always answering 'b', 0.7500: "
    assert re.search(pattern, result.stderr)
    assert "try it without --epochs" in result.stderr
    assert "hint" not in run("train", "sides.csv", "--target", "side", *SHORT, "--quiet").stderr
    noise = RNG.normal(size=(200, 2))
    lines = "".join(f"{a},{b}\n" for a, b in noise.tolist())
    Path("noise.csv").write_text(f"x,y\n{lines}", encoding="utf-8")
    options = ("--validation", 0.5, "--learning-rate", 3.0)
    stderr = run("train", "noise.csv", "--target", "y", *options, *SHORT).stderr
    assert re.search(r"hint: validation r2 -\S+ is worse than always answering the mean", stderr)


def test_a_network_that_learned_gets_no_hint(folder: Path) -> None:
    assert run("train", "some.csv", "--target", "y", "--hidden", 4, *NUMPY).stderr == ""


def test_yes_or_no_as_numbers_has_no_classes_to_name_in_a_hint(folder: Path) -> None:
    rows = "".join(f"{k % 7},{int(k % 5 > 0)}\n" for k in range(40))
    Path("bits.csv").write_text(f"x,bit\n{rows}", encoding="utf-8")
    options = ("--task", "regression", "--loss", "binary_cross_entropy")
    assert run("train", "bits.csv", "--target", "bit", *options, *SHORT).stderr == ""


def test_early_stopping_that_cannot_happen_is_pointed_out(folder: Path) -> None:
    for preset in ("none", "tabular"):
        options = ("--preset", preset, "--epochs", 2, "--early-stopping", 10)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            result = run("train", "some.csv", "--target", "y", *options, *NUMPY)
        assert "after 10 epochs without improvement cannot happen in 2 epochs" in result.stderr
