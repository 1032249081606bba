"""Populations of networks for tables: each is what `train` returns for its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.populations import make_folds

RNG = np.random.default_rng(3)
ROWS = 90
TABLE: dict[str, Any] = {
    "size": RNG.standard_normal(ROWS),
    "kind": np.array(["u", "v", None] * 30, object),
}
PRICE = 3 * TABLE["size"] + np.where(TABLE["kind"] == "u", 5.0, 0.0)
LABEL = np.where(PRICE > 1, "high", "low")
WEIGHT = np.arange(ROWS) % 3 + 1


def rows_of(index: Any, table: Any = TABLE) -> dict[str, Any]:
    return {name: np.asarray(values)[index] for name, values in table.items()}


@pytest.mark.parametrize("target", [PRICE, LABEL], ids=["numbers", "classes"])
def test_members_are_what_train_returns_for_their_rows(target: Any) -> None:
    grid = {"hidden": [4, (8, 4)], "learning_rate": [0.01, 0.05]}
    how: dict[str, Any] = {"epochs": 5, "sample_weight": WEIGHT}
    tried = fn.tables.fit_many(TABLE, target, param_grid=grid, cv=3, seeds=[1, 2], **how)
    assert len(tried) == 24
    labels = target if target is LABEL else None
    folds = make_folds(ROWS, 3, labels=labels)
    for member, row in zip(tried, tried.results, strict=True):
        train, test = folds[row["fold"]]
        hidden = 4 if row["hidden"] == 4 else (8, 4)
        other = fn.tables.train(
            *(rows_of(train), target[train]),
            hidden=hidden,
            seed=row["seed"],
            learning_rate=row["learning_rate"],
            epochs=5,
            sample_weight=WEIGHT[train],
            threads=1,
        )
        assert np.array_equal(member.parameters, other.parameters)
        scores = other.evaluate(rows_of(test), target[test], sample_weight=WEIGHT[test])
        assert {name: row[f"test_{name}"] for name in scores} == scores
    assert len(tried.results.mean()) == 4


def test_columns_by_name_rows_and_presets() -> None:
    table = TABLE | {"price": PRICE}
    settings = [{"rows": np.arange(60)}, {"preset": "tabular", "epochs": 2}, {}]
    tried = fn.tables.fit_many(table, "price", settings=settings, epochs=3)
    other = fn.tables.train(rows_of(np.arange(60), table), "price", epochs=3)
    assert np.array_equal(tried[0].parameters, other.parameters)
    assert tried[1].layers[1].units == 256  # type: ignore[attr-defined]
    results = fn.tables.cross_validate(table, "price", cv=3, epochs=3, metrics=["mae"])
    assert {"test_mae", "test_r2", "fold"} <= set(results.columns)


def test_it_resumes(tmp_path: Path) -> None:
    how: dict[str, Any] = {"seeds": 3, "epochs": 2, "checkpoint": tmp_path / "p"}
    tried = fn.tables.fit_many(TABLE, PRICE, **how)
    (tmp_path / "p" / "member-000001.json").unlink()
    resumed = fn.tables.fit_many(TABLE, PRICE, **how, resume=True)
    for one, other in zip(tried, resumed, strict=True):
        assert np.array_equal(one.predict(TABLE), other.predict(TABLE))
        assert one.backend == other.backend
    with pytest.raises(fn.CheckpointError, match="its settings differ"):
        fn.tables.fit_many(TABLE, PRICE, **(how | {"epochs": 3}), resume=True)
    with pytest.raises(fn.CheckpointError, match="its rows differ"):
        fn.tables.fit_many(TABLE, PRICE + 1, **how, resume=True)


def test_one_member_without_settings_has_a_folder_too(tmp_path: Path) -> None:
    how: dict[str, Any] = {"epochs": 2, "checkpoint": tmp_path / "p"}
    tried = fn.tables.fit_many(TABLE, PRICE, **how)
    resumed = fn.tables.fit_many(TABLE, PRICE, **how, resume=True)
    assert np.array_equal(tried[0].parameters, resumed[0].parameters)
    folds = fn.tables.cross_validate(TABLE, PRICE, cv=2, checkpoint=tmp_path / "cv", epochs=2)
    assert len(folds) == 2


def test_bad_input_is_answered_in_a_sentence() -> None:
    with pytest.raises(fn.InputError, match="did you mean 'learning_rate'"):
        fn.tables.fit_many(TABLE, PRICE, param_grid={"learning_rat": [1]})
    with pytest.raises(TypeError, match="did you mean 'hidden'"):
        fn.tables.fit_many(TABLE, PRICE, hiden=3)
    with pytest.raises(fn.InputError, match="name the column to learn"):
        fn.tables.fit_many(TABLE, None)
    with pytest.raises(fn.InputError, match="give cv, or rows"):
        fn.tables.fit_many(TABLE, PRICE, cv=3, settings=[{"rows": [1, 2]}])
    with pytest.raises(fn.InputError, match="resume=True needs the folder"):
        fn.tables.fit_many(TABLE, PRICE, resume=True, epochs=1)
    few = np.where(np.arange(ROWS) == 3, "rare", LABEL)
    with pytest.raises(fn.InputError, match=r"fold \d has no row of the class 'rare'"):
        fn.tables.cross_validate(TABLE, few)
    with pytest.raises(fn.DataError, match="did you mean 'size'"):
        fn.tables.cross_validate(TABLE, "siz")


def test_weights_in_a_column_are_those_of_training_and_test() -> None:
    how: dict[str, Any] = {"cv": 3, "epochs": 2, "hidden": 4}
    given = fn.tables.fit_many(TABLE, PRICE, sample_weight=WEIGHT, **how)
    column = fn.tables.fit_many(TABLE | {"count": WEIGHT}, PRICE, weight="count", **how)
    for one, other in zip(given.results, column.results, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    without = fn.tables.fit_many(TABLE, PRICE, **how).results
    assert without["test_loss"].tolist() != given.results["test_loss"].tolist()
