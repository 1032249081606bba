"""The functions of an exported C file that compute in whole numbers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.export.c import forward, products, templates
from fastnet.export.c.fixed import FINE, RANGES, Fixed, Layer, table_for
from fastnet.export.c.literals import wrapped
from fastnet.export.combination import Combination

_COMMON: Final = """\
/* Numbers of a row as integers, of which one is 1 / inverse. */
static void quantize(const REAL *x, REAL inverse, STORED *q, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) {
    REAL z = F(rint)(x[i] * inverse);
    q[i] = (STORED)(z > MOST ? MOST : z < -MOST ? -MOST : z);
  }
}

static SUM product(const STORED *x, const STORED *w, size_t n, SUM sum) {
  size_t i;
  for (i = 0; i < n; i++) sum += (SUM)x[i] * w[i];
  return sum;
}
"""

_MOVED: Final = """\
/* A sum in another scale, rounded and within bounds; >> keeps the sign, as compilers have it. */
static int32_t moved(SUM sum, int32_t factor, int shift, int32_t least, int32_t most) {
  int64_t value = ((int64_t)sum * factor + ((int64_t)1 << (shift - 1))) >> shift;
  return (int32_t)(value < least ? least : value > most ? most : value);
}
"""

_TABLE: Final = """\
/* A function by its table, between whose values it is a line. */
static STORED from_table(int32_t at, const int16_t *table) {
  int32_t k = (at + FINE) >> BITS, rest = (at + FINE) & ((1 << BITS) - 1);
  int32_t value = table[k] + (((table[k + 1] - table[k]) * rest + (1 << (BITS - 1))) >> BITS);
  return (STORED)(NARROWED);
}
"""


def definitions(whole: Combination, made: Fixed) -> list[str]:
    """Return functions and constants, for `fastnet.export.c.names.filled`."""
    used = {layer.activation for layer in made.layers[:-1]}
    functions = [_COMMON] + [_MOVED] * bool(used) + [_TABLE] * bool(used & set(RANGES))
    kind = made.kind
    narrowed = "value" if kind.most == 32767 else f"(value * {kind.most} + 16384) >> 15"
    words = {"STORED": kind.type, "SUM": kind.sum, "MOST": str(kind.most), "FINE": str(FINE)}
    words |= {"BITS": str(20 - kind.table), "NARROWED": narrowed}
    text = "\n".join(functions)
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    last = made.layers[-1].activation
    parts = ["#include <stdint.h>\n", *products.functions(()), text]
    parts += templates.ACTIVATIONS[last] if last != "identity" else ()
    parts += [_constant(name, values) for name, values in constants(whole, made).items()]
    return [*parts, *prediction(whole, made), templates.ROWS]


def constants(whole: Combination, made: Fixed) -> dict[str, NDArray[Any]]:
    """Return the arrays that the functions read, by type and name."""
    kind, arrays = made.kind, forward.preprocessing(whole)
    sums = np.dtype(kind.sum.removesuffix("_t"))
    for index, layer in enumerate(made.layers):
        arrays[f"{kind.type} w{index}"] = layer.w.T.astype(kind.type.removesuffix("_t"))
        arrays[f"{kind.sum} b{index}"] = layer.b.astype(sums)
        if index < len(made.layers) - 1:
            arrays[f"int32_t factor{index}"] = layer.factor.astype(np.int32)
            arrays[f"uint8_t shift{index}"] = layer.shift.astype(np.uint8)
    arrays["REAL unit"] = made.layers[-1].unit.astype(whole.dtype)
    for activation in sorted({layer.activation for layer in made.layers[:-1]} & set(RANGES)):
        arrays[f"int16_t {activation}_table"] = table_for(activation, kind).astype(np.int16)
    return arrays


def _constant(name: str, values: NDArray[Any]) -> str:
    """Return the definition of an array."""
    if values.dtype.kind == "f":
        return forward.constant(name, values)
    # Long integers have no suffix: a constant has the first type that holds it.
    items = wrapped(map(str, values.ravel().tolist()), 12)
    return f"static const {name}[{values.size}] = {{\n{items}}};\n"


def prediction(whole: Combination, made: Fixed) -> list[str]:
    """Return the functions for one row."""
    length = max(whole.inputs, *(layer.w.shape[1] for layer in made.layers))
    real = whole.dtype.type
    lines = [
        f"{made.kind.type} first[{length}], second[{length}];",
        f"REAL gap = gap_of(x, {whole.inputs});",
        "size_t o;",
        "if (gap != gap) {",
        f"  for (o = 0; o < {whole.outputs}; o++) y[o] = gap;",
        "  return;",
        "}",
        f"quantize(x, (REAL){real(1 / made.scale)!s}, first, {whole.inputs});",
    ]
    source, into = "first", "second"
    for index, layer in enumerate(made.layers[:-1]):
        inputs, outputs = layer.w.shape
        lines.append(f"for (o = 0; o < {outputs}; o++) {{")
        lines += _line(index, layer, source, into, inputs, made)
        lines.append("}")
        source, into = into, source
    inputs, outputs = made.layers[-1].w.shape
    index = len(made.layers) - 1
    product = f"product({source}, w{index} + o * {inputs}, {inputs}, b{index}[o])"
    lines.append(f"for (o = 0; o < {outputs}; o++) y[o] = (REAL){product} * unit[o];")
    last = made.layers[-1].activation
    lines += [f"apply_{last}(y, {outputs});"] if last != "identity" else []
    body = "".join(f"  {line}\n" for line in lines)
    answer = f"static void answer(const REAL *x, REAL *y) {{\n{body}}}\n"
    return [answer, forward.outer(whole, "void NAME_predict", "REAL")]


def _line(index: int, layer: Layer, source: str, into: str, inputs: int, made: Fixed) -> list[str]:
    """Return the statements for one output of a hidden layer."""
    kind = made.kind
    given = f"{source}, w{index} + o * {inputs}, {inputs}, b{index}[o]"
    sums = f"  {kind.sum} sum = product({given});"
    bounds = f"-{kind.most}, {kind.most}"
    if layer.activation == "relu":
        bounds = f"0, {kind.most}"
    elif layer.activation in RANGES:
        bounds = f"-{FINE}, {FINE - 1}"
    value = f"moved(sum, factor{index}[o], shift{index}[o], {bounds})"
    if layer.activation in RANGES:
        value = f"from_table({value}, {layer.activation}_table)"
    return [sums, f"  {into}[o] = ({kind.type}){value};"]
