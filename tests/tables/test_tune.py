"""`fastnet.tables.tune`: a search within a time, and the ensemble that it finds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import fastnet as fn
from fastnet.nn.losses import MAE, CrossEntropy
from fastnet.populations import crews, ensemble_file, make_folds
from fastnet.populations.scorer import Scorer
from fastnet.tables import board, pace
from fastnet.tables.trainer import Trainer
from tests.checkout import ROOT
from tests.closeness import assert_close

RNG = np.random.default_rng(2)
ROWS = 96
TABLE: dict[str, Any] = {
    "size": RNG.standard_normal(ROWS),
    "kind": np.array(["u", "v", None] * (ROWS // 3), object),
}
PRICE = 3 * TABLE["size"] + np.where(TABLE["kind"] == "u", 5.0, 0.0) + 1000
LABEL = np.where(PRICE > 1001, "high", "low")
QUICK: dict[str, Any] = {"cv": 3, "epochs": 3, "hidden": 6, "minutes": None}


def tune(target: Any = LABEL, trials: int | None = 4, **how: Any) -> fn.tables.Tuned:
    return fn.tables.tune(TABLE, target, trials=trials, **(QUICK | how))


def timeless(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0} for row in rows]


def require_same(one: fn.tables.Tuned, other: fn.tables.Tuned) -> None:
    """Compare two searches bit for bit."""
    assert timeless(one.results) == timeless(other.results)
    assert timeless(one.fold_results) == timeless(other.fold_results)
    assert np.array_equal(one.weights, other.weights)
    assert np.array_equal(one.out_of_fold, other.out_of_fold)  # type: ignore[arg-type]
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a.parameters, b.parameters)


@pytest.fixture(scope="module")
def whole() -> fn.tables.Tuned:
    return tune()


# --- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [LABEL, PRICE], ids=["classes", "numbers"])
def test_a_network_is_what_train_returns_for_the_rows_of_its_fold(target: Any) -> None:
    tuned = tune(target, trials=3)
    assert [row["trial"] for row in tuned.results] == [0, 1, 2]
    assert len(tuned.fold_results) == 9
    folds = make_folds(ROWS, 3, labels=None if target is PRICE else target)
    best = tuned.best_trial
    train, test = folds[1]
    rows, held_out = ({n: v[index] for n, v in TABLE.items()} for index in (train, test))
    alone = fn.tables.train(
        *(rows, target[train]),
        preset=tuned.preset,
        seed=best["seed"],
        validation_data=(held_out, target[test]),
        **{"epochs": 3, "hidden": 6},
    )
    found = [np.array_equal(alone.parameters, one.parameters) for one in tuned]
    assert best["weight"] > 0
    assert sum(found) == 1
    row = next(r for r in tuned.fold_results if (r["trial"], r["fold"]) == (best["trial"], 1))
    assert alone.history is not None
    assert row["val_loss"] == alone.history.kept()["val_loss"]


def test_the_ensemble_answers_with_the_weighted_mean_of_all_folds(whole: fn.tables.Tuned) -> None:
    weight = {row["trial"]: row["weight"] for row in whole.results if row["weight"]}
    assert_close(np.sum([*weight.values()]), 1.0)
    assert len(whole) == 3 * len(weight)
    assert_close(whole.weights, np.repeat([*weight.values()], 3) / 3)
    answers = np.zeros((ROWS, 2))
    for k, (_, test) in enumerate(make_folds(ROWS, 3, labels=LABEL)):
        held_out = {name: values[test] for name, values in TABLE.items()}
        for net, share in zip(whole.networks[k::3], weight.values(), strict=True):
            answers[test] += share * net.predict(held_out).astype(float)
    assert whole.out_of_fold is not None
    assert_close(whole.out_of_fold, answers)
    # The ensemble is no worse than the best trial, and its scores are those of its answers.
    scorer = Scorer.of(whole[0], TABLE, LABEL, loss=CrossEntropy())
    assert_close(whole.out_of_fold_scores["loss"], scorer.scores(answers)["loss"])
    assert whole.out_of_fold_scores["loss"] <= whole.best_trial["val_loss"]
    assert whole.best_trial["val_loss"] == min(row["val_loss"] for row in whole.results)
    assert whole.results.best("val_accuracy")["trial"] in range(4)
    assert f"{whole.best_trial['val_loss']:.4g}" in str(whole).splitlines()[0]
    assert f"{len(whole)} networks" in str(whole).splitlines()[1]


def test_it_is_an_ensemble_that_a_file_holds(whole: fn.tables.Tuned, tmp_path: Path) -> None:
    whole.save(tmp_path / "best.safetensors")
    loaded = fn.Ensemble.load(tmp_path / "best.safetensors")
    assert type(loaded) is fn.Ensemble
    assert np.array_equal(loaded.predict(TABLE), whole.predict(TABLE))
    moved = whole.to("numpy")
    assert isinstance(moved, fn.tables.Tuned)
    assert moved.results is whole.results


def test_another_score_may_decide(whole: fn.tables.Tuned) -> None:
    tuned = tune(score="f1", metrics=["roc_auc"])
    assert tuned.best_trial["val_f1"] == max(row["val_f1"] for row in tuned.results)
    assert {"val_f1", "val_roc_auc", "val_loss"} <= set(tuned.results.columns)
    assert tuned.out_of_fold_scores["f1"] >= tuned.best_trial["val_f1"]
    assert timeless(whole.fold_results)[0].items() <= timeless(tuned.fold_results)[0].items()


def test_weights_in_a_column_are_those_of_the_score() -> None:
    weight = np.arange(ROWS) % 3 + 1
    given = tune(PRICE, 2, sample_weight=weight)
    table = TABLE | {"count": weight, "price": PRICE}
    column = fn.tables.tune(table, "price", trials=2, weight="count", **QUICK)
    assert timeless(given.results) == timeless(column.results)
    assert timeless(given.results) != timeless(tune(PRICE, 2).results)
    assert column[0].preprocessor.weight == "count"  # type: ignore[attr-defined]


def test_what_is_given_is_that_of_all_trials() -> None:
    tuned = tune(PRICE, activation="tanh", loss="mae", learning_rate=0.01)
    assert not {"activation", "learning_rate", "hidden"} & set(tuned.results.columns)
    for net in tuned:
        assert net.layers[1].activation == "tanh"  # type: ignore[attr-defined]
        assert net.loss == MAE()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_best_trials_alone_are_kept_for_the_ensemble(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "cores", lambda: 3)
    monkeypatch.setattr(board, "KEPT", 2)
    tuned = tune(PRICE, 6, threads=threads)
    worst = sorted(tuned.results["val_loss"])[2:]
    assert all(row["weight"] == 0 for row in tuned.results if row["val_loss"] in worst)
    assert len(tuned.results) == 6
    monkeypatch.setattr(ensemble_file, "MOST", 5)  # a file has room for one trial of 3 networks
    small = tune(PRICE, 6, threads=threads)
    assert len(small) == 3
    assert small.out_of_fold_scores["loss"] == small.best_trial["val_loss"]


def test_rows_that_no_fold_holds_out_have_no_answers() -> None:
    folds = [(np.arange(40), np.arange(40, 60)), (np.arange(40), np.arange(50, 80))]
    tuned = tune(PRICE, 2, cv=folds)
    assert tuned.out_of_fold is not None
    known = np.isfinite(tuned.out_of_fold[:, 0])
    assert np.flatnonzero(known).tolist() == [*range(40, 80)]
    first = next(row["trial"] for row in tuned.results if row["weight"])
    assert first in (0, 1)
    if len(tuned) == 2:  # one trial: a row of both folds has the mean of both answers
        held_out = {name: values[50:60] for name, values in TABLE.items()}
        both = [net.predict(held_out).astype(float) for net in tuned]
        assert_close(tuned.out_of_fold[50:60], (both[0] + both[1]) / 2)


# --- the same result, whatever happens ------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_no_bit(
    whole: fn.tables.Tuned, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "cores", lambda: 3)
    require_same(whole, tune(threads=threads))
    with pytest.raises(AssertionError):
        require_same(whole, tune(threads=threads, seed=1))


class Killed(BaseException):
    """Ends a search as a kill does."""


@pytest.mark.parametrize("after", [0, 4, 11])
def test_a_search_that_was_ended_goes_on(
    whole: fn.tables.Tuned, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, trained = Trainer.train, list[int]()

    def killed(self: Any, numbers: Sequence[int], *how: Any) -> Any:
        if len(trained) == after:
            raise Killed
        trained.extend(numbers)
        return train(self, numbers, *how)

    monkeypatch.setattr(Trainer, "train", killed)
    with pytest.raises(Killed):
        tune(checkpoint=tmp_path, threads=1)
    assert len([*tmp_path.glob("member-*.json")]) == after

    def counted(self: Any, numbers: Sequence[int], *how: Any) -> Any:
        trained.extend(numbers)
        return train(self, numbers, *how)

    monkeypatch.setattr(Trainer, "train", counted)
    require_same(whole, tune(checkpoint=tmp_path, resume=True))
    assert sorted(trained) == [*range(12)]  # none is lost, and none is doubled
    require_same(whole, tune(checkpoint=tmp_path, resume=True))
    assert len(trained) == 12
    longer = tune(checkpoint=tmp_path, resume=True, trials=5)
    assert timeless(longer.fold_results)[:12] == timeless(whole.fold_results)
    require_same(whole, tune(checkpoint=tmp_path, resume=True))  # the fifth trial stays there
    assert len(trained) == 15


_PROGRAM = """
import numpy as np, fastnet as fn
x = np.random.default_rng(0).standard_normal(60)
fn.tables.tune({"x": x}, 2 * x, trials=50, minutes=None, cv=2, epochs=60, hidden=4,
               backend="numpy", checkpoint=FOLDER)
"""


def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    program = _PROGRAM.replace("FOLDER", repr(str(tmp_path)))
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    ends = time.monotonic() + 60
    while len([*tmp_path.glob("member-*.json")]) < 3 and time.monotonic() < ends:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = len([*tmp_path.glob("member-*.json")])
    assert 3 <= done < 100
    x = np.random.default_rng(0).standard_normal(60)
    how: dict[str, Any] = {"cv": 2, "epochs": 60, "hidden": 4, "backend": "numpy"}
    how |= {"trials": done // 2 + 1, "minutes": None}
    resumed = fn.tables.tune({"x": x}, 2 * x, checkpoint=tmp_path, resume=True, **how)
    require_same(resumed, fn.tables.tune({"x": x}, 2 * x, **how))


# --- time -----------------------------------------------------------------------------------------


class Clock:
    """A clock that training turns by one second for each epoch, or by more."""

    time = 0.0
    slow: ClassVar[dict[int, float]] = {}
    """Seconds for each epoch of the trials with these seeds."""

    def __call__(self) -> float:
        return self.time


CLOCK = Clock()


def turn(run: fn.Run) -> None:
    CLOCK.time += CLOCK.slow.get(run.network.seed, 1.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(pace, "now", CLOCK)
    CLOCK.time = 0.0
    monkeypatch.setattr(CLOCK, "slow", {})
    return CLOCK


def timed(seconds: float, **how: Any) -> fn.tables.Tuned:
    """Search for so many seconds, with 9 seconds for a trial."""
    options: dict[str, Any] = {"minutes": seconds / 60, "threads": 1, "callbacks": [turn]}
    return tune(PRICE, trials=None, **(options | how))


def test_a_search_ends_in_time(clock: Clock) -> None:
    tuned = timed(40)
    assert len(tuned.results) == 4
    assert tuned.seconds == clock.time == 36
    assert tuned.results["seconds"].tolist() == [9] * 4


def test_a_trial_that_runs_over_is_stopped_and_left_out(clock: Clock) -> None:
    clock.slow[2] = 8.0  # a trial of 72 seconds begins after 18, where 9 are expected
    tuned = timed(60)
    assert [row["trial"] for row in tuned.results] == [0, 1]
    assert len(tuned.fold_results) == 6
    assert 60 <= clock.time < 60 + 2 * 8.0
    clock.time, clock.slow[2] = 0.0, 1.0
    assert len(timed(60).results) == 6


def test_the_first_trial_is_trained_in_any_case(clock: Clock) -> None:
    with pytest.warns(fn.FastNetWarning, match="first trial took 9 s, longer than the 2 s"):
        tuned = timed(2)
    assert len(tuned.results) == 1
    assert len(tuned) == 3
    assert tuned.best_trial["weight"] == 1.0


def test_a_first_trial_beside_others_is_not_called_the_only_one(
    clock: Clock, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    assert len(timed(20, checkpoint=tmp_path).results) == 2
    assert len(timed(2, checkpoint=tmp_path, resume=True).results) == 2
    assert not recwarn.list


def test_time_that_was_spent_counts(clock: Clock, tmp_path: Path) -> None:
    def run(seconds: float, **how: Any) -> fn.tables.Tuned:
        return timed(seconds, checkpoint=tmp_path, **how)

    assert len(run(20).results) == 2
    clock.time = 5000.0  # another process, another day
    again = run(20, resume=True)
    assert len(again.results) == 2
    assert (clock.time, again.seconds) == (5000.0, 18.0)
    longer = run(40, resume=True)
    assert len(longer.results) == 4
    assert (clock.time, longer.seconds) == (5018.0, 36.0)


def test_lines_tell_of_trials(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    timed(30, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        f"{9 * (k + 1)} s: trial {k}" for k in range(3)
    ]
    assert "val_r2" in lines[0]


# --- what is refused ------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    ({"seed": "a"}, "seed must be a whole number of at least 0, got 'a'"),
    ({"seed": 1.0}, "seed must be a whole number of at least 0, got 1.0"),
    ({"checkpoint": 3}, "checkpoint must be a folder, got 3"),
    ({"target": 3}, "the target must be a column's name, or values, got 3"),
    ({"minutes": 0}, "minutes must be a positive number, got 0"),
    ({"minutes": -1.5}, "minutes must be a positive number"),
    ({"minutes": float("nan")}, "minutes must be a positive number, got nan"),
    ({"minutes": float("inf")}, "minutes must be a positive number"),
    ({"minutes": "10"}, "minutes must be a positive number"),
    ({"minutes": None, "trials": None}, "give minutes or trials"),
    ({"trials": 0}, "trials must be a whole number of at least 1"),
    ({"preset": "tabular"}, "tune has no preset: the presets are the first trials"),
    ({"n_estimators": 3}, "tune has no n_estimators: the search chooses"),
    ({"validation_data": (TABLE, LABEL)}, "tune has no validation_data: each fold"),
    ({"validation_split": 0.2}, "tune has no validation_split: each fold"),
    ({"cv": None}, "tune needs folds"),
    ({"cv": 97}, "97 folds need as many rows"),
    ({"score": "acuracy"}, "did you mean 'accuracy'"),
    ({"score": "r2"}, "the metric 'r2' needs a number to compare"),
    ({"score": 3}, "score must be 'loss' or the name of a metric"),
    ({"metrics": ["f2"]}, "unknown metric 'f2'"),
    ({"resume": True}, "resume=True needs the folder"),
    ({"loss": "mse"}, "the loss 'mse' does not fit a target of 2 classes"),
    ({"optimizer": "lbfgs"}, "lbfgs cannot train a network with dropout, which trials have"),
    ({"optimizer": "adm"}, "did you mean 'adam'"),
    ({"seed": -1}, "seed must be a whole number"),
    ({"drop": "sise"}, "did you mean 'size'"),
    ({"learning_rate": 0.1, "optimizer": "adam"}, "give learning_rate or an optimizer"),
]


@pytest.mark.parametrize(("how", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input_is_refused_before_anything_is_trained(
    how: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "train", None)
    with pytest.raises((fn.InputError, fn.DataError), match=message):
        tune(**how)


def test_unknown_arguments_and_targets() -> None:
    with pytest.raises(TypeError, match="tune has no argument 'minuts'; did you mean 'minutes'"):
        tune(minuts=3)
    with pytest.raises(TypeError, match="tune has no argument 'checkpoint_every'"):
        tune(checkpoint_every=3)
    with pytest.raises(fn.InputError, match="name the column to learn"):
        tune(None)
    with pytest.raises(fn.DataError, match="one class only"):
        tune(np.array(["a"] * ROWS))
    rare = np.where(np.arange(ROWS) == 3, "rare", LABEL)
    with pytest.raises(fn.InputError, match=r"fold \d has no row of the class 'rare'"):
        tune(rare)


def test_a_class_that_one_fold_does_not_train_on_is_refused() -> None:
    rows = np.arange(ROWS)
    high = np.flatnonzero(LABEL == "high")
    three = np.where(np.isin(rows, high[:4]), "top", LABEL)
    without = np.setdiff1d(rows, high[:4])
    folds = [(without[:50], without[50:]), (rows[:-10], rows[-10:])]
    with pytest.raises(fn.InputError, match="fold 0 has no row of the class 'top' to train on"):
        tune(three, cv=folds)


def test_another_search_or_another_table_is_refused(tmp_path: Path) -> None:
    how: dict[str, Any] = {"trials": 1, "checkpoint": tmp_path / "run"}
    tune(**how)
    with pytest.raises(fn.CheckpointError, match="give resume=True"):
        tune(**how)
    how["resume"] = True
    for other in ({"seed": 1}, {"cv": 2}, {"activation": "relu"}):
        with pytest.raises(fn.CheckpointError, match="its settings differ"):
            tune(**(how | other))
    other_rows = TABLE | {"size": TABLE["size"] + 1}
    with pytest.raises(fn.CheckpointError, match="its rows differ"):
        fn.tables.tune(other_rows, LABEL, **(QUICK | how))
    with pytest.raises(fn.CheckpointError, match="another population"):
        fn.tables.fit_many(TABLE, LABEL, checkpoint=tmp_path / "run", resume=True, epochs=1)
    fn.tables.fit_many(TABLE, LABEL, checkpoint=tmp_path / "other", epochs=1)
    with pytest.raises(fn.CheckpointError, match="another population"):
        tune(trials=1, checkpoint=tmp_path / "other", resume=True)


def test_trials_that_diverge_are_told_and_left_out() -> None:
    wild: dict[str, Any] = {"epochs": 20, "optimizer": fn.SGD(1e30)}
    with pytest.raises(fn.InputError, match="no trial has a finite 'loss'"):
        tune(PRICE, 2, **wild)
