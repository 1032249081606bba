"""Presets: one path for the API, the command and the estimators, and what they choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastnet as fn
from fastnet.cli import group
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from fastnet.tables import Overrides, TablePreprocessor, preset
from fastnet.tables.preset import BestEpoch, Built
from tests.tables.test_networks import INPUTS, TABLE, X, fitted

TABULAR = preset.get("tabular")
TASKS: dict[str, Any] = {"price": "regression", "class": "classification"}

# --- one path -------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"hidden": (8,)}
SMALL_OPTIONS = ("--hidden", "8")
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "the preset's own": (SMALL, SMALL_OPTIONS),
    "epochs and batches": (
        SMALL | {"epochs": 3, "batch_size": 32},
        (*SMALL_OPTIONS, "--epochs", "3", "--batch-size", "32"),
    ),
    "layers": (
        {"hidden": (7, 5), "activation": "tanh", "epochs": 3},
        ("--hidden", "7,5", "--activation", "tanh", "--epochs", "3"),
    ),
    "embeddings": (
        SMALL | {"embedding_size": 3, "numeric_embedding": "periodic", "epochs": 3},
        (*SMALL_OPTIONS, "--embedding-size", "3", "--numeric-embedding", "periodic", "--epochs",
         "3"),
    ),
    "an optimizer": (
        SMALL | {"optimizer": fn.AdamW(0.5, weight_decay=0.1), "epochs": 3},
        (*SMALL_OPTIONS, "--optimizer", "adamw", "--learning-rate", "0.5", "--weight-decay", "0.1",
         "--epochs", "3"),
    ),
    "early stopping": (
        SMALL | {"validation_split": 0.3, "early_stopping": 2, "epochs": 9},
        (*SMALL_OPTIONS, "--validation", "0.3", "--early-stopping", "2", "--epochs", "9"),
    ),
}  # fmt: skip
LOSSES = {"price": ("huber", fn.losses.Huber), "class": ("cross_entropy", fn.losses.CrossEntropy)}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each call of ``Network.fit``, and what it trained."""
    seen: list[dict[str, Any]] = []
    fit = fn.Network.fit

    def spy(self: fn.Network, *rows: Any, **options: Any) -> fn.History:
        names = ("epochs", "batch_size", "validation_split", "early_stopping")
        kept = {name: options[name] for name in names if options.get(name)}
        # An estimator hands its early stopping over as a callback.
        found = [c for c in options.get("callbacks", ()) if isinstance(c, fn.EarlyStopping)]
        kept |= {"early_stopping": found[0]} if found else {}
        if "early_stopping" in kept:
            kept["early_stopping"] = stopping(kept["early_stopping"])
        what = {"layers": self.layers, "inputs": self.inputs, "net": self}
        seen.append(what | kept | {name: options[name] for name in ("loss", "optimizer")})
        return fit(self, *rows, **options)

    monkeypatch.setattr(fn.Network, "fit", spy)
    return seen


def stopping(given: Any) -> tuple[Any, ...]:
    made = given if isinstance(given, fn.EarlyStopping) else fn.EarlyStopping(given)
    return type(made), made.patience, made.monitor, made.min_delta


def train_by_each(target: str, options: dict[str, Any], words: tuple[str, ...]) -> None:
    """Train the same network by the API, the command and the estimator."""
    how = {"preset": "tabular", "seed": 5, "backend": "numpy"}
    fn.tables.train(TABLE[[*INPUTS, target]], target, **options, **how)
    TABLE[[*INPUTS, target]].to_csv("t.csv", index=False)
    given = ("train", "t.csv", "--target", target, "--preset", "tabular", *words)
    result = CliRunner().invoke(group, [*given, "--seed", "5", "--backend", "numpy", "--quiet"])
    assert result.exit_code == 0, result.output
    named = {"hidden": "hidden_layers"}
    made = FastNetRegressor if target == "price" else FastNetClassifier
    own = {named.get(name, name): value for name, value in options.items()}
    made(preset="tabular", **own, random_state=5, backend="numpy").fit(X, TABLE[target])


@pytest.mark.parametrize(("options", "words"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("target", TASKS)
def test_the_api_the_command_and_the_estimator_train_the_same_network(
    target: str,
    options: dict[str, Any],
    words: tuple[str, ...],
    fits: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    train_by_each(target, options, words)
    first, *others = fits
    assert len(others) == 2
    parameters = np.asarray(first.pop("net").parameters)
    for other in others:
        assert np.array_equal(other.pop("net").parameters, parameters)
        assert other == first

    # And it is what `Preset.build` makes.
    pre = TablePreprocessor.fit(
        TABLE[[*INPUTS, target]], target,
        numeric_embedding=options.get("numeric_embedding"), seed=5,
    )  # fmt: skip
    given = {name: value for name, value in options.items() if name != "numeric_embedding"}
    built = TABULAR.build(pre, TASKS[target], Overrides(**given))
    assert [layer.units for layer in first["layers"]] == [layer.units for layer in built.layers]
    assert (first["loss"], first["optimizer"]) == (built.loss, built.optimizer)
    expected = built.fit | {"early_stopping": stopping(built.fit["early_stopping"])}
    assert {name: first[name] for name in expected} == expected


@pytest.mark.parametrize("target", TASKS)
def test_a_loss_that_was_given_is_the_same_by_each(
    target: str, fits: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, kind = LOSSES[target]
    options = SMALL | {"epochs": 2, "loss": kind()}
    train_by_each(target, options, (*SMALL_OPTIONS, "--epochs", "2", "--loss", name))
    assert [fit["loss"] for fit in fits] == [kind()] * 3
    assert np.array_equal(fits[0]["net"].parameters, fits[1]["net"].parameters)
    assert np.array_equal(fits[0]["net"].parameters, fits[2]["net"].parameters)


def test_another_option_trains_another_network() -> None:
    one, other = (fitted("class", preset="tabular", seed=seed, epochs=1) for seed in (5, 6))
    assert not np.array_equal(one.parameters, other.parameters)


# --- what is built --------------------------------------------------------------------------------


def built(target: str, **given: Any) -> Built:
    pre = TablePreprocessor.fit(TABLE[[*INPUTS, target]], target)
    return TABULAR.build(pre, TASKS[target], Overrides(**given))


def test_the_published_recipe_is_built() -> None:
    classes, numbers = built("class"), built("price")
    assert [layer.units for layer in classes.layers[1:]] == [256, 256, 256, 2]
    assert [layer.units for layer in numbers.layers[1:]] == [256, 256, 256, 1]
    assert [layer.activation for layer in classes.layers[1:]] == ["selu"] * 3 + ["softmax"]
    assert [layer.activation for layer in numbers.layers[1:]] == ["mish"] * 3 + ["identity"]
    assert classes.loss == fn.losses.CrossEntropy(0.1) and numbers.loss == fn.losses.MSE()
    for made, rate in ((classes, 0.04), (numbers, 0.07)):
        assert made.optimizer == fn.Adam(fn.schedules.CosLog(rate, epochs=256), beta2=0.95)
        kept = {name: value for name, value in made.fit.items() if name != "early_stopping"}
        assert kept == {"epochs": 256, "batch_size": 256, "validation_split": 0.2}
        assert isinstance(made.fit["early_stopping"], BestEpoch)


def test_what_is_given_replaces_parts_of_it() -> None:
    made = built("price", learning_rate=0.5, epochs=7, optimizer_options={"l2": 0.1})
    assert made.optimizer == fn.Adam(fn.schedules.CosLog(0.5, epochs=7), beta2=0.95, l2=0.1)
    schedule = fn.schedules.Constant(0.1)
    optimizer = built("price", learning_rate=schedule).optimizer
    assert isinstance(optimizer, fn.Adam) and optimizer.schedule == schedule
    assert built("class", output_activation="sigmoid").layers[-1].activation == "sigmoid"
    assert "early_stopping" not in built("class", validation_split=0.0).fit


def test_rows_that_validate_already_are_not_taken_from_training() -> None:
    pre = TablePreprocessor.fit(TABLE[[*INPUTS, "class"]], "class")
    made = TABULAR.build(pre, "classification", Overrides(), validates=True)
    assert made.fit["validation_split"] == 0
    assert isinstance(made.fit["early_stopping"], BestEpoch)


@pytest.mark.parametrize("target", TASKS)
@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise"])
def test_it_learns_with_and_without_embeddings(target: str, embedding: Any) -> None:
    size = None if embedding is None else 4
    options = {"numeric_embedding": embedding, "embedding_size": size, "hidden": (32, 32)}
    net = fitted(target, preset="tabular", **{"epochs": 40, **options})
    score = net.evaluate(TABLE, target)
    assert score["r2" if target == "price" else "accuracy"] > 0.8
    assert net.history is not None and net.history.best_epoch is not None


def test_the_best_epoch_is_the_last_of_the_best() -> None:
    net = fn.Network([2, 1], backend="numpy")
    run, best = fn.Run(net, fn.History(), 4, 1), BestEpoch("classification", 4)
    best.on_train_begin(run)
    for epoch, accuracy in enumerate((0.5, 0.75, 0.75, 0.25), 1):
        net.parameters = epoch
        run.history.append(epoch, {"val_accuracy": accuracy})
        best.on_epoch_end(run)
    best.on_train_end(run)
    assert run.stopped is None
    assert run.history.best_epoch == 3
    assert (net.parameters == 3).all()


# --- estimators -----------------------------------------------------------------------------------


def test_a_preset_takes_arrays_with_gaps_and_weights() -> None:
    x = TABLE[["size", "floor"]].to_numpy(float)
    weight = np.where(np.isnan(x[:, 0]), 0.0, 2.0)
    model = FastNetRegressor(preset="tabular", epochs=30, random_state=0, backend="numpy")
    model.fit(x, 3 * np.nan_to_num(x[:, 0]), sample_weight=weight)
    kept = weight > 0
    assert model.score(x[kept], 3 * x[kept, 0]) > 0.9
    assert model.network_.plan.has_rates
    with pytest.raises(ValueError, match="X has 1 features, but FastNetRegressor is expecting 2"):
        model.predict(x[:, :1])


def test_an_estimators_learning_rate_is_the_peak_of_the_presets_schedule() -> None:
    options: dict[str, Any] = {"preset": "tabular", "random_state": 0, "backend": "numpy"}
    model = FastNetClassifier((7,), epochs=2, learning_rate=0.5, validation_split=0.5, **options)
    model.fit(X, TABLE["class"])
    assert model.n_iter_ == 2
    assert model.network_.optimizer_state is not None
    optimizer = model.network_.optimizer_state.optimizer
    assert isinstance(optimizer, fn.Adam) and optimizer.schedule == fn.schedules.CosLog(0.5, 2)


@pytest.mark.parametrize("name", ["dropout", "normalization", "standardize", "initializer"])
def test_an_option_that_a_preset_does_not_have_is_refused(name: str) -> None:
    value = {"dropout": 0.5, "standardize": True}.get(name, "batch")
    with pytest.raises(fn.InputError, match=f"{name} does not go with a preset"):
        FastNetClassifier(preset="tabular", **{name: value}).fit(X, TABLE["class"])


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_zero_is_not_taken_for_the_presets_own(name: str) -> None:
    with pytest.raises(fn.InputError, match=f"{name} must be a whole number of at least 1, got 0"):
        fn.tables.train(TABLE, "price", preset="tabular", hidden=(4,), **{name: 0})


def test_no_batch_size_means_all_rows_with_a_preset_too(fits: list[dict[str, Any]]) -> None:
    for given in ({"batch_size": None}, {}):
        fn.tables.train(TABLE, "price", preset="tabular", hidden=(4,), epochs=1, **given)
    assert [one.get("batch_size") for one in fits] == [None, TABULAR.batch_size]
