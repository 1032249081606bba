"""fastnet: dense neural networks on NumPy, Numba or CuPy, chosen by one flag.

>>> import fastnet as fn
>>> net = fn.Network([2, 8, 1], output_activation="sigmoid", backend="numpy")
>>> net.plan.size
33

Importing fastnet loads NumPy and nothing heavier; Numba, CuPy and the rest load on first use.
"""

from typing import TYPE_CHECKING, Any

from fastnet import initializers, losses, optimizers, schedules
from fastnet._version import version as __version__
from fastnet.backends import available_backends, get_backend
from fastnet.callbacks import Callback, EarlyStopping, Run
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
from fastnet.files import load
from fastnet.history import History
from fastnet.layers import BatchNorm, Dense, Dropout, LayerNorm
from fastnet.loggers import JsonLines, TensorBoard
from fastnet.network import Network
from fastnet.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop

if TYPE_CHECKING:
    from fastnet import data, tables

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
    "ResumeWarning",
    "Run",
    "TensorBoard",
    "__version__",
    "available_backends",
    "data",
    "get_backend",
    "initializers",
    "load",
    "losses",
    "optimizers",
    "schedules",
    "tables",
]


def __getattr__(name: str) -> Any:
    """Load ``fastnet.data`` and ``fastnet.tables`` on first use."""
    if name in ("data", "tables"):
        import importlib

        return importlib.import_module(f"fastnet.{name}")
    raise AttributeError(f"module 'fastnet' has no attribute {name!r}")
