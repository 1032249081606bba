"""A network as one Python file that needs NumPy and nothing else.

The file has a line for each step, the formulas of the activations it uses, and the weights as
base64 of NPY bytes; for a network for tables, also a function that encodes one. Texts from the
network (labels, column names, categories) enter it as ASCII literals only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet._version import version
from fastnet.export.columns import InputTable, scaling_of, table_of
from fastnet.export.python import program, tables, templates
from fastnet.export.steps import Add, Affine, Normalize, Step, activations_of, shown, steps_of
from fastnet.network import Network
from fastnet.nn.losses import GaussianNLL

_TABLE_IMPORTS: Final = [
    "from datetime import date, datetime, timedelta",
    "from decimal import Decimal",
]
_ABOUT_TABLES: Final = (
    "encode(table) returns x for a dict or a data frame of columns by name, or an array of columns",
    "in the order of COLUMNS: predict(encode(table)). Outputs are in the unit of the targets.",
)

_LINE: Final = 96


def content(network: Network, name: str) -> bytes:
    """Return the source of a module with ``predict(x)`` for this network, in ASCII."""
    steps, table, labels = steps_of(network), table_of(network), network.output_schema.class_names
    deviations = labels is None and isinstance(network.loss, GaussianNLL)

    # Functions: those that the kinds of steps and activations need, then the public ones.
    functions = [templates.STEPS[kind] for kind in dict.fromkeys(map(type, steps))]
    for activation in activations_of(steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    functions += [templates.CHECKS, _predict(network, steps)]
    functions += [templates.LABELS] if labels else []
    if deviations:
        one = network.target_axes == 1 and network.outputs == 2
        functions.append(templates.deviations("N,", "[:, 0]") if one else templates.deviations())
    functions += tables.functions(table) if table is not None else []

    # Arrays: of the steps, and of what stands before and after them.
    tensors = {f"{part}{k}": a for k, s in enumerate(steps) for part, a in s.tensors.items()}
    scaling = scaling_of(network)
    if scaling is not None:
        tensors |= dict(zip(("mean", "scale"), scaling, strict=True))
    if deviations:
        tensors["floors"] = network.output_schema.log_variance_floors.astype(network.dtype)
    if table is not None:
        tensors |= tables.tensors(table)

    main = program.source(network, table, deviations=deviations)
    parts = [_head(network, table), *functions, _tensors(tensors), main]
    return "\n\n".join(parts).encode("ascii")


def usage(network: Network, path: Path) -> str:
    """Return how the file is used."""
    call = "predict(x)" if table_of(network) is None else "predict(encode(table))"
    return (
        f"a module that needs NumPy only; its function {call} returns {_shape(network)}.\n"
        f"python {path} < rows.csv writes predictions."
    )


def _shape(network: Network) -> str:
    """Return the shape of predictions as text, which is that of ``network.predict``."""
    return "(N,)" if _has_one_axis(network) else f"(N, {network.outputs})"


def _has_one_axis(network: Network) -> bool:
    return network.target_axes == 1 and network.outputs == 1


def _head(network: Network, table: InputTable | None) -> str:
    """Return the top of the file: what it is, imports, and constants."""
    labels, header = network.output_schema.class_names, network.output_schema.column_names
    lines = [
        f'"""A neural network, exported by fastnet {version}: needs NumPy and nothing else.',
        "",
        *(f"    {index}  {shown(layer)}" for index, layer in enumerate(network.layers)),
        "",
        f"predict(x) takes (N, {network.inputs}) and returns {_shape(network)}. As a program, this",
        "file reads a header and rows as CSV from standard input, and writes predictions as CSV.",
        *([] if table is None else _ABOUT_TABLES),
        '"""',
        "",
        "import base64",
        "import csv",
        "import io",
        *([] if table is None else ["import re"]),
        "import sys",
        *([] if table is None else _TABLE_IMPORTS),
        "",
        "import numpy as np",
        "",
        f"DTYPE = np.{network.dtype.name}",
        f"INPUTS = {network.inputs}",
    ]
    if table is not None:
        columns = [(c.source, c.kind, c.part or c.truths, c.categories) for c in table.columns]
        about = "name, kind, part of a date or whether true is 1, categories"
        lines.append(_tuple("COLUMNS", columns, about))
        lines.append(_tuple("FEATURES", table.features, "names of the inputs, in order"))
    if labels:
        lines.append(_tuple("LABELS", labels, "names of the classes, in order"))
    else:
        lines.append(_tuple("OUTPUTS", header, "names of the outputs, in order"))
    return "\n".join([*lines, ""])


def _predict(network: Network, steps: Sequence[Step]) -> str:
    """Return the function that predicts: a line for each step."""
    lines = ["x = _finite(_numeric(x), DTYPE)"]
    if scaling_of(network) is not None:
        # In double: a large mean would cost single precision its digits.
        lines = [
            "x = _finite(_numeric(x), float)",
            'x = _finite((x - TENSORS["mean"]) / TENSORS["scale"], DTYPE)',
        ]
    kept = {step.skip: f"kept{max(step.skip, 0)}" for step in steps if isinstance(step, Add)}
    if -1 in kept:
        kept[-1] = "kept"
        lines.append("kept = x")
    for index, step in enumerate(steps):
        if isinstance(step, Add):
            value = f"add(x, {kept[step.skip]})"
        elif isinstance(step, Normalize):
            value = f'normalize(x, "{index}", {step.epsilon!r})'
        else:
            value = f'{"dense" if isinstance(step, Affine) else "scale"}(x, "{index}")'
        called = step.activation != "identity"
        lines.append(f"x = {step.activation}({value})" if called else f"x = {value}")
        if index in kept:
            lines.append(f"{kept[index]} = x")
    body = "\n    ".join(lines)
    return templates.PREDICT.format(
        inputs=network.inputs,
        shape=_shape(network),
        result="x[:, 0]" if _has_one_axis(network) else "x",
        lines=body,
    )


def _tuple(variable: str, values: Sequence[object], comment: str) -> str:
    """Return the definition of a tuple, one value a line."""
    lines = "".join(f"    {value!a},\n" for value in values)
    return f"{variable} = (  # {comment}\n{lines})"


def _tensors(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the definition of all arrays by name."""
    entries = []
    for name, values in tensors.items():
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        lines = "\n".join(text[i : i + _LINE] for i in range(0, len(text), _LINE))
        entries.append(f'    "{name}": _array("""\n{lines}\n"""),\n')
    return f"{templates.ARRAY}\n\nTENSORS = {{\n{''.join(entries)}}}\n"
