"""What callbacks see and may do, and early stopping, the one that comes along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from tests.on_backends import each_backend

Array = NDArray[Any]


X = np.random.default_rng(0).standard_normal((40, 3))
Y = X @ [1.0, -1.0, 0.5]


def network(backend: str = "numpy", **options: Any) -> fn.Network:
    return fn.Network([3, 4, 1], activation="tanh", backend=backend, **options)


class Log(fn.Callback):
    """Writes down every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_train_begin(self, run: fn.Run) -> None:
        self.calls.append(("begin", run.epoch, run.epochs, run.batches))

    def on_progress(self, run: fn.Run) -> None:
        self.calls.append(("progress", run.epoch, run.batch))

    def on_epoch_end(self, run: fn.Run) -> None:
        self.calls.append(("epoch", run.epoch, run.logs["loss"]))

    def on_train_end(self, run: fn.Run) -> None:
        self.calls.append(("end", run.epoch))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == name]


# --- what they see --------------------------------------------------------------------------------


@each_backend
def test_callbacks_are_called_in_order(backend: str) -> None:
    log = Log()
    history = network(backend).fit(X, Y, epochs=3, batch_size=16, callbacks=[log])
    assert log.calls[0] == ("begin", 0, 3, 3)
    assert log.calls[-1] == ("end", 3)
    assert [call[1:] for call in log.named("epoch")] == list(enumerate(history["loss"], 1))
    for epoch in (1, 2, 3):
        batches = [call[2] for call in log.named("progress") if call[1] == epoch]
        assert batches[-1] == 3
        assert batches == sorted(set(batches))
        last = max(i for i, call in enumerate(log.calls) if call[:2] == ("progress", epoch))
        assert log.calls[last + 1][:2] == ("epoch", epoch)


def test_a_second_call_of_fit_counts_from_one_again_and_the_history_goes_on() -> None:
    net, log = network(), Log()
    net.fit(X, Y, epochs=2)
    history = net.fit(X, Y, epochs=2, callbacks=[log])
    assert [call[1] for call in log.named("epoch")] == [1, 2]
    assert history.epochs == [3, 4]


def test_a_function_is_called_after_every_epoch() -> None:
    runs: list[fn.Run] = []
    net = network()
    history = net.fit(X, Y, epochs=3, callbacks=[runs.append])
    assert len(runs) == 3
    assert runs[0].network is net
    assert runs[0].history is history is net.history


def test_logs_are_the_newest_values() -> None:
    seen: list[dict[str, float]] = []
    options = {"validation_split": 0.25, "metrics": ["mae"]}
    history = network().fit(
        X, Y, epochs=3, callbacks=[lambda run: seen.append(run.logs)], **options
    )
    names = {"loss", "r2", "val_loss", "val_r2", "val_mae", "learning_rate"}
    assert set(seen[0]) == names
    for k, logs in enumerate(seen):
        assert logs == {name: values[k] for name, values in history.items()}


@each_backend
def test_a_callback_may_use_and_change_the_network(backend: str) -> None:
    def shrink(run: fn.Run) -> None:
        run.network.predict(X)
        run.network.evaluate(X, Y)
        run.network.gradients(X, Y)
        run.network.parameters[...] = 0

    net = network(backend)
    net.fit(X, Y, epochs=2, callbacks=[shrink])
    assert net.predict(X).tolist() == [0.0] * len(X)


@each_backend
def test_a_callback_that_only_looks_does_not_change_training(backend: str) -> None:
    class Look(fn.Callback):
        def on_progress(self, run: fn.Run) -> None:
            run.network.predict(-X)
            run.network.evaluate(-X, Y)
            run.network.gradients(-X, Y)

        on_epoch_end = on_progress

    net, other = network(backend), network(backend)
    expected = other.fit(X, Y, epochs=3, batch_size=7)
    assert net.fit(X, Y, epochs=3, batch_size=7, callbacks=[Look()]).records == expected.records
    assert np.array_equal(net.predict(X), other.predict(X))


# --- stopping and failing -------------------------------------------------------------------------


@each_backend
def test_a_callback_can_end_training(backend: str) -> None:
    def stop(run: fn.Run) -> None:
        if run.epoch == 2:
            run.stop("good enough")

    log = Log()
    history = network(backend).fit(X, Y, epochs=50, callbacks=[stop, log])
    assert history.epochs == [1, 2]
    assert history.stop_reason == "good enough"
    assert len(log.named("epoch")) == 2
    assert log.calls[-1] == ("end", 2)


def test_stopping_in_the_middle_of_an_epoch_finishes_it() -> None:
    class Stop(fn.Callback):
        def on_progress(self, run: fn.Run) -> None:
            run.stop()

    history = network().fit(X, Y, epochs=50, batch_size=4, callbacks=[Stop()])
    assert history.epochs == [1]
    assert history.stop_reason == "callback"


def test_training_that_runs_through_says_so() -> None:
    assert network().fit(X, Y, epochs=2).stop_reason == "epochs"


MOMENTS = ["on_train_begin", "on_progress", "on_epoch_end", "on_train_end"]


@each_backend
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_error_in_a_callback_comes_out_and_the_others_end(moment: str, backend: str) -> None:
    class OwnError(Exception):
        pass

    class Bad(fn.Callback):
        pass

    def fail(self: Any, run: fn.Run) -> None:
        raise OwnError

    setattr(Bad, moment, fail)
    log, net = Log(), network(backend)
    with pytest.raises(OwnError):
        net.fit(X, Y, epochs=5, callbacks=[Bad(), log], early_stopping=3)
    assert log.calls[-1][0] == "end"
    assert net.history is not None
    assert len(net.history.epochs) == len(log.named("epoch")) + (moment == "on_epoch_end")
    assert np.isfinite(net.predict(X)).all()
    assert len(net.fit(X, Y, epochs=2).epochs) == 2


def test_callbacks_end_when_training_diverges() -> None:
    log = Log()
    with pytest.raises(fn.DivergenceError):
        network().fit(X, Y, epochs=50, batch_size=8, optimizer=fn.SGD(1e30), callbacks=[log])
    assert log.calls[-1][0] == "end"


# --- early stopping -------------------------------------------------------------------------------


class Scripted:
    """A metric that gives these values, one in each epoch."""

    __name__ = "score"

    def __init__(self, *values: float) -> None:
        self.values = iter(values)

    def __call__(self, target: Array, output: Array) -> float:
        return next(self.values)


def stopped(stopping: fn.EarlyStopping, *values: float) -> fn.History:
    """Train with a scripted metric that early stopping watches."""
    return network().fit(
        X, Y, epochs=len(values), metrics=[Scripted(*values)], early_stopping=stopping
    )


def watching(patience: int, **options: Any) -> fn.EarlyStopping:
    return fn.EarlyStopping(patience, monitor="score", **options)


def test_patience_is_the_number_of_epochs_without_a_better_one() -> None:
    history = stopped(watching(2, mode="min"), 5, 4, 4, 3, 3, 3, 3)
    assert len(history.epochs) == 6
    assert history.best_epoch == 4
    assert history.stop_reason == "early stopping"


def test_the_last_epoch_may_be_the_best() -> None:
    history = stopped(watching(2, mode="min"), 5, 4, 3)
    assert history.best_epoch == 3
    assert history.stop_reason == "epochs"


def test_more_can_be_better() -> None:
    assert stopped(watching(2, mode="max"), 1, 2, 3, 2, 2, 9).best_epoch == 3
    assert stopped(watching(2), 1, 2, 3, 2, 2, 9).best_epoch == 3
    assert stopped(watching(2, mode="min"), 1, 2, 3, 2, 2, 0).best_epoch == 1


def test_a_change_must_be_large_enough() -> None:
    slow = 10, 9.75, 9.5, 8, 9
    assert stopped(watching(2, mode="min", min_delta=0.6), *slow).best_epoch == 1
    assert stopped(watching(2, mode="min"), *slow).best_epoch == 4


def test_a_value_that_is_no_number_is_never_the_best() -> None:
    nan = float("nan")
    assert stopped(watching(3, mode="min"), nan, 5, 4, nan, 4, 4).best_epoch == 3
    assert stopped(watching(2, mode="max"), 1, nan, nan, 2).best_epoch == 1


@each_backend
@pytest.mark.parametrize("restore_best", [True, False])
def test_the_best_weights_and_statistics_come_back_if_wanted(
    restore_best: bool, backend: str
) -> None:
    layers = [fn.Dense(4), fn.BatchNorm("tanh"), fn.Dense(1)]
    net = fn.Network(layers, inputs=3, backend=backend)
    seen: list[Array] = []
    history = net.fit(
        X,
        Y,
        epochs=9,
        metrics=[Scripted(5, 4, 3, 6, 6, 6, 6)],
        early_stopping=watching(3, mode="min", restore_best=restore_best),
        callbacks=[lambda run: seen.append(run.network.predict(X))],
    )
    assert len(seen) == 6
    assert history.best_epoch == (3 if restore_best else None)
    assert np.array_equal(net.predict(X), seen[2 if restore_best else 5])
    assert not np.array_equal(seen[2], seen[5])


def test_without_validation_the_training_loss_is_watched() -> None:
    history = network().fit(X, Y, epochs=400, optimizer=fn.Adam(0.05), early_stopping=2)
    losses = history["loss"]
    assert history.best_epoch == int(np.argmin(losses)) + 1 == len(losses) - 2


def directed(name: str, mode: str | None = None) -> Any:
    """Return a metric of that name that falls, rises above its beginning, and falls again."""
    values = iter((5.0, 4.0, 6.0, 6.0, 6.0))

    def metric(target: Array, output: Array) -> float:
        return next(values)

    metric.__name__ = name
    if mode is not None:
        metric.mode = mode  # type: ignore[attr-defined]
    return metric


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        (directed("absolute_percentage_error"), 2),
        (directed("weighted_deviance"), 2),
        (directed("top_two_accuracy"), 3),
        (directed("dollars", "min"), 2),
        (directed("dollars", "max"), 3),
        (directed("my_error", "max"), 3),
    ],
)
@pytest.mark.parametrize("held_back", [0.0, 0.2])
def test_the_direction_is_that_of_the_metric(metric: Any, best: int, held_back: float) -> None:
    again = directed(metric.__name__, getattr(metric, "mode", None))
    name = "val_" * (held_back > 0) + again.__name__
    stopping = fn.EarlyStopping(5, monitor=name)
    options = {"metrics": [again], "validation_split": held_back, "early_stopping": stopping}
    history = network().fit(X, Y, epochs=5, **options)
    assert history.best_epoch == best
    assert (history.monitor, history.mode) == (name, "min" if best == 2 else "max")


@pytest.mark.parametrize("name", ["dollars", "neg_mean_squared_error", "brier_score", "mean"])
def test_a_metric_without_a_direction_is_refused(name: str) -> None:
    net = network()
    before = net.parameters.copy()
    stopping = fn.EarlyStopping(2, monitor=name)
    with pytest.raises(fn.InputError, match=f"{name}.*mode='min'.*{name}.mode = 'min'"):
        net.fit(X, Y, metrics=[directed(name)], callbacks=[stopping])
    assert net.history is None
    assert np.array_equal(net.parameters, before)
    with pytest.raises(fn.InputError, match="must be 'min' or 'max', got 'least'"):
        net.fit(X, Y, metrics=[directed(name, "least")], callbacks=[stopping])


def test_the_log_says_what_early_stopping_monitors(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="fastnet"):
        history = network().fit(X, Y, epochs=2, validation_split=0.2, early_stopping=2)
    assert "early stopping monitors val_loss (min)" in caplog.text
    assert (history.monitor, history.mode) == ("val_loss", "min")
    assert network().fit(X, Y, epochs=1).monitor is None


def test_an_early_stopping_can_be_used_again() -> None:
    stopping = watching(2, mode="min")
    first = stopped(stopping, 1, 1, 1, 1)
    second = stopped(stopping, 8, 7, 6, 5, 5, 5)
    assert first.best_epoch == 1
    assert second.best_epoch == 4


def test_the_best_epoch_is_counted_as_the_history_counts() -> None:
    net = network()
    net.fit(X, Y, epochs=3)
    options = {"metrics": [Scripted(5, 4, 6, 6)], "early_stopping": watching(2, mode="min")}
    history = net.fit(X, Y, epochs=4, **options)
    assert history.epochs == [4, 5, 6, 7]
    assert history.best_epoch == 5


def test_early_stopping_may_be_given_as_a_callback() -> None:
    options = {"metrics": [Scripted(5, 4, 6, 6, 6)], "epochs": 5}
    history = network().fit(X, Y, callbacks=[watching(2, mode="min")], **options)
    assert (history.best_epoch, len(history.epochs)) == (2, 4)
