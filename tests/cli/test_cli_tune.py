"""``fastnet tune``: a search, its table, and the file of the ensemble that it finds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.tables.trainer import Trainer
from tests.cli.calling import NUMPY, predictions, refused, run, succeed

ROWS = 80
QUICK = ("--trials", 3, "--folds", 2, "--epochs", 2, *NUMPY)


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    size, kind = rng.normal(size=ROWS), rng.choice(["flat", "house"], ROWS)
    price = 3 * size + np.where(kind == "flat", 4.0, 0.0)
    sold = np.where(price > 2, "yes", "no")
    lines = [
        f"H{k},{1 + k % 3},{10 + k % 4},{size[k]:.5f},{kind[k]},{price[k]:.5f},{sold[k]}"
        for k in range(ROWS)
    ]
    text = "\n".join(["id,count,zip,size,kind,price,sold", *lines]) + "\n"
    Path("homes.csv").write_text(text, encoding="utf-8")
    return tmp_path


def found(*args: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(succeed("tune", "homes.csv", *args, "--json", *QUICK))
    return content


def test_it_is_the_search_of_python_and_saves_its_ensemble(homes: Path) -> None:
    roles = ("--id", "id", "--weight", "count", "--drop", "sold", "--categorical", "zip")
    said = found("--target", "price", *roles, "--seed", 4, "--metric", "mae")
    frame = fn.tables.read_frame("homes.csv", text_columns=lambda *_: {"zip"})
    tuned = fn.tables.tune(
        *(frame, "price"),
        **{"id": "id", "weight": "count", "drop": "sold", "categorical": "zip"},
        **{"trials": 3, "cv": 2, "epochs": 2, "seed": 4, "metrics": ["mae"], "backend": "numpy"},
    )
    for name, rows in (("trials", tuned.results), ("folds", tuned.fold_results)):
        assert [row | {"seconds": 0} for row in said[name]] == [
            {**row, "seconds": 0} for row in rows
        ]
    assert said["best"]["trial"] == tuned.best_trial["trial"]
    assert said["ensemble"] == {"networks": len(tuned), "out_of_fold": tuned.out_of_fold_scores}
    loaded = fn.Ensemble.load("model.safetensors", backend="numpy")
    assert np.array_equal(loaded.predict(frame), tuned.predict(frame))
    header, rows = predictions("model.safetensors", "homes.csv")
    assert header == ["id", "prediction"]
    assert rows[5][0] == "H5"
    scores = json.loads(succeed("evaluate", "model.safetensors", "homes.csv", "--json", *NUMPY))
    weight = 1 + np.arange(ROWS) % 3
    assert scores["metrics"]["r2"] == tuned.evaluate(frame, "price", sample_weight=weight)["r2"]


def test_classes_are_shown_as_a_table_and_a_page(homes: Path) -> None:
    options = ("--target", "sold", "--drop", "price,id", "--by", "accuracy")
    files = ("--out", "best.safetensors", "--html", "tune.html")
    result = run("tune", "homes.csv", *options, *files, *QUICK, "--class-weight", "balanced")
    assert result.exit_code == 0, result.output
    assert [line.split(",")[0].split(": ")[1] for line in result.stderr.splitlines()] == [
        f"trial {k}" for k in range(3)
    ]
    assert "label_smoothing" in result.stdout
    assert re.search(r"best of 3 trials in \S+ s: out-of-fold accuracy 0\.\d+, by", result.stdout)
    assert re.search(r"ensemble of \d trials?, \d networks: out-of-fold accuracy", result.stdout)
    assert "report tune.html" in result.stdout
    assert "model best.safetensors (" in result.stdout
    page = Path("tune.html").read_text(encoding="utf-8")
    assert "out-of-fold accuracy of the ensemble" in page
    assert "fastnet tune homes.csv" in page
    assert fn.Ensemble.load("best.safetensors").label_names == ("no", "yes")


def test_a_search_goes_on_with_resume(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--target", "price", "--drop", "id", "--checkpoint", "run")
    first = found(*options)
    assert "give resume=True (or --resume)" in refused("tune", "homes.csv", *options, *QUICK)
    monkeypatch.setattr(Trainer, "train", None)  # nothing is trained again
    again = found(*options, "--resume")
    for name in ("trials", "folds", "best", "ensemble"):
        assert again[name] == first[name]
    assert "another population" in refused(
        "tune", "homes.csv", *options, "--seed", 1, "--resume", *QUICK
    )


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--target", "price", "--minutes", "0"), 2, "0.0 is not in the range"),
        (("--target", "price", "--minutes", "-3"), 2, "-3.0 is not in the range"),
        (("--target", "price", "--minutes", "nan"), 1, "minutes must be a positive number"),
        (("--target", "price", "--trials", "0"), 2, "0 is not in the range"),
        (("--target", "price", "--folds", "1"), 2, "1 is not in the range"),
        (("--target", "price", "--folds", "81"), 1, "81 folds need"),
        (("--target", "price", "--by", "acuracy"), 2, "did you mean 'accuracy'"),
        (("--target", "price", "--by", "accuracy"), 1, "the metric 'accuracy' needs"),
        (("--target", "price", "--preset", "tabular"), 2, "No such option"),
        (("--target", "price", "--resume"), 2, "--resume goes with --checkpoint"),
        (("--target", "price", "--out", "homes.csv"), 1, "is what is read here"),
        (("--target", "price", "--class-weight", "balanced"), 1, "goes with classes"),
        (("--target", "sold", "--class-weight", "maybe=2"), 1, "there is no class 'maybe'"),
        (("--target", "sold", "--loss", "mse"), 1, "does not fit a target of 2 classes"),
        (("--target", "prce"), 1, "did you mean 'price'"),
        ((), 1, "needs a target"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else None,
)
def test_wrong_use_is_answered_before_anything_is_trained(
    homes: Path, args: Any, code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "train", None)
    result = run("tune", "homes.csv", *args, "--drop", "id", *NUMPY)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.split())


def test_arrays_are_no_tables(homes: Path) -> None:
    assert "tune goes with tables in files, and digits holds arrays" in refused("tune", "digits")
    np.save("rows.npy", np.random.default_rng(1).normal(size=(40, 3)))
    said = succeed("tune", "rows.npy", "--target", -1, *QUICK)
    assert "model model.safetensors" in said
