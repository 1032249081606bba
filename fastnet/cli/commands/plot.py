"""``fastnet plot``: a picture of learning curves, or of predictions against targets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from fastnet.cli import load as model_data
from fastnet.cli import options, output
from fastnet.cli.models import load_predictor
from fastnet.cli.sources import Reading, reading_options
from fastnet.errors import InputError
from fastnet.plotting import SUFFIXES, plot_history, plot_predictions
from fastnet.training.history import History
from fastnet.utils.names import Auto, BackendName

_LOG: Final = ".jsonl"


@click.command(
    "plot",
    cls=options.Command,
    epilog=options.examples(
        "fastnet plot run.jsonl --out curves.svg",
        "fastnet plot model.safetensors digits",
        "fastnet plot houses.safetensors more-houses.csv --target price --out houses.png",
    ),
)
@click.argument("source", metavar="MODEL_OR_LOG", type=click.Path())
@click.argument("data", required=False, type=click.Path())
@options.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="the name of the source with .png",
    help=f"The picture to write, {', '.join(SUFFIXES)}; an existing file is replaced.",
)
@options.option("--target", metavar="COL", show_default="as in training", help="The target column.")
@reading_options
@options.backend_option(options.OTHER)
def command(
    source: str,
    data: str | None,
    out: Path | None,
    target: str | None,
    reading: Reading,
    backend: BackendName | Auto,
) -> None:
    """Draw learning curves, or compare predictions with targets.

    Learning curves are drawn from the log of a run (a .jsonl file of 'train --log'). A model needs
    DATA with targets: a classifier gives its confusion matrix and calibration curve, a regressor
    its predictions and the quantiles of its residuals.
    """
    if out is None:
        out = Path(Path(source).name).with_suffix(".png")
    output.require_ending("--out", out, *SUFFIXES)
    output.check_writable("--out", out, [source, *([data] if data else [])])
    if Path(source).suffix.lower() == _LOG:
        if data is not None:
            raise click.UsageError("a log is drawn without DATA; a model is drawn with it.")
        plot_history(History.read(source), out)
    elif data is None:
        raise click.UsageError(
            "a model is drawn on DATA with known answers; learning curves are in the file that "
            "'fastnet train --log FILE.jsonl' writes."
        )
    else:
        predictor = load_predictor(source, backend)
        dataset = model_data.load_for(predictor, data, reading, target)
        if dataset.y is None:
            raise InputError(f"{dataset.name} has no column to compare with; name it by --target.")
        plot_predictions(predictor, dataset.x, dataset.y, out)
    click.echo(f"{output.printable(out)}: {output.size(out.stat().st_size)}")
