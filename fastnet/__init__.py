"""fastnet: dense neural networks on NumPy, Numba or CuPy, chosen by one flag.

>>> import fastnet as fn
>>> net = fn.Network([2, 8, 1], output_activation="sigmoid", backend="numpy")
>>> net.plan.size
33

Importing fastnet loads NumPy and nothing heavier; Numba, CuPy and the rest load on first use.
"""

from typing import TYPE_CHECKING, Any

from fastnet import data, distributed
from fastnet._version import version as __version__
from fastnet.backends import available_backends, get_backend
from fastnet.errors import (
    BackendUnavailableError,
    CheckpointError,
    CheckpointWarning,
    DataError,
    DataNotFoundError,
    DistributedError,
    DivergenceError,
    FastNetError,
    FastNetWarning,
    InputError,
    ModelFileError,
    OutOfMemoryError,
    ResumeWarning,
    WorkerError,
)
from fastnet.network import Network, load
from fastnet.nn import initializers, losses, optimizers, schedules
from fastnet.nn.layers import BatchNorm, Dense, Dropout, LayerNorm, Members, Residual
from fastnet.nn.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from fastnet.training.callbacks import Callback, EarlyStopping, Run
from fastnet.training.history import History
from fastnet.training.loggers import JsonLines, TensorBoard

if TYPE_CHECKING:
    from fastnet import export, plotting, populations, tables
    from fastnet.populations import Ensemble, Population, cross_validate, fit_many

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "BackendUnavailableError",
    "BatchNorm",
    "Callback",
    "CheckpointError",
    "CheckpointWarning",
    "DataError",
    "DataNotFoundError",
    "Dense",
    "DistributedError",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Ensemble",
    "FastNetError",
    "FastNetWarning",
    "History",
    "InputError",
    "JsonLines",
    "LayerNorm",
    "Lion",
    "Members",
    "ModelFileError",
    "NAdam",
    "Network",
    "OutOfMemoryError",
    "Population",
    "RMSprop",
    "Residual",
    "ResumeWarning",
    "Run",
    "TensorBoard",
    "WorkerError",
    "__version__",
    "available_backends",
    "cross_validate",
    "data",
    "distributed",
    "export",
    "fit_many",
    "get_backend",
    "initializers",
    "load",
    "losses",
    "optimizers",
    "plotting",
    "populations",
    "schedules",
    "tables",
]


def __dir__() -> list[str]:
    """Return the public names alone, for completion."""
    return sorted(__all__)


_ROOMS = ("export", "plotting", "populations", "tables")
_OF_POPULATIONS = ("Ensemble", "Population", "cross_validate", "fit_many")


def __getattr__(name: str) -> Any:
    """Load what takes time to import, or is not always needed, on first use."""
    if name in _ROOMS or name in _OF_POPULATIONS:
        import importlib

        if name in _ROOMS:
            return importlib.import_module(f"fastnet.{name}")
        return getattr(importlib.import_module("fastnet.populations"), name)
    raise AttributeError(f"module 'fastnet' has no attribute {name!r}")
