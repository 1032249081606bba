"""The rows of a rank for data-parallel training: read, checked, cut into parts, and split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.data.chunks import Chunks
from fastnet.distributed import parts as parts_table
from fastnet.distributed import rows as parted
from fastnet.distributed.group import Group
from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import random
from fastnet.nn.batch import Batch
from fastnet.preprocessing import datasets, validation
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.samples import Samples
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.target import axes_of
from fastnet.training.chunk_pass import checked_rows
from fastnet.training.fit import FitOptions
from fastnet.utils import memory

Array = NDArray[Any]
Names = tuple[str, str, str]

FLOAT64: Final = np.dtype(np.float64)


@dataclass(frozen=True)
class Encoding:
    """How rows become numbers, before anything is learned of them.

    Attributes
    ----------
    preprocessor : Preprocessor
        Without what is yet to be learned.
    dtype : dtype
        float64 where a scale is to be learned: the network's may drop digits.
    inputs, targets : bool
        Whether their scale is to be learned.
    """

    preprocessor: Preprocessor
    dtype: np.dtype[Any]
    inputs: bool
    targets: bool


def encoding(options: FitOptions, before: Preprocessor) -> Encoding:
    """Return how rows become numbers for a network with that preprocessor."""
    inputs = targets = False
    if isinstance(before, Passthrough | Scaler):
        inputs, targets = options.learns_scales(before)
        if inputs or targets:
            plain = Passthrough(before.inputs, before.target)
            return Encoding(plain, FLOAT64, inputs, targets)
    return Encoding(before, options.model.dtype, inputs, targets)


def parts_of(
    options: FitOptions,
    group: Group,
    how: Encoding,
    given: tuple[Any, Any, Any],
    names: Names,
) -> tuple[list[Batch], int]:
    """Return this rank's parts of all rows, checked and encoded, and the axes of the targets."""
    x, y, _ = given
    if isinstance(x, Chunks):
        starts = parts_table.starts(len(x), group.parts)
        bounds = [(int(starts[part]), int(starts[part + 1])) for part in group.held]
        read = _read(options, group, how, x, bounds)
        return _alike(options, group, how, read, None, names), x.target_axes
    x, y = datasets.unpacked(x, y, how.preprocessor, names[:2])
    target = how.preprocessor.target
    axes = axes_of(y, () if target is None else target.names)
    rows = _checked(options, how, x, y, given[2], names)
    (alike,) = _alike(options, group, how, [rows], y, names)
    mine, count = parted.balanced(group, alike)
    if not count:
        raise InputError(f"{names[0]} is empty on all ranks: there are no rows.")
    axes = int(max(group.announce("sums", [axes if len(alike) else 0])[:, 0]))
    return parted.cut(group, mine, count), axes


def _checked(
    options: FitOptions, how: Encoding, x: Any, y: Any, weight: Any, names: Names
) -> Batch | None:
    """Return the rows of this rank, checked and encoded; None where it has none."""
    if y is None and not (how.preprocessor.target and how.preprocessor.target.names):
        raise InputError(f"{names[1]} is None: expected targets.")
    if np.ndim(x) and len(x) == 0:
        return None
    plan, loss = options.model.plan, options.loss
    values, targets = how.preprocessor.encode(x, y, how.dtype, names[0])
    # The weights of one rank may all be 0, those of all ranks may not.
    nothing = weight is not None and not np.any(np.asarray(weight))
    basis = plan, how.dtype, loss, values, targets, None if nothing else weight
    rows = Samples.check(*basis, names=names, piece=True).rows
    return replace(rows, weight=np.zeros(len(values), how.dtype)) if nothing else rows


def _read(
    options: FitOptions, group: Group, how: Encoding, chunks: Chunks, bounds: list[tuple[int, int]]
) -> list[Batch | None]:
    """Return the rows of a file within each of some bounds."""
    made = list[Batch | None]()
    row_bytes = (chunks.columns + chunks.target_columns + 1) * how.dtype.itemsize
    needed = 2 * row_bytes * sum(stop - start for start, stop in bounds)
    memory.require(needed, "the rows of this rank", "more ranks")
    for start, stop in bounds:
        pieces = list[Batch]()
        rest = how.preprocessor, (start, stop), how.dtype, how.dtype
        for piece in checked_rows(chunks, options.model, options.loss, *rest):
            group.alive()
            pieces.append(piece.rows)
        made.append(parted.joined(pieces) if pieces else None)
    return made


def _alike(
    options: FitOptions,
    group: Group,
    how: Encoding,
    rows: list[Batch | None],
    y: Any,
    names: Names,
) -> list[Batch]:
    """Return rows with the same arrays on all ranks; those of no rows get them from the others."""
    mine = [_layout(part) for part in rows if part is not None]
    others = [layout for layouts in group.values(mine) for layout in layouts]
    if not others:
        raise InputError(f"{names[0]} is empty on all ranks: there are no rows.")
    first = next((layout for layout in others if not layout["labels"]), others[0])
    shared = {**first, "weight": any(layout["weight"] for layout in others)}
    made = list[Batch]()
    for part in rows:
        if part is None:
            made.append(_no_rows(options, how, shared))
            continue
        if part.labels is not None and not shared["labels"]:
            # Where all rows of a rank have one class each, their probabilities became labels.
            part = replace(part, labels=None, target=_probabilities(part, y, names[1]))
        made.append(part)
    wrong = [layout for layout in others if layout["weight"] != shared["weight"]]
    if wrong:
        raise InputError(f"all ranks must be given the same: {names[2]} is given on some only.")
    return made


def _layout(rows: Batch) -> dict[str, Any]:
    columns = None if rows.target is None else rows.target.shape[1]
    return {
        "labels": rows.labels is not None,
        "columns": columns,
        "weight": rows.weight is not None,
    }


def _no_rows(options: FitOptions, how: Encoding, layout: dict[str, Any]) -> Batch:
    dtype = how.dtype
    return Batch(
        np.empty((0, options.model.inputs), dtype),
        np.empty(0, np.int64) if layout["labels"] else None,
        None if layout["labels"] else np.empty((0, layout["columns"]), dtype),
        np.empty(0, dtype) if layout["weight"] else None,
    )


def _probabilities(rows: Batch, y: Any, name: str) -> Array:
    given = validation.numeric(name, y)
    if given.ndim != 2 or given.shape[1] == 1:
        raise InputError(
            f"all ranks must be given the same: {name} holds labels on some, and probabilities on "
            "others."
        )
    return validation.cast(given, rows.x.dtype)


def split(
    group: Group, parts: list[Batch], fraction: float, seed: int
) -> tuple[list[Batch], list[Batch]]:
    """Return the training and the validation rows: `fraction` of the rows of each part."""
    count = count_of(group, parts)
    total = round(count * fraction)
    if not 0 < total < count:
        lacking = "training" if total else "validation"
        raise InputError(f"validation_split={fraction} of {count} rows leaves none for {lacking}.")
    starts = parts_table.starts(count, group.parts)
    trained, held_out = list[Batch](), list[Batch]()
    for part, rows in zip(group.held, parts, strict=True):
        first, last = (round(int(starts[part + k]) * fraction) for k in (0, 1))
        order = random.permutation(len(rows), seed=seed, epoch=part, purpose=abi.SPLIT)
        most = last - first
        trained.append(_take(rows, np.sort(order[most:])))
        held_out.append(_take(rows, np.sort(order[:most])))
    return _recut(group, trained), _recut(group, held_out)


def with_weight(group: Group, parts: list[Batch], nothing: str) -> list[Batch]:
    """Return the rows without those of weight 0, cut into parts anew."""
    left = [
        rows if rows.weight is None else _take(rows, np.flatnonzero(rows.weight)) for rows in parts
    ]
    count = group.by_part(np.array([[len(rows)] for rows in left])).sum()
    if not count:
        raise InputError(f"the weights are 0 everywhere: {nothing}.")
    if parts[0].weight is None:
        return parts
    return _recut(group, left)


def _recut(group: Group, parts: list[Batch]) -> list[Batch]:
    return parted.cut(group, *parted.balanced(group, parted.joined(parts)))


def _take(rows: Batch, index: NDArray[np.intp]) -> Batch:
    return Batch(*(None if values is None else values[index] for values in rows.fields))


def count_of(group: Group, parts: list[Batch]) -> int:
    """Return the number of rows of all parts."""
    return int(group.by_part(np.array([[len(rows)] for rows in parts])).sum())


def validation_rows(
    options: FitOptions, group: Group, preprocessor: Preprocessor, validation_data: Any
) -> list[Batch]:
    """Return the parts of the caller's validation rows."""
    how = Encoding(preprocessor, options.model.dtype, False, False)
    given: tuple[Any, Any, Any] = (validation_data, None, None)
    names = "validation_data[0]", "validation_data[1]", "validation_data[2]"
    if not isinstance(validation_data, Chunks):
        given = datasets.pair("validation_data", validation_data)
    parts, _ = parts_of(options, group, how, given, names)
    return with_weight(group, parts, "there is nothing to evaluate")
