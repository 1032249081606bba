"""``fastnet predict``: a model's predictions as a table in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from numpy.typing import NDArray

from fastnet.cli import load as model_data
from fastnet.cli import options, output
from fastnet.cli.load import Rows
from fastnet.cli.sources import STANDARD, Reading, reading_options
from fastnet.cli.table_files import ENDINGS, Block, opened, require_ending
from fastnet.data.values import Values
from fastnet.errors import InputError
from fastnet.network import Network, load

_BLOCK: Final = 8192  # rows formatted at a time


@click.command(
    "predict",
    cls=options.Command,
    epilog=options.examples(
        "fastnet predict flowers.safetensors new-flowers.csv --out answers.csv",
        "fastnet predict flowers.safetensors new-flowers.parquet --out answers.parquet --force",
        "cat new-flowers.csv | fastnet predict flowers.safetensors - --out - | head",
    ),
)
@click.argument("model")
@click.argument("data")
@options.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    default="predictions.csv",
    help=f"The file to write, {', '.join(ENDINGS)}; - is standard output, as CSV.",
)
@options.option(
    "--force", is_flag=True, default=False, help="Replace a file that is there already."
)
@options.option(
    "--id",
    metavar="COL",
    show_default="as in training",
    help="The column that says which row it is: the first column of the output.",
)
@options.option(
    "--quote-formulas",
    is_flag=True,
    default=False,
    help="CSV, TSV: put ' before texts that a spreadsheet would compute, those that begin with =, "
    "+, - or @ and are no numbers.",
)
@reading_options
@options.backend_option(options.OTHER)
def command(
    model: str,
    data: str,
    out: Path,
    force: bool,
    id: str | None,
    quote_formulas: bool,
    reading: Reading,
    backend: str,
) -> None:
    """Write a MODEL's predictions for the rows of DATA.

    DATA may be anything that 'train' takes; columns are found by name, and the target may be
    missing. Each row of the file has the prediction and, for a classifier, the probability of
    each class. A model trained with gaussian_nll adds a column with the standard deviation; one
    trained with quantile has a column for each quantile. A file that is there already is replaced
    with --force only.
    """
    if out != Path(STANDARD):
        output.check_writable("--out", out, [model, data])
        require_ending(out)
        if out.is_file() and not force:
            raise InputError(
                f"{out} is there already: give --force to replace it, or another --out."
            )
    network = load(model, backend=backend)
    dataset = model_data.load_for(network, data, reading, id=id)
    outputs = network.predict_columns(dataset.x)
    names = _names(network, dataset, id)
    with opened(out, names, quotes_formulas=quote_formulas) as table:
        for block in _blocks(network, outputs, dataset.ids):
            table.write(block)
    if out != Path(STANDARD):
        rows = f"predictions for {len(outputs):,} rows of {dataset.name}"
        click.echo(output.printable(f"{out}: {rows}"))


def _names(network: Network, dataset: Rows, id: str | None) -> list[str]:
    """Return the names of the columns, the id first; say if it is not there."""
    columns = network.output_schema.column_names
    name = id or getattr(network.preprocessor, "id", None)
    if name is None:
        return columns
    if dataset.ids is None:
        output.message(f"{dataset.name} has no column {name!r}: rows come without it.")
        return columns
    if name in columns:
        raise InputError(
            f"the id column {name!r} is called like a column of the predictions: rename it."
        )
    return [name, *columns]


def _blocks(network: Network, outputs: NDArray[Any], ids: Values | None) -> Iterator[Block]:
    """Yield the predictions, in blocks of rows."""
    schema = network.output_schema
    names = schema.class_names
    for start in range(0, len(outputs), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = outputs[rows]
        labels = None if names is None else [names[k] for k in schema.answers(block)]
        yield Block(None if ids is None else ids[rows], labels, schema.values(block))
