"""The fixed texts of an exported Python file."""

from __future__ import annotations

from typing import Final

from fastnet.export.steps import Affine, Normalize, Scale, Step
from fastnet.kernels import abi

_SIGMOID: Final = """\
def sigmoid(z):
    # Neither exponential can overflow.
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))
"""

_SOFTPLUS: Final = """\
def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
"""

ACTIVATIONS: Final[dict[str, tuple[str, ...]]] = {
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

STEPS: Final[dict[type[Step], str]] = {
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

CLASSES: Final = '''

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

DEVIATIONS: Final = '''

def predict_std(x):
    """Return the means (N, T) and the standard deviations (N, T) of the targets."""
    mean, log_variance = np.hsplit(predict(x), 2)
    return mean, np.exp(0.5 * np.maximum(log_variance, TENSORS["floors"]))


def predict_rows(x):
    """Return the cells of each row under the header OUTPUTS."""
    return np.hstack(predict_std(x)).astype(str).tolist()
'''

VALUES: Final = '''

def predict_rows(x):
    """Return the cells of each row under the header OUTPUTS."""
    return predict(x).astype(str).tolist()
'''

ENCODE: Final = '''

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


def _match(rows):
    """Return what the columns of a file are called, and its rows below the header."""
    import sys

    names = [name for name, _ in COLUMNS]
    header = [cell.strip() for cell in rows[0]] if rows else []
    if NAMED or not all(map(_is_number, header)):
        rows = rows[1:]
    if not NAMED:
        header = names
    missing = [name for name in names if name not in header]
    if missing:
        sys.exit(f"the columns {missing} are missing.")
    return header, rows


def _of_file(cells):
    return cells
'''

PROGRAM: Final = '''

def main():
    """Read CSV from standard input; write predictions, as CSV, to standard output."""
    import csv
    import sys

    sys.stdin.reconfigure(encoding="utf-8-sig", newline="")
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    records = csv.reader(sys.stdin, skipinitialspace=True)
    header, rows = _match([row for row in records if len(row) > 1 or "".join(row).strip()])
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            sys.exit(f"row {number} must have {len(header)} cells, got {len(row)}.")
    columns = zip(*rows) if rows else [()] * len(header)
    table = {name: _of_file(cells) for name, cells in zip(header, columns)}
    try:
        x = encode(table)
    except ValueError as error:
        sys.exit(str(error))
    writer = csv.writer(sys.stdout, lineterminator="\\n")
    writer.writerow(OUTPUTS)
    writer.writerows(predict_rows(x))


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell
'''
