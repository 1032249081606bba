"""A loss of one's own: a function of outputs and targets that training minimises."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.layers import Layer
from fastnet.serialization import safetensors_file
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from fastnet.training import loop
from tests.closeness import assert_close
from tests.on_backends import everything, on_host, same

Array = NDArray[Any]

ROWS = 40
RNG = np.random.default_rng(0)
X = RNG.standard_normal((ROWS, 3)).astype(np.float32)
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1).astype(np.float32)
WEIGHT = RNG.uniform(0.25, 2, ROWS)


def squared(output: Any, target: Any) -> tuple[Any, Any]:
    """The rows of mse."""
    error = output - target
    return (error * error).mean(axis=1), error * (2.0 / error.shape[1])


def mean_squared(output: Any, target: Any) -> tuple[Any, Any]:
    """The number of mse."""
    error = output - target
    return (error * error).mean(), error * (2.0 / error.size)


def pinball(output: Any, target: Any, q: float = 0.9) -> tuple[Any, Any]:
    error = target - output
    slope = q - (error < 0)
    return (slope * error).mean(axis=1), -slope / error.shape[1]


def network(backend: Backend | str = "numpy", output: str = "identity", **options: Any) -> Any:
    """Return a network on a backend, which need not have a public name."""
    layers: list[Layer] = [
        fn.Dense(9, "tanh"), fn.BatchNorm(), fn.Dropout(0.25), fn.Dense(2, output)
    ]  # fmt: skip
    net = fn.Network(layers, inputs=3, seed=3, **({"backend": "numpy"} | options))
    return net if backend == "numpy" else net._copy_to(backend, "float32")


def fit(net: fn.Network, loss: Any, x: Any = X, y: Any = Y, **options: Any) -> fn.History:
    how: dict[str, Any] = {"epochs": 3, "batch_size": 16, "optimizer": fn.Adam(0.01, l2=0.01)}
    return net.fit(x, y, loss=loss, **(how | options))


def values(numbers: Any) -> Array:
    """Return numbers that were computed in float32."""
    return np.array(numbers, np.float32)


# --- the same as a loss of fastnet ----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:y has targets that the outputs")
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_mse_written_as_a_function_trains_as_mse(
    backend: Backend, output: str, weight: Array | None
) -> None:
    how: dict[str, Any] = {
        "sample_weight": weight, "validation_split": 0.2, "metrics": ["mae"],
        "early_stopping": 2, "shuffle": weight is None,
    }  # fmt: skip
    nets = [network(backend, output) for _ in range(2)]
    told, own = (fit(net, loss, **how) for net, loss in zip(nets, ("mse", squared), strict=True))
    for mine, theirs in zip(*map(everything, nets), strict=True):
        assert_close(mine, theirs, terms=ROWS)
    for name in ("loss", "val_loss", "val_mae", "learning_rate"):
        assert_close(values(own[name]), values(told[name]), terms=ROWS)
    assert set(told) - set(own) == {"r2", "val_r2"}
    if backend.name == "numpy":  # the same operations in the same order
        assert same(*map(everything, nets))
        assert own["loss"] == told["loss"]
    # Another function leads elsewhere.
    other = network(backend, output)
    fit(other, lambda o, t: tuple(0.5 * part for part in squared(o, t)), **how)
    assert not np.allclose(on_host(other), on_host(nets[0]))


def test_one_number_for_all_rows_is_the_mean_of_their_losses(backend: Backend) -> None:
    nets = [network(backend) for _ in range(2)]
    rows, number = (fit(net, loss) for net, loss in zip(nets, (squared, mean_squared), strict=True))
    assert_close(on_host(nets[1]), on_host(nets[0]), terms=ROWS)
    assert_close(values(number["loss"]), values(rows["loss"]), terms=ROWS)


def test_evaluate_gradients_and_partial_fit_take_functions(backend: Backend) -> None:
    net = network(backend)
    for weight in (None, WEIGHT):
        how: dict[str, Any] = {"sample_weight": weight}
        told, own = (net.evaluate(X, Y, loss=loss, **how)["loss"] for loss in ("mse", squared))
        assert own == pytest.approx(told, rel=1e-6)
        told, own = (net.gradients(X, Y, loss=loss, **how) for loss in ("mse", squared))
        for name, expected in told.items():
            scale = max(float(np.abs(told[n]).max()) for n in told)
            assert_close(own[name], expected, terms=ROWS, scale=scale)
        nets = [net.copy(), net.copy()]
        told, own = (
            [one.partial_fit(X, Y, loss=loss, **how) for _ in range(3)]
            for one, loss in zip(nets, ("mse", squared), strict=True)
        )
        assert own == pytest.approx(told, rel=1e-5)
        assert_close(on_host(nets[1]), on_host(nets[0]), terms=ROWS)
    assert isinstance(nets[1].loss, FunctionLoss)


@pytest.mark.parametrize("optimizer", ["sgd", fn.LBFGS(), fn.AdamW(0.01, clip_norm=0.1)], ids=str)
def test_every_kind_of_optimizer_takes_functions(backend: Backend, optimizer: Any) -> None:
    nets = [
        fn.Network([3, 5, 2], activation="tanh", backend="numpy", seed=1)._copy_to(
            backend, "float32"
        )
        for _ in range(2)
    ]
    for net, loss in zip(nets, ("mse", squared), strict=True):
        fit(net, loss, optimizer=optimizer)
    # L-BFGS chooses its steps by comparing losses, which amplifies a rounding.
    terms = ROWS * (100 if isinstance(optimizer, fn.LBFGS) else 1)
    assert_close(on_host(nets[1]), on_host(nets[0]), terms=terms)


def test_chunks_train_and_evaluate_with_a_function(backend: Backend) -> None:
    table = np.concatenate([X, Y, WEIGHT[:, None].astype(np.float32)], axis=1)
    chunks = fn.data.Chunks(table, target=(3, 4), weight=5, chunk_rows=16)
    nets = [network(backend) for _ in range(2)]
    for net, loss in zip(nets, ("mse", squared), strict=True):
        net.fit(chunks, loss=loss, epochs=2, batch_size=8)
    assert_close(on_host(nets[1]), on_host(nets[0]), terms=ROWS)
    told, own = (nets[0].evaluate(chunks, loss=loss)["loss"] for loss in ("mse", squared))
    assert own == pytest.approx(told, rel=1e-6)


# --- losses that fastnet does not have ------------------------------------------------------------


def test_a_quantile_is_learned() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (400, 1))
    y = x[:, 0] + rng.uniform(-1, 1, 400)
    net = fn.Network([1, 16, 1], backend="numpy", seed=0, loss=pinball)
    net.fit(x, y, epochs=100, optimizer=fn.Adam(0.01))
    assert 0.85 < (y[:, None] <= net.predict(x).reshape(-1, 1)).mean() < 0.95
    below = fn.Network([1, 16, 1], backend="numpy", seed=0)
    below.fit(x, y, loss=partial(pinball, q=0.1), epochs=100, optimizer=fn.Adam(0.01))
    assert 0.05 < (y[:, None] <= below.predict(x).reshape(-1, 1)).mean() < 0.15


def test_targets_may_be_whatever_the_function_needs_of_a_row(backend: Backend) -> None:
    """Physics: only a known mixture of the outputs is measured, another one for each row."""

    def measured(output: Any, target: Any) -> tuple[Any, Any]:
        mixture, value = target[:, :2], target[:, 2]
        error = (output * mixture).sum(axis=1) - value
        return error * error, 2 * error[:, None] * mixture

    mixture = np.random.default_rng(2).uniform(-1, 1, (ROWS, 2))
    target = np.column_stack([mixture, (mixture * Y).sum(axis=1)])
    net = fn.Network([3, 24, 2], backend="numpy", seed=0)._copy_to(backend, "float32")
    before = net.evaluate(X, target, loss=measured)["loss"]
    net.fit(X, target, loss=measured, epochs=60, optimizer=fn.Adam(0.02), batch_size=16)
    assert net.evaluate(X, target)["loss"] < before / 10
    # No metric of fastnet has a use for such targets, a function has.
    assert net.evaluate(X, target, metrics=[lambda t, o: float(t.shape[1])])["<lambda>"] == 3
    with pytest.raises(fn.InputError, match="needs a target for each of the 2 outputs"):
        net.evaluate(X, target, metrics=["mae"])


def focal(output: Any, target: Any) -> tuple[Any, Any]:
    """Lin et al. (2017) with gamma 1, for class numbers: -(1 - p) log p."""
    rows = np.arange(len(output))
    label = target[:, 0].astype(int)
    p = output[rows, label]
    gradient = np.zeros_like(output)
    gradient[rows, label] = np.log(p) - (1 - p) / p
    return -(1 - p) * np.log(p), gradient


def test_classes_are_learned_by_a_function_with_metrics_labels_and_calibration() -> None:
    data = fn.data.load("digits")
    net = fn.Network([64, 32, 10], output_activation="softmax", backend="numpy", seed=0)
    history = net.fit(
        data.x, data.y, loss=focal, epochs=15, batch_size=32, validation_split=0.2,
        metrics=["accuracy", "f1"], optimizer=fn.Adam(0.003),
        early_stopping=fn.EarlyStopping(3, monitor="val_accuracy"),
    )  # fmt: skip
    assert history["val_accuracy"][-1] > 0.9
    measured = net.evaluate(data.test.x, data.test.y, metrics=["accuracy"])
    assert measured["accuracy"] == np.mean(net.predict_labels(data.test.x) == data.test.y)
    # One-hot targets mean the same to the metrics.
    one_hot = np.eye(10)[data.test.y]

    def by_rows(output: Any, target: Any) -> tuple[Any, Any]:
        return -(target * np.log(output)).sum(axis=1), -target / output

    again = net.evaluate(data.test.x, one_hot, loss=by_rows, metrics=["accuracy"])
    assert again["accuracy"] == measured["accuracy"]
    told = net.evaluate(data.test.x, data.test.y, loss="cross_entropy")
    assert again["loss"] == pytest.approx(told["loss"], rel=1e-5)
    # A temperature maximises the likelihood, whatever the loss was.
    assert net.calibrate(data.test.x, data.test.y) > 0
    calibrated = net.evaluate(data.test.x, data.test.y, loss="cross_entropy")
    assert calibrated["loss"] < told["loss"]


def test_texts_as_targets_become_class_numbers() -> None:
    table = {"size": [1.0, 2.0, 3.0, 4.0] * 5, "kind": ["a", "b", "a", "c"] * 5}
    net = fn.Network([1, 8, 3], output_activation="softmax", backend="numpy", loss=focal)
    net.fit(table, "kind", epochs=2)
    assert net.label_names == ("a", "b", "c")
    assert set(net.predict_labels({"size": [1.0]})) <= {"a", "b", "c"}


# --- what a function may do -----------------------------------------------------------------------


def test_a_function_may_write_into_what_it_is_given(backend: Backend) -> None:
    def careless(output: Any, target: Any) -> tuple[Any, Any]:
        loss, gradient = squared(output, target)
        output[...], target[...] = np.nan, np.nan
        return loss, gradient

    y = Y.copy()
    nets = [network(backend, "sigmoid") for _ in range(2)]
    for net, loss in zip(nets, (squared, careless), strict=True):
        fit(net, loss, y=y, shuffle=False, validation_data=(X, y), metrics=["mae"])
        assert np.isfinite(net.evaluate(X, y, metrics=["mae"])["mae"])
    assert same(*map(everything, nets))
    np.testing.assert_array_equal(y, Y)


def test_what_it_returns_may_be_of_either_dtype_and_may_be_integers() -> None:
    def wide(output: Any, target: Any) -> tuple[Any, Any]:
        loss, gradient = squared(output, target)
        return loss.astype(np.float64), gradient.astype(np.float64)

    nets = [network() for _ in range(2)]
    for net, loss in zip(nets, (squared, wide), strict=True):
        fit(net, loss)
    assert same(*map(everything, nets))
    sign = network()
    fit(sign, lambda o, t: (np.abs(o - t).sum(axis=1), np.sign(o - t).astype(np.int8)))
    assert sign.history is not None and sign.history["loss"][-1] < sign.history["loss"][0]


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_the_number_of_threads_changes_nothing(threads: int | None) -> None:
    nets = [network(), network()]
    for net, count in zip(nets, (1, threads), strict=True):
        fit(net, squared, threads=count)
    assert_close(on_host(nets[1]), on_host(nets[0]), terms=ROWS)


def test_it_is_called_once_for_all_rows_of_an_evaluation(backend: Backend) -> None:
    """So a loss that is no mean, as a correlation, is that of all of them."""
    calls: list[int] = []

    def counted(output: Any, target: Any) -> tuple[Any, Any]:
        calls.append(len(output))
        return mean_squared(output, target)

    net = fn.Network([3, 2], backend="numpy")._copy_to(backend, "float32")
    rows = 30_000  # of which an engine computes some thousands at a time
    net.evaluate(np.resize(X, (rows, 3)), np.resize(Y, (rows, 2)), loss=counted)
    assert calls == [rows]
    # Training calls it once before the first step, to check what it returns.
    calls.clear()
    fit(net, counted, epochs=2)
    assert calls == [16, 16, 16, 8, 16, 16, 8]


@given(
    rows=st.integers(1, 9),
    outputs=st.integers(1, 4),
    activation=st.sampled_from(["identity", "tanh", "softmax", "softplus"]),
    seed=st.integers(0, 5),
)
def test_a_gradient_is_that_of_differences(
    rows: int, outputs: int, activation: str, seed: int
) -> None:
    """The derivative is by the outputs after the activation: the chain goes on to the weights."""
    assume(activation != "softmax" or outputs > 1)
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((rows, 2)), rng.standard_normal((rows, outputs))
    net = fn.Network(
        [2, 3, outputs], activation="tanh", output_activation=activation, dtype="float64",
        backend="numpy", seed=seed,
    )  # fmt: skip

    def quartic(output: Any, target: Any) -> tuple[Any, Any]:
        return ((output - target) ** 4).sum(axis=1), 4 * (output - target) ** 3

    found = net.gradients(x, y, loss=quartic)["layers.0.weight"]
    expected = np.empty_like(found)
    for place in np.ndindex(found.shape):
        values = []
        for step in (1e-5, -1e-5):
            moved = net.copy()
            moved.weights[0][place] += step
            values.append(moved.evaluate(x, y, loss=quartic)["loss"])
        expected[place] = (values[0] - values[1]) / 2e-5
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max())


# --- what is refused ------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "one thing": (lambda o, t: o - t, r"must return \(loss, gradient\), got an array of float32"),
    "three things": (lambda o, t: (0.0, o, o), "got 3 values"),
    "nothing": (lambda o, t: None, r"got None"),
    "a gradient of another shape": (
        lambda o, t: (0.0, (o - t)[:, :1]), r"shape of the outputs, \(16, 2\), got \(16, 1\)",
    ),
    "the two in the other order": (
        lambda o, t: squared(o, t)[::-1], r"gradient of the shape of the outputs",
    ),
    "losses of elements": (
        lambda o, t: ((o - t) ** 2, o - t), r"loss of each row, \(16,\), got the shape \(16, 2\)",
    ),
    "a column of losses": (
        lambda o, t: (squared(o, t)[0][:, None], o - t), r"got the shape \(16, 1\)",
    ),
    "texts": (lambda o, t: ("low", o - t), r"real numbers, got 'low'"),
    "complex numbers": (lambda o, t: (0.0, (o - t) * 1j), r"real numbers, got an array of complex"),
    "a loss that is not finite": (lambda o, t: (np.nan, o - t), r"a loss that is not finite"),
    "a gradient that is not finite": (lambda o, t: (0.0, o / 0 * 0), r"gradient that is not"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*encountered in divide:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*encountered in multiply:RuntimeWarning")
@pytest.mark.parametrize(("wrong", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_loss_is_refused_and_nothing_changes(
    wrong: Callable[[Any, Any], Any], message: str
) -> None:
    net = network(loss="mae")
    before = everything(net)
    with pytest.raises(fn.InputError, match=message):
        fit(net, wrong)
    assert same(everything(net), before)
    assert isinstance(net.loss, fn.losses.MAE)
    assert net.optimizer_state is None and net.history is None
    fit(net, squared)  # negative control


def test_a_function_that_fails_loses_nothing(backend: Backend) -> None:
    def broken(output: Any, target: Any) -> tuple[Any, Any]:
        raise ZeroDivisionError

    net = network(backend)
    net.partial_fit(X, Y, loss=squared)
    before = everything(net)
    for train in (lambda: fit(net, broken), lambda: net.partial_fit(X, Y, loss=broken)):
        with pytest.raises(ZeroDivisionError):
            train()
        assert same(everything(net), before)
    assert isinstance(net.loss, FunctionLoss) and net.loss.function is squared


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_function_that_fails_in_the_middle_leaves_a_network_that_goes_on(
    backend: Backend, optimizer: str
) -> None:
    calls = 0

    def broken(output: Any, target: Any) -> tuple[Any, Any]:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise ZeroDivisionError
        return squared(output, target)

    net = fn.Network([3, 5, 2], backend="numpy", seed=1)._copy_to(backend, "float32")
    before = net.evaluate(X, Y, loss="mse")["loss"]
    with pytest.raises(ZeroDivisionError):
        fit(net, broken, optimizer=optimizer, epochs=20)
    # L-BFGS is back at its last iterate, not at a point that its line search tried.
    assert net.evaluate(X, Y, loss="mse")["loss"] < before
    fit(net, squared, optimizer=optimizer)
    assert net.is_finite()


def test_a_loss_that_becomes_infinite_is_a_divergence(backend: Backend) -> None:
    count = 0

    def later(output: Any, target: Any) -> tuple[Any, Any]:
        nonlocal count
        count += 1
        loss, gradient = squared(output, target)
        return (np.inf if count > 5 else float(loss.mean())), gradient / len(gradient)

    net = network(backend)
    with pytest.raises(fn.DivergenceError, match="the loss is not finite at epoch 2, step 2 of 3"):
        fit(net, later)
    assert net.is_finite()


def test_one_number_leaves_no_room_for_weights(backend: Backend) -> None:
    net = network(backend)
    before = everything(net)
    with pytest.raises(fn.InputError, match=r"loss of each row, \(B,\).* sample weights"):
        fit(net, mean_squared, sample_weight=WEIGHT)
    with pytest.raises(fn.InputError, match="sample weights"):
        net.evaluate(X, Y, loss=mean_squared, sample_weight=WEIGHT)
    with pytest.raises(fn.InputError, match="sample weights"):
        net.partial_fit(X, Y, loss=mean_squared, sample_weight=WEIGHT)
    assert same(everything(net), before)


def test_options_that_need_to_know_the_loss_are_refused() -> None:
    net = network()
    with pytest.raises(fn.InputError, match="class_weight needs class labels"):
        fit(net, squared, class_weight={0: 2.0})
    with pytest.raises(fn.InputError, match="standardize_targets goes with the losses"):
        fit(net, squared, standardize_targets=True)
    with pytest.raises(fn.InputError, match="needs an answer to compare"):
        fit(net, squared, metrics=["accuracy"])
    with pytest.raises(fn.InputError, match=r"a Loss, got the class MSE; write MSE\(\)\.$"):
        fit(net, fn.losses.MSE)
    with pytest.raises(fn.InputError, match="loss must be a name or a Loss, got 3"):
        net.loss = 3
    net.loss = squared
    assert net.loss is not None
    with pytest.raises(fn.InputError, match="'squared' is a function of your own: call it"):
        net.loss.value_and_gradient(Y, Y)


def test_estimators_and_tables_refuse_functions_in_a_sentence() -> None:
    with pytest.raises(fn.InputError, match="functions are losses of fn.Network alone"):
        FastNetRegressor(loss=squared).fit(X, Y)
    with pytest.raises(fn.InputError, match="loss must be 'cross_entropy' or"):
        FastNetClassifier(loss=squared).fit(X, Y[:, 0] > 0)
    with pytest.raises(fn.InputError, match="functions are losses of fn.Network alone"):
        fn.tables.train({"x": X[:, 0], "y": Y[:, 0]}, "y", loss=squared)


# --- kept, and resumed ----------------------------------------------------------------------------


def test_a_file_has_the_name_of_the_function_and_the_network_asks_for_it(tmp_path: Path) -> None:
    net = network()
    fit(net, squared)
    net.save(tmp_path / "net.safetensors")
    loaded = fn.load(tmp_path / "net.safetensors", backend="numpy")
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert "squared, a function" in str(loaded.summary())
    for use in (lambda: fit(loaded, None), lambda: loaded.evaluate(X, Y)):
        with pytest.raises(fn.InputError, match=r"function 'squared'.*net\.loss = squared"):
            use()
    assert loaded.evaluate(X, Y, loss="mse")["loss"] > 0
    # It is saved again as it came, and given again in either way.
    loaded.save(tmp_path / "again.safetensors")
    files = [(tmp_path / name).read_bytes() for name in ("net.safetensors", "again.safetensors")]
    assert files[0] == files[1]
    given = fn.load(tmp_path / "again.safetensors", backend="numpy", loss=squared)
    loaded.loss = squared
    assert given.evaluate(X, Y) == loaded.evaluate(X, Y) == net.evaluate(X, Y)


def test_a_damaged_name_is_refused(tmp_path: Path) -> None:
    net = network(loss=squared)
    net.save(tmp_path / "net.safetensors")
    place = tmp_path / "net.safetensors"
    description, tensors = safetensors_file.unpack(place, "fastnet", "model", "a test")
    for bad, message in (
        ({"function_name": 1}, "function's name to be a text"),
        ({"function": "squared"}, "exactly function_name, loss"),
    ):
        description["loss"] = {"loss": "function", **bad}
        place.write_bytes(safetensors_file.pack("fastnet", description, tensors))
        with pytest.raises(fn.ModelFileError, match=message):
            fn.load(place)


def test_a_network_is_copied_and_pickled_with_its_function() -> None:
    net = network(loss=squared)
    fit(net, None)
    for other in (net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.evaluate(X, Y) == net.evaluate(X, Y)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_killed_run_resumes_with_the_same_bits(
    backend: Backend, shuffle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "FIRST_SPAN_FLOPS", 0)
    monkeypatch.setattr(loop, "SPAN_SECONDS", 0)

    class Kill(fn.Callback):
        left = 5

        def on_progress(self, run: fn.Run) -> None:
            self.left -= 1
            if not self.left:
                raise KeyError

    how: dict[str, Any] = {"shuffle": shuffle, "early_stopping": 3, "validation_split": 0.2}
    alone, resumed = network(backend), network(backend)
    fit(alone, squared, **how)
    kept = {"checkpoint": tmp_path / "run", "checkpoint_every": "0.000001s", "resume": True}
    with pytest.raises(KeyError):
        fit(network(backend), squared, callbacks=[Kill()], **how, **kept)
    # A function of another name is another run.
    with pytest.raises(fn.InputError, match=r"another run: loss\.function_name .*mean_squared"):
        fit(network(backend), mean_squared, **how, **kept)
    fit(resumed, squared, **how, **kept)
    assert same(everything(alone), everything(resumed))
    assert alone.history is not None and resumed.history is not None
    assert alone.history.records == resumed.history.records
