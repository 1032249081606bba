"""What the columns of a table are for: targets, identifiers, weights of rows, and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.data.columns import Names, cut, named_columns
from fastnet.data.frame import Frame
from fastnet.data.text import place
from fastnet.data.text_format import TextFormat
from fastnet.data.values import Values, numbers_of
from fastnet.errors import DataError, InputError


class Parts(NamedTuple):
    """The columns of a table by what they are for.

    Attributes
    ----------
    frame : Frame
        The inputs and the targets, in the order of the table.
    ids, weight : Values or None
        The columns as they stand.
    """

    frame: Frame
    ids: Values | None
    weight: Values | None


@dataclass(frozen=True)
class Roles:
    """Which columns are no inputs, and why. Targets are named apart, as they may be no columns.

    Attributes
    ----------
    id : str, optional
        The column that says which row it is, such as a customer's number.
    weight : str, optional
        The column of the rows' weights.
    features, drop : str or sequence of str, optional
        The inputs, or the columns that are for nothing; in one text they are separated by commas.
    """

    id: str | None = None
    weight: str | None = None
    features: Names = None
    drop: Names = None
    _known: frozenset[str] = field(default=frozenset(), repr=False)  # columns that may be missing
    _inputs: frozenset[str] = field(default=frozenset(), repr=False)  # those of a network stay

    def __post_init__(self) -> None:
        """Check that they do not contradict each other."""
        if self.features is not None and self.drop is not None:
            raise InputError("give features or drop, not both.")
        if self.id is not None and self.id == self.weight:
            raise InputError(f"the column {self.id!r} cannot be the id and the weight.")

    def with_known(self, preprocessor: Any) -> Roles:
        """Return the same roles with the id and the weight of a network's training.

        A table may lack them, unless the caller names them. Inputs of the network stay inputs.
        """
        known: dict[str, str] = {
            role: getattr(preprocessor, role)
            for role in ("id", "weight")
            if getattr(self, role) is None and getattr(preprocessor, role, None) is not None
        }
        taken = (self.id, self.weight)
        known = {role: name for role, name in known.items() if name not in taken}
        columns = getattr(preprocessor, "columns", ())
        inputs = frozenset(column.name for column in columns if column.kind != "empty")
        return replace(self, **known, _known=frozenset(known.values()), _inputs=inputs)

    def among(self, names: Sequence[str]) -> Roles:
        """Return the roles of a table's columns, without those of training that are not there."""
        gone = {
            name for name in (self.id, self.weight) if name in self._known and name not in names
        }
        identifier = None if self.id in gone else self.id
        return replace(self, id=identifier, weight=None if self.weight in gone else self.weight)

    def require_none(self, source: str) -> None:
        """Raise `InputError` if there are any, as for arrays, whose columns have no names."""
        if self != Roles():
            raise InputError(
                f"id, weight, features and drop go with tables, and {source} holds arrays."
            )

    def as_written(self, names: Sequence[str], form: TextFormat) -> set[str]:
        """Return the columns of a text file whose cells stay what they are.

        These are identifiers, and what is left out where numbers are written in another way.
        """
        left_out = set() if form.plain else {n for n in names if not self._is_input(n, names)}
        return {name for name in names if name == self.id} | left_out

    def _is_input(self, name: str, names: Sequence[str]) -> bool:
        if self.features is not None:
            return name in cut(self.features, names)
        return self.drop is None or name not in cut(self.drop, names)

    def split(self, frame: Frame, targets: Sequence[str] = ()) -> Parts:
        """Return a table's columns by what they are for.

        Parameters
        ----------
        targets : sequence of str
            The columns of the table that are learned.

        Raises
        ------
        DataError
            There is no such column (the message has the most similar name), or no input is left.
        InputError
            A column has two roles, or the columns have no names.
        """
        source, names = frame.source, frame.columns
        here = frame.named
        apart = {
            role: name
            for role, name in (("id", self.id), ("weight", self.weight))
            if name is not None and (name not in self._known or (here and name in names))
        }
        given = self.features if self.drop is None else self.drop
        if not here and (apart or given is not None):
            raise InputError(
                f"{source} has columns without names: id, weight, features and drop choose columns "
                "by name."
            )
        named_columns([*apart.values()], names, source)
        chosen = named_columns(given, names, source)
        for name in targets:
            if here and name in self._inputs:
                raise InputError(
                    f"the column {name!r} is an input of the network: name another target."
                )
            if name in chosen:
                raise InputError(
                    f"the column {name!r} is a target: leave it out of features and drop."
                )
        for role, name in apart.items():
            if name in targets or (self.features is not None and name in chosen):
                other = "a target" if name in targets else "a feature"
                raise InputError(f"the column {name!r} cannot be {other} and the {role}.")
        inputs = [name for name in names if name not in (*targets, *apart.values())]
        kept = [name for name in inputs if self._is_input(name, [*names])]
        if given is not None and not kept:
            raise DataError(f"{source}: no column is left as an input.")
        left_out = {*inputs, *apart.values()}.difference(kept, self._inputs)
        ids, weight = (names[apart[role]] if role in apart else None for role in ("id", "weight"))
        return Parts(frame.without([*left_out]) if left_out else frame, ids, weight)


def weights_of(column: Values, name: str, source: str) -> NDArray[np.float64]:
    """Return the weights of rows (N,) in a column.

    Raises
    ------
    DataError
        One is missing, negative or no number; the message names its row.
    """
    weights = numbers_of(column, name, source)
    bad = ~(weights >= 0)
    if bad.any():
        row = int(np.argmax(bad))
        what = "is missing" if np.isnan(weights[row]) else f"is {weights[row]:g}"
        raise DataError(
            f"{place(source, row, name)}: the weight {what}: expected a number of at least 0, "
            "which leaves the row out."
        )
    return weights
