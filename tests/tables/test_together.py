"""`fastnet.tables.train(..., n_estimators=...)`: an ensemble whose members hold back other rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.populations import make_folds

RNG = np.random.default_rng(1)
ROWS = 250
SIZE, KIND = RNG.standard_normal(ROWS), np.array(["u", "v", None, "w", "u"] * (ROWS // 5), object)
PRICE = 3 * SIZE + np.where(KIND == "u", 5.0, 0.0) + RNG.normal(0, 0.1, ROWS) + 1000
LABEL = np.where(PRICE > 1001, "high", "low")
TABLE = {"size": SIZE, "kind": KIND}


def train(target: Any, count: int, **how: Any) -> fn.Ensemble:
    how = {"epochs": 6, "validation_split": 0.2, "early_stopping": 3} | how
    return fn.tables.train(TABLE, target, n_estimators=count, **how)


@pytest.mark.parametrize("target", [PRICE, LABEL, list(LABEL)], ids=["numbers", "texts", "list"])
def test_a_row_has_answers_of_members_that_did_not_see_it(target: Any) -> None:
    ensemble = train(target, 7, optimizer=fn.Adam(0.01), batch_size=16)
    assert len(ensemble) == 7
    assert ensemble.out_of_fold is not None
    labels = None if target is PRICE else np.asarray(target)
    held = [test for _, test in make_folds(ROWS, 5, labels=labels)]
    for k, member in enumerate(ensemble):
        # The member is that of a training on the other rows, with these held out.
        rest = np.setdiff1d(np.arange(ROWS), held[k % 5])
        other = fn.Network(member.layers, inputs=member.inputs, seed=k, backend=member.backend)
        other.preprocessor = member.preprocessor
        rows, out = ({n: v[index] for n, v in TABLE.items()} for index in (rest, held[k % 5]))
        targets = np.asarray(target)
        other.fit(
            *(rows, targets[rest]),
            loss=member.loss,
            optimizer=fn.Adam(0.01),
            epochs=6,
            batch_size=16,
            early_stopping=3,
            validation_data=(out, targets[held[k % 5]]),
        )
        assert np.array_equal(other.parameters, member.parameters)
    first, second = ensemble[0], ensemble[5]  # both hold back part 0
    out = {name: values[held[0]] for name, values in TABLE.items()}
    mean = fn.Ensemble([first, second]).predict_columns(out)
    assert np.array_equal(ensemble.out_of_fold[held[0]], mean)
    assert np.isfinite(ensemble.out_of_fold).all()


def test_all_members_share_one_encoding_of_all_rows() -> None:
    ensemble = train(LABEL, 2)
    assert ensemble[0].preprocessor is ensemble[1].preprocessor
    assert ensemble.label_names == ("high", "low")
    assert ensemble.out_of_fold is not None
    assert np.isnan(ensemble.out_of_fold).any()  # three parts of five were not held back


def test_without_rows_held_back_there_are_no_such_answers() -> None:
    ensemble = train(PRICE, 2, validation_split=0.0, early_stopping=None)
    assert ensemble.out_of_fold is None
    validated = train(
        PRICE, 2, validation_split=None, validation_data=(TABLE, PRICE), sample_weight=np.ones(ROWS)
    )
    assert validated.out_of_fold is None
    assert "val_loss" in validated[1].history


def test_columns_by_name_and_weights() -> None:
    weight = np.arange(ROWS) % 3
    table = TABLE | {"price": PRICE, "weight": weight}
    ensemble = fn.tables.train(table, "price", n_estimators=2, weight="weight", epochs=3)
    scores = ensemble.evaluate(table, "price", sample_weight=weight)
    assert scores["r2"] > 0
    assert ensemble.predict(table).shape == (ROWS, 1)


def test_the_preset_has_members_too() -> None:
    ensemble = train(LABEL, 2, preset="tabular", epochs=2, validation_split=None, early_stopping=1)
    assert {member.history.best_epoch for member in ensemble} <= {1, 2}
    assert ensemble.out_of_fold is not None


def test_a_learning_rate_is_that_of_the_default_course() -> None:
    plain = fn.tables.train(TABLE, PRICE, epochs=3, learning_rate=0.02)
    preset = fn.tables.train(TABLE, PRICE, epochs=3, learning_rate=0.02, preset="tabular")
    for net in (plain, preset):
        assert net.optimizer_state.optimizer.schedule.start == 0.02
    with pytest.raises(fn.InputError, match="give learning_rate or an optimizer"):
        fn.tables.train(TABLE, PRICE, optimizer="adam", learning_rate=0.1)
    with pytest.raises(fn.InputError, match="n_estimators"):
        fn.tables.train(TABLE, PRICE, n_estimators=0)


def test_the_best_preset_is_an_ensemble_of_two_recipes() -> None:
    ensemble = fn.tables.train(TABLE, LABEL, preset="tabular-best", epochs=2)
    assert [net.seed for net in ensemble] == [*range(6)]
    kinds = [getattr(net.preprocessor, "numeric_embedding", None) for net in ensemble]
    assert kinds == [None, "piecewise"] * 3
    assert ensemble.out_of_fold is not None
    assert np.isfinite(ensemble.out_of_fold).all()
    held = make_folds(ROWS, 5, labels=LABEL)[1][1]
    out = {name: values[held] for name, values in TABLE.items()}
    assert np.array_equal(ensemble.out_of_fold[held], ensemble[1].predict_columns(out))
    three = fn.tables.train(TABLE, LABEL, preset="tabular-best", n_estimators=3, epochs=2)
    assert np.array_equal(three[2].parameters, ensemble[2].parameters)
    assert np.array_equal(
        three.predict(TABLE), np.mean([n.predict(TABLE) for n in three], 0, "f8").astype("f4")
    )


def test_the_piecewise_preset_has_dropout_and_decay() -> None:
    net = fn.tables.train(TABLE, PRICE, preset="tabular-piecewise", epochs=2)
    assert [type(layer).__name__ for layer in net.layers] == [
        "Dense", *["Dense", "Dropout"] * 3, "Dense"
    ]  # fmt: skip
    assert net.optimizer_state.optimizer.weight_decay == 0.32
    own = fn.tables.train(
        TABLE, PRICE, preset="tabular-piecewise", epochs=2, numeric_embedding="periodic"
    )
    assert own.preprocessor.numeric_embedding == "periodic"
    with pytest.raises(fn.InputError, match="unknown preset 'tabular-bst'"):
        fn.tables.train(TABLE, PRICE, preset="tabular-bst")


def test_checkpoints_of_epochs_are_refused() -> None:
    with pytest.raises(fn.InputError, match="checkpoint_every goes with one network"):
        train(PRICE, 2, checkpoint_every=1)


def test_a_folder_holds_the_members_of_both_recipes(tmp_path: Path) -> None:
    how: dict[str, Any] = {"preset": "tabular-best", "epochs": 1, "n_estimators": 3}
    made = fn.tables.train(TABLE, PRICE, checkpoint=tmp_path / "p", **how)
    assert len(list((tmp_path / "p").rglob("member-*.json"))) == 3
    again = fn.tables.train(TABLE, PRICE, checkpoint=tmp_path / "p", resume=True, **how)
    assert np.array_equal(made.predict(TABLE), again.predict(TABLE))


def test_members_that_hold_back_the_same_part_share_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    fit = fn.Network.fit

    def remember(net: fn.Network, x: Any, y: Any, **how: Any) -> Any:
        seen.append(how["validation_data"][0])
        return fit(net, x, y, **how)

    monkeypatch.setattr(fn.Network, "fit", remember)
    assert len(train(PRICE, 7)) == 7
    assert len({id(rows) for rows in seen}) == 5


def test_answers_of_several_members_for_a_row_are_those_of_their_mixture() -> None:
    how: dict[str, Any] = {"validation_split": 0.5, "loss": "gaussian_nll"}
    ensemble = train(PRICE, 4, **how)
    assert ensemble.out_of_fold is not None
    for k, (_, test) in enumerate(make_folds(ROWS, 2)):
        together = fn.Ensemble([ensemble[k], ensemble[k + 2]])
        rows = {name: values[test] for name, values in TABLE.items()}
        assert np.array_equal(ensemble.out_of_fold[test], together.predict_columns(rows))


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.9, "at most 0.5, got 0.9"),
        (0.001, "makes 1000 parts of the rows, and there are 250"),
        (-0.2, "validation_split must be"),
        ("a", "validation_split must be"),
        (float("nan"), "validation_split must be"),
    ],
)
@pytest.mark.parametrize("preset", [None, "tabular"])
def test_odd_parts_are_refused(share: Any, message: str, preset: Any) -> None:
    with pytest.raises(fn.InputError, match=message):
        train(PRICE, 2, validation_split=share, preset=preset)
