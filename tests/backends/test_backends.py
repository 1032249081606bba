"""The backends by name: what can run here, what cannot and why, and what is loaded when."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
import fastnet.backends
from fastnet.backends import AUTO_GPU_PARAMETERS, NAMES, choose, find
from fastnet.nn.layers import Dense
from fastnet.nn.plan import make_plan
from tests.checkout import ROOT
from tests.on_backends import BACKENDS, each_backend, each_backend_in_children

SMALL = make_plan(4, (Dense(2),))
LARGE = make_plan(AUTO_GPU_PARAMETERS, (Dense(1),))


# --- by name --------------------------------------------------------------------------------------


def test_every_backend_says_whether_it_can_run() -> None:
    found = fn.available_backends()
    assert list(found) == ["numpy", "numba", "cupy"]
    assert found["numpy"] is None
    for reason in found.values():
        assert reason is None or (len(reason) > 20 and "\n" not in reason)


@each_backend
def test_a_backend_that_can_run_is_there_once(backend: str) -> None:
    assert fn.get_backend(backend) is fn.get_backend(backend)
    assert fn.get_backend(backend).name == backend
    assert fn.get_backend(backend).why_unavailable() is None


@pytest.mark.parametrize("backend", NAMES)
def test_a_backend_that_cannot_run_says_why_and_how_to_install_it(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fn.available_backends()[backend] is None:
        monkeypatch.setattr(type(find(backend)), "why_unavailable", lambda self: "it is broken.")
    for ask in (fn.get_backend, lambda name: fn.Network([2, 1], backend=name)):
        with pytest.raises(fn.BackendUnavailableError) as caught:
            ask(backend)
        assert isinstance(caught.value, ImportError)
        reason = fn.available_backends()[backend]
        assert reason is not None
        assert reason in str(caught.value)
        assert find(backend).install in str(caught.value)
        assert repr(backend) in str(caught.value)


def test_a_named_backend_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setattr(type(find(name)), "why_unavailable", lambda self: "it is broken")
    for name in NAMES:
        with pytest.raises(fn.BackendUnavailableError, match="it is broken"):
            fn.Network([2, 1], backend=name)


@pytest.mark.parametrize(
    ("usable", "small", "large"),
    [
        ({"numpy"}, "numpy", "numpy"),
        ({"numpy", "numba"}, "numba", "numba"),
        ({"numpy", "cupy"}, "numpy", "cupy"),
        ({"numpy", "numba", "cupy"}, "numba", "cupy"),
    ],
)
def test_auto_takes_the_backend_that_suits(
    usable: set[str], small: str, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        reason = None if name in usable else "it is not here"
        monkeypatch.setattr(type(find(name)), "why_unavailable", lambda self, reason=reason: reason)
    assert choose("auto", SMALL).name == small
    assert choose("auto", LARGE).name == large


def test_auto_is_the_default() -> None:
    assert fn.Network([4, 2]).backend == choose("auto", SMALL).name


def test_without_numba_everything_else_works() -> None:
    """A child process in which Numba cannot be imported."""
    script = (
        "import sys\n"
        "sys.modules['numba'] = sys.modules['llvmlite'] = None\n"
        "import fastnet as fn\n"
        "reason = fn.available_backends()['numba']\n"
        "assert 'pip install' in reason, reason\n"
        "net = fn.Network([2, 4, 1])\n"
        "assert net.backend == 'numpy'\n"
        "net.fit([[0, 1], [1, 0]], [0, 1], epochs=2)\n"
        "try:\n"
        "    net.to('numba')\n"
        "except fn.BackendUnavailableError as error:\n"
        "    assert 'pip install' in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    python(script)


@each_backend
def test_every_backend_describes_itself(backend: str) -> None:
    described = fn.get_backend(backend).describe()
    assert described
    assert all(isinstance(text, str) and text for pair in described.items() for text in pair)
    assert isinstance(fn.get_backend(backend).install, str)


def test_several_backends_live_side_by_side() -> None:
    nets = [fn.Network([3, 5, 2], seed=1, backend=name) for name in BACKENDS]
    x = np.random.default_rng(0).standard_normal((9, 3))
    before = [net.predict(x) for net in nets]
    for net in nets:
        net.fit(x, x[:, :2], epochs=2)
    for net, prediction in zip(nets, before, strict=True):
        net.initialize()
        assert np.array_equal(net.predict(x), prediction)


# --- the same in every process --------------------------------------------------------------------


def python(script: str, *arguments: str, **environment: str) -> str:
    """Run a script in a process of its own; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


RESULT = """
import hashlib, sys
import numpy as np
import fastnet as fn
x = np.random.default_rng(0).standard_normal((75, 5))
digest = hashlib.sha256()
for dtype in sys.argv[2].split(","):
    for layers, y, loss in [
        ([fn.Dense(17, "gelu"), fn.LayerNorm("silu"), fn.Dense(3, "softmax")],
         np.arange(75) % 3, "cross_entropy"),
        ([fn.Dense(9, "mish"), fn.Dense(6)], x[:, :3], "gaussian_nll"),
    ]:
        net = fn.Network(layers, inputs=5, backend=sys.argv[1], dtype=dtype)
        optimizer = fn.Adam(0.01, clip_norm=0.05, l1=1e-3, l2=1e-3, weight_decay=0.1)
        net.fit(x, y, loss=loss, optimizer=optimizer, epochs=2, batch_size=16)
        digest.update(net.backend_object.to_host(net.parameters).tobytes())
        digest.update(net.predict(x).tobytes())
print(digest.hexdigest())
"""


@each_backend_in_children
def test_two_processes_compute_the_same_bits(backend: str) -> None:
    first, second = (python(RESULT, backend, "float32,float64") for _ in range(2))
    assert first == second
    assert len(first.strip()) == len(hashlib.sha256().hexdigest())
    assert python(RESULT, backend, "float64,float32") != first


@pytest.mark.slow
@pytest.mark.skipif("numba" not in BACKENDS, reason="nothing else is compiled")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_freshly_compiled_kernels_compute_the_bits_of_cached_ones(
    dtype: str, tmp_path: Path
) -> None:
    """The process that compiles runs other copies of the same functions than later ones load."""
    cache = {"FASTNET_CACHE_DIR": str(tmp_path)}
    first, later = (python(RESULT, "numba", dtype, **cache) for _ in range(2))
    assert first == later
