"""A network or an ensemble as one Python file that needs NumPy and nothing else.

The file has a line for each step, the formulas of the activations it uses, and the weights as
base64 of NPY bytes; for a network for tables, also a function that encodes one. Texts from the
network (labels, column names, categories) enter it as ASCII literals only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet._version import version
from fastnet.export.combination import Combination, Member, Predictor, combination_of
from fastnet.export.python import mean, program, tables, templates
from fastnet.export.steps import Add, Affine, Normalize, activations_of

_TABLE_IMPORTS: Final = [
    "from datetime import date, datetime, timedelta",
    "from decimal import Decimal",
]
_ABOUT_TABLES: Final = (
    "encode(table) returns x for a dict or a data frame of columns by name, or an array of columns",
    "in the order of COLUMNS: predict(encode(table)). Outputs are in the unit of the targets.",
)

_LINE: Final = 96


def content(predictor: Predictor, name: str) -> bytes:
    """Return the source of a module with ``predict(x)`` for these networks, in ASCII."""
    whole = combination_of(predictor)

    # Functions: those that the kinds of steps and activations need, then the public ones.
    functions = [templates.STEPS[kind] for kind in dict.fromkeys(map(type, whole.steps))]
    for activation in activations_of(whole.steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    functions += [templates.CHECKS, *map(_answer, whole.members)]
    functions += [] if whole.mean is None else [mean.definition(whole.mean)]
    functions += [_predict(whole)]
    functions += [templates.LABELS] if whole.schema.class_names else []
    if whole.has_deviations:
        one = whole.first.target_axes == 1 and whole.outputs == 2
        functions.append(templates.deviations("N,", "[:, 0]") if one else templates.deviations())
    functions += tables.functions(whole.encodings) if whole.takes_tables else []

    parts = [_head(whole), *functions, _tensors(_arrays(whole)), program.source(whole)]
    return "\n\n".join(parts).encode("ascii")


def usage(predictor: Predictor, path: Path) -> str:
    """Return how the file is used."""
    whole = combination_of(predictor)
    call = "predict(encode(table))" if whole.takes_tables else "predict(x)"
    return (
        f"a module that needs NumPy only; its function {call} returns {_shape(whole)}.\n"
        f"python {path} < rows.csv writes predictions."
    )


def _arrays(whole: Combination) -> dict[str, NDArray[Any]]:
    """Return the arrays of the steps, and of what stands before and after them."""
    made = {
        f"{part}{k}{member.suffix}": values
        for member in whole.members
        for k, step in enumerate(member.steps)
        for part, values in step.tensors.items()
    }
    for one in whole.encodings:
        if one.scaling is not None:
            made |= zip((f"mean{one.suffix}", f"scale{one.suffix}"), one.scaling, strict=True)
        if one.table is not None:
            made |= tables.tensors(one)
    if whole.has_deviations:
        made["floors"] = whole.floors
    return made | mean.tensors(whole.mean)


def _shape(whole: Combination) -> str:
    """Return the shape of predictions as text, which is that of ``predict``."""
    return "(N,)" if _has_one_axis(whole) else f"(N, {whole.outputs})"


def _has_one_axis(whole: Combination) -> bool:
    return whole.first.target_axes == 1 and whole.outputs == 1


def _head(whole: Combination) -> str:
    """Return the top of the file: what it is, imports, and constants."""
    labels, header = whole.schema.class_names, whole.schema.column_names
    tables = whole.takes_tables
    lines = [
        f'"""{whole.title}, exported by fastnet {version}: needs NumPy and nothing else.',
        "",
        *(f"  {line}" for line in whole.described()),
        "",
        f"predict(x) takes (N, {whole.inputs}) and returns {_shape(whole)}. As a program, this",
        "file reads a header and rows as CSV from standard input, and writes predictions as CSV.",
        *(_ABOUT_TABLES if tables else ()),
        '"""',
        "",
        "import base64",
        "import csv",
        "import io",
        *(["import re"] if tables else []),
        "import sys",
        *(_TABLE_IMPORTS if tables else ()),
        "",
        "import numpy as np",
        "",
        f"DTYPE = np.{whole.dtype.name}",
        f"INPUTS = {whole.inputs}",
    ]
    about = "name, kind, part of a date or whether true is 1, categories"
    features: list[str] = []
    for one in whole.encodings:
        if one.table is not None:
            rows = [(c.source, c.kind, c.part or c.truths, c.categories) for c in one.table.columns]
            lines.append(_tuple(f"COLUMNS{one.suffix}", rows, about))
            features += one.table.features
    if tables:
        lines.append(_tuple("FEATURES", features, "names of the inputs, in order"))
    if labels:
        lines.append(_tuple("LABELS", labels, "names of the classes, in order"))
    else:
        lines.append(_tuple("OUTPUTS", header, "names of the outputs, in order"))
    return "\n".join([*lines, ""])


def _predict(whole: Combination) -> str:
    """Return the function that predicts: inputs, the answers of the members, and their mean."""
    lines = ["x = _numeric(x)"]
    answers: dict[int, str] = {}
    for one in whole.encodings:
        inputs = f"x{one.suffix}"
        taken = (
            "x"
            if one.table is None or len(whole.encodings) == 1
            else (f"x[:, {one.at}:{one.at + one.inputs}]")
        )
        if one.scaling is None:
            lines.append(f"{inputs} = _finite({taken}, DTYPE)")
        else:
            # In double: a large mean would cost single precision its digits.
            scaled = f'(_finite({taken}, float) - TENSORS["mean{one.suffix}"])'
            lines.append(f'{inputs} = _finite({scaled} / TENSORS["scale{one.suffix}"], DTYPE)')
        answers |= {k: f"answer{member.suffix}({inputs})" for k, member in whole.of(one)}
    if whole.mean is None:
        lines.append(f"y = {answers[0]}")
    else:
        listed = "".join(f"\n        {answers[k]}," for k in range(len(answers)))
        lines.append(f"y = combine([{listed}\n    ])")
    return templates.PREDICT.format(
        inputs=whole.inputs,
        shape=_shape(whole),
        result="y[:, 0]" if _has_one_axis(whole) else "y",
        lines="\n    ".join(lines),
    )


def _answer(member: Member) -> str:
    """Return the function of a member: a line for each step."""
    steps, suffix = member.steps, member.suffix
    lines = []
    kept = {step.skip: f"kept{max(step.skip, 0)}" for step in steps if isinstance(step, Add)}
    if -1 in kept:
        kept[-1] = "kept"
        lines.append("kept = x")
    for index, step in enumerate(steps):
        if isinstance(step, Add):
            value = f"add(x, {kept[step.skip]})"
        elif isinstance(step, Normalize):
            value = f'normalize(x, "{index}{suffix}", {step.epsilon!r})'
        else:
            value = f'{"dense" if isinstance(step, Affine) else "scale"}(x, "{index}{suffix}")'
        called = step.activation != "identity"
        lines.append(f"x = {step.activation}({value})" if called else f"x = {value}")
        if index in kept:
            lines.append(f"{kept[index]} = x")
    return "\n    ".join([f"def answer{suffix}(x):", *lines, "return x\n"])


def _tuple(variable: str, values: Sequence[object], comment: str) -> str:
    """Return the definition of a tuple, one value a line."""
    lines = "".join(f"    {value!a},\n" for value in values)
    return f"{variable} = (  # {comment}\n{lines})"


def _tensors(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the definition of all arrays by name."""
    entries = []
    for name, values in tensors.items():
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        lines = "\n".join(text[i : i + _LINE] for i in range(0, len(text), _LINE))
        entries.append(f'    "{name}": _array("""\n{lines}\n"""),\n')
    return f"{templates.ARRAY}\n\nTENSORS = {{\n{''.join(entries)}}}\n"
