"""The parts of the GPU benchmark; each is a process of its own that prints a JSON line per result.

A part that is stopped, or fails at one network, has still printed what it found before.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

import fastnet as fn
from fastnet.backends import get_backend
from fastnet.backends.base import Backend
from fastnet.benchmarks.contenders import Contender, missing, version_of
from fastnet.benchmarks.gpu import problems
from fastnet.benchmarks.gpu.nvmath_rival import NvmathGpu
from fastnet.benchmarks.gpu.problems import OnBackend, Reference
from fastnet.benchmarks.gpu.torch_rivals import TorchGpu
from fastnet.benchmarks.ladder import LADDER, Rung
from fastnet.benchmarks.problems import Problem
from fastnet.kernels.cache_dir import product_cache
from fastnet.utils.files import replacing

PACKAGES: Final = (
    *("numpy", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cublas"),
    *("torch", "jax", "nvmath-python"),
)
DISTRIBUTIONS: Final = {"nvmath": "nvmath-python"}
"""Those whose name is another than the contender's."""
ROUNDS: Final = 5
LOWER: Final = ("image", "image-wide", "wide")
"""The networks that are also trained below float32: where products take most of the time."""

Make = Callable[..., Contender]
Result = dict[str, Any]


class Settings:
    """What the parent passes on.

    Attributes
    ----------
    networks : list of str
    reference : str
        The file with the reference's numbers.
    seconds : float
        For timing a network.
    shrink : int
        Divides the steps of an epoch.
    host : bool
        Whether to use emulated kernels and CPUs: for tests.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.networks: list[str] = values["networks"]
        self.reference: str = values["reference"]
        self.seconds: float = values["seconds"]
        self.shrink: int = values["shrink"]
        self.host: bool = values["host"]

    def rungs(self, precision: str = "float32") -> list[Rung]:
        """Return the networks to train at a precision."""
        return [LADDER[name] for name in self.networks if precision == "float32" or name in LOWER]

    def backend(self) -> Backend:
        """Return the backend to measure."""
        if not self.host:
            return get_backend("cupy")
        backend: Backend = importlib.import_module("tests.cuda.host_backend").HostBackend()
        return backend


def environment(settings: Settings) -> Iterator[Result]:
    """Say what the machine is."""
    found: Result = {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "processors": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := version_of(name))},
        "backend": settings.backend().describe(),
    }
    query = "name,driver_version,clocks.max.sm,clocks.max.mem,power.limit"
    try:
        smi = ("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
        done = subprocess.run(smi, capture_output=True, text=True, timeout=20, check=False)
        found["nvidia-smi"] = done.stdout.strip() or done.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        found["nvidia-smi"] = str(error)
    yield {"environment": found}


def reference(settings: Settings) -> Iterator[Result]:
    """Compute on the NumPy backend what every contender must find."""
    found = {}
    for name in settings.networks:
        expected = problems.reference(LADDER[name])
        found[name] = {"loss": expected.loss, "outputs": expected.outputs.tolist()}
        # Rewritten each time: what is there can be used if a larger network takes too long.
        with replacing(Path(settings.reference)) as file:
            json.dump(found, file)
        yield {"reference": name, "loss": expected.loss}


def peaks(settings: Settings) -> Iterator[Result]:
    """Measure the largest rates: products in TFLOP/s at each precision, copies in TB/s."""
    from fastnet.backends.gpu.cupy_runtime import CudaRuntime

    size = 8192
    rng = np.random.default_rng(0)
    for precision in ("float32", "tf32", "bf16"):
        runtime = CudaRuntime(np.float32, precision=precision)
        # Not zeros: they would take less power, and so a higher clock.
        values = rng.standard_normal((size, size), np.float32)
        if precision == "bf16":
            values = (values.view(np.uint32) >> 16).astype(np.uint16)
        a, b = runtime.to_device(values), runtime.to_device(values.T.copy())
        out = runtime.empty((size, size), values.dtype)
        seconds = _device_seconds(runtime, partial(runtime.gemm, out, a, b))
        yield {"peak": f"gemm {precision}", "rate": 2 * size**3 / seconds / 1e12}
    into, values_there = (runtime.empty((2**30,), np.uint8) for _ in range(2))
    values_there.fill(7)
    seconds = _device_seconds(runtime, partial(runtime.copy, into, values_there))
    yield {"peak": "copy", "rate": 2 * 2**30 / seconds / 1e12}


def _device_seconds(runtime: Any, work: Callable[[], None]) -> float:
    """Return how long queued work takes: the median of a few repeats."""
    times = []
    for repeats in (3, 10, 10, 10):
        runtime.wait(runtime.mark())
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        runtime.wait(runtime.mark())
        times.append((time.perf_counter() - began) / repeats)
    return statistics.median(times[1:])


def trained(settings: Settings, contender: str, precision: str, make: Make) -> Iterator[Result]:
    """Compare and time a contender on every network; a network that fails is a result too."""
    for rung in settings.rungs(precision):
        row: Result = {"contender": contender, "network": rung.name, "precision": precision}
        row["version"] = _version(contender)
        try:
            yield row | _measure(settings, rung, precision, make)
        except Exception as error:
            lines = traceback.format_exception(error)
            yield row | {
                "failure": f"{type(error).__name__}: {error}"[:500],
                "where": "".join(lines)[-1500:],
            }


def _version(contender: str) -> str:
    """Return the version of what was measured."""
    package = contender.partition("-")[0]
    if package == "fastnet":
        return fn.__version__
    return version_of(DISTRIBUTIONS.get(package, package))


def _measure(settings: Settings, rung: Rung, precision: str, make: Make) -> Result:
    with open(settings.reference, encoding="utf-8") as file:
        known = json.load(file)[rung.name]
    expected = Reference(known["loss"], np.array(known["outputs"]))
    few = problems.parity_problem(rung)
    found = problems.differences(make(few), few, expected)
    if not problems.holds(found, precision):
        raise ArithmeticError(
            f"not the same computation: the loss differs by {found['loss']:.1e}, probabilities by "
            f"{found['outputs']:.1e} (tolerance {problems.TOLERANCE[precision]:.0e})"
        )
    batch = rung.gpu_batch or 0
    problem = problems.problem(rung, batch, max(2, problems.STEPS[rung.name] // settings.shrink))
    contender = make(problem)
    began = time.perf_counter()
    first_loss = contender.train_epoch()
    first = time.perf_counter() - began
    for _ in range(2):
        contender.train_epoch()
    rounds = _rounds(contender, problem, settings.seconds)
    us = statistics.median(rounds)
    flops = rung.flops(batch)
    return {
        "batch": batch,
        "steps": problem.steps,
        "us": us,
        "us_rounds": rounds,
        "first_epoch_seconds": first,
        "first_loss": first_loss,
        "tflops": flops / us / 1e6,
        "parity": found,
    }


def _rounds(contender: Contender, problem: Problem, seconds: float) -> list[float]:
    """Return microseconds a step, of some rounds of whole epochs; each ends when all is done."""
    rounds = []
    for _ in range(ROUNDS):
        epochs, began = 0, time.perf_counter()
        while True:
            contender.train_epoch()
            epochs += 1
            elapsed = time.perf_counter() - began
            if elapsed >= seconds / ROUNDS:
                break
        rounds.append(1e6 * elapsed / (epochs * problem.steps))
    return rounds


def fastnet(settings: Settings, precision: str) -> Iterator[Result]:
    """Measure fastnet at one precision."""
    backend = settings.backend()

    def make(problem: Problem) -> Contender:
        return OnBackend(problem, backend=backend, precision=precision)

    yield from trained(settings, "fastnet", precision, make)


def torch(settings: Settings, mode: str) -> Iterator[Result]:
    """Measure one form of PyTorch at every precision."""
    device = "cpu" if settings.host else "cuda"
    for precision in ("float32", "bf16", "tf32"):

        def make(problem: Problem, precision: str = precision) -> Contender:
            return TorchGpu(problem, mode=mode, precision=precision, device=device)

        yield from trained(settings, f"torch-{mode}", precision, make)


def jax(settings: Settings) -> Iterator[Result]:
    """Measure JAX, an epoch in one compiled scan."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    module = importlib.import_module("fastnet.benchmarks.rivals.jax_scan")
    config = importlib.import_module("jax").config
    for precision, name in (("float32", "highest"), ("tf32", "tensorfloat32")):
        config.update("jax_default_matmul_precision", name)

        def make(problem: Problem) -> Contender:
            contender: Contender = module.JaxScan(problem, None)
            return contender

        yield from trained(settings, "jax", precision, make)


def nvmath(settings: Settings) -> Iterator[Result]:
    """Measure CuPy with nvmath-python's products."""
    for precision in ("float32", "tf32"):

        def make(problem: Problem, precision: str = precision) -> Contender:
            return NvmathGpu(problem, precision=precision)

        yield from trained(settings, "nvmath", precision, make)


def products(settings: Settings) -> Iterator[Result]:
    """Say what was found out about epilogues: the microseconds each saves, null where it is wrong.

    A problem is written as its fields; see ``fastnet.backends.gpu.cublaslt.Problem``.
    """
    for path in sorted(product_cache().glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        gains = {key: None if gain is None else 1e6 * gain for key, (_, gain) in known.items()}
        yield {"products": path.stem, "saved_us": {k: g for k, g in gains.items() if g != 0}}


NEEDS: Final = {
    "torch-graph": ("torch",),
    "torch-eager": ("torch",),
    "torch-compile": ("torch",),
    "jax": ("jax",),
    "nvmath": ("cupy", "nvmath"),
}
"""The packages without which a part is not begun."""

MISSING: Final = 3
"""The exit code of a part that lacks a package."""

SECTIONS: Final[dict[str, Callable[[Settings], Iterator[Result]]]] = {
    "environment": environment,
    "reference": reference,
    "peaks": peaks,
    "fastnet-float32": lambda settings: fastnet(settings, "float32"),
    "torch-graph": lambda settings: torch(settings, "graph"),
    "torch-eager": lambda settings: torch(settings, "eager"),
    "fastnet-bf16": lambda settings: fastnet(settings, "bf16"),
    "nvmath": nvmath,
    "jax": jax,
    "fastnet-tf32": lambda settings: fastnet(settings, "tf32"),
    "products": products,
    "torch-compile": lambda settings: torch(settings, "compile"),
}
"""In the order in which they run: what matters most comes first."""


def main(name: str, settings: str) -> None:
    """Run a section and print its results."""
    lacking = missing(NEEDS.get(name, ()))
    if lacking:
        print(f"not installed: {', '.join(lacking)}", file=sys.stderr)
        sys.exit(MISSING)
    for result in SECTIONS[name](Settings(json.loads(settings))):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
