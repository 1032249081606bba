"""`Results`: one row for each member of a population, as a table."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError, suggest
from fastnet.nn.metrics import mode_of
from fastnet.utils.frames import to_frame

MEMBER: Final = "member"
FOLD: Final = "fold"
SEED: Final = "seed"
DIVERGED: Final = "diverged"
"""The reason why a member ended whose loss or weights became infinite."""
_OF_LOSS: Final = (
    "param_loss",
    "label_smoothing",
    "delta",
    "quantiles",
    "preset",
    "standardize_targets",
)
"""Settings that change what a loss means: its values are then no measure of each other."""
_FACTS: Final = ("epochs", "best_epoch", "stop_reason", "seconds", "weight")


@dataclass(frozen=True)
class Results(Sequence[Mapping[str, Any]]):
    """The settings and scores of each member.

    Attributes
    ----------
    rows : list of dict
        ``member``, ``seed``, the settings in which members differ (``param_loss`` and
        ``param_epochs`` where they are such), ``fold`` with cross-validation,
        the metrics of the epoch whose weights the member has (``loss``, ``val_loss``, ...), those
        of the fold's test rows (``test_loss``, ...), ``epochs``, ``best_epoch``, ``stop_reason``
        (``"diverged"`` for a member that did) and ``seconds``.
    settings : tuple of str
        The columns that are settings.
    """

    rows: Sequence[Mapping[str, Any]]
    settings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns: settings first, also those that only some rows have."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        first = [name for name in (MEMBER, *self.settings, FOLD) if name in names]
        return tuple(dict.fromkeys([*first, *names]))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The columns that are scores."""
        others = {MEMBER, FOLD, "members", *self.settings, *_FACTS}
        return tuple(name for name in self.columns if name not in others)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    @overload
    def __getitem__(self, index: str) -> NDArray[Any]: ...
    def __getitem__(self, index: int | slice | str) -> Any:
        """Return a row by its number, some rows, or a column by its name."""
        if isinstance(index, str):
            if index not in self.columns:
                raise InputError(f"there is no column {index!r}{suggest(index, self.columns)}")
            values = [row.get(index) for row in self.rows]
            numbers = all(v is None or isinstance(v, int | float) for v in values)
            if numbers and any(v is None or isinstance(v, float) for v in values):
                return np.array([math.nan if v is None else v for v in values])
            return np.array(values, None if numbers else object)
        if isinstance(index, slice):
            return Results(self.rows[index], self.settings)
        return self.rows[index]

    def mean(self, over: str | Sequence[str] = (FOLD, SEED)) -> Results:
        """Return the means of all scores over folds, seeds, or other settings.

        Parameters
        ----------
        over : str or sequence of str, default ("fold", "seed")
            Rows that differ only in these columns become one row. Without folds or seeds, those
            names stand for nothing.

        Returns
        -------
        Results
            Each score has its mean, and under ``<name>_std`` its standard deviation (of the
            population of rows, ``ddof=0``); ``members`` says of how many rows. A member that
            diverged makes its means NaN.
        """
        gone = {over} if isinstance(over, str) else set(over)
        strange = sorted(gone - {FOLD, SEED, *self.settings})
        if strange:
            raise InputError(
                f"there is no setting {strange[0]!r} to average over"
                f"{suggest(strange[0], (FOLD, *self.settings))}"
            )
        kept = [n for n in self.columns if n in (FOLD, *self.settings) and n not in gone]
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in self.rows:
            groups.setdefault(repr([row.get(name) for name in kept]), []).append(row)
        made = []
        for group in groups.values():
            values = {name: group[0][name] for name in kept if name in group[0]}
            values["members"] = len(group)
            for name in self.metrics:
                scores = np.array(
                    [math.nan if (v := row.get(name)) is None else v for row in group]
                )
                values[name], values[f"{name}_std"] = float(scores.mean()), float(scores.std())
            made.append(values)
        return Results(made, tuple(name for name in self.settings if name not in gone))

    def best(self, metric: str | None = None) -> Mapping[str, Any]:
        """Return the row of the best score; of equal ones, the first.

        Parameters
        ----------
        metric : str, optional
            Default: ``test_loss``, else ``val_loss``, else ``loss``.

        Raises
        ------
        InputError
            There is no such score, nothing tells its direction, or no member has a finite one; or
            the losses differ, and no metric says by what to compare.
        """
        if metric is None:
            require_one_loss({name: [row.get(name) for row in self] for name in self.settings})
        usual = next((n for n in ("test_loss", "val_loss", "loss") if n in self.metrics), "loss")
        name = usual if metric is None else metric
        if self.rows and not self.metrics:
            raise InputError(
                "no member has a score, since all of them diverged: try a smaller learning rate, "
                "or clip_norm=1.0 in the optimizer."
            )
        if name not in self.metrics:
            raise InputError(f"there is no score {name!r}{suggest(name, self.metrics)}")
        mode = mode_of(name.removeprefix("test_").removeprefix("val_"))
        if mode is None:
            raise InputError(f"nothing tells whether a smaller or a larger {name!r} is better.")
        scores = np.asarray(self[name], np.float64) * (1.0 if mode == "min" else -1.0)
        if not np.isfinite(scores).any():
            raise InputError(f"no member has a finite {name!r}: all of them diverged.")
        return self.rows[int(np.nanargmin(np.where(np.isfinite(scores), scores, np.nan)))]

    # --- as text, file and frame -----------------------------------------------------------------

    def to_frame(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """Return a data frame of pandas if that is installed, else of polars, or of the `library`.

        Raises
        ------
        InputError
            It is not installed.
        """
        columns = {name: self._of_one_type(name) for name in self.columns}
        return to_frame(columns, library, "rows")

    def _of_one_type(self, name: str) -> list[Any]:
        """Return a column, as texts if some are: of 16 and "(32, 32)", polars makes none else."""
        values = [row.get(name) for row in self.rows]
        if any(isinstance(value, str) for value in values):
            return [value if value is None else str(value) for value in values]
        return values

    def markdown(self) -> str:
        """Return a table in Markdown, with four significant digits."""
        cells = [[cell.replace("|", "\\|") for cell in line] for line in self._cells()]
        lines = [self.columns, ["---"] * len(self.columns), *cells]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def to_json(self) -> str:
        """Return a JSON list of the rows; what is not finite is null."""
        return json.dumps([{name: _plain(v) for name, v in row.items()} for row in self.rows])

    def _cells(self) -> list[list[str]]:
        return [[_shown(row.get(name)) for name in self.columns] for row in self.rows]

    def __repr__(self) -> str:
        return f"<Results of {len(self)} rows: {', '.join(self.columns)}>"

    def __str__(self) -> str:
        return self.markdown()

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""

        def line(tag: str, cells: Sequence[str]) -> str:
            inside = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
            return f"<tr>{inside}</tr>"

        body = "".join(line("td", cells) for cells in self._cells())
        return f"<table>{line('th', self.columns)}{body}</table>"


def require_one_loss(settings: Mapping[str, Sequence[Any]]) -> None:
    """Raise `InputError` if values of the settings, by name, make different losses."""
    for name, values in settings.items():
        if name in _OF_LOSS and len(set(map(repr, values))) > 1:
            raise InputError(
                f"the losses differ by {name.removeprefix('param_')}, so none of them says "
                "which is best: name a score that all have, such as 'test_r2' or 'val_accuracy'."
            )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value).replace("\n", " ")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else str(value)
