"""A network with `Members` in use: training, files, copies, gradients, and its plain members."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.errors import InputError
from fastnet.nn.member_plan import MemberPlan
from tests.on_backends import each_backend, everything, on_host, same

Array = NDArray[Any]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
NUMBERS = np.stack([X[:, 0] * X[:, 1], X[:, 3]], axis=1)
FIT: dict[str, Any] = {"epochs": 3, "batch_size": 16, "validation_split": 0.2}


def classes(backend: str = "numpy", scales: Any = "first", **how: Any) -> fn.Network:
    hidden = [fn.Dense(8, "relu"), fn.Dropout(0.1), fn.Dense(8, "tanh")]
    layers = [fn.Members(3, scales=scales), *hidden, fn.Dense(3, "softmax")]
    given: Any = {"inputs": 4, "backend": backend, "seed": 5, "dtype": "float64"}
    return fn.Network(layers, **given | how)


def numbers(backend: str = "numpy", **how: Any) -> fn.Network:
    layers = [fn.Members(3, scales="all"), fn.Dense(8, "relu"), fn.Dense(2)]
    return fn.Network(layers, inputs=4, backend=backend, seed=5, dtype="float64", **how)  # type: ignore[arg-type]


# --- the members ----------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("scales", ["first", "all"])
def test_the_answer_is_the_mean_of_plain_networks(backend: str, scales: Any) -> None:
    net = classes(backend, scales)
    net.fit(X, LABELS, standardize=True, **FIT)
    members = net.members()
    assert not any(isinstance(one.plan, MemberPlan) for one in members) and len(members) == 3
    ensemble = fn.Ensemble(members)
    assert np.abs(ensemble.predict(X) - net.predict(X)).max() < 1e-14
    score, other = net.evaluate(X, LABELS), ensemble.evaluate(X, LABELS)
    assert other["accuracy"] == score["accuracy"] and abs(other["loss"] - score["loss"]) < 1e-12
    assert np.abs(net.predict_one(X[3]) - net.predict(X[3:4])[0]).max() < 1e-14
    apart = [one.predict(X) for one in members]
    assert np.abs(apart[0] - apart[1]).max() > 1e-3
    with pytest.raises(AssertionError):  # a comparer that sees one member's bits
        members[1].weights[0][0, 0] += 0.01
        assert np.abs(ensemble.predict(X) - net.predict(X)).max() < 1e-14


def test_a_plain_network_is_its_only_member() -> None:
    net = fn.Network([4, 3, 1], backend="numpy")
    (one,) = net.members()
    assert one is not net and np.array_equal(one.predict(X), net.predict(X))


@each_backend
def test_numbers_are_answered_in_their_own_unit(backend: str) -> None:
    net = numbers(backend)
    net.fit(X, 1e3 * NUMBERS + 5e4, standardize=True, standardize_targets=True, **FIT)
    mean = np.mean([one.predict(X) for one in net.members()], axis=0)
    assert net.predict(X).min() > 4e4 and np.abs(net.predict(X) / mean - 1).max() < 1e-13


# --- training -------------------------------------------------------------------------------------


@each_backend
def test_training_that_stops_and_goes_on_has_the_bits_of_one(backend: str, tmp_path: Path) -> None:
    whole, cut = classes(backend), classes(backend)
    whole.fit(X, LABELS, **FIT)
    cut.fit(X, LABELS, **FIT | {"epochs": 2}, checkpoint=tmp_path, checkpoint_every=1)
    resumed = classes(backend)
    resumed.fit(X, LABELS, **FIT, checkpoint=tmp_path, resume=True)
    assert same(everything(resumed), everything(whole))
    assert not same(everything(cut), everything(whole))
    assert resumed.history is not None and whole.history is not None
    assert resumed.history.records == whole.history.records


@each_backend
def test_a_file_a_copy_and_a_pickle_are_the_same_network(backend: str, tmp_path: Path) -> None:
    net = classes(backend, "all")
    net.fit(X, LABELS, **FIT)
    net.save(tmp_path / "net.safetensors", optimizer=True)
    loaded = fn.load(tmp_path / "net.safetensors", backend=backend)  # type: ignore[arg-type]
    for other in (loaded, net.copy(), pickle.loads(pickle.dumps(net))):
        assert same(everything(other), everything(net)) and other.layers == net.layers
        assert np.array_equal(on_host(other, other.predict(X)), on_host(net, net.predict(X)))
    loaded.fit(X, LABELS, **FIT)
    net.fit(X, LABELS, **FIT)
    assert same(everything(loaded), everything(net))


def test_the_steps_of_a_loop_of_ones_own_are_those_of_the_mean_answer() -> None:
    net = numbers()
    net.fit(X, NUMBERS, epochs=1)
    outputs = net.forward(X, training=False)
    assert np.array_equal(outputs, net.predict(X))
    found = net.backward(np.ones_like(outputs)).flat.copy()
    for place in range(0, net.plan.size, 17):
        pair = []
        for move in (1e-6, -1e-6):
            moved = net.copy()
            moved.parameters[place] += move
            pair.append(moved.predict(X).sum())
        assert abs((pair[0] - pair[1]) / 2e-6 - found[place]) < 1e-6
    with pytest.raises(InputError, match="no logits in common: give the derivative by the outputs"):
        net.backward(np.ones_like(outputs), logits=True)


def test_steps_on_one_row_have_the_bits_of_partial_fit() -> None:
    net, other = numbers(), numbers()
    step = net.online_step(fn.Adam(0.01))
    for x, y in zip(X[:20], NUMBERS, strict=False):
        step(x, y)
        other.partial_fit(x[None], y[None], optimizer=fn.Adam(0.01))
    assert same(everything(net), everything(other))
    assert not same(everything(net)[:1], everything(numbers())[:1])


def test_lbfgs_minimises_the_mean_of_the_members_losses() -> None:
    net = numbers()
    before = net.evaluate(X, NUMBERS)["loss"]
    net.fit(X, NUMBERS, optimizer="lbfgs", epochs=20)
    assert net.evaluate(X, NUMBERS)["loss"] < 0.3 * before


def test_members_of_a_population_have_the_bits_of_single_fits() -> None:
    fit = {name: value for name, value in FIT.items() if name != "validation_split"}
    population = fn.fit_many(classes(), X, LABELS, seeds=2, **fit)
    for one in population:
        alone = classes(seed=one.seed)
        alone.fit(X, LABELS, **fit)
        assert on_host(alone).tobytes() == on_host(one).tobytes()


# --- derivatives ----------------------------------------------------------------------------------


@each_backend
def test_the_derivatives_by_inputs_are_those_of_the_mean_answer(backend: str) -> None:
    net = classes(backend, "all")
    net.fit(X, LABELS, standardize=True, **FIT)
    rows, step = X[:3], 1e-6
    pairs = [
        (net.predict(rows + step * e) - net.predict(rows - step * e)) / (2 * step)
        for e in np.eye(4)
    ]
    wanted = np.stack(pairs, axis=2)
    assert np.abs(net.jacobian(rows) - wanted).max() < 1e-8
    assert np.abs(net.jacobian_one(rows[1]) - wanted[1]).max() < 1e-8
    assert np.abs(net.input_gradients(rows, 2) - wanted[:, 2]).max() < 1e-8


# --- what it shows, and what is refused -----------------------------------------------------------


def test_the_summary_says_how_many_members_there_are() -> None:
    text = str(classes().summary())
    assert "1  dense" in text and "members     3, of whose outputs it predicts the mean" in text


def test_weights_and_biases_are_those_of_dense_layers() -> None:
    net = classes(scales="all")
    assert [w.shape for w in net.weights] == [(4, 8), (8, 8), (3, 8, 3)]
    assert [b.shape for b in net.biases] == [(3, 8), (3, 8), (3, 3)]
    net.weights[2] = np.zeros((3, 8, 3))
    assert not net.named_parameters()["layers.4.weight"].any()


def test_what_one_mean_answer_cannot_do_is_refused() -> None:
    net = classes()
    net.fit(X, LABELS, **FIT)
    with pytest.raises(InputError, match=r"calibrate fn.Ensemble\(net.members\(\)\)"):
        net.calibrate(X, LABELS)
    other = numbers()

    def own(output: Any, target: Any) -> Any:
        return ((output - target) ** 2).mean()

    for loss in ("gaussian_nll", own):
        with pytest.raises(InputError, match="a network with Members has no loss"):
            other.fit(X, NUMBERS[:, :1], loss=loss)
        with pytest.raises(InputError, match="a network with Members has no loss"):
            other.loss = loss
