"""`train`: a network from a table in one call, and its parts for the estimators and the CLI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastnet.data.columns import Names, named_columns
from fastnet.data.frame import as_frame
from fastnet.data.roles import Roles, weights_of
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import losses, optimizers
from fastnet.nn.layers import Dense, Dropout, Layer
from fastnet.nn.losses import CrossEntropy, Loss
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
from fastnet.utils.arguments import answers
from fastnet.utils.names import ActivationName, Auto, BackendName, DTypeName, LossName, PresetName
from fastnet.utils.param_validation import check_list

_BUDGET: Final = ("epochs", "batch_size", "validation_split", "early_stopping")

_OF_LEARNING: Final = frozenset(("epochs", "batch_size", "optimizer"))
"""With one of these it is the caller's doing how well a network learns."""


@answers("train", also=Network.fit)
def train(
    table: Any,
    target: Any,
    *,
    task: Literal["auto", "classification", "regression"] = "auto",
    preset: PresetName | Auto | Preset | None = "auto",
    hidden: int | Sequence[int] | None = None,
    activation: ActivationName | None = None,
    embedding_size: int | None = None,
    numeric_embedding: Literal["periodic", "piecewise"] | None = None,
    categorical: Names = (),
    id: str | None = None,
    weight: str | None = None,
    features: str | Sequence[str] | None = None,
    drop: str | Sequence[str] | None = None,
    loss: LossName | Loss | None = None,
    dtype: DTypeName | type | np.dtype[Any] = "float32",
    seed: int = 0,
    backend: BackendName | Auto = "auto",
    sample_weight: ArrayLike | None = None,
    validation_data: tuple[Any, ...] | None = None,
    **fit: Any,
) -> Network:
    """Train a network on a table and return it; its methods take tables too.

    Parameters
    ----------
    table : data frame, dict of columns or (N, C) array
        Columns of numbers or text; values may be missing.
    target : str, sequence of str, or array
        The name of the target column, or several names, or the values themselves.
    task : {"auto", "classification", "regression"}
        With "auto", texts, truth values and integers with at most 20 different values are classes;
        other numbers are regressed, and so are floats without a fraction, such as prices.
    preset : {"auto", "tabular", None}
        "tabular" has the published settings of RealMLP-TD-S, None is a plain network. "auto" takes
        the preset for at least 1,000 rows, unless `hidden`, `activation` or an optimizer is given.
    hidden : int or sequence of int, optional
        Sizes of the hidden layers; default: the preset's, or 128 and 64.
    activation : str, optional
        Activation of the hidden layers; default: the preset's, or gelu.
    embedding_size : int, optional
        Size of the learned embedding of each category (see `TablePreprocessor.first_layer`);
        default: categories are one-hot encoded.
    numeric_embedding : {None, "periodic", "piecewise"}
        Further inputs for each number.
    categorical : str or sequence of str
        Columns whose numbers are names, such as postal codes.
    id, weight : str, optional
        The columns that say which row it is, and how much it weighs: no inputs. The network
        remembers them for ``fastnet predict`` and ``fastnet evaluate``.
    features, drop : str or sequence of str, optional
        The columns that are inputs, or those that are none; the network ignores all others.
    loss : str or Loss, optional
        Default: the preset's; cross_entropy for classes, mse for numbers.
    dtype, seed, backend
        See `Network`.
    sample_weight, validation_data, **fit
        See ``Network.fit``; arguments such as ``epochs`` replace the preset's. The preset holds out
        20 % of the rows to choose the best epoch, unless there are validation data or
        ``validation_split=0``. For a plain network, epochs, batch size, held-out rows and optimizer
        are those of `fastnet.training.budget.Budget` unless given: what suits the rows. It trains
        by AdamW with a rate that falls to 0.

    Returns
    -------
    Network
        It is trained. Its predictions (N, outputs) have a column for each output, also of one
        target, in the unit of the target; classes have one for each class.

    Raises
    ------
    DataError
        A column or the target is unsuitable; the message names it.

    Warns
    -----
    FastNetWarning
        By its score, a network trained with the default epochs, batch size and optimizer is no
        better than a constant answer.

    Examples
    --------
    >>> import fastnet as fn
    >>> table = {"size": [1.0, 2.0, None, 9.0] * 10, "kind": ["a", "b", "b", None] * 10}
    >>> net = fn.tables.train(table, ["low", "low", "high", "high"] * 10, epochs=20)
    >>> net.label_names, net.predict({"kind": ["a"], "size": [1.1]}).shape
    (('high', 'low'), (1, 2))
    """
    frame = as_frame(table, "the table")
    if target is None:
        raise InputError("name the column to learn: target='price', or give its values.")
    if hidden is not None:
        hidden = check_list("hidden", [hidden] if isinstance(hidden, int) else hidden)
    targets = split_target(frame, target)[1]
    roles = Roles(id, weight, features, drop)
    frame, _, weights = roles.split(frame, targets)
    if weights is not None:
        if sample_weight is not None:
            raise InputError("give weight or sample_weight, not both.")
        sample_weight = weights_of(weights, roles.weight or "", frame.source)
    # Decide by the number of rows what the caller left open.
    given = _given(fit)
    rows = len(frame) if sample_weight is None else int(np.count_nonzero(sample_weight))
    plain = bool({"optimizer"} & given.keys()) or hidden is not None or activation is not None
    chosen = _preset(preset, rows, plain=plain, given=given)
    optimizer = optimizers.get(given["optimizer"]) if "optimizer" in given else None
    validates = validation_data is not None
    budget: Budget | None = None
    held_back: float | None
    if chosen is None:
        budget = Budget.of(
            rows,
            **{name: given[name] for name in _BUDGET if name in given},
            validation_rows=len(as_frame(validation_data[0])) if validation_data else None,
            optimizer=optimizer,
            counted=counted_rows(sample_weight),
        )
        held_back = budget.validation_split
    else:
        held_back = given.get("validation_split")
        if held_back is None:
            held_back = 0.0 if validates else chosen.validation_split

    # Learn the encoding of the columns and the target, from the training rows alone.
    preprocessor = TablePreprocessor.fit(
        frame,
        target,
        task=task,
        numeric_embedding=numeric_embedding,
        seed=seed,
        rows=training_rows(len(frame), held_back, seed),
        sample_weight=sample_weight,
        categorical=(
            *named_columns(categorical, frame.columns, frame.source),
            *known_categories(fit.get("checkpoint"), fit.get("resume", False)),
        ),
    )

    warn_of_size(embedding_size, preprocessor.columns, preprocessor.numeric_embedding)

    # Choose layers, loss, optimizer and options of fit: the preset's or plain ones.
    kind = task_of(preprocessor)
    options: dict[str, Any] = {"hidden": hidden, "activation": activation}
    if chosen is not None:
        names = [field.name for field in fields(presets.Overrides) if field.name in given]
        given_loss = None if loss is None else make_loss(preprocessor, loss)
        options |= {name: given[name] for name in names}
        options |= {"optimizer": optimizer, "embedding_size": embedding_size, "loss": given_loss}
        overrides = presets.Overrides(**options)
        built = chosen.build(preprocessor, kind, overrides, validates=validates)
    else:
        assert budget is not None
        own_loss = make_loss(preprocessor, loss)
        layers = plain_layers(preprocessor, own_loss, **options, embedding_size=embedding_size)
        how = {
            "epochs": budget.epochs,
            "batch_size": budget.batch_size,
            "validation_split": budget.validation_split,
            "early_stopping": budget.stopping(kind),
        }
        built = Built(layers, own_loss, optimizer or budget.optimizer(layers), how)
    network = Network(
        built.layers, inputs=preprocessor.inputs, dtype=dtype, seed=seed, backend=backend
    )
    preprocessor = replace(preprocessor, id=id, weight=weight)
    network.preprocessor = in_units(preprocessor, built.loss, network)

    names_of_target = preprocessor.target.names if preprocessor.target else ()
    history = network.fit(
        frame,
        list(names_of_target) or target,
        sample_weight=sample_weight,
        validation_data=validation_data,
        loss=built.loss,
        **(given | built.fit | {"optimizer": built.optimizer}),
    )
    network.target_axes = 2  # columns are answered with columns
    if not given.keys() & _OF_LEARNING:
        warn_of_constant(history)
    return network


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
