"""Many networks: trained in one call, compared, averaged.

`fit_many` trains a `Population` of networks that differ in seed, settings or rows, each with the
bits of a `Network.fit` of its own. `cross_validate` is that on folds. An `Ensemble` answers with
the mean of its members.
"""

from fastnet.populations.ensemble import Ensemble
from fastnet.populations.folds import make_folds
from fastnet.populations.population import Population
from fastnet.populations.results import Results
from fastnet.populations.training import cross_validate, fit_many

__all__ = ["Ensemble", "Population", "Results", "cross_validate", "fit_many", "make_folds"]
