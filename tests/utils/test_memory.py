"""Memory: what training takes is known beforehand, and nothing is kept that grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends import numpy_backend
from fastnet.nn.memory import training_bytes
from fastnet.utils import memory
from tests.checkout import ROOT
from tests.networks import HIDDEN_ACTIVATIONS
from tests.on_backends import BACKENDS
from tools.fuzzing import Memory

CPU = [name for name in BACKENDS if name != "cupy"]
MB = 2**20

on_linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of memory"
)


def run(program: str, *args: str) -> list[float]:
    """Run a program in a process of its own; return the numbers that it writes as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    numbers: list[float] = json.loads(done.stdout)
    return numbers


# --- how much -------------------------------------------------------------------------------------

MEASURE = """
import json, sys
import numpy as np
import fastnet as fn
from fastnet.nn.memory import training_bytes
from fastnet.utils import memory
from tools.fuzzing import Memory

backend, dtype, optimizer, sizes, batch, bias_rate = sys.argv[1:4] + json.loads(sys.argv[4])
optimizer = fn.optimizers.get(optimizer)
fn.Network([4, 4, 1], backend=backend, dtype=dtype).fit(np.zeros((8, 4)), np.zeros(8))
if backend == "numba":
    from fastnet.kernels.cpu import native
    native.kernel("blocked", dtype)  # which may have to be compiled
x, y = np.ones((batch, sizes[0]), dtype), np.zeros((batch, sizes[-1]), dtype)
layers = [fn.Dense(units, "relu", bias_rate=bias_rate) for units in sizes[1:]]
net = fn.Network(layers, inputs=sizes[0], backend=backend, dtype=dtype)
with Memory() as rise:
    net.fit(x, y, optimizer=optimizer, epochs=2, batch_size=batch, threads=1)
fixed, per_row = training_bytes(net.plan, net.dtype.itemsize, optimizer)
print(json.dumps([net.parameters.nbytes + rise.rise * 2**20, fixed + batch * per_row]))
"""

LARGE = {
    "parameters": ([256, 2048, 2048, 10], 64),
    "deep": ([64, 512, 512, 512, 10], 4096),
    "inputs": ([784, 128, 10], 20_000),
}
# Each two of network, optimizer and dtype meet.
PAIRS = [
    ("parameters", "sgd", "float32"),
    ("parameters", "adam", "float64"),
    ("deep", "sgd", "float64"),
    ("deep", "adam", "float32"),
    ("inputs", "sgd", "float32"),
    ("inputs", "adam", "float64"),
]


@cache
def measure(backend: str, dtype: str, optimizer: str, name: str, rate: float = 1.0) -> list[float]:
    """Return what training one of the networks takes, measured and by the formula, in bytes."""
    return run(MEASURE, backend, dtype, optimizer, json.dumps([*LARGE[name], rate]))


@on_linux
@pytest.mark.parametrize("backend", CPU)
@pytest.mark.parametrize(("name", "optimizer", "dtype"), PAIRS)
def test_the_formula_says_what_training_takes(
    name: str, optimizer: str, dtype: str, backend: str
) -> None:
    measured, estimated = measure(backend, dtype, optimizer, name)
    assert 0.8 * estimated < measured < 1.15 * estimated


@pytest.mark.parametrize("backend", CPU)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [[2, 1], [4, 8, 1], [1, 1, 1, 1], [3, 4, 4, 5]])
def test_the_formula_holds_for_narrow_layers_too(
    sizes: list[int], dtype: str, backend: str
) -> None:
    # Of which the order, targets and losses of the rows take a large part.
    rows = 300_000
    x, y = np.ones((rows, sizes[0]), dtype), np.zeros((rows, sizes[-1]), dtype)
    net = fn.Network(sizes, backend=backend, dtype=dtype)
    net.fit(x[:8], y[:8], epochs=1, optimizer="sgd")
    tracemalloc.start()
    net.fit(x, y, epochs=1, batch_size=rows, optimizer="sgd")
    measured = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    fixed, per_row = training_bytes(net.plan, net.dtype.itemsize, fn.optimizers.get("sgd"))
    assert 0.7 < measured / (fixed + rows * per_row) < 1.2


def test_many_rows_in_small_batches_take_little_beside_the_rows() -> None:
    x, y = np.ones((400_000, 2), np.float32), np.zeros((400_000, 1), np.float32)
    net = fn.Network([2, 1], backend="numpy")
    tracemalloc.start()
    net.fit(x, y, epochs=1, batch_size=50_000)
    per_row = tracemalloc.get_traced_memory()[1] / len(x)
    tracemalloc.stop()
    assert per_row < 8 + 72 / 8 + 5  # place in the order, an eighth of a batch, and some pieces


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "softplus"])
def test_pieces_of_scratch_change_no_bit(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = [fn.Dense(width, name) for name in HIDDEN_ACTIVATIONS for width in (3, 7)]
    layers = [*hidden, fn.BatchNorm("gelu"), fn.LayerNorm("mish"), fn.Dense(2, output)]
    x = np.random.default_rng(0).normal(size=(50, 4))
    y = np.eye(2)[np.arange(50) % 2]
    found = []
    for piece in (numpy_backend.PIECE, 20):
        monkeypatch.setattr(numpy_backend, "PIECE", piece)
        net = fn.Network(layers, inputs=4, dtype="float64", backend="numpy")
        net.fit(x, y, epochs=2, batch_size=None)
        found.append((net.parameters.tobytes(), net.predict(x).tobytes()))
    assert found[0] == found[1]


@on_linux
@pytest.mark.parametrize(("backend", "copies"), [("numpy", 2.25), ("numba", 1.0)])
def test_rates_take_the_copies_of_the_parameters_that_the_formula_allows(
    backend: str, copies: float
) -> None:
    if backend not in CPU:
        pytest.skip(f"{backend} cannot run here")
    size = 4 * sum((a + 1) * b for a, b in pairwise(LARGE["parameters"][0]))
    plain, estimated = measure(backend, "float32", "sgd", "parameters")
    rated, estimated_at_rates = measure(backend, "float32", "sgd", "parameters", 0.5)
    assert (rated - plain) / size == pytest.approx(copies, abs=0.2)
    assert estimated_at_rates - estimated == 2 * size


@on_linux
def test_the_measurement_sees_memory_that_is_taken() -> None:
    with Memory() as rise:
        taken = np.ones(8 * MB)
    assert 60 < rise.rise < 70
    assert taken[0] == 1


# --- too much -------------------------------------------------------------------------------------


def test_a_network_that_cannot_fit_is_refused_with_both_numbers() -> None:
    with pytest.raises(
        fn.OutOfMemoryError, match=r"the network takes about [\d,.]+ GB, and .* GB"
    ) as c:
        fn.Network([10**6, 10**7, 1], backend="numpy")
    assert isinstance(c.value, MemoryError)


def test_training_that_cannot_fit_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = fn.Network([1000, 3000, 3000, 1], backend="numpy")
    before, x = net.parameters.tobytes(), np.zeros((4, 1000), np.float32)
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * 10**8)
    with pytest.raises(fn.OutOfMemoryError, match=r"training it takes about 0.3 GB, and 0.2 GB"):
        net.fit(x, np.zeros(4))
    assert net.parameters.tobytes() == before
    assert net.optimizer_state is None
    monkeypatch.setattr(memory, "available_bytes", lambda: None)  # a system that does not say
    net.fit(x, np.zeros(4), epochs=1)


LIMITED = """
import json, resource
import numpy as np
import fastnet as fn

small = fn.Network([3, 4, 1], backend="numpy")
with open("/proc/self/statm") as file:
    limit = int(file.read().split()[0]) * resource.getpagesize() + 2**29
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
x, y = np.zeros((10, 3)), np.zeros(10)
try:
    fn.Network([100_000, 100_000, 1], backend="numpy")
except fn.OutOfMemoryError as error:
    assert "200.0 GB" in str(error), error
else:
    raise AssertionError
try:
    large = fn.Network([3, 5000, 5000, 1], backend="numpy")
    large.fit(x, y)
except MemoryError as error:
    assert isinstance(error, fn.OutOfMemoryError), error
else:
    raise AssertionError
small.fit(x, y, epochs=2)
print(json.dumps(small.history["loss"]))
"""


@on_linux
def test_under_a_limit_of_the_system_the_process_lives_on() -> None:
    assert len(run(LIMITED)) == 2


def test_small_networks_do_not_ask_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: pytest.fail("asked"))
    fn.Network([3, 4, 1], backend="numpy").fit(np.zeros((4, 3)), np.zeros(4), epochs=1)


# --- nothing grows --------------------------------------------------------------------------------

SOAK = """
import json, os, sys
import numpy as np
import fastnet as fn
from tools.fuzzing import Memory

backend, fits, predictions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
x = np.random.default_rng(0).standard_normal((16, 3))
net = fn.Network([3, 8, 1], activation="tanh", backend=backend)

def work(fits, predictions):
    for k in range(fits):
        other = fn.Network([3, 8, 1], activation="tanh", backend=backend, seed=k)
        other.fit(x, x[:, 0], epochs=2, batch_size=8, validation_split=0.25, early_stopping=2)
    for _ in range(predictions):
        net.predict_one(x[0])
    net.predict(x)

work(fits // 10 + 100, 1000)
files = len(os.listdir("/proc/self/fd"))
with Memory() as rise:
    work(fits, predictions)
print(json.dumps([rise.rise, len(os.listdir("/proc/self/fd")) - files]))
"""


@on_linux
@pytest.mark.parametrize("backend", CPU)
@pytest.mark.parametrize(
    ("fits", "predictions"),
    [(300, 20_000), pytest.param(10_000, 1_000_000, marks=pytest.mark.slow)],
)
def test_memory_and_open_files_do_not_grow(fits: int, predictions: int, backend: str) -> None:
    megabytes, files = run(SOAK, backend, str(fits), str(predictions))
    assert files == 0
    assert megabytes < 2
