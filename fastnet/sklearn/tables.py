"""Estimators on tables: columns as they are, and the preset."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from fastnet.data.frame import is_missing, is_table
from fastnet.errors import InputError
from fastnet.nn.layers import Layer
from fastnet.nn.optimizers import Optimizer
from fastnet.nn.schedules import CosLog, Schedule
from fastnet.preprocessing.edge import SCALED, training_rows
from fastnet.sklearn.rows import dense
from fastnet.tables import Frame, Preset, TablePreprocessor, TableTarget, as_frame, preset
from fastnet.training.callbacks import EarlyStopping

_NOT_WITH_A_PRESET: Final = ("normalization", "dropout", "initializer", "standardize")


def prepares(model: Any, X: Any) -> bool:
    """Return whether the columns of X are prepared by a `TablePreprocessor`."""
    if model.table is not None:
        return bool(model.table)
    options = (model.preset, model.embedding_size, model.numeric_embedding)
    if any(option is not None for option in options):
        return True
    return is_table(X) and not as_frame(X).plain


def frame_of(X: Any) -> Frame:
    """Return X as a frame."""
    return as_frame(dense(X), "X")


def task(model: Any) -> Literal["classification", "regression"]:
    """Return what an estimator learns, once it has seen targets."""
    return "classification" if hasattr(model, "classes_") else "regression"


def rows(model: Any, X: Any, y: Any, *, reset: bool) -> tuple[Frame, NDArray[Any]]:
    """Return X as a frame, and y, both checked."""
    frame = frame_of(X)
    if not reset:
        match(model, X)
    values = np.asarray(y)
    missing = [is_missing(cell) for cell in values.flat] if values.dtype.kind == "O" else []
    if any(missing):
        row = missing.index(True) // max(1, values[0:1].size) + 1
        raise InputError(f"y is missing in row {row}: leave such rows out.")
    # y is checked as always, beside a column that stands for X; what is known of X stays.
    known = {k: v for k, v in vars(model).items() if k in ("n_features_in_", "feature_names_in_")}
    _, y = model._checked(np.zeros((len(frame), 1)), y, reset=True)
    if reset:
        keep_names(model, frame)
    for name, value in known.items() if not reset else ():
        setattr(model, name, value)
    return frame, y


def match(model: Any, X: Any) -> None:
    """Raise where an array has another number of columns; frames are matched by name."""
    if not is_table(X):
        validate_data(model, X, skip_check_array=True, reset=False)


def chosen(model: Any) -> Preset | None:
    """Return the preset, or None; refuse options that do not go with one."""
    if model.preset is None:
        return None
    for name in _NOT_WITH_A_PRESET:
        if is_given(model, name):
            raise InputError(f"{name} does not go with a preset: leave one of them out.")
    return preset.get(model.preset)


def is_given(model: Any, name: str) -> bool:
    """Return whether a parameter is not what it is by default."""
    default = inspect.signature(type(model)).parameters[name].default
    value = getattr(model, name)
    return bool(type(value) is not type(default) or value != default)


def value_of(model: Any, name: str) -> Any:
    """Return a parameter; where it is not given, the preset's."""
    value, made = getattr(model, name), chosen(model)
    return value if made is None or is_given(model, name) else getattr(made, name)


def preprocessor(
    model: Any,
    frame: Frame,
    y: NDArray[Any],
    fraction: float,
    seed: int,
    loss: str,
    activation: str,
) -> TablePreprocessor:
    """Return the preprocessor of a first call's rows; numbers are scaled where the loss allows."""
    rows = training_rows(len(frame), fraction, seed, None)
    embedding = model.numeric_embedding
    made = TablePreprocessor.fit(frame, numeric_embedding=embedding, seed=seed, rows=rows)
    if loss in SCALED and activation == "identity" and task(model) == "regression":
        made = made.with_target(TableTarget.learn(y, (), "regression", rows))
    return made


def layers(model: Any, made: TablePreprocessor, outputs: int, activation: str) -> list[Layer]:
    """Return the preset's layers."""
    config = chosen(model)
    assert config is not None
    hidden = value_of(model, "hidden_layers") if is_given(model, "hidden_layers") else config.hidden
    sizes = [hidden] if isinstance(hidden, int) else list(hidden)
    if any(isinstance(size, Layer) for size in sizes):
        raise InputError("with a preset, hidden_layers are sizes.")
    kind = model.activation if is_given(model, "activation") else None
    if kind is not None and not isinstance(kind, str):
        raise InputError("with a preset, activation is one for all hidden layers.")
    first = made.first_layer(model.embedding_size, scale_rate=config.scale_rate)
    return config.layers(task(model), outputs, activation, first, sizes, kind)


def optimizer(model: Any, config: Preset) -> Optimizer:
    """Return the preset's optimizer, with those of its options that the model gives."""
    epochs = value_of(model, "epochs")
    base = config.optimizer(task(model), epochs)
    rate = model.learning_rate
    if rate is not None:
        course = rate if isinstance(rate, Schedule) else CosLog(rate, epochs=epochs)
        base = replace(base, learning_rate=course)
    names = ("l1", "l2", "weight_decay", "clip_norm")
    given = {name: getattr(model, name) for name in names if getattr(model, name) is not None}
    return replace(base, **given)


def stopping(model: Any) -> EarlyStopping:
    """Return what chooses the epoch of a preset whose weights are kept."""
    return preset.BestEpoch(task(model), value_of(model, "epochs"))


def keep_names(model: Any, frame: Frame) -> None:
    """Set the attributes that scikit-learn has for the features."""
    model.n_features_in_ = len(frame.columns)
    if frame.named:
        model.feature_names_in_ = np.array(list(frame.columns), dtype=object)
