"""train: a network from a table in one call, and the pieces that the estimators and the CLI use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from numpy.typing import ArrayLike

from fastnet.data.frame import as_frame
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import losses
from fastnet.nn.layers import Dense, Dropout, Layer
from fastnet.nn.losses import CrossEntropy, Loss
from fastnet.preprocessing.edge import SCALED, training_rows
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.tables import preset as presets
from fastnet.tables.preset import Preset

HIDDEN: Final = (128, 64)
"""The hidden layers of a plain network."""

_OUTPUTS: Final = {"binary_cross_entropy": "sigmoid", "poisson": "exp"}


def train(
    table: Any,
    target: Any,
    *,
    task: Literal["auto", "classification", "regression"] = "auto",
    preset: str | Preset | None = "tabular",
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    embedding_size: int | None = None,
    numeric_embedding: Literal["periodic", "piecewise"] | None = None,
    loss: str | Loss | None = None,
    dtype: str = "float32",
    seed: int = 0,
    backend: str = "auto",
    sample_weight: ArrayLike | None = None,
    validation_data: tuple[Any, ...] | None = None,
    **fit: Any,
) -> Network:
    """Return a network trained on a table, which takes tables from then on.

    Parameters
    ----------
    table : data frame, dict of columns or (N, C) array
        Numbers and texts, with missing values.
    target : str, sequence of str, or array
        The column to learn, or several, or the values themselves.
    task : {"auto", "classification", "regression"}
        "auto": texts are classes, and so are integers of at most ``max(20, sqrt(N))`` different
        values.
    preset : {"tabular", None}, default "tabular"
        The published recipe of RealMLP-TD-S, or a plain network.
    hidden : sequence of int, optional
        Sizes of the hidden layers; default: the preset's, or 128 and 64.
    activation : str, optional
        Of the hidden layers; default: the preset's, or relu.
    embedding_size : int, optional
        Learn so many numbers for each category (see `TablePreprocessor.first_layer`); default: one
        input for each category.
    numeric_embedding : {None, "periodic", "piecewise"}
        Further inputs for each number.
    loss : str or Loss, optional
        Default: the preset's; cross_entropy for classes, mse for numbers.
    dtype, seed, backend
        As for `Network`.
    sample_weight, validation_data, **fit
        As for ``Network.fit``; ``epochs`` and others replace the preset's own. The preset holds
        20 % of the rows back to choose the best epoch by, unless there are validation data or
        ``validation_split=0``.

    Raises
    ------
    DataError
        A column or the target cannot be learned from; the message names it.

    Examples
    --------
    >>> import fastnet as fn
    >>> table = {"size": [1.0, 2.0, None, 9.0] * 10, "kind": ["a", "b", "b", None] * 10}
    >>> net = fn.tables.train(table, ["low", "low", "high", "high"] * 10, epochs=20)
    >>> net.label_names, net.predict({"kind": ["a"], "size": [1.1]}).shape
    (('high', 'low'), (1, 2))
    """
    frame: Any = as_frame(table)
    chosen = None if preset is None else presets.get(preset)
    options = dict(fit)
    if chosen is not None:
        options = chosen.fit_options(validates=validation_data is not None, **fit)
    fraction = options.get("validation_split", 0.0)
    preprocessor = TablePreprocessor.fit(
        frame,
        target,
        task=task,
        numeric_embedding=numeric_embedding,
        seed=seed,
        rows=training_rows(len(frame), fraction, seed, sample_weight),
    )
    made_loss = make_loss(preprocessor, chosen, loss)
    layers = make_layers(preprocessor, chosen, made_loss, hidden, activation, embedding_size)
    network = Network(layers, inputs=preprocessor.inputs, dtype=dtype, seed=seed, backend=backend)
    network.preprocessor = in_units(preprocessor, made_loss, network)
    if chosen is not None:
        validates = validation_data is not None
        chosen.add_task_options(options, task_of(preprocessor), validates=validates)
    names = preprocessor.target.names if preprocessor.target else ()
    network.fit(
        frame,
        list(names) if names else target,
        sample_weight=sample_weight,
        validation_data=validation_data,
        loss=made_loss,
        **options,
    )
    return network


def task_of(preprocessor: TablePreprocessor) -> Literal["classification", "regression"]:
    """Return what the target asks for."""
    return "regression" if preprocessor.label_names is None else "classification"


def make_loss(
    preprocessor: TablePreprocessor, preset: Preset | None, loss: str | Loss | None
) -> Loss:
    """Return the loss meant, by default the preset's; refuse one for the other task."""
    task, labels = task_of(preprocessor), preprocessor.label_names
    if loss is None and preset is not None:
        return preset.loss(task)
    named = "cross_entropy" if labels is not None else "mse"
    given = named if loss is None else loss
    name = given.name if isinstance(given, Loss) else given
    if labels is None and name == CrossEntropy.name:
        raise InputError("the loss 'cross_entropy' needs classes, and the target has numbers.")
    fits = name == CrossEntropy.name or (name == "binary_cross_entropy" and len(labels or ()) == 2)
    if labels is not None and not fits:
        raise InputError(f"the loss {name!r} does not fit a target of {len(labels)} classes.")
    output = "softmax" if name == CrossEntropy.name else _OUTPUTS.get(str(name), "identity")
    return losses.get(given, output)


def make_layers(
    preprocessor: TablePreprocessor,
    preset: Preset | None,
    loss: Loss,
    hidden: Sequence[int] | None = None,
    activation: str | None = None,
    embedding_size: int | None = None,
    dropout: float = 0.0,
) -> list[Layer]:
    """Return the layers of a network for a table's inputs and targets."""
    labels, target = preprocessor.label_names, preprocessor.target
    if loss.name == CrossEntropy.name:
        outputs, last = len(labels or ()), "softmax"
    else:
        columns = 1 if labels is not None or target is None else len(target.center)
        outputs, last = columns * loss.outputs_per_target, _OUTPUTS.get(loss.name, "identity")
    if preset is not None:
        first = preprocessor.first_layer(embedding_size, scale_rate=preset.scale_rate)
        return preset.layers(task_of(preprocessor), outputs, last, first, hidden, activation)
    sizes = HIDDEN if hidden is None else hidden
    layers: list[Layer] = []
    for units in sizes:
        layers += [Dense(units, activation or "relu"), *([Dropout(dropout)] if dropout else [])]
    if embedding_size is not None or preprocessor.numeric_embedding is not None:
        layers.insert(0, preprocessor.first_layer(embedding_size))
    return [*layers, Dense(outputs, last)]


def in_units(preprocessor: TablePreprocessor, loss: Loss, network: Network) -> TablePreprocessor:
    """Return the preprocessor with targets that are scaled only where the loss allows it."""
    target = preprocessor.target
    scales = loss.name in SCALED and network.plan.output_activation.name == "identity"
    if target is None or target.labels is not None or scales:
        return preprocessor
    return preprocessor.with_target(target.unscaled())
