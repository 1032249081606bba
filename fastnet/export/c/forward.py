"""The functions of an exported C file that predict one row and many, and the weights they use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.export.c import products, templates
from fastnet.export.c.literals import numbers
from fastnet.export.columns import scaling_of
from fastnet.export.steps import Add, Affine, Normalize, Scale, Step, activations_of
from fastnet.network import Network
from fastnet.nn.losses import GaussianNLL

_STEPS: Final[dict[type[Step], str]] = {
    Scale: templates.SCALE,
    Normalize: templates.NORMALIZE,
    Add: templates.ADD,
}

_STANDARDISED: Final = """\
void NAME_predict(const REAL *x, REAL *y) {
  REAL scaled[INPUTS];
  size_t i;
  /* In double: a large mean would cost single precision its digits. */
  for (i = 0; i < INPUTS; i++) {
    scaled[i] = (REAL)(((double)x[i] - input_mean[i]) / input_scale[i]);
  }
  answer(scaled, y);
}
"""


def definitions(network: Network, steps: Sequence[Step]) -> list[str]:
    """Return functions and constants, for `fastnet.export.c.names.filled`.

    ``answer(x, y)`` takes inputs that are standardised already.
    """
    functions = [products.functions()]
    functions += [_STEPS[kind] for kind in dict.fromkeys(map(type, steps)) if kind in _STEPS]
    for activation in activations_of(steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    defined = [
        numbers(name, values, "" if name.startswith("double input") else "ALIGNED")
        for name, values in constants(network, steps).items()
    ]
    return [*functions, *defined, *prediction(network, steps), templates.ROWS]


def constants(network: Network, steps: Sequence[Step]) -> dict[str, NDArray[Any]]:
    """Return the arrays of numbers that the functions read, by type and name."""
    made: dict[str, NDArray[Any]] = {}
    scaling = scaling_of(network)
    if scaling is not None:
        made |= zip(("double input_mean", "double input_scale"), scaling, strict=True)
    for index, step in enumerate(steps):
        for part, values in step.tensors.items():
            if isinstance(step, Affine):
                missing = products.stride(step.width, network.dtype) - step.width
                values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
            made[f"REAL {part}{index}"] = values
    if has_deviations(network):
        made["REAL floors"] = network.output_schema.log_variance_floors.astype(network.dtype)
    return made


def has_deviations(network: Network) -> bool:
    """Return whether outputs are means and logarithms of variances."""
    classes = network.output_schema.class_names is not None
    return not classes and isinstance(network.loss, GaussianNLL)


def prediction(network: Network, steps: Sequence[Step]) -> list[str]:
    """Return the functions for one row."""
    predict = "void NAME_predict(const REAL *x, REAL *y) {\n  answer(x, y);\n}\n"
    if scaling_of(network) is not None:
        predict = _STANDARDISED.replace("INPUTS", str(network.inputs))
    return [_answer(network, steps), predict]


def _answer(network: Network, steps: Sequence[Step]) -> str:
    """Return the function for one row: a line for each step, between two buffers."""
    lines: list[str] = []
    lengths: dict[str, int] = {}
    source, buffers = "x", ("first", "second")
    # What a residual connection reads later has memory of its own.
    kept = {step.skip: f"kept{step.skip}" for step in steps if isinstance(step, Add)} | {-1: "x"}
    for index, step in enumerate(steps):
        # Each step writes the buffer that the one before did not.
        into, length = kept.get(index, buffers[source == "first"]), step.width
        if isinstance(step, Affine):
            length = products.width(step.width, network.dtype)
            given = f"{source}, {len(step.w)}, w{index}, b{index}, {into}"
            stride = products.stride(step.width, network.dtype)
            lines.append(f"affine({given}, {length}, {stride});")
        elif isinstance(step, Scale):
            lines.append(f"scale({source}, w{index}, b{index}, {into}, {length});")
        elif isinstance(step, Add):
            lines.append(f"add({source}, {kept[step.skip]}, {into}, {length});")
        else:
            epsilon = f"(REAL){step.epsilon!r}"
            lines.append(f"normalize({source}, w{index}, b{index}, {epsilon}, {into}, {length});")
        if step.activation != "identity":
            lines.append(f"apply_{step.activation}({into}, {step.width});")
        lengths[into] = max(length, lengths.get(into, 0))
        source = into
    lines.append(f"for (o = 0; o < {network.outputs}; o++) y[o] = {source}[o] + gap;")
    declared = [f"REAL {name}[{length}] ALIGNED;" for name, length in lengths.items()]
    declared += [f"REAL gap = gap_of(x, {network.inputs});", "size_t o;"]
    body = "".join(f"  {line}\n" for line in (*declared, *lines))
    return f"static void answer(const REAL *x, REAL *y) {{\n{body}}}\n"
