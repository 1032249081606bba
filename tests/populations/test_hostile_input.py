"""What callers give by mistake is refused in a sentence, and what they may give is not mixed up."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.populations import sharing
from fastnet.populations.crews import Threads
from fastnet.populations.folder import fingerprint
from fastnet.populations.folds import make_folds

RNG = np.random.default_rng(5)
X = RNG.standard_normal((60, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)
LABELS = np.arange(60) % 2


def net(outputs: int = 1, activation: Any = "identity") -> fn.Network:
    layers = [fn.Dense(4, "tanh"), fn.Dense(outputs, activation)]
    return fn.Network(layers, inputs=3, seed=0)


class Counter(fn.Callback):
    """Counts its epochs, and ends the training after twenty."""

    def on_train_begin(self, run: Any) -> None:
        self.count = 0

    def on_epoch_end(self, run: Any) -> None:
        self.count += 1
        if self.count == 20:
            run.stop("twenty")


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"early_stopping": fn.EarlyStopping(1), "optimizer": fn.Adam(0.1)},
        lambda: {"callbacks": [Counter()]},
    ],
)
def test_members_on_other_folds_do_not_share_callbacks(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "share", lambda *_: Threads(3, 1))
    folds = make_folds(60, 4)
    how = {"epochs": 300, "validation_split": 0.3}
    together = fn.fit_many(net(), X, Y, cv=folds, **how, **make())
    for k, (rows, _) in enumerate(folds):
        other = net()
        other.fit(X[rows], Y[rows], **how, **make())
        history = together[k].history
        assert history is not None
        assert other.history is not None
        assert history.records == other.history.records
        assert history.best_epoch == other.history.best_epoch


def test_each_member_of_a_table_has_callbacks_of_its_own() -> None:
    stopping, table = fn.EarlyStopping(1), {"a": X[:, 0], "b": X[:, 1], "y": Y}
    seen: list[Any] = []

    class Remembers(fn.Callback):
        def on_train_begin(self, run: Any) -> None:
            seen.append(self)

    callback = Remembers()
    how: dict[str, Any] = {"hidden": 4, "epochs": 5, "validation_split": 0.3}
    how |= {"callbacks": [callback], "early_stopping": stopping}
    fn.tables.fit_many(table, "y", cv=3, **how)
    assert len({id(one) for one in seen}) == 3
    assert callback not in seen


@pytest.mark.parametrize("count", [0, 59, 61])
def test_weights_must_be_one_for_each_row(count: int) -> None:
    weight, table = np.ones(count), {"a": X[:, 0], "y": Y}
    settings = [{"sample_weight": np.ones(60)}, {"sample_weight": weight}]
    for call in (
        lambda: fn.cross_validate(net(), X, Y, cv=3, sample_weight=weight),
        lambda: fn.cross_validate(net(), table, "y", sample_weight=weight),
        lambda: fn.fit_many(net(), X, Y, cv=3, settings=settings, epochs=1),
        lambda: fn.tables.fit_many(table, "y", cv=3, settings=settings, epochs=1, hidden=2),
    ):
        with pytest.raises(fn.InputError, match=rf"the shape \(60,\), got \({count},\)"):
            call()


def test_folders_and_targets_that_are_none_are_refused() -> None:
    table = {"a": X[:, 0], "y": Y}
    for call in (fn.fit_many, lambda _, *given, **how: fn.tables.fit_many(*given, **how)):
        with pytest.raises(fn.InputError, match="checkpoint must be a folder, got 3"):
            call(net(), table, "y", epochs=1, checkpoint=3)
    with pytest.raises(fn.InputError, match="the target must be a column's name, or values, got 2"):
        fn.tables.cross_validate(table, 2)
    with pytest.raises(fn.InputError, match=r"seed must be a whole number of at least 0, got 0\.5"):
        make_folds(60, 3, seed=0.5)  # type: ignore[arg-type]


def test_different_settings_with_one_text_are_different_rows_of_the_means() -> None:
    rows = [RNG.integers(0, 60, 60) for _ in range(2)]
    settings = [{"rows": one} for one in (*rows, rows[0])]
    tried = fn.fit_many(net(), X, Y, settings=settings, epochs=1)
    assert list(tried.results["rows"]) == ["60 values", "60 values #2", "60 values"]
    assert [row["members"] for row in tried.results.mean()] == [2, 1]


def scaled(factor: float) -> Callable[..., Any]:
    def loss(output: Any, target: Any) -> Any:
        return factor * np.square(output - target).sum(1), 2 * factor * (output - target)

    return loss


def test_functions_in_settings_are_told_apart() -> None:
    settings = [{"loss": scaled(1.0)}, {"loss": scaled(2.0)}]
    tried = fn.fit_many(net(), X, Y, settings=settings, epochs=1)
    assert list(tried.results["loss"]) != list(tried.results["loss"])[::-1]
    assert len(tried.results.mean()) == 2


def halves(x: Any) -> Any:
    return x / 2


class Held:
    def __init__(self, value: int) -> None:
        self.value = value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x / 2, lambda x: x / 3),
        (scaled(1.0), scaled(2.0)),
        (functools.partial(scaled, 1.0), functools.partial(scaled, 2.0)),
        (Held(1), Held(2)),
        (fn.EarlyStopping(1), fn.EarlyStopping(2)),
        (Held(1).__init__, Held(2).__init__),
        (Held, fn.EarlyStopping),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}),
        ({1, 2}, {1, 3}),
    ],
)
def test_a_resumed_population_notices_other_functions_and_objects(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one)


def test_objects_of_the_same_content_have_the_same_checksum() -> None:
    assert fingerprint(Held(1)) == fingerprint(Held(1))
    assert fingerprint(scaled(1.0)) == fingerprint(scaled(1.0))
    assert fingerprint(halves) == fingerprint(halves)

    def recursive(n: int) -> int:
        return n and recursive(n - 1)

    assert fingerprint(recursive) == fingerprint(recursive)


def test_probabilities_of_one_output_are_no_classes() -> None:
    binary = net(1, "sigmoid")
    assert len(fn.cross_validate(binary, X, RNG.uniform(0, 1, 60), cv=3, epochs=1)) == 3


def test_targets_may_be_a_column_by_a_list_of_its_name() -> None:
    table = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "kind": np.where(LABELS, "u", "v")}
    two = net(2, "softmax")
    one = fn.cross_validate(two, table, ["kind"], cv=3, epochs=2)
    assert list(one["test_loss"]) == list(
        fn.cross_validate(two, table, "kind", cv=3, epochs=2)["test_loss"]
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_targets_may_be_a_frame(library: str) -> None:
    frames = pytest.importorskip(library)
    plain = fn.cross_validate(net(), X, Y[:, None], cv=3, epochs=2)
    framed = fn.cross_validate(net(), X, frames.DataFrame({"y": Y}), cv=3, epochs=2)
    assert list(plain["test_loss"]) == list(framed["test_loss"])


class Halves:
    """A splitter that looks at rows and targets."""

    def split(self, x: Any, y: Any) -> Iterator[Any]:
        assert x is X
        assert y is Y
        yield np.flatnonzero(x[:, 0] > 0), np.flatnonzero(x[:, 0] <= 0)


def test_a_splitter_sees_rows_and_targets() -> None:
    assert len(fn.cross_validate(net(), X, Y, cv=Halves(), epochs=1)) == 1


def test_odd_folds_are_refused_in_a_sentence() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    used = selection.KFold(3).split(X)
    list(used)
    for cv, message in (
        (selection.GroupKFold(3), r"cv=\[\*splitter.split\(x, y, groups\)\]"),
        (selection.StratifiedKFold(3), "continuous"),
        ("5", "got '5'"),
        (None, "give cv"),
        (used, "used once"),
    ):
        with pytest.raises(fn.InputError, match=message):
            fn.cross_validate(net(), X, Y, cv=cv, epochs=1)


def test_folds_that_test_on_training_rows_are_warned_of() -> None:
    with pytest.warns(fn.FastNetWarning, match="tested on 2 of the rows"):
        fn.cross_validate(net(), X, Y, cv=[(np.arange(50), np.arange(48, 60))], epochs=1)


@pytest.mark.parametrize("labels", [["a", None], ["a", 1], [0.0, np.nan]])
def test_labels_of_several_types_are_refused_as_by_fit(labels: Any) -> None:
    y = np.array(labels * 30, object)
    with pytest.raises(fn.InputError, match="y "):
        fn.cross_validate(net(2, "softmax"), X, y, cv=3)


def test_an_iterator_in_a_grid_is_read_once() -> None:
    tried = fn.fit_many(net(), X, Y, param_grid={"epochs": iter([1, 2])})
    assert list(tried.results["epochs"]) == [1, 2]


def test_what_is_no_network_or_has_no_rows_is_refused() -> None:
    no_network: Any = [3, 4, 1]
    with pytest.raises(fn.InputError, match="the template must be a Network"):
        fn.fit_many(no_network, X, Y)
    with pytest.raises(fn.DataError, match="has no rows"):
        fn.tables.cross_validate({"a": X[:0, 0], "y": Y[:0]}, "y")
    with pytest.raises(fn.InputError, match="rectangular"):
        fn.fit_many(net(), [[1, 2], [3]], [1, 2])
    with pytest.raises(fn.InputError, match=r"y must be an array"):
        fn.fit_many(net(), X, 3)


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_rows_of_a_series_are_taken_by_number_and_not_by_its_labels(kind: str) -> None:
    pandas = pytest.importorskip("pandas")
    table = {"a": X[:, 0], "b": X[:, 1]}
    y = Y if kind == "numbers" else np.where(LABELS, "u", "v")
    labels = np.arange(60)[::-1]
    series, column = pandas.Series(y, labels), pandas.DataFrame({"y": y}, labels)
    how: dict[str, Any] = {"hidden": 4, "epochs": 3}
    plain = fn.tables.cross_validate(table, y, cv=3, **how)
    several = fn.tables.train(table, y, n_estimators=2, validation_split=0.2, **how)
    for given in (series, column):
        framed = fn.tables.cross_validate(table, given, cv=3, **how)
        assert list(framed["test_loss"]) == list(plain["test_loss"])
        ensemble = fn.tables.train(table, given, n_estimators=2, validation_split=0.2, **how)
        assert np.array_equal(ensemble.predict(table), several.predict(table))
        one, other = ensemble.out_of_fold, several.out_of_fold
        assert one is not None
        assert other is not None
        assert np.array_equal(one, other, equal_nan=True)


def test_an_ensemble_of_members_that_all_diverged_says_what_helps() -> None:
    members = fn.fit_many(net(), X, Y, seeds=2, epochs=9, optimizer=fn.SGD(1e30))
    with pytest.raises(fn.InputError, match=r"all 2 members diverged.*smaller learning_rate"):
        fn.Ensemble(members)


def test_settings_with_the_name_of_a_score_have_a_column_of_their_own() -> None:
    grid = {"loss": ["mse", "mae"], "epochs": [2, 9]}
    how: dict[str, Any] = {"cv": 3, "early_stopping": 1, "optimizer": fn.Adam(1.0)}
    tried = fn.fit_many(net(), X, Y, param_grid=grid, **how).results
    means = tried.mean()
    assert [row["members"] for row in means] == [3, 3, 3, 3]
    assert list(means["param_loss"]) == ["mse", "mse", "mae", "mae"]
    assert list(means["param_epochs"]) == [2, 9, 2, 9]
    assert all(isinstance(value, float) for value in tried["loss"])
    table = {"a": X[:, 0], "y": Y}
    of_table = fn.tables.fit_many(table, "y", param_grid=grid, hidden=2).results.mean()
    assert list(of_table["param_loss"]) == ["mse", "mse", "mae", "mae"]


def test_losses_of_several_kinds_do_not_say_which_is_best() -> None:
    for grid in ({"loss": ["mse", "mae"]}, {"standardize_targets": [True, False]}):
        results = fn.fit_many(net(), X, Y, param_grid=grid, epochs=1).results
        with pytest.raises(fn.InputError, match=f"the losses differ by {next(iter(grid))}"):
            results.best()
        assert results.best("r2")["r2"] == max(results["r2"])
    fn.fit_many(net(), X, Y, param_grid={"loss": ["mse", "mse"]}, epochs=1).results.best()


def test_members_call_classes_as_the_template_does() -> None:
    named = net(2, "softmax")
    named.label_names = ("low", "high")
    one = fn.fit_many(named, X, LABELS, epochs=2, class_weight={"low": 3.0, "high": 1.0})[0]
    assert one.label_names == ("low", "high")
    named.fit(X, LABELS, epochs=2, class_weight={"low": 3.0, "high": 1.0})
    assert np.array_equal(one.predict(X), named.predict(X))


def test_results_of_members_that_all_diverged_say_so() -> None:
    how: dict[str, Any] = {"cv": 2, "epochs": 9, "optimizer": fn.SGD(1e30)}
    results = fn.cross_validate(net(), X, Y, **how)
    for one in (results, results.mean()):
        with pytest.raises(fn.InputError, match="all of them diverged"):
            one.best()


def test_members_without_their_description_are_not_taken_over(tmp_path: Path) -> None:
    fn.fit_many(net(), X, Y, seeds=2, epochs=1, checkpoint=tmp_path)
    (tmp_path / "population.json").unlink()
    with pytest.raises(fn.CheckpointError, match=r"no population\.json"):
        fn.fit_many(net(), X, Y, seeds=2, epochs=9, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("seed", [None, "a", 1.5, -1])
def test_seeds_count_from_a_number(seed: Any) -> None:
    with pytest.raises(fn.InputError, match="seed must be a whole number"):
        fn.tables.fit_many({"a": X[:, 0], "y": Y}, "y", seeds=2, seed=seed)


@pytest.mark.parametrize("count", [5, 61])
def test_targets_of_another_length_than_the_table_are_refused(count: int) -> None:
    with pytest.raises(fn.InputError, match=f"has 60 rows, and the target has {count}"):
        fn.tables.cross_validate({"a": X[:, 0]}, np.arange(count) + 0.5)


@pytest.mark.parametrize("setting", [{"activation": "tanh"}, {"dropout": 0.2}])
def test_settings_of_hidden_layers_need_such_layers(setting: Any) -> None:
    for layers in ([fn.Dense(1)], [fn.Dense(3), fn.Dense(1)]):
        linear = fn.Network(layers, inputs=3, seed=0)
        with pytest.raises(fn.InputError, match="changes the hidden layers"):
            fn.fit_many(linear, X, Y, settings=[setting], epochs=1)
    within = [fn.Dense(3), fn.Residual([fn.Dense(3, "relu")]), fn.Dense(1)]
    fn.fit_many(fn.Network(within, inputs=3), X, Y, settings=[{"activation": "tanh"}], epochs=1)


def test_settings_are_shown_without_addresses_and_as_plain_numbers() -> None:
    stopping = [fn.EarlyStopping(1), fn.EarlyStopping(2), None]
    grid = {"early_stopping": stopping, "learning_rate": np.float32([0.125])}
    tried = fn.fit_many(net(), X, Y, param_grid=grid, epochs=1).results
    assert list(tried["early_stopping"]) == ["EarlyStopping", "EarlyStopping #2", None]
    assert [row["learning_rate"] for row in tried] == [0.125] * 3
    functions = fn.fit_many(net(), X, Y, settings=[{"loss": scaled(1.0)}], epochs=1).results
    assert functions[0]["param_loss"] == "loss"


def test_a_sparse_matrix_is_refused_as_by_fit() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(fn.InputError, match="is a sparse matrix"):
        fn.fit_many(net(), sparse.csr_matrix(X), Y)


def test_an_empty_population_is_no_ensemble() -> None:
    members = fn.fit_many(net(), X, Y, epochs=1)
    with pytest.raises(fn.InputError, match="needs a sequence of networks"):
        fn.Ensemble(members[5:])
