"""The functions of an exported C file that predict one row and many, and the weights they use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

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


def definitions(network: Network, steps: Sequence[Step], *, jacobian: bool = False) -> list[str]:
    """Return functions and constants, for `fastnet.export.c.names.filled`.

    ``answer(x, y)`` takes inputs that are standardised already. Derivatives use the product of
    layers of several outputs.
    """
    widths = {step.width for step in steps if isinstance(step, Affine)}
    functions = products.functions(widths | {2} if jacobian else widths)
    functions += [_STEPS[kind] for kind in dict.fromkeys(map(type, steps)) if kind in _STEPS]
    for activation in activations_of(steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    defined = [constant(*pair) for pair in constants(network, steps).items()]
    return [*functions, *defined, *prediction(network, steps), templates.ROWS]


def constant(name: str, values: NDArray[Any]) -> str:
    """Return the definition of an array of floating-point numbers."""
    return numbers(name, values, "ALIGNED" if name.startswith("REAL") else "")


def preprocessing(network: Network) -> dict[str, NDArray[Any]]:
    """Return the arrays for what is around the steps, by type and name."""
    made: dict[str, NDArray[Any]] = {}
    scaling = scaling_of(network)
    if scaling is not None:
        made |= zip(("double input_mean", "double input_scale"), scaling, strict=True)
    if has_deviations(network):
        made["REAL floors"] = network.output_schema.log_variance_floors.astype(network.dtype)
    return made


def constants(network: Network, steps: Sequence[Step]) -> dict[str, NDArray[Any]]:
    """Return the arrays of numbers that the functions read, by type and name."""
    made = preprocessing(network)
    for index, step in enumerate(steps):
        for part, values in step.tensors.items():
            if isinstance(step, Affine):
                missing = products.stride(step.width, network.dtype) - step.width
                values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
            made[f"REAL {part}{index}"] = values
    return made


def has_deviations(network: Network) -> bool:
    """Return whether outputs are means and logarithms of variances."""
    classes = network.output_schema.class_names is not None
    return not classes and isinstance(network.loss, GaussianNLL)


def prediction(network: Network, steps: Sequence[Step]) -> list[str]:
    """Return the functions for one row."""
    return [_answer(network, steps), outer(network)]


def outer(network: Network) -> str:
    """Return the public function for one row, which standardises its inputs if need be."""
    if scaling_of(network) is None:
        return "void NAME_predict(const REAL *x, REAL *y) {\n  answer(x, y);\n}\n"
    return _STANDARDISED.replace("INPUTS", str(network.inputs))


class Lines(NamedTuple):
    """The statements that take a row through the steps.

    Attributes
    ----------
    declared : list of str
        The buffers, ``gap`` and the counter ``o``.
    body : list of str
    source : str
        The buffer that has the outputs at the end, to which ``gap`` is not added yet.
    """

    declared: list[str]
    body: list[str]
    source: str


def _answer(network: Network, steps: Sequence[Step]) -> str:
    """Return the function for one row whose inputs are standardised."""
    declared, body, source = statements(network, steps)
    body.append(f"for (o = 0; o < {network.outputs}; o++) y[o] = {source}[o] + gap;")
    text = "".join(f"  {line}\n" for line in (*declared, *body))
    return f"static void answer(const REAL *x, REAL *y) {{\n{text}}}\n"


def statements(network: Network, steps: Sequence[Step], *, slopes: bool = False) -> Lines:
    """Return a statement for each step, which goes from one of two buffers to the other.

    Parameters
    ----------
    slopes : bool
        Whether ``slopes<k>`` gets the derivatives of the activation of step k (the outputs, for
        softmax), and ``unit<k>`` and ``factor<k>`` what a normalisation computes.
    """
    lines: list[str] = []
    lengths: dict[str, int] = {}
    factors: list[str] = []
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
            line = f"affine({given}, {length}, {stride});"
            if step.width == 1:
                line = f"{into}[0] = b{index}[0] + dot({source}, w{index}, {len(step.w)});"
            lines.append(line)
        elif isinstance(step, Scale):
            lines.append(f"scale({source}, w{index}, b{index}, {into}, {length});")
        elif isinstance(step, Add):
            lines.append(f"add({source}, {kept[step.skip]}, {into}, {length});")
        else:
            epsilon = f"(REAL){step.epsilon!r}"
            if slopes:
                factors.append(f"REAL factor{index};")
                lengths[f"unit{index}"] = length
                unit = f"unit({source}, {epsilon}, unit{index}, {length})"
                lines.append(f"factor{index} = {unit};")
            lines.append(f"normalize({source}, w{index}, b{index}, {epsilon}, {into}, {length});")
        if step.activation != "identity":
            called = [f"apply_{step.activation}({into}, {step.width});"]
            if slopes:
                lengths[f"slopes{index}"] = step.width
                if step.activation == "softmax":
                    called.append(f"memcpy(slopes{index}, {into}, sizeof slopes{index});")
                else:
                    given = f"{into}, slopes{index}, {step.width}"
                    called.insert(0, f"slopes_{step.activation}({given});")
            lines += called
        lengths[into] = max(length, lengths.get(into, 0))
        source = into
    declared = [f"REAL {name}[{length}] ALIGNED;" for name, length in lengths.items()]
    declared += [*factors, f"REAL gap = gap_of(x, {network.inputs});", "size_t o;"]
    return Lines(declared, lines, source)
