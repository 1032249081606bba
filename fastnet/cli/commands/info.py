"""``fastnet info``: the content of a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from fastnet.cli import options, output
from fastnet.cli.models import load_predictor
from fastnet.network import Network
from fastnet.nn import layers
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.memory import training_bytes
from fastnet.nn.optimizers import Adam
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.report.measures import LAYER_COLUMNS, layer_rows, members_text
from fastnet.report.summary import INPUTS
from fastnet.tables import TableColumn

_MOST: Final = 20  # names of a long list that are shown


@click.command(
    "info",
    cls=options.Command,
    epilog=options.examples(
        "fastnet info model.safetensors", "fastnet info model.safetensors --json"
    ),
)
@click.argument("model", type=click.Path())
@options.option("--json", "as_json", is_flag=True, default=False, help="Write JSON.")
def command(model: str, as_json: bool) -> None:
    """Show what is in a MODEL file: layers, inputs, outputs, names, preprocessing.

    Of an ensemble it shows the number of members, and its first one.
    """
    found = load_predictor(model, "numpy")
    size = Path(model).stat().st_size
    several: list[tuple[str, object]] = []
    if isinstance(found, Network):
        network = found
    else:
        network = found[0]
        several = [("ensemble", f"of {len(found)} networks; what follows is the first")]
        if found.temperature is not None:
            several.append(("calibrated", f"together, at temperature {found.temperature:.4g}"))
    if as_json:
        content = _content(network, model, size)
        if not isinstance(found, Network):
            content["ensemble"] = {"members": len(found), "temperature": found.temperature}
        click.echo(output.as_json(content))
        return
    output.facts([*several, *_facts(network, model, size)])
    click.echo()
    output.table(LAYER_COLUMNS, layer_rows(network.plan), numbers=1)


def _facts(network: Network, model: str, size: int) -> list[tuple[str, object]]:
    preprocessor, labels = network.preprocessor, network.label_names
    fixed, per_row = training_bytes(network.plan, network.dtype.itemsize, Adam())
    found: list[tuple[str, object]] = [
        ("model", f"{model} ({output.size(size)})"),
        ("parameters", f"{network.plan.size:,} {network.dtype.name}"),
        ("seed", network.seed),
        ("training takes", f"{output.size(fixed)}, and {output.size(per_row)} a row of a batch"),
        ("inputs", f"{network.inputs}, {INPUTS[type(preprocessor)]}"),
        ("outputs", f"{network.outputs} ({network.plan.output_activation.name})"),
    ]
    if isinstance(network.plan, MemberPlan):
        found.append(("members", members_text(network.plan)))
    if network.temperature is not None:
        found.append(("calibrated", f"at temperature {network.temperature:.4g}"))
    if isinstance(preprocessor, TablePreprocessor):
        described = list(dict.fromkeys(map(_describe, preprocessor.columns)))
        place = "" if preprocessor.named else f"{len(described)}, by position: "
        found.append(("columns", place + _listing(described)))
    if preprocessor.target is not None:
        found.append(("target", ", ".join(preprocessor.target.names) or "given apart"))
    for role in ("id", "weight"):
        if getattr(preprocessor, role, None) is not None:
            found.append((role, getattr(preprocessor, role)))
    if labels is not None:
        found.append(("labels", _listing([repr(name) for name in labels])))
    return found


def _describe(column: TableColumn) -> str:
    if column.part:
        return f"{column.name} (dates)"
    if column.kind != "categorical":
        return column.name if column.kind == "numeric" else f"{column.name} (ignored)"
    return f"{column.name} ({len(column.categories)} categories)"


def _listing(names: list[str]) -> str:
    more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _content(network: Network, model: str, size: int) -> dict[str, Any]:
    content, arrays = network.preprocessor.description()
    numbers = {name: values.tolist() for name, values in arrays.items()}
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
        "temperature": network.temperature,
        "preprocessor": {"kind": type(network.preprocessor).__name__} | content | numbers,
        "label_names": network.label_names,
    }
