"""The options of ``fastnet train``, in the order of its help text."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Final

import click

from fastnet.backends.base import PRECISIONS
from fastnet.cli.commands.train.build import SCHEDULES
from fastnet.cli.options import F, Name, Sizes, backend_option, option
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.losses import LOSSES
from fastnet.nn.metrics import METRICS
from fastnet.nn.optimizers import OPTIMIZERS
from fastnet.training.checkpoints.writer import DEFAULT_EVERY

_LAYER_ACTIVATIONS: Final = [row.name for row in ACTIVATIONS.values() if not row.output_only]

_DATA, _NETWORK, _TRAINING, _OUTPUT = "Data", "Network", "Training", "Computing and output"
_SHARE: Final = click.FloatRange(0, 1, max_open=True)
_POSITIVE: Final = click.IntRange(min=1)
_PENALTY: Final = click.FloatRange(min=0)
_ABOVE_ZERO: Final = click.FloatRange(min=0, min_open=True)
_FILE: Final = click.Path(path_type=Path)

_OPTIONS: Final = (
    option(
        "--target",
        metavar="COL",
        section=_DATA,
        help="The column to learn; several with commas. npz: the array's name, by default y. npy: "
        "the column's index, -1 for the last.",
    ),
    option(
        "--task",
        type=Name("task", ("auto", "classification", "regression")),
        metavar="auto|classification|regression",
        default="auto",
        section=_DATA,
        help="auto: texts are classes, and so are integers of few different values.",
    ),
    option(
        "--validation",
        type=_SHARE,
        metavar="SHARE",
        section=_DATA,
        show_default="0, or 0.1 with --early-stopping",
        help="Share of the training rows to hold back and measure after each epoch.",
    ),
    option(
        "--standardize/--no-standardize",
        default=None,
        section=_DATA,
        show_default="by median and quartiles for tables; on for npz files",
        help="Bring each input to mean 0 and deviation 1; --no-standardize: take inputs as they "
        "are. Stored with the model.",
    ),
    option(
        "--chunk-rows",
        type=_POSITIVE,
        metavar="N",
        section=_DATA,
        help="Leave the rows of a .npy or .parquet file where they are, and read N at a time.",
    ),
    option(
        "--class-weight",
        type=Name("class weight", ("balanced",)),
        metavar="balanced",
        section=_DATA,
        help="balanced: rows of rare classes count more.",
    ),
    option(
        "--data-dir", metavar="FOLDER", section=_DATA, help="Where the files of fashion-mnist are."
    ),
    option(
        "--preset",
        type=Name("preset", ("tabular",)),
        metavar="tabular",
        section=_NETWORK,
        help="Layers and training that do well on many tables (RealMLP-TD-S); further options "
        "replace parts of it.",
    ),
    option(
        "--embedding-size",
        type=_POSITIVE,
        metavar="N",
        section=_NETWORK,
        help="Learn N numbers for each text of a column, and for each embedded number.",
    ),
    option(
        "--numeric-embedding",
        type=Name("numeric embedding", ("periodic", "piecewise")),
        metavar="periodic|piecewise",
        section=_NETWORK,
        help="Further inputs made of each number: waves, or its place among quantiles.",
    ),
    option(
        "--hidden",
        type=Sizes(),
        metavar="SIZES",
        default="128,64",
        section=_NETWORK,
        help="Units of the hidden layers; none for a linear model.",
    ),
    option(
        "--activation",
        type=Name("activation", _LAYER_ACTIVATIONS),
        metavar="NAME",
        default="relu",
        section=_NETWORK,
        help=f"Of the hidden layers: {', '.join(_LAYER_ACTIVATIONS)}.",
    ),
    option(
        "--dropout",
        type=_SHARE,
        metavar="RATE",
        default=0.0,
        section=_NETWORK,
        help="Share of the units after each hidden layer to drop while training.",
    ),
    option(
        "--dtype",
        type=Name("dtype", ("float32", "float64")),
        metavar="float32|float64",
        default="float32",
        section=_NETWORK,
        help="Precision of weights and arithmetic.",
    ),
    option(
        "--loss",
        type=Name("loss", LOSSES),
        metavar="NAME",
        section=_TRAINING,
        show_default="cross_entropy for classes, mse for numbers",
        help=f"What to minimise: {', '.join(LOSSES)}.",
    ),
    option(
        "--optimizer",
        type=Name("optimizer", OPTIMIZERS),
        metavar="NAME",
        default="adam",
        section=_TRAINING,
        help=f"{', '.join(OPTIMIZERS)}.",
    ),
    option(
        "--learning-rate",
        type=_ABOVE_ZERO,
        metavar="RATE",
        section=_TRAINING,
        show_default="the optimizer's own: 0.001 for adam",
        help="Step size; with a schedule, its peak.",
    ),
    option(
        "--schedule",
        type=Name("schedule", SCHEDULES),
        metavar="NAME",
        default="constant",
        section=_TRAINING,
        help="Course of the learning rate over the epochs: constant, cosine (to 0), exponential "
        "(to a hundredth), one_cycle, step (to a tenth after each third), reduce_on_plateau.",
    ),
    option(
        "--momentum",
        type=_SHARE,
        metavar="SHARE",
        section=_TRAINING,
        show_default="0",
        help="Of sgd: how much of the step before is kept.",
    ),
    option(
        "--epochs",
        type=_POSITIVE,
        metavar="N",
        default=10,
        section=_TRAINING,
        help="Passes over the data.",
    ),
    option(
        "--batch-size",
        type=_POSITIVE,
        metavar="N",
        default=128,
        section=_TRAINING,
        help="Rows in a step.",
    ),
    option(
        "--early-stopping",
        type=_POSITIVE,
        metavar="N",
        section=_TRAINING,
        help="Stop after N epochs without a better validation loss; keep the best weights.",
    ),
    option(
        "--l1",
        type=_PENALTY,
        metavar="X",
        default=0.0,
        section=_TRAINING,
        help="Penalty on the weights' absolute values.",
    ),
    option(
        "--l2",
        type=_PENALTY,
        metavar="X",
        default=0.0,
        section=_TRAINING,
        help="Penalty on half the weights' squares.",
    ),
    option(
        "--weight-decay",
        type=_PENALTY,
        metavar="X",
        section=_TRAINING,
        show_default="0; 0.01 for adamw",
        help="Decoupled decay of the weights.",
    ),
    option(
        "--clip-norm",
        type=_ABOVE_ZERO,
        metavar="X",
        section=_TRAINING,
        help="Largest norm of the gradient.",
    ),
    option(
        "--label-smoothing",
        type=_SHARE,
        metavar="SHARE",
        default=0.0,
        section=_TRAINING,
        help="Share of the target that is spread over all classes.",
    ),
    option(
        "--metric",
        type=Name("metric", METRICS),
        metavar="NAME",
        multiple=True,
        section=_TRAINING,
        help=f"Also measured after each epoch; repeatable: {', '.join(METRICS)}.",
    ),
    option(
        "--calibrate",
        is_flag=True,
        default=False,
        section=_TRAINING,
        help="Then fit a temperature to the validation rows, so that probabilities "
        "match observed frequencies; see --validation.",
    ),
    option(
        "--seed",
        type=click.IntRange(min=0),
        metavar="N",
        default=0,
        section=_TRAINING,
        help="Decides weights, batches and masks: the same on every backend.",
    ),
    backend_option(_OUTPUT),
    option(
        "--precision",
        type=Name("precision", PRECISIONS),
        metavar="|".join(PRECISIONS),
        default="float32",
        section=_OUTPUT,
        help="Of the matrix products on a GPU; parameters are float32 in any case.",
    ),
    option(
        "--device",
        type=click.IntRange(min=0),
        metavar="N",
        section=_OUTPUT,
        show_default="the current one",
        help="Which GPU, where there are several.",
    ),
    option(
        "--threads",
        type=_POSITIVE,
        metavar="N",
        section=_OUTPUT,
        show_default="as many as pay",
        help="Most threads to use.",
    ),
    option(
        "--out",
        type=_FILE,
        metavar="FILE",
        default="model.safetensors",
        section=_OUTPUT,
        help="Where to save the model; an existing file is replaced.",
    ),
    option(
        "--html",
        type=_FILE,
        metavar="FILE",
        section=_OUTPUT,
        help="Write a page with curves, metrics, confusion matrix or residuals, and the command.",
    ),
    option(
        "--log",
        type=_FILE,
        metavar="FILE",
        section=_OUTPUT,
        help="Write what each epoch measured as it ends, one JSON object a line; 'plot' draws it.",
    ),
    option(
        "--checkpoint",
        type=_FILE,
        metavar="DIR",
        section=_OUTPUT,
        help="Folder for checkpoints, so that a run that was killed can go on; Ctrl-C and SIGTERM "
        "write one too.",
    ),
    option(
        "--checkpoint-every",
        metavar="N|TIME",
        section=_OUTPUT,
        show_default=DEFAULT_EVERY,
        help="Epochs between checkpoints, or a time: 30s, 5min, 1h.",
    ),
    option(
        "--resume",
        is_flag=True,
        default=False,
        section=_OUTPUT,
        help="Go on from the last checkpoint, if there is one, to the same bits as without a "
        "break; --epochs counts the whole run.",
    ),
    option("--quiet", is_flag=True, default=False, section=_OUTPUT, help="Only the results."),
)


def train_options(function: F) -> F:
    """Add all options to the function of a command."""
    return reduce(lambda decorated, add: add(decorated), reversed(_OPTIONS), function)
