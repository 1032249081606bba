"""Who is how good on real tables, and what a fit costs: the numbers and their Markdown.

A score is the mean over the folds, rounded to the three digits that are shown: contenders that
show the same score share a rank and a win.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean, median, stdev

import numpy as np


@dataclass
class Result:
    """One contender on one table.

    Attributes
    ----------
    rows, columns : int
        The table's size after it was cut; columns are inputs.
    contender : str
    scores : list of float
        The accuracy, or R2, of each fold.
    seconds : list of float
        The processor seconds of each fit.
    """

    table: str
    task: str
    rows: int
    columns: int
    contender: str
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The mean score, as it is shown."""
        return round(mean(self.scores), 3)

    @property
    def cost(self) -> float:
        """The median of the processor seconds of a fit."""
        return median(self.seconds)


@dataclass(frozen=True)
class Standing:
    """One contender on all tables.

    Attributes
    ----------
    rank : float
        The mean of its ranks; 1 is the best, and those with the same score share a mean rank.
    share : float
        The mean of its normalised scores: 0 for a table's worst contender, 1 for its best.
    won : int
        On how many tables nobody has a better score.
    seconds : float
        One fit of each table: the sum of the median processor seconds.
    """

    contender: str
    rank: float
    share: float
    won: int
    seconds: float


def by_table(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results of each table, in their order."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.table, []).append(result)
    return found


def standings(results: Sequence[Result]) -> list[Standing]:
    """Return the standing of each contender.

    Raises
    ------
    ValueError
        The contenders are not the same on all tables: their means would not compare.
    """
    grouped = by_table(results)
    names = list(dict.fromkeys(result.contender for result in results))
    for table, rows in grouped.items():
        if [row.contender for row in rows] != names:
            raise ValueError(f"{table} was not given to all of {', '.join(names)}.")
    scores = np.array([[row.score for row in rows] for rows in grouped.values()])
    costs = np.array([[row.cost for row in rows] for rows in grouped.values()])
    best, worst = scores.max(axis=1, keepdims=True), scores.min(axis=1, keepdims=True)
    same = best == worst
    shares = np.where(same, 1, (scores - worst) / np.where(same, 1, best - worst))
    columns = zip(
        *(names, ranks(scores).mean(axis=0), shares.mean(axis=0)),
        *((scores == best).sum(axis=0), costs.sum(axis=0)),
        strict=True,
    )
    return [Standing(n, float(r), float(s), int(w), float(c)) for n, r, s, w, c in columns]


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the rank of each score (T, C) in its row, from 1 for the highest.

    The same scores share the mean of the ranks that they take up.
    """
    above = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    same = (scores[:, None, :] == scores[:, :, None]).sum(axis=2)
    found: np.ndarray = above + (same + 1) / 2
    return found


# --- Markdown -------------------------------------------------------------------------------------


def summary(results: Sequence[Result]) -> Iterator[str]:
    """Yield the table of standings, the best mean rank first."""
    tables = len(by_table(results))
    yield f"| | mean rank | normalised score | best on, of {tables} | seconds of {tables} fits |"
    yield "|---|---:|---:|---:|---:|"
    for s in sorted(standings(results), key=lambda s: s.rank):
        yield f"| {s.contender} | {s.rank:.2f} | {s.share:.2f} | {s.won} | {seconds(s.seconds)} |"


def accuracies(results: Sequence[Result]) -> Iterator[str]:
    """Yield the table of scores; the best of each line is bold."""
    yield from head(results)
    for rows in by_table(results).values():
        best = max(row.score for row in rows)
        yield line(rows, [mark(f"{row.score:.3f}", row.score == best) for row in rows])


def costs(results: Sequence[Result]) -> Iterator[str]:
    """Yield the table of processor seconds; the least of each line is bold."""
    yield from head(results)
    for rows in by_table(results).values():
        least = min(row.cost for row in rows)
        yield line(rows, [mark(seconds(row.cost), row.cost == least) for row in rows])


def head(results: Sequence[Result]) -> Iterator[str]:
    """Yield the head of a table with a column for each contender."""
    names = list(dict.fromkeys(result.contender for result in results))
    yield f"| | rows x columns | {' | '.join(names)} |"
    yield "|---|---:|" + "---:|" * len(names)


def line(rows: Sequence[Result], cells: Sequence[str]) -> str:
    """Return the line of one table."""
    first = rows[0]
    unit = "" if first.task == "classification" else " (R²)"
    return f"| {first.table}{unit} | {first.rows:,} x {first.columns} | {' | '.join(cells)} |"


def mark(text: str, best: bool) -> str:
    """Return a cell, bold if it is the best."""
    return f"**{text}**" if best else text


def seconds(value: float) -> str:
    """Return seconds with two significant digits, from 9.5 on whole."""
    return f"{value:.0f}" if value >= 9.5 else f"{value:#.2g}"


def beaten(results: Sequence[Result], ours: Sequence[str]) -> Iterator[str]:
    """Yield where somebody else is ahead of all of ours: table, who, and by how much.

    After the difference to our best comes its standard error: the standard deviation of the
    differences on the folds over the root of their number.
    """
    for table, rows in by_table(results).items():
        mine = max((row for row in rows if row.contender in ours), key=lambda row: row.score)
        best = max(rows, key=lambda row: row.score)
        if best.score > mine.score:
            who = " and ".join(row.contender for row in rows if row.score == best.score)
            error = stdev(np.subtract(best.scores, mine.scores)) / len(best.scores) ** 0.5
            yield f"{table} ({who}, by {best.score - mine.score:.3f} ± {error:.3f})"
