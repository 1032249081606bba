"""One command for a machine with an NVIDIA GPU: whether all is right there, and how fast it is.

    python -m fastnet.benchmarks.gpu --out gpu.json

Every part is a process with a time limit, and all together take at most nine minutes. A part that
fails, hangs or is killed is recorded, and the rest goes on; the file is rewritten after each.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from fastnet.benchmarks.gpu.problems import STEPS
from fastnet.benchmarks.gpu.report import table
from fastnet.benchmarks.gpu.sections import MISSING, SECTIONS
from fastnet.benchmarks.ladder import LADDER
from fastnet.benchmarks.machine import commit, cpu_model
from fastnet.utils.files import replacing

FORMAT: Final = "fastnet-gpu/1"

LIMITS: Final = {
    "environment": 60,
    "reference": 90,
    "peaks": 60,
    "fastnet-float32": 90,
    "torch-graph": 90,
    "torch-eager": 70,
    "fastnet-bf16": 60,
    "nvmath": 60,
    "jax": 80,
    "fastnet-tf32": 60,
    "products": 20,
    "torch-compile": 150,
}
"""Seconds for each part; less where less than that is left of the whole."""

LEAST: Final = 10.0
"""A part is not begun with fewer seconds than this."""

RIVALS: Final = ("torch-graph", "torch-eager", "torch-compile", "nvmath", "jax")

FIRST_LOSS: Final = 1e-2
"""Largest relative difference between the losses of two contenders' first epochs."""


@dataclass
class Run:
    """What is found as it comes.

    Attributes
    ----------
    sections : dict of str to dict
        For each part its seconds, and "ok", "failed", "timeout", "missing" (a package) or "skipped"
        with the reason.
    products : dict of str to dict
        For each GPU and version of cublasLt, what the epilogues of products save there.
    """

    out: Path
    began: float = field(default_factory=time.monotonic)
    environment: dict[str, Any] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    products: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def take(self, result: dict[str, Any]) -> None:
        """Take one line of a part."""
        if "environment" in result:
            self.environment = result["environment"]
        elif "peak" in result:
            self.peaks[result["peak"]] = float(result["rate"])
        elif "products" in result:
            self.products[result["products"]] = result["saved_us"]
        elif "contender" in result:
            self.rows.append(result)

    def as_json(self) -> dict[str, Any]:
        """Return everything, with each row's shares of the peaks."""
        rows, doubts = [], self.doubts
        for row in self.rows:
            rung, gemm = LADDER[row["network"]], self.peaks.get(f"gemm {row['precision']}")
            shares: dict[str, Any] = {}
            if "us" in row and gemm:
                shares["share_of_gemm"] = row["tflops"] / gemm
            if "us" in row and self.peaks.get("copy"):
                # Parameters, gradient and two moments, each read and written but for the gradient.
                moved = 28 * rung.parameters + 8 * row["batch"] * sum(rung.sizes)
                shares["share_of_copy"] = moved / row["us"] / 1e6 / self.peaks["copy"]
            doubt = doubts.get((row["network"], row["precision"]))
            rows.append(row | shares | ({"doubt": doubt} if doubt else {}))
        return {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "cpu": cpu_model(),
            "environment": self.environment,
            "peaks": self.peaks,
            "sections": self.sections,
            "products": self.products,
            "rows": rows,
            "seconds": round(self.seconds, 1),
        }

    def write(self) -> None:
        """Put the file in place whole."""
        with replacing(self.out) as file:
            file.write(json.dumps(self.as_json(), indent=1) + "\n")

    @property
    def doubts(self) -> dict[tuple[str, str], str]:
        """The networks and precisions at which contenders trained differently, and how.

        They had the same data, weights and orders, so one of them computes something else.
        """
        found: dict[tuple[str, str], str] = {}
        seen: dict[tuple[str, str], tuple[str, float]] = {}
        for row in self.rows:
            if "first_loss" not in row:
                continue
            place, loss = (row["network"], row["precision"]), row["first_loss"]
            name, first = seen.setdefault(place, (row["contender"], loss))
            if not abs(loss - first) <= FIRST_LOSS * abs(first):
                found[place] = (
                    f"the first epoch of {row['contender']} has the loss {loss:.5g}, that of "
                    f"{name} {first:.5g}"
                )
        return found

    @property
    def is_good(self) -> bool:
        """Whether fastnet's parts ran to their end, nothing in them failed, and nobody differs."""
        own = [name for name in self.sections if name not in RIVALS]
        failures = [r for r in self.rows if r["contender"] == "fastnet" and "failure" in r]
        whole = not failures and not self.doubts
        return whole and all(self.sections[name]["status"] == "ok" for name in own)


def run_section(run: Run, command: list[str], name: str, limit: float) -> None:
    """Run a part, take its lines as they come, and record how it ended."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        # A session of its own: with the child, the processes that it started can be ended.
        options: dict[str, Any] = {"text": True, "start_new_session": True}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, **options) as child:
            lines: queue.Queue[str | None] = queue.Queue()
            reader = threading.Thread(target=_read, args=(child, lines), daemon=True)
            reader.start()
            status = _take_lines(run, lines, began + limit)
            if status != "ok":
                _end(child)
            reader.join(timeout=5)
        errors.seek(0)
        said = errors.read()[-2000:]
    if status == "ok" and child.returncode != 0:
        status = "missing" if child.returncode == MISSING else "failed"
    entry: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - began, 1)}
    if status != "ok":
        entry["error"] = said or f"exit code {child.returncode}"
    run.sections[name] = entry


def _end(child: subprocess.Popen[str]) -> None:
    """End a child and what it started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def _read(child: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        lines.put(line)
    lines.put(None)


def _take_lines(run: Run, lines: queue.Queue[str | None], deadline: float) -> str:
    """Take a child's lines until it ends ("ok") or its time is over ("timeout")."""
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return "timeout"
        if line is None:
            return "ok"
        try:
            result = json.loads(line)
        except ValueError:
            continue  # Something else that a library prints.
        if isinstance(result, dict):
            run.take(result)
            click.echo(f"  {_summary(result)}", err=True)


def _summary(result: dict[str, Any]) -> str:
    if "us" in result:
        what = f"{result['network']}, {result['precision']}: {result['us']:.2f} us a step"
        return f"{what}, {result['tflops']:.3g} TFLOP/s"
    if "failure" in result:
        return f"{result['network']}, {result['precision']}: {result['failure'][:160]}"
    return json.dumps(result)[:160]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("gpu.json"))
@click.option("--seconds", default=540.0, help="For everything together.")
@click.option("--network", "networks", multiple=True, type=click.Choice(list(STEPS)))
@click.option("--section", "sections", multiple=True, type=click.Choice(list(SECTIONS)))
@click.option("--python", default=sys.executable, help="The Python that has the rivals.")
@click.option("--timing", default=2.0, help="Seconds of timing for each network.")
@click.option("--shrink", default=1, help="Divide the steps of an epoch by this.")
@click.option("--host", is_flag=True, hidden=True, help="Emulated kernels and CPUs, for tests.")
def main(
    out: Path,
    seconds: float,
    networks: tuple[str, ...],
    sections: tuple[str, ...],
    python: str,
    timing: float,
    shrink: int,
    host: bool,
) -> None:
    """Check and time fastnet, PyTorch, nvmath-python and JAX on the GPU of this machine."""
    run = Run(out)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "networks": [name for name in STEPS if not networks or name in networks],
            "reference": str(Path(folder, "reference.json")),
            "seconds": timing,
            "shrink": shrink,
            "host": host,
        }
        for name in SECTIONS:
            # Without the reference, nothing can be compared.
            if sections and name not in sections and name != "reference":
                continue
            limit = min(float(LIMITS[name]), seconds - run.seconds)
            click.echo(f"{name} (at most {limit:.0f} s)", err=True)
            if limit < LEAST:
                run.sections[name] = {"status": "skipped", "error": "no time was left"}
            else:
                program = python if name in RIVALS else sys.executable
                command = [program, "-m", "fastnet.benchmarks.gpu.sections", name]
                run_section(run, [*command, json.dumps(settings)], name, limit)
            entry = run.sections[name]
            if entry["status"] != "ok":
                click.echo(f"  {entry['status']}: {entry['error'].strip()[-300:]}", err=True)
            run.write()
    for (network, precision), doubt in run.doubts.items():
        click.echo(f"{network}, {precision}: {doubt}", err=True)
    click.echo(table(run.as_json()))
    click.echo(f"written to {out} after {run.seconds:.0f} s", err=True)
    sys.exit(0 if run.is_good else 1)


if __name__ == "__main__":
    main()
