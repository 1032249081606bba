"""Model files: they keep everything, on any backend; damaged or hostile ones are refused."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.initializers import INITIALIZERS
from fastnet.nn.losses import LOSSES
from fastnet.preprocessing import serialize
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.serialization import safetensors_file
from tests.checkout import ROOT
from tests.on_backends import BACKENDS, each_backend

Array = NDArray[Any]


def unpack(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    return safetensors_file.unpack(path, "fastnet", "model", "a test")


X = np.random.default_rng(0).standard_normal((30, 4))
LABELS = np.random.default_rng(1).integers(0, 3, 30)
LAYERS = [
    fn.Dense(6, "tanh", initializer="normal"),
    fn.BatchNorm("relu", momentum=0.2, epsilon=1e-4),
    fn.Dropout(0.25),
    fn.Dense(5),
    fn.LayerNorm("silu", epsilon=1e-3),
    fn.Dense(3, "softmax"),
]


def trained(**options: Any) -> fn.Network:
    net = fn.Network(LAYERS, inputs=4, seed=2**64 - 1, **{"backend": "numpy", **options})
    net.fit(X, LABELS, epochs=2, batch_size=8)
    return net


def same(a: fn.Network, b: fn.Network) -> bool:
    """Return whether two networks are the same in all that a file keeps."""
    kept, arrays = [], []
    for net in (a, b):
        content, numbers = serialize.write(net.preprocessor)
        facts = net.layers, net.inputs, net.dtype, net.seed, net.label_names, net.loss
        kept.append((*facts, content, sorted(numbers)))
        own = (net.backend_object.to_host(values) for values in (net.parameters, net.state))
        arrays.append([*own, *(numbers[name] for name in sorted(numbers))])
    return kept[0] == kept[1] and all(map(np.array_equal, *arrays))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small model file with everything in it."""
    net = trained()
    net.label_names = ("ä", "b", "c")
    net.preprocessor = Scaler.fit(X, TableTarget.plain(("colour",), net.label_names))
    file = tmp_path_factory.mktemp("models") / "m.safetensors"
    net.save(file)
    return file.read_bytes()


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("source", BACKENDS)
@pytest.mark.parametrize("target", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_keeps_the_network_on_any_backend(
    source: str, target: str, dtype: str, path: Path
) -> None:
    net = trained(dtype=dtype, backend=source)
    net.save(path)
    loaded = fn.load(path, backend=target)
    assert loaded.backend == target
    assert same(loaded, net)
    assert np.array_equal(loaded.predict(X), net.to(target).predict(X))
    assert not same(loaded, fn.Network(LAYERS, inputs=4, seed=2**64 - 1, dtype=dtype))


COLOURS = ("red", "grün", "\N{SNOWMAN}")
TABLE: dict[str, Any] = {
    "size": np.where(X[:, 0] > 1, np.nan, X[:, 0]),
    "kind": np.array(["flat", "house", "hut"])[LABELS],
    "new": np.array(["no", "yes"])[(X[:, 1] > 0).astype(int)],
}


def of_arrays(**options: Any) -> Callable[[], fn.Network]:
    """Return what makes a network that has learned classes of arrays."""

    def make() -> fn.Network:
        net = fn.Network([4, 3], output_activation="softmax", backend="numpy")
        net.preprocessor = Passthrough(4, TableTarget.plain(("colour",), COLOURS))
        labels = np.array(COLOURS)[LABELS]
        net.fit(X, labels, epochs=1, loss=fn.losses.CrossEntropy(0.1), **options)
        return net

    return make


def of_table(y: Any = X[:, 3], loss: str = "mse", **options: Any) -> Callable[[], fn.Network]:
    """Return what makes a network that has learned a table."""

    def make() -> fn.Network:
        net = fn.Network([TablePreprocessor.fit(TABLE, **options).inputs, 2 - (loss == "mse")],
                         output_activation="identity" if loss != "cross_entropy" else "softmax",
                         backend="numpy")  # fmt: skip
        net.preprocessor = TablePreprocessor.fit(TABLE, y, **options)
        net.fit(TABLE, y, loss=loss, epochs=1)
        return net

    return make


MADE: dict[str, Callable[[], fn.Network]] = {
    "arrays": of_arrays(),
    "scaled arrays": of_arrays(standardize=True),
    "numbers of a table": of_table(),
    "means and variances": of_table(loss="gaussian_nll", scaling="none"),
    "classes of a table": of_table(TABLE["new"], "cross_entropy", scaling="standard"),
    "periodic": of_table(numeric_embedding="periodic"),
    "piecewise": of_table(numeric_embedding="piecewise"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_file_keeps_preprocessor_labels_and_loss(
    make: Callable[[], fn.Network], path: Path
) -> None:
    net = make()
    net.save(path)
    loaded = fn.load(path, backend="numpy")
    assert same(loaded, net)
    assert type(loaded.preprocessor) is type(net.preprocessor)
    assert loaded.output_schema.column_names == net.output_schema.column_names
    x: Any = TABLE if isinstance(net.preprocessor, TablePreprocessor) else X
    assert np.array_equal(loaded.predict(x), net.predict(x))
    net.label_names = ("other",)
    assert not same(loaded, net)
    other = Scaler(np.zeros(net.inputs), np.full(net.inputs, 2.0))
    loaded.preprocessor, net.label_names = other, loaded.label_names
    assert not same(loaded, net)


@pytest.mark.parametrize("name", LOSSES)
def test_a_file_keeps_every_loss(name: str, path: Path) -> None:
    loss = LOSSES[name]()
    net = fn.Network([4, 6], output_activation=loss.output_activations[0], backend="numpy")
    net.loss = loss
    net.save(path)
    assert fn.load(path, backend="numpy").loss == loss


EVERY_OPTION = [fn.Dense(3, name) for name in ACTIVATIONS]
EVERY_OPTION += [fn.Dense(3, initializer=name) for name in INITIALIZERS]


@pytest.mark.parametrize(
    "layer", EVERY_OPTION, ids=lambda row: f"{row.activation}-{row.initializer}"
)
def test_a_file_keeps_every_activation_and_initializer(layer: fn.Dense, path: Path) -> None:
    net = fn.Network([layer], inputs=4, backend="numpy")
    net.parameters[...] = 1
    net.save(path)
    loaded = fn.load(path, backend="numpy")
    assert same(loaded, net)
    net.initialize()
    loaded.initialize()
    assert same(loaded, net)


def test_saving_what_was_loaded_gives_the_same_content(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    description, tensors = unpack(path)
    net, other = fn.load(path, backend="numpy"), path.with_name("other")
    net.save(other)
    again, tensors_again = unpack(other)
    assert again == description
    assert tensors_again.keys() == tensors.keys()
    assert all(np.array_equal(tensors_again[name], tensors[name]) for name in tensors)


@each_backend
def test_a_loaded_network_trains(backend: str, content: bytes, path: Path) -> None:
    path.write_bytes(content)
    net = fn.load(path, backend=backend)
    assert net.optimizer_state is None
    labels = np.array(["ä", "b", "c"])[LABELS]
    history = net.fit(X, labels, epochs=40, optimizer=fn.Adam(0.01))
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("convert", [str, Path, os.path.relpath])
def test_a_path_may_be_text_or_a_path(
    convert: Callable[[Path], Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    net = trained()
    net.save(convert(path))
    assert same(fn.load(convert(path), backend="numpy"), net)


def test_other_programs_can_read_the_tensors(content: bytes, path: Path) -> None:
    from safetensors.numpy import load_file

    path.write_bytes(content)
    tensors = load_file(path)
    net = fn.load(path, backend="numpy")
    for name, values in net.named_parameters().items():
        assert np.array_equal(tensors[name], values)
    assert tensors["scaler.mean"].dtype == np.float64


def test_nothing_in_a_file_is_unpickled(
    content: bytes, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("unpickled")

    for name in ("loads", "load", "Unpickler", "_loads", "_load"):
        monkeypatch.setattr(pickle, name, poisoned, raising=False)
    path.write_bytes(content)
    fn.load(path, backend="numpy")
    assert b"pickle" not in content
    with pytest.raises(AssertionError, match="unpickled"):
        pickle.loads(b"")


# --- damage ---------------------------------------------------------------------------------------


def refuse(path: Path, *parts: str) -> None:
    """Check that a file is refused as it should be."""
    with pytest.raises(fn.ModelFileError) as caught:
        fn.load(path, backend="numpy")
    message = str(caught.value)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    sentence, _, _ = message.replace(str(path), "").partition(" Known: ")
    assert ". " not in sentence
    assert len(message) < 600 + len(str(path))
    for part in parts:
        assert part in message, message


def test_the_check_of_refusals_can_fail(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        refuse(path)
    path.write_bytes(b"")
    with pytest.raises(AssertionError):
        refuse(path, "another reason")


def test_what_is_no_file_is_refused(path: Path, tmp_path: Path) -> None:
    refuse(path, "does not exist")
    refuse(tmp_path, "is not a file")
    refuse(path / "below", "does not exist")
    refuse(path.with_name("a" * 400))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    refuse(path, "is not a file")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may read anything"
)
def test_a_file_that_may_not_be_read_is_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    path.chmod(0)
    refuse(path, "cannot be read")


FOREIGN: dict[str, bytes] = {
    "empty": b"",
    "short": b"abc",
    "text": b"a,b,c\n1,2,3\n" * 50,
    "zeros": bytes(500),
    "ones": b"\xff" * 500,
    "pickle": pickle.dumps({"layers": [1, 2, 3]}),
    "zip": b"PK\x03\x04" + bytes(200),
    "header of 2**63": struct.pack("<Q", 2**63) + b"{}",
    "header of 90 MB": struct.pack("<Q", 90_000_000) + b"{" * 1000,
    "no header": struct.pack("<Q", 2) + b"{}",
    "JSON that is no table": struct.pack("<Q", 2) + b"[]",
    "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "not UTF-8": struct.pack("<Q", 4) + b"\xff\xfe{}",
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_refused(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    refuse(path, "not a fastnet model")


def test_another_programs_safetensors_are_refused(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros((2, 2), np.float32)}, path)
    refuse(path, "not a fastnet model", "description")
    save_file({"weight": np.zeros((2, 2), np.float32)}, path, metadata={"format": "pt"})
    refuse(path, "not a fastnet model", "description")


def test_a_truncated_file_is_refused(content: bytes, path: Path) -> None:
    for length in [*range(0, 40), *range(40, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        refuse(path)


def test_a_file_with_something_behind_it_is_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content + b"\0")
    refuse(path)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_refused_or_means_the_same(seed: int, content: bytes, path: Path) -> None:
    """Flipped bits, bytes overwritten, pieces lost, doubled and swapped: 200 files in all."""
    rng = np.random.default_rng(seed)
    path.write_bytes(content)
    original = fn.load(path, backend="numpy")
    refused = 0
    for _ in range(50):
        data = bytearray(content)
        kind = rng.integers(5)
        a, b = sorted(rng.integers(0, len(data), 2).tolist())
        b = min(b, a + 64) + 1
        if kind == 0:
            data[a] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[a:b] = rng.bytes(b - a)
        elif kind == 2:
            del data[a:b]
        elif kind == 3:
            data[a:a] = data[a:b]
        else:
            data[a], data[-1 - a] = data[-1 - a], data[a]
        path.write_bytes(bytes(data))
        try:
            loaded = fn.load(path, backend="numpy")
        except fn.ModelFileError:
            refused += 1
        else:
            assert same(loaded, original)
    assert refused > 40


def test_every_flipped_bit_of_the_tensors_is_noticed(content: bytes, path: Path) -> None:
    start = 8 + int.from_bytes(content[:8], "little")
    for place in range(start, len(content), 41):
        data = bytearray(content)
        data[place] ^= 1
        path.write_bytes(bytes(data))
        refuse(path, "checksum")


# --- files that say something else ----------------------------------------------------------------


@functools.cache
def stored(kind: str) -> bytes:
    """Return the bytes of a model file, or of one as version 0.1 wrote them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m"
        if kind not in ("scaler", "schema"):
            MADE[kind]().save(file)
            return file.read_bytes()
        net = trained()
        net.preprocessor = Scaler.fit(X)
        net.save(file)
        description, tensors = unpack(file)
    if kind == "schema":
        del description["preprocessor"]
        columns = [{"name": f"x{k}", "kind": "numeric"} for k in range(2)]
        columns.append({"name": "kind", "kind": "categorical", "categories": ["a", "b"]})
        labels = ["u", "v", "w"]
        schema = {"columns": columns, "targets": ["y"], "labels": labels, "named": True}
        description |= {"version": 1, "schema": schema}
    return safetensors_file.pack("fastnet", description, tensors)


def forge(
    path: Path, change: Callable[..., Any], kind: str = "scaler", *, sign: bool = True
) -> None:
    """Write a model file whose content was changed, with a checksum that fits."""
    from safetensors.numpy import save

    path.write_bytes(stored(kind))
    description, tensors = unpack(path)
    tensors = {name: values.copy() for name, values in tensors.items()}
    replaced = change(description, tensors)
    text = json.dumps(description if replaced is None else replaced)
    checksum = safetensors_file.checksum(text, tensors) if sign else "0" * 64
    path.write_bytes(save(tensors, metadata={"fastnet": f"{checksum}\n{text}"}))


def setting(**values: Any) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    return lambda description, tensors: description.update(values)


def replacing(value: Any) -> Callable[[dict[str, Any], dict[str, Array]], Any]:
    return lambda description, tensors: value


def without(name: str) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    def change(description: dict[str, Any], tensors: dict[str, Array]) -> None:
        (description if name in description else tensors).pop(name)

    return change


def tensor(name: str, make: Callable[[Array], Array]) -> Callable[..., None]:
    def change(description: dict[str, Any], tensors: dict[str, Array]) -> None:
        tensors[name] = make(tensors.get(name, np.zeros(3, np.float32)))

    return change


def layer(index: int, **values: Any) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    return lambda description, tensors: description["layers"][index].update(values)


def layers(*values: Any) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    return setting(layers=list(values))


def with_nan(values: Array) -> Array:
    values[0] = np.nan
    return values


FORGED: dict[str, tuple[Callable[..., Any], str]] = {
    "version 3": (setting(version=3), "format version 3"),
    "version text": (setting(version="1"), "version '1'"),
    "no version": (without("version"), "description"),
    "a list": (replacing([1, 2]), "description"),
    "a number": (replacing(3), "description"),
    "nothing": (replacing("null"), "description"),
    "no layers": (without("layers"), "layers"),
    "no dtype": (without("dtype"), "dtype"),
    "no seed": (without("seed"), "seed"),
    "layers empty": (layers(), "layers"),
    "layers a number": (setting(layers=3), "layers"),
    "layers a text": (setting(layers="dense"), "layers"),
    "layers of texts": (layers("ab"), "description"),
    "layers of numbers": (layers(1, 2), "description"),
    "layers of lists": (layers([1, 2, 3]), "description"),
    "layers of nothing": (layers(None), "description"),
    "too many layers": (layers(*[{"layer": "dropout", "rate": 0.5}] * 5000), "layers"),
    "an unknown layer": (layer(0, layer="convolution"), "convolution"),
    "a layer of a list": (layer(0, layer=["dense"]), "description"),
    "an unknown option": (layer(0, colour="red"), "colour"),
    "an unknown activation": (layer(0, activation="__import__"), "__import__"),
    "units negative": (layer(0, units=-6), "units"),
    "units beyond all memory": (layer(0, units=2**60), ""),
    "units beyond all numbers": (layer(0, units=10**40), ""),
    "units of a gigabyte": (layer(0, units=10**9), ""),
    "rate": (layer(2, rate=1.5), "rate"),
    "softmax of one output": (layer(5, units=1), "1 for every row"),
    "no last layer": (layers({"layer": "dropout", "rate": 0.5}), "last layer"),
    "inputs 0": (setting(inputs=0), "inputs"),
    "inputs true": (setting(inputs=True), "whole number"),
    "inputs beyond all numbers": (setting(inputs=10**40), ""),
    "another number of inputs": (setting(inputs=5), "layers.0.weight"),
    "seed negative": (setting(seed=-1), "seed"),
    "dtype": (setting(dtype="float16"), "dtype"),
    "dtype comma": (setting(dtype=","), "dtype"),
    "dtype list": (setting(dtype=[1]), "dtype"),
    "dtype null": (setting(dtype=None), "dtype"),
    "another dtype": (setting(dtype="float64"), "float32"),
    "labels a number": (setting(label_names=3), "label"),
    "labels a text": (setting(label_names="abc"), "label"),
    "loss text": (setting(loss="mse"), "loss"),
    "loss list": (setting(loss=[1]), "description"),
    "loss unknown": (setting(loss={"loss": "hinge"}), "hinge"),
    "loss of another output": (setting(loss={"loss": "poisson"}), "poisson"),
    "quantiles that do not fit": (
        setting(loss={"loss": "quantile", "quantiles": [0.2, 0.7]}),
        "quantile",
    ),
    "an odd number for means and variances": (setting(loss={"loss": "gaussian_nll"}), "gaussian"),
    "temperature beyond float64": (setting(temperature=7 * 10**350), "temperature"),
    "a rate beyond float64": (layer(0, bias_rate=10**500), "bias_rate"),
    "a seed beyond all numbers": (setting(seed=10**4000), "seed"),
    "half a character": (setting(label_names=["x", "y", "z\udc80"]), "lone surrogate"),
    "half a character in a key": (setting(**{"\ud83d": 1}), "lone surrogate"),
    "a tensor less": (without("layers.0.weight"), "layers.0.weight"),
    "a tensor more": (tensor("layers.9.weight", lambda t: t), "layers.9.weight"),
    "a statistic less": (without("layers.1.running_var"), "layers.1.running_var"),
    "half a scaler": (without("scaler.mean"), "mean and scale"),
    "a tensor's shape": (tensor("layers.0.weight", lambda t: t.T.copy()), "[6, 4]"),
    "a tensor's dtype": (tensor("layers.0.bias", lambda t: t.astype(np.float64)), "float64"),
    "a tensor of half": (tensor("layers.0.bias", lambda t: t.astype(np.float16)), "float16"),
    "a tensor of integers": (tensor("layers.0.bias", lambda t: t.astype(np.int32)), "int32"),
    "NaN": (tensor("layers.0.bias", with_nan), "not finite"),
    "NaN in the statistics": (tensor("layers.1.running_mean", with_nan), "not finite"),
    "a negative variance": (tensor("layers.1.running_var", lambda t: -t), "running_var"),
    "NaN in the scaler": (tensor("scaler.mean", with_nan), "finite means"),
    "a scale of 0": (tensor("scaler.scale", np.zeros_like), "positive finite scales"),
    "a scaler's width": (tensor("scaler.scale", lambda t: t[:2].copy()), "(4,) and (2,)"),
    "a scaler's dtype": (tensor("scaler.mean", lambda t: t.astype(np.float32)), "in float64"),
}


@pytest.mark.parametrize(("change", "part"), FORGED.values(), ids=FORGED)
def test_a_file_that_makes_no_network_is_refused(
    change: Callable[..., Any], part: str, path: Path
) -> None:
    forge(path, change)
    refuse(path, part)


def preprocessor(**values: Any) -> Callable[..., None]:
    return lambda description, tensors: description["preprocessor"].update(values)


def target(**values: Any) -> Callable[..., None]:
    return lambda description, tensors: description["preprocessor"]["target"].update(values)


def schema(**values: Any) -> Callable[..., None]:
    return lambda description, tensors: description["schema"].update(values)


def two_targets(description: dict[str, Any], tensors: dict[str, Array]) -> None:
    tensors.update({"table.target_center": np.zeros(2), "table.target_scale": np.ones(2)})


def another_column(description: dict[str, Any], tensors: dict[str, Array]) -> None:
    description["preprocessor"]["columns"].append({"name": "more", "kind": "numeric"})
    tensors["table.knots"] = np.zeros((3, 0))
    for name in ("table.center", "table.factor"):
        tensors[name] = np.append(tensors[name], 1.0)


def five_columns(description: dict[str, Any], tensors: dict[str, Array]) -> None:
    tensors.update({"scaler.mean": np.zeros(5), "scaler.scale": np.ones(5)})


# What is wrong within a preprocessor: tests/preprocessing/test_serialize.py.
PREPROCESSORS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "missing": ("arrays", without("preprocessor"), "'preprocessor' is missing"),
    "nothing": ("arrays", setting(preprocessor=None), "the preprocessor"),
    "a number": ("arrays", setting(preprocessor=3), "the preprocessor"),
    "a list": ("arrays", setting(preprocessor=[]), "the preprocessor"),
    "unknown": ("arrays", preprocessor(code="x"), "besides only target"),
    "labels too few": ("arrays", target(labels=["a", "b"]), "does not fit 3 outputs"),
    "another width": ("scaled arrays", five_columns, "makes 5 inputs, and the network has 4"),
    "a table without numbers": ("classes of a table", without("table.center"), "center"),
    "numbers without a table": ("classes of a table", setting(preprocessor={}), "exactly"),
    "another column": ("numbers of a table", another_column, "makes 7 inputs"),
    "a label more": ("classes of a table", target(labels=list("abc")), "does not fit 2 outputs"),
    "targets too many": ("numbers of a table", two_targets, "does not fit 1 outputs"),
    "no variances": ("means and variances", two_targets, "need 4 outputs for means and variances"),
    "no schema": ("schema", without("schema"), "'schema' is missing"),
    "a schema of a number": ("schema", setting(schema=3), "the schema"),
    "a schema beside it": ("schema", setting(preprocessor={}), "without a preprocessor"),
    "half a scaler": ("schema", without("scaler.mean"), "mean and scale"),
    "schema columns": ("schema", schema(columns=5, named=False), "becomes 5 inputs"),
    "schema targets": ("schema", schema(targets=["y", "z"], labels=None), "not fit 3 outputs"),
    "schema labels": ("schema", schema(labels=["u", "v"]), "does not fit 3 outputs"),
}


@pytest.mark.parametrize(("kind", "change", "part"), PREPROCESSORS.values(), ids=PREPROCESSORS)
def test_a_preprocessor_that_is_none_or_does_not_fit_is_refused(
    kind: str, change: Callable[..., Any], part: str, path: Path
) -> None:
    forge(path, change, kind)
    refuse(path, part)


@pytest.mark.parametrize("kind", ["scaler", "schema", *MADE])
def test_a_forged_file_without_a_change_loads(kind: str, path: Path) -> None:
    forge(path, lambda description, tensors: None, kind)
    fn.load(path, backend="numpy")


def test_an_array_of_version_1_whose_targets_came_apart_is_an_array(path: Path) -> None:
    forge(path, schema(columns=4, named=False, targets=["colour"]), "schema")
    net = fn.load(path, backend="numpy")
    assert isinstance(net.preprocessor, Scaler)
    assert net.preprocessor.target is not None
    assert net.preprocessor.target.labels == ("u", "v", "w")


def test_a_wrong_checksum_is_noticed(path: Path) -> None:
    forge(path, lambda description, tensors: None, sign=False)
    refuse(path, "checksum")


def raw(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "U16", "BOOL"])
def test_a_type_of_numbers_that_numpy_lacks_is_refused(dtype: str, path: Path) -> None:
    size = 1 if dtype[:2] == "F8" or dtype == "BOOL" else 2
    entry = {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}
    metadata = {"fastnet": "0\n{}"}
    path.write_bytes(raw({"__metadata__": metadata, "layers.0.bias": entry}, bytes(2 * size)))
    refuse(path)


def test_an_unavailable_backend_is_not_a_damaged_file(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(fn.InputError, match="numpy"):
        fn.load(path, backend="nump")
    for name, reason in fn.available_backends().items():
        if reason is not None:
            with pytest.raises(fn.BackendUnavailableError, match=name):
                fn.load(path, backend=name)


# --- writing --------------------------------------------------------------------------------------


def unsaved(net: fn.Network, path: Any, *parts: str) -> None:
    """Check that saving is refused as it should be."""
    with pytest.raises(fn.ModelFileError) as caught:
        net.save(path)
    message = str(caught.value)
    assert "cannot be written" in message
    assert "None" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("broken")])
def test_when_writing_fails_the_old_file_stays_and_nothing_is_left(
    function: str, error: OSError, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = trained()
    net.save(path)
    before = path.read_bytes()
    net.fit(X, LABELS, epochs=1)

    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, function, fail)
        unsaved(net, path, error.strerror or "broken")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    net.save(path)
    assert same(fn.load(path, backend="numpy"), net)
    assert path.read_bytes() != before


def test_an_interrupt_while_writing_leaves_the_old_file_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = trained()
    net.save(path)
    before = path.read_bytes()

    def press(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", press)
    with pytest.raises(KeyboardInterrupt):
        net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_what_could_not_be_read_back_is_not_saved(path: Path) -> None:
    deep = fn.Network([2, *[1] * 1100, 3], backend="numpy")
    with pytest.raises(fn.ModelFileError, match="1,101 layers.*at most 1,000"):
        deep.save(path)
    net = fn.Network([2, *[1] * 999, 3], backend="numpy")
    net.save(path)
    assert len(fn.load(path).layers) == 1000
    net.label_names = ("a", "b", "\ud912")
    with pytest.raises(fn.ModelFileError, match="lone surrogate"):
        net.save(path)


def test_a_network_that_is_saved_leaves_one_file(path: Path) -> None:
    net = trained()
    for _ in range(3):
        net.save(path)
    assert os.listdir(path.parent) == [path.name]


def test_places_that_cannot_be_written_to_are_refused(tmp_path: Path) -> None:
    net = trained()
    file = tmp_path / "file"
    file.write_bytes(b"kept")
    unsaved(net, tmp_path / "missing" / "m.safetensors")
    unsaved(net, tmp_path)
    unsaved(net, file / "m.safetensors")
    unsaved(net, tmp_path / ("a" * 400))
    unsaved(net, tmp_path / "a\0b")
    unsaved(net, "")
    assert file.read_bytes() == b"kept"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="names are counted otherwise there")
def test_the_longest_name_that_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 255)
    net = trained()
    net.save(path)
    assert same(fn.load(path, backend="numpy"), net)


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_through_a_link_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    net = trained()
    net.save(link)
    net.save(link)
    assert link.is_symlink()
    assert same(fn.load(target, backend="numpy"), net)


@pytest.mark.skipif(os.name != "posix", reason="permissions work otherwise there")
def test_a_replaced_file_keeps_its_permissions(path: Path) -> None:
    net = trained()
    net.save(path)
    for mode in (0o600, 0o640):
        path.chmod(mode)
        net.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("names", [(1, 2, 3), tuple(np.arange(3)), (True, False, None)])
def test_names_of_labels_become_texts(names: Any, path: Path) -> None:
    net = trained()
    net.label_names = names
    net.save(path)
    assert fn.load(path, backend="numpy").label_names == tuple(map(str, names))


def test_what_training_makes_can_be_loaded_again(path: Path) -> None:
    """Or it is not made: running statistics that overflow are a divergence."""
    net = fn.Network([fn.BatchNorm(), fn.Dense(1)], inputs=4, backend="numpy")
    with contextlib.suppress(fn.DivergenceError):
        net.fit(X * 1e25, X[:, 0], epochs=2)
    net.save(path)
    assert same(fn.load(path, backend="numpy"), net)


def test_one_process_can_read_while_another_writes(path: Path) -> None:
    """A reader meets the old file or the new one, never a mix."""
    trained().save(path)
    writer = (
        "import sys, fastnet as fn\n"
        "net = fn.load(sys.argv[1], backend='numpy')\n"
        "for k in range(60):\n"
        "    net.parameters[...] = k\n"
        "    net.save(sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", writer, str(path)], cwd=ROOT)
    seen = set()
    while process.poll() is None:
        values = fn.load(path, backend="numpy").parameters
        if values[0] == int(values[0]):
            assert (values == values[0]).all()
            seen.add(float(values[0]))
    assert process.returncode == 0
    assert (fn.load(path, backend="numpy").parameters == 59).all()
    assert seen
