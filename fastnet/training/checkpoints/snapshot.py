"""`Checkpoint`: conversion to the description and tensors of a container, and back.

A file may be hostile: every value is checked before any of it reaches a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastnet.backends.epochs import LossSums
from fastnet.errors import CheckpointError, FastNetError, InputError
from fastnet.model import Model
from fastnet.nn import layers
from fastnet.nn.batch import Array
from fastnet.training.history import History
from fastnet.utils.param_validation import check_int, check_list, shown, to_float

Description = dict[str, Any]
Tensors = dict[str, NDArray[Any]]

_HISTORY = "history."


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of training at one moment.

    Attributes
    ----------
    fingerprint, environment : dict of plain JSON values
        See `fastnet.training.checkpoints.fingerprint`; ``basis`` and ``surroundings`` in the file.
    parameters, good_parameters : (P,)
        The second are restored after a divergence.
    statistics, good_statistics : (S,)
    moments : (n_moments, P)
    clocks : dict of int
        ``step``, ``epoch``, ``updates`` and ``schedule_epoch`` of the optimizer state.
    plateau : dict
        The state of ``ReduceOnPlateau``.
    done : LossSums
        The finished batches of the current epoch, and their sums.
    stopped : str or None
        Why a callback ended the run.
    history : History
        The history of the finished epochs.
    seconds : float
        The time of training so far.
    callback_states : list of (str, dict)
        The name of the class and the state of each callback with a state.
    """

    CLOCKS: ClassVar = ("step", "epoch", "updates", "schedule_epoch")

    fingerprint: dict[str, Any]
    environment: dict[str, Any]
    parameters: NDArray[Any]
    statistics: NDArray[Any]
    good_parameters: NDArray[Any]
    good_statistics: NDArray[Any]
    moments: NDArray[Any]
    clocks: dict[str, int]
    plateau: dict[str, Any]
    done: LossSums
    stopped: str | None
    history: History
    seconds: float
    callback_states: list[tuple[str, dict[str, Any]]]

    def content(self, to_host: Callable[[Array], NDArray[Any]]) -> tuple[Description, Tensors]:
        """Return the checkpoint as description and tensors."""
        tensors: Tensors = {name: getattr(self, name) for name in _shapes(0, 0, 0)}
        tensors |= {_HISTORY + name: values for name, values in self.history.arrays().items()}
        memories = []
        for index, (name, memory) in enumerate(self.callback_states):
            arrays = {key: value for key, value in memory.items() if hasattr(value, "shape")}
            for key, value in arrays.items():
                tensors[f"memory.{index}.{key}"] = np.asarray(to_host(value))
            rest = {key: value for key, value in memory.items() if key not in arrays}
            memories.append([name, rest, list(arrays)])
        description = {
            "basis": self.fingerprint | {"layers": layers.to_stored(self.fingerprint["layers"])},
            "surroundings": self.environment,
            "clocks": self.clocks,
            "plateau": self.plateau,
            "done": [self.done.loss, self.done.score, self.done.weight, self.done.steps],
            "stopped": self.stopped,
            "history": list(self.history),
            "seconds": self.seconds,
            "memories": memories,
        }
        return description, {name: np.ascontiguousarray(v) for name, v in tensors.items()}

    @classmethod
    def read(cls, place: Path, description: Description, tensors: Tensors) -> Self:
        """Return the checkpoint of a description and tensors, for any model.

        Raises
        ------
        CheckpointError
            fastnet did not write it.
        """
        try:
            tensors = dict(tensors)
            basis, there = _table(description, "basis"), _table(description, "surroundings")
            if "block_rows" in basis:  # its name before chunks were called chunks
                basis["chunk_rows"] = basis.pop("block_rows")
            basis = basis | {"layers": layers.from_stored(basis.get("layers"))}
            done = check_list("done", description["done"])
            loss, score, weight = map(_number, done[:3])
            saved = cls(
                fingerprint=basis,
                environment=there,
                clocks={
                    name: check_int(name, _table(description, "clocks")[name], least=0, most=2**62)
                    for name in cls.CLOCKS
                },
                plateau=_plateau(_table(description, "plateau")),
                done=LossSums(loss, score, weight, check_int("done", done[3], least=0, most=2**62)),
                stopped=_text_or_none(description["stopped"]),
                history=_history(description, tensors),
                seconds=_number(description["seconds"]),
                callback_states=_callback_states(description, tensors),
                **{name: tensors.pop(name) for name in _shapes(0, 0, 0)},
            )
        except (LookupError, TypeError, ValueError, FastNetError) as error:
            raise _invalid(place, f"{type(error).__name__}: {str(error).rstrip('.')}") from None
        if tensors:
            raise _invalid(place, f"it has a tensor too many, {min(tensors)!r}")
        return saved

    def require_fit(self, place: Path, model: Model, n_moments: int, batches: int) -> None:
        """Raise `CheckpointError` unless all arrays have the network's shapes and valid values."""
        if self.done.steps > batches:
            raise _invalid(place, f"it has {self.done.steps} batches of an epoch of {batches}")
        shapes = _shapes(n_moments, model.plan.size, len(model.state))
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape or values.dtype != model.dtype:
                raise _invalid(
                    place,
                    f"{name} has the dtype {values.dtype} and the shape {values.shape}, expected "
                    f"{model.dtype} and {shape}",
                )
            if name != "moments" and not np.isfinite(values).all():
                raise _invalid(place, f"{name} holds values that are not finite")


def _invalid(place: Path, why: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint in {place} is not valid: {why}.")


def _shapes(n_moments: int, size: int, statistics: int) -> dict[str, tuple[int, ...]]:
    return {
        "parameters": (size,),
        "statistics": (statistics,),
        "good_parameters": (size,),
        "good_statistics": (statistics,),
        "moments": (n_moments, size),
    }


def _history(description: Description, tensors: Tensors) -> History:
    names = check_list("history", description["history"])
    kept = ["epochs", *map(str, range(len(names)))]
    history = History.of_arrays(names, {name: tensors.pop(_HISTORY + name) for name in kept})
    history.seconds = _number(description["seconds"])
    return history


def _callback_states(
    description: Description, tensors: Tensors
) -> list[tuple[str, dict[str, Any]]]:
    memories = []
    for index, (name, values, arrays) in enumerate(check_list("memories", description["memories"])):
        if not isinstance(name, str) or not isinstance(values, dict):
            raise InputError(f"the memory of {name!r} is not a table.")
        found = {key: tensors.pop(f"memory.{index}.{key}") for key in check_list("arrays", arrays)}
        memories.append((name, values | found))
    return memories


def _plateau(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "best": _number(values["best"], infinite=True),
        "waited": check_int("waited", values["waited"], least=0, most=2**62),
        "reductions": check_int("reductions", values["reductions"], least=0, most=2**31),
    }


def _table(description: Description, name: str) -> dict[str, Any]:
    values = description[name]
    if not isinstance(values, dict):
        raise InputError(f"{name} must be a table, got {type(values).__name__}.")
    return values


def _number(value: Any, *, infinite: bool = False) -> float:
    number = to_float(value) if isinstance(value, int | float) else math.nan
    if not math.isfinite(number) and not (infinite and math.isinf(number)):
        raise InputError(f"expected a number, got {shown(value)}.")
    return number


def _text_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InputError(f"expected a text, got {value!r}.")
    return value
