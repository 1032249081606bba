"""``fastnet demo``: one network on every available backend, side by side."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from fastnet import backends, data
from fastnet.cli import options, output
from fastnet.data import Dataset
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.utils.names import BackendName

_SIZES: Final = (64, 64, 10)
_EPOCHS: Final = 30
_BATCH_SIZE: Final = 32
_MODEL: Final = "demo-model.safetensors"


@dataclass(frozen=True)
class _Result:
    network: Network
    accuracy: float
    first_loss: float
    seconds: float
    speed: float  # training rows per second


@click.command(
    "demo",
    cls=options.Command,
    epilog=options.examples("fastnet demo", "fastnet demo --seed 1 --out digits.safetensors"),
)
@options.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="Seed of weights and batches.",
)
@options.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default=f"{_MODEL} here or, where that cannot be, in a new temporary folder",
    help="Where to save the model.",
)
def command(seed: int, out: Path | None) -> None:
    """Train on handwritten digits with every available backend.

    All backends train the same 64-64-10 network, with the same seed and batches, on the digits that
    come with fastnet. This needs no internet connection and takes seconds once the kernels are
    compiled.
    """
    model = _place(out)
    digits = data.load("digits")
    assert digits.test is not None
    available = backends.available_backends()
    click.echo(
        f"digits: {digits.rows:,} pictures to learn from, {digits.test.rows} to test; network "
        f"{'-'.join(map(str, _SIZES))}, {_EPOCHS} epochs, seed {seed}\n"
    )
    results = {
        name: _train(name, digits, seed) for name, reason in available.items() if reason is None
    }
    _show(results, available)
    best = min(results.values(), key=lambda result: result.seconds).network
    best.save(model)
    click.echo(f"\nmodel saved: {output.printable(model)}\n\nWhat to try next:")
    fastnet, path = _program(), shlex.quote(str(model))
    beside = Path() if _writable(Path("predictions.csv")) else model.parent
    answers = shlex.quote(str(beside / "predictions.csv"))
    second = "" if beside == Path() else f" --out {shlex.quote(str(beside / 'model.safetensors'))}"
    for line in (
        f"info {path}",
        f"evaluate {path} digits",
        f"predict {path} digits --out {answers}",
        f"train digits --hidden 128,64 --epochs 20{second}",
        "bench --quick",
    ):
        click.echo(f"  {fastnet} {line}")


def _place(out: Path | None) -> Path:
    """Return the path of the model; without --out it is the current folder, if writable."""
    if out is not None:
        output.check_writable("--out", out)
        return out
    if _writable(Path(_MODEL)):
        return Path(_MODEL)
    return Path(tempfile.mkdtemp(prefix="fastnet-demo-"), _MODEL)


def _writable(path: Path) -> bool:
    try:
        output.check_writable("--out", path)
    except InputError:
        return False
    return True


def _program() -> str:
    """Return how a shell here calls this fastnet: by name where it is on PATH, else by Python.

    ``make demo`` and ``python -m fastnet`` run where no such command is, or that of another
    installation.
    """
    python = Path(sys.executable)
    found = shutil.which("fastnet")
    if found is not None and Path(found).absolute().parent == python.parent:
        return "fastnet"
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m fastnet"


def _train(backend: BackendName, digits: Dataset, seed: int) -> _Result:
    """Train a network, after a short run that compiles and loads everything."""
    assert digits.y is not None and digits.test is not None and digits.test.y is not None

    def fit(epochs: int) -> Network:
        network = Network(list(_SIZES), output_activation="softmax", seed=seed, backend=backend)
        network.fit(digits.x, digits.y, epochs=epochs, batch_size=_BATCH_SIZE)
        return network

    if hasattr(backends.find(backend), "warm_up"):
        output.message(f"preparing {backend}: its kernels are compiled once and kept ...")
    fit(epochs=1).evaluate(digits.test.x, digits.test.y)
    network = fit(_EPOCHS)
    history = network.history
    assert history is not None
    return _Result(
        network,
        network.evaluate(digits.test.x, digits.test.y)["accuracy"],
        history["loss"][0],
        history.seconds,
        digits.rows * _EPOCHS / history.seconds,
    )


def _show(
    results: Mapping[BackendName, _Result], available: Mapping[BackendName, str | None]
) -> None:
    rows = [
        (
            name,
            f"{result.accuracy:.4f}",
            f"{result.first_loss:.9f}",
            f"{result.seconds:.3f}",
            f"{result.speed:,.0f}",
        )
        for name, result in results.items()
    ]
    columns = ("backend", "test accuracy", "loss of epoch 1", "seconds", "samples/s")
    output.table(columns, rows, numbers=4)
    missing = {name: reason for name, reason in available.items() if reason is not None}
    for name, reason in missing.items():
        click.echo(f"\n{name} cannot run here: {output.printable(reason)}")
        install = backends.find(name).install
        if install not in reason:
            click.echo(f"  to install it: {install}")
