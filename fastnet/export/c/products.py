"""The product of a row with the weights of a layer, as C text.

Weights are stored row by row, (inputs, stride): a stride is the number of outputs, rounded up.

Where GCC or Clang compile for SSE2, AVX, AVX-512 or 64-bit ARM, the sums of up to eight vectors of
outputs stay in registers, in the vectors that these compilers know: they keep the arrays of sums
that standard C would have in memory, with any options. Other compilers, and ``-DFASTNET_PLAIN``,
take four inputs at a time, so that the sums in memory are read and written once for four products.
A layer with one output has its weights without gaps, and sums over vectors of inputs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np

_VECTORS: Final = """\
#if defined(__GNUC__) && (defined(__SSE2__) || defined(__aarch64__)) && !defined(FASTNET_PLAIN)
#define FASTNET_VECTORS 1
#if defined(__AVX512F__)
#define FASTNET_VECTOR_BYTES 64
#elif defined(__AVX__)
#define FASTNET_VECTOR_BYTES 32
#else
#define FASTNET_VECTOR_BYTES 16
#endif
#define LANES (FASTNET_VECTOR_BYTES / sizeof(REAL))
#define ALIGNED __attribute__((aligned(64)))
typedef REAL vector __attribute__((vector_size(FASTNET_VECTOR_BYTES), aligned(16), may_alias));
typedef REAL quarter __attribute__((vector_size(16), aligned(16), may_alias));
typedef REAL loose __attribute__((vector_size(FASTNET_VECTOR_BYTES), aligned(4), may_alias));
typedef int bits __attribute__((vector_size(FASTNET_VECTOR_BYTES), may_alias));
#else
#define FASTNET_VECTORS 0
#define ALIGNED
#endif
"""

_GAP: Final = """\
/* 0, or NAN if one of x is not finite: there is no answer to it. */
static REAL gap_of(const REAL *x, size_t n) {
  REAL gap = 0;
  size_t i = 0;
#if FASTNET_VECTORS
  bits found = {0};
  size_t k;
  for (; i < n - n % LANES; i += LANES) {
    loose part = *(const loose *)(x + i);
    found |= (bits)(part - part);
  }
  for (k = 0; k < LANES; k++) gap += ((vector)found)[k];
#endif
  for (; i < n; i++) gap += x[i] - x[i];
  return gap;
}
"""

_DOT: Final = """\
/* The sum of all x[i] w[i]. */
static REAL dot(const REAL *restrict x, const REAL *restrict w, size_t n) {
  size_t i = 0;
  REAL a = 0, b = 0, c = 0, d = 0;
#if FASTNET_VECTORS
  vector p = {0}, q = {0};
  size_t k;
  for (; i < n - n % (2 * LANES); i += 2 * LANES) {
    p += *(const loose *)(x + i) * *(const vector *)(w + i);
    q += *(const loose *)(x + i + LANES) * *(const vector *)(w + i + LANES);
  }
  p += q;
  for (k = 0; k < LANES; k += 2) {
    a += p[k];
    b += p[k + 1];
  }
#endif
  for (; i < n - n % 4; i += 4) {
    a += x[i] * w[i];
    b += x[i + 1] * w[i + 1];
    c += x[i + 2] * w[i + 2];
    d += x[i + 3] * w[i + 3];
  }
  for (; i < n; i++) a += x[i] * w[i];
  return (a + b) + (c + d);
}
"""

_PLAIN: Final = """\
  size_t fours = inputs - inputs % 4, i, o;
  for (o = 0; o < outputs; o++) y[o] = b[o];
  for (i = 0; i < fours; i += 4, w += 4 * stride) {
    const REAL *second = w + stride, *third = second + stride, *fourth = third + stride;
    REAL p = x[i], q = x[i + 1], r = x[i + 2], s = x[i + 3];
    for (o = 0; o < outputs; o++) {
      y[o] += (p * w[o] + q * second[o]) + (r * third[o] + s * fourth[o]);
    }
  }
  for (; i < inputs; i++, w += stride) {
    for (o = 0; o < outputs; o++) y[o] += x[i] * w[o];
  }
"""


def stride(outputs: int, dtype: np.dtype[Any]) -> int:
    """Return the length of a row of stored weights, in whole vectors if that costs an eighth.

    A row is a multiple of 16 bytes; one of 64 bytes never lies across two lines of the cache.
    """
    if outputs == 1:
        return 1
    widths = [size // dtype.itemsize for size in (64, 32, 16)]
    padded = [-(-outputs // width) * width for width in widths]
    return next((p for p in padded if 8 * (p - outputs) <= outputs), padded[-1])


def width(outputs: int, dtype: np.dtype[Any]) -> int:
    """Return how many outputs are computed: one, or a multiple of 16 bytes."""
    if outputs == 1:
        return 1
    lanes = 16 // dtype.itemsize
    return -(-outputs // lanes) * lanes


def functions(widths: Collection[int]) -> list[str]:
    """Return the functions for layers of these widths, for `fastnet.export.c.names.filled`."""
    made = [_VECTORS, _GAP]
    made += [_DOT] if 1 in widths else []
    return [*made, _affine()] if max(widths, default=0) > 1 else made


def _affine() -> str:
    """Return the function for a layer of several outputs."""
    blocks = [
        # As many sums as hide the time that an addition takes: of several vectors of outputs, or of
        # every second, fourth input.
        _block("vector", "LANES", 8, 1),
        _block("vector", "LANES", 4, 2),
        _block("vector", "LANES", 2, 4),
        _block("vector", "LANES", 1, 4),
        "#if FASTNET_VECTOR_BYTES > 16\n",
        _block("quarter", "(16 / sizeof(REAL))", 1, 4),
        "#endif\n",
    ]
    return f"""\
/* y = x w + b; w is (inputs, stride), row by row; outputs are a multiple of 16 bytes. */
static void affine(const REAL *restrict x, size_t inputs, const REAL *restrict w,
                   const REAL *restrict b, REAL *restrict y, size_t outputs, size_t stride) {{
#if FASTNET_VECTORS
  const REAL *u;
  size_t fours = inputs - inputs % 4, i, o = 0;
{"".join(blocks)}#else
{_PLAIN}#endif
}}
"""


def _block(kind: str, lanes: str, columns: int, parts: int) -> str:
    """Return the loop over blocks of outputs: vectors in columns, each the sum of some parts.

    Four inputs at a time; input i is added to the part i modulo `parts`.
    """
    size = f"{columns} * {lanes}" if columns > 1 else lanes

    def at(pointer: str, column: int, row: int = 0) -> str:
        terms = [pointer, _times(row, "stride"), _times(column, lanes)]
        constant = "" if pointer == "y + o" else "const "
        return f"*({constant}{kind} *)({' + '.join(filter(None, terms))})"

    def added(rows: int) -> list[str]:
        given = ("x[i]", "x[i + 1]", "x[i + 2]", "x[i + 3]")[:rows]
        return [
            f"    s{column}{row % parts} += {value} * {at('u', column, row)};"
            for row, value in enumerate(given)
            for column in range(columns)
        ]

    lines = [f"for (; o + {size} <= outputs; o += {size}) {{"]
    for column in range(columns):
        sums = [f"s{column}0 = {at('b + o', column)}"]
        sums += [f"s{column}{part} = {{0}}" for part in range(1, parts)]
        lines.append(f"  {kind} {', '.join(sums)};")
    lines.append("  for (i = 0, u = w + o; i < fours; i += 4, u += 4 * stride) {")
    lines += [*added(4), "  }", "  for (; i < inputs; i++, u += stride) {", *added(1), "  }"]
    for column in range(columns):
        total = " + ".join(f"s{column}{part}" for part in range(parts))
        if parts == 4:
            total = f"(s{column}0 + s{column}1) + (s{column}2 + s{column}3)"
        lines.append(f"  {at('y + o', column)} = {total};")
    return "".join(f"  {line}\n" for line in [*lines, "}"])


def _times(factor: int, name: str) -> str:
    return "" if factor == 0 else name if factor == 1 else f"{factor} * {name}"
