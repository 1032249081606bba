"""A network as one Python file that needs NumPy and nothing else.

The file has a line for each step, the formulas of the activations it uses, and the weights as
base64 of NPY bytes. Run as a program it reads CSV and writes predictions as ``fastnet predict``
does. Texts from the network (labels, column names) enter it as ASCII literals only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet import answers
from fastnet._version import version
from fastnet.export.steps import Affine, Normalize, Scale, Step, activations_of, steps_of
from fastnet.kernels import abi
from fastnet.losses import LOG_VARIANCE_FLOOR, GaussianNLL

if TYPE_CHECKING:
    from fastnet.network import Network

_SIGMOID: Final = """\
def sigmoid(z):
    # Neither exponential can overflow.
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
"""

_SOFTPLUS: Final = """\
def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
"""

_ACTIVATIONS: Final[dict[str, tuple[str, ...]]] = {
    "identity": (),
    "relu": ("def relu(z):\n    return np.maximum(z, 0)\n",),
    "leaky_relu": (f"def leaky_relu(z):\n    return np.maximum(z, {abi.LEAKY_SLOPE!r} * z)\n",),
    "elu": ("def elu(z):\n    return np.maximum(z, 0) + np.expm1(np.minimum(z, 0))\n",),
    "selu": (
        f"""\
def selu(z):
    negative = {abi.SELU_LAMBDA * abi.SELU_ALPHA!r} * np.expm1(np.minimum(z, 0))
    return {abi.SELU_LAMBDA!r} * np.maximum(z, 0) + negative
""",
    ),
    "gelu": (
        f"""\
def gelu(z):
    h = np.tanh({abi.GELU_SCALE!r} * (z * (1 + {abi.GELU_CUBIC!r} * (z * z))))
    return 0.5 * (z * (1 + h))
""",
    ),
    "silu": (_SIGMOID, "def silu(z):\n    return z * sigmoid(z)\n"),
    "mish": (_SOFTPLUS, "def mish(z):\n    return z * np.tanh(softplus(z))\n"),
    "tanh": ("def tanh(z):\n    return np.tanh(z)\n",),
    "sigmoid": (_SIGMOID,),
    "softplus": (_SOFTPLUS,),
    "exp": ("def exp(z):\n    return np.exp(z)\n",),
    "softmax": (
        """\
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
""",
    ),
}
"""The source that each activation needs, in the order of definition."""

_STEPS: Final[dict[type[Step], str]] = {
    Affine: """\
def dense(x, name):
    return x @ TENSORS["w" + name] + TENSORS["b" + name]
""",
    Scale: """\
def scale(x, name):
    return x * TENSORS["w" + name] + TENSORS["b" + name]
""",
    Normalize: """\
def normalize(x, name, epsilon):
    centred = x - x.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + epsilon)
    return centred * scale * TENSORS["w" + name] + TENSORS["b" + name]
""",
}
"""The source that each kind of step needs."""

_CLASSES: Final = '''

def predict_labels(x):
    """Return the name of the likeliest class of each row, a list of N texts."""
    return [row[0] for row in predict_rows(x)]


def predict_rows(x):
    """Return the cells of each row under the header OUTPUTS: label and probabilities."""
    y = predict(x)
    y = np.hstack([1 - y, y]) if y.shape[1] == 1 else y
    best = y.argmax(axis=1)
    return [[LABELS[k], *row] for k, row in zip(best, y.astype(str).tolist())]
'''

_DEVIATIONS: Final = f'''

def predict_std(x):
    """Return the means (N, T) and the standard deviations (N, T) of the targets."""
    mean, log_variance = np.hsplit(predict(x), 2)
    return mean, np.exp(0.5 * np.maximum(log_variance, {LOG_VARIANCE_FLOOR!r}))


def predict_rows(x):
    """Return the cells of each row under the header OUTPUTS."""
    return np.hstack(predict_std(x)).astype(str).tolist()
'''

_VALUES: Final = '''

def predict_rows(x):
    """Return the cells of each row under the header OUTPUTS."""
    return predict(x).astype(str).tolist()
'''

_PROGRAM: Final = '''

def encode(table):
    """Return x (N, I) for columns by name; a text is 1 in the input of its category, else 0."""
    inputs = []
    for name, categories in COLUMNS:
        cells = [str(cell).strip() for cell in table[name]]
        if categories:
            inputs += [[float(cell == category) for cell in cells] for category in categories]
        else:
            inputs.append([float(cell) for cell in cells])
    return np.array(inputs, DTYPE).reshape(INPUTS, -1).T


def main():
    """Read CSV from standard input; write predictions, as CSV, to standard output."""
    import csv
    import sys

    sys.stdin.reconfigure(encoding="utf-8-sig", newline="")
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    names = [name for name, _ in COLUMNS]
    rows = [row for row in csv.reader(sys.stdin, skipinitialspace=True) if "".join(row).strip()]
    header = [cell.strip() for cell in rows[0]] if rows else []
    if NAMED or not all(map(_is_number, header)):
        rows = rows[1:]
    if not NAMED:
        header = names
    missing = [name for name in names if name not in header]
    if missing:
        sys.exit(f"the columns {missing} are missing.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            sys.exit(f"row {number} must have {len(header)} cells, got {len(row)}.")
    columns = zip(*rows) if rows else [()] * len(header)
    writer = csv.writer(sys.stdout, lineterminator="\\n")
    writer.writerow(OUTPUTS)
    writer.writerows(predict_rows(encode(dict(zip(header, columns)))))


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
'''

_LINE: Final = 96


def content(network: Network, name: str) -> bytes:
    """Return the source of a module with ``predict(x)`` for this network, in ASCII."""
    steps = steps_of(network)
    tensors = {f"{part}{k}": getattr(s, part) for k, s in enumerate(steps) for part in "wb"}
    lines = [_line(index, step) for index, step in enumerate(steps)]
    if network.scaler is not None:
        tensors |= {"mean": network.scaler.mean, "scale": network.scaler.scale}
        lines.insert(0, 'x = ((x - TENSORS["mean"]) / TENSORS["scale"]).astype(DTYPE)')
    functions = [_STEPS[kind] for kind in dict.fromkeys(map(type, steps))]
    for activation in activations_of(steps):
        functions += [text for text in _ACTIVATIONS[activation] if text not in functions]
    schema = answers.schema_of(network)
    labels = answers.class_names(network)
    if labels is not None:
        rows = _CLASSES
    else:
        rows = _DEVIATIONS if isinstance(network.loss, GaussianNLL) else _VALUES
    columns = [(column.name, column.categories) for column in schema.columns]
    features = schema.feature_names if schema.named else None
    parts = [
        f'"""A neural network, exported by fastnet {version}: needs NumPy and nothing else.',
        "",
        *(f"    {index}  {layer!r}" for index, layer in enumerate(network.layers)),
        "",
        f"predict(x) takes (N, {network.inputs}) numbers and returns (N, {network.outputs}).",
        "As a program it reads a table as CSV and writes predictions as CSV.",
        '"""',
        "",
        "import base64",
        "import io",
        "",
        "import numpy as np",
        "",
        f"DTYPE = np.{network.dtype.name}",
        f"INPUTS = {network.inputs}",
        f"NAMED = {schema.named}  # whether tables have a header that names their columns",
        _tuple("COLUMNS", columns, "columns of a table: name, and categories of a text"),
        _tuple("FEATURES", features, "names of the inputs, in order"),
        _tuple("LABELS", labels, "names of the classes, in the order of the outputs"),
        _tuple("OUTPUTS", answers.column_names(network), "the header of the predictions"),
        "",
        *(f"\n{source}" for source in functions),
        "",
        '@np.errstate(all="ignore")  # what overflows is infinite, as in fastnet',
        "def predict(x):",
        f'    """Return the outputs (N, {network.outputs}) for x (N, {network.inputs})."""',
        "    x = np.asarray(x" + (", DTYPE)" if network.scaler is None else ", np.float64)"),
        "    if x.ndim != 2 or x.shape[1] != INPUTS:",
        '        raise ValueError(f"x must have the shape (N, {INPUTS}), got {x.shape}.")',
        *(f"    {line}" for line in lines),
        "    return x",
        rows + _PROGRAM,
        "",
        "def _array(text):",
        "    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)",
        "",
        "",
        _tensors(tensors),
        "",
        'if __name__ == "__main__":',
        "    main()",
        "",
    ]
    return "\n".join(parts).encode("ascii")


def usage(network: Network, path: Path) -> str:
    """Return how the file is used."""
    return f"python {path} < rows.csv > predictions.csv, or its function predict(x)"


def _line(index: int, step: Step) -> str:
    """Return the line of ``predict`` for a step."""
    if isinstance(step, Normalize):
        value = f'normalize(x, "{index}", {step.epsilon!r})'
    else:
        value = f'{"dense" if isinstance(step, Affine) else "scale"}(x, "{index}")'
    return f"x = {value}" if step.activation == "identity" else f"x = {step.activation}({value})"


def _tuple(variable: str, values: Sequence[object] | None, comment: str) -> str:
    """Return the definition of a tuple, one value a line, or of None."""
    if values is None:
        return f"{variable} = None  # {comment}"
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
        entries.append(f'    "{name}": _array("""\n{lines}\n"""),')
    return "\n".join(["TENSORS = {", *entries, "}", ""])
