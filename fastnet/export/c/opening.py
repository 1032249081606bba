"""The comment at the top of an exported C file."""

from __future__ import annotations

import re
from functools import partial
from textwrap import wrap
from typing import Final

from fastnet._version import version
from fastnet.export.c import jacobian as derivatives
from fastnet.export.c.fixed import Fixed
from fastnet.export.c.memory import memory_of
from fastnet.export.c.names import filled, prefix_of
from fastnet.export.c.tables import RowStruct
from fastnet.export.combination import Combination

_ABOUT_TABLES: Final = (
    "NAME_encode(row, x) writes x for the row of a table. A number that is NAN is missing, and",
    "so is a text that is NULL. Texts are UTF-8; blanks around them do not count, and one that is",
    "not in NAME_categories_FIELD, spelled as there, is treated as missing. The result is 0, or k",
    "where the number in field k, from 1, is infinite or too large: then all of x is NAN, and so",
    "is y.",
)

_ABOUT_PROGRAMS: Final = (
    "Compiled with -DFASTNET_MAIN this file is a program: it reads a header and rows from standard",
    "input, cells between commas without quotes, and writes predictions to standard output. With",
    "-DFASTNET_SELFTEST it compares its outputs for one row with those that fastnet computed.",
)


def opening(
    whole: Combination,
    row: RowStruct | None,
    name: str,
    *,
    jacobian: bool,
    fixed: Fixed | None,
) -> str:
    """Return the comment that says what the file is and how it is used, with an example."""
    fill = partial(filled, prefix=prefix_of(name), dtype=whole.dtype)
    classes = whole.schema.class_names
    memory = memory_of(whole, row, jacobian=jacobian, fixed=fixed)
    of = "jacobian" if jacobian else "predict"
    path = re.sub(r"[^A-Za-z0-9_. -]", "_", name)
    lines = [
        f"{whole.title}, exported by fastnet {version}:",
        "C99, needs the standard library only.",
        "",
        *whole.described(),
        "",
        fill("Compile this file. To call its functions, include it too, after NAME_HEADER is"),
        "defined: then it has their declarations alone. An example:",
        "",
        fill("  #define NAME_HEADER"),
        f'  #include "{path}.c"',
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
    if whole.has_deviations:
        lines.append(fill("NAME_deviations(y) turns the second half of y, which are logarithms of"))
        lines.append("variances, into standard deviations.")
    lines += map(fill, derivatives.ABOUT) if jacobian else []
    lines.append("Nothing is allocated, and several threads may call these functions at once.")
    lines += [
        "",
        *([] if fixed is None else wrap(fixed.about, 96)),
        f"Constant numbers: {memory.constants:,} bytes, with the zeros that end rows of weights.",
        fill(f"Stack: {memory.stack:,} bytes of arrays in NAME_{of}, and what the compiler adds."),
        f'Code: as the compiler makes it; "size {path}.o" says how much.',
        "",
        *_ABOUT_PROGRAMS,
    ]
    return "/* " + "\n * ".join(lines).replace(" \n", "\n") + "\n */\n"
