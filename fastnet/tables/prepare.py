"""`prepare`: the network for a table, and its training, from what a caller asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastnet.data.columns import Names, named_columns
from fastnet.data.dataset import Dataset
from fastnet.data.frame import Frame, as_frame
from fastnet.data.roles import Roles, weights_of
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import losses, optimizers
from fastnet.nn.layers import Dense, Dropout, Layer
from fastnet.nn.losses import CrossEntropy, Loss
from fastnet.nn.schedules import Schedule
from fastnet.populations import halfway
from fastnet.preprocessing import datasets
from fastnet.preprocessing.embeddings import warn_of_size
from fastnet.preprocessing.learn import scales_targets
from fastnet.preprocessing.samples import training_rows
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import split_target
from fastnet.tables import preset as presets
from fastnet.tables.preset import Built, Preset, outputs_for
from fastnet.training.budget import ACTIVATION, AUTO, HIDDEN, Budget, counted_rows
from fastnet.training.checkpoints.writer import known_categories
from fastnet.training.constant_answer import warn_of_constant
from fastnet.utils.device_arrays import on_host
from fastnet.utils.names import ActivationName, Auto, BackendName, DTypeName, LossName, PresetName
from fastnet.utils.param_validation import check_list

TaskName = Literal["auto", "classification", "regression"]

_BUDGET: Final = ("epochs", "batch_size", "validation_split", "early_stopping")

_OF_LEARNING: Final = frozenset(("epochs", "batch_size", "optimizer", "learning_rate"))
"""With one of these it is the caller's doing how well a network learns."""


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """The arguments of `fastnet.tables.train`, which explains them, beside table and target."""

    task: TaskName = "auto"
    preset: PresetName | Auto | Preset | None = "auto"
    hidden: int | Sequence[int] | None = None
    activation: ActivationName | None = None
    learning_rate: float | Schedule | None = None
    embedding_size: int | None = None
    numeric_embedding: Literal["periodic", "piecewise"] | None = None
    categorical: Names = ()
    id: str | None = None
    weight: str | None = None
    features: str | Sequence[str] | None = None
    drop: str | Sequence[str] | None = None
    loss: LossName | Loss | None = None
    dtype: DTypeName | type | np.dtype[Any] = "float32"
    seed: int = 0
    backend: BackendName | Auto = "auto"
    sample_weight: ArrayLike | None = None
    validation_data: tuple[Any, ...] | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A network for a table, and what `fit` is given for it.

    Attributes
    ----------
    network : Network
    frame : Frame
        The columns of the inputs, and those of the targets if they are named.
    y : list of str, or array
        The names of the target columns, or the targets.
    fit : dict
        Arguments of `Network.fit`.
    is_usual : bool
        Whether epochs, batch size and optimizer are the default ones.
    """

    network: Network
    frame: Frame
    y: Any
    fit: dict[str, Any]
    is_usual: bool

    def in_population(self, folder: Path | None, number: int, threads: int | None) -> None:
        """Train as a member of a population in a folder, on so many threads."""
        plan = self.network.plan
        goes_on = halfway.options_for(folder, number, plan, len(self.frame), self.fit)
        self.fit.update(goes_on, threads=threads)

    def train(self) -> Network:
        """Train the network and return it."""
        history = self.network.fit(self.frame, self.y, **self.fit)
        self.network.target_axes = 2  # columns are answered with columns
        if self.is_usual:
            warn_of_constant(history)
        return self.network


def prepare(
    table: Any, target: Any, how: TableSettings, *, learns_from_all: bool = False
) -> Prepared:
    """Return the network for a table, and how it is to be trained.

    Parameters
    ----------
    learns_from_all : bool, default False
        Whether the encoding of columns and target is learned from all rows, also from those that
        one network holds back: members of an ensemble share it.
    """
    frame = as_frame(table, "the table")
    if target is None:
        raise InputError("name the column to learn: target='price', or give its values.")
    hidden, validation_data, seed = how.hidden, how.validation_data, how.seed
    if hidden is not None:
        hidden = check_list("hidden", [hidden] if isinstance(hidden, int) else hidden)
    targets = split_target(frame, target)[1]
    roles = Roles(how.id, how.weight, how.features, how.drop)
    frame, _, weights = roles.split(frame, targets)
    sample_weight = on_host("sample_weight", how.sample_weight)
    if weights is not None:
        if sample_weight is not None:
            raise InputError("give weight or sample_weight, not both.")
        sample_weight = weights_of(weights, roles.weight or "", frame.source)
    # Decide by the number of rows what the caller left open.
    given = _given(how.fit)
    if how.learning_rate is not None and "optimizer" in given:
        raise InputError(
            "give learning_rate or an optimizer with its own, as in fn.Adam(0.01), not both."
        )
    rows = len(frame) if sample_weight is None else int(np.count_nonzero(sample_weight))
    plain = bool({"optimizer"} & given.keys()) or hidden is not None or how.activation is not None
    chosen = _preset(how.preset, rows, plain=plain, given=given)
    optimizer = optimizers.get(given["optimizer"]) if "optimizer" in given else None
    validates = validation_data is not None
    budget: Budget | None = None
    held_back: float | None
    if chosen is None:
        budget = Budget.of(
            rows,
            **{name: given[name] for name in _BUDGET if name in given},
            validation_rows=None if validation_data is None else _rows_of(validation_data),
            optimizer=optimizer,
            counted=counted_rows(sample_weight),
        )
        held_back = budget.validation_split
    else:
        held_back = given.get("validation_split")
        if held_back is None:
            held_back = 0.0 if validates else chosen.validation_split

    of_preset = None if chosen is None else chosen.numeric_embedding
    # Learn the encoding of the columns and the target, from the training rows alone.
    preprocessor = TablePreprocessor.fit(
        frame,
        target,
        task=how.task,
        numeric_embedding=how.numeric_embedding or of_preset,
        seed=seed,
        rows=None if learns_from_all else training_rows(len(frame), held_back, seed),
        sample_weight=sample_weight,
        categorical=(
            *named_columns(how.categorical, frame.columns, frame.source),
            *known_categories(how.fit.get("checkpoint"), how.fit.get("resume", False)),
        ),
    )

    warn_of_size(how.embedding_size, preprocessor.columns, preprocessor.numeric_embedding)

    # Choose layers, loss, optimizer and options of fit: the preset's or plain ones.
    kind = task_of(preprocessor)
    options: dict[str, Any] = {"hidden": hidden, "activation": how.activation}
    if chosen is not None:
        names = [field.name for field in fields(presets.Overrides) if field.name in given]
        loss = None if how.loss is None else make_loss(preprocessor, how.loss)
        options |= {name: given[name] for name in names}
        options |= {"optimizer": optimizer, "embedding_size": how.embedding_size, "loss": loss}
        overrides = presets.Overrides(**options, learning_rate=how.learning_rate)
        built = chosen.build(preprocessor, kind, overrides, validates=validates)
    else:
        assert budget is not None
        loss = make_loss(preprocessor, how.loss)
        layers = plain_layers(preprocessor, loss, **options, embedding_size=how.embedding_size)
        options_of_fit = {
            "epochs": budget.epochs,
            "batch_size": budget.batch_size,
            "validation_split": budget.validation_split,
            "early_stopping": budget.stopping(kind),
        }
        optimizer = optimizer or budget.optimizer(layers, how.learning_rate)
        built = Built(layers, loss, optimizer, options_of_fit)
    where: dict[str, Any] = {"dtype": how.dtype, "seed": seed, "backend": how.backend}
    network = Network(built.layers, inputs=preprocessor.inputs, **where)
    preprocessor = replace(preprocessor, id=how.id, weight=how.weight)
    network.preprocessor = in_units(preprocessor, built.loss, network)

    names_of_target = preprocessor.target.names if preprocessor.target else ()
    fit = given | built.fit | {"loss": built.loss, "optimizer": built.optimizer}
    return Prepared(
        network,
        frame,
        list(names_of_target) or target,
        fit | {"sample_weight": sample_weight, "validation_data": validation_data},
        not ({*given, *(["learning_rate"] if how.learning_rate else [])} & _OF_LEARNING),
    )


def _rows_of(validation_data: Any) -> int:
    x = datasets.pair("validation_data", validation_data)[0]
    return len(x.x if isinstance(x, Dataset) else as_frame(x))


def _given(fit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``fit`` that decide something; None and "auto" leave it open."""
    open_if_none = ("epochs", "validation_split")
    return {
        name: value
        for name, value in fit.items()
        if not (
            (isinstance(value, str) and value == AUTO) or (value is None and name in open_if_none)
        )
    }


def _preset(
    preset: PresetName | Auto | Preset | None, rows: int, *, plain: bool, given: dict[str, Any]
) -> Preset | None:
    """Return the preset, or None; "auto" decides by the rows, and shortens it for very many."""
    if preset != AUTO:
        return None if preset is None else presets.get(preset)
    chosen = presets.for_rows(rows, plain=plain)
    if chosen is not None:
        given.setdefault("epochs", chosen.epochs_for(rows))
    return chosen


def task_of(preprocessor: TablePreprocessor) -> Literal["classification", "regression"]:
    """Return the task for the target of `preprocessor`."""
    return "regression" if preprocessor.label_names is None else "classification"


def make_loss(preprocessor: TablePreprocessor, loss: LossName | Loss | None = None) -> Loss:
    """Return the loss, by default cross_entropy or mse; refuse a loss for the other task."""
    labels = preprocessor.label_names
    given = ("cross_entropy" if labels is not None else "mse") if loss is None else loss
    name = given.name if isinstance(given, Loss) else given
    if labels is None and name == CrossEntropy.name:
        raise InputError("the loss 'cross_entropy' needs classes, and the target has numbers.")
    fits = name == CrossEntropy.name or (name == "binary_cross_entropy" and len(labels or ()) == 2)
    if labels is not None and not fits:
        raise InputError(f"the loss {name!r} does not fit a target of {len(labels)} classes.")
    if isinstance(given, Loss):
        return given
    row = losses.LOSSES.get(str(given))
    return losses.get(given, "identity" if row is None else row().output_activation)


def plain_layers(
    preprocessor: TablePreprocessor,
    loss: Loss,
    hidden: Sequence[int] | None = None,
    activation: ActivationName | None = None,
    embedding_size: int | None = None,
    dropout: float = 0.0,
) -> list[Layer]:
    """Return the layers of a network without a preset, for a table's inputs and targets."""
    layers: list[Layer] = []
    for units in HIDDEN if hidden is None else hidden:
        layers += [Dense(units, activation or ACTIVATION), *([Dropout(dropout)] if dropout else [])]
    if embedding_size is not None or preprocessor.numeric_embedding is not None:
        layers.insert(0, preprocessor.first_layer(embedding_size))
    return [*layers, Dense(outputs_for(preprocessor, loss), loss.output_activation)]


def in_units(preprocessor: TablePreprocessor, loss: Loss, network: Network) -> TablePreprocessor:
    """Return the preprocessor, with unscaled targets unless the loss allows scaled ones."""
    target = preprocessor.target
    scales = scales_targets(loss, network.plan.output_activation.name)
    if target is None or target.labels is not None or scales:
        return preprocessor
    return preprocessor.with_target(target.unscaled())
