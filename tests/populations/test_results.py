"""Folds, results of populations and cross-validation."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.populations import Results, make_folds

X = np.random.default_rng(0).uniform(-1, 1, (90, 2))
LABELS = (X[:, 0] > X[:, 1]).astype(int)


@pytest.mark.parametrize(("count", "number"), [(10, 2), (11, 3), (11, 11), (97, 5)])
@pytest.mark.parametrize("classes", [None, 2, 4])
def test_folds_are_a_partition_with_the_share_of_each_class(
    count: int, number: int, classes: int | None
) -> None:
    labels = None if classes is None else np.arange(count) % classes
    found = make_folds(count, number, seed=3, labels=labels)
    assert len(found) == number
    assert sorted(np.concatenate([test for _, test in found])) == [*range(count)]
    for train, test in found:
        assert sorted([*train, *test]) == [*range(count)]
        assert count // number <= len(test) <= -(-count // number)
        if labels is not None:
            for label in range(classes or 0):
                there = (labels == label).sum() / number
                assert math.floor(there) <= (labels[test] == label).sum() <= math.ceil(there)


def test_folds_depend_on_the_seed_alone() -> None:
    one, same, other = (make_folds(50, 5, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_splitters_of_scikit_learn_and_pairs_are_folds() -> None:
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(3)
    net = fn.Network([2, 4, 2], output_activation="softmax", backend="numpy")
    results = [
        fn.cross_validate(net, X, LABELS, cv=cv, epochs=2)["test_loss"]
        for cv in (splitter, list(splitter.split(X, LABELS)), splitter.split(X, LABELS))
    ]
    assert results[0].tolist() == results[1].tolist() == results[2].tolist()


def test_cross_validation_scores_rows_that_were_not_trained_on() -> None:
    net = fn.Network([2, 8, 2], output_activation="softmax", backend="numpy", seed=2)
    weight = np.arange(90) % 3
    how: dict[str, Any] = {"epochs": 3, "metrics": ["f1"], "sample_weight": weight}
    results = fn.cross_validate(net, X, LABELS, cv=4, **how)
    assert [row["fold"] for row in results] == [0, 1, 2, 3]
    for row, (train, test) in zip(results, make_folds(90, 4, seed=2, labels=LABELS), strict=True):
        other = fn.Network([2, 8, 2], output_activation="softmax", backend="numpy", seed=2)
        other.fit(X[train], LABELS[train], **(how | {"sample_weight": weight[train]}))
        scores = other.evaluate(X[test], LABELS[test], metrics=["f1"], sample_weight=weight[test])
        assert {name: row[f"test_{name}"] for name in scores} == scores


ROWS = [
    {"member": 0, "seed": 1, "l2": 0.0, "fold": 0, "test_loss": 1.0, "epochs": 3},
    {"member": 1, "seed": 1, "l2": 0.0, "fold": 1, "test_loss": 3.0, "epochs": 3},
    {"member": 2, "seed": 1, "l2": 0.5, "fold": 0, "test_loss": 1.5, "epochs": 3},
    {"member": 3, "seed": 1, "l2": 0.5, "fold": 1, "test_loss": 1.5, "epochs": 2},
]


def test_means_and_the_best() -> None:
    results = Results(ROWS, ("seed", "l2"))
    mean = results.mean()
    assert [(row["l2"], row["test_loss"], row["members"]) for row in mean] == [
        (0.0, 2.0, 2),
        (0.5, 1.5, 2),
    ]
    assert [row["test_loss_std"] for row in mean] == [1.0, 0.0]
    assert results.best()["member"] == 0
    assert mean.best()["l2"] == 0.5
    assert [row["seed"] for row in results.mean("fold")] == [1, 1]
    assert len(results.mean(["l2"])) == 2
    assert results[1:].best("test_loss")["member"] == 2
    with pytest.raises(fn.InputError, match="did you mean 'l2'"):
        results.mean("l1")
    with pytest.raises(fn.InputError, match="did you mean 'test_loss'"):
        results.best("test_los")
    with pytest.raises(fn.InputError, match="did you mean 'fold'"):
        results["folds"]


def test_a_member_without_a_score_is_never_the_best() -> None:
    rows = [{"member": 0, "val_accuracy": 0.5}, {"member": 1}, {"member": 2, "val_accuracy": 0.75}]
    results = Results(rows, ())
    assert results.best("val_accuracy")["member"] == 2
    assert np.isnan(results["val_accuracy"][1])
    assert math.isnan(results.mean()[0]["val_accuracy"])
    with pytest.raises(fn.InputError, match="all of them diverged"):
        Results([{"member": 0, "val_loss": math.nan}], ()).best()
    with pytest.raises(fn.InputError, match="nothing tells whether"):
        Results([{"member": 0, "val_mine": 1.0}], ()).best("val_mine")


def test_results_are_a_table_in_every_form() -> None:
    results = Results([*ROWS, {"member": 4, "note": "a|b<c>", "test_loss": math.nan}], ("l2",))
    lines = results.markdown().splitlines()
    assert len(lines) == 7
    assert lines[-1].endswith("| a\\|b<c> |")
    assert json.loads(results.to_json())[4] == {"member": 4, "note": "a|b<c>", "test_loss": None}
    assert results.to_frame()["member"].tolist() == [0, 1, 2, 3, 4]
    assert results.to_frame("polars")["l2"].to_list() == [0.0, 0.0, 0.5, 0.5, None]
    assert "a|b&lt;c&gt;" in results._repr_html_()
    assert repr(results).startswith("<Results of 5 rows: member,")


def test_a_population_shows_its_results() -> None:
    net = fn.Network([2, 2], output_activation="softmax", backend="numpy")
    population = fn.fit_many(net, X, LABELS, seeds=2, epochs=1)
    assert str(population) == population.results.markdown()
    assert "2 networks" in repr(population)
    assert population[1:].networks == population.networks[1:]
    assert population._repr_html_().startswith("<table>")


def test_progress_is_a_line_for_each_member(capsys: pytest.CaptureFixture[str]) -> None:
    net = fn.Network([2, 2], output_activation="softmax", backend="numpy")
    fn.fit_many(net, X, LABELS, seeds=2, epochs=1, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["1/2", "2/2"]
    assert "None" not in lines[0]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_numbers_and_texts_of_a_setting_make_a_column_of_a_frame(library: Any) -> None:
    pytest.importorskip(library)
    results = Results([{"hidden": 16}, {"hidden": "(32, 32)"}, {"hidden": None}], ("hidden",))
    assert list(results.to_frame(library)["hidden"])[:2] == ["16", "(32, 32)"]


def test_no_means_over_what_is_no_setting() -> None:
    results = Results([{"seed": 0, "l2": 0.1, "loss": 1.0}], ("seed", "l2"))
    for over in ("l1", ["l1"], ("fold", "l1")):
        with pytest.raises(fn.InputError, match="no setting 'l1'"):
            results.mean(over)
    assert len(results.mean(("fold", "seed"))) == 1


def test_settings_of_some_members_stand_with_the_others() -> None:
    rows = [{"member": 0, "l2": 0.1, "fold": 0, "loss": 1.0}, {"member": 1, "dropout": 0.2}]
    results = Results(rows, ("l2", "dropout"))
    assert results.columns == ("member", "l2", "dropout", "fold", "loss")
