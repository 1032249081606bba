"""The function of an exported C file for outputs and their derivatives by the inputs of one row.

The outputs are computed step by step, and the slopes of the activations with them. Then gradients
go back, from some outputs at a time: ``g`` (width, GRADIENTS) has the derivative of each of these
outputs by each number that a step made. They go through a layer by the products that rows go
forward by: the input is a row of its weights, and the weights are the gradients.
"""

from __future__ import annotations

import math
from typing import Final

from fastnet.export.c import forward, mean_slopes, products
from fastnet.export.combination import Combination, Mean, Member
from fastnet.export.encodings import Encoding
from fastnet.export.steps import Add, Affine, Normalize, Scale, activations_of
from fastnet.kernels import abi
from fastnet.network import Network

ABOUT: Final = (
    "NAME_jacobian(x, y, dy) writes y as NAME_predict does, and the derivative of output o by",
    "input i to dy[o * NAME_INPUTS + i], of NAME_OUTPUTS * NAME_INPUTS numbers.",
)

DECLARED: Final = "void NAME_jacobian(const REAL *x, REAL *y, REAL *dy);"


def _real(value: float) -> str:
    return f"(REAL){value!r}"


_EXP: Final = "F(exp)(z[i])"
_LINEAR: Final = _real(abi.SELU_LAMBDA)
_BELOW: Final = _real(abi.SELU_LAMBDA * abi.SELU_ALPHA)

_SIGMOID: Final = "REAL s = sigmoid_of(z[i]);"
_INSIDE: Final = f"{_real(abi.GELU_SCALE)} * u * (1 + {_real(abi.GELU_CUBIC)} * (u * u))"

_SLOPES: Final[dict[str, tuple[str, str]]] = {
    "relu": ("", "z[i] > 0 ? 1 : 0"),
    "leaky_relu": ("", f"z[i] > 0 ? 1 : {_real(abi.LEAKY_SLOPE)}"),
    "elu": ("", f"z[i] > 0 ? 1 : {_EXP}"),
    "selu": ("", f"z[i] > 0 ? {_LINEAR} : {_BELOW} * {_EXP}"),
    "gelu": (
        f"REAL t = z[i] * {_real(math.sqrt(0.5))};",
        f"(REAL)0.5 * F(erfc)(-t) + z[i] * {_real(abi.NORMAL_SCALE)} * F(exp)(-t * t)",
    ),
    "gelu_tanh": (
        f"REAL u = z[i] > {_real(abi.GELU_FLAT)} ? {_real(abi.GELU_FLAT)} : z[i] < "
        f"-{_real(abi.GELU_FLAT)} ? -{_real(abi.GELU_FLAT)} : z[i];\n"
        f"    REAL h = F(tanh)({_INSIDE});",
        f"(REAL)0.5 * (1 + h) * (1 + u * (1 - h) * {_real(abi.GELU_SCALE)} * "
        f"(1 + {_real(3 * abi.GELU_CUBIC)} * u * u))",
    ),
    "silu": (_SIGMOID, "s * (1 + z[i] * (1 - s))"),
    "mish": (
        "REAL p = softplus_of(z[i]), h = F(tanh)(p);",
        "h - z[i] * F(expm1)(-p) * (1 - h * h)",
    ),
    "tanh": ("REAL h = F(tanh)(z[i]);", "1 - h * h"),
    "sigmoid": (_SIGMOID, "s * (1 - s)"),
    "softplus": ("", "-F(expm1)(-softplus_of(z[i]))"),
    "exp": ("", _EXP),
}
"""For each activation a statement, and the derivative at z[i]."""

_BACK: Final = """\
/* Gradients h (inputs, GRADIENTS) of a layer's inputs, from those of its outputs. */
static void back(const REAL *g, size_t outputs, const REAL *w, size_t stride, REAL *h,
                 size_t inputs) {
  size_t i;
  for (i = 0; i < inputs; i++) {
    affine(w + i * stride, outputs, g, zeros, h + i * GRADIENTS, GRADIENTS, GRADIENTS);
  }
}
"""

_TIMES: Final = """\
/* Each row of g times a number. */
static void times(REAL *g, const REAL *d, size_t n) {
  size_t i, c;
  for (i = 0; i < n; i++) {
    for (c = 0; c < GRADIENTS; c++) g[i * GRADIENTS + c] *= d[i];
  }
}
"""

_SOFTMAX: Final = """\
/* Gradients before a softmax with the outputs y. */
static void before_softmax(REAL *g, const REAL *y, size_t n) {
  size_t i, c;
  for (c = 0; c < GRADIENTS; c++) {
    REAL sum = 0;
    for (i = 0; i < n; i++) sum += g[i * GRADIENTS + c] * y[i];
    for (i = 0; i < n; i++) g[i * GRADIENTS + c] = y[i] * (g[i * GRADIENTS + c] - sum);
  }
}
"""

_UNIT: Final = """\
/* x with the mean 0 and the variance 1, and the factor that this takes. */
static REAL unit(const REAL *x, REAL epsilon, REAL *y, size_t n) {
  REAL mean = 0, variance = 0, factor;
  size_t i;
  for (i = 0; i < n; i++) mean += x[i];
  mean /= (REAL)n;
  for (i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean);
  factor = 1 / F(sqrt)(variance / (REAL)n + epsilon);
  for (i = 0; i < n; i++) y[i] = (x[i] - mean) * factor;
  return factor;
}

/* Gradients before a normalisation, whose result is y. */
static void before_unit(REAL *g, const REAL *y, REAL factor, size_t n) {
  size_t i, c;
  for (c = 0; c < GRADIENTS; c++) {
    REAL mean = 0, slope = 0;
    for (i = 0; i < n; i++) {
      mean += g[i * GRADIENTS + c];
      slope += g[i * GRADIENTS + c] * y[i];
    }
    mean /= (REAL)n;
    slope /= (REAL)n;
    for (i = 0; i < n; i++) {
      g[i * GRADIENTS + c] = factor * (g[i * GRADIENTS + c] - mean - slope * y[i]);
    }
  }
}
"""


def definitions(whole: Combination) -> list[str]:
    """Return the functions and a constant, for `fastnet.export.c.names.filled`."""
    kinds = set(map(type, whole.steps))
    used = activations_of(whole.steps)
    columns = f"enum {{ GRADIENTS = {_columns(whole.first)} }};\n"
    zeros = f"static const REAL zeros[{_columns(whole.first)}] ALIGNED = {{0}};\n"
    functions = [columns, zeros] + [_BACK] * (Affine in kinds)
    functions += [_TIMES] * bool({*used} - {"softmax"} or {Normalize, Scale} & kinds)
    functions += [_SOFTMAX] * ("softmax" in used) + [_UNIT] * (Normalize in kinds)
    functions += [_slopes(name) for name in used if name != "softmax"]
    functions += [] if whole.mean is None else mean_slopes.definitions(whole.mean)
    return [*functions, *map(_differentiate, whole.members), outer(whole)]


def outer(whole: Combination) -> str:
    """Return the function for one row, which calls those of the members."""
    lines = _alone(whole) if whole.mean is None else _together(whole, whole.mean)
    declared = []
    if whole.mean is not None:
        longest = whole.outputs * max(one.inputs for one in whole.encodings)
        sizes = f"z[{len(whole.members) * whole.outputs}], part[{longest}]"
        declared = [f"REAL {sizes};", "size_t j;"]
    if any("inputs[i]" in line for line in lines):
        declared += [f"REAL inputs[{whole.inputs}];", "size_t i, o;"]
    text = "".join(f"  {line}\n" for line in (*declared, *lines))
    return f"void NAME_jacobian(const REAL *x, REAL *y, REAL *dy) {{\n{text}}}\n"


def _alone(whole: Combination) -> list[str]:
    """Return the lines of one network."""
    (one,) = whole.encodings
    prepared, source = forward.prepared(one)
    lines = [*prepared, f"differentiate({source}, y, dy);"]
    return lines + _unscaled(one, "dy", whole.outputs) if prepared else lines


def _together(whole: Combination, mean: Mean) -> list[str]:
    """Return the lines of several networks: each adds its part."""
    outputs, mixes = whole.outputs, mean.floors is not None
    # The part of a mixture's member depends on the outputs of all.
    lines = [*forward.answers(whole), "combine(z, y);"] if mixes else []
    lines.append(f"for (j = 0; j < {outputs * whole.inputs}; j++) dy[j] = 0;")
    given = "z, y, " if mixes else ""
    for one in whole.encodings:
        prepared, source = forward.prepared(one)
        lines += prepared
        place = f"dy + {one.at}" if one.at else "dy"
        for k, member in whole.of(one):
            lines.append(f"differentiate{member.suffix}({source}, z + {k * outputs}, part);")
            lines += _unscaled(one, "part", outputs) if prepared else []
            lines.append(f"add_slopes(part, {one.inputs}, {k}, {given}{place});")
    lines += [] if mixes else ["combine(z, y);"]
    return lines if mean.temperature is None else [*lines, "at_temperature(z, y, dy);"]


def _unscaled(encoding: Encoding, slopes: str, outputs: int) -> list[str]:
    """Return lines that make derivatives by x of those by standardised inputs."""
    n, scale = encoding.inputs, f"input_scale{encoding.suffix}[i]"
    return [
        f"for (o = 0; o < {outputs}; o++) {{",
        f"  for (i = 0; i < {n}; i++) {{",
        f"    {slopes}[o * {n} + i] = (REAL)({slopes}[o * {n} + i] / {scale});",
        "  }",
        "}",
    ]


def _columns(network: Network) -> int:
    """Return how many outputs gradients go back from at a time: a vector of 16, 32 or 64 bytes."""
    lanes = [size // network.dtype.itemsize for size in (16, 32, 64)]
    return next((n for n in lanes if n >= network.outputs), lanes[-1])


def _slopes(name: str) -> str:
    """Return the function that writes the derivatives of an activation."""
    statement, value = _SLOPES[name]
    body = f"    {statement}\n    d[i] = {value};\n" if statement else f"    d[i] = {value};\n"
    head = f"static void slopes_{name}(const REAL *z, REAL *d, size_t n) {{"
    return f"{head}\n  size_t i;\n  for (i = 0; i < n; i++) {{\n{body}  }}\n}}\n"


def _differentiate(member: Member) -> str:
    """Return the function of a member for a row of encoded inputs."""
    network, steps, suffix = member.network, member.steps, member.suffix
    declared, body, source = forward.statements(member, slopes=True)
    columns, outputs = _columns(network), network.outputs
    lengths = {"one": max(network.inputs, *(step.width for step in steps)) * columns}
    lengths["two"] = lengths["one"]
    g, h = "one", "two"
    lines = []

    def joined(place: int, width: int) -> list[str]:
        """Return what adds the gradients that come to a step's outputs past other steps."""
        skips = [k for k, step in enumerate(steps) if isinstance(step, Add) and step.skip == place]
        return [f"add({g}, past{k}, {g}, {width} * GRADIENTS);" for k in skips]

    for index, step in reversed(list(enumerate(steps))):
        width = step.width
        lines += joined(index, width)
        if step.activation == "softmax":
            lines.append(f"before_softmax({g}, slopes{index}, {width});")
        elif step.activation != "identity":
            lines.append(f"times({g}, slopes{index}, {width});")
        if isinstance(step, Affine):
            stride = products.stride(width, network.dtype)
            lines.append(f"back({g}, {width}, w{index}{suffix}, {stride}, {h}, {len(step.w)});")
            g, h = h, g
        elif isinstance(step, Add):
            lengths[f"past{index}"] = width * columns
            lines.append(f"memcpy(past{index}, {g}, sizeof past{index});")
        else:
            lines.append(f"times({g}, w{index}{suffix}, {width});")
            if isinstance(step, Normalize):
                lines.append(f"before_unit({g}, unit{index}, factor{index}, {width});")
    lines += joined(-1, network.inputs)
    declared = [*declared, *(f"REAL {name}[{n}] ALIGNED;" for name, n in lengths.items())]
    declared.append("size_t from, i, c;")
    begin = [
        f"for (o = 0; o < {outputs}; o++) y[o] = {source}[o] + gap;",
        f"for (from = 0; from < {outputs}; from += GRADIENTS) {{",
        f"  for (i = 0; i < {outputs}; i++) {{",
        "    for (c = 0; c < GRADIENTS; c++) one[i * GRADIENTS + c] = i == from + c;",
        "  }",
    ]
    end = [
        f"  for (c = 0; c < GRADIENTS && from + c < {outputs}; c++) {{",
        f"    for (i = 0; i < {network.inputs}; i++) {{",
        f"      dy[(from + c) * {network.inputs} + i] = {g}[i * GRADIENTS + c] + gap;",
        "    }",
        "  }",
        "}",
    ]
    text = [*declared, *body, *begin, *(f"  {line}" for line in lines), *end]
    whole = "".join(f"  {line}\n" for line in text)
    head = f"static void differentiate{suffix}(const REAL *x, REAL *y, REAL *dy)"
    return f"{head} {{\n{whole}}}\n"
