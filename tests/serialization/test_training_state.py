"""`save(path, optimizer=True)`: a loaded network trains on as the one that was saved."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.nn.optimizers import OPTIMIZERS
from fastnet.nn.schedules import Cosine, ReduceOnPlateau, WarmUp
from fastnet.serialization import safetensors_file
from fastnet.sklearn import MLPRegressor
from tests.on_backends import each_backend, everything, same

Array = NDArray[Any]

RNG = np.random.default_rng(0)
X, LABELS = RNG.standard_normal((40, 4)), RNG.integers(0, 3, 40)
LAYERS = [fn.Dense(8, "tanh"), fn.BatchNorm("relu"), fn.Dropout(0.3), fn.Dense(3, "softmax")]


def network(backend: str = "numpy", **options: Any) -> fn.Network:
    return fn.Network(LAYERS, inputs=4, seed=5, backend=backend, **options)


def fit(net: fn.Network, **options: Any) -> fn.History:
    return net.fit(X, LABELS, **{"epochs": 2, "batch_size": 16, **options})


def again(net: fn.Network, folder: Path, **options: Any) -> fn.Network:
    """Return what is loaded of a saved network."""
    net.save(folder / "net.safetensors", **({"optimizer": True} | options))
    return fn.load(folder / "net.safetensors", backend=net.backend)


def clocks(net: fn.Network) -> tuple[Any, ...]:
    state = net.optimizer_state
    assert state is not None
    names = ("step", "epoch", "updates", "schedule_epoch", "batch", "plateau", "optimizer")
    return tuple(copy.copy(getattr(state, name)) for name in names)


@each_backend
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_goes_on_with_the_same_bits(
    backend: str, name: str, dtype: str, tmp_path: Path
) -> None:
    layers = [layer for layer in LAYERS if name != "lbfgs" or layer.name != "dropout"]
    net = fn.Network(layers, inputs=4, seed=5, backend=backend, dtype=dtype)
    fit(net, optimizer=name)
    loaded = again(net, tmp_path)
    assert clocks(loaded) == clocks(net)
    assert same(everything(loaded), everything(net))
    plain = again(net, tmp_path, optimizer=False)
    for one in (net, loaded, plain):
        fit(one, optimizer=name, epochs=3)
    assert clocks(loaded) == clocks(net)
    assert same(everything(loaded), everything(net))
    assert net.history is not None and loaded.history is not None
    assert loaded.history.records == net.history.records
    # Without the state it goes elsewhere: the shuffle and the masks begin anew.
    if name != "lbfgs":
        assert not same(everything(plain), everything(net))


@pytest.mark.parametrize(
    "optimizer",
    [
        fn.SGD(ReduceOnPlateau(0.1, patience=0, threshold=0.5), momentum=0.9, nesterov=True),
        fn.AdamW(WarmUp(1e-4, epochs=3, then=Cosine(0.01, epochs=5)), weight_decay=0.1),
        fn.Adam(0.01, clip_norm=0.5, l1=1e-3),
    ],
    ids=["plateau", "warm up", "clipped"],
)
def test_schedules_and_settings_go_on(optimizer: Any, tmp_path: Path) -> None:
    net = network()
    fit(net, optimizer=optimizer, epochs=3)
    loaded = again(net, tmp_path)
    assert clocks(loaded) == clocks(net)
    for one in (net, loaded):
        fit(one, optimizer=optimizer, epochs=3)
    assert same(everything(loaded), everything(net))
    assert clocks(loaded) == clocks(net)


@each_backend
@given(calls=st.lists(st.sampled_from(["fit", "partial", "update", "load"]), max_size=6))
def test_any_sequence_of_calls_has_the_bits_of_one_without_files(
    backend: str, tmp_path_factory: pytest.TempPathFactory, calls: list[str]
) -> None:
    whole, broken = network(backend), network(backend)
    for call in calls:
        if call == "load":
            broken = again(broken, tmp_path_factory.mktemp("saved"))
            continue
        for net in (whole, broken):
            if call == "fit":
                fit(net, epochs=1)
            elif call == "partial":
                net.partial_fit(X[:8], LABELS[:8])
            else:
                net.forward(X[:8])
                net.backward(np.full((8, 3), 0.1), logits=True)
                net.update("adam", steps_per_epoch=3)
    assert same(everything(broken), everything(whole))


def test_a_scaler_goes_on_counting(tmp_path: Path) -> None:
    net = network()
    fit(net, standardize="running")
    loaded, plain = again(net, tmp_path), again(net, tmp_path, optimizer=False)
    for one in (net, loaded, plain):
        one.fit(3 * X[:20] + 1, LABELS[:20], standardize="running", epochs=1)
    assert same(everything(loaded), everything(net))
    np.testing.assert_array_equal(loaded.preprocessor.mean, net.preprocessor.mean)
    assert not np.array_equal(plain.preprocessor.mean, net.preprocessor.mean)


def test_tables_and_functions_go_on(tmp_path: Path) -> None:
    def squared(output: Any, target: Any) -> tuple[Any, Any]:
        return ((output - target) ** 2).mean(axis=1), 2 * (output - target) / output.shape[1]

    table = {"a": X[:, 0], "kind": np.array(["u", "v"])[LABELS % 2], "y": X[:, 1]}
    net = fn.tables.train(table, "y", preset=None, epochs=2, backend="numpy")
    net.fit(table, "y", loss=squared, epochs=1)
    loaded = again(net, tmp_path)
    loaded.loss = squared
    for one in (net, loaded):
        one.fit(table, "y", epochs=2)
    assert same(everything(loaded), everything(net))


def test_the_history_is_there_with_all_that_it_says(tmp_path: Path) -> None:
    net = network()
    fit(net, epochs=9, validation_split=0.3, early_stopping=2, metrics=["f1"])
    loaded = again(net, tmp_path)
    assert loaded.history == net.history
    assert loaded.history is not net.history and loaded.history is not None
    assert loaded.history.best_epoch is not None and loaded.history.monitor == "val_loss"
    assert again(net, tmp_path, optimizer=False).history is None


def test_a_number_of_the_history_that_is_none_is_kept(tmp_path: Path) -> None:
    net = network()
    fit(net, metrics=[lambda t, o: math.nan])
    history = again(net, tmp_path).history
    assert history is not None and all(map(math.isnan, history["<lambda>"]))


def test_an_untrained_network_has_nothing_to_go_on_from(tmp_path: Path) -> None:
    loaded = again(network(), tmp_path)
    assert loaded.optimizer_state is None and loaded.history is None


def test_a_file_without_it_is_what_it_was(tmp_path: Path) -> None:
    net = network()
    fit(net)
    net.save(tmp_path / "plain.safetensors")
    description, tensors = safetensors_file.unpack(
        tmp_path / "plain.safetensors", "fastnet", "model", "a test"
    )
    assert "training" not in description
    assert set(tensors) == {*net.named_parameters(), *net.named_state()}


def test_an_optimizer_of_ones_own_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    class Own(fn.SGD):
        pass

    net = network()
    fit(net, optimizer=Own(0.1))
    with pytest.raises(fn.ModelFileError, match="cannot hold an optimizer of the class Own"):
        net.save(tmp_path / "net.safetensors", optimizer=True)
    assert not list(tmp_path.iterdir())
    net.save(tmp_path / "net.safetensors")
    # Nor that of scikit-learn's perceptron, whose Adam is another one.
    model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=200, tol=1).fit(X, X[:, 0])
    assert (
        model.network_.optimizer_state is None
        or type(model.network_.optimizer_state.optimizer) not in OPTIMIZERS.values()
    )


# --- hostile files --------------------------------------------------------------------------------


def _set(path: str, value: Any) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    """Return a change of the description: a value at a path of keys."""

    def change(description: dict[str, Any], tensors: dict[str, Array]) -> None:
        *way, last = path.split(".")
        place = description["training"]
        for key in way:
            place = place[key]
        place[last] = value

    return change


def _tensor(name: str, make: Callable[[Array], Any]) -> Any:
    def change(description: dict[str, Any], tensors: dict[str, Array]) -> None:
        made = make(tensors[name])
        if made is None:
            del tensors[name]
        else:
            tensors[name] = np.ascontiguousarray(made)

    return change


DEEP: Any = {"schedule": "constant", "start": 0.1}
for _ in range(60):
    DEEP = {"schedule": "warm_up", "start": 0.1, "epochs": 1, "then": DEEP}

HOSTILE: dict[str, tuple[Any, str]] = {
    "no table": (lambda d, t: d.update(training=3), "the training to have exactly"),
    "none": (lambda d, t: d.update(training=None), "no moments and no history without"),
    "a part more": (_set("code", "x"), "the training to have exactly"),
    "an unknown optimizer": (_set("optimizer.settings.optimizer", "magic"), "unknown optimizer"),
    "an unknown option": (_set("optimizer.settings.magic", 1), "cannot be made"),
    "a rate below 0": (_set("optimizer.settings.learning_rate", -1), "learning_rate must be"),
    "schedules without end": (_set("optimizer.settings.learning_rate", DEEP), "at most 50"),
    "a schedule of another kind": (
        _set("optimizer.settings.learning_rate", {"schedule": "adam"}), "unknown schedule",
    ),
    "a clock below 0": (_set("optimizer.clocks.step", -1), "step must be"),
    "a clock that is no number": (_set("optimizer.clocks.epoch", "1"), "epoch must be"),
    "a clock too large": (_set("optimizer.clocks.updates", 2**70), "updates must be"),
    "a clock less": (_set("optimizer.clocks", {}), "the clocks to have exactly"),
    "a plateau of texts": (_set("optimizer.plateau.best", "x"), "best loss to be a number"),
    "a plateau that waited below 0": (_set("optimizer.plateau.waited", -1), "waited must be"),
    "no optimizer": (_set("optimizer", None), "moments of exactly an optimizer"),
    "no moments": (_tensor("optimizer.moments", lambda a: None), "moments of exactly"),
    "moments of another shape": (_tensor("optimizer.moments", lambda a: a[:, 1:]), "the shape"),
    "moments in float64": (_tensor("optimizer.moments", lambda a: a.astype("f8")), "float32"),
    "moments that are not finite": (_tensor("optimizer.moments", lambda a: a * np.nan), "finite"),
    "rows below 0": (_set("rows", -1.0), "weight of the rows"),
    "rows without moments": (
        _tensor("scaling.moments", lambda a: None), "mean and the variance of each input",
    ),
    "a variance below 0": (_tensor("scaling.moments", lambda a: -abs(a) - 1), "the variance of"),
    "moments of fewer inputs": (_tensor("scaling.moments", lambda a: a[:, 1:]), "the variance of"),
    "no scaler": (
        lambda d, t: [t.pop(f"scaler.{name}") for name in ("mean", "scale")], "of a scaler that is",
    ),
    "a history of numbers": (_set("history", 3), "the history to be an object"),
    "no history": (_set("history", None), "no records without a history"),
    "a name more": (_set("history.metrics", ["loss", "x", "y", "z"]), "its history is not valid"),
    "a name less": (_set("history.metrics", ["loss"]), "records without a name"),
    "seconds that are a text": (_set("history.seconds", "1"), "seconds of the history"),
    "a reason that is a number": (_set("history.stop_reason", 1), "stop_reason of the history"),
    "a best epoch of 0": (_set("history.best_epoch", 0), "best_epoch must be"),
    "epochs in float64": (_tensor("history.epochs", lambda a: a * 1.0), "not whole numbers"),
    "epochs that are gone": (_tensor("history.epochs", lambda a: None), "'epochs'"),
    "a metric of rows": (_tensor("history.0", lambda a: a[:, None]), "not one number an epoch"),
    "a tensor more": (
        lambda d, t: t.update({"history.9": np.zeros(1)}), "records without a name",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Array]]:
    net = network()
    fit(net, standardize=True)
    path = tmp_path_factory.mktemp("good") / "net.safetensors"
    net.save(path, optimizer=True)
    return safetensors_file.unpack(path, "fastnet", "model", "a test")


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused(
    saved: tuple[dict[str, Any], dict[str, Array]], change: Any, message: str, tmp_path: Path
) -> None:
    description, tensors = copy.deepcopy(saved[0]), dict(saved[1])
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors_file.pack("fastnet", description, tensors))
    assert fn.load(path, backend="numpy").optimizer_state is not None  # negative control
    change(description, tensors)
    path.write_bytes(safetensors_file.pack("fastnet", description, tensors))
    with pytest.raises(fn.ModelFileError, match=message):
        fn.load(path)
