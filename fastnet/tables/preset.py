"""Presets: named layers and training options that do well on many tables.

``tabular`` is RealMLP-TD-S (Holzmüller, Grinsztajn and Steinwart, "Better by default: strong
pre-tuned MLPs and boosted trees on tabular data", NeurIPS 2024; section 3 and its reference code).
Its layers compute ``x @ v / sqrt(I) + b`` with v of variance 1 ("neural tangent parametrization").
With ``w = v / sqrt(I)`` that is a plain dense layer whose w has variance 1 / I. Adam's steps do not
depend on the scale of a gradient, so the learning rate of w is that of v times ``1 / sqrt(I)``.

``tabular-piecewise`` adds dropout, decoupled weight decay and piecewise inputs to it. No other part
of RealMLP-TD measured better on top of either: ``docs/guides/tables.md`` has the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

from fastnet.errors import InputError, suggest
from fastnet.nn.layers import Dense, Dropout, Layer
from fastnet.nn.losses import MSE, CrossEntropy, Loss
from fastnet.nn.optimizers import LBFGS, Adam, Optimizer
from fastnet.nn.schedules import CosLog, Schedule
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.training.budget import AUTO, BestEpoch, Task, warn_of_patience
from fastnet.training.callbacks import EarlyStopping
from fastnet.utils.names import ActivationName, Auto, PresetName
from fastnet.utils.param_validation import check_int

AUTO_ROWS: Final = 1_000
"""From this many rows on a preset is the default: on fewer a plain network does as well, sooner."""

_WHOLE_LENGTH: Final = 50_000
"""Up to this many training rows the default is the whole preset; for more its steps are as many."""


@dataclass(frozen=True)
class Preset:
    """The layers and training options of a preset.

    Attributes
    ----------
    hidden : tuple of int
    activation : dict of task to str
    learning_rate : dict of task to float
    scale_rate, bias_rate : float
        Factors on the learning rate of the layer that scales the inputs and of biases.
    epochs, batch_size : int
    validation_split : float
        Fraction of the rows that is held out to choose the best epoch, without validation data.
    dropout : float, default 0
        Rate behind each hidden layer.
    weight_decay : float, default 0
        Decoupled decay.
    numeric_embedding : {None, "periodic", "piecewise"}
        Further inputs for each number.
    """

    hidden: tuple[int, ...]
    activation: dict[Task, ActivationName]
    learning_rate: dict[Task, float]
    label_smoothing: float
    beta2: float
    scale_rate: float
    bias_rate: float
    epochs: int
    batch_size: int
    validation_split: float
    dropout: float = 0.0
    weight_decay: float = 0.0
    numeric_embedding: Literal["periodic", "piecewise"] | None = None

    def build(
        self,
        preprocessor: TablePreprocessor,
        task: Task,
        given: Overrides,
        *,
        outputs: int | None = None,
        validates: bool = False,
    ) -> Built:
        """Return layers, loss, optimizer and options of ``fit`` for a table.

        Parameters
        ----------
        task : {"classification", "regression"}
        given : Overrides
            Values that replace parts of the preset.
        outputs : int, optional
            Number of outputs; by default the target of `preprocessor` and the loss decide.
        validates : bool, default False
            Whether the caller gives validation rows.
        """
        loss = given.loss or self._loss(task)
        outputs = outputs_for(preprocessor, loss) if outputs is None else outputs
        epochs = check_int("epochs", self.epochs if given.epochs is None else given.epochs)
        split = 0.0 if validates else self.validation_split
        split = split if given.validation_split is None else given.validation_split
        fit: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": self.batch_size if given.batch_size == AUTO else given.batch_size,
            "validation_split": split,
        }
        if given.early_stopping is not None:
            warn_of_patience(given.early_stopping, epochs)
            fit["early_stopping"] = given.early_stopping
        elif validates or split:
            fit["early_stopping"] = BestEpoch(task, epochs)
        last = given.output_activation or loss.output_activation
        layers = self._layers(preprocessor, task, given, outputs, last)
        return Built(layers, loss, self._optimizer(task, given, epochs), fit)

    def epochs_for(self, rows: int) -> int:
        """Return the default epochs for `rows` rows: as published, but fewer for very many."""
        return max(10, min(self.epochs, self.epochs * _WHOLE_LENGTH // max(1, rows)))

    def _loss(self, task: Task) -> Loss:
        return CrossEntropy(self.label_smoothing) if task == "classification" else MSE()

    def _layers(
        self,
        preprocessor: TablePreprocessor,
        task: Task,
        given: Overrides,
        outputs: int,
        output_activation: ActivationName,
    ) -> list[Layer]:
        first = preprocessor.first_layer(given.embedding_size, scale_rate=self.scale_rate)
        made: list[Layer] = [first]
        width, bias = first.units, self.bias_rate
        for units in self.hidden if given.hidden is None else given.hidden:
            made.append(
                Dense(
                    units,
                    self.activation[task] if given.activation is None else given.activation,
                    "lecun_normal",
                    bias_initializer="standard_normal",
                    weight_rate=1.0 / math.sqrt(width),
                    bias_rate=bias,
                )
            )
            made += [Dropout(self.dropout)] if self.dropout else []
            width = units
        rate = 1.0 / math.sqrt(width)
        last = Dense(outputs, output_activation, "zeros", weight_rate=rate, bias_rate=bias)
        return [*made, last]

    def _optimizer(self, task: Task, given: Overrides, epochs: int) -> Optimizer | LBFGS:
        if given.optimizer is not None:
            return given.optimizer
        rate = self.learning_rate[task] if given.learning_rate is None else given.learning_rate
        schedule = rate if isinstance(rate, Schedule) else CosLog(rate, epochs=epochs)
        usual = Adam(schedule, beta2=self.beta2, weight_decay=self.weight_decay)
        return replace(usual, **given.optimizer_options)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Values that replace parts of a preset; None keeps the preset's value, but for `batch_size`.

    Attributes
    ----------
    hidden : sequence of int, optional
        Sizes of the hidden layers.
    activation : str, optional
        Activation of the hidden layers.
    output_activation : str, optional
        Activation of the outputs; chosen by the loss unless given.
    embedding_size : int, optional
        See `TablePreprocessor.first_layer`.
    loss : Loss, optional
    optimizer : Optimizer or LBFGS, optional
        It replaces the preset's optimizer and learning rate.
    learning_rate : float or Schedule, optional
        A number is the peak of the preset's schedule.
    optimizer_options : dict
        Further options of the preset's optimizer: ``l1``, ``l2``, ``weight_decay``, ``clip_norm``.
    epochs, validation_split, early_stopping
        As for ``Network.fit``.
    batch_size : int, None or "auto"
        None means all rows, as for ``Network.fit``; "auto" keeps the preset's.
    """

    hidden: Sequence[int] | None = None
    activation: ActivationName | None = None
    output_activation: ActivationName | None = None
    embedding_size: int | None = None
    loss: Loss | None = None
    optimizer: Optimizer | LBFGS | None = None
    learning_rate: float | Schedule | None = None
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    batch_size: int | Auto | None = AUTO
    validation_split: float | None = None
    early_stopping: int | EarlyStopping | None = None


class Built(NamedTuple):
    """The layers, loss, optimizer and options of ``fit`` for a table."""

    layers: list[Layer]
    loss: Loss
    optimizer: Optimizer | LBFGS
    fit: dict[str, Any]


def outputs_for(preprocessor: TablePreprocessor, loss: Loss) -> int:
    """Return the number of outputs that a table's target needs with this loss."""
    target = preprocessor.target
    if loss.name == CrossEntropy.name:
        return len(preprocessor.label_names or ())
    columns = 1 if target is None or target.labels is not None else len(target.center)
    return columns * loss.outputs_per_target


_TABULAR: Final = Preset(
    hidden=(256, 256, 256),
    activation={"classification": "selu", "regression": "mish"},
    learning_rate={"classification": 0.04, "regression": 0.07},
    label_smoothing=0.1,
    beta2=0.95,
    scale_rate=6.0,
    bias_rate=0.1,
    epochs=256,
    batch_size=256,
    validation_split=0.2,
)

PRESETS: Final = {
    "tabular": _TABULAR,
    # Decay acts on w = v / sqrt(I) at the rate of w: for 256 inputs, 0.32 is 0.02 of v.
    "tabular-piecewise": replace(
        _TABULAR, dropout=0.15, weight_decay=0.32, numeric_embedding="piecewise"
    ),
}

TOGETHER: Final = {"tabular-best": ("tabular", "tabular-piecewise")}
"""Presets of ensembles: the presets of their members, which take turns."""

MEMBERS: Final = 6
"""Networks of such an ensemble, where their number is not given."""


def for_rows(rows: int, *, plain: bool = False) -> Preset | None:
    """Return the preset that suits `rows` rows; None for a plain network.

    Parameters
    ----------
    plain : bool, default False
        Whether the caller describes layers or an optimizer, which are those of a plain network.
    """
    return None if plain or rows < AUTO_ROWS else PRESETS["tabular"]


def get(name: PresetName | Preset) -> Preset:
    """Return the preset of that name."""
    if isinstance(name, Preset):
        return name
    if isinstance(name, str) and name in TOGETHER:
        raise InputError(
            f"the preset {name!r} is an ensemble of networks: fastnet.tables.train and the command "
            f"fastnet train take it. One network is preset={' or '.join(map(repr, PRESETS))}."
        )
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"unknown preset {name!r}{suggest(name, PRESETS)}")
    return PRESETS[name]
