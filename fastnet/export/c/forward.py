"""The functions of an exported C file that predict one row and many, and the weights they use."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.export.c import mean, products, templates
from fastnet.export.c.literals import numbers
from fastnet.export.combination import Combination, Member
from fastnet.export.encodings import Encoding
from fastnet.export.steps import Add, Affine, Normalize, Scale, Step, activations_of

_STEPS: Final[dict[type[Step], str]] = {
    Scale: templates.SCALE,
    Normalize: templates.NORMALIZE,
    Add: templates.ADD,
}


def definitions(whole: Combination, *, jacobian: bool = False) -> list[str]:
    """Return functions and constants, for `fastnet.export.c.names.filled`.

    ``answer(x, y)`` of each member takes inputs that are encoded already. Derivatives use the
    product of layers of several outputs.
    """
    steps = whole.steps
    widths = {step.width for step in steps if isinstance(step, Affine)}
    functions = products.functions(widths | {2} if jacobian else widths)
    functions += [_STEPS[kind] for kind in dict.fromkeys(map(type, steps)) if kind in _STEPS]
    for activation in activations_of(steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    defined = [constant(*pair) for pair in constants(whole).items()]
    return [*functions, *defined, *prediction(whole), templates.ROWS]


def constant(name: str, values: NDArray[Any]) -> str:
    """Return the definition of an array of floating-point numbers."""
    return numbers(name, values, "ALIGNED" if name.startswith("REAL") else "")


def preprocessing(whole: Combination) -> dict[str, NDArray[Any]]:
    """Return the arrays for what is around the steps, by type and name."""
    made: dict[str, NDArray[Any]] = {}
    for one in whole.encodings:
        if one.scaling is not None:
            names = (f"double input_{part}{one.suffix}" for part in ("mean", "scale"))
            made |= zip(names, one.scaling, strict=True)
    if whole.has_deviations:
        made["REAL floors"] = whole.floors
    return made


def constants(whole: Combination) -> dict[str, NDArray[Any]]:
    """Return the arrays of numbers that the functions read, by type and name."""
    made = preprocessing(whole)
    for member in whole.members:
        for index, step in enumerate(member.steps):
            for part, values in step.tensors.items():
                if isinstance(step, Affine):
                    missing = products.stride(step.width, whole.dtype) - step.width
                    values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
                made[f"REAL {part}{index}{member.suffix}"] = values
    return made | mean.constants(whole.mean)


def prediction(whole: Combination) -> list[str]:
    """Return the functions for one row, of which the last calls the others."""
    functions = [_answer(member) for member in whole.members]
    functions += [] if whole.mean is None else [mean.definition(whole)]
    return [*functions, outer(whole, "void NAME_predict", "REAL")]


def outer(whole: Combination, name: str, given: str) -> str:
    """Return the function for one row, which prepares inputs and calls the functions of members.

    Parameters
    ----------
    name : str
        With the type of its result.
    given : {"REAL", "double"}
        The type of x; REAL is that of the encoded inputs.
    """
    lines = answers(whole, given)
    declared = [] if whole.mean is None else [f"REAL z[{len(whole.members) * whole.outputs}];"]
    if any("inputs[i]" in line for line in lines):
        declared += [f"REAL inputs[{whole.inputs}];", "size_t i;"]
    lines += [] if whole.mean is None else ["combine(z, y);"]
    text = "".join(f"  {line}\n" for line in (*declared, *lines))
    return f"{name}(const {given} *x, REAL *y) {{\n{text}}}\n"


def answers(whole: Combination, given: str = "REAL") -> list[str]:
    """Return lines that write the outputs of all members to z, or those of the only one to y."""
    lines = []
    for one in whole.encodings:
        loop, source = prepared(one, given)
        lines += loop
        for k, member in whole.of(one):
            into = "y" if whole.mean is None else f"z + {k * whole.outputs}" if k else "z"
            lines.append(f"answer{member.suffix}({source}, {into});")
    return lines


def prepared(encoding: Encoding, given: str = "REAL") -> tuple[list[str], str]:
    """Return lines that write the inputs of layers for x, of that type, and where they are then.

    There are no lines if x has them.
    """
    if encoding.scaling is None and given == "REAL":
        return [], f"x + {encoding.at}" if encoding.at else "x"
    value, about = "x[i]", []
    if encoding.scaling is not None:
        about = ["/* In double: a large mean would cost single precision its digits. */"]
        number = "x[i]" if given == "double" else "(double)x[i]"
        value = f"(({number} - input_mean{encoding.suffix}[i]) / input_scale{encoding.suffix}[i])"
    loop = f"for (i = 0; i < {encoding.inputs}; i++) {{"
    return [*about, loop, f"  inputs[i] = (REAL){value};", "}"], "inputs"


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


def _answer(member: Member) -> str:
    """Return the function of a member for one row of encoded inputs."""
    declared, body, source = statements(member)
    body.append(f"for (o = 0; o < {member.network.outputs}; o++) y[o] = {source}[o] + gap;")
    text = "".join(f"  {line}\n" for line in (*declared, *body))
    return f"static void answer{member.suffix}(const REAL *x, REAL *y) {{\n{text}}}\n"


def statements(member: Member, *, slopes: bool = False) -> Lines:
    """Return a statement for each step, which goes from one of two buffers to the other.

    Parameters
    ----------
    slopes : bool
        Whether ``slopes<k>`` gets the derivatives of the activation of step k (the outputs, for
        softmax), and ``unit<k>`` and ``factor<k>`` what a normalisation computes.
    """
    network, steps, suffix = member.network, member.steps, member.suffix
    lines: list[str] = []
    lengths: dict[str, int] = {}
    factors: list[str] = []
    source, buffers = "x", ("first", "second")
    # What a residual connection reads later has memory of its own.
    kept = {step.skip: f"kept{step.skip}" for step in steps if isinstance(step, Add)} | {-1: "x"}
    for index, step in enumerate(steps):
        # Each step writes the buffer that the one before did not.
        into, length = kept.get(index, buffers[source == "first"]), step.width
        w, b = f"w{index}{suffix}", f"b{index}{suffix}"
        if isinstance(step, Affine):
            length = products.width(step.width, network.dtype)
            given = f"{source}, {len(step.w)}, {w}, {b}, {into}"
            stride = products.stride(step.width, network.dtype)
            line = f"affine({given}, {length}, {stride});"
            if step.width == 1:
                line = f"{into}[0] = {b}[0] + dot({source}, {w}, {len(step.w)});"
            lines.append(line)
        elif isinstance(step, Scale):
            lines.append(f"scale({source}, {w}, {b}, {into}, {length});")
        elif isinstance(step, Add):
            lines.append(f"add({source}, {kept[step.skip]}, {into}, {length});")
        else:
            epsilon = f"(REAL){step.epsilon!r}"
            if slopes:
                factors.append(f"REAL factor{index};")
                lengths[f"unit{index}"] = length
                unit = f"unit({source}, {epsilon}, unit{index}, {length})"
                lines.append(f"factor{index} = {unit};")
            lines.append(f"normalize({source}, {w}, {b}, {epsilon}, {into}, {length});")
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
