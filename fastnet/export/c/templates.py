"""The fixed texts of an exported C file.

``REAL`` stands for float or double, ``F(exp)`` for the function of the C library in that precision,
``NAME`` for the prefix of everything public; `fastnet.export.c.names.filled` replaces them.
"""

from __future__ import annotations

import math
from typing import Final

from fastnet.kernels import abi

BEGIN: Final = """\
#ifndef NAME_DECLARED
#define NAME_DECLARED
#include <stddef.h>

"""

MIDDLE: Final = """\
#endif

#ifndef NAME_HEADER
#include <float.h>
#include <math.h>
#include <string.h>
"""
"""What stands between declarations and definitions."""

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
  /* z Phi(z) = max(z, 0) - |z| Phi(-|z|): no infinity is multiplied by 0. */
  REAL t = F(fabs)(z);
  if (t > {_real(abi.NORMAL_FLAT)}) t = {_real(abi.NORMAL_FLAT)};
  return (z < 0 ? 0 : z) - (REAL)0.5 * t * F(erfc)(t * {_real(math.sqrt(0.5))});
}}
""",
        _each("gelu", "gelu_of(z[i])"),
    ),
    "gelu_tanh": (
        f"""\
static REAL gelu_tanh_of(REAL z) {{
  REAL cubic = z * (1 + {_real(abi.GELU_CUBIC)} * (z * z));
  return (REAL)0.5 * (z * (1 + F(tanh)({_real(abi.GELU_SCALE)} * cubic)));
}}
""",
        _each("gelu_tanh", "gelu_tanh_of(z[i])"),
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

ADD: Final = """\
/* y = a + b */
static void add(const REAL *a, const REAL *b, REAL *y, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) y[i] = a[i] + b[i];
}
"""

ROWS: Final = """\
void NAME_predict_rows(const REAL *x, size_t rows, REAL *y) {
  size_t row;
  for (row = 0; row < rows; row++) NAME_predict(x + row * NAME_INPUTS, y + row * NAME_OUTPUTS);
}
"""

CLASS: Final = """\
size_t NAME_class(const REAL *y) {
  size_t best = 0, k;
  if (NAME_OUTPUTS == 1) return y[0] > (REAL)0.5;
  for (k = 1; k < NAME_OUTPUTS; k++) best = y[k] > y[best] ? k : best;
  return best;
}
"""

DEVIATIONS: Final = """\
void NAME_deviations(REAL *y) {
  size_t k, half = NAME_OUTPUTS / 2;
  for (k = 0; k < half; k++) {
    REAL z = y[half + k];
    y[half + k] = F(exp)((REAL)0.5 * (z < floors[k] ? floors[k] : z));
  }
}
"""
