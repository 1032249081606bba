"""Support of the estimators for tables and for the preset."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from fastnet.data.frame import Frame, NoNarwhalsError, as_frame, is_table
from fastnet.data.labels import class_names
from fastnet.data.values import is_missing, numbers_of
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn.layers import Layer
from fastnet.preprocessing.samples import training_rows
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.sklearn import parameters
from fastnet.sklearn.parameters import FLOATS, dense
from fastnet.tables import preset
from fastnet.tables.preset import Built, Overrides, Preset
from fastnet.utils.param_validation import check_flag, plain, refuse_masked
from fastnet.utils.warn import warn

_NOT_WITH_A_PRESET: Final = ("normalization", "dropout", "initializer", "standardize")
_OVERRIDES: Final = (
    "hidden_layers",
    "activation",
    "embedding_size",
    "learning_rate",
    "epochs",
    "batch_size",
)


def prepares(model: Any, X: Any) -> bool:
    """Return whether a `TablePreprocessor` encodes the columns of X."""
    model._medians = None
    if model.table is not None:
        return check_flag("table", model.table)
    options = (model.preset, model.embedding_size, model.numeric_embedding)
    if any(option is not None for option in options):
        return True
    if not is_table(X):
        return False
    try:
        frame = as_frame(X)
    except NoNarwhalsError:  # frames of numbers are read by scikit-learn
        if np.asarray(X).dtype.kind not in "biuf":
            raise
        return False
    if not frame.plain:
        return True
    # Kept for gaps that come at prediction.
    numbers = {name: numbers_of(column, name, "X") for name, column in frame.columns.items()}
    model._medians = {name: float(np.median(column)) for name, column in numbers.items()}
    return False


def matrix(model: Any, X: Any) -> Any:
    """Return the rows (N, I) for a network without a preprocessor of tables."""
    refuse_masked("X", X)
    values = filled(model, X)
    if values is None:
        kinds = ["csr", "csc"]
        X = validate_data(model, X, accept_sparse=kinds, dtype=FLOATS, reset=False)
        values = dense(X)
    return values


def filled(model: Any, X: Any) -> NDArray[np.float64] | None:
    """Return a frame with gaps as an array (N, I), with medians of training for them; else None.

    A fold of a cross-validation may have had no gaps where another has some.
    """
    medians = getattr(model, "_medians", None)
    if medians is None or not is_table(X):
        return None
    frame = as_frame(X)
    if frame.plain or list(frame.columns) != list(medians):  # scikit-learn names what is wrong
        return None
    columns, gaps = {}, []
    for name, values in frame.columns.items():
        numbers = numbers_of(values, name, "X")
        missing = np.isnan(numbers)
        columns[name] = np.where(missing, medians[name], numbers)
        gaps += [name] * bool(missing.any())
    warn(
        f"X has missing values in {', '.join(map(repr, gaps))}, where training had none: the "
        "median of training stands for them. Give table=True to learn from gaps.",
    )
    return np.stack([*columns.values()], axis=1)


def column_names(y: Any) -> tuple[str, ...]:
    """Return the names of a data frame's columns; none where they are not texts, or not unique."""
    names = getattr(y, "column_names", getattr(y, "columns", ()))
    found = tuple(names) if is_table(y) else ()
    texts = all(isinstance(name, str) for name in found)
    return found if texts and len(set(found)) == len(found) else ()


def name_outputs(model: Any, network: Network) -> None:
    """Give a new network the names of the classes, or of several target columns."""
    names: tuple[str, ...] = model._columns
    made: Any = network.preprocessor
    if hasattr(model, "classes_") and not model._several:
        network.label_names = class_names(model.classes_)
    elif len(names) > 1:
        target = made.target or TableTarget.plain(names, None, len(names))
        network.preprocessor = replace(made, target=replace(target, names=names))


def frame_of(X: Any) -> Frame:
    """Return X as a frame."""
    return as_frame(dense(X), "X")


def task(model: Any) -> Literal["classification", "regression"]:
    """Return the task of an estimator that has seen targets."""
    return "classification" if hasattr(model, "classes_") else "regression"


def require_targets(y: Any) -> None:
    """Raise `InputError` for targets of which one is missing, or masked."""
    refuse_masked("y", y)
    values = np.asarray(y)
    missing = [is_missing(cell) for cell in values.flat] if values.dtype.kind == "O" else []
    if any(missing):
        row = missing.index(True) // max(1, values[0:1].size) + 1
        raise InputError(f"y is missing in row {row}: leave such rows out.")


def rows(model: Any, X: Any, y: Any, *, reset: bool) -> tuple[Frame, NDArray[Any]]:
    """Return X as a frame, and y, both checked."""
    frame = frame_of(X)
    if not reset:
        match(model, X)
    # y is checked beside a stand-in for X; the attributes about the features of X stay.
    known = {k: v for k, v in vars(model).items() if k in ("n_features_in_", "feature_names_in_")}
    _, y = model._checked(np.zeros((len(frame), 1)), y, reset=True)
    if reset:
        keep_names(model, frame)
    for name, value in known.items() if not reset else ():
        setattr(model, name, value)
    return frame, y


def encodable(model: Any, X: Any) -> Frame:
    """Return X as a frame that the table preprocessor of a fitted model takes."""
    match(model, X)
    return frame_of(X)


def match(model: Any, X: Any) -> None:
    """Raise if an array has another number of columns; frames are matched by name."""
    if not is_table(X):
        validate_data(model, X, skip_check_array=True, reset=False)


def chosen(model: Any) -> Preset | None:
    """Return the preset, or None; refuse options that exclude a preset."""
    if model.preset is None:
        return None
    for name in _NOT_WITH_A_PRESET:
        if is_given(model, name):
            raise InputError(f"{name} does not go with a preset: leave one of them out.")
    return preset.get(model.preset)


def is_given(model: Any, name: str) -> bool:
    """Return whether a parameter differs from its default."""
    default = inspect.signature(type(model)).parameters[name].default
    value = plain(getattr(model, name))
    return bool(type(value) is not type(default) or value != default)


def preprocessor(
    model: Any, frame: Frame, y: Any, weight: Any, fraction: float, seed: int, scales: bool
) -> TablePreprocessor:
    """Return the preprocessor of a first call's rows; `scales` says whether targets are scaled."""
    embedding, rows = model.numeric_embedding, training_rows(len(frame), fraction, seed)
    counted: dict[str, Any] = {"rows": rows, "sample_weight": weight}
    made = TablePreprocessor.fit(frame, numeric_embedding=embedding, seed=seed, **counted)
    if scales and task(model) == "regression":
        made = made.with_target(TableTarget.learn(y, (), "regression", **counted))
    return made


def first_layer(model: Any, made: TablePreprocessor) -> Layer:
    """Return the layer that embeds the columns of a table."""
    return made.first_layer(plain(model.embedding_size))


def build(model: Any, made: TablePreprocessor, *, once: bool, validates: bool) -> Built:
    """Return the preset's layers and options for a table, with the model's parameters."""
    config = chosen(model)
    assert config is not None
    outputs, activation = model._outputs()
    own = {name: plain(getattr(model, name)) for name in _OVERRIDES}
    given = {name: value for name, value in own.items() if is_given(model, name)}
    hidden = given.pop("hidden_layers", config.hidden)
    sizes = [hidden] if isinstance(hidden, int) else list(hidden)
    if any(isinstance(size, Layer) for size in sizes):
        raise InputError("with a preset, hidden_layers are sizes.")
    if not isinstance(given.get("activation", ""), str):
        raise InputError("with a preset, activation is one for all hidden layers.")
    if is_given(model, "optimizer"):
        given["optimizer"] = parameters.optimizer(model, None, (), once=once)
    names = ("l1", "l2", "weight_decay", "clip_norm")
    options = {name: getattr(model, name) for name in names if getattr(model, name) is not None}
    overrides = Overrides(
        hidden=sizes,
        output_activation=activation,
        loss=model._loss(),
        optimizer_options=options,
        validation_split=0.0,
        **given,
    )
    return config.build(made, task(model), overrides, outputs=outputs, validates=validates)


def keep_names(model: Any, frame: Frame) -> None:
    """Set scikit-learn's attributes about the features."""
    model.n_features_in_ = len(frame.columns)
    if frame.named:
        model.feature_names_in_ = np.array(list(frame.columns), dtype=object)
