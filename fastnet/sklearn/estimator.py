"""`FastNetEstimator`: the base class of `FastNetClassifier` and `FastNetRegressor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn.layers import Layer
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.schedules import Schedule
from fastnet.populations.ensemble import Ensemble
from fastnet.preprocessing.base import Preprocessor
from fastnet.preprocessing.embeddings import warn_of_size
from fastnet.preprocessing.learn import scales_targets
from fastnet.sklearn import budgets, parameters, tables, together
from fastnet.sklearn.parameters import dense, kept_rows, with_weight
from fastnet.training.budget import ACTIVATION, AUTO, HIDDEN, Budget, warn_of_patience
from fastnet.training.callbacks import Callback, EarlyStopping, Run
from fastnet.training.history import History
from fastnet.utils import names
from fastnet.utils.param_validation import check_flag, check_int, plain

Array = NDArray[Any]


class FastNetEstimator(parameters.Suggests, BaseEstimator):
    """A network as a scikit-learn estimator.

    Parameters
    ----------
    hidden_layers : int, or sequence of int or Layer, default (128, 64)
        Sizes of dense layers with the options below, or layers such as ``fn.Dropout(0.2)``.
    activation : str or sequence of str, default "gelu"
        Activation of all dense hidden layers, or of each.
    normalization : {None, "batch", "layer"}
        Normalisation before the activation of each hidden layer.
    dropout : float or sequence of float, default 0
        Dropout rate after all dense hidden layers, or after each.
    initializer : str, optional
    loss : str or Loss, optional
    optimizer : str, Optimizer or LBFGS, default "auto"
        "auto": AdamW with a weight decay that suits the rows, and a cosine; Adam in `partial_fit`
        and with `warm_start`, which know no end.
    learning_rate : float or Schedule, optional
        With "auto" the first rate of the cosine, by default 0.003.
    l1, l2, weight_decay, clip_norm : float, optional
        Options of the optimizer; None keeps its defaults.
    epochs : int, default "auto"
        "auto": what suits the number of rows (`fastnet.training.budget`).
    batch_size : int or None, default "auto"
        None: all rows. "auto": 32 to 256 by the number of rows; in `partial_fit` 128.
    shuffle : bool, default True
    validation_split : float, optional
        Fraction of the rows to hold out. Default: 0.1 for early stopping without X_val, else 0.
    early_stopping : bool, int, EarlyStopping or None, default "auto"
        Stop after this many epochs without a better validation loss, with the best weights; True
        uses the defaults, None and False never stop. "auto" with ``epochs="auto"`` holds out a
        tenth of at least 100 rows, and keeps the best weights of at least 100 held-out rows. In
        `partial_fit` a call is an epoch; after the stop ``stopped_`` is True, calls do nothing.
    metrics : sequence of str or f(target, output)
    callbacks : sequence of Callback or f(run)
    standardize : bool, default "auto"
        Scale inputs to mean 0 and deviation 1; with True `partial_fit` goes on counting (see
        `Network.fit`). "auto": in the first `fit`, not in `partial_fit`.
    warm_start : bool, default False
        Whether `fit` continues with the network and the optimizer's moments of the last call.
    dtype : {None, "float32", "float64"}
        None: float32 if X is float32, else float64. float32 takes about half the time.
    backend : {"auto", "numpy", "numba", "cupy"}
    precision : {"float32", "tf32", "bf16"}
    device : int, optional
        See `fastnet.Network`.
    threads : int, optional
    random_state : int, RandomState or None
        An int is the network's seed.
    verbose : bool or int, default False
        Show progress, as `fastnet.Network.fit` does.
    preset : {None, "tabular"}
        Settings that do well on many tables (RealMLP-TD-S); non-default parameters override them.
    table : bool, optional
        Whether a `TablePreprocessor` encodes X: it allows text and missing values, scales numbers,
        and matches columns of data frames by name. None means True with a preset or an embedding,
        or if X is a data frame with text or missing values.
    embedding_size : int, optional
        Size of the learned embedding of each category.
    numeric_embedding : {None, "periodic", "piecewise"}
        Further inputs for each number.
    n_estimators : int, default 1
        Train so many networks, which answer with their mean. Each has a seed of its own and holds
        out other rows; the first one is `network_`.
    oob_score : bool, default False
        Whether to score the rows that members held out by those members' predictions.

    Attributes
    ----------
    network_ : Network
    ensemble_ : Ensemble
        With several `n_estimators`.
    oob_score_ : float
        What ``score`` says, accuracy or R2, of the predictions for rows that members held out.
    oob_decision_function_ : (N, O) array
        Those predictions; NaN for rows that no member held out, and for those of weight 0.
    history_ : History
        All epochs so far; what it says of early stopping belongs to the newest call.
    stopped_ : bool
        Whether early stopping has ended a series of `partial_fit`.
    n_features_in_ : int
    feature_names_in_ : (I,) array of str
        Names of the columns, if X has any.
    """

    def __init__(
        self,
        hidden_layers: int | Sequence[int | Layer] = HIDDEN,
        *,
        activation: names.ActivationName | Sequence[names.ActivationName] = ACTIVATION,
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float | Sequence[float] = 0.0,
        initializer: names.InitializerName | None = None,
        loss: names.LossName | Loss | None = None,
        optimizer: names.OptimizerName | names.Auto | Optimizer | LBFGS = AUTO,
        learning_rate: float | Schedule | None = None,
        l1: float | None = None,
        l2: float | None = None,
        weight_decay: float | None = None,
        clip_norm: float | None = None,
        epochs: int | names.Auto = AUTO,
        batch_size: int | names.Auto | None = AUTO,
        shuffle: bool = True,
        validation_split: float | None = None,
        early_stopping: bool | int | EarlyStopping | names.Auto | None = AUTO,
        metrics: Sequence[str | Callable[[Any, Any], float]] = (),
        callbacks: Sequence[Callback | Callable[[Run], Any]] = (),
        standardize: bool | names.Auto = AUTO,
        warm_start: bool = False,
        dtype: names.DTypeName | None = None,
        backend: names.BackendName | names.Auto = "auto",
        precision: names.PrecisionName = "float32",
        device: int | None = None,
        threads: int | None = None,
        random_state: Any = None,
        verbose: bool | int = False,
        preset: names.PresetName | None = None,
        table: bool | None = None,
        embedding_size: int | None = None,
        numeric_embedding: Literal["periodic", "piecewise"] | None = None,
        n_estimators: int = 1,
        oob_score: bool = False,
    ) -> None:
        self.hidden_layers = hidden_layers
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.initializer = initializer
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.l1 = l1
        self.l2 = l2
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.epochs = epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.validation_split = validation_split
        self.early_stopping = early_stopping
        self.metrics = metrics
        self.callbacks = callbacks
        self.standardize = standardize
        self.warm_start = warm_start
        self.dtype = dtype
        self.backend = backend
        self.precision = precision
        self.device = device
        self.threads = threads
        self.random_state = random_state
        self.verbose = verbose
        self.preset = preset
        self.table = table
        self.embedding_size = embedding_size
        self.numeric_embedding = numeric_embedding
        self.n_estimators = n_estimators
        self.oob_score = oob_score

    # --- training --------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on the rows of X (N, I) and their targets y.

        Parameters
        ----------
        X : (N, I) array, data frame or sparse matrix
            Sparse matrices are made dense.
        y : (N,) or (N, T)
        sample_weight : (N,), optional
            A row of weight 0 is left out.
        X_val, y_val, sample_weight_val : optional
            Held-out rows to evaluate after each epoch; early stopping monitors them.
        """
        first = not (check_flag("warm_start", self.warm_start) and hasattr(self, "network_"))
        val = X_val, y_val, sample_weight_val
        return self._train(X, y, sample_weight, val, first=first, once=False)

    def _train(
        self, X: Any, y: Any, sample_weight: Any, val: tuple[Any, ...], *, first: bool, once: bool
    ) -> Self:
        """Train for all epochs, or with `once` for one epoch in a series of calls."""
        # Check and encode rows, targets and weights.
        if first:
            self._tabular = tables.prepares(self, X)
            self._columns = tables.column_names(y)
        X, y = self._rows(X, y, reset=first)
        y = self._targets(y, first=first, once=once)
        weight = parameters.checked_weight("sample_weight", sample_weight, X)
        kept = kept_rows(weight, len(y))
        x, y, weight = with_weight(dense(X), y, weight)
        # Choose the network and the options of its fit.
        pair = self._held_back(*val)
        held = None if pair is None else len(pair[0])
        budget = budgets.budget(self, len(x), weight, held, once=once)
        fraction = budget.validation_split
        network = self._new_network(x, y, weight, fraction) if first else self._network()
        how = self._how(network, budget, first, once, validates=fraction > 0 or pair is not None)
        stopping = how.pop("early_stopping")
        how |= {
            "loss": self._loss(),
            "validation_data": pair,
            "validation_split": fraction,
            "metrics": self.metrics,
            "callbacks": [*self.callbacks, *([] if stopping is None else [stopping])],
            "sample_weight": weight,
            "class_weight": self._class_weights(once=once),
            "shuffle": self.shuffle,
            "threads": self.threads,
            "verbose": self.verbose,
        }
        if check_int("n_estimators", plain(self.n_estimators)) > 1:
            if once or not first:
                raise InputError("several n_estimators are trained by fit, and anew each time.")
            together.train(self, network, x, y, how, kept)
            return self
        if check_flag("oob_score", plain(self.oob_score)) and not once:
            raise InputError("oob_score needs several networks: give n_estimators, such as 5.")
        try:
            history = network.fit(x, y, **how)
        except KeyboardInterrupt:
            self._keep(network, network.history or History(), first)
            raise
        self._keep(network, history, first)
        self._stopper = stopping if once else None
        self.stopped_ = once and history.stop_reason == "early stopping"
        return self

    def _keep(self, network: Network, history: History, first: bool) -> None:
        """Store the network and append the epochs of its training to `history_`."""
        together.forget(self)
        self.network_ = network
        if first:
            self.history_ = History()
        for index, epoch in enumerate(history.epochs):
            values = {name: record[index] for name, record in history.records.items()}
            self.history_.append(epoch, values)
        self.history_.seconds += history.seconds
        for name in ("stop_reason", "best_epoch", "monitor", "mode"):
            setattr(self.history_, name, getattr(history, name))

    def _how(
        self, network: Network, budget: Budget, first: bool, once: bool, *, validates: bool
    ) -> dict[str, Any]:
        """Return optimizer, epochs, batch size, early stopping and scaling of this call."""
        if self.preset is not None:
            preprocessor: Any = network.preprocessor
            built = tables.build(self, preprocessor, once=once, validates=validates)
            how = {"early_stopping": None} | built.fit | {"optimizer": built.optimizer}
            del how["validation_split"]
        else:
            how = {"epochs": budget.epochs, "batch_size": budget.batch_size}
            how["optimizer"] = parameters.optimizer(self, budget, network.layers, once=once)
            how["early_stopping"] = budget.stopping(tables.task(self))
        how["standardize"] = budgets.standardizes(self, first=first, once=once)
        asked = plain(self.early_stopping)
        if once:
            # `partial_fit` continues with the early stopping of the last call.
            before: EarlyStopping | None = None if first else getattr(self, "_stopper", None)
            stopping = before or parameters.early_stopping(asked, stream=True)
            return how | {"epochs": 1, "early_stopping": stopping}
        if asked != AUTO:
            how["early_stopping"] = parameters.early_stopping(asked)
            warn_of_patience(asked, how["epochs"])
        return how

    def _new_network(self, x: Any, y: Array, weight: Any, fraction: float) -> Network:
        units, activation = self._outputs()
        seed = self.random_state
        if seed is None or isinstance(seed, np.random.RandomState):
            seed = check_random_state(seed).randint(2**31 - 1)

        # Make the preprocessor of a table, and the layers for its inputs.
        preprocessor: Preprocessor | None = None
        hidden = () if self.preset is not None else parameters.hidden_layers(self)
        layers = [*hidden, parameters.output_layer(self, units, activation)]
        if self._tabular:
            scales = scales_targets(self._loss(), activation)
            table = tables.preprocessor(self, x, y, weight, fraction, seed, scales)
            size = plain(self.embedding_size)
            warn_of_size(size, table.columns, table.numeric_embedding)
            if self.preset is not None:
                layers = tables.build(self, table, once=False, validates=False).layers
            elif self.embedding_size or self.numeric_embedding:
                layers.insert(0, tables.first_layer(self, table))
            preprocessor = table

        usual: names.DTypeName | np.dtype[Any] = "float32" if self._tabular else x.dtype
        inputs = x.shape[1] if preprocessor is None else preprocessor.inputs
        where = {name: getattr(self, name) for name in ("backend", "precision", "device")}
        dtype = usual if self.dtype is None else self.dtype
        network = Network(layers, inputs=inputs, dtype=dtype, seed=seed, **where)
        if preprocessor is not None:
            network.preprocessor = preprocessor
        tables.name_outputs(self, network)
        return network

    def _rows(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        """Return X and y, both checked; with a preprocessor for tables X becomes a frame."""
        if y is not None:  # else scikit-learn says what is missing
            tables.require_targets(y)
        return (tables.rows if self._tabular else type(self)._checked)(self, X, y, reset=reset)

    def _held_back(self, X: Any, y: Any, weight: Any) -> Any:
        """Return the caller's validation rows as `Network.fit` takes them."""
        if X is None and y is None and weight is None:
            return None
        if X is None or y is None:
            raise InputError("X_val and y_val belong together: give both of them.")
        X, y = self._rows(X, y, reset=False)
        targets = self._targets(y, first=False, once=True)
        return dense(X), targets, parameters.checked_weight("sample_weight_val", weight, X)

    # --- overridden by classifier and regressor --------------------------------------------------

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        """Return X and y as `validate_data` returns them."""
        raise NotImplementedError

    def _targets(self, y: Array, *, first: bool, once: bool) -> Array:
        """Return the targets of the network."""
        raise NotImplementedError

    def _outputs(self) -> tuple[int, names.ActivationName]:
        """Return the number and the activation of the outputs."""
        raise NotImplementedError

    def _loss(self) -> Loss:
        raise NotImplementedError

    def _answers(self, outputs: Array) -> Array:
        """Return the classes or numbers that outputs of the network stand for."""
        raise NotImplementedError

    def _class_weights(self, *, once: bool) -> Any:
        """Return the class weights by the network's classes."""

    # --- prediction ------------------------------------------------------------------------------

    def _predicted(self, X: Any) -> Array:
        """Return the outputs of the network (N, O)."""
        check_is_fitted(self, "network_")
        rows = tables.encodable(self, X) if self._tabular else tables.matrix(self, X)
        return self._predictor().predict_columns(rows)

    def _predictor(self) -> Network | Ensemble:
        """Return what predicts: the ensemble if there is one."""
        network = self._network()
        return self.ensemble_.beside(network) if hasattr(self, "ensemble_") else network

    def _network(self) -> Network:
        """Return the network on the backend of the present parameters."""
        self.network_ = self.network_.to(self.backend, precision=self.precision, device=self.device)
        return self.network_

    def __getstate__(self) -> dict[str, Any]:
        # On the host it can be unpickled without a GPU; at its next use it moves back.
        state: dict[str, Any] = dict(super().__getstate__())
        kept = [name for name in ("network_", "ensemble_") if name in state]
        return state | {name: getattr(self, name).to("numpy") for name in kept}

    @property
    def coefs_(self) -> list[Array]:
        """The weights (I, O) of the dense layers; on the CPU, views into the network."""
        return [self.network_.backend_object.to_host(w) for w in self.network_.weights]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases (O,) of the dense layers."""
        return [self.network_.backend_object.to_host(b) for b in self.network_.biases]

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss of each epoch."""
        return self.history_["loss"]

    @property
    def n_iter_(self) -> int:
        """Number of epochs so far; iterations for L-BFGS."""
        return len(self.history_.epochs)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = bool(self.table or self.preset is not None)
        return tags
