"""Each member of a population has the bits of a network that was trained alone."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data.dataset import Dataset
from fastnet.populations import sharing, training, workers
from fastnet.populations.crews import Threads
from fastnet.utils import memory
from tests.on_backends import each_backend, everything, on_host, same
from tests.signals import interrupting

RNG = np.random.default_rng(4)
X = RNG.standard_normal((60, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)
LABELS = np.arange(60) % 3
WEIGHT = np.arange(60) % 4


@pytest.fixture(params=[1, 2, 3])
def several(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Train so many members at once, whatever the machine."""
    count: int = request.param
    monkeypatch.setattr(sharing, "share", lambda *_: Threads(count, 1))
    return count


def template(backend: str = "numba", *, classes: bool = False, **how: Any) -> fn.Network:
    last = fn.Dense(3, "softmax") if classes else fn.Dense(1)
    layers = [fn.Dense(6, "tanh"), fn.Dropout(0.2), last]
    return fn.Network(layers, inputs=3, backend=backend, seed=5, **how)


def alone(net: fn.Network, seed: int, layers: Any = None) -> fn.Network:
    how = {"backend": net.backend, "dtype": net.dtype, "seed": seed}
    return fn.Network(layers or net.layers, inputs=net.inputs, **how)


def assert_same(member: fn.Network, other: fn.Network) -> None:
    assert same(everything(member), everything(other))
    a, b = member.history, other.history
    assert a is not None
    assert b is not None
    assert a.records == b.records
    assert (a.epochs, a.best_epoch, a.stop_reason) == (b.epochs, b.best_epoch, b.stop_reason)


CASES: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 7, "batch_size": 16},
    "early stopping": {
        "epochs": 200,
        "batch_size": None,
        "early_stopping": 3,
        "validation_split": 0.2,
        "optimizer": fn.Adam(0.3),
    },
    "a last small batch, weights": {"epochs": 3, "batch_size": 7, "sample_weight": WEIGHT},
    "a schedule, clipped": {
        "epochs": 4,
        "optimizer": fn.SGD(fn.schedules.Cosine(0.1, epochs=4), momentum=0.9, clip_norm=0.5),
    },
    "more rows in a batch than there are": {"epochs": 3, "batch_size": 1000},
    "scaled": {"epochs": 3, "standardize": True, "standardize_targets": True},
}


@each_backend
@pytest.mark.parametrize("how", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_members_have_the_bits_of_a_fit_alone(backend: str, how: Any, dtype: Any) -> None:
    net = template(backend, dtype=dtype)
    before = on_host(net)
    population = fn.fit_many(net, X, Y, seeds=[3, 8, 3], **how)
    assert len(population) == 3
    for member, seed in zip(population, (3, 8, 3), strict=True):
        other = alone(net, seed)
        other.fit(X, Y, **how)
        assert_same(member, other)
    assert np.array_equal(on_host(net), before)
    assert net.history is None


@pytest.mark.parametrize("members", [1, 2, 3, 7])
def test_threads_and_order_change_nothing(several: int, members: int) -> None:
    net = template(classes=True)
    seeds = [*range(members)]
    how: dict[str, Any] = {"epochs": 60, "batch_size": 20, "early_stopping": 4}
    forward = fn.fit_many(net, X, LABELS, seeds=seeds, **how)
    backward = fn.fit_many(net, X, LABELS, seeds=seeds[::-1], **how)
    for k, seed in enumerate(seeds):
        other = alone(net, seed)
        other.fit(X, LABELS, **how)
        assert_same(forward[k], other)
        assert_same(backward[members - 1 - k], other)


SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"learning_rate": 0.05}, {"optimizer": fn.RMSprop(fn.schedules.Exponential(0.05, 0.5))}),
    ({"l2": 0.1}, {"optimizer": fn.RMSprop(fn.schedules.Exponential(0.01, 0.5), l2=0.1)}),
    ({"optimizer": "lion", "learning_rate": 0.02}, {"optimizer": fn.Lion(0.02)}),
    ({"delta": 0.3}, {"loss": fn.losses.Huber(0.3)}),
    ({"loss": "mae", "batch_size": 9}, {"loss": "mae", "batch_size": 9}),
    (
        {"early_stopping": 1, "validation_split": 0.5},
        {"early_stopping": 1, "validation_split": 0.5},
    ),
    ({"sample_weight": WEIGHT}, {"sample_weight": WEIGHT}),
    ({"shuffle": False}, {"shuffle": False}),
]


@pytest.mark.parametrize(("settings", "same_as"), SETTINGS, ids=lambda s: next(iter(s)))
def test_settings_are_those_of_fit_optimizer_and_loss(settings: Any, same_as: Any) -> None:
    net = template(loss=fn.losses.Huber(1.0))
    how: dict[str, Any] = {
        "epochs": 5,
        "optimizer": fn.RMSprop(fn.schedules.Exponential(0.01, 0.5)),
    }
    population = fn.fit_many(net, X, Y, settings=[{}, settings], **how)
    one, other = alone(net, 5), alone(net, 5)
    one.fit(X, Y, **({"loss": net.loss} | how))
    other.fit(X, Y, **({"loss": net.loss} | how | same_as))
    assert_same(population[0], one)
    assert_same(population[1], other)
    assert not same(everything(one), everything(other))  # the setting matters


def test_lbfgs_has_members_too() -> None:
    net = fn.Network([3, 4, 1], activation="tanh", seed=5)
    population = fn.fit_many(net, X, Y, seeds=2, optimizer="lbfgs", epochs=4)
    other = fn.Network([3, 4, 1], activation="tanh", seed=6)
    other.fit(X, Y, optimizer="lbfgs", epochs=4)
    assert np.array_equal(population[1].parameters, other.parameters)


D, R, S = fn.Dense, fn.Dropout, "softmax"
SHAPES: list[tuple[dict[str, Any], list[Any]]] = [
    ({"hidden": 4}, [D(4, "tanh"), R(0.2), D(3, S)]),
    ({"hidden": (4, 5)}, [D(4, "tanh"), R(0.2), D(5, "tanh"), R(0.2), D(3, S)]),
    ({"activation": "relu"}, [D(6, "relu", "glorot_uniform"), R(0.2), D(3, S)]),
    ({"dropout": 0.5}, [D(6, "tanh"), R(0.5), D(3, S)]),
    ({"dropout": 0.0}, [D(6, "tanh"), R(0.0), D(3, S)]),
]


@pytest.mark.parametrize(("settings", "layers"), SHAPES, ids=lambda s: str(s)[:30])
def test_shapes_may_differ(settings: Any, layers: Any) -> None:
    net = template(classes=True)
    population = fn.fit_many(net, X, LABELS, settings=[settings, {}], epochs=3, seeds=[2])
    expected = fn.Network(layers, inputs=3, backend="numba", seed=2)
    expected.fit(X, LABELS, epochs=3)
    if "activation" in settings:
        assert population[0].layers[0].activation == "relu"  # type: ignore[attr-defined]
    else:
        assert_same(population[0], expected)
    assert population[1].layers == net.layers


def test_dropout_is_put_in_where_there_is_none() -> None:
    net = fn.Network([3, 4, 5, 1], activation="elu", backend="numpy")
    population = fn.fit_many(net, X, Y, param_grid={"dropout": [0.0, 0.3]}, epochs=1)
    assert population[0].layers == net.layers
    hidden = [fn.Dense(4, "elu"), fn.Dropout(0.3), fn.Dense(5, "elu"), fn.Dropout(0.3)]
    assert population[1].layers == (*hidden, fn.Dense(1))


def test_a_grid_is_every_combination_and_rows_are_rows() -> None:
    net, mask = template(), np.arange(60) < 30
    grid = [{"learning_rate": [0.1, 0.2], "l2": [0, 1.0]}, {"rows": [mask, [5, 5, 7, 9, 11]]}]
    population = fn.fit_many(net, X, Y, param_grid=grid, epochs=2)
    shown = [(r.get("learning_rate"), r.get("l2")) for r in population.results]
    assert shown == [(0.1, 0), (0.1, 1.0), (0.2, 0), (0.2, 1.0), (None, None), (None, None)]
    for member, rows in zip(population[4:], (mask, [5, 5, 7, 9, 11]), strict=True):
        other = alone(net, 5)
        other.fit(X[rows], Y[rows], epochs=2)
        assert_same(member, other)


def test_callbacks_are_each_members_own() -> None:
    class Counts(fn.Callback):
        seen = 0

        def on_epoch_end(self, run: fn.Run) -> None:
            self.seen += 1
            if self.seen == 3:
                run.stop("three")

    counts, numbers = Counts(), list[int]()
    callbacks = [counts, lambda run: numbers.append(run.epoch)]
    population = fn.fit_many(template(), X, Y, seeds=4, epochs=9, callbacks=callbacks)
    assert [net.history.stop_reason for net in population] == ["three"] * 4
    assert sorted(numbers) == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert counts.seen == 0


def test_a_member_that_diverges_leaves_the_others_alone(several: int) -> None:
    settings = [{"learning_rate": rate} for rate in (0.01, 1e30, 0.02)]
    how: dict[str, Any] = {"optimizer": fn.SGD(), "epochs": 6}
    population = fn.fit_many(template(), X, Y, settings=settings, **how)
    reasons = [row["stop_reason"] for row in population.results]
    assert reasons == ["epochs", "diverged", "epochs"]
    assert np.isnan(population.results["loss"]).tolist() == [False, True, False]
    assert np.isfinite(population[1].parameters).all()
    for k in (0, 2):
        other = alone(template(), 5)
        other.fit(X, Y, epochs=6, optimizer=fn.SGD(settings[k]["learning_rate"]))
        assert_same(population[k], other)
    assert population.best() is population[2]


def test_tables_and_data_sets_are_rows_too() -> None:
    table = {"a": X[:, 0], "kind": np.array(["u", "v"] * 30), "price": Y}
    width = fn.tables.TablePreprocessor.fit(table, "price").inputs
    net = fn.Network([width, 4, 1], backend="numpy")
    population = fn.fit_many(net, table, "price", cv=3, epochs=2)
    train, test = fn.populations.make_folds(60, 3)[1]
    other = alone(net, 0)
    rows = {name: values[train] for name, values in table.items()}
    other.fit(rows, "price", epochs=2)
    assert_same(population[1], other)
    scores = other.evaluate({name: values[test] for name, values in table.items()}, "price")
    assert population.results[1]["test_loss"] == scores["loss"]
    digits = fn.data.load("digits")
    population = fn.fit_many(
        fn.Network([64, 10], output_activation="softmax"), digits, seeds=2, epochs=1
    )
    assert len(population) == 2


# --- Ctrl-C, errors, folders ---------------------------------------------------------------------


def test_ctrl_c_ends_what_all_threads_train(
    several: int, usual_handler: None, tmp_path: Path
) -> None:
    pressed = threading.Lock()

    def press(run: fn.Run) -> None:
        if run.epoch == 3 and pressed.acquire(blocking=False):  # once
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    how: dict[str, Any] = {"seeds": 6, "epochs": 10**6, "callbacks": [press]}
    before = {*threading.enumerate()}
    with pytest.raises(KeyboardInterrupt):
        fn.fit_many(template(), X, Y, checkpoint=tmp_path / "p", **how)
    assert not {*threading.enumerate()} - before
    assert not list((tmp_path / "p").glob("member-*"))


def test_an_error_in_one_thread_ends_the_others(several: int) -> None:
    def fail(run: fn.Run) -> None:
        raise RuntimeError("mine")

    settings = [{"epochs": 10**6, "seed": 1}, {"callbacks": [fail]}, {"epochs": 10**6}]
    before = {*threading.enumerate()}
    with pytest.raises(RuntimeError, match="mine"):
        fn.fit_many(template(), X, Y, settings=settings if several > 1 else settings[1:])
    assert not {*threading.enumerate()} - before


@pytest.mark.parametrize("killed_after", [0, 1, 3])
def test_a_population_resumes_with_the_members_that_are_done(
    killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"seeds": 4, "epochs": 4, "validation_split": 0.3, "early_stopping": 2}
    whole = fn.fit_many(template(), X, Y, **how)
    trained = list[int]()
    train = training._train

    def counted(work: Any, numbers: Any, *rest: Any) -> Any:
        trained.append(numbers[0])
        if killed_after == len(trained) - 1:
            raise KeyboardInterrupt
        return train(work, numbers, *rest)

    monkeypatch.setattr(training, "_train", counted)
    monkeypatch.setattr(sharing, "share", lambda *_: Threads(1, 1))
    folder = tmp_path / "population"
    with pytest.raises(KeyboardInterrupt):
        fn.fit_many(template(), X, Y, checkpoint=folder, **how)
    killed_after = -1
    done, trained[:] = len(trained) - 1, []
    resumed = fn.fit_many(template(), X, Y, checkpoint=folder, resume=True, **how)
    assert trained == [*range(done, 4)]  # none lost, none doubled
    for a, b in zip(whole, resumed, strict=True):
        assert_same(a, b)
        assert np.array_equal(a.predict(X), b.predict(X))
    rows = [[{**row, "seconds": 0} for row in p.results] for p in (whole, resumed)]
    assert rows[0] == rows[1]


def test_another_population_does_not_resume(tmp_path: Path) -> None:
    folder, net = tmp_path / "p", template()
    fn.fit_many(net, X, Y, seeds=2, epochs=1, checkpoint=folder)
    with pytest.raises(fn.CheckpointError, match="give resume=True"):
        fn.fit_many(net, X, Y, seeds=2, epochs=1, checkpoint=folder)
    fn.fit_many(net, X, Y, seeds=2, epochs=1, checkpoint=folder, resume=True)
    for other in (
        {"seeds": 3},
        {"epochs": 2},
        {"sample_weight": WEIGHT},
        {"optimizer": fn.Adam(0.1)},
        {"early_stopping": fn.EarlyStopping(3)},
    ):
        how = {"seeds": 2, "epochs": 1, **other}
        with pytest.raises(fn.CheckpointError, match=r"another population: its \w+ differ"):
            fn.fit_many(net, X, Y, checkpoint=folder, resume=True, **how)
    with pytest.raises(fn.CheckpointError, match="its rows differ"):
        fn.fit_many(net, X + 1, Y, seeds=2, epochs=1, checkpoint=folder, resume=True)
    (folder / "member-000001.safetensors").write_bytes(b"damaged")
    with pytest.raises(fn.CheckpointError, match="Remove it and"):
        fn.fit_many(net, X, Y, seeds=2, epochs=1, checkpoint=folder, resume=True)
    for damaged in ("", "[]", "{}", '{"seed": 1'):
        (folder / "member-000000.json").write_text(damaged)
        with pytest.raises(fn.CheckpointError, match="is damaged: remove it to train the member"):
            fn.fit_many(net, X, Y, seeds=2, epochs=1, checkpoint=folder, resume=True)


@pytest.mark.parametrize("count", [2, 6], ids=["alone", "in lanes"])
def test_members_have_the_names_of_the_classes_of_a_data_set(count: int, tmp_path: Path) -> None:
    flowers = Dataset("flowers", X, np.arange(len(X)) % 3, ("iris", "rose", "tulip"))
    net = fn.Network([X.shape[1], 4, 3], output_activation="softmax")
    alone = net.renewed(net.plan, net.seed)
    alone.fit(flowers, epochs=2)
    how: dict[str, Any] = {"seeds": count, "epochs": 2, "checkpoint": tmp_path}
    for resume in (False, True):
        for member in fn.fit_many(net, flowers, resume=resume, **how):
            assert member.label_names == alone.label_names == ("iris", "rose", "tulip")
            assert set(member.predict_labels(X)) <= {"iris", "rose", "tulip"}
    assert net.label_names is None
    (tmp_path / "member-000000.json").unlink()
    renamed = replace(flowers, label_names=("a", "b", "c"))
    with pytest.raises(fn.CheckpointError, match="its networks differ"):
        fn.fit_many(net, renamed, resume=True, **how)


def test_the_same_callbacks_resume(tmp_path: Path) -> None:
    for resume in (False, True):
        stopping = fn.EarlyStopping(3)
        fn.fit_many(
            *(template(), X, Y),
            epochs=9,
            seeds=2,
            early_stopping=stopping,
            validation_data=(X[:5], Y[:5]),
            checkpoint=tmp_path / "p",
            resume=resume,
        )


# --- bad input -----------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    ({"param_grid": {"learning_rte": [1]}}, "did you mean 'learning_rate'"),
    ({"param_grid": {"learning_rate": 0.1}}, "must be a list of values to try, got 0.1"),
    ({"param_grid": {"optimizer": "adam"}}, "must be a list of values to try, got 'adam'"),
    ({"param_grid": {"learning_rate": []}}, "must be a list of values to try"),
    ({"param_grid": [3]}, "param_grid must hold dicts of settings by name, got 3"),
    ({"settings": []}, "give one member at least"),
    ({"settings": [{}], "param_grid": {}}, "give param_grid or settings, not both"),
    ({"seeds": [1], "settings": [{"seed": 3}]}, "give seeds, or a seed in the settings"),
    ({"seeds": 0}, "seeds"),
    ({"seeds": []}, "there are no seeds"),
    ({"seeds": "abc"}, "seed"),
    ({"settings": [{"learning_rate": -1}]}, "learning_rate"),
    ({"settings": [{"dropout": 1.0}]}, "dropout"),
    ({"settings": [{"hidden": 0}]}, "units"),
    ({"settings": [{"rows": [60]}]}, "rows must be from 0 to 59, got 60 to 60"),
    ({"settings": [{"rows": []}]}, "rows must be row numbers, or a mask"),
    ({"settings": [{"rows": [True]}]}, "a truth for each of the 60 rows"),
    ({"settings": [{"rows": 3}]}, "rows must be row numbers"),
    ({"settings": [{"rows": [1, 2]}], "cv": 3}, "give cv, or rows"),
    ({"cv": 1}, "the number of folds"),
    ({"cv": 61}, "61 folds need as many rows at least, got 60"),
    ({"cv": 2.5}, "cv must be a number of folds"),
    ({"cv": []}, "cv must be a number of folds"),
    ({"cv": [([1, 2], [60])]}, "the test rows of a fold must be from 0 to 59"),
    ({"resume": True}, "resume=True needs the folder"),
    ({"sample_weight": [1.0]}, "sample_weight"),
    ({"epochs": "many"}, "epochs"),
    ({"batch_size": "all"}, "batch_size"),
    ({"settings": [{"batch_size": 0}]}, "batch_size"),
]


@pytest.mark.parametrize(("how", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input_is_answered_in_a_sentence(how: Any, message: str) -> None:
    with pytest.raises(fn.InputError, match=message) as caught:
        fn.fit_many(template("numpy"), X, Y, **({"epochs": 1} | how))
    assert "\n" not in str(caught.value)


def test_unknown_arguments_are_answered_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="did you mean 'epochs'"):
        fn.fit_many(template(), X, Y, max_iter=3)
    with pytest.raises(fn.InputError, match="y='price' is not a column of x"):
        fn.fit_many(template(), X, "price")
    with pytest.raises(fn.InputError, match="x has 60 rows, and y has 59"):
        fn.fit_many(template(), X, Y[:-1])
    with pytest.raises(fn.InputError, match="mask"):
        fn.fit_many(template(), np.ma.masked_less(X, 0), Y)
    with pytest.raises(fn.InputError, match="give y"):
        fn.fit_many(template(), X)


def test_hidden_sizes_of_other_layers_are_refused() -> None:
    net = fn.Network([fn.Dense(4), fn.BatchNorm("relu"), fn.Dense(1)], inputs=3)
    with pytest.raises(fn.InputError, match="the template has BatchNorm"):
        fn.fit_many(net, X, Y, param_grid={"hidden": [3]})
    with pytest.raises(fn.InputError, match="no hidden Dense layer"):
        fn.fit_many(fn.Network([3, 1]), X, Y, param_grid={"hidden": [3]})


def test_a_class_that_a_fold_cannot_learn_is_refused() -> None:
    labels = np.zeros(60, int)
    labels[0] = 1
    net = template(classes=True)
    with pytest.raises(fn.InputError, match=r"fold \d has no row of the class 1 to train on"):
        fn.fit_many(net, X, labels, cv=3)
    with pytest.raises(fn.InputError, match="trains on rows of one class alone"):
        fn.fit_many(net, X, np.zeros(60, int), cv=3)


def test_memory_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    monkeypatch.setattr(memory, "ASKED_FROM", 0)
    with pytest.raises(fn.OutOfMemoryError, match=r"10000 networks takes about .* GB, and 0\.0 GB"):
        fn.fit_many(template(), X, Y, seeds=10_000)


def test_workers_share_the_cores() -> None:
    net, most = template(), template().engine().most_threads
    long, short = (training.member(net, {"epochs": count}, {}, 60) for count in (10_000, 3))

    def share(one: Any, jobs: int, threads: int | None, net: fn.Network = net) -> Any:
        groups = [[k] for k in range(jobs)]
        made = sharing.share(net, [(one, None)] * jobs, groups, 60, threads)
        return made.slots, made.threads

    assert share(short, 100, None) == (1, None)
    assert share(long, 100, None)[0] == most
    assert share(long, 1, None) == (1, None)
    assert share(long, 100, 1) == (1, 1)
    assert share(long, 100, None, template("numpy")) == (1, None)
    calls = list[int]()
    workers.run_all(range(9), calls.append, 4)
    assert sorted(calls) == [*range(9)]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends a signal to a thread")
def test_nothing_goes_on_after_what_a_signal_raises() -> None:
    done = list[int]()
    with interrupting() as (raised, send):

        def task(number: int) -> None:
            while not raised.wait(0.02):
                send()
            time.sleep(0.1)  # the exception does not leave meanwhile
            done.append(number)

        with pytest.raises(KeyboardInterrupt):
            workers.run_all([5], task, 3)
        assert done == [5]


@pytest.mark.parametrize("threads", [1, 3])
def test_numbers_are_asked_for_when_a_worker_is_free(threads: int) -> None:
    asked, ended = list[int](), list[int]()

    def numbers() -> Iterator[int]:
        for number in range(12):
            # At most one for each worker is not done yet, besides this one.
            assert number - len(ended) <= threads
            asked.append(number)
            yield number

    workers.run_all(numbers(), ended.append, threads)
    assert sorted(ended) == asked == [*range(12)]

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        workers.run_all(failing(), ended.append, threads)
