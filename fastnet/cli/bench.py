"""``fastnet bench``: how fast training and prediction are here."""

from __future__ import annotations

from pathlib import Path

import click

from fastnet import backends
from fastnet.cli import options, output


@click.command(
    "bench",
    cls=options.Command,
    epilog=options.examples(
        "fastnet bench --quick",
        "fastnet bench --network image --backend numpy --backend numba",
        "fastnet bench --rivals --json result.json --html result.html",
    ),
)
@options.option(
    "--network",
    "networks",
    metavar="NAME",
    multiple=True,
    show_default="all",
    help="A network of the ladder; repeatable.",
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
    help="Measure other libraries too, those that are installed.",
)
@options.option("--quick", is_flag=True, default=False, help="Fewer repetitions: a first look.")
@options.option("--threads", type=click.IntRange(min=1), metavar="N", help="Most threads to use.")
@options.option("--json", "json_path", metavar="FILE", help="Write all numbers to a JSON file.")
@options.option("--html", "html_path", metavar="FILE", help="Write a report with charts.")
@click.pass_context
def command(
    ctx: click.Context,
    networks: tuple[str, ...],
    chosen: tuple[str, ...],
    rivals: bool,
    quick: bool,
    threads: int | None,
    json_path: str | None,
    html_path: str | None,
) -> None:
    """Measure training and prediction speed on a ladder of networks.

    The same weights and rows for each backend; compilation is outside the measurement.
    """
    for name, path in (("--json", json_path), ("--html", html_path)):
        if path is not None:
            output.check_writable(name, Path(path))
    for name in chosen:
        backends.get_backend(name)  # a backend that was named must be able to run
    from fastnet.benchmarks.command import run_bench

    code = run_bench(
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
