"""Fixtures that every test may use: each backend that can run here, at both dtypes."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from fastnet.backends.base import Backend
from fastnet.backends.threads import cores
from fastnet.kernels.cache_dir import user_cache
from tests.cuda import strict_backend
from tests.networks import Bench, usable_backends


def usable_cache() -> Path:
    """Return the user's cache, or a folder for the tests of users who have none that they can use.

    Without it every process of the tests would compile the kernels, and warn of that.
    """
    try:
        folder = user_cache()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        folder = Path(tempfile.gettempdir(), f"fastnet-tests-cache-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


# Before any backend is looked for; processes that the tests start inherit it.
os.environ["FASTNET_CACHE_DIR"] = str(usable_cache())

# Before a test asks which backends there are: without a GPU, "cupy" is NumPy behind device arrays.
strict_backend.stand_in()

BACKENDS = usable_backends()

# The stand-in computes with NumPy's engine: what it shows of device arrays, tests of networks show.
ENGINES = {n: b for n, b in BACKENDS.items() if not isinstance(b, strict_backend.StrictBackend)}

# The same examples everywhere and no clock: a slow machine is not a failure.
settings.register_profile(
    "fastnet",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fastnet")


MANY_TESTS: Final = 2000
"""A process with as many tests to choose from is part of a run that needs every CPU kernel."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Do once what would slow down the tests of this process."""
    compile_share(session)
    # The collector of garbage keeps away from the tests themselves, which live to the end: they
    # and what they import are 600,000 objects, which each full collection would go through.
    gc.collect()
    gc.freeze()


def compile_share(session: pytest.Session) -> None:
    """Compile some of the CPU kernels, and leave the others to the other processes of the run.

    Else each process compiles each kernel for itself, when the first test asks for it.
    """
    worker = getattr(session.config, "workerinput", None)  # as pytest-xdist says it
    if worker is None or len(session.items) < MANY_TESTS or "numba" not in BACKENDS:
        return
    from fastnet.kernels.cpu import native

    kernels = [(name, dtype) for name in native.FOR_ALL for dtype in ("float32", "float64")]
    number = int(worker["workerid"].removeprefix("gw"))
    for name, dtype in kernels[number :: worker["workercount"]]:
        native.kernel(name, dtype)


@pytest.fixture(scope="session", params=BACKENDS.values(), ids=BACKENDS.keys())
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that can run here."""
    return request.param


@pytest.fixture(scope="session", params=ENGINES.values(), ids=ENGINES.keys())
def engine_backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend with an engine of its own."""
    return request.param


@pytest.fixture(scope="session", params=["float32", "float64"])
def bench(request: pytest.FixtureRequest, engine_backend: Backend) -> Bench:
    """Each engine at each dtype."""
    return Bench(engine_backend, np.dtype(request.param))


@pytest.fixture(scope="session")
def bench64(engine_backend: Backend) -> Bench:
    """Each engine in float64, for what is compared over many steps."""
    return Bench(engine_backend, np.dtype(np.float64))


@pytest.fixture(scope="module", autouse=True)
def out_of_the_collectors_way() -> Iterator[None]:
    """Hide what a file has imported and kept from the collections of garbage of the files after it.

    Each would go through all of it: late in a run that takes half a second.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """Train on one core: the others have other tests, for which threads would only wait.

    For tests that train much and whose matter is not threads, which change no bit.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        cores.cache_clear()
        assert cores() == 1
        yield
    cores.cache_clear()
    cores()  # here, and not first in a test that keeps the process to one of them


@pytest.fixture
def usual_handler() -> Iterator[None]:
    """Begin and end with Python's own handler of Ctrl-C: a job in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
