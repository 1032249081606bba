"""A network or an ensemble as one C99 file that needs the standard library and nothing else.

The file has the weights as constants and functions to predict one row or many; for a network for
tables, also a struct for a row and a function that encodes it (`fastnet.export.c.tables`). No
function allocates or keeps state. Under one macro the file is its own header, under another a
program (`fastnet.export.c.program`). Texts from the network enter it as literals of ASCII
characters and escapes only.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from fastnet.export.c import fixed_source, forward, program, selftest, templates
from fastnet.export.c import jacobian as derivatives
from fastnet.export.c.fixed import fixed_for
from fastnet.export.c.literals import texts
from fastnet.export.c.memory import memory_of
from fastnet.export.c.names import filled, prefix_of
from fastnet.export.c.opening import opening
from fastnet.export.c.tables import row_of
from fastnet.export.combination import Predictor, combination_of
from fastnet.utils.names import FixedName


def content(
    predictor: Predictor,
    name: str,
    *,
    jacobian: bool = False,
    fixed: FixedName | None = None,
    rows: Any = None,
) -> bytes:
    """Return the source, whose public names begin with `name` made fit for C, in ASCII."""
    whole, prefix = combination_of(predictor), prefix_of(name)
    fill = partial(filled, prefix=prefix, dtype=whole.dtype)
    row = row_of(whole, prefix)
    made = fixed_for(whole, fixed, rows, jacobian=jacobian)
    labels = whole.schema.class_names
    names = {"labels": labels} if labels else {"outputs": whole.schema.column_names}

    # Declarations, which are all that is left where NAME_HEADER is defined.
    declared = [
        "void NAME_predict(const REAL *x, REAL *y);",
        "void NAME_predict_rows(const REAL *x, size_t rows, REAL *y);",
        *(f"extern const char *const NAME_{key}[{len(value)}];" for key, value in names.items()),
        *(["size_t NAME_class(const REAL *y);"] if labels else []),
        *(["void NAME_deviations(REAL *y);"] if whole.has_deviations else []),
        *([derivatives.DECLARED] if jacobian else []),
    ]

    # Definitions.
    if made is None:
        defined = forward.definitions(whole, jacobian=jacobian)
    else:
        defined = fixed_source.definitions(whole, made)
    if jacobian:
        defined += derivatives.definitions(whole)
    if labels:
        defined.append(templates.CLASS)
    if whole.has_deviations:
        defined.append(templates.DEVIATIONS)

    # What has texts of the network in it is no template, and is not filled.
    sizes = f"#define NAME_INPUTS {whole.inputs}\n#define NAME_OUTPUTS {whole.outputs}\n"
    parts = [
        opening(whole, row, name, jacobian=jacobian, fixed=made),
        fill(f"{templates.BEGIN}{sizes}"),
        *([] if row is None else [row.declarations()]),
        fill("\n".join([*declared, templates.MIDDLE, *defined])),
        *([] if row is None else [row.definitions()]),
        *(texts(f"{prefix}_{key}", value) for key, value in names.items()),
        program.definitions(whole, row, prefix),
        selftest.definitions(whole, row, prefix, made),
        "#endif\n",
    ]
    return "\n".join(parts).encode("ascii")


def usage(
    predictor: Predictor,
    path: Path,
    *,
    jacobian: bool = False,
    fixed: FixedName | None = None,
    rows: Any = None,
) -> str:
    """Return how the file is compiled and called."""
    whole, prefix = combination_of(predictor), prefix_of(path.stem)
    calls = f"{prefix}_predict(x, y)"
    if whole.takes_tables:
        calls = f"{prefix}_encode(&row, x), which takes a table's row as a struct, and {calls}"
    if jacobian:
        calls = f"{calls}, and {prefix}_jacobian(x, y, dy)"
    row = row_of(whole, prefix)
    made = fixed_for(whole, fixed, rows, jacobian=jacobian)
    memory = memory_of(whole, row, jacobian=jacobian, fixed=made)
    about = "" if made is None else f"{made.about}\n"
    return (
        f"cc -O3 -c {path}\nIts functions are {calls}; the comment at its top has an example.\n"
        f"{about}It has {memory.constants:,} bytes of constant numbers, and needs "
        f"{memory.stack:,} bytes of stack for its arrays.\n"
        f"cc -O3 -DFASTNET_MAIN {path} -lm makes a program that reads rows and predicts them;\n"
        f"cc -O3 -DFASTNET_SELFTEST {path} -lm one that compares a row with fastnet's answer."
    )
