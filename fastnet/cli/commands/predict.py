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
from fastnet.cli.sources import STANDARD, Reading, reading_options
from fastnet.data.values import Values, texts_of
from fastnet.errors import InputError
from fastnet.network import Network, load

_BLOCK: Final = 8192  # rows formatted at a time


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
    "--id",
    metavar="COL",
    show_default="as in training",
    help="The column that says which row it is: the first column of the output.",
)
@reading_options
@options.backend_option(options.OTHER)
def command(
    model: str, data: str, out: Path, id: str | None, reading: Reading, backend: str
) -> None:
    """Write a MODEL's predictions for the rows of DATA.

    DATA may be anything that 'train' takes; columns are found by name, and the target may be
    missing. Each row of the CSV file has the prediction and, for a classifier, the probability of
    each class. A model trained with gaussian_nll adds a column with the standard deviation; one
    trained with quantile has a column for each quantile.
    """
    if out != Path(STANDARD):
        output.check_writable("--out", out, [model, data])
    network = load(model, backend=backend)
    dataset = model_data.load_for(network, data, reading, id=id)
    outputs = network.predict(dataset.x)
    identifier = id or getattr(network.preprocessor, "id", None) or ""
    if dataset.ids is None and identifier:
        output.message(f"{dataset.name} has no column {identifier!r}: rows come without it.")
    texts = _csv(network, outputs, identifier, dataset.ids)
    if out == Path(STANDARD):
        for text in texts:
            sys.stdout.buffer.write(text.encode("utf-8"))  # not in the terminal's encoding
        return
    with output.replacing(out) as file:
        file.writelines(texts)
    click.echo(output.printable(f"{out}: predictions for {len(outputs):,} rows of {dataset.name}"))


def _csv(
    network: Network, outputs: NDArray[Any], identifier: str, ids: Values | None
) -> Iterator[str]:
    """Yield the CSV text, in blocks of rows."""
    schema = network.output_schema
    names = schema.class_names
    columns = schema.column_names
    if ids is not None and identifier in columns:
        raise InputError(
            f"the id column {identifier!r} is called like a column of the predictions: rename it."
        )
    yield _lines([columns if ids is None else [identifier, *columns]])
    for start in range(0, len(outputs), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = outputs[rows]
        cells = _numbers(schema.values(block))
        if names is not None:
            labels = (names[k] for k in schema.answers(block))
            cells = [[label, *row] for label, row in zip(labels, cells, strict=True)]
        if ids is not None:
            texts = texts_of(ids[rows])
            known = [*texts.values, ""]  # the last for one that is missing
            given = (known[code] for code in texts.codes)
            cells = [[one, *row] for one, row in zip(given, cells, strict=True)]
        yield _lines(cells)


def _numbers(values: NDArray[Any]) -> list[list[str]]:
    """Return each number in the fewest digits that restore it exactly."""
    texts: list[list[str]] = values.astype(np.str_).tolist()
    return texts


def _lines(rows: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
