"""`FastNetSearchCV`: scikit-learn's searches, with networks that are trained at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from joblib import parallel_config
from joblib.parallel import LokyBackend, get_active_backend
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from fastnet.backends.threads import cores
from fastnet.errors import InputError
from fastnet.populations.executors import DaskPool, ExecutorPool, Pool, opened
from fastnet.populations.processes import ProcessesPool
from fastnet.sklearn.executor_backend import ExecutorBackend
from fastnet.sklearn.host_arrays import takes_device_arrays
from fastnet.utils.param_validation import check_int


@takes_device_arrays
class FastNetSearchCV(GridSearchCV):
    """Search for the best parameters of an estimator of fastnet, or of a pipeline with one.

    It is `GridSearchCV`, `RandomizedSearchCV` or `HalvingGridSearchCV` of scikit-learn, with the
    same results, attributes and methods. Fits run at the same time on threads of this process, each
    on one core: kernels release the GIL, so nothing is copied to other processes.

    Parameters
    ----------
    estimator : estimator
    param_grid : dict of str to sequence, or sequence of them
        All combinations are tried; with `n_iter`, values may be distributions.
    scoring, refit, cv, error_score, return_train_score, verbose
        See `sklearn.model_selection.GridSearchCV`. `cv` takes splitters, and `fit` takes `groups`.
    n_jobs : int, optional
        How many fits run at once. Default: one for each core on Numba, else 1.
    executor : str or executor, optional
        Where fits run instead: ``"processes"``, ``"processes:4"``, ``"dask:tcp://host:8786"``,
        ``"mpi"``, a client of Dask, or an object whose ``submit`` returns futures, such as a
        `concurrent.futures.ProcessPoolExecutor`. Each fit travels with its rows. Without it,
        whatever `joblib.parallel_config` says holds.
    n_iter : int, optional
        Draw so many combinations at random by `random_state`, instead of all.
    halving : int, optional
        Successive halving: begin with few rows, and keep one of so many combinations for the next
        round, which has so many times as many rows.
    random_state : int, RandomState or None
        For `n_iter` and `halving`.

    Attributes
    ----------
    best_estimator_, best_params_, best_score_, best_index_, cv_results_, ...
        See `sklearn.model_selection.GridSearchCV`.

    Examples
    --------
    >>> import fastnet as fn
    >>> from fastnet.sklearn import FastNetClassifier, FastNetSearchCV
    >>> data = fn.data.load("digits")
    >>> model = FastNetClassifier((16,), epochs=5, random_state=0)
    >>> search = FastNetSearchCV(model, {"learning_rate": [1e-4, 1e-2]}, cv=3)
    >>> search.fit(data.x, data.y).best_params_
    {'learning_rate': 0.01}
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        executor: Any = None,
        refit: bool | str = True,
        cv: Any = None,
        n_iter: int | None = None,
        halving: int | None = None,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            error_score=error_score,
            return_train_score=return_train_score,
            verbose=verbose,
        )
        self.n_iter, self.halving, self.random_state = n_iter, halving, random_state
        self.executor = executor

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Run the search, and refit the best estimator to all rows.

        Parameters
        ----------
        X, y : array-like
        **params
            Arguments of ``fit`` of the estimator, such as `sample_weight`, and `groups`.
        """
        with self._where() as (at_once, shared):
            return self._fit(X, y, params, at_once, shared=shared)

    def _fit(
        self, X: Any, y: Any, params: dict[str, Any], at_once: int | None, *, shared: bool
    ) -> Self:
        estimator, own = clone(self.estimator), {}
        if shared:  # each fit on a thread of its own
            own = {
                n: v for n, v in estimator.get_params().items() if n.split("__")[-1] == "threads"
            }
            estimator.set_params(**dict.fromkeys(own, 1))
        search = self._search(estimator, at_once)
        search.fit(X, y, **params)
        # What was fitted is this search's own, as are its methods.
        found = {name: value for name, value in vars(search).items() if name.endswith("_")}
        self.__dict__.update(found)
        if hasattr(self, "best_estimator_"):
            self.best_estimator_.set_params(**own)
        return self

    @contextmanager
    def _where(self) -> Iterator[tuple[int | None, bool]]:
        """Configure joblib; yield how many fits run at once, and whether they share the cores."""
        backend, jobs = get_active_backend()
        if self.executor is not None:
            with opened(self.executor) as pool, parallel_config(**_joblib(pool)):
                yield None, True
        elif jobs is not None or not isinstance(backend, LokyBackend):  # the caller's own
            yield self.n_jobs, True
        else:
            at_once = self._at_once()
            with parallel_config(backend="threading", n_jobs=at_once):
                yield at_once, at_once > 1

    def _at_once(self) -> int:
        if self.n_jobs is not None:
            return cores() if self.n_jobs == -1 else check_int("n_jobs", self.n_jobs)
        every = self.estimator.get_params()
        backends = {v for n, v in every.items() if n.split("__")[-1] == "backend"}
        return cores() if backends and backends <= {"auto", "numba"} else 1

    def _search(self, estimator: Any, n_jobs: int | None) -> Any:
        """Return scikit-learn's search."""
        names = ("scoring", "refit", "cv", "error_score", "return_train_score", "verbose")
        how = {name: getattr(self, name) for name in names} | {"n_jobs": n_jobs}
        if self.n_iter is not None and self.halving is not None:
            raise InputError("give n_iter or halving, not both.")
        if self.n_iter is not None:
            drawn = {"n_iter": check_int("n_iter", self.n_iter), "random_state": self.random_state}
            return RandomizedSearchCV(estimator, self.param_grid, **drawn, **how)
        if self.halving is None:
            return GridSearchCV(estimator, self.param_grid, **how)
        from sklearn.experimental import enable_halving_search_cv  # noqa: F401
        from sklearn.model_selection import HalvingGridSearchCV

        how |= {"factor": check_int("halving", self.halving, least=2)}
        how["cv"] = 5 if self.cv is None else self.cv
        return HalvingGridSearchCV(
            estimator, self.param_grid, random_state=self.random_state, **how
        )


def _joblib(pool: Pool) -> dict[str, Any]:
    """Return the configuration of joblib for the workers of a pool."""
    if isinstance(pool, ProcessesPool):
        threads = pool.threads
        return {"backend": "loky", "n_jobs": pool.slots, "inner_max_num_threads": threads}
    if isinstance(pool, DaskPool):
        return {"backend": "dask", "client": pool.client, "n_jobs": -1}
    assert isinstance(pool, ExecutorPool)
    return {"backend": ExecutorBackend(pool), "n_jobs": -1}
