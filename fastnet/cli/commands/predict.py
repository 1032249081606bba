"""``fastnet predict``: a model's predictions as a CSV file."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from fastnet.cli import load as model_data
from fastnet.cli import options, output
from fastnet.network import Network, load

_BLOCK: Final = 8192  # rows formatted at a time
_STDOUT: Final = Path("-")


@click.command(
    "predict",
    cls=options.Command,
    epilog=options.examples(
        "fastnet predict flowers.safetensors new-flowers.csv --out answers.csv",
        "fastnet predict model.safetensors digits --out - | head",
    ),
)
@click.argument("model")
@click.argument("data")
@options.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    default="predictions.csv",
    help="The CSV file to write or replace; - for standard output.",
)
@options.option(
    "--split",
    type=model_data.SPLIT,
    metavar="auto|train|test",
    default="auto",
    help="The split, for data with a test split. auto: test.",
)
@options.option("--data-dir", metavar="FOLDER", help="Folder of the fashion-mnist files.")
@options.backend_option(options.OTHER)
def command(
    model: str, data: str, out: Path, split: str, data_dir: str | None, backend: str
) -> None:
    """Write a MODEL's predictions for the rows of DATA.

    DATA may be anything that 'train' takes; columns are found by name, and the target may be
    missing. Each row of the CSV file has the prediction and, for a classifier, the probability of
    each class. A model trained with gaussian_nll adds a column with the standard deviation; one
    trained with quantile has a column for each quantile.
    """
    if out != _STDOUT:
        output.check_writable("--out", out, [model, data])
    network = load(model, backend=backend)
    dataset = model_data.load_for(network, data, target=None, folder=data_dir, split=split)
    outputs = network.predict_columns(dataset.x)
    if out == _STDOUT:
        for text in _csv(network, outputs):
            sys.stdout.buffer.write(text.encode("utf-8"))  # not in the terminal's encoding
        return
    with output.replacing(out) as file:
        file.writelines(_csv(network, outputs))
    click.echo(output.printable(f"{out}: predictions for {len(outputs):,} rows of {dataset.name}"))


def _csv(network: Network, outputs: NDArray[Any]) -> Iterator[str]:
    """Yield the CSV text, in blocks of rows."""
    schema = network.output_schema
    names = schema.class_names
    yield _lines([schema.column_names])
    for start in range(0, len(outputs), _BLOCK):
        block = outputs[start : start + _BLOCK]
        numbers = _numbers(schema.values(block))
        if names is None:
            yield _lines(numbers)
            continue
        labels = (names[k] for k in schema.answers(block))
        yield _lines([label, *row] for label, row in zip(labels, numbers, strict=True))


def _numbers(values: NDArray[Any]) -> list[list[str]]:
    """Return each number in the fewest digits that restore it exactly."""
    texts: list[list[str]] = values.astype(np.str_).tolist()
    return texts


def _lines(rows: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
