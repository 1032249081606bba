"""The benchmark on real tables: same folds for all, and a record that goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import fastnet as fn
from fastnet.benchmarks import table_data, tables
from fastnet.benchmarks.table_contenders import CONTENDERS, Contender, Fold
from tests.checkout import ROOT

RECORDED = sorted((ROOT / "benchmarks/results").glob("*-tables.json"))[-1]

TWO = ["--folds", "2", "--table", "diabetes", "--table", "breast cancer"]


class Mean:
    """A contender that answers the mean, or the most frequent class, and counts its fits."""

    def __init__(self) -> None:
        self.folds: list[Fold] = []

    def __call__(self, fold: Fold, seed: int) -> Callable[[Any], Any]:
        self.folds.append(fold)
        answer = np.bincount(fold.y).argmax() if fold.classes else fold.y.mean()
        return lambda frame: np.full(len(frame), answer)


@pytest.fixture
def mean(monkeypatch: pytest.MonkeyPatch) -> Mean:
    """Put the mean, and one whose package is absent, in place of all contenders."""
    fit = Mean()
    monkeypatch.setattr(
        tables, "CONTENDERS", (Contender("mean", fit), Contender("absent", fit, ("no_such_one",)))
    )
    return fit


def run(*options: str) -> Result:
    return CliRunner().invoke(tables.main, [*options, "--threads", "1"])


def rows(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["results"]
    return found


def test_a_record_has_every_fold_of_every_contender_that_is_here(
    mean: Mean, tmp_path: Path
) -> None:
    file = tmp_path / "results.json"
    done = run(*TWO, "--json", str(file))
    assert done.exit_code == 0, done.output
    assert "left out: absent (pip install no_such_one)" in done.stderr
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["contenders"] == ["mean"]
    assert content["command"] == f"{tables.COMMAND} --folds 2 --rows 5000 --threads 1"
    assert [(row["table"], row["rows"]) for row in content["results"]] == [
        ("breast cancer", 569),
        ("diabetes", 442),
    ]
    accuracy, r2 = (row["scores"] for row in content["results"])
    assert all(0.5 < score < 0.7 for score in accuracy)  # 63 % of the rows are of one class
    assert len(r2) == 2
    assert all(score <= 0 for score in r2)  # the mean of other rows is never better than their own
    assert "| mean | 1.00 | 1.00 | 2 |" in done.stdout


def test_no_row_is_trained_on_and_answered_for(mean: Mean) -> None:
    assert run(*TWO, "--rows", "100").exit_code == 0
    assert len(mean.folds) == 4
    for fold in mean.folds:
        train, test = (set(map(tuple, frame.matrix())) for frame in (fold.train, fold.test))
        assert len(train) == len(test) == len(fold.y) == 50
        assert not train & test


def test_the_clock_stands_still_for_predictions(
    mean: Mean, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    def slow(fold: Fold, seed: int) -> Callable[[Any], Any]:
        passes(3)
        answer = mean(fold, seed)
        return lambda frame: (passes(100), answer(frame))[1]

    monkeypatch.setattr(tables.time, "process_time", lambda: now)
    (table,) = table_data.here(("diabetes",))
    (found,) = tables.measure(table, 2, 100, [Contender("slow", slow)])
    assert found.seconds == [3, 3]
    assert now == 206  # the clock is that of `slow`


def test_a_record_goes_on_after_the_tables_that_it_has(mean: Mean, tmp_path: Path) -> None:
    file, whole = tmp_path / "results.json", tmp_path / "whole.json"
    assert run(*TWO, "--json", str(whole)).exit_code == 0
    assert run(*TWO[:2], "--table", "diabetes", "--json", str(file)).exit_code == 0
    mean.folds.clear()
    assert run(*TWO, "--json", str(file)).exit_code == 0
    assert len(mean.folds) == 2  # those of the other table
    assert [row["scores"] for row in rows(file)] == [row["scores"] for row in rows(whole)]
    assert run(*TWO, "--json", str(file)).exit_code == 0
    assert len(mean.folds) == 2  # nothing was left to do


def test_a_kill_loses_no_table_that_was_done(
    mean: Mean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(fold: Fold, seed: int) -> Callable[[Any], Any]:
        if not fold.classes:
            raise KeyboardInterrupt
        return mean(fold, seed)

    file = tmp_path / "results.json"
    monkeypatch.setattr(tables, "CONTENDERS", (Contender("mean", killed),))
    assert run(*TWO, "--json", str(file)).exit_code == 1
    assert [row["table"] for row in rows(file)] == ["breast cancer"]
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_results_of_another_process_are_kept(mean: Mean, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    terms = tables.terms_of(2, 100, 1, ["mean"])
    found = [tables.Result(name, "regression", 9, 2, "mean") for name in ("diamonds", "titanic")]
    tables.add(found[:1], file, terms, 1)
    assert [result.table for result in tables.add(found[1:], file, terms, 1)] == [
        "titanic",
        "diamonds",
    ]
    assert [row["table"] for row in rows(file)] == ["titanic", "diamonds"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rows", "60"], "was measured with command .* --rows 50 .* this run has .* --rows 60 "),
        (["--folds", "3", "--rows", "50"], "was measured with command .* --folds 2 "),
    ],
)
def test_a_record_on_other_terms_is_refused_and_stays(
    options: list[str], sentence: str, mean: Mean, tmp_path: Path
) -> None:
    file = tmp_path / "results.json"
    same = [*TWO[:2], "--table", "diabetes", "--rows", "50", "--json", str(file)]
    assert run(*same).exit_code == 0
    before = file.read_bytes()
    done = run(*same, *options)
    assert done.exit_code == 1
    assert re.search(sentence, done.stderr), done.stderr
    assert file.read_bytes() == before
    assert run(*same).exit_code == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "another/1", "results": []}'])
def test_a_file_that_is_no_record_is_refused_and_stays(
    content: str, mean: Mean, tmp_path: Path
) -> None:
    file = tmp_path / "notes.json"
    file.write_text(content, encoding="utf-8")
    done = run(*TWO, "--json", str(file))
    assert done.exit_code == 1
    assert "is no record of the form fastnet-tables-bench/2" in done.stderr
    assert file.read_text(encoding="utf-8") == content
    assert not mean.folds


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
    names = [one.name for one in CONTENDERS if one.ours]
    assert all(name in done.output for name in [*names, "fastnet tune, 0.5 min"])
    assert "CatBoost" not in done.output


def test_folds_hold_every_row_once_and_apart() -> None:
    folds = tables.fold_index(103, 5)
    assert np.array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(103))
    for train, test in folds:
        assert not np.intersect1d(train, test).size
        assert len(train) + len(test) == 103


def test_some_rows_are_different_ones_in_their_order() -> None:
    kept = tables.some_rows(103, 40)
    assert len(kept) == 40
    assert (np.diff(kept) > 0).all()
    assert kept[-1] > 60  # not the first ones
    assert np.array_equal(tables.some_rows(103, 200), np.arange(103))


def test_scores_are_accuracy_and_r2() -> None:
    assert tables.score(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2]), True) == 0.75
    assert tables.score(np.array([1.0, 2, 3]), np.array([1.0, 2, 3]), False) == 1
    assert tables.score(np.array([1.0, 2, 3]), np.full(3, 2.0), False) == 0


# --- the record that the pages show ---------------------------------------------------------------


def test_the_record_has_all_tables_and_all_contenders() -> None:
    content = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert content["format"] == tables.FORMAT
    assert content["contenders"] == [contender.name for contender in CONTENDERS]
    assert "dirty" not in content["commit"]
    found = {(row["table"], row["task"], row["contender"]) for row in content["results"]}
    assert found == {(s.name, s.task, c.name) for s in table_data.SOURCES for c in CONTENDERS}
    assert all(len(row["scores"]) == len(row["seconds"]) == 5 for row in content["results"])


@pytest.mark.parametrize("page", ["README.md", "docs/guides/tables.md"])
def test_the_pages_show_the_newest_record(page: str) -> None:
    newest = f"<!-- measured: tables-standings benchmarks/results/{RECORDED.name} -->"
    assert newest in (ROOT / page).read_text(encoding="utf-8")


def test_networks_with_members_are_compared_with_two_presets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, fit, seen = fn.tables.train, fn.Network.fit, set[str]()

    def shortly(net: fn.Network, *args: Any, **how: Any) -> Any:
        seen.update(repr(layer) for layer in net.layers if isinstance(layer, fn.Members))
        return fit(net, *args, **how | {"epochs": 1, "early_stopping": None})

    monkeypatch.setattr(fn.tables, "train", lambda *args, **how: train(*args, **how, epochs=1))
    monkeypatch.setattr(fn.Network, "fit", shortly)
    for table in ("diabetes", "breast cancer"):
        options = ["--folds", "2", "--rows", "100", "--table", table, "--members", "3"]
        done = CliRunner().invoke(tables.main, options)
        assert done.exit_code == 0, done.output
        names = "fastnet tabular", "fastnet tabular-best", "fastnet, 3 members"
        assert all(name in done.output for name in names)
        assert "CatBoost" not in done.output
    assert seen == {"Members(3)"}
