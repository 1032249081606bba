"""Model files of the commands: one network, or an ensemble."""

from __future__ import annotations

from fastnet.network import Network, load
from fastnet.populations import ensemble_file
from fastnet.populations.ensemble import Ensemble
from fastnet.utils.names import Auto, BackendName

Predictor = Network | Ensemble
"""What predicts: both have `preprocessor`, `output_schema`, `predict_columns` and `evaluate`."""


def load_predictor(path: str, backend: BackendName | Auto) -> Predictor:
    """Load a network or an ensemble from its file.

    Raises
    ------
    ModelFileError
        It is neither.
    """
    if ensemble_file.is_one(path):
        return Ensemble.load(path, backend=backend)
    return load(path, backend=backend)
