"""A network as one Python file that needs NumPy and nothing else.

The file has a line for each step, the formulas of the activations it uses, and the weights as
base64 of NPY bytes. Run as a program it reads CSV and writes predictions as ``fastnet predict``
does. A network for tables takes what the file's ``encode(table)`` returns. Texts from the network
(labels, column names) enter it as ASCII literals only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet._version import version
from fastnet.export.columns import schema_of, table_of
from fastnet.export.python import tables, templates
from fastnet.export.steps import Affine, Normalize, Step, activations_of, shown, steps_of
from fastnet.nn.losses import GaussianNLL

if TYPE_CHECKING:
    from fastnet.network import Network

_ABOUT_TABLES: Final = (
    "encode takes columns by name, numbers and texts with missing values; outputs are in the unit",
    "of the targets. COLUMNS has name, kind and categories of each.",
)

_LINE: Final = 96


def content(network: Network, name: str) -> bytes:
    """Return the source of a module with ``predict(x)`` for this network, in ASCII."""
    steps = steps_of(network)
    tensors = {f"{part}{k}": getattr(s, part) for k, s in enumerate(steps) for part in "wb"}
    lines = [_line(index, step) for index, step in enumerate(steps)]
    if network.scaler is not None:
        tensors |= {"mean": network.scaler.mean, "scale": network.scaler.scale}
        lines.insert(0, 'x = ((x - TENSORS["mean"]) / TENSORS["scale"]).astype(DTYPE)')
    functions = [templates.STEPS[kind] for kind in dict.fromkeys(map(type, steps))]
    for activation in activations_of(steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    schema = schema_of(network)
    labels = network.output_schema.class_names
    rows = templates.VALUES if labels is None else templates.CLASSES
    if labels is None and isinstance(network.loss, GaussianNLL):
        rows = templates.DEVIATIONS
        tensors["floors"] = network.output_schema.log_variance_floors.astype(network.dtype)
    table = table_of(network)
    if table is None:
        columns: list[object] = [(column.name, column.categories) for column in schema.columns]
        features = schema.feature_names if schema.named else None
        taken, encode, named = f"(N, {network.inputs}) numbers", templates.ENCODE, schema.named
    else:
        columns = [(column.name, column.kind, column.categories) for column in table.columns]
        features, encode, named = table.features, tables.source(table), table.named
        taken = "what encode(table) returns: predict(encode(table))"
        tensors |= tables.tensors(table)
    parts = [
        f'"""A neural network, exported by fastnet {version}: needs NumPy and nothing else.',
        "",
        *(f"    {index}  {shown(layer)}" for index, layer in enumerate(network.layers)),
        "",
        f"predict(x) takes {taken}, and returns (N, {network.outputs}).",
        *([] if table is None else _ABOUT_TABLES),
        "As a program it reads a table as CSV and writes predictions as CSV.",
        '"""',
        "",
        "import base64",
        "import io",
        "",
        "import numpy as np",
        "",
        f"DTYPE = np.{network.dtype.name}",
        f"INPUTS = {network.inputs}",
        f"NAMED = {named}  # whether tables have a header that names their columns",
        _tuple("COLUMNS", columns, "columns of a table: name, and categories of a text"),
        *([] if table is None else [_tuple("FULL", table.full, "unnamed columns with targets")]),
        _tuple("FEATURES", features, "names of the inputs, in order"),
        _tuple("LABELS", labels, "names of the classes, in the order of the outputs"),
        _tuple("OUTPUTS", network.output_schema.column_names, "the header of the predictions"),
        "",
        *(f"\n{source}" for source in functions),
        "",
        '@np.errstate(all="ignore")  # what overflows is infinite, as in fastnet',
        "def predict(x):",
        f'    """Return the outputs (N, {network.outputs}) for x (N, {network.inputs})."""',
        "    x = np.asarray(x" + (", DTYPE)" if network.scaler is None else ", np.float64)"),
        "    if x.ndim != 2 or x.shape[1] != INPUTS:",
        '        raise ValueError(f"x must have the shape (N, {INPUTS}), got {x.shape}.")',
        *(f"    {line}" for line in lines),
        "    return x",
        rows + encode + templates.PROGRAM,
        "",
        "def _array(text):",
        "    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)",
        "",
        "",
        _tensors(tensors),
        "",
        'if __name__ == "__main__":',
        "    main()",
        "",
    ]
    return "\n".join(parts).encode("ascii")


def usage(network: Network, path: Path) -> str:
    """Return how the file is used."""
    call = "predict(x)" if network.preprocessor is None else "predict(encode(table))"
    return f"python {path} < rows.csv > predictions.csv, or its function {call}"


def _line(index: int, step: Step) -> str:
    """Return the line of ``predict`` for a step."""
    if isinstance(step, Normalize):
        value = f'normalize(x, "{index}", {step.epsilon!r})'
    else:
        value = f'{"dense" if isinstance(step, Affine) else "scale"}(x, "{index}")'
    return f"x = {value}" if step.activation == "identity" else f"x = {step.activation}({value})"


def _tuple(variable: str, values: Sequence[object] | None, comment: str) -> str:
    """Return the definition of a tuple, one value a line, or of None."""
    if values is None:
        return f"{variable} = None  # {comment}"
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
        entries.append(f'    "{name}": _array("""\n{lines}\n"""),')
    return "\n".join(["TENSORS = {", *entries, "}", ""])
