"""A network as one C99 file that needs the standard library and nothing else.

It has the weights as constants, a function for one row and one for many, the encoding of a table's
cells, the names of columns and classes, and, under a macro, a program that does what ``fastnet
predict`` does with CSV. Nothing is allocated outside that program. Texts from the network enter it
as literals of ASCII characters and escapes only. A network for tables takes a row's columns as
doubles, what `fastnet.export.c.tables` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fastnet._version import version
from fastnet.data import TableSchema
from fastnet.export.c import tables, templates
from fastnet.export.c.literals import numbers, texts, wrapped
from fastnet.export.columns import InputTable, schema_of, table_of
from fastnet.export.steps import Affine, Normalize, Scale, Step, activations_of, shown, steps_of
from fastnet.nn.losses import GaussianNLL

if TYPE_CHECKING:
    from fastnet.network import Network

_STEPS: Final[dict[type[Step], str]] = {
    Affine: templates.AFFINE,
    Scale: templates.SCALE,
    Normalize: templates.NORMALIZE,
}

_ABOUT_TABLES: Final = (
    "x has one double for each of NAME_columns: a number, or the index k of a category,",
    "NAME_categories[column][k], with k below NAME_category_counts[column]; NaN where it is",
    "missing, and NaN or -1 for another category. y is in the unit of the targets.",
)

_CATEGORIES: Final = """\
extern const size_t NAME_category_counts[COLUMNS];
extern const char *const *const NAME_categories[COLUMNS];"""


def content(network: Network, name: str) -> bytes:
    """Return the source, whose public names begin with `name` made fit for C, in ASCII."""
    steps, table = steps_of(network), table_of(network)
    schema = schema_of(network) if table is None else table
    width = network.inputs if table is None else len(table.columns)
    labels, header = network.output_schema.class_names, network.output_schema.column_names
    deviations = isinstance(network.loss, GaussianNLL)
    if labels is not None:
        written = templates.PRINT_CLASSES
    else:
        written = templates.PRINT_DEVIATIONS if deviations else templates.PRINT_VALUES
    functions = [_STEPS[kind] for kind in dict.fromkeys(map(type, steps))]
    for activation in activations_of(steps):
        functions += [text for text in templates.ACTIVATIONS[activation] if text not in functions]
    names = {"columns": [column.name for column in schema.columns], "header": header}
    if labels is not None:
        names["labels"] = list(labels)
    parts = [
        _opening(network, table, labels is not None, deviations),
        "#include <float.h>\n#include <math.h>\n#include <stddef.h>\n"
        "#include <stdlib.h>\n#include <string.h>\n",
        f"#define INPUTS {width}\n#define OUTPUTS {network.outputs}\n"
        f"#define COLUMNS {len(schema.columns)}\n#define HEADER {len(header)}\n",
        *(f"extern const char *const NAME_{key}[{len(value)}];" for key, value in names.items()),
        "" if table is None else _CATEGORIES,
        "size_t NAME_encode(const char *const *cells, INPUT *x);",
        "void NAME_predict(const INPUT *x, REAL *y);",
        "void NAME_predict_rows(const INPUT *x, size_t rows, REAL *y);",
        "size_t NAME_class(const REAL *y);" if labels is not None else "",
        "void NAME_deviations(REAL *y);\n" if deviations else "",
        *functions,
        _weights(network, steps),
        "" if table is None else tables.transform(table, network.dtype),
        _predict(network, steps),
        templates.ROWS,
        templates.CLASS if labels is not None else "",
        _deviations(network) if deviations else "",
    ]
    literals = [texts(f"const char *const NAME_{key}", value) for key, value in names.items()]
    code = _filled("\n".join(parts), network, name, schema)
    # The literals are not code: whatever they say is left as it is.
    code += "\n" + "".join(_filled(kind, network, name, schema) + rest for kind, rest in literals)
    lists = _categories(schema, public=table is not None)
    code += "".join(_filled(kind, network, name, schema) + rest for kind, rest in lists) + "\n"
    encode = templates.ENCODE if table is None else tables.encode(table)
    match = templates.MATCH if table is None else tables.match(table)
    program = templates.PROGRAM.replace("PRINT\n", written).replace("MATCH\n", match)
    program = f"{encode}\n{program}"
    return (code + _filled(program, network, name, schema)).encode("ascii")


def usage(network: Network, path: Path) -> str:
    """Return how the file is compiled."""
    table = table_of(network)
    takes = ""
    if table is not None:
        takes = (
            f"; a row is {len(table.columns)} doubles,\n"
            "one for each column: a number, or the index of a category; NaN where it is missing, "
            "-1 for another category"
        )
    return (
        f"cc -O3 -c {path}, for its functions{takes}; as a program that reads CSV:\n"
        f"cc -O3 -DFASTNET_MAIN {path} -lm -o {path.stem}"
    )


def _opening(network: Network, table: InputTable | None, classes: bool, deviations: bool) -> str:
    """Return the comment that says what the file is and how it is used."""
    lines = [
        f"A neural network, exported by fastnet {version}: C99, needs the standard library only.",
        "",
        *(f"  {index}  {shown(layer)}" for index, layer in enumerate(network.layers)),
        "",
        "NAME_predict(x, y) takes one row, x[INPUTS], and writes y[OUTPUTS].",
        "NAME_predict_rows(x, rows, y) takes many, one after the other.",
        "NAME_encode(cells, x) writes x[INPUTS] for the texts of a row, cells[COLUMNS]; it returns",
        "0, or k where cell k, from 1, is no finite number.",
    ]
    if table is not None:
        lines += _ABOUT_TABLES
    if classes:
        lines.append("NAME_class(y) returns the likeliest class, an index of NAME_labels.")
    if deviations:
        lines.append("NAME_deviations(y) makes the second half of y, logarithms of variances,")
        lines.append("standard deviations.")
    lines.append("Nothing is allocated, and several threads may call these at once.")
    lines.append("With -DFASTNET_MAIN it is a program: CSV on standard input, predictions out.")
    return "/* " + "\n * ".join(lines).replace(" \n", "\n") + "\n */\n"


def _filled(text: str, network: Network, name: str, schema: TableSchema | InputTable) -> str:
    """Return code with the names and the precision of this network."""
    single = network.dtype == np.float32
    prefix = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not re.match("[A-Za-z]", prefix):
        prefix = f"net_{prefix}"
    text = re.sub(r"\bF\((\w+)\)", r"\1f" if single else r"\1", text)
    words = {
        "REAL": "float" if single else "double",
        "INPUT": "float" if single and network.preprocessor is None else "double",
        "LARGEST": "FLT_MAX" if single else "DBL_MAX",
        "NAMED": str(int(schema.named)),
        "DIGITS": "%.9g" if single else "%.17g",
    }
    for word, value in words.items():
        text = re.sub(rf"\b{word}\b", value, text)
    for word in ("INPUTS", "OUTPUTS", "COLUMNS", "HEADER"):
        text = re.sub(rf"\b{word}\b", f"{prefix.upper()}_{word}", text)
    return re.sub(r"\bNAME(?=_|\b)", prefix, text)


def _weights(network: Network, steps: Sequence[Step]) -> str:
    """Return the definitions of all constants."""
    lines = []
    if network.scaler is not None:
        for part in ("mean", "scale"):
            lines.append(numbers(f"double input_{part}", getattr(network.scaler, part)))
    for index, step in enumerate(steps):
        lines += [numbers(f"REAL {part}{index}", getattr(step, part)) for part in "wb"]
    return "\n".join(lines)


def _predict(network: Network, steps: Sequence[Step]) -> str:
    """Return the function for one row: a line for each step, between two buffers."""
    lines, widths, source = [], {}, "x"
    buffers = ["first", "second"]
    if network.preprocessor is not None:
        widths["first"], source = network.inputs, "first"
        lines.append("transform(x, first);")
    if network.scaler is not None:
        lines.append(
            f"for (size_t i = 0; i < {network.inputs}; i++) "
            f"first[i] = (REAL)(((double){source}[i] - input_mean[i]) / input_scale[i]);"
        )
        widths["first"], source = network.inputs, "first"
    for index, step in enumerate(steps):
        width = len(step.b)
        into = "y" if index == len(steps) - 1 else buffers[source == "first"]
        if into != "y":
            widths[into] = max(width, widths.get(into, 0))
        if isinstance(step, Affine):
            lines.append(f"affine({source}, {len(step.w)}, w{index}, b{index}, {into}, {width});")
        elif isinstance(step, Scale):
            lines.append(f"scale({source}, w{index}, b{index}, {into}, {width});")
        else:
            epsilon = f"(REAL){step.epsilon!r}"
            lines.append(f"normalize({source}, w{index}, b{index}, {epsilon}, {into}, {width});")
        if step.activation != "identity":
            lines.append(f"apply_{step.activation}({into}, {width});")
        source = into
    declared = [f"REAL {name}[{width}];" for name, width in widths.items()]
    body = "".join(f"  {line}\n" for line in (*declared, *lines))
    return f"void NAME_predict(const INPUT *x, REAL *y) {{\n{body}}}\n"


def _deviations(network: Network) -> str:
    """Return the function that makes standard deviations, and its constants."""
    return (
        numbers("REAL floors", network.output_schema.log_variance_floors.astype(network.dtype))
        + templates.DEVIATIONS
    )


def _categories(schema: TableSchema | InputTable, *, public: bool) -> Iterable[tuple[str, str]]:
    """Yield the definitions of what the encoding needs: code and literals."""
    counts, lists = [], []
    for index, categories in enumerate([column.categories for column in schema.columns]):
        counts.append(str(len(categories)))
        lists.append(f"categories_{index}" if categories else "NULL")
        if categories:
            yield texts(f"static const char *const categories_{index}", categories)
    kept, prefix = ("", "NAME_") if public else ("static ", "")
    yield (
        f"{kept}const size_t {prefix}category_counts[{len(counts)}] = {{\n{wrapped(counts)}}};\n"
        f"{kept}const char *const *const {prefix}categories[{len(lists)}] = ",
        f"{{\n{wrapped(lists)}}};\n",
    )
