"""The fixed texts of the part of an exported C file that takes tables; ``REAL`` is its type."""

from __future__ import annotations

from typing import Final

import numpy as np

from fastnet.export.columns import LARGEST_SCALED
from fastnet.preprocessing.scaling import SMOOTH_CLIP, Scaling

NO_FAST_MATH: Final = """\
#if (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(_M_FP_FAST)
#error "compile this file without -ffast-math: a number that is missing is NAN"
#endif
"""

_ROBUST: Final = f"""\
/* A number, scaled and clipped smoothly; NAN stays NAN. */
static double scaled_robust(double x, double center, double factor) {{
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
static double scaled_standard(double x, double center, double factor) {
  return (x - center) / factor;
}
"""

_FLOAT32: Final = """\
/* A number, rounded to float and standardised; NAN stays NAN. */
static double scaled_float32(double x, double center, double factor) {
  return ((double)(float)x - center) / factor;
}
"""

SCALED: Final[dict[Scaling, tuple[str, str]]] = {
    "robust": ("scaled_robust", _ROBUST),
    "standard": ("scaled_standard", _STANDARD),
    "none": ("scaled_standard", _STANDARD),
    "float32": ("scaled_float32", _FLOAT32),
}
"""The function of each scaling: its name and its text."""

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

INDEX_OF: Final = """\
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

ONE_HOT: Final = """\
/* An input for each category: hot[k] for category k, cold[k] for the others. */
static void one_hot(int category, const REAL *hot, const REAL *cold, REAL *y, int n) {
  int k;
  for (k = 0; k < n; k++) y[k] = k == category ? hot[k] : cold[k];
}
"""

_PERIODIC: Final = f"""\
/* Sines and cosines of a scaled number; 0 where it is missing. */
static void embed_periodic(double z, const double *frequencies, REAL *y, size_t n) {{
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
static void embed_piecewise(double x, double z, const double *ends, const double *steps, REAL *y,
                            size_t n) {
  size_t k;
  for (k = 0; k + 1 < n; k++) {
    double size = ends[k + 1] - ends[k];
    double fraction = size > 0 ? (z - ends[k]) / size : (x > steps[k] ? 1 : 0);
    y[k] = !(fraction > 0) ? 0 : (REAL)(fraction > 1 ? 1 : fraction);
  }
}
"""

EMBED: Final = {"periodic": _PERIODIC, "piecewise": _PIECEWISE}
"""The function ``embed_<name>`` of each embedding."""
