"""``fastnet predict``: a model's predictions as a table in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from numpy.typing import NDArray

from fastnet.cli import load as model_data
from fastnet.cli import options, output
from fastnet.cli.chunks import chunks_for, in_chunks
from fastnet.cli.load import Rows
from fastnet.cli.models import Predictor, load_predictor
from fastnet.cli.sources import STANDARD, Reading, reading_options
from fastnet.cli.table_files import ENDINGS, Block, opened, require_ending
from fastnet.data import Chunks
from fastnet.data.chunk_files import expanded
from fastnet.data.values import Values
from fastnet.errors import InputError
from fastnet.utils.names import Auto, BackendName

_BLOCK: Final = 8192  # rows formatted at a time


@click.command(
    "predict",
    cls=options.Command,
    epilog=options.examples(
        "fastnet predict flowers.safetensors new-flowers.csv --out answers.csv",
        "fastnet predict flowers.safetensors new-flowers.parquet --out answers.parquet --force",
        "fastnet predict flowers.safetensors 'flowers-*.csv' --out answers.csv.gz",
        "cat new-flowers.csv | fastnet predict flowers.safetensors - --out - | head",
    ),
)
@click.argument("model", type=click.Path())
@click.argument("data", nargs=-1, required=True, type=click.Path())
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
    data: tuple[str, ...],
    out: Path,
    force: bool,
    id: str | None,
    quote_formulas: bool,
    reading: Reading,
    backend: BackendName | Auto,
) -> None:
    """Write a MODEL's predictions for the rows of DATA.

    DATA may be anything that 'train' takes, or several files, which are read a part at a time;
    columns are found by name, and the target may be
    missing. Each row of the file has the prediction and, for a classifier, the probability of
    each class. A model trained with gaussian_nll adds a column with the standard deviation; one
    trained with quantile has a column for each quantile. A file that is there already is replaced
    with --force only.
    """
    if out != Path(STANDARD):
        output.check_writable("--out", out, [model, *map(str, expanded(list(data)) or ())])
        require_ending(out)
        if out.is_file() and not force:
            raise InputError(
                f"{out} is there already: give --force to replace it, or another --out."
            )
    network = load_predictor(model, backend)
    wanted = id or getattr(network.preprocessor, "id", None)
    if in_chunks(data):
        chunks = chunks_for(network, data, reading, id=id)
        name, count, blocks = chunks.name, len(chunks), _of_chunks(network, chunks)
        ids = chunks.id
    else:
        rows = model_data.load_for(network, data[0], reading, id=id, compares=False)
        name, count, blocks = rows.name, len(rows), _of_rows(network, rows)
        ids = None if rows.ids is None else wanted
    if wanted is not None and ids is None:
        output.message(f"{name} has no column {wanted!r}: rows come without it.")
    names = _names(network, ids)
    with opened(out, names, quotes_formulas=quote_formulas) as table:
        for block in blocks:
            table.write(block)
    if out != Path(STANDARD):
        click.echo(output.printable(f"{out}: predictions for {count:,} rows of {name}"))


def _names(network: Predictor, ids: str | None) -> list[str]:
    """Return the names of the columns, the id first."""
    columns = network.output_schema.column_names
    if ids is None:
        return columns
    if ids in columns:
        raise InputError(
            f"the id column {ids!r} is called like a column of the predictions: rename it."
        )
    return [ids, *columns]


def _of_rows(network: Predictor, rows: Rows) -> Iterator[Block]:
    """Yield the predictions for rows in memory, in blocks."""
    outputs = network.predict_columns(rows.x)
    for start in range(0, len(outputs), _BLOCK):
        part = slice(start, start + _BLOCK)
        yield _block(network, outputs[part], None if rows.ids is None else rows.ids[part])


def _of_chunks(network: Predictor, chunks: Chunks) -> Iterator[Block]:
    """Yield the predictions for files, of which a part is in memory at a time."""
    for piece in chunks.inputs(0, len(chunks), network.preprocessor):
        yield _block(network, network.predict_columns(piece.x), piece.ids)


def _block(network: Predictor, outputs: NDArray[Any], ids: Values | None) -> Block:
    schema = network.output_schema
    names = schema.class_names
    labels = None if names is None else [names[k] for k in schema.answers(outputs)]
    return Block(ids, labels, schema.values(outputs))
