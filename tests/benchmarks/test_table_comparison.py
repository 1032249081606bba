"""The benchmark on real tables: same folds for all, and the README says what was recorded."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

from sklearn.exceptions import ConvergenceWarning

import fastnet as fn
from fastnet.benchmarks import table_data, tables
from fastnet.tables import Frame
from tests.checkout import ROOT

RECORDED = sorted((ROOT / "benchmarks/results").glob("*-tables.json"))[-1]


def test_every_contender_answers_for_every_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PLAIN_EPOCHS", 2)
    quick = {name: f for name, f in tables.CONTENDERS.items() if name != "fastnet preset"}
    monkeypatch.setattr(tables, "CONTENDERS", quick)
    file = tmp_path / "results.json"
    options = ["--folds", "2", "--table", "diabetes", "--table", "breast cancer"]
    done = CliRunner().invoke(tables.main, [*options, "--threads", "1", "--json", str(file)])
    assert done.exit_code == 0, done.output
    content = json.loads(file.read_text(encoding="utf-8"))
    found = {(row["table"], row["contender"]) for row in content["results"]}
    assert found == {(name, c) for name in ("diabetes", "breast cancer") for c in quick}
    for row in content["results"]:
        assert len(row["scores"]) == len(row["seconds"]) == 2
        assert all(score < 1 for score in row["scores"])
    assert "breast cancer" in tables.markdown(content["results"])[2]


def test_ensembles_are_compared_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[dict[str, Any]] = []
    train = fn.tables.train

    def briefly(*args: Any, **how: Any) -> Any:
        called.append({name: how.get(name) for name in ("preset", "n_estimators")})
        return train(*args, **(how | {"epochs": 1}))

    monkeypatch.setattr(fn.tables, "train", briefly)
    options = ["--folds", "2", "--table", "diabetes", "--ensembles"]
    done = CliRunner().invoke(tables.main, options)
    assert done.exit_code == 0, done.output
    assert called[:3] == [
        {"preset": "tabular", "n_estimators": None},
        {"preset": "tabular", "n_estimators": 6},
        {"preset": "tabular-best", "n_estimators": None},
    ]
    assert done.output.count("|") == 7


def test_searches_are_compared_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    train, tune, asked = fn.tables.train, fn.tables.tune, list[float]()

    def shortly(*args: Any, minutes: float, **how: Any) -> Any:
        asked.append(minutes)
        return tune(*args, **how, trials=1, cv=2, epochs=1)

    monkeypatch.setattr(fn.tables, "train", lambda *args, **how: train(*args, **how, epochs=1))
    monkeypatch.setattr(fn.tables, "tune", shortly)
    options = ["--folds", "2", "--table", "diabetes", "--tune", "0.5"]
    done = CliRunner().invoke(tables.main, options)
    assert done.exit_code == 0, done.output
    assert asked == [0.5, 0.5]
    assert done.output.count("|") == 6


def test_folds_hold_every_row_once_and_apart() -> None:
    folds = tables.fold_index(103, 5)
    assert np.array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(103))
    for train, test in folds:
        assert not np.intersect1d(train, test).size
        assert len(train) + len(test) == 103


@pytest.mark.parametrize("contender", tables.CONTENDERS.values(), ids=tables.CONTENDERS.keys())
@pytest.mark.parametrize("classes", [True, False])
def test_contenders_take_texts_gaps_and_new_categories(contender: Any, classes: bool) -> None:
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=90), rng.choice(["a", "b", "c"], 90)
    y = (x + (kind == "a") > 0.5).astype(int) if classes else x + (kind == "a")
    x[::8] = np.nan
    train = table(x[:60], kind[:60])
    fold = tables.Fold(train, table(x[60:], [*kind[60:89], "new"]), y[:60], classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as the benchmark does
        answers = contender(fold, 0)
    assert answers.shape == (30,)
    assert tables.score(y[60:], answers, classes) > 0.2


def table(x: Any, kind: Any) -> Frame:
    from fastnet.tables import as_frame

    return as_frame({"x": x, "kind": np.array(kind, object)})


def test_scores_are_accuracy_and_r2() -> None:
    assert tables.score(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2]), True) == 0.75
    assert tables.score(np.array([1.0, 2, 3]), np.array([1.0, 2, 3]), False) == 1
    assert tables.score(np.array([1.0, 2, 3]), np.full(3, 2.0), False) == 0


def test_there_are_at_least_six_real_tables_of_both_kinds() -> None:
    content = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert content["format"] == tables.FORMAT
    recorded = {(row["table"], row["task"]) for row in content["results"]}
    assert recorded == {(source.name, source.task) for source in table_data.SOURCES}
    assert len(recorded) >= 6


def test_the_readme_shows_the_newest_record() -> None:
    newest = f"<!-- measured: tables benchmarks/results/{RECORDED.name} -->"
    assert newest in (ROOT / "README.md").read_text(encoding="utf-8")
