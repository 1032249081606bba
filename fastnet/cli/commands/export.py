"""``fastnet export``: conversion of a model to a form that runs without fastnet."""

from __future__ import annotations

from pathlib import Path

import click

from fastnet.cli import options, output
from fastnet.cli.load import load_for
from fastnet.cli.models import load_predictor
from fastnet.cli.sources import Reading
from fastnet.errors import InputError
from fastnet.export import FORMATS, export, usage
from fastnet.export.c.fixed import KINDS
from fastnet.utils.names import ExportName, FixedName


@click.command(
    "export",
    cls=options.Command,
    epilog=options.examples(
        "fastnet export model.safetensors --to c --out model.c",
        "fastnet export model.safetensors --to c --jacobian",
        "fastnet export model.safetensors --to c --fixed int8 --rows rows.npy",
        "fastnet export model.safetensors --to onnx",
    ),
)
@click.argument("model", type=click.Path())
@options.option(
    "--to",
    type=options.Name("format", FORMATS),
    metavar="|".join(FORMATS),
    required=True,
    help=" ".join(f"{name}: {row.summary}." for name, row in FORMATS.items()),
)
@options.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="the model's name with the format's ending",
    help="The file to write; an existing one is replaced.",
)
@options.option(
    "--jacobian",
    is_flag=True,
    default=False,
    help="C: add a function for the derivatives of all outputs by all inputs of a row.",
)
@options.option(
    "--fixed",
    type=options.Name("kind", KINDS),
    metavar="|".join(KINDS),
    help="C: compute layers in whole numbers of 8 or 16 bits, for processors that have no others. "
    "The command says what that costs.",
)
@options.option(
    "--rows",
    metavar="DATA",
    show_default="normal numbers of the mean and deviation that the model standardises by",
    help="Rows as in training, which choose the scales of --fixed.",
)
def command(
    model: str,
    to: ExportName,
    out: Path | None,
    jacobian: bool,
    fixed: FixedName | None,
    rows: str | None,
) -> None:
    """Write a MODEL, one network or an ensemble, in a form that runs without fastnet.

    The file has the weights and the preprocessing of inputs, and the names of columns and classes
    if the format supports them. For a model of a table, Python code takes the table, C code a
    struct with a field for each column, an ONNX graph a number for each column (a category's index,
    NaN for a missing value), and a PyTorch module the array that net.preprocessor.transform(table)
    returns. The file of an ensemble has all its networks, and answers with their mean. The command
    prints how to use the file.
    """
    for name, given in (("jacobian", jacobian), ("fixed", fixed), ("rows", rows)):
        if given and to != "c":
            raise click.UsageError(f"--{name} goes with --to c, and not with --to {to}.")
    if rows is not None and fixed is None:
        raise click.UsageError("--rows goes with --fixed.")
    predictor = load_predictor(model, "numpy")
    if out is None:
        out = Path(Path(model).name).with_suffix(FORMATS[to].suffix)
    output.check_writable("--out", out, [model])
    output.require_ending("--out", out, FORMATS[to].ending)
    if out.exists() and not out.is_file():
        raise InputError(f"--out: {out} is not a file; name one.")
    x = None if rows is None else load_for(predictor, rows, Reading(), compares=False).x
    export(predictor, out, to=to, jacobian=jacobian, fixed=fixed, rows=x)
    click.echo(f"{output.printable(out)}: {output.size(out.stat().st_size)}")
    click.echo(usage(predictor, out, to=to, jacobian=jacobian, fixed=fixed, rows=x))
