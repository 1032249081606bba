"""Files and pickles have names of activations that stay for ever: "gelu" is the tanh form there.

That form was the only one when files began to be written. So old files mean what they meant, old
readers read new files of that form, and refuse those of the exact one, ``gelu_erf`` in files.
"""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import fastnet as fn
from fastnet.nn import activations, layers
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.layers import BatchNorm, Dense, Dropout, LayerNorm

NAMES = {"gelu_tanh": "gelu", "gelu": "gelu_erf"}
each_name = pytest.mark.parametrize(("name", "stored"), NAMES.items())

X = np.linspace(-3, 3, 24).reshape(12, 2)


def network(name: str) -> fn.Network:
    made = [fn.Dense(4, name), fn.LayerNorm(name), fn.Dense(1)]
    return fn.Network(made, inputs=2, backend="numpy", seed=1)


def description(path: Path, kind: str) -> dict[str, Any]:
    with safe_open(path, framework="numpy") as opened:
        found: dict[str, Any] = json.loads(opened.metadata()[kind].partition("\n")[2])
    return found


@each_name
def test_a_model_file_has_the_stored_name(name: str, stored: str, tmp_path: Path) -> None:
    net = network(name)
    net.save(tmp_path / "net.safetensors")
    found = description(tmp_path / "net.safetensors", "fastnet")["layers"]
    assert [layer.get("activation") for layer in found] == [stored, stored, "identity"]
    again = fn.load(tmp_path / "net.safetensors", backend="numpy")
    assert again.layers == net.layers
    assert again.predict(X).tobytes() == net.predict(X).tobytes()


def test_the_two_forms_differ() -> None:
    assert abs(network("gelu").predict(X) - network("gelu_tanh").predict(X)).max() > 1e-5


def test_every_other_name_is_stored_as_it_is() -> None:
    stored = {name: activations.to_stored(name) for name in ACTIVATIONS}
    assert {name: v for name, v in stored.items() if v != name} == NAMES
    assert len(set(stored.values())) == len(stored)
    assert all(activations.from_stored(stored[name]) == name for name in stored)
    assert "gelu_erf" not in ACTIVATIONS  # so readers that know no other form refuse it


@pytest.mark.parametrize("anything", [None, 3, ["gelu"], {"gelu": 1}, [[{"activation": "gelu"}]]])
def test_what_is_no_list_of_layers_is_left_to_the_reader(anything: Any) -> None:
    assert layers.from_stored(anything) == anything


def fit(name: str, folder: Path, **more: Any) -> fn.Network:
    net = network(name)
    net.fit(X, X.sum(axis=1), epochs=3, batch_size=4, checkpoint=folder, **more)
    return net


@each_name
def test_a_checkpoint_has_the_stored_name(name: str, stored: str, tmp_path: Path) -> None:
    fit(name, tmp_path)
    for path in tmp_path.glob("*.safetensors"):
        found = description(path, "fastnet-checkpoint")["basis"]["layers"]
        assert [layer.get("activation") for layer in found] == [stored, stored, "identity"]
    fit(name, tmp_path, resume=True)


def test_a_run_with_the_other_form_is_another_run(tmp_path: Path) -> None:
    fit("gelu_tanh", tmp_path)  # as version 0.1 wrote it of "gelu"
    with pytest.raises(
        fn.InputError, match=r"layers\[0\]\.activation is gelu here and gelu_tanh there"
    ):
        fit("gelu", tmp_path, resume=True)


LAYERS = [Dense(3, "gelu"), Dense(3, "gelu_tanh"), BatchNorm("gelu"), LayerNorm(), Dropout(0.5)]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_layers_survive_pickles_and_copies(layer: layers.Layer) -> None:
    for made in (pickle.loads(pickle.dumps(layer)), copy.copy(layer), copy.deepcopy(layer)):
        assert made == layer
        assert hash(made) == hash(layer)


def test_a_layer_that_was_pickled_before_there_were_two_forms_has_the_tanh_form() -> None:
    layer = object.__new__(Dense)
    layer.__setstate__(vars(Dense(3, "relu")) | {"activation": "gelu"})
    assert layer == Dense(3, "gelu_tanh")


@each_name
def test_a_pickled_network_predicts_the_same(name: str, stored: str) -> None:
    net = network(name)
    again = pickle.loads(pickle.dumps(net))
    assert again.layers == net.layers
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
