"""`train`: a network from a table in one call, or an ensemble of networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from fastnet.data.columns import Names
from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn.losses import Loss
from fastnet.nn.schedules import Schedule
from fastnet.populations.ensemble import Ensemble
from fastnet.populations.together import Recipe, train_together
from fastnet.tables.prepare import TableSettings, TaskName, prepare
from fastnet.tables.preset import MEMBERS, TOGETHER, Preset
from fastnet.utils.arguments import answers
from fastnet.utils.names import (
    ActivationName,
    Auto,
    BackendName,
    DTypeName,
    LossName,
    PresetName,
    TogetherName,
)
from fastnet.utils.param_validation import check_int


@overload
def train(table: Any, target: Any, *, n_estimators: int, **how: Any) -> Ensemble: ...
@overload
def train(table: Any, target: Any, *, preset: TogetherName, **how: Any) -> Ensemble: ...
@overload
def train(
    table: Any,
    target: Any,
    *,
    task: TaskName = "auto",
    preset: PresetName | Auto | Preset | None = "auto",
    hidden: int | Sequence[int] | None = None,
    activation: ActivationName | None = None,
    learning_rate: float | Schedule | None = None,
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
    n_estimators: None = None,
    **fit: Any,
) -> Network: ...
@answers("train", also=[Network.fit])
def train(
    table: Any,
    target: Any,
    *,
    task: TaskName = "auto",
    preset: PresetName | TogetherName | Auto | Preset | None = "auto",
    hidden: int | Sequence[int] | None = None,
    activation: ActivationName | None = None,
    learning_rate: float | Schedule | None = None,
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
    n_estimators: int | None = None,
    executor: Any = None,
    **fit: Any,
) -> Network | Ensemble:
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
    preset : {"auto", "tabular", "tabular-piecewise", "tabular-best", None}
        "tabular" has the published settings of RealMLP-TD-S, "tabular-piecewise" further inputs for
        each number, dropout and weight decay, and "tabular-best" is an ensemble of six networks,
        three of each. None is a plain network. "auto" takes "tabular" for at least 1,000 rows,
        unless `hidden`, `activation` or an optimizer is given.
    hidden : int or sequence of int, optional
        Sizes of the hidden layers; default: the preset's, or 128 and 64.
    activation : str, optional
        Activation of the hidden layers; default: the preset's, or gelu.
    learning_rate : float or Schedule, optional
        A number is the first or the largest rate of the default course, which falls to 0.
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
    n_estimators : int, optional
        Train so many networks, and return the `Ensemble` of them. Each has a seed of its own and
        holds back another part of the rows, for which `Ensemble.out_of_fold` has its predictions;
        with as many networks as parts, five for ``validation_split=0.2``, these are all rows. The
        number of parts is the whole number nearest to ``1 / validation_split``.
    executor : str or executor, optional
        Where to train these networks; see `fastnet.fit_many`.

    Returns
    -------
    Network, or Ensemble with `n_estimators`
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
    members: tuple[Any, ...] = (preset,)
    if isinstance(preset, str) and preset in TOGETHER:
        members = TOGETHER[preset]
        n_estimators = MEMBERS if n_estimators is None else n_estimators
    every = [
        TableSettings(
            task=task,
            preset=one,
            hidden=hidden,
            activation=activation,
            learning_rate=learning_rate,
            embedding_size=embedding_size,
            numeric_embedding=numeric_embedding,
            categorical=categorical,
            id=id,
            weight=weight,
            features=features,
            drop=drop,
            loss=loss,
            dtype=dtype,
            seed=seed,
            backend=backend,
            sample_weight=sample_weight,
            validation_data=validation_data,
            fit=fit,
        )
        for one in members
    ]
    if n_estimators is None:
        if executor is not None:
            raise InputError(
                "executor= trains several networks at once, and this is one: give n_estimators."
            )
        return prepare(table, target, every[0]).train()
    count = check_int("n_estimators", n_estimators)
    prepared = [prepare(table, target, one, learns_from_all=True) for one in every]
    recipes = [Recipe(one.network, one.fit) for one in prepared]
    return train_together(recipes, prepared[0].frame, prepared[0].y, count, executor=executor)
