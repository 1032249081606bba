"""The function of an exported C file that makes one answer of the outputs of its members.

It computes in double, as `Ensemble.predict`: z (MEMBERS, NAME_OUTPUTS) has their outputs.
"""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray

from fastnet.export.combination import Combination, Mean
from fastnet.populations.ensemble import LEAST

_PLAIN: Final = """\
/* Output o of member k. */
static double output_of(const REAL *z, size_t k, size_t o) {
  return z[k * NAME_OUTPUTS + o];
}
"""

_IN_UNITS: Final = """\
/* Output o of member k, in the unit of the targets. */
static double output_of(const REAL *z, size_t k, size_t o) {
  size_t i = k * NAME_OUTPUTS + o;
  return (double)z[i] * target_scale[i] + target_center[i];
}
"""

_MEAN: Final = """\
/* The weighted mean of an output. */
static double mean_of(const REAL *z, size_t o) {
  double sum = 0;
  size_t k;
  for (k = 0; k < MEMBERS; k++) sum += weights[k] * output_of(z, k, o);
  return sum;
}
"""

_LINEAR: Final = """\
static void combine(const REAL *z, REAL *y) {
  size_t o;
  for (o = 0; o < NAME_OUTPUTS; o++) y[o] = (REAL)mean_of(z, o);
}
"""

_MIXTURE: Final = """\
/* The mean of a mixture of normal distributions, and the logarithm of its variance. */
static void combine(const REAL *z, REAL *y) {
  size_t half = NAME_OUTPUTS / 2, k, o;
  for (o = 0; o < half; o++) {
    double mean = mean_of(z, o), variance = 0;
    for (k = 0; k < MEMBERS; k++) {
      double apart = output_of(z, k, o) - mean, own = output_of(z, k, half + o);
      double least = member_floors[k * half + o];
      variance += weights[k] * (exp(own < least ? least : own) + apart * apart);
    }
    y[o] = (REAL)mean;
    y[half + o] = (REAL)log(variance);
  }
}
"""

_LOG: Final = f"""\
static double log_of(double p) {{
  return log(p < {LEAST!r} ? {LEAST!r} : p);
}}
"""

_SIGMOID: Final = """\
/* Mean probabilities at a temperature. */
static void combine(const REAL *z, REAL *y) {
  size_t o;
  for (o = 0; o < NAME_OUTPUTS; o++) {
    double p = mean_of(z, o), odds = (log_of(p) - log_of(1 - p)) / TEMPERATURE;
    y[o] = (REAL)(exp(odds > 0 ? 0 : odds) / (1 + exp(-fabs(odds))));
  }
}
"""

_SOFTMAX: Final = """\
/* Mean probabilities at a temperature. */
static void combine(const REAL *z, REAL *y) {
  double p[OUTPUTS], largest, sum = 0;
  size_t o;
  for (o = 0; o < OUTPUTS; o++) p[o] = log_of(mean_of(z, o)) / TEMPERATURE;
  for (largest = p[0], o = 1; o < OUTPUTS; o++) largest = p[o] > largest ? p[o] : largest;
  for (o = 0; o < OUTPUTS; o++) sum += p[o] = exp(p[o] - largest);
  for (o = 0; o < OUTPUTS; o++) y[o] = (REAL)(p[o] / sum);
}
"""


def constants(mean: Mean | None) -> dict[str, NDArray[Any]]:
    """Return the arrays that the functions read, by type and name."""
    if mean is None:
        return {}
    made: dict[str, NDArray[Any]] = {"double weights": mean.weights}
    if mean.units is not None:
        made |= zip(("double target_scale", "double target_center"), mean.units, strict=True)
    if mean.floors is not None:
        made["double member_floors"] = mean.floors.astype(float)
    return made


def definition(whole: Combination) -> str:
    """Return ``combine(z, y)`` and what it calls, for `fastnet.export.c.names.filled`."""
    assert whole.mean is not None
    mean = whole.mean
    parts = [f"enum {{ MEMBERS = {len(whole.members)} }};\n"]
    parts += [_PLAIN if mean.units is None else _IN_UNITS, _MEAN]
    if mean.floors is not None:
        parts.append(_MIXTURE)
    elif mean.temperature is None:
        parts.append(_LINEAR)
    else:
        parts += [_LOG, _SOFTMAX if mean.activation == "softmax" else _SIGMOID]
    text = "\n".join(parts).replace("[OUTPUTS]", f"[{whole.outputs}]")
    text = text.replace("< OUTPUTS", f"< {whole.outputs}")
    return text.replace("TEMPERATURE", repr(float(mean.temperature or 1.0)))
