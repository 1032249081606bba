"""``fastnet info``: what is in a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from fastnet.cli import options, output
from fastnet.data import Column
from fastnet.network import Network
from fastnet.nn import layers
from fastnet.nn.memory import training_bytes
from fastnet.nn.optimizers import Adam
from fastnet.preprocessing import serialize
from fastnet.report.layers import COLUMNS, layer_rows
from fastnet.serialization import model_file
from fastnet.tables import TableColumn

_MOST: Final = 20  # names shown of a long list


@click.command(
    "info",
    cls=options.Command,
    epilog=options.examples(
        "fastnet info model.safetensors", "fastnet info model.safetensors --json"
    ),
)
@click.argument("model")
@options.option("--json", "as_json", is_flag=True, default=False, help="Write JSON.")
def command(model: str, as_json: bool) -> None:
    """Show what is in a MODEL file: layers, inputs and outputs, names, scaler."""
    network = model_file.load(model, backend="numpy")
    size = Path(model).stat().st_size
    if as_json:
        click.echo(output.as_json(_content(network, model, size)))
        return
    output.facts(_facts(network, model, size))
    click.echo()
    output.table(COLUMNS, layer_rows(network), numbers=1)


def _facts(network: Network, model: str, size: int) -> list[tuple[str, object]]:
    schema, labels, scaler = network.schema, network.label_names, network.scaler
    inputs = "as they are" if scaler is None else "standardised"
    if network.preprocessor is not None:
        inputs = "made of a table's columns"
    fixed, per_row = training_bytes(network.plan, network.dtype.itemsize, Adam())
    found: list[tuple[str, object]] = [
        ("model", f"{model} ({output.size(size)})"),
        ("parameters", f"{network.plan.size:,} {network.dtype.name}"),
        ("seed", network.seed),
        ("training takes", f"{output.size(fixed)}, and {output.size(per_row)} a row of a batch"),
        ("inputs", f"{network.inputs}, {inputs}"),
        ("outputs", f"{network.outputs} ({network.plan.output_activation.name})"),
    ]
    if network.temperature is not None:
        found.append(("calibrated", f"at temperature {network.temperature:.4g}"))
    if network.preprocessor is not None:
        described = [_describe(column) for column in network.preprocessor.columns]
        found.append(("columns", _listing(described)))
        if network.preprocessor.target is not None:
            found.append(("target", ", ".join(network.preprocessor.target.names) or "given apart"))
    if labels is not None:
        found.append(("labels", _listing([repr(name) for name in labels])))
    if schema is not None and schema.named:
        found.append(("columns", _listing([_describe(column) for column in schema.columns])))
    elif schema is not None:
        found.append(("columns", f"{len(schema.columns)}, by position"))
    if schema is not None and schema.targets:
        found.append(("target", ", ".join(schema.targets)))
    return found


def _describe(column: Column | TableColumn) -> str:
    if column.kind != "categorical":
        return column.name if column.kind == "numeric" else f"{column.name} (ignored)"
    return f"{column.name} ({len(column.categories)} categories)"


def _listing(names: list[str]) -> str:
    more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _content(network: Network, model: str, size: int) -> dict[str, Any]:
    scaler = network.scaler
    return {
        "file": model,
        "bytes": size,
        "parameters": network.plan.size,
        "dtype": network.dtype.name,
        "seed": network.seed,
        "training_bytes": list(training_bytes(network.plan, network.dtype.itemsize, Adam())),
        "inputs": network.inputs,
        "outputs": network.outputs,
        "layers": [layers.to_dict(layer) for layer in network.layers],
        "scaler": None
        if scaler is None
        else {"mean": scaler.mean.tolist(), "scale": scaler.scale.tolist()},
        "temperature": network.temperature,
        "preprocessor": None
        if network.preprocessor is None
        else serialize.to_json(network.preprocessor),
        "label_names": network.label_names,
        "schema": None if network.schema is None else network.schema.to_json(),
    }
