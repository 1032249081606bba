"""A data set of `fastnet.data.load` as x of a network's methods."""

from __future__ import annotations

from typing import Any

from fastnet.data.dataset import Dataset
from fastnet.data.frame import Frame
from fastnet.data.text import Texts
from fastnet.errors import InputError
from fastnet.preprocessing.base import Preprocessor
from fastnet.preprocessing.table import TablePreprocessor


def unpacked(
    x: Any,
    y: Any,
    preprocessor: Preprocessor,
    names: tuple[str, str] = ("x", "y"),
    *,
    learns: bool = False,
) -> tuple[Any, Any]:
    """Return the inputs and targets of a `Dataset`, or what was given where x is none.

    Parameters
    ----------
    learns : bool, default False
        Whether a table is to be learned: it needs the names of its targets, too.

    Raises
    ------
    InputError
        There are no targets, or two of them, or texts where only numbers can be taken.
    """
    if not isinstance(x, Dataset):
        if x is None:
            raise InputError(
                f"{names[0]} is None: expected rows. A data set has `test` only where it has a "
                "test split of its own."
            )
        return x, y
    if y is not None:
        raise InputError(f"the data set {x.name} has its own targets: leave out {names[1]}.")
    if x.y is None:
        raise InputError(
            f"the data set {x.name} has no targets: name them when you load it, as in "
            "fn.data.load(..., target=...)."
        )
    if learns and isinstance(x.x, Frame):
        return x.joined()
    if isinstance(x.y, Texts) and preprocessor.target is None:
        raise InputError(
            f"the data set {x.name} has texts as targets, and the network knows no texts: give "
            "the numbers of the classes, as in net.fit(data.x, numbers)."
        )
    return inputs_of(x, preprocessor), x.y


def inputs_of(x: Any, preprocessor: Preprocessor) -> Any:
    """Return the inputs of a `Dataset` as the preprocessor takes them, or x where it is none."""
    if not isinstance(x, Dataset):
        return x
    plain = isinstance(x.x, Frame) and not isinstance(preprocessor, TablePreprocessor)
    return x.x.matrix() if plain else x.x


def weights_of(x: Any, sample_weight: Any) -> Any:
    """Return the weights of rows: the caller's, or those of a `Dataset`.

    Raises
    ------
    InputError
        There are both.
    """
    if not isinstance(x, Dataset) or x.weight is None:
        return sample_weight
    if sample_weight is not None:
        raise InputError(f"the data set {x.name} has its own weights: leave out sample_weight.")
    return x.sample_weight


def pair(name: str, values: Any) -> tuple[Any, Any, Any]:
    """Return (x, y, weight or None) from ``(x, y)``, ``(x, y, weight)`` or a `Dataset`."""
    if isinstance(values, Dataset):
        return values, None, weights_of(values, None)
    if not isinstance(values, tuple | list) or len(values) not in (2, 3):
        raise InputError(f"{name} must be (x, y), (x, y, sample_weight) or a data set.")
    return values[0], values[1], values[2] if len(values) == 3 else None
