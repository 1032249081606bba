"""`Tuned`: the ensemble that `tune` returns, with the trials of the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from fastnet.network import Network
from fastnet.populations.ensemble import Ensemble
from fastnet.populations.results import Results
from fastnet.tables.preset import Preset


class Search(NamedTuple):
    """What a search has found; see `Tuned`."""

    results: Results
    fold_results: Results
    best_trial: Mapping[str, Any]
    preset: Preset
    score: str
    out_of_fold_scores: Mapping[str, float]
    seconds: float


class Tuned(Ensemble):
    """The ensemble that `fastnet.tables.tune` has found, with the trials of its search.

    What it has beside an `Ensemble` is not saved.

    Attributes
    ----------
    results : Results
        A row for each trial: ``trial``, ``seed``, its settings, its scores on the answers of all
        folds together (``val_loss``, ...), its ``weight`` in the ensemble, and the ``seconds`` of
        its networks. ``stop_reason`` is ``"diverged"`` if one of these did, and there are no
        scores.
    fold_results : Results
        A row for each network of the trials.
    best_trial : dict
        The row of the best trial alone.
    preset : Preset
        The settings of that trial, for ``fastnet.tables.train(..., preset=tuned.preset)``.
    score : str
        The name of the score that decided.
    out_of_fold_scores : dict of str to float
        Scores of `out_of_fold`. They have chosen the trials and their epochs, so the answers for
        new rows are somewhat worse.
    seconds : float
        How long the search took, with what was spent before it was resumed.
    """

    def __init__(
        self, networks: Sequence[Network], *, weights: ArrayLike | None = None, search: Search
    ) -> None:
        super().__init__(networks, weights=weights)
        self.results, self.fold_results = search.results, search.fold_results
        self.best_trial, self.preset = search.best_trial, search.preset
        self.score, self.seconds = search.score, search.seconds
        self.out_of_fold_scores = dict(search.out_of_fold_scores)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the best trial alone, by name."""
        names = [name for name in self.results.settings if name in self.best_trial]
        return {name: self.best_trial[name] for name in names}

    def __repr__(self) -> str:
        return f"<Tuned ensemble of {len(self)} networks, from {len(self.results)} trials>"

    def __str__(self) -> str:
        """Return what was found, in two lines."""
        chosen = sum(row["weight"] > 0 for row in self.results)
        said = ", ".join(f"{name} {_short(value)}" for name, value in self.settings.items())
        alone, together = self.best_trial[f"val_{self.score}"], self.out_of_fold_scores[self.score]
        return (
            f"best of {_many(len(self.results), 'trial')} in {self.seconds:.1f} s: out-of-fold "
            f"{self.score} {_short(alone)}, by {said}\n"
            f"ensemble of {_many(chosen, 'trial')}, {_many(len(self), 'network')}: out-of-fold "
            f"{self.score} {_short(together)}"
        )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
