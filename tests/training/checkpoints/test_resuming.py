"""Checkpoints: a run that goes on from one ends with the bits of a run that was left alone."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends import threads
from fastnet.nn import schedules
from fastnet.nn.optimizers import OPTIMIZERS
from fastnet.training import loop
from fastnet.training.checkpoints.writer import Every
from tests import networks

Array = NDArray[Any]
BACKENDS = networks.usable_backends()

X = np.random.default_rng(0).standard_normal((50, 4))
REAL = np.tanh(X @ [1.0, -1.0, 0.5, 0.2])
LABELS = np.random.default_rng(1).integers(0, 3, 50)

LAYERS = [
    fn.Dense(8, "tanh"),
    fn.BatchNorm("relu"),
    fn.Dropout(0.3),
    fn.Dense(6),
    fn.LayerNorm("silu"),
    fn.Dense(3, "softmax"),
]


class KilledError(Exception):
    """Stands for a process that is gone."""


class Kill(fn.Callback):
    """Ends training at the n-th span, without a chance to write anything."""

    def __init__(self, at: int) -> None:
        self.left = at

    def on_progress(self, run: fn.Run) -> None:
        self.left -= 1
        if not self.left:
            raise KilledError


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each batch a span of its own, after which a checkpoint can be written."""
    monkeypatch.setattr(loop, "FIRST_SPAN_FLOPS", 0)
    monkeypatch.setattr(loop, "SPAN_SECONDS", 0)


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for the disk: test_checkpoint_files.py shows they are synced."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def everything(net: fn.Network) -> list[bytes]:
    """Return the bits of all that training leaves."""
    assert net.optimizer_state is not None
    assert net.history is not None
    state, history = net.optimizer_state, net.history
    to_host = net.backend_object.to_host
    arrays = [to_host(a) for a in (net.parameters, net.state, state.moments)]
    arrays += [np.array(values) for values in history.values()]
    clocks = [state.step, state.epoch, state.updates, state.schedule_epoch, state.plateau]
    texts = [*clocks, list(history), history.epochs, history.stop_reason, history.best_epoch]
    return [*(np.ascontiguousarray(a).tobytes() for a in arrays), repr(texts).encode()]


def fit(make: Callable[[], fn.Network], y: Array, **options: Any) -> fn.Network:
    net = make()
    net.fit(X, y, **{"epochs": 5, "batch_size": 8, **options})
    return net


def killed(make: Callable[[], fn.Network], y: Array, at: int, **options: Any) -> None:
    callbacks = [*options.pop("callbacks", []), Kill(at)]
    with pytest.raises(KilledError):
        fit(make, y, **options, callbacks=callbacks)
    gc.collect()


def require_the_same_bits(
    make: Callable[[], fn.Network], y: Array, folder: Path, *moments: int, **options: Any
) -> None:
    """Kill a run at these spans, one after the other; what it ends with is what it had to be."""
    alone = everything(fit(make, y, **options))
    options |= {"checkpoint": folder, "resume": True}
    for moment in moments:
        killed(make, y, moment, **options)
    assert everything(fit(make, y, **options)) == alone


def on(backend: str, net: fn.Network) -> fn.Network:
    """Return a network on a backend that may have no name outside these tests."""
    return net if backend == "numpy" else net._copy_to(BACKENDS[backend], "float32")


def real(backend: str, **options: Any) -> Callable[[], fn.Network]:
    layers = [4, 8, 1]
    return lambda: on(backend, fn.Network(layers, activation="tanh", backend="numpy", **options))


def classes(backend: str, **options: Any) -> Callable[[], fn.Network]:
    return lambda: on(backend, fn.Network(LAYERS, inputs=4, backend="numpy", **options))


EVERY_SPAN = {"checkpoint_every": "0.000001s"}

each_backend = pytest.mark.parametrize("backend", BACKENDS)

# --- the same bits --------------------------------------------------------------------------------

STEPWISE = [name for name in OPTIMIZERS if name != "lbfgs"]


# Optimizer and backend meet in the moments alone: the first says how many, the second where. So
# every optimizer goes on with one backend, and one that has moments with each.
@pytest.mark.parametrize(
    ("backend", "optimizer"),
    [*(("numpy", name) for name in STEPWISE), *((b, "adam") for b in BACKENDS if b != "numpy")],
)
def test_every_optimizer_goes_on_from_the_middle_of_an_epoch(
    backend: str, optimizer: str, folder: Path
) -> None:
    options = {"optimizer": optimizer, **EVERY_SPAN}
    require_the_same_bits(real(backend), REAL, folder, 3, 9, 8, **options)


@each_backend
def test_lbfgs_goes_on_from_where_its_solver_began_afresh(backend: str, folder: Path) -> None:
    options = {"optimizer": "lbfgs", "epochs": 12, "checkpoint_every": 4}
    alone = everything(fit(real(backend), REAL, **options, checkpoint=folder.with_name("alone")))
    options |= {"checkpoint": folder, "resume": True}
    for moment in (3, 6, 6):
        killed(real(backend), REAL, moment, **options)
    assert everything(fit(real(backend), REAL, **options)) == alone


@pytest.mark.parametrize(
    ("dtype", "backend"), [*(("float32", name) for name in BACKENDS), ("float64", "numpy")]
)
def test_dropout_normalisation_metrics_and_early_stopping_go_on(
    dtype: str, backend: str, folder: Path
) -> None:
    require_the_same_bits(
        classes(backend, dtype=dtype), LABELS, folder, 4, 6, 9, 20,
        optimizer=fn.Adam(0.02, clip_norm=1.0, l2=1e-3), epochs=12, validation_split=0.2,
        early_stopping=3, metrics=["f1"], class_weight="balanced", standardize=True, **EVERY_SPAN,
    )  # fmt: skip


SCHEDULES = {
    schedule.name: schedule
    for schedule in (
        schedules.Step(0.05, every=2),
        schedules.Exponential(0.05),
        schedules.Cosine(0.05, epochs=5),
        schedules.WarmUp(1e-3, epochs=1.5, then=schedules.Cosine(0.05, epochs=3)),
        schedules.OneCycle(0.05, epochs=5),
        schedules.ReduceOnPlateau(0.3, patience=1, factor=0.5),
    )
}


# The trainer asks the schedule, whatever the backend; only one follows what the backend computed.
@pytest.mark.parametrize(
    ("backend", "name"),
    [
        *(("numpy", name) for name in SCHEDULES),
        *((b, "reduce_on_plateau") for b in BACKENDS if b != "numpy"),
    ],
)
def test_every_schedule_goes_on(backend: str, name: str, folder: Path) -> None:
    require_the_same_bits(
        real(backend), REAL, folder, 5, 10, optimizer=fn.Adam(SCHEDULES[name]), epochs=8,
        validation_split=0.2, **EVERY_SPAN,
    )  # fmt: skip


@pytest.mark.parametrize("epoch", range(1, 11))
def test_a_run_goes_on_after_any_epoch(epoch: int, folder: Path) -> None:
    options = {"epochs": 10, "checkpoint_every": 1, "early_stopping": 8, "batch_size": 25}
    require_the_same_bits(real("numpy"), REAL, folder, 2 * epoch, **options)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_run_that_is_killed_again_and_again_arrives(shuffle: bool, folder: Path) -> None:
    options = {"shuffle": shuffle, **EVERY_SPAN}
    require_the_same_bits(real("numpy"), REAL, folder, *[3] * 14, **options)


def test_the_comparison_notices_a_single_step(folder: Path) -> None:
    alone = fit(real("numpy"), REAL, **EVERY_SPAN)
    assert everything(fit(real("numpy"), REAL, epochs=6)) != everything(alone)
    before = everything(alone)
    alone.parameters[0] = np.nextafter(alone.parameters[0], np.float32(9))
    assert everything(alone) != before


@each_backend
def test_sums_of_an_epoch_do_not_depend_on_where_spans_end(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = everything(fit(real(backend), REAL))
    monkeypatch.setattr(loop, "FIRST_SPAN_FLOPS", 1e8)
    assert everything(fit(real(backend), REAL)) == short


def test_writing_checkpoints_changes_no_bit(folder: Path) -> None:
    with_them = fit(real("numpy"), REAL, checkpoint=folder, **EVERY_SPAN)
    assert everything(with_them) == everything(fit(real("numpy"), REAL))


def test_a_network_that_was_trained_before_goes_on_too(folder: Path) -> None:
    def made() -> fn.Network:
        net = real("numpy")()
        net.fit(X, REAL, epochs=2, batch_size=8)
        return net

    require_the_same_bits(made, REAL, folder, 9, **EVERY_SPAN)


def test_a_finished_run_is_not_trained_again(folder: Path) -> None:
    options = {"checkpoint": folder, "resume": True, "early_stopping": 2, "epochs": 50}
    options |= {"optimizer": fn.SGD(0.9), "checkpoint_every": 7}
    first = fit(real("numpy"), REAL, **options)
    assert first.history is not None
    assert first.history.stop_reason == "early stopping"
    again = fit(real("numpy"), REAL, **options, callbacks=[lambda run: pytest.fail("trained")])
    assert everything(again) == everything(first)


def test_a_finished_run_can_be_made_longer(folder: Path) -> None:
    fit(real("numpy"), REAL, epochs=3, checkpoint=folder)
    longer = fit(real("numpy"), REAL, epochs=8, checkpoint=folder, resume=True)
    assert everything(longer) == everything(fit(real("numpy"), REAL, epochs=8))


def test_a_divergence_after_a_resumption_restores_the_same_weights(folder: Path) -> None:
    # Without a loss of its own the third epoch's targets cannot be changed: so a rate that jumps.
    rate = schedules.WarmUp(1e-3, epochs=3.3, then=1e30)
    options = {"optimizer": fn.SGD(rate), **EVERY_SPAN}
    alone, again = real("numpy")(), real("numpy")()
    with pytest.raises(fn.DivergenceError) as expected:
        alone.fit(X * 1e3, REAL, batch_size=8, **options)
    options |= {"checkpoint": folder, "resume": True}
    assert expected.value.epoch > 1 or expected.value.step > 2
    with pytest.raises(KilledError):
        real("numpy")().fit(X * 1e3, REAL, batch_size=8, **options, callbacks=[Kill(2)])
    with pytest.raises(fn.DivergenceError) as came:
        again.fit(X * 1e3, REAL, batch_size=8, **options)
    assert (came.value.epoch, came.value.step) == (expected.value.epoch, expected.value.step)
    assert np.array_equal(alone.parameters, again.parameters)


def test_a_callback_keeps_its_memory(folder: Path) -> None:
    class Count(fn.Callback):
        def on_train_begin(self, run: fn.Run) -> None:
            self.epochs, self.sums = 0, np.zeros(3)

        def memory(self) -> dict[str, Any]:
            return {"epochs": self.epochs, "sums": self.sums}

        def on_resume(self, run: fn.Run, memory: dict[str, Any]) -> None:
            self.epochs, self.sums = memory["epochs"], memory["sums"]

        def on_epoch_end(self, run: fn.Run) -> None:
            self.epochs += 1
            self.sums = self.sums + run.logs["loss"]

    options = {"checkpoint": folder, "resume": True, "checkpoint_every": 1}
    alone, count = Count(), Count()
    fit(real("numpy"), REAL, callbacks=[alone])
    killed(real("numpy"), REAL, 16, callbacks=[Count()], **options)
    fit(real("numpy"), REAL, callbacks=[count], **options)
    assert count.epochs == alone.epochs == 5
    assert np.array_equal(count.sums, alone.sums)
    with pytest.raises(fn.InputError, match=r"callbacks with a memory were \['Count'\]"):
        fit(real("numpy"), REAL, **options)


def test_a_memory_that_is_no_json_is_refused(folder: Path) -> None:
    class Odd(fn.Callback):
        def memory(self) -> dict[str, Any]:
            return {"object": object()}

    with pytest.raises(fn.InputError, match="plain JSON values"):
        fit(real("numpy"), REAL, callbacks=[Odd()], checkpoint=folder)


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "every"),
    [
        (5, Every(epochs=5)),
        ("5", Every(epochs=5)),
        (np.int64(2), Every(epochs=2)),
        ("30s", Every(seconds=30)),
        ("0.5 s", Every(seconds=0.5)),
        ("1.5min", Every(seconds=90)),
        ("2h", Every(seconds=7200)),
    ],
)
def test_how_often_is_a_number_of_epochs_or_a_time(given: Any, every: Every) -> None:
    assert Every.of(given) == every


@pytest.mark.parametrize("given", [0, -1, 2.5, True, None, "", "0", "1.5", "0s", "s", "3 days"])
def test_anything_else_is_refused(given: Any, folder: Path) -> None:
    with pytest.raises(fn.InputError, match="checkpoint_every must be"):
        fit(real("numpy"), REAL, checkpoint=folder, checkpoint_every=given)
    with pytest.raises(fn.InputError, match="checkpoint_every must be"):
        fit(real("numpy"), REAL, checkpoint_every=given)
    assert not folder.exists()


class Watch(fn.Callback):
    """Notes which checkpoints are there after each epoch, before the one of that epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, list[list[int]]()

    def on_epoch_end(self, run: fn.Run) -> None:
        names = sorted(file.name for file in self.folder.iterdir())
        self.seen.append([int(name[11:21]) for name in names])


def test_one_is_written_every_so_many_epochs_and_at_the_end_and_two_are_kept(folder: Path) -> None:
    watch = Watch(folder)
    fit(real("numpy"), REAL, epochs=11, batch_size=50, checkpoint=folder, checkpoint_every=3,
        callbacks=[watch])  # fmt: skip
    assert watch.seen == [[]] * 3 + [[3]] * 3 + [[3, 6]] * 3 + [[6, 9]] * 2
    assert [file.name[-14:] for file in sorted(folder.iterdir())] == [
        "09.safetensors",
        "11.safetensors",
    ]


def test_a_long_time_leaves_the_last_one_only(folder: Path) -> None:
    watch = Watch(folder)
    fit(real("numpy"), REAL, checkpoint=folder, checkpoint_every="1h", callbacks=[watch])
    assert watch.seen == [[]] * 5
    assert len(list(folder.iterdir())) == 1


def test_time_counts_from_run_to_run(folder: Path) -> None:
    killed(real("numpy"), REAL, 30, checkpoint=folder, checkpoint_every=1)
    net = fit(real("numpy"), REAL, checkpoint=folder, resume=True)
    assert net.history is not None
    again = fit(real("numpy"), REAL, checkpoint=folder, resume=True)
    assert again.history is not None
    assert again.history.seconds >= 0.5 * net.history.seconds > 0


# --- another run ----------------------------------------------------------------------------------

BASE: dict[str, Any] = {"loss": "mse", "optimizer": fn.Adam(0.01), "metrics": ["mae"]}

OTHER: dict[str, tuple[Callable[[], Any], str]] = {
    "layers": (
        lambda: {"net": fn.Network([4, 9, 1], activation="tanh", backend="numpy")},
        "layers[0].units is 9 here and 8 there",
    ),
    "activation": (
        lambda: {"net": fn.Network([4, 8, 1], activation="relu", backend="numpy")},
        "layers[0].activation is relu here and tanh there",
    ),
    "depth": (
        lambda: {"net": fn.Network([4, 8, 8, 1], activation="tanh", backend="numpy")},
        "the number of layers is 3 here and 2 there",
    ),
    "dtype": (lambda: {"net": real("numpy", dtype="float64")()}, "dtype is float64 here"),
    "seed": (lambda: {"net": real("numpy", seed=1)()}, "seed is 1 here and 0 there"),
    "x": (lambda: {"x": X + 1}, "x holds other values than there"),
    "last bits": (lambda: {"x": np.nextafter(X.astype("f4"), np.float32(9))}, ""),
    "rows": (lambda: {"x": X[:40], "y": REAL[:40]}, "x.rows is 32 here and 40 there"),
    "y": (lambda: {"y": -REAL}, "y holds other values than there"),
    "weights": (lambda: {"sample_weight": np.arange(1.0, 51)}, "sample_weight is something"),
    "split": (lambda: {"validation_split": 0.1}, "x.rows is 45 here and 40 there"),
    "validation": (
        lambda: {"validation_split": 0, "validation_data": (X, REAL)},
        "x.rows is 50 here",
    ),
    "batch size": (lambda: {"batch_size": 9}, "batch_size is 9 here and 8 there"),
    "shuffle": (lambda: {"shuffle": False}, "shuffle is False here and True there"),
    "loss": (lambda: {"loss": "mae"}, "loss.name is mae here and mse there"),
    "loss setting": (lambda: {"loss": fn.losses.Huber()}, "loss.name is huber here"),
    "optimizer": (lambda: {"optimizer": "sgd"}, "optimizer.name is sgd here and adam there"),
    "learning rate": (
        lambda: {"optimizer": fn.Adam(0.02)},
        "optimizer.learning_rate.start is 0.02 here and 0.01 there",
    ),
    "schedule": (
        lambda: {"optimizer": fn.Adam(schedules.Cosine(0.01))},
        "optimizer.learning_rate.name is cosine here and constant there",
    ),
    "decay": (lambda: {"optimizer": fn.Adam(0.01, l2=1.0)}, "optimizer.l2 is 1.0 here"),
    "metrics": (lambda: {"metrics": ["rmse"]}, "metrics[0] is rmse here and mae there"),
    "scaled": (lambda: {"standardize": True}, "x holds other values"),
    "early stopping": (
        lambda: {"early_stopping": 4},
        "EarlyStopping cannot go on from the checkpoint",
    ),
    "fewer epochs": (lambda: {"epochs": 1}, "has 2 epochs done already, more than the 1 asked"),
}


def start(folder: Path) -> dict[str, Any]:
    """Begin a run in the folder, and return its arguments."""
    given = {**BASE, "validation_split": 0.2, "early_stopping": 3, "checkpoint": folder}
    fit(real("numpy"), REAL, epochs=2, **given)
    return {"epochs": 4, "batch_size": 8, **given, "resume": True}


@pytest.mark.parametrize(("change", "message"), OTHER.values(), ids=OTHER)
def test_another_run_is_refused_in_one_sentence_that_names_the_difference(
    change: Callable[[], dict[str, Any]], message: str, folder: Path
) -> None:
    given = start(folder) | {"net": real("numpy")(), "x": X, "y": REAL} | change()
    net = given.pop("net")
    before = net.parameters.tobytes()
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(fn.InputError) as caught:
        net.fit(given.pop("x"), given.pop("y"), **given)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)
    assert net.parameters.tobytes() == before
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files


def test_the_same_run_is_not_refused(folder: Path) -> None:
    given = start(folder)
    # Equal values of another type and layout are the same.
    net = real("numpy")()
    net.fit(np.asfortranarray(X).tolist(), REAL[:, None].astype(">f8"), **given)
    assert net.history is not None
    assert net.history.epochs == [1, 2, 3, 4]


def test_a_run_is_not_overwritten_unasked(folder: Path) -> None:
    fit(real("numpy"), REAL, checkpoint=folder)
    with pytest.raises(
        fn.InputError, match=r"resume=True \(or --resume\) goes on with it; to train anew, remove"
    ):
        fit(real("numpy"), REAL, checkpoint=folder)


def test_resume_needs_a_folder_and_not_a_checkpoint(folder: Path) -> None:
    with pytest.raises(fn.InputError, match="resume=True needs checkpoint="):
        fit(real("numpy"), REAL, resume=True)
    with pytest.raises(fn.InputError, match="must be a folder"):
        fit(real("numpy"), REAL, checkpoint=3)
    assert everything(fit(real("numpy"), REAL, checkpoint=folder, resume=True)) == everything(
        fit(real("numpy"), REAL)
    )


def test_lbfgs_resumes_with_the_same_distance_of_checkpoints_only(folder: Path) -> None:
    options: dict[str, Any] = {"checkpoint": folder, "resume": True, "optimizer": fn.LBFGS()}
    net = fn.Network([4, 5, 1], activation="tanh", dtype="float64", backend="numpy")
    net.fit(X, REAL, epochs=6, checkpoint_every=3, **options)
    with pytest.raises(fn.InputError, match="checkpoint_every is 2 here and 3 there"):
        net.copy().fit(X, REAL, epochs=12, checkpoint_every=2, **options)
    assert len(net.copy().fit(X, REAL, epochs=12, checkpoint_every=3, **options).epochs) == 12
    # Other optimizers give the same bits whatever the distance.
    options |= {"checkpoint": folder / "adam", "optimizer": fn.Adam()}
    for every, epochs in ((2, 2), ("5min", 3)):
        net.copy().fit(X, REAL, epochs=epochs, checkpoint_every=every, **options)


def test_lbfgs_needs_a_number_of_iterations(folder: Path) -> None:
    with pytest.raises(fn.InputError, match="number of iterations"):
        fit(real("numpy"), REAL, optimizer="lbfgs", checkpoint=folder)


# --- other surroundings ---------------------------------------------------------------------------


@pytest.mark.skipif("numba" not in BACKENDS, reason="there is one backend only")
def test_another_backend_goes_on_with_a_warning(folder: Path) -> None:
    options = {"checkpoint": folder, "resume": True, "checkpoint_every": 1}
    killed(real("numpy", dtype="float64"), REAL, 16, **options)
    with pytest.warns(fn.ResumeWarning, match=r"backend numba \(was numpy\)"):
        net = fit(real("numba", dtype="float64"), REAL, **options)
    alone = fit(real("numpy", dtype="float64"), REAL)
    assert np.allclose(net.parameters, alone.parameters, rtol=1e-9, atol=0)


@pytest.mark.parametrize("what", ["version", "threads"])
def test_another_version_or_number_of_threads_warns(
    what: str, folder: Path, two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"checkpoint": folder, "resume": True, "checkpoint_every": 1, "threads": 1}
    killed(real("numpy"), REAL, 16, **options)
    if what == "version":
        monkeypatch.setattr("fastnet.training.checkpoints.fingerprint.version", "0.0.7")
    else:
        # BLAS takes a thread more for so many operations; the threads change the order of its sums.
        monkeypatch.setattr("fastnet.backends.numpy_backend.FLOPS_PER_BLAS_THREAD", 1)
        options["threads"] = 2
    with pytest.warns(fn.ResumeWarning, match="fastnet 0.0.7" if what == "version" else "threads"):
        fit(real("numpy"), REAL, **options)


@pytest.mark.skipif("numba" not in BACKENDS, reason="Numba is not there")
def test_threads_that_change_no_bit_do_not_warn(folder: Path, two_cores: None) -> None:
    options = {"checkpoint": folder, "resume": True, "checkpoint_every": 1}
    killed(real("numba"), REAL, 16, threads=1, **options)
    two = fit(real("numba"), REAL, threads=2, **options)
    assert everything(two) == everything(fit(real("numba"), REAL, threads=1))


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a process use two threads where the machine has one core too."""
    monkeypatch.setattr("fastnet.utils.machine.cores", lambda: 2)
    threads.cores.cache_clear()
    yield
    monkeypatch.undo()
    threads.cores.cache_clear()
    threads.cores()  # here, and not first in a test that keeps the process to one of them


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """Whatever happens, a folder can be used again at once."""
    yield
    gc.collect()
