"""The test of an exported C file by itself, under ``-DFASTNET_SELFTEST``.

The file has a row and the outputs that fastnet computes for it, and a main function that compares.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.data.times import part_of
from fastnet.export.c.fixed import Fixed, answers
from fastnet.export.c.literals import literal, numbers, numerals, wrapped
from fastnet.export.c.names import filled
from fastnet.export.c.tables import RowStruct
from fastnet.export.columns import InputColumn
from fastnet.export.combination import Combination

_ROWS: Final = 8
"""Rows that are tried: the one with the largest output is stored."""

_START: Final = np.datetime64("2024-01-31T06:45", "us")

_BEGIN: Final = """\
#ifdef FASTNET_SELFTEST
#include <stdio.h>
"""

_MAIN: Final = """\
int main(void) {
  static REAL x[NAME_INPUTS], y[NAME_OUTPUTS];
  REAL largest = 0, worst = 0;
  size_t k;
  ENCODED
  NAME_predict(x, y);
  for (k = 0; k < NAME_OUTPUTS; k++) {
    REAL size = F(fabs)(wanted[k]), difference = F(fabs)(y[k] - wanted[k]);
    largest = size > largest ? size : largest;
    if (!(difference <= worst)) worst = difference; /* NAN too */
  }
  if (!(worst <= (REAL)LIMIT * largest)) {
    printf("An output differs by %g from fastnet's, of which the largest is %g.\\n", (double)worst,
           (double)largest);
    return 1;
  }
  puts("The outputs are those of fastnet.");
  return 0;
}
#endif
"""


def definitions(
    whole: Combination,
    row: RowStruct | None,
    prefix: str,
    fixed: Fixed | None = None,
) -> str:
    """Return the test."""
    pattern = (7 * np.arange(whole.inputs) + 3 * np.arange(_ROWS)[:, None]) % 11 / 4 - 1.25
    given: Any
    if row is None:
        mean, scale = whole.encodings[0].scaling or (0.0, 1.0)
        given = (pattern * scale + mean).astype(whole.dtype)
        encoded = "for (k = 0; k < NAME_INPUTS; k++) x[k] = given[k];"
    else:
        given, cells = _table(row, pattern)
        encoded = "if (NAME_encode(&given, x) != 0) return 1;"
    if fixed is None:
        outputs = whole.predictor.predict_columns(given).astype(whole.dtype)
    else:
        z = whole.first.preprocessor.transform(given, whole.dtype)
        outputs = answers(fixed, z).astype(whole.dtype)
    chosen = int(np.abs(outputs).max(axis=1).argmax())
    if row is None:
        stored = filled(numbers("REAL given", given[chosen]), prefix, whole.dtype)
    else:
        values = wrapped(column[chosen] for column in cells)
        stored = f"static const {prefix}_row given = {{\n{values}}};\n"
    main = _MAIN.replace("ENCODED", encoded).replace("LIMIT", f"{limit(whole):.3g}")
    wanted = numbers("REAL wanted", outputs[chosen])
    rest = (filled(text, prefix, whole.dtype) for text in (wanted, main))
    return "\n".join([_BEGIN, stored, *rest])


def limit(whole: Combination) -> float:
    """Return the largest difference from rounding, as a fraction of the largest output.

    The roundings of a sum of n products add up to about the square root of n of them. Those of a
    mean are at most those of a member. A temperature below 1 makes differences larger.
    """
    terms = max(
        sum(np.sqrt(len(tensor)) for step in member.steps for tensor in step.tensors.values())
        for member in whole.members
    )
    sharpness = 1.0 if whole.mean is None else 1.0 / (whole.mean.temperature or 1.0)
    return float(16 * np.finfo(whole.dtype).eps * max(terms, 1) * max(sharpness, 1.0))


def _table(row: RowStruct, pattern: NDArray[Any]) -> tuple[dict[str, Any], list[list[str]]]:
    """Return rows as a table, and the values of each field as C writes them."""
    table: dict[str, Any] = {}
    for k, column in enumerate(row.columns.columns):
        if column.source not in table:
            missing = (np.arange(_ROWS) + len(table)) % 7 == 3
            cells = _cells(
                column, row.columns.scalings[k] == "robust", pattern[:, k % pattern.shape[1]]
            )
            cells[missing] = None
            table[column.source] = cells
    fields = []
    for _, column in row.fields:
        values = table[column.source]
        if column.categories:
            fields.append(["NULL" if value is None else literal(value) for value in values])
        elif column.part:
            times = np.array(["NaT" if t is None else t for t in values], "M8[us]")
            fields.append(numerals(np.asarray(part_of(times, column.part), float)))
        else:
            fields.append(numerals(np.array(values, float)))
    return table, fields


def _cells(column: InputColumn, robust: bool, pattern: NDArray[Any]) -> NDArray[Any]:
    """Return values of a column, by a pattern of numbers around 0, as an array of objects."""
    steps = np.rint(4 * pattern).astype(np.int64) + 5
    cells: NDArray[Any] = np.full(len(steps), None, object)
    if column.categories:
        cells[:] = [column.categories[k % len(column.categories)] for k in steps]
    elif column.part:
        cells[:] = (_START + steps * np.timedelta64(1001, "m")).tolist()
    elif column.truths:
        cells[:] = (steps % 2).astype(float)
    elif column.kind == "numeric":
        with np.errstate(all="ignore"):
            factor = np.float64(column.factor)
            values = column.center + pattern * (1 / factor if robust else factor)
        cells[:] = np.where(np.isfinite(values), values, column.center)
    return cells
