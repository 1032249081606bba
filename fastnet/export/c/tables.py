"""The part of an exported C file that takes tables: what a row's columns become, and cells of CSV.

A row is one double for each column: a number, or the index of a category; NaN where it is missing,
and any other number, such as -1, for a category that is not known.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fastnet.data.frame import NO_WORD
from fastnet.data.text import MISSING
from fastnet.export.c.literals import literal, numbers, numerals, wrapped
from fastnet.export.columns import LARGEST_SCALED, InputColumn, InputTable
from fastnet.preprocessing.columns import SMOOTH_CLIP

_SCALED: Final = f"""\
/* A number, scaled and clipped smoothly; what is no number stays so. */
static double scaled(double x, double center, double factor) {{
  double z = x - center;
  if (z > DBL_MAX) z = DBL_MAX; /* infinity times 0 is no number */
  if (z < -DBL_MAX) z = -DBL_MAX;
  z *= factor;
  if (z > {LARGEST_SCALED!r}) z = {LARGEST_SCALED!r};
  if (z < -{LARGEST_SCALED!r}) z = -{LARGEST_SCALED!r};
  return z / hypot(1.0, z / {SMOOTH_CLIP!r});
}}
"""

_ONE_HOT: Final = """\
/* An input for each category: hot[k] in category k, cold[k] elsewhere. */
static void one_hot(double code, const REAL *hot, const REAL *cold, REAL *y, size_t n) {
  size_t k;
  for (k = 0; k < n; k++) y[k] = code == (double)k ? hot[k] : cold[k];
}
"""

_PERIODIC: Final = f"""\
/* Sines and cosines of a scaled number; 0 where it is missing. */
static void embed(double z, const double *frequencies, REAL *y, size_t n) {{
  size_t k;
  for (k = 0; k < n; k++) {{
    double angle = {2 * np.pi!r} * z * frequencies[k];
    y[k] = z == z ? (REAL)sin(angle) : 0;
    y[n + k] = z == z ? (REAL)cos(angle) : 0;
  }}
}}
"""

_PIECEWISE: Final = """\
/* The share of each bin between n ends that lies below a scaled number; 0 where it is missing.
   A bin without width is a step of the number itself. */
static void embed(double x, double z, const double *ends, const double *steps, REAL *y, size_t n) {
  size_t k;
  for (k = 0; k + 1 < n; k++) {
    double size = ends[k + 1] - ends[k];
    double share = size > 0 ? (z - ends[k]) / size : (x > steps[k] ? 1 : 0);
    y[k] = !(share > 0) ? 0 : (REAL)(share > 1 ? 1 : share);
  }
}
"""

_EMBED: Final = {"periodic": _PERIODIC, "piecewise": _PIECEWISE}

_KINDS: Final = {"numeric": "NUMERIC", "categorical": "CATEGORICAL", "empty": "EMPTY"}

ENCODE: Final = f"""\
enum {{ NUMERIC, CATEGORICAL, EMPTY }};
KINDS
/* How tables write that there is no word, and no number; in lower case. */
static const char *const no_word[] = {{
{wrapped(map(literal, sorted(NO_WORD)))}  NULL
}};
static const char *const no_number[] = {{
{wrapped(map(literal, sorted(MISSING)))}  NULL
}};

static int is_among(const char *cell, const char *const *words) {{
  size_t k;
  for (; *words != NULL; words++) {{
    for (k = 0;; k++) {{
      int c = cell[k] >= 'A' && cell[k] <= 'Z' ? cell[k] - 'A' + 'a' : cell[k];
      if (c != (*words)[k]) break;
      if (c == '\\0') return 1;
    }}
  }}
  return 0;
}}

/* Read a cell that is a decimal number, infinity or what is no number; return 0 if it is not. */
static int read_number(const char *cell, double *value) {{
  char *end;
  *value = strtod(cell, &end);
  return end != cell && *end == '\\0' && strpbrk(cell, "xX(") == NULL;
}}

/* Return the category that a cell names; -1 if there is none. */
static double category_of(const char *cell, size_t column) {{
  size_t k;
  for (k = 0; k < NAME_category_counts[column]; k++) {{
    if (strcmp(cell, NAME_categories[column][k]) == 0) return (double)k;
  }}
  return -1;
}}

size_t NAME_encode(const char *const *cells, double *x) {{
  size_t column;
  for (column = 0; column < COLUMNS; column++) {{
    const char *cell = cells[column];
    x[column] = NAN;
    if (kinds[column] == CATEGORICAL && !is_among(cell, no_word)) {{
      x[column] = category_of(cell, column);
    }}
    if (kinds[column] == NUMERIC && !is_among(cell, no_number)) {{
      if (!read_number(cell, &x[column]) || x[column] > DBL_MAX || x[column] < -DBL_MAX) {{
        return column + 1;
      }}
    }}
  }}
  return 0;
}}
"""
"""Cells of CSV to the numbers of a row; ``KINDS`` stands for those of the columns."""

MATCH: Final = """\
  for (k = 0; k < width && read_number(text + starts[k], &number); k++) continue;
  data = k == width; /* a first row of numbers is no header */
  for (column = 0; column < COLUMNS; column++) {
    if (NAMED && !data) {
      for (k = 0; k < width && strcmp(text + starts[k], NAME_columns[column]) != 0;) k++;
      if (k == width && kinds[column] != EMPTY) {
        fail(0, "the header lacks the column ", NAME_columns[column]);
      }
      position[column] = k;
      continue;
    }
    position[column] = data && width == full_width ? full_position[column] : column;
  }
  if ((data || !NAMED) && width != COLUMNS && !(data && width == full_width)) {
    fail(0, "the number of columns is wrong", "");
  }
"""
"""Where the program finds the columns in a file; `full` is of files with their targets."""


def encode(table: InputTable) -> str:
    """Return the functions that read the cells of a row."""
    kinds = wrapped(_KINDS[column.kind] for column in table.columns)
    return ENCODE.replace("KINDS\n", f"static const int kinds[COLUMNS] = {{\n{kinds}}};\n\n")


def match(table: InputTable) -> str:
    """Return the lines of the program that find the columns in a file."""
    names = table.full or ()
    positions = [names.index(column.name) if names else 0 for column in table.columns]
    return (
        "  double number;\n"
        f"  const size_t full_width = {len(names)};\n"
        f"  static const size_t full_position[COLUMNS] = {{\n{wrapped(map(str, positions))}}};\n"
        f"{MATCH}"
    )


def transform(table: InputTable, dtype: np.dtype[Any]) -> str:
    """Return the function that makes the inputs of a row: some lines for each column."""
    kinds = {column.kind for column in table.columns}
    several = any(column.cold.size == len(column.categories) > 0 for column in table.columns)
    parts = [_SCALED] if "numeric" in kinds else []
    parts += [_ONE_HOT] if several else []
    if table.embedding is not None:
        parts.append(_EMBED[table.embedding])
    body = []
    for index, column in enumerate(table.columns):
        constants, lines = _lines(index, column, dtype)
        parts += constants
        body += lines
    declared = ["double z;"] if "numeric" in kinds else []
    text = "".join(f"  {line}\n" for line in (*declared, *body))
    head = "/* The inputs y of the network for the columns x of a row. */\n"
    return "\n".join(parts) + (
        f"\n{head}static void transform(const double *x, REAL *y) {{\n{text}}}\n"
    )


def _lines(index: int, column: InputColumn, dtype: np.dtype[Any]) -> tuple[list[str], list[str]]:
    """Return the constants of a column, and its lines in `transform`."""
    x, at = f"x[{index}]", column.at
    if column.kind == "empty":
        return [], []
    if column.kind == "numeric":
        lines = [
            f"z = scaled({x}, {column.center!r}, {column.factor!r});",
            f"y[{at}] = {x} == {x} ? (REAL)z : 0;",
        ]
        constants = []
        if column.knots.size:
            constants.append(numbers(f"double knots{index}", column.knots))
            given = f"z, knots{index}"
            if column.steps.size:
                constants.append(numbers(f"double steps{index}", column.steps))
                given = f"{x}, {given}, steps{index}"
            lines.append(f"embed({given}, y + {at + 1}, {column.knots.size});")
        if column.indicator.size:
            there, missing = numerals(column.indicator.astype(dtype))
            lines.append(f"y[{at + column.width - 1}] = {x} == {x} ? {there} : {missing};")
        return constants, lines
    hot, cold = column.hot.astype(dtype), column.cold.astype(dtype)
    if cold.size < hot.size:
        first, second = numerals(hot)
        return [], [f"y[{at}] = {x} == 0 ? {first} : {x} == 1 ? {second} : {numerals(cold)[0]};"]
    constants = [numbers(f"REAL hot{index}", hot), numbers(f"REAL cold{index}", cold)]
    return constants, [f"one_hot({x}, hot{index}, cold{index}, y + {at}, {hot.size});"]
