"""Export a network or an ensemble to a form that runs without fastnet; import networks of others.

Each format is a row of `FORMATS` and names the module of its writer, which has two functions:
``content(predictor, name)`` returns the bytes of a file called `name` without its ending, and
``usage(predictor, path)`` returns a text on how to use that file. Those for C take the options of
`export` too.

The file of a network that was trained on a table encodes tables as the network does. In Python,
``predict(encode(table))`` takes the table itself. In C, ``encode`` takes a struct with a field for
each column. An ONNX graph takes one number for each column: a category's index, NaN for a missing
value, -1 for an unknown category. A PyTorch module takes the array that
``net.preprocessor.transform(table)`` returns. All give outputs in the unit of the targets.

The file of an ensemble has all members, and answers as `fastnet.Ensemble.predict`: with the
weighted mean of their outputs, at the ensemble's temperature if it has one, or the mixture after
``gaussian_nll``. Members that encode a table in the same way share one encoding.
"""

from __future__ import annotations

import importlib
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

from numpy.typing import ArrayLike

from fastnet.errors import InputError, suggest
from fastnet.export.from_sklearn import from_sklearn
from fastnet.export.torch.importer import from_torch
from fastnet.export.torch.module import to_torch
from fastnet.network import Network
from fastnet.populations.ensemble import Ensemble
from fastnet.utils.files import write_atomically
from fastnet.utils.names import ExportName, FixedName

__all__ = ["FORMATS", "export", "from_sklearn", "from_torch", "to_torch", "usage"]


class Format(NamedTuple):
    """A row of the table of formats."""

    module: str
    suffix: str
    summary: str

    @property
    def ending(self) -> str:
        """What the name of a file ends in at least, such as ``.safetensors``."""
        return Path(self.suffix).suffix or self.suffix


FORMATS: Final = {
    "c": Format("c.source", ".c", "one C99 file that needs the standard library only"),
    "numpy": Format("python.source", ".py", "one Python file that needs NumPy"),
    "onnx": Format("onnx.model", ".onnx", "a graph for ONNX Runtime and others"),
    "torch": Format(
        "torch.module", ".torch.safetensors", "the state_dict of a PyTorch nn.Sequential"
    ),
}


def export(
    predictor: Network | Ensemble,
    path: str | PathLike[str],
    *,
    to: ExportName,
    jacobian: bool = False,
    fixed: FixedName | None = None,
    rows: ArrayLike | None = None,
) -> None:
    """Write a network or an ensemble in another format, replacing an existing file in one step.

    The file includes the preprocessors; only "torch" leaves out those of tables. Its outputs differ
    from those of ``predictor.predict`` by rounding alone, and have the dtype of the networks.

    Parameters
    ----------
    predictor : Network or Ensemble
    path : str or path
    to : {"c", "numpy", "onnx", "torch"}
    jacobian : bool, default False
        C: whether there is a function for the derivatives of all outputs by all inputs of a row,
        which are those of ``network.jacobian_one``. Those of an ensemble are of its mean, its
        mixture, or its probabilities at a temperature.
    fixed : {"int8", "q15"}, optional
        C: whether layers are computed in whole numbers, for processors that have no others. It is
        for one network of dense layers with relu, tanh, sigmoid and softmax that takes arrays. The
        file says how its outputs differ from those of the network.
    rows : (N, I), optional
        Rows as in training, which choose the scales of `fixed`. Default: normal numbers of the mean
        and the deviation that the network standardises its inputs by.

    Raises
    ------
    InputError
        There is no such format, or it or the network does not go with an option; or the members of
        the ensemble take no common rows, or have different dtypes.
    FastNetError
        The format needs a package that is not installed.
    ModelFileError
        The file cannot be written.
    """
    content: bytes = _writer(to).content(
        predictor, Path(path).stem, **_options(to, jacobian, fixed, rows)
    )
    write_atomically(Path(path), content)


def usage(
    predictor: Network | Ensemble,
    path: str | PathLike[str],
    *,
    to: ExportName,
    jacobian: bool = False,
    fixed: FixedName | None = None,
    rows: ArrayLike | None = None,
) -> str:
    """Return some lines on how to use the file that `export` wrote."""
    text: str = _writer(to).usage(predictor, Path(path), **_options(to, jacobian, fixed, rows))
    return text


def _options(
    to: ExportName, jacobian: bool, fixed: FixedName | None, rows: ArrayLike | None
) -> dict[str, Any]:
    """Return the options of a writer; refuse those that it does not have."""
    options = {"jacobian": jacobian or None, "fixed": fixed, "rows": rows}
    given = {name: value for name, value in options.items() if value is not None}
    if given and to != "c":
        name = next(iter(given))
        raise InputError(f"{name} goes with the format c, and not with {to}: leave it out.")
    if "rows" in given and fixed is None:
        raise InputError("rows go with fixed, whose scales they choose: leave them out.")
    return given


def _writer(to: ExportName) -> Any:
    if to not in FORMATS:
        raise InputError(f"unknown format {to!r}{suggest(to, FORMATS)}")
    return importlib.import_module(f"fastnet.export.{FORMATS[to].module}")
