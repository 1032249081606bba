"""The part of an exported C file that takes tables: a row as a struct, and its encoding.

The struct has a field for each column: a ``double`` for a number, NAN where it is missing; a
``const char *`` for a text, NULL where it is missing. Field names come from column names, and so
this module writes final C: filling in templates could mistake a field for one of their words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastnet.export.c.literals import numbers, numerals, texts
from fastnet.export.c.names import fields_of, real
from fastnet.export.columns import LARGEST_SCALED, InputColumn, InputTable, table_of
from fastnet.network import Network
from fastnet.preprocessing.scaling import SMOOTH_CLIP, Scaling

_NO_FAST_MATH: Final = """\
#if (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(_M_FP_FAST)
#error "compile this file without -ffast-math: a number that is missing is NAN"
#endif
"""

_ROBUST: Final = f"""\
/* A number, scaled and clipped smoothly; NAN stays NAN. */
static double scaled(double x, double center, double factor) {{
  double z = x - center;
  if (z > DBL_MAX) z = DBL_MAX; /* infinity times 0 would be NAN */
  if (z < -DBL_MAX) z = -DBL_MAX;
  z *= factor;
  if (z > {LARGEST_SCALED!r}) z = {LARGEST_SCALED!r};
  if (z < -{LARGEST_SCALED!r}) z = -{LARGEST_SCALED!r};
  return z / hypot(1.0, z / {SMOOTH_CLIP!r});
}}
"""

_STANDARD: Final = """\
/* A number, standardised; NAN stays NAN. */
static double scaled(double x, double center, double factor) {
  return (x - center) / factor;
}
"""

_FLOAT32: Final = """\
/* A number, rounded to float and standardised; NAN stays NAN. */
static double scaled(double x, double center, double factor) {
  return ((double)(float)x - center) / factor;
}
"""

_SCALED: Final[dict[Scaling, str]] = {
    "robust": _ROBUST,
    "standard": _STANDARD,
    "none": _STANDARD,
    "float32": _FLOAT32,
}

BLANKS: Final = """\
/* The bytes of the blank of Unicode that a text begins with; 0 if it begins with something else. */
static size_t blank(const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  if ((s[0] >= 9 && s[0] <= 13) || (s[0] >= 28 && s[0] <= 32)) return 1;
  if (s[0] == 0xC2) return s[1] == 0x85 || s[1] == 0xA0 ? 2 : 0;
  if (s[0] == 0xE1) return s[1] == 0x9A && s[2] == 0x80 ? 3 : 0;
  if (s[0] == 0xE3) return s[1] == 0x80 && s[2] == 0x80 ? 3 : 0;
  if (s[0] != 0xE2) return 0;
  if (s[1] == 0x81) return s[2] == 0x9F ? 3 : 0;
  if (s[1] != 0x80) return 0;
  return (s[2] >= 0x80 && s[2] <= 0x8A) || s[2] == 0xA8 || s[2] == 0xA9 || s[2] == 0xAF ? 3 : 0;
}

/* Move a text past the blanks before it; its length without those after it. */
static size_t trimmed(const char **text) {
  size_t length = 0, at = 0;
  while (blank(*text)) *text += blank(*text);
  while ((*text)[at] != 0) {
    size_t skipped = blank(*text + at);
    at += skipped ? skipped : 1;
    if (!skipped) length = at;
  }
  return length;
}
"""
"""What `str.strip` does, in UTF-8."""

_INDEX_OF: Final = """\
/* The index of a text, without blanks around it, in a list; -1 where it is NULL or not there. */
static int index_of(const char *text, const char *const *list, int n) {
  size_t length;
  int k;
  if (text == NULL) return -1;
  length = trimmed(&text);
  for (k = 0; k < n; k++) {
    if (strlen(list[k]) == length && memcmp(text, list[k], length) == 0) return k;
  }
  return -1;
}
"""

_ONE_HOT: Final = """\
/* An input for each category: hot[k] for category k, cold[k] for the others. */
static void one_hot(int category, const REAL *hot, const REAL *cold, REAL *y, int n) {
  int k;
  for (k = 0; k < n; k++) y[k] = k == category ? hot[k] : cold[k];
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
/* The fraction of each bin between n ends that lies below a scaled number; 0 where it is missing.
   A bin without width is a step of the number itself. */
static void embed(double x, double z, const double *ends, const double *steps, REAL *y, size_t n) {
  size_t k;
  for (k = 0; k + 1 < n; k++) {
    double size = ends[k + 1] - ends[k];
    double fraction = size > 0 ? (z - ends[k]) / size : (x > steps[k] ? 1 : 0);
    y[k] = !(fraction > 0) ? 0 : (REAL)(fraction > 1 ? 1 : fraction);
  }
}
"""

_EMBED: Final = {"periodic": _PERIODIC, "piecewise": _PIECEWISE}


def row_of(network: Network, prefix: str) -> RowStruct | None:
    """Return the struct of the rows of a network's tables; None if it takes plain inputs."""
    table = table_of(network)
    return None if table is None else RowStruct.of(table, prefix, network.dtype)


@dataclass(frozen=True, eq=False)
class RowStruct:
    """The struct of a table's row.

    Attributes
    ----------
    prefix : str
        Of the file's public names.
    dtype : dtype
        Of the network.
    table : InputTable
    fields : list of (str, InputColumn)
        The name of the field and its column, for each column that becomes an input.
    """

    prefix: str
    dtype: np.dtype[Any]
    table: InputTable
    fields: list[tuple[str, InputColumn]]

    @classmethod
    def of(cls, table: InputTable, prefix: str, dtype: np.dtype[Any]) -> RowStruct:
        """Return the struct of a table; an empty column has no field."""
        columns = [column for column in table.columns if column.kind != "empty"]
        names = fields_of([column.name for column in columns])
        return cls(prefix, dtype, table, list(zip(names, columns, strict=True)))

    def categories(self, field: str) -> str:
        """Return the name of the array of a field's categories."""
        return f"{self.prefix}_categories_{field}"

    # --- text of the file ------------------------------------------------------------------------

    def declarations(self) -> str:
        """Return the struct, and what is declared along with it."""
        lines = ["typedef struct {"]
        for field, column in self.fields:
            kind = "double " if column.kind == "numeric" else "const char *"
            # An asterisk is escaped, so that no name can end the comment.
            name = json.dumps(column.name).replace("*", "\\u002a")
            comment = "" if field == column.name else f" /* {name} */"
            lines.append(f"  {kind}{field};{comment}")
        lines += [f"}} {self.prefix}_row;", ""]
        for field, column in self.fields:
            if column.categories:
                size = len(column.categories)
                lines.append(f"extern const char *const {self.categories(field)}[{size}];")
        lines += [
            f"extern const {self.prefix}_row {self.prefix}_missing;",
            f"int {self.prefix}_encode(const {self.prefix}_row *row, {real(self.dtype)} *x);",
        ]
        return "\n".join(lines)

    def example(self) -> list[str]:
        """Return lines that encode a row: a number, a text, and all else missing."""
        lines = [f"{self.prefix}_row row = {self.prefix}_missing;  (no column has a value yet)"]
        firsts = {column.kind: field for field, column in reversed(self.fields)}
        if "numeric" in firsts:
            lines.append(f"row.{firsts['numeric']} = 1.5;")
        if "categorical" in firsts:
            field = firsts["categorical"]
            lines.append(f"row.{field} = {self.categories(field)}[0];")
        return [*lines, f"if ({self.prefix}_encode(&row, x) != 0) return 1;"]

    def definitions(self) -> str:
        """Return the constants and functions behind the declarations."""
        columns = [column for _, column in self.fields]
        helpers = []
        if any(column.kind == "numeric" for column in columns):
            helpers += [_NO_FAST_MATH, _SCALED[self.table.scaling]]
        if self.table.embedding is not None:
            helpers.append(_EMBED[self.table.embedding])
        if any(column.kind == "categorical" for column in columns):
            helpers += [BLANKS, _INDEX_OF]
        if any(column.one_hot for column in columns):
            helpers.append(_ONE_HOT)
        constants, body = [], []
        for number, (field, column) in enumerate(self.fields, start=1):
            write = self._number if column.kind == "numeric" else self._category
            made, lines = write(number, field, column)
            constants += made
            body += lines
        missing = ", ".join("NAN" if c.kind == "numeric" else "NULL" for c in columns)
        return "\n".join(
            [
                *(text.replace("REAL", real(self.dtype)) for text in helpers),
                *constants,
                f"const {self.prefix}_row {self.prefix}_missing = {{{missing}}};\n",
                self._encode(body),
            ]
        )

    def _encode(self, body: list[str]) -> str:
        """Return the function that encodes a row; `body` has some lines for each column."""
        columns = [column for _, column in self.fields]
        lines = ["int refused = 0;"]
        if any(column.kind == "numeric" for column in columns):
            lines.append("double z;")
        if any(column.kind == "categorical" for column in columns):
            lines.append("int k;")
        lines += ["size_t i;", *body]
        # Inputs are NAN then, so that a caller who ignores the result sees no plausible outputs.
        lines.append(f"for (i = 0; refused && i < {self.table.inputs}; i++) x[i] = NAN;")
        lines.append("return refused;")
        text = "".join(f"  {line}\n" for line in lines)
        head = f"int {self.prefix}_encode(const {self.prefix}_row *row, {real(self.dtype)} *x)"
        return f"{head} {{\n{text}}}\n"

    def _number(self, number: int, field: str, column: InputColumn) -> tuple[list[str], list[str]]:
        """Return the constants of a numeric column, and its lines in the function."""
        value, at, cast = f"row->{field}", column.at, f"({real(self.dtype)})"
        # Robust scaling is bounded; other numbers may be too large once they are scaled.
        refused = f"fabs({value}) > DBL_MAX"
        if self.table.scaling != "robust":
            limit = "FLT_MAX" if self.dtype == np.float32 else "DBL_MAX"
            refused = f"fabs((double)x[{at}]) > (double){limit}"
        lines = [
            f"z = scaled({value}, {column.center!r}, {column.factor!r});",
            f"x[{at}] = z == z ? {cast}z : 0;",
            f"if (!refused && {refused}) refused = {number};",
        ]
        constants = []
        if column.knots.size:
            constants.append(numbers(f"double knots{number}", column.knots))
            given = f"z, knots{number}"
            if column.steps.size:
                constants.append(numbers(f"double steps{number}", column.steps))
                given = f"{value}, {given}, steps{number}"
            lines.append(f"embed({given}, x + {at + 1}, {column.knots.size});")
        if column.indicator.size:
            there, missing = numerals(column.indicator.astype(self.dtype))
            lines.append(f"x[{at + column.width - 1}] = z == z ? {there} : {missing};")
        return constants, lines

    def _category(
        self, number: int, field: str, column: InputColumn
    ) -> tuple[list[str], list[str]]:
        """Return the constants of a categorical column, and its lines in the function."""
        at, hot, cold = column.at, column.hot.astype(self.dtype), column.cold.astype(self.dtype)
        listed = self.categories(field)
        constants = [texts(listed, column.categories)]
        lines = [f"k = index_of(row->{field}, {listed}, {hot.size});"]
        if not column.one_hot:
            first, second, neither = (*numerals(hot), *numerals(cold))
            lines.append(f"x[{at}] = k == 0 ? {first} : k == 1 ? {second} : {neither};")
            return constants, lines
        constants += [numbers(f"{real(self.dtype)} hot{number}", hot)]
        constants += [numbers(f"{real(self.dtype)} cold{number}", cold)]
        lines.append(f"one_hot(k, hot{number}, cold{number}, x + {at}, {hot.size});")
        return constants, lines
