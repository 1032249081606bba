"""The names that users may rely on: taking one away, or adding one, is a decision."""

from __future__ import annotations

import importlib

import pytest

import fastnet as fn

PUBLIC = """
LBFGS SGD Adagrad Adam AdamW BackendUnavailableError BatchNorm Callback CheckpointError
CheckpointWarning DataError DataNotFoundError Dense DistributedError DivergenceError Dropout
EarlyStopping Ensemble FastNetError FastNetWarning History InputError JsonLines LayerNorm Lion
Members ModelFileError NAdam Network OutOfMemoryError Population RMSprop Residual ResumeWarning Run
TensorBoard WorkerError __version__
available_backends cross_validate data distributed export fit_many get_backend initializers load
losses optimizers plotting populations schedules tables
"""

MODULES = {
    "fastnet.data": "BUILT_IN Chunks Dataset load",
    "fastnet.distributed": "Ranks local_rank",
    "fastnet.export": "FORMATS export from_sklearn from_torch to_torch usage",
    "fastnet.populations": "Ensemble Population Results cross_validate fit_many make_folds",
    "fastnet.plotting": "plot_history plot_predictions",
    "fastnet.sklearn": "FastNetClassifier FastNetRegressor FastNetSearchCV MLPClassifier "
    "MLPRegressor",
    "fastnet.tables": "PRESETS Frame Overrides Preset TableColumn TablePreprocessor TableTarget "
    "Tuned as_frame cross_validate fit_many read_frame train tune",
}


def test_the_package_has_just_these_names() -> None:
    assert sorted(fn.__all__) == sorted(PUBLIC.split())
    assert all(hasattr(fn, name) for name in fn.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_just_these_names(module: str) -> None:
    loaded = importlib.import_module(module)
    names = MODULES[module].split()
    assert all(hasattr(loaded, name) for name in names)
    assert sorted(getattr(loaded, "__all__", names)) == sorted(names)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'schema'"):
        fn.schema  # noqa: B018
