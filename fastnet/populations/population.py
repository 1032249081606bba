"""`Population`: the networks that `fit_many` has trained, and their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from fastnet.network import Network
from fastnet.populations.results import MEMBER, Results


@dataclass(frozen=True, repr=False)
class Population(Sequence[Network]):
    """Networks that were trained together; ``population[k]`` is a `Network` like any other.

    Attributes
    ----------
    networks : tuple of Network
        Of a member that diverged, the last good weights.
    results : Results
        A row for each member.
    """

    networks: tuple[Network, ...]
    results: Results

    def __len__(self) -> int:
        return len(self.networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self.networks)

    @overload
    def __getitem__(self, index: int) -> Network: ...
    @overload
    def __getitem__(self, index: slice) -> Population: ...
    def __getitem__(self, index: int | slice) -> Network | Population:
        """Return a member, or a population of some members."""
        if isinstance(index, slice):
            return Population(self.networks[index], self.results[index])
        return self.networks[index]

    def best(self, metric: str | None = None) -> Network:
        """Return the member with the best score; see `Results.best`.

        With folds or several seeds, look at ``population.results.mean().best()`` first: the best of
        many scores on few rows is partly luck.
        """
        best = self.results.best(metric)
        at = [row[MEMBER] for row in self.results].index(best[MEMBER])
        return self.networks[at]

    def __repr__(self) -> str:
        return f"<Population of {len(self)} networks: {', '.join(self.results.columns)}>"

    def __str__(self) -> str:
        return self.results.markdown()

    def _repr_html_(self) -> str:
        """Return the results for a notebook."""
        return self.results._repr_html_()
