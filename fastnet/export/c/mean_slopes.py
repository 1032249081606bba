"""Functions of an exported C file for the derivatives of an ensemble, from those of its members.

``add_slopes`` adds what the derivatives of one member contribute; at a temperature, those of mean
probabilities then become those of the outputs.
"""

from __future__ import annotations

from typing import Final

from fastnet.export.combination import Mean
from fastnet.populations.ensemble import LEAST

_LINEAR: Final = """\
/* Add the derivatives of a member by its inputs, which are n of those of x. */
static void add_slopes(const REAL *part, size_t n, size_t member, REAL *dy) {
  size_t i, o;
  for (o = 0; o < NAME_OUTPUTS; o++) {
    double factor = SCALED;
    for (i = 0; i < n; i++) dy[o * NAME_INPUTS + i] += (REAL)(factor * part[o * n + i]);
  }
}
"""

_MIXTURE: Final = """\
/* Add the derivatives of a member by its inputs, which are n of those of x: to those of the
   mixture's mean, and of the logarithm of its variance, of which the rest cancels. */
static void add_slopes(const REAL *part, size_t n, size_t member, const REAL *z, const REAL *y,
                       REAL *dy) {
  size_t half = NAME_OUTPUTS / 2, i, o;
  for (o = 0; o < half; o++) {
    const REAL *mean = part + o * n, *log_variance = part + (half + o) * n;
    REAL *first = dy + o * NAME_INPUTS, *second = dy + (half + o) * NAME_INPUTS;
    double factor = SCALED, variance = exp((double)y[half + o]);
    double own = output_of(z, member, half + o), least = member_floors[member * half + o];
    double by_mean = 2 * factor * (output_of(z, member, o) - mean_of(z, o)) / variance;
    double by_own = own < least ? 0 : weights[member] * exp(own) / variance;
    for (i = 0; i < n; i++) {
      first[i] += (REAL)(factor * mean[i]);
      second[i] += (REAL)(by_mean * mean[i] + by_own * log_variance[i]);
    }
  }
}
"""

_SOFTMAX: Final = f"""\
/* Derivatives of the outputs y, from those of mean probabilities. */
static void at_temperature(const REAL *z, const REAL *y, REAL *dy) {{
  size_t i, o;
  for (o = 0; o < NAME_OUTPUTS; o++) {{
    double p = mean_of(z, o), factor = p < {LEAST!r} ? 0 : 1 / (p * TEMPERATURE);
    for (i = 0; i < NAME_INPUTS; i++) {{
      dy[o * NAME_INPUTS + i] = (REAL)(factor * dy[o * NAME_INPUTS + i]);
    }}
  }}
  for (i = 0; i < NAME_INPUTS; i++) {{
    REAL sum = 0;
    for (o = 0; o < NAME_OUTPUTS; o++) sum += y[o] * dy[o * NAME_INPUTS + i];
    for (o = 0; o < NAME_OUTPUTS; o++) {{
      dy[o * NAME_INPUTS + i] = y[o] * (dy[o * NAME_INPUTS + i] - sum);
    }}
  }}
}}
"""

_SIGMOID: Final = f"""\
/* Derivatives of the outputs y, from those of mean probabilities. */
static void at_temperature(const REAL *z, const REAL *y, REAL *dy) {{
  size_t i, o;
  for (o = 0; o < NAME_OUTPUTS; o++) {{
    double p = mean_of(z, o), q = (double)y[o];
    double factor = (p < {LEAST!r} ? 0 : 1 / p) + (1 - p < {LEAST!r} ? 0 : 1 / (1 - p));
    factor *= q * (1 - q) / TEMPERATURE;
    for (i = 0; i < NAME_INPUTS; i++) {{
      dy[o * NAME_INPUTS + i] = (REAL)(factor * dy[o * NAME_INPUTS + i]);
    }}
  }}
}}
"""


def definitions(mean: Mean) -> list[str]:
    """Return the functions, for `fastnet.export.c.names.filled`."""
    scaled = "weights[member]"
    if mean.units is not None:
        scaled += " * target_scale[member * NAME_OUTPUTS + o]"
    made = [(_LINEAR if mean.floors is None else _MIXTURE).replace("SCALED", scaled)]
    if mean.temperature is not None:
        text = _SOFTMAX if mean.activation == "softmax" else _SIGMOID
        made.append(text.replace("TEMPERATURE", repr(float(mean.temperature))))
    return made
