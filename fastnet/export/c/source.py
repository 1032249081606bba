"""A network as one C99 file that needs the standard library and nothing else.

The file has the weights as constants and functions to predict one row or many; for a network for
tables, also a struct for a row and a function that encodes it (`fastnet.export.c.tables`). No
function allocates or keeps state. Under one macro the file is its own header, under another a
program (`fastnet.export.c.program`). Texts from the network enter it as literals of ASCII
characters and escapes only.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

from fastnet._version import version
from fastnet.export.c import forward, program, templates
from fastnet.export.c.literals import numbers, texts
from fastnet.export.c.names import filled, prefix_of
from fastnet.export.c.tables import RowStruct
from fastnet.export.columns import table_of
from fastnet.export.steps import shown, steps_of
from fastnet.network import Network
from fastnet.nn.losses import GaussianNLL

_ABOUT_TABLES: Final = (
    "NAME_encode(row, x) writes x for the row of a table. A number that is NAN is missing, and",
    "so is a text that is NULL. Texts are UTF-8; blanks around them do not count, and one that is",
    "not in NAME_categories_FIELD, spelled as there, is treated as missing. The result is 0, or k",
    "where the number in field k, from 1, is infinite or too large: then all of x is NAN, and so",
    "is y.",
)

_ABOUT_PROGRAM: Final = (
    "Compiled with -DFASTNET_MAIN this file is a program: it reads a header and rows from standard",
    "input, cells between commas without quotes, and writes predictions to standard output.",
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

    # Definitions.
    defined = forward.definitions(network, steps)
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
        program.definitions(network, row, prefix),
        "#endif\n",
    ]
    return "\n".join(parts).encode("ascii")


def usage(network: Network, path: Path) -> str:
    """Return how the file is compiled and called."""
    prefix = prefix_of(path.stem)
    calls = f"{prefix}_predict(x, y)"
    if table_of(network) is not None:
        calls = f"{prefix}_encode(&row, x), which takes a table's row as a struct, and {calls}"
    return (
        f"cc -O3 -c {path}\nIts functions are {calls}; the comment at its top has an example.\n"
        f"cc -O3 -DFASTNET_MAIN {path} -lm makes a program that reads rows and writes predictions."
    )


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
    lines += ["", *_ABOUT_PROGRAM]
    return "/* " + "\n * ".join(lines).replace(" \n", "\n") + "\n */\n"
