"""A network as one C99 file that needs the standard library and nothing else.

The file has the weights as constants and functions to predict one row or many; for a network for
tables, also a struct for a row and a function that encodes it (`fastnet.export.c.tables`). No
function allocates or keeps state. Under a macro the file is its own header. Texts from the network
enter it as literals of ASCII characters and escapes only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from fastnet._version import version
from fastnet.export.c import templates
from fastnet.export.c.literals import numbers, texts
from fastnet.export.c.names import filled, prefix_of
from fastnet.export.c.tables import RowStruct
from fastnet.export.columns import scaling_of, table_of
from fastnet.export.steps import (
    Add,
    Affine,
    Normalize,
    Scale,
    Step,
    activations_of,
    shown,
    steps_of,
)
from fastnet.network import Network
from fastnet.nn.losses import GaussianNLL

_STEPS: Final[dict[type[Step], str]] = {
    Affine: templates.AFFINE,
    Scale: templates.SCALE,
    Normalize: templates.NORMALIZE,
    Add: templates.ADD,
}

_ABOUT_TABLES: Final = (
    "NAME_encode(row, x) writes x for the row of a table. A number that is NAN is missing, and",
    "so is a text that is NULL. Texts are UTF-8; blanks around them do not count, and one that is",
    "not in NAME_categories_FIELD, spelled as there, is treated as missing. The result is 0, or k",
    "where the number in field k, from 1, is infinite or too large: then all of x is NAN, and so",
    "is y.",
)


def content(network: Network, name: str) -> bytes:
    """Return the source, whose public names begin with `name` made fit for C, in ASCII."""
    steps, table, prefix = steps_of(network), table_of(network), prefix_of(name)
    fill = partial(filled, prefix=prefix, dtype=network.dtype)
    row = None if table is None else RowStruct.of(table, prefix, network.dtype)
    labels = network.output_schema.class_names
    deviations = labels is None and isinstance(network.loss, GaussianNLL)
    names = {"labels": labels} if labels else {"outputs": network.output_schema.column_names}

    # Declarations, which are all that is left where NAME_HEADER is defined.
    declared = [
        "void NAME_predict(const REAL *x, REAL *y);",
        "void NAME_predict_rows(const REAL *x, size_t rows, REAL *y);",
        *(f"extern const char *const NAME_{key}[{len(value)}];" for key, value in names.items()),
        *(["size_t NAME_class(const REAL *y);"] if labels else []),
        *(["void NAME_deviations(REAL *y);"] if deviations else []),
    ]

    # Definitions: of the functions for the kinds of steps and activations that there are.
    functions = [_STEPS[kind] for kind in dict.fromkeys(map(type, steps))]
    for activation in activations_of(steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    defined = [*functions, _weights(network, steps), _predict(network, steps), templates.ROWS]
    if labels:
        defined.append(templates.CLASS)
    if deviations:
        floors = network.output_schema.log_variance_floors.astype(network.dtype)
        defined += [numbers("REAL floors", floors), templates.DEVIATIONS]

    # What has texts of the network in it is no template, and is not filled.
    sizes = f"#define NAME_INPUTS {network.inputs}\n#define NAME_OUTPUTS {network.outputs}\n"
    parts = [
        _opening(network, name, row, classes=bool(labels), deviations=deviations),
        fill(f"{templates.BEGIN}{sizes}"),
        *([] if row is None else [row.declarations()]),
        fill("\n".join([*declared, templates.MIDDLE, *defined])),
        *([] if row is None else [row.definitions()]),
        *(texts(f"{prefix}_{key}", value) for key, value in names.items()),
        "#endif\n",
    ]
    return "\n".join(parts).encode("ascii")


def usage(network: Network, path: Path) -> str:
    """Return how the file is compiled and called."""
    prefix = prefix_of(path.stem)
    calls = f"{prefix}_predict(x, y)"
    if table_of(network) is not None:
        calls = f"{prefix}_encode(&row, x), which takes a table's row as a struct, and {calls}"
    return f"cc -O3 -c {path}\nIts functions are {calls}; the comment at its top has an example."


def _opening(
    network: Network, name: str, row: RowStruct | None, *, classes: bool, deviations: bool
) -> str:
    """Return the comment that says what the file is and how it is used, with an example."""
    fill = partial(filled, prefix=prefix_of(name), dtype=network.dtype)
    lines = [
        f"A neural network, exported by fastnet {version}: C99, needs the standard library only.",
        "",
        *(f"  {index}  {shown(layer)}" for index, layer in enumerate(network.layers)),
        "",
        fill("Compile this file. To call its functions, include it too, after NAME_HEADER is"),
        "defined: then it has their declarations alone. An example:",
        "",
        fill("  #define NAME_HEADER"),
        f'  #include "{re.sub(r"[^A-Za-z0-9_. -]", "_", name)}.c"',
        "",
        fill("  REAL x[NAME_INPUTS] = {0}, y[NAME_OUTPUTS];"),
        *([] if row is None else [f"  {line}" for line in row.example()]),
        fill("  NAME_predict(x, y);"),
        *([fill('  printf("%s\\n", NAME_labels[NAME_class(y)]);')] if classes else []),
        "",
        fill("NAME_predict(x, y) takes one row, x[NAME_INPUTS], and writes y[NAME_OUTPUTS]."),
        fill("NAME_predict_rows(x, rows, y) takes many rows, one after the other."),
        *([] if row is None else map(fill, _ABOUT_TABLES)),
    ]
    if classes:
        lines.append(fill("NAME_class(y) returns the likeliest class, an index of NAME_labels."))
    if deviations:
        lines.append(fill("NAME_deviations(y) turns the second half of y, which are logarithms of"))
        lines.append("variances, into standard deviations.")
    lines.append("Nothing is allocated, and several threads may call these functions at once.")
    return "/* " + "\n * ".join(lines).replace(" \n", "\n") + "\n */\n"


def _weights(network: Network, steps: Sequence[Step]) -> str:
    """Return the definitions of all constants."""
    lines = []
    scaling = scaling_of(network)
    if scaling is not None:
        pairs = zip(("mean", "scale"), scaling, strict=True)
        lines += [numbers(f"double input_{part}", values) for part, values in pairs]
    for index, step in enumerate(steps):
        for part, values in step.tensors.items():
            lines.append(numbers(f"REAL {part}{index}", values))
    return "\n".join(lines)


def _predict(network: Network, steps: Sequence[Step]) -> str:
    """Return the function for one row: a line for each step, between two buffers."""
    lines, widths, source = [], {}, "x"
    buffers = ["first", "second"]
    # What a residual connection reads later has memory of its own.
    kept = {step.skip: f"kept{step.skip}" for step in steps if isinstance(step, Add)}
    if -1 in kept:
        kept[-1] = "x" if scaling_of(network) is None else "kept"
    if scaling_of(network) is not None:
        # In double: a large mean would cost single precision its digits.
        scaled = kept.get(-1, "first")
        lines.append(
            f"for (size_t i = 0; i < {network.inputs}; i++) "
            f"{scaled}[i] = (REAL)(((double)x[i] - input_mean[i]) / input_scale[i]);"
        )
        widths[scaled], source = network.inputs, scaled
    lines.append(f"for (size_t i = 0; i < {network.inputs}; i++) gap += {source}[i] - {source}[i];")
    for index, step in enumerate(steps):
        # The last step writes y; the others write the buffer that the one before did not.
        width = step.width
        into = "y" if index == len(steps) - 1 else kept.get(index, buffers[source == "first"])
        if into != "y":
            widths[into] = max(width, widths.get(into, 0))
        if isinstance(step, Affine):
            lines.append(f"affine({source}, {len(step.w)}, w{index}, b{index}, {into}, {width});")
        elif isinstance(step, Scale):
            lines.append(f"scale({source}, w{index}, b{index}, {into}, {width});")
        elif isinstance(step, Add):
            lines.append(f"add({source}, {kept[step.skip]}, {into}, {width});")
        else:
            epsilon = f"(REAL){step.epsilon!r}"
            lines.append(f"normalize({source}, w{index}, b{index}, {epsilon}, {into}, {width});")
        if step.activation != "identity":
            lines.append(f"apply_{step.activation}({into}, {width});")
        source = into
    lines.append(f"for (size_t o = 0; o < {network.outputs}; o++) y[o] += gap;")
    declared = ["REAL gap = 0; /* NAN if an input is not finite: there is no answer to it. */"]
    declared += [f"REAL {name}[{width}];" for name, width in widths.items()]
    body = "".join(f"  {line}\n" for line in (*declared, *lines))
    return f"void NAME_predict(const REAL *x, REAL *y) {{\n{body}}}\n"
