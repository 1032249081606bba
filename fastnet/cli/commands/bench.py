"""``fastnet bench``: the speed of training and prediction on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from fastnet import backends
from fastnet.cli import options, output
from fastnet.utils.names import BackendName

PARTS = ("ladder", "close", "startup", "widths", "kernels", "learning")
"""The parts to measure: `fastnet.benchmarks.reports.report.PARTS` without its imports."""


@click.command(
    "bench",
    cls=options.Command,
    epilog=options.examples(
        "fastnet bench --quick",
        "fastnet bench --network image --backend numpy --backend numba",
        "fastnet bench --rivals --json result.json --html result.html",
        "fastnet bench --part kernels --part widths",
        "fastnet bench --rivals --record result.json",
        "fastnet bench --part close --rivals --record close.json",
    ),
)
@options.option(
    "--part",
    "parts",
    type=options.Name("part", PARTS),
    metavar="|".join(PARTS),
    multiple=True,
    show_default="ladder, startup",
    help="The part to measure; repeatable.",
)
@options.option(
    "--network",
    "networks",
    metavar="NAME",
    multiple=True,
    show_default="all",
    help="A network of the ladder, or of the part close; repeatable.",
)
@options.option(
    "--backend",
    "chosen",
    type=options.Name("backend", backends.NAMES),
    metavar="|".join(backends.NAMES),
    multiple=True,
    show_default="all that can run here",
    help="A backend to measure; repeatable.",
)
@options.option(
    "--rivals",
    is_flag=True,
    default=False,
    help="Also measure other libraries that are installed.",
)
@options.option("--quick", is_flag=True, default=False, help="Use fewer repetitions.")
@options.option("--threads", type=click.IntRange(min=1), metavar="N", help="Most threads to use.")
@options.option(
    "--json",
    "json_path",
    type=click.Path(),
    metavar="FILE",
    help="Write all numbers to a JSON file.",
)
@options.option(
    "--html", "html_path", type=click.Path(), metavar="FILE", help="Write a report with charts."
)
@options.option(
    "--record",
    "record_path",
    metavar="FILE",
    help="Measure every part, or those named, on one thread and on all; write one JSON file.",
)
@click.pass_context
def command(
    ctx: click.Context,
    parts: tuple[str, ...],
    networks: tuple[str, ...],
    chosen: tuple[BackendName, ...],
    rivals: bool,
    quick: bool,
    threads: int | None,
    json_path: str | None,
    html_path: str | None,
    record_path: str | None,
) -> None:
    """Measure training and prediction speed on a ladder of networks.

    All backends get the same weights and rows. Compilation is not measured.
    """
    if record_path is not None:
        _record(ctx, record_path, parts, rivals=rivals, quick=quick)
    output.require_ending("--html", Path(html_path) if html_path else None, ".html", ".htm")
    for name, path in (("--json", json_path), ("--html", html_path)):
        if path is not None:
            output.check_writable(name, Path(path))
    for name in chosen:
        backends.get_backend(name)  # raises if it cannot run here
    from fastnet.benchmarks.command import run_bench

    code = run_bench(
        parts=parts,
        networks=networks,
        backends=chosen,
        rivals=rivals,
        json_path=json_path,
        html_path=html_path,
        threads=threads,
        quick=quick,
        console=output.console(markup=True),
    )
    ctx.exit(code)


def _record(
    ctx: click.Context, path: str, parts: tuple[str, ...], *, rivals: bool, quick: bool
) -> None:
    """Measure whole parts and exit."""
    used = [
        name
        for name in ("networks", "chosen", "threads", "json_path", "html_path")
        if ctx.params.get(name)
    ]
    if used:
        raise click.UsageError(
            "--record measures whole parts: only --part, --rivals and --quick go with it."
        )
    output.check_writable("--record", Path(path))
    from fastnet.benchmarks.record import record

    console = output.console(markup=True)
    ctx.exit(record(path, parts or PARTS, rivals=rivals, quick=quick, console=console))
