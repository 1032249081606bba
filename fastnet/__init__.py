"""fastnet: dense neural networks on NumPy, Numba or CuPy, chosen by one flag.

>>> import fastnet as fn
>>> net = fn.Network([2, 8, 1], output_activation="sigmoid", backend="numpy")
>>> net.plan.size
33

Importing fastnet loads NumPy and nothing heavier; Numba, CuPy and the rest load on first use.
"""

from typing import TYPE_CHECKING, Any

from fastnet import data
from fastnet._version import version as __version__
from fastnet.backends import available_backends, get_backend
from fastnet.errors import (
    BackendUnavailableError,
    CheckpointError,
    CheckpointWarning,
    DataError,
    DataNotFoundError,
    DivergenceError,
    FastNetError,
    FastNetWarning,
    InputError,
    ModelFileError,
    OutOfMemoryError,
    ResumeWarning,
)
from fastnet.network import Network, load
from fastnet.nn import initializers, losses, optimizers, schedules
from fastnet.nn.layers import BatchNorm, Dense, Dropout, LayerNorm, Residual
from fastnet.nn.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from fastnet.training.callbacks import Callback, EarlyStopping, Run
from fastnet.training.history import History
from fastnet.training.loggers import JsonLines, TensorBoard

if TYPE_CHECKING:
    from fastnet import export, plotting, tables

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
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "FastNetError",
    "FastNetWarning",
    "History",
    "InputError",
    "JsonLines",
    "LayerNorm",
    "Lion",
    "ModelFileError",
    "NAdam",
    "Network",
    "OutOfMemoryError",
    "RMSprop",
    "Residual",
    "ResumeWarning",
    "Run",
    "TensorBoard",
    "__version__",
    "available_backends",
    "data",
    "export",
    "get_backend",
    "initializers",
    "load",
    "losses",
    "optimizers",
    "plotting",
    "schedules",
    "tables",
]


def __dir__() -> list[str]:
    """Return the public names alone, for completion."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Load ``fastnet.export``, ``plotting`` and ``tables`` on first use."""
    if name in ("export", "plotting", "tables"):
        import importlib

        return importlib.import_module(f"fastnet.{name}")
    raise AttributeError(f"module 'fastnet' has no attribute {name!r}")
