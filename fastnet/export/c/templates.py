"""The fixed texts of an exported C file.

``REAL`` stands for float or double, ``F(exp)`` for the function of the C library in that precision,
``INPUT`` for the type of what a row is given as, ``NAME`` for the prefix of everything public.
"""

from __future__ import annotations

from typing import Final

from fastnet.kernels import abi

_SIGMOID: Final = """\
static REAL sigmoid_of(REAL z) {
  /* Neither exponential can overflow. */
  return F(exp)(z > 0 ? 0 : z) / (1 + F(exp)(-F(fabs)(z)));
}
"""

_SOFTPLUS: Final = """\
static REAL softplus_of(REAL z) {
  return (z < 0 ? 0 : z) + F(log1p)(F(exp)(-F(fabs)(z)));
}
"""


def _each(name: str, value: str) -> str:
    """Return the function that writes ``value`` of every element over it."""
    return f"""\
static void apply_{name}(REAL *z, size_t n) {{
  size_t i;
  for (i = 0; i < n; i++) z[i] = {value};
}}
"""


def _real(value: float) -> str:
    return f"(REAL){value!r}"


ACTIVATIONS: Final[dict[str, tuple[str, ...]]] = {
    "relu": (_each("relu", "z[i] < 0 ? 0 : z[i]"),),
    "leaky_relu": (_each("leaky_relu", f"z[i] < 0 ? {_real(abi.LEAKY_SLOPE)} * z[i] : z[i]"),),
    "elu": (_each("elu", "z[i] < 0 ? F(expm1)(z[i]) : z[i]"),),
    "selu": (
        _each(
            "selu",
            f"z[i] < 0 ? {_real(abi.SELU_LAMBDA * abi.SELU_ALPHA)} * F(expm1)(z[i]) : "
            f"{_real(abi.SELU_LAMBDA)} * z[i]",
        ),
    ),
    "gelu": (
        f"""\
static REAL gelu_of(REAL z) {{
  REAL cubic = z * (1 + {_real(abi.GELU_CUBIC)} * (z * z));
  return (REAL)0.5 * (z * (1 + F(tanh)({_real(abi.GELU_SCALE)} * cubic)));
}}
""",
        _each("gelu", "gelu_of(z[i])"),
    ),
    "silu": (_SIGMOID, _each("silu", "z[i] * sigmoid_of(z[i])")),
    "mish": (_SOFTPLUS, _each("mish", "z[i] * F(tanh)(softplus_of(z[i]))")),
    "tanh": (_each("tanh", "F(tanh)(z[i])"),),
    "sigmoid": (_SIGMOID, _each("sigmoid", "sigmoid_of(z[i])")),
    "softplus": (_SOFTPLUS, _each("softplus", "softplus_of(z[i])")),
    "exp": (_each("exp", "F(exp)(z[i])"),),
    "softmax": (
        """\
static void apply_softmax(REAL *z, size_t n) {
  /* The largest exponent is 0. */
  REAL largest = z[0], sum = 0;
  size_t i;
  for (i = 1; i < n; i++) largest = z[i] > largest ? z[i] : largest;
  for (i = 0; i < n; i++) z[i] = F(exp)(z[i] - largest);
  for (i = 0; i < n; i++) sum += z[i];
  for (i = 0; i < n; i++) z[i] /= sum;
}
""",
    ),
}
"""The functions that each activation needs, in the order of definition."""

AFFINE: Final = """\
/* y = x w + b; w is (inputs, outputs), row by row. */
static void affine(const REAL *x, size_t inputs, const REAL *w, const REAL *b, REAL *y,
                   size_t outputs) {
  size_t i, o;
  for (o = 0; o < outputs; o++) y[o] = 0;
  for (i = 0; i < inputs; i++) {
    for (o = 0; o < outputs; o++) y[o] += x[i] * w[i * outputs + o];
  }
  for (o = 0; o < outputs; o++) y[o] += b[o];
}
"""

SCALE: Final = """\
/* y = x w + b, element by element. */
static void scale(const REAL *x, const REAL *w, const REAL *b, REAL *y, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) y[i] = x[i] * w[i] + b[i];
}
"""

NORMALIZE: Final = """\
/* y = (x - mean) / sqrt(variance + epsilon) w + b, mean and variance of this row. */
static void normalize(const REAL *x, const REAL *w, const REAL *b, REAL epsilon, REAL *y,
                      size_t n) {
  REAL mean = 0, variance = 0, factor;
  size_t i;
  for (i = 0; i < n; i++) mean += x[i];
  mean /= (REAL)n;
  for (i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean);
  factor = 1 / F(sqrt)(variance / (REAL)n + epsilon);
  for (i = 0; i < n; i++) y[i] = (x[i] - mean) * factor * w[i] + b[i];
}
"""

ROWS: Final = """\
void NAME_predict_rows(const INPUT *x, size_t rows, REAL *y) {
  size_t row;
  for (row = 0; row < rows; row++) NAME_predict(x + row * INPUTS, y + row * OUTPUTS);
}
"""

CLASS: Final = """\
size_t NAME_class(const REAL *y) {
  size_t best = 0, k;
  if (OUTPUTS == 1) return y[0] > (REAL)0.5;
  for (k = 1; k < OUTPUTS; k++) best = y[k] > y[best] ? k : best;
  return best;
}
"""

ENCODE: Final = """\
size_t NAME_encode(const char *const *cells, REAL *x) {
  size_t column, at = 0, count, k;
  for (column = 0; column < COLUMNS; column++) {
    count = category_counts[column];
    if (count == 0) {
      char *end;
      double value = strtod(cells[column], &end);
      /* Neither hexadecimal digits nor the names of infinity and of what is no number. */
      if (end == cells[column] || *end != '\\0' || strpbrk(cells[column], "xXnN") != NULL ||
          !(value >= -LARGEST && value <= LARGEST)) {
        return column + 1;
      }
      x[at++] = (REAL)value;
    }
    for (k = 0; k < count; k++) {
      x[at++] = strcmp(cells[column], categories[column][k]) == 0 ? (REAL)1 : (REAL)0;
    }
  }
  return 0;
}
"""

MATCH: Final = """\
  if (!NAMED && width != COLUMNS) fail(0, "the number of columns is wrong", "");
  for (column = 0; column < COLUMNS; column++) {
    for (k = 0; NAMED && k < width && strcmp(text + starts[k], NAME_columns[column]) != 0;) k++;
    if (k == width) fail(0, "the header lacks the column ", NAME_columns[column]);
    position[column] = NAMED ? k : column;
    selected[column] = text + starts[position[column]];
  }
  if (!NAMED) data = NAME_encode(selected, x) == 0; /* a first row of numbers is no header */
"""
"""Where the program finds the columns in a file."""

PROGRAM: Final = """\
#ifdef FASTNET_MAIN
#include <stdio.h>

/* A record of CSV: its cells one after the other, each ended by a zero byte. */
static char *text;
static size_t text_size, *starts, starts_size, cells;

static void fail(size_t row, const char *what, const char *which) {
  fprintf(stderr, "NAME: row %lu: %s%s\\n", (unsigned long)row, what, which);
  exit(EXIT_FAILURE);
}

static void *grow(void *memory, size_t *size, size_t needed, size_t item) {
  if (needed <= *size) return memory;
  *size = 2 * needed;
  memory = realloc(memory, *size * item);
  if (memory == NULL) fail(0, "out of memory", "");
  return memory;
}

/* End the cell in bytes `start` to `length`, less the blanks around it; return the next start. */
static size_t end_cell(size_t start, size_t length) {
  text = (char *)grow(text, &text_size, length + 1, 1);
  text[length] = '\\0';
  while (length > start && strchr(" \\t\\r\\n", text[length - 1]) != NULL) text[--length] = '\\0';
  starts = (size_t *)grow(starts, &starts_size, cells + 1, sizeof *starts);
  starts[cells++] = start + strspn(text + start, " \\t\\r\\n");
  return length + 1;
}

/* Read the next record that is not blank; return 0 at the end of the file. */
static int read_record(int delimiter, size_t row) {
  size_t start = 0, length = 0;
  int quoted = 0, c;
  cells = 0;
  for (;;) {
    c = getchar();
    if (c == EOF && quoted) fail(row, "a quote is not closed", "");
    if (quoted && c == '"') {
      c = getchar();
      if (c != '"') {
        quoted = 0;
        ungetc(c, stdin);
        continue;
      }
    } else if (!quoted) {
      if (length == start && (c == '"' || (c == ' ' && c != delimiter))) {
        quoted = c == '"';
        continue;
      }
      if (c == delimiter) {
        start = length = end_cell(start, length);
        continue;
      }
      if (c == '\\n' || c == EOF) {
        end_cell(start, length);
        if (cells > 1 || text[starts[0]] != '\\0') return 1;
        if (c == EOF) return 0;
        start = length = cells = 0;
        continue;
      }
    }
    text = (char *)grow(text, &text_size, length + 1, 1);
    text[length++] = (char)c;
  }
}

static void print_text(const char *cell) {
  if (strpbrk(cell, ",\\"\\r\\n") == NULL) {
    fputs(cell, stdout);
    return;
  }
  putchar('"');
  for (; *cell != '\\0'; cell++) {
    if (*cell == '"') putchar('"');
    putchar(*cell);
  }
  putchar('"');
}

/* Read CSV from standard input, write predictions as CSV; the argument is the delimiter. */
int main(int count, char **arguments) {
  static size_t position[COLUMNS];
  static const char *selected[COLUMNS];
  static INPUT x[INPUTS];
  static REAL y[OUTPUTS];
  int delimiter = count > 1 ? arguments[1][0] : ',', data = 0, c = getchar();
  size_t width, row = 0, column, k;
  if (c == 0xEF) { /* the byte order mark of UTF-8 */
    getchar();
    getchar();
  } else {
    ungetc(c, stdin);
  }
  if (!read_record(delimiter, 0)) fail(0, "there is no table", "");
  width = cells;
MATCH
  for (k = 0; k < HEADER; k++) {
    if (k > 0) putchar(',');
    print_text(NAME_header[k]);
  }
  putchar('\\n');
  while (data || read_record(delimiter, row + 1)) {
    data = 0;
    row++;
    if (cells != width) fail(row, "the number of cells is wrong", "");
    for (k = 0; k < COLUMNS; k++) {
      selected[k] = position[k] < width ? text + starts[position[k]] : "";
    }
    column = NAME_encode(selected, x);
    if (column > 0) fail(row, "expected a finite number in the column ", NAME_columns[column - 1]);
    NAME_predict(x, y);
PRINT
    putchar('\\n');
  }
  return 0;
}
#endif
"""

PRINT_CLASSES: Final = """\
    print_text(NAME_labels[NAME_class(y)]);
    if (OUTPUTS == 1) printf(",DIGITS", (double)(1 - y[0]));
    for (k = 0; k < OUTPUTS; k++) printf(",DIGITS", (double)y[k]);
"""

PRINT_VALUES: Final = """\
    for (k = 0; k < OUTPUTS; k++) printf(k > 0 ? ",DIGITS" : "DIGITS", (double)y[k]);
"""

PRINT_DEVIATIONS: Final = """\
    NAME_deviations(y);
    for (k = 0; k < OUTPUTS; k++) printf(k > 0 ? ",DIGITS" : "DIGITS", (double)y[k]);
"""

DEVIATIONS: Final = """\
void NAME_deviations(REAL *y) {
  size_t k, half = OUTPUTS / 2;
  for (k = 0; k < half; k++) {
    REAL z = y[half + k];
    y[half + k] = F(exp)((REAL)0.5 * (z < floors[k] ? floors[k] : z));
  }
}
"""
