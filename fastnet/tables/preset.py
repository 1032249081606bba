"""Presets: layers and options of training that do well on many tables, by name.

``tabular`` is RealMLP-TD-S (Holzmüller, Grinsztajn and Steinwart, "Better by default: strong
pre-tuned MLPs and boosted trees on tabular data", NeurIPS 2024; section 3 and its reference code),
in fastnet's terms. Its layers compute ``x @ v / sqrt(I) + b`` with v of variance 1 ("neural tangent
parametrization"). With ``w = v / sqrt(I)`` that is a plain dense layer: w has the variance 1 / I,
and as Adam's steps do not depend on the scale of a gradient, w has the learning rate of v times
``1 / sqrt(I)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from fastnet.errors import InputError, suggest
from fastnet.nn.layers import Dense, Layer
from fastnet.nn.losses import MSE, CrossEntropy, Loss
from fastnet.nn.optimizers import Adam
from fastnet.nn.schedules import CosLog
from fastnet.training.callbacks import EarlyStopping
from fastnet.utils.param_validation import check_int

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Preset:
    """What a preset chooses.

    Attributes
    ----------
    hidden : tuple of int
    activation : dict of task to str
    learning_rate : dict of task to float
    scale_rate, bias_rate : float
        Factors on it, for the layer that scales the inputs and for biases.
    epochs, batch_size : int
    validation_split : float
        Share of the rows that choose the epoch whose weights are kept, where no others are given.
    """

    hidden: tuple[int, ...]
    activation: dict[Task, str]
    learning_rate: dict[Task, float]
    label_smoothing: float
    beta2: float
    scale_rate: float
    bias_rate: float
    epochs: int
    batch_size: int
    validation_split: float

    def layers(
        self,
        task: Task,
        outputs: int,
        last: str,
        first: Dense,
        hidden: Sequence[int] | None = None,
        activation: str | None = None,
    ) -> list[Layer]:
        """Return the layers.

        Parameters
        ----------
        outputs : int
        last : str
            Activation of the outputs.
        first : Dense
            ``preprocessor.first_layer(..., scale_rate=self.scale_rate)``.
        hidden : sequence of int, optional
            Other sizes.
        activation : str, optional
            Another one.
        """
        made: list[Layer] = [first]
        width, bias = first.units, self.bias_rate
        for units in self.hidden if hidden is None else hidden:
            kind, rate = activation or self.activation[task], 1.0 / math.sqrt(width)
            made.append(
                Dense(
                    units,
                    kind,
                    "lecun_normal",
                    bias_initializer="standard_normal",
                    weight_rate=rate,
                    bias_rate=bias,
                )
            )
            width = units
        rate = 1.0 / math.sqrt(width)
        return [*made, Dense(outputs, last, "zeros", weight_rate=rate, bias_rate=bias)]

    def loss(self, task: Task) -> Loss:
        """Return the loss."""
        return CrossEntropy(self.label_smoothing) if task == "classification" else MSE()

    def optimizer(self, task: Task, epochs: int) -> Adam:
        """Return the optimizer, its schedule spread over that many epochs."""
        rate = CosLog(self.learning_rate[task], epochs=epochs)
        return Adam(rate, beta2=self.beta2)

    def fit_options(self, *, validates: bool = False, **given: Any) -> dict[str, Any]:
        """Return what ``Network.fit`` is to be given; what is `given` replaces the preset's own.

        Parameters
        ----------
        validates : bool
            Whether there are validation rows already.
        """
        options: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "validation_split": 0.0 if validates else self.validation_split,
        }
        return options | given

    def add_task_options(
        self, options: dict[str, Any], task: Task, *, validates: bool = False
    ) -> None:
        """Add what depends on the task to the options of `fit_options`."""
        epochs = check_int("epochs", options["epochs"])
        options.setdefault("optimizer", self.optimizer(task, epochs))
        if validates or options["validation_split"]:
            options.setdefault("early_stopping", BestEpoch(task, epochs))


class BestEpoch(EarlyStopping):
    """Keep the weights of the best epoch, the last of the best ones; never stop early.

    The most accurate one for classes, the one of the least squared error for numbers.
    """

    def __init__(self, task: Task, epochs: int) -> None:
        monitor = "val_accuracy" if task == "classification" else "val_loss"
        super().__init__(epochs, monitor=monitor)
        self.min_delta = -1e-9  # so an equal one replaces the best so far


PRESETS: Final = {
    "tabular": Preset(
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
    ),
}


def get(name: str | Preset) -> Preset:
    """Return the preset of that name."""
    if isinstance(name, Preset):
        return name
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"unknown preset {name!r}{suggest(name, PRESETS)}")
    return PRESETS[name]
