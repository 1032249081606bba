"""The options of ``fastnet train``, in the order of its help text."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from fastnet.backends.base import PRECISIONS
from fastnet.cli.commands.train.build import SCHEDULES
from fastnet.cli.options import ClassWeights, F, Name, Sizes, added, backend_option, by_name, option
from fastnet.cli.sources import FOLDER, format_options
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.losses import LOSSES
from fastnet.nn.metrics import METRICS
from fastnet.nn.optimizers import OPTIMIZERS
from fastnet.tables.preset import AUTO_ROWS, PRESETS, TOGETHER
from fastnet.training.budget import ACTIVATION, HIDDEN, LEARNING_RATE
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
        help="The target column; several with commas. npz: the array's name, by default y. npy: "
        "the column's index, -1 for the last.",
    ),
    option(
        "--task",
        type=Name("task", ("auto", "classification", "regression")),
        metavar="auto|classification|regression",
        default="auto",
        section=_DATA,
        help="auto: text and integers with few different values are classes.",
    ),
    option(
        "--id",
        metavar="COL",
        section=_DATA,
        help="The column that says which row it is: no input, and the first column of predictions.",
    ),
    option(
        "--weight",
        metavar="COL",
        section=_DATA,
        help="The column with the weights of the rows, for training and evaluation: no input.",
    ),
    option(
        "--categorical",
        metavar="COL,...",
        section=_DATA,
        help="Columns of a table whose numbers are names, such as postal codes.",
    ),
    option(
        "--features",
        metavar="COL,...",
        section=_DATA,
        show_default="all but the target",
        help="The columns of a table that are inputs; the model ignores all others.",
    ),
    option(
        "--drop",
        metavar="COL,...",
        section=_DATA,
        help="Columns of a table that are no inputs, such as identifiers.",
    ),
    format_options(_DATA),
    option(
        "--validation",
        type=_SHARE,
        metavar="FRACTION",
        section=_DATA,
        show_default="0.1 of at least 100 rows, or as the preset has it; 0 with --epochs",
        help="Fraction of the training rows to hold out and evaluate after each epoch.",
    ),
    option(
        "--validation-data",
        type=click.Path(),
        metavar="FILE",
        section=_DATA,
        help="A file with the same columns to evaluate after each epoch, instead of --validation.",
    ),
    option(
        "--standardize/--no-standardize",
        default=None,
        section=_DATA,
        show_default="by median and quartiles for tables; on for npz files",
        help="Scale each input to mean 0 and deviation 1; --no-standardize: do not scale. Saved "
        "with the model.",
    ),
    option(
        "--chunk-rows",
        type=_POSITIVE,
        metavar="N",
        section=_DATA,
        help="Train out of core: read chunks of N rows of a table or a .npy file. Several files "
        "are read in chunks of 32 MB.",
    ),
    option(
        "--class-weight",
        type=ClassWeights(),
        metavar="balanced|LABEL=X,...",
        section=_DATA,
        help="Weights of classes in the loss. balanced: by the inverse of their frequency; others "
        "than the named labels weigh 1.",
    ),
    option(
        "--data-dir",
        type=FOLDER,
        metavar="FOLDER",
        section=_DATA,
        help="Folder of the fashion-mnist files.",
    ),
    option(
        "--preset",
        type=Name("preset", ("auto", *PRESETS, *TOGETHER, "none")),
        metavar="NAME",
        default="auto",
        section=_NETWORK,
        help="tabular: layers and training options that do well on many tables (RealMLP-TD-S); "
        "further options replace parts of it. tabular-piecewise: with further inputs for each "
        "number, dropout and weight decay. tabular-best: an ensemble of both, the slowest. none: a "
        "plain network. auto: tabular for a table of "
        f"at least {AUTO_ROWS:,} rows, unless an option describes layers or an optimizer.",
    ),
    option(
        "--embedding-size",
        type=_POSITIVE,
        metavar="N",
        section=_NETWORK,
        help="Size of the learned embedding of each category, and of each embedded number.",
    ),
    option(
        "--numeric-embedding",
        type=Name("numeric embedding", ("periodic", "piecewise")),
        metavar="periodic|piecewise",
        section=_NETWORK,
        help="Add inputs for each number: sines and cosines, or its position between quantiles.",
    ),
    option(
        "--hidden",
        type=Sizes(),
        metavar="SIZES",
        default=",".join(map(str, HIDDEN)),
        section=_NETWORK,
        help="Sizes of the hidden layers; none for a linear model.",
    ),
    option(
        "--activation",
        type=Name("activation", _LAYER_ACTIVATIONS),
        metavar="NAME",
        show_default=ACTIVATION,
        section=_NETWORK,
        help=f"Activation of the hidden layers: {', '.join(_LAYER_ACTIVATIONS)}.",
    ),
    option(
        "--dropout",
        type=_SHARE,
        metavar="RATE",
        default=0.0,
        section=_NETWORK,
        help="Dropout rate after each hidden layer.",
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
        help=f"The loss to minimise: {', '.join(LOSSES)}.",
    ),
    option(
        "--optimizer",
        type=Name("optimizer", OPTIMIZERS),
        metavar="NAME",
        show_default="adamw with a weight decay that suits the rows, and --schedule cosine",
        section=_TRAINING,
        help=f"The optimizer: {', '.join(OPTIMIZERS)}.",
    ),
    option(
        "--learning-rate",
        type=_ABOVE_ZERO,
        metavar="RATE",
        section=_TRAINING,
        show_default=f"{LEARNING_RATE}, or the own of an optimizer that is given: 0.001 for adam",
        help="The learning rate; with a schedule, its peak.",
    ),
    option(
        "--schedule",
        type=Name("schedule", SCHEDULES),
        metavar="NAME",
        show_default="cosine, or constant with --optimizer",
        section=_TRAINING,
        help="Schedule of the learning rate: constant, cosine (to 0), exponential (to a "
        "hundredth), one_cycle, step (to a tenth after each third), reduce_on_plateau.",
    ),
    option(
        "--momentum",
        type=_SHARE,
        metavar="FRACTION",
        section=_TRAINING,
        show_default="0",
        help="Momentum of sgd.",
    ),
    option(
        "--epochs",
        type=_POSITIVE,
        metavar="N",
        show_default="what suits the rows",
        section=_TRAINING,
        help="Passes over the data; without --validation or --early-stopping over all rows.",
    ),
    option(
        "--batch-size",
        type=_POSITIVE,
        metavar="N",
        show_default="what suits the rows: 32 to 256",
        section=_TRAINING,
        help="Number of rows in a training step.",
    ),
    option(
        "--early-stopping",
        type=_POSITIVE,
        metavar="N",
        section=_TRAINING,
        help="Stop after N epochs without a better validation loss, and restore the best weights.",
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
        metavar="FRACTION",
        default=0.0,
        section=_TRAINING,
        help="Fraction of the target that is distributed over all classes.",
    ),
    option(
        "--metric",
        type=Name("metric", METRICS),
        metavar="NAME",
        multiple=True,
        section=_TRAINING,
        help=f"A further metric after each epoch; repeatable: {', '.join(METRICS)}.",
    ),
    option(
        "--calibrate",
        is_flag=True,
        default=False,
        section=_TRAINING,
        help="After training, fit a temperature on the validation rows, so that probabilities "
        "match observed frequencies; see --validation.",
    ),
    option(
        "--seed",
        type=click.IntRange(min=0),
        metavar="N",
        default=0,
        section=_TRAINING,
        help="Seed of weights, batches and dropout masks; all backends draw the same.",
    ),
    option(
        "--n-estimators",
        type=_POSITIVE,
        metavar="N",
        section=_TRAINING,
        help="Train N networks, and save the ensemble that answers with their mean. Each holds "
        "back other rows for validation.",
    ),
    backend_option(_OUTPUT),
    option(
        "--precision",
        type=Name("precision", PRECISIONS),
        metavar="|".join(PRECISIONS),
        default="float32",
        section=_OUTPUT,
        help="Precision of the matrix products; tf32 needs a GPU. Parameters stay float32.",
    ),
    option(
        "--device",
        type=click.IntRange(min=0),
        metavar="N",
        section=_OUTPUT,
        show_default="the current one",
        help="Index of the GPU. With --distributed, the processes take them in turn.",
    ),
    option(
        "--threads",
        type=_POSITIVE,
        metavar="N",
        section=_OUTPUT,
        show_default="as many as pay",
        help="Most threads to use, at most one for each core.",
    ),
    option(
        "--distributed",
        is_flag=True,
        default=False,
        section=_OUTPUT,
        help="Train on all processes that mpiexec has started, each with a share of the rows; "
        "needs 'fastnet-mlp[mpi]'.",
    ),
    option(
        "--parts",
        type=_POSITIVE,
        metavar="N",
        section=_OUTPUT,
        show_default="4, or more with more processes",
        help="With --distributed: parts of the rows, at least one for each process. The result "
        "depends on it, and not on the number of processes.",
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
        help="Write an HTML report: learning curves, metrics, confusion matrix or residuals.",
    ),
    option(
        "--log",
        type=_FILE,
        metavar="FILE",
        section=_OUTPUT,
        help="Write the metrics of each epoch as a JSON line, which 'plot' can draw.",
    ),
    option(
        "--checkpoint",
        type=_FILE,
        metavar="DIR",
        section=_OUTPUT,
        help="Folder for checkpoints, from which --resume continues; Ctrl-C and SIGTERM write one "
        "too.",
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
        help="Resume from the last checkpoint, if there is one; the result has the same bits as "
        "an uninterrupted run. --epochs counts the whole run; it may grow with --schedule constant "
        "only.",
    ),
    option("--quiet", is_flag=True, default=False, section=_OUTPUT, help="Write the results only."),
)


TRAIN_OPTIONS: Final = by_name(_OPTIONS)
"""Decorators that add an option, by its name; several options of one kind go by the first."""


def train_options(function: F) -> F:
    """Add all options to a command's function."""
    return added(_OPTIONS, function)
