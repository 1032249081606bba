"""The program of an exported C file: a plain filter, under ``-DFASTNET_MAIN``.

A header line and rows come in on standard input, and predictions go out as ``fastnet predict``
writes them. It is deliberately no CSV reader: cells have no quotes. What it answers it answers as
that command does, by the file's own functions, and it refuses what is doubtful: a header that
stands again, or a category such as 1 or yes in another spelling, which the command understands.
"""

from __future__ import annotations

import csv
import io
from typing import Final

from fastnet.data.text import MISSING, TRUTHS, is_number
from fastnet.errors import InputError
from fastnet.export.c import forward
from fastnet.export.c.literals import literal, wrapped
from fastnet.export.c.names import filled
from fastnet.export.c.table_templates import BLANKS
from fastnet.export.c.tables import RowStruct
from fastnet.export.columns import InputColumn
from fastnet.export.combination import Combination

_TRUTHS: Final = ("false", "true", "f", "t", "no", "yes", "n", "y", "off", "on")
"""Those that are no digits, in turn."""

_CELLS: Final = 1 << 12

_COLUMN: Final = """\
#include <stdio.h>
#include <stdlib.h>

/* A column: its name, the place of its value in a row, and its categories, NULL for numbers. It is
   special if yes and no are numbers too, or if categories are numbers or truths, which may be
   spelled in several ways. */
typedef struct {
  const char *name;
  size_t place;
  const char *const *categories;
  int count, special;
} column;
"""

_INPUT: Final = """\
static char header[LINE], line[LINE], *names[CELLS], *cells[CELLS];
static unsigned long number; /* of the line, from 1 */

static void fail(const char *format, const char *first, const char *second) {
  fprintf(stderr, "line %lu: ", number);
  fprintf(stderr, format, first, second);
  fputs(".\\n", stderr);
  exit(1);
}

static int is_utf8(const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  while (*s) {
    int more = *s < 0x80 ? 0 : *s < 0xE0 ? 1 : *s < 0xF0 ? 2 : 3;
    if ((*s >= 0x80 && *s < 0xC2) || *s > 0xF4) return 0;
    if ((*s == 0xE0 && s[1] < 0xA0) || (*s == 0xED && s[1] > 0x9F)) return 0;
    if ((*s == 0xF0 && s[1] < 0x90) || (*s == 0xF4 && s[1] > 0x8F)) return 0;
    for (s++; more > 0; more--, s++) {
      if ((*s & 0xC0) != 0x80) return 0;
    }
  }
  return 1;
}

/* Read the next line that is not blank and cut it at commas; the number of cells, 0 at the end. */
static int read_cells(char *text, char **found) {
  int c, count = 0;
  while (count == 0) {
    size_t n = 0;
    char *rest = text;
    number++;
    while ((c = getchar()) != EOF && c != '\\n') {
      if (c == 0 || n == LINE - 1) fail("it has a zero byte or is too long", "", "");
      text[n++] = (char)c;
    }
    if (c == EOF && n == 0) return 0;
    if (n > 0 && text[n - 1] == '\\r') n--;
    text[n] = 0;
    if (strpbrk(text, "\\"\\r")) fail("it has a quote or a carriage return within", "", "");
    if (!is_utf8(text)) fail("it is not UTF-8", "", "");
    if (number == 1 && strncmp(text, "\\357\\273\\277", 3) == 0) rest += 3;
    while (rest != NULL) {
      char *end = strchr(rest, ',');
      const char *cell = rest;
      if (count == CELLS) fail("it has too many cells", "", "");
      if (end != NULL) *end++ = 0;
      n = trimmed(&cell);
      found[count] = rest + (cell - rest);
      found[count++][n] = 0;
      rest = end;
    }
    if (count == 1 && *found[0] == 0) count = 0;
  }
  return count;
}
"""

_MISSING: Final = f"""\
enum {{ MISSING = {len(MISSING)} }};
static const char *const missing[MISSING] = {{
{wrapped(map(literal, sorted(MISSING)))}}};

/* The place of a word in a list, in any case of letters; -1 where it is not there. */
static int place_of(const char *word, const char *const *list, int n) {{
  int k;
  for (k = 0; k < n; k++) {{
    const char *a = word, *b = list[k];
    while (*a && (*a >= 'A' && *a <= 'Z' ? *a + 32 : *a) == *b) a++, b++;
    if (!*a && !*b) return k;
  }}
  return -1;
}}
"""

_NUMBER: Final = f"""\
/* The number of a cell, NAN where it is missing; fastnet reads no others. */
static double number_of(const char *cell, const column *one) {{
  static const char *const truths[] = {{
{wrapped(map(literal, _TRUTHS))}  }};
  char *end;
  double value = strtod(cell, &end);
  int place = place_of(cell, truths, one->special ? {len(_TRUTHS)} : 2);
  if (*cell && !*end && !cell[strspn(cell, "0123456789+-.eE")]) return value;
  if (place < 0 && place_of(cell, missing, MISSING) < 0) {{
    fail("the column '%s' must hold numbers, not '%s'", one->name, cell);
  }}
  return place < 0 ? (double)NAN : place % 2;
}}
"""

_CATEGORY: Final = """\
/* The text of a cell: in a special column a category as it is spelled in training, or missing. */
static const char *category_of(const char *cell, const column *one) {
  int k;
  for (k = 0; k < one->count; k++) {
    if (strcmp(cell, one->categories[k]) == 0) return cell;
  }
  if (one->special && place_of(cell, missing, MISSING) < 0) {
    fail("the column '%s' must hold a category as in training, not '%s'", one->name, cell);
  }
  return cell;
}
"""

_OUTPUT: Final = """\
/* Print the fewest digits that give a number back. */
static void put(REAL value) {
  char text[40];
  int digits = 0;
  do {
    snprintf(text, sizeof text, "%.*g", ++digits, (double)value);
  } while (digits < 17 && (REAL)strtod(text, NULL) != value);
  if (F(fabs)(value) < (REAL)1e16 && F(floor)(value) == value) {
    snprintf(text, sizeof text, "%.1f", (double)value);
  }
  fputs(text, stdout);
}
"""

_MAIN: Final = """\
int main(void) {
  static ROW;
  static REAL y[NAME_OUTPUTS];
  int at[COLUMNS], count = read_cells(header, names), id = -1, rows = 0, c, k, n;
  if (count == 0) fail("there is no header", "", "");
  for (k = n = 0; k < count; k++) {
    char *end;
    n += *names[k] && (strtod(names[k], &end), *end == 0);
    if (*names[k] == 0) fail("a column has no name", "", "");
    if (strcmp(names[k], identifier) == 0) id = k;
    for (c = 0; c < k; c++) {
      if (strcmp(names[k], names[c]) == 0) fail("there are two columns named '%s'", names[k], "");
    }
  }
  if (n == count) fail("there are numbers where the columns are to be named", "", "");
  for (k = 0; k < COLUMNS; k++) {
    for (at[k] = -1, c = 0; c < count; c++) {
      if (strcmp(names[c], columns[k].name) == 0) at[k] = c;
    }
    if (at[k] < 0) fail("there is no column '%s'", columns[k].name, "");
    POSITION
  }
  if (*identifier && id < 0) fprintf(stderr, "there is no column '%s'.\\n", identifier);
  while ((n = read_cells(line, cells)) != 0) {
    for (c = 0; c < n && c < count && strcmp(cells[c], names[c]) == 0;) c++;
    if (n != count) fail("it has not as many cells as the header", "", "");
    if (c == n) fail("the header stands again", "", "");
    for (k = 0; k < COLUMNS; k++) {
      const column *one = columns + k;
      char *value = (char *)&row + one->place, *cell = cells[at[k]];
      VALUE
    }
    ANSWER
    if (y[0] != y[0]) fail("a number is missing, infinite or too large", "", "");
    if (rows++ == 0) {
      if (id >= 0) printf("%s,", identifier);
      for (k = 0; k < HEAD; k++) printf(k == 0 ? "%s" : ",%s", head[k]);
      putchar('\\n');
    }
    if (id >= 0) printf("%s,", cells[id]);
    PRINT
    putchar('\\n');
  }
  if (rows == 0 || ferror(stdin)) fail("there are no rows, or they cannot be read", "", "");
  if (fflush(stdout) != 0 || ferror(stdout)) fail("standard output cannot be written", "", "");
  return 0;
}
"""

_NUMERIC: Final = "*(double *)value = number_of(cell, one);"
_VALUES: Final = "for (k = {first}; k < NAME_OUTPUTS; k++) putchar(','), put(y[k]);"


def definitions(whole: Combination, row: RowStruct | None, prefix: str) -> str:
    """Return the program, under the macro that asks for it.

    It is an ``#error`` with a sentence for a network of dates, or of names that C cannot hold.
    """
    used = [column for _, column in row.fields] if row else []
    numeric = row is None or any(column.kind == "numeric" for column in used)
    texts = any(column.categories for column in used)
    spelled = any(column.categories and _is_special(column) for column in used)
    try:
        if any(column.part for column in used):
            raise InputError("this program reads no dates: export to numpy, or use the functions")
        parts = [_data(whole, row, prefix)]
    except InputError as error:
        return f"#ifdef FASTNET_MAIN\n#error {literal(ascii(str(error))[1:-1])}\n#endif\n"
    parts += [] if texts else [BLANKS]
    parts += [_INPUT]
    parts += [_MISSING] if numeric or spelled else []
    parts += [_NUMBER] if numeric else []
    parts += [_CATEGORY] if spelled else []
    templates = [_OUTPUT]
    if row is None:
        templates.append(forward.outer(whole, "static void predict_numbers", "double"))
    templates.append(_main(whole, row, numeric=numeric, spelled=spelled))
    parts += [filled(text, prefix, whole.dtype) for text in templates]
    return "\n".join(["#ifdef FASTNET_MAIN", *parts, "#endif\n"])


def _data(whole: Combination, row: RowStruct | None, prefix: str) -> str:
    """Return the columns that are read, and the texts that are written."""
    columns = [f'{{"x{k}", {k} * sizeof(double), NULL, 0, 0}}' for k in range(whole.inputs)]
    identifier = whole.sources.identifier if whole.sources else None
    if row is not None:
        columns = []
        for field, column in row.fields:
            categories = row.categories(field) if column.categories else "NULL"
            about = f"{categories}, {len(column.categories)}, {int(_is_special(column))}"
            place = f"offsetof({prefix}_row, {field})"
            columns.append(f"{{{literal(column.source)}, {place}, {about}}}")
    cells = max(_CELLS, 2 * len(columns))
    labels, head = whole.schema.class_names, whole.schema.column_names
    sizes = {"COLUMNS": len(columns), "HEAD": len(head), "CELLS": cells, "LINE": 20 * cells}
    lines = [
        f"enum {{ {', '.join(f'{name} = {size}' for name, size in sizes.items())} }};\n",
        _COLUMN,
        f"static const column columns[COLUMNS] = {{\n{wrapped(columns, 1 if row else 3)}}};\n",
        f"static const char *const head[HEAD] = {{\n{wrapped(map(_cell, head))}}};\n",
        f"static const char identifier[] = {_cell(identifier or '')};\n",
    ]
    if labels is not None:
        answers = f"answers[{len(labels)}] = {{\n{wrapped(map(_cell, labels))}}};\n"
        lines.append(f"static const char *const {answers}")
    return "\n".join(lines)


def _is_special(column: InputColumn) -> bool:
    """Return whether cells of a column may be spelled in several ways."""
    texts = column.categories
    return column.truths or any(is_number(text) or text.lower() in TRUTHS for text in texts)


def _cell(text: str) -> str:
    """Return a C literal of a text as a CSV file has it."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([text, ""])
    return literal(buffer.getvalue().removesuffix(",\n"))


def _main(whole: Combination, row: RowStruct | None, *, numeric: bool, spelled: bool) -> str:
    """Return the main function, for `fastnet.export.c.names.filled`."""
    value, position = _NUMERIC, ""
    if row is None:
        kind, answer = f"double row[{whole.inputs}]", "predict_numbers(row, y);"
    else:
        kind = "NAME_row row;\n  static REAL x[NAME_INPUTS]"
        answer = 'if (NAME_encode(&row, x)) fail("a number is infinite or too large", "", "");\n'
        answer += "    NAME_predict(x, y);"
        if any(column.categories for _, column in row.fields):
            value = f"*(const char **)value = {'category_of(cell, one)' if spelled else 'cell'};"
            if numeric:
                value = f"if (one->categories == NULL) {_NUMERIC}\n      else {value}"
    sources = whole.sources
    if sources is None or not sources.named:
        # Columns without names go by position, and so other names would be misleading.
        given = whole.inputs if sources is None else len(sources.names)
        position = (
            f"if (count != {given} || at[k] != atoi(columns[k].name + 1))\n      "
            f'fail("expected the columns x0 to x{given - 1}, in this order", "", "");'
        )
    schema = whole.schema
    lines = ["put(y[0]);", _VALUES.format(first=1)]
    if schema.class_names is not None:
        lines = ["fputs(answers[NAME_class(y)], stdout);", _VALUES.format(first=0)]
        if whole.outputs == 1:
            lines[1] = "putchar(','), put(1 - y[0]), putchar(','), put(y[0]);"
    elif whole.has_deviations:
        lines.insert(0, "NAME_deviations(y);")
    text = _MAIN if position else _MAIN.replace("    POSITION\n", "")
    made = {"ROW": kind, "VALUE": value, "POSITION": position, "ANSWER": answer}
    for word, part in (made | {"PRINT": "\n    ".join(lines)}).items():
        text = text.replace(word, part)
    return text
