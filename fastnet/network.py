"""Network: layers over one flat parameter buffer, on one backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet import backends
from fastnet.backends.base import Backend, Engine, TrainConfig
from fastnet.errors import InputError
from fastnet.nn import losses, optimizers
from fastnet.nn import metrics as metric_table
from fastnet.nn.batch import Array
from fastnet.nn.layers import Layer, chain
from fastnet.nn.losses import Loss
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.plan import make_plan
from fastnet.preprocessing import samples, validation
from fastnet.preprocessing.outputs import OutputSchema
from fastnet.preprocessing.samples import Inputs, Samples
from fastnet.preprocessing.target import TableTarget
from fastnet.training import fit, lbfgs, loop
from fastnet.training.callbacks import Callback, EarlyStopping, Run, make_callbacks
from fastnet.training.checkpoints import writer as checkpoints
from fastnet.training.fit import FitOptions
from fastnet.training.history import History
from fastnet.training.loop import EvaluationSet, OptimizerState, TrainingJob
from fastnet.utils import memory
from fastnet.utils.param_validation import check_float, check_int

if TYPE_CHECKING:
    from fastnet.data import Chunks, Scaler, TableSchema
    from fastnet.tables import TablePreprocessor

Pair = tuple[Inputs, ArrayLike] | tuple[Inputs, ArrayLike, ArrayLike]


class Network:
    """A feed-forward network.

    Parameters
    ----------
    layers : sequence of int, or sequence of Layer
        Sizes, as in ``[784, 128, 10]`` (inputs, hidden layers, outputs), or layers, as in
        ``[fn.Dense(128, "relu"), fn.Dropout(0.1), fn.Dense(10, "softmax")]``.
    inputs : int, optional
        Number of inputs; with layers only.
    activation, output_activation : str
        Of the hidden layers and of the last one; with sizes only.
    dtype : {"float32", "float64"}
    seed : int, default 0
        Decides the initial weights, the order of the batches and the dropout masks: the same on
        every backend.
    backend : {"auto", "numpy", "numba", "cupy"}
        ``"auto"`` takes the one that suits the network and can run here.
    precision : {"float32", "tf32", "bf16"}
        Of matrix products, for a float32 network on a GPU. Below float32 they are several times
        faster; parameters and their updates are float32 in any case. Not stored with the model.
    device : int, optional
        Which GPU, where several are visible.

    Attributes
    ----------
    parameters : (P,) array of the backend
        All parameters in one flat buffer: first the weights of dense layers, then the rest.
    state : (S,) array of the backend
        Running statistics of batch normalisation.
    history : History or None
        Of the newest call of `fit`.
    loss : Loss or None
        The one trained with; the default of `evaluate` and `gradients`. Stored with the model.
    scaler : Scaler or None
        Applied to all inputs; set by ``fit(standardize=True)`` and stored with the model.
    schema : TableSchema or None
        What the columns of the training table were; set by ``fastnet train``.
    label_names : tuple of str or None
    temperature : float or None
        What `calibrate` found, and put into the last layer; None again after more training.
    preprocessor : TablePreprocessor or None
        What makes inputs of a table's columns; set by the first ``fit`` on a data frame and stored
        with the model. With it, x everywhere is a table: a data frame, a dict of columns, or an
        array of columns in the order of training.

    Examples
    --------
    >>> import fastnet as fn
    >>> net = fn.Network([2, 8, 1], activation="tanh", output_activation="sigmoid", seed=1)
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = net.fit(x, y, optimizer=fn.Adam(0.05), epochs=300, batch_size=4)
    >>> (net.predict(x) > 0.5).ravel().tolist()
    [False, True, True, False]
    """

    def __init__(
        self,
        layers: Sequence[int] | Sequence[Layer],
        *,
        inputs: int | None = None,
        activation: str | None = None,
        output_activation: str | None = None,
        dtype: str | type | np.dtype[Any] = "float32",
        seed: int = 0,
        backend: str = "auto",
        precision: str = "float32",
        device: int | None = None,
    ) -> None:
        inputs, chain_of_layers = _read_layers(layers, inputs, activation, output_activation)
        self.plan = make_plan(inputs, chain_of_layers)
        self.dtype = validation.dtype_of(dtype)
        memory.require(memory.initial_bytes(self.plan, self.dtype.itemsize), "the network")
        self.seed = validation.seed_of(seed)
        self.history: History | None = None
        self.loss: Loss | None = None
        self.scaler: Scaler | None = None
        self.schema: TableSchema | None = None
        self.label_names: tuple[str, ...] | None = None
        self.temperature: float | None = None
        self.preprocessor: TablePreprocessor | None = None
        chosen = backends.choose(backend, self.plan, precision=precision, device=device)
        self._set_backend(chosen, precision)
        self.initialize()

    def _set_backend(self, backend: Backend, precision: str) -> None:
        backends.check_precision(backend, precision, self.dtype)
        self.backend_object, self.precision = backend, precision
        self._engines = threading.local()

    def initialize(self, seed: int | None = None) -> None:
        """Go back to the initial weights, of another `seed` if given, and forget all training."""
        if seed is not None:
            self.seed = validation.seed_of(seed)
        own = self.backend_object.own
        self._parameters: Array = own(self.plan.initial_parameters(self.seed, self.dtype))
        self._state: Array = own(self.plan.initial_state(self.dtype))
        self.optimizer_state: OptimizerState | None = None
        self.temperature = None
        self._engines = threading.local()

    # --- what it is ------------------------------------------------------------------------------

    @property
    def parameters(self) -> Array:
        """All parameters in one flat buffer (P,). Assigning to it copies the values into it."""
        return self._parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        self._parameters[...] = values

    @property
    def state(self) -> Array:
        """The running statistics in one flat buffer (S,). Assigning copies likewise."""
        return self._state

    @state.setter
    def state(self, values: ArrayLike) -> None:
        self._state[...] = values

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self.plan.layers

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.plan.inputs

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.plan.outputs

    @property
    def output_schema(self) -> OutputSchema:
        """What the outputs stand for."""
        target, names = None, self.label_names
        if self.preprocessor is not None:
            target = self.preprocessor.target
        elif self.schema is not None and self.schema.label_names is None and self.schema.targets:
            columns = len(self.schema.targets)
            target = TableTarget(self.schema.targets, None, np.zeros(columns), np.ones(columns))
        activation = self.plan.output_activation.name
        return OutputSchema(self.outputs, activation, self.loss, names, target)

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.backend_object.name

    @property
    def weights(self) -> list[Array]:
        """The weights (I, O) of every dense layer, as views into `parameters`."""
        return self._views(lambda name, shape: len(shape) == 2)

    @property
    def biases(self) -> list[Array]:
        """The biases (O,) of every dense layer, as views into `parameters`."""
        dense = {t.name.rsplit(".", 1)[0] for t in self.plan.parameters if len(t.shape) == 2}
        return self._views(lambda name, shape: len(shape) == 1 and name in dense)

    def _views(self, wanted: Callable[[str, tuple[int, ...]], bool]) -> list[Array]:
        return [
            tensor.view(self.parameters)
            for tensor in self.plan.parameters
            if wanted(tensor.name.rsplit(".", 1)[0], tensor.shape)
        ]

    def named_parameters(self) -> dict[str, Array]:
        """Return all parameters by name (``layers.0.weight``, ...), as views."""
        return {tensor.name: tensor.view(self.parameters) for tensor in self.plan.parameters}

    def named_state(self) -> dict[str, Array]:
        """Return the running statistics by name (``layers.1.running_mean``, ...), as views."""
        return {tensor.name: tensor.view(self.state) for tensor in self.plan.state}

    def __repr__(self) -> str:
        layers = ", ".join(str(layer) for layer in self.layers)
        return (
            f"Network([{layers}], inputs={self.inputs}, dtype={self.dtype.name!r}, "
            f"seed={self.seed}, backend={self.backend!r})  # {self.plan.size:,} parameters"
        )

    # --- training --------------------------------------------------------------------------------

    def fit(
        self,
        x: Inputs | Chunks,
        y: ArrayLike | None = None,
        *,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer | LBFGS = "adam",
        epochs: int = 10,
        batch_size: int | None = 128,
        validation_data: Pair | None = None,
        validation_split: float = 0.0,
        early_stopping: int | EarlyStopping | None = None,
        metrics: Sequence[str | Callable[[Any, Any], float]] = (),
        callbacks: Sequence[Callback | Callable[[Run], Any]] = (),
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        standardize: bool = False,
        shuffle: bool = True,
        threads: int | None = None,
        verbose: bool = False,
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_every: int | str = checkpoints.DEFAULT_EVERY,
        resume: bool = False,
    ) -> History:
        """Train; called again, it goes on from where it stopped.

        Parameters
        ----------
        x : (N, I), or a data frame or dict of columns, or Chunks
            The first table makes the network's `preprocessor`. `fastnet.data.Chunks` are rows, with
            their targets, that are read from a file as they are needed.
        y : (N,) or (N, O), or a column's name
            Class labels or probabilities for ``cross_entropy``; numbers for the other losses. With
            a table, labels may be texts, and numbers that are learned by mse, mae, huber, quantile
            or gaussian_nll are scaled: losses are those of scaled targets, all else is in their
            unit.
        loss : str or Loss, optional
            Default: that of the last call, or what suits the output activation (softmax:
            cross_entropy, sigmoid: binary_cross_entropy, exp: poisson, else mse).
        optimizer : str, Optimizer or LBFGS
        epochs : int
            Passes over the data (iterations, for L-BFGS).
        batch_size : int or None
            Rows in a step; the last batch of an epoch may be smaller. None: all rows.
        validation_data : (x, y) or (x, y, sample_weight), optional
            Evaluated after each epoch.
        validation_split : float, default 0
            Share of the rows to take for validation instead; drawn by the network's seed.
        early_stopping : int or EarlyStopping, optional
            Stop after so many epochs without a better validation loss (training loss where there
            are no validation data), and restore the best weights.
        metrics : sequence of str or f(target, output)
            Computed after each epoch on the validation data, or on the training data where there
            are none.
        callbacks : sequence of Callback or f(run)
        sample_weight : (N,), optional
            Weights, at least 0; a row of weight 0 is a row left out. A batch's loss is divided by
            the sum of its weights.
        class_weight : dict of int to float, or "balanced", optional
        standardize : bool, default False
            Fit a `Scaler` to the training rows and apply it to all inputs from now on. A network
            that has one keeps it.
        shuffle : bool, default True
        threads : int, optional
            Number of threads; default: as many as pay for this network.
        verbose : bool, default False
            Show a progress bar when standard error is a terminal.
        checkpoint : str or path, optional
            Folder for checkpoints of this run; made if it is not there. One is written as it goes,
            at the end, and on Ctrl-C and SIGTERM.
        checkpoint_every : int or str, default "30s"
            Epochs between checkpoints, or the time: ``"30s"``, ``"5min"``, ``"1h"`` (then also in
            the middle of an epoch).
        resume : bool, default False
            Go on from the last checkpoint, if there is one, to the same bits as a run that was
            never interrupted; `epochs` counts the whole run. Everything else must be given as it
            was.

        Returns
        -------
        History

        Raises
        ------
        InputError
            Something given does not fit; the network is unchanged.
        DivergenceError
            Loss or weights are not finite; the weights are those of the last good epoch.
        KeyboardInterrupt
            After the current batches; the network is whole and `history` has the finished epochs.
        CheckpointError
            Nothing can be written to the folder, or there is nothing whole in it to go on from.
        SystemExit
            SIGTERM came while `checkpoint` was given.
        """
        checkpointer = checkpoints.asked(checkpoint, checkpoint_every, resume)
        chosen_loss, chosen_optimizer = self._loss(loss), optimizers.get(optimizer)
        if isinstance(chosen_optimizer, LBFGS):
            lbfgs.check(self.plan, checkpointer)
        asked = FitOptions(
            network=self,
            loss=chosen_loss,
            optimizer=chosen_optimizer,
            epochs=check_int("epochs", epochs),
            batch_size=None if batch_size is None else check_int("batch_size", batch_size),
            shuffle=bool(shuffle),
            metrics=metric_table.get(metrics, chosen_loss, self.plan.outputs),
            callbacks=make_callbacks(callbacks, early_stopping, verbose),
            class_weight=class_weight,
            standardize=bool(standardize),
            threads=None if threads is None else check_int("threads", threads),
            checkpointer=checkpointer,
        )
        fraction = check_float("validation_split", validation_split, least=0, below=1)
        if fraction and validation_data is not None:
            raise InputError("give validation_data or validation_split, not both.")
        if samples.is_chunks(x):
            from fastnet.training import out_of_core

            if y is not None or sample_weight is not None or fraction:
                raise InputError(
                    "Chunks hold their own targets and weights: leave out y and sample_weight, and "
                    "give validation_data where validation_split was."
                )
            ready = out_of_core.prepare(asked, x, validation_data)
        else:
            ready = fit.prepare(asked, x, y, sample_weight, validation_data, fraction)
        with ready.opened() as job:
            state = self._training_state(chosen_optimizer)
            if isinstance(chosen_optimizer, LBFGS):
                return lbfgs.train_lbfgs(job, chosen_optimizer, state)
            return loop.train(job, ready.config, state)

    def partial_fit(
        self,
        x: Inputs,
        y: ArrayLike,
        *,
        loss: str | Loss | None = None,
        optimizer: str | Optimizer = "adam",
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Take one step on these rows, as one batch of a stream.

        The optimizer's moments carry over from call to call (and from and to `fit`).

        Returns
        -------
        float
            The loss before the step.

        Raises
        ------
        DivergenceError
            The loss is not finite; the weights are those from before the call.
        """
        chosen_loss = self._loss(loss)
        chosen = optimizers.get(optimizer)
        if isinstance(chosen, LBFGS):
            raise InputError("lbfgs needs all data at once: use fit, or another optimizer.")
        if self.preprocessor is None and samples.is_table(x):
            from fastnet.preprocessing import edge

            edge.require_plain(x)
        data = samples.on_backend(
            self._check(chosen_loss, x, y, sample_weight).rows, self.backend_object
        )
        self.loss, self.temperature = chosen_loss, None
        config = TrainConfig(chosen_loss, chosen, len(data), self.seed, shuffle=False)
        job = TrainingJob(self, self._engine(), data, chosen_loss)
        return loop.train_once(job, config, self._training_state(chosen))

    # --- use -------------------------------------------------------------------------------------

    @overload
    def predict(self, x: Inputs, *, return_std: Literal[False] = False) -> NDArray[Any]: ...

    @overload
    def predict(
        self, x: Inputs, *, return_std: Literal[True]
    ) -> tuple[NDArray[Any], NDArray[Any]]: ...

    def predict(
        self, x: Inputs, *, return_std: bool = False
    ) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Return the outputs (N, O) for x (N, I): probabilities after softmax or sigmoid.

        With `return_std`, for a network trained with ``gaussian_nll``: means and standard
        deviations of the targets, each (N, T).
        """
        if self.preprocessor is not None:
            x = self.preprocessor.transform(x, self.dtype)
        values = samples.inputs(self.plan, self.dtype, self.scaler, x)
        outputs = self._engine().predict(self.backend_object.asarray(values))
        y = self._decoded(self.backend_object.to_host(outputs))
        return self.output_schema.mean_and_std(y) if return_std else y

    def predict_quantiles(self, x: Inputs) -> dict[float, NDArray[Any]]:
        """Return the quantiles by name, each (N, T): ``{0.1: ..., 0.5: ..., 0.9: ...}``.

        For a network trained with ``quantile``.
        """
        return self.output_schema.quantiles(self.predict(x))

    def predict_one(self, row: ArrayLike | Mapping[str, Any]) -> NDArray[Any]:
        """Return the outputs (O,) for one row (I,), with the least delay.

        Only the length is checked. With a `preprocessor`, the row is a dict of values, or a
        sequence of them in the order of training.
        """
        if self.preprocessor is not None:
            from fastnet.preprocessing import edge

            row = edge.row(self.preprocessor, row, self.dtype)
        try:
            values = np.ascontiguousarray(row, self.dtype if self.scaler is None else np.float64)
        except (TypeError, ValueError):
            raise InputError(f"row must hold {self.inputs} numbers.") from None
        if values.shape != (self.plan.inputs,):
            raise InputError(f"row must have the shape ({self.inputs},), got {values.shape}.")
        if self.scaler is not None:
            values = self.scaler.transform(values, self.dtype)
        return self._decoded(self._engine().predict_one(values))

    def evaluate(
        self,
        x: Inputs,
        y: ArrayLike,
        *,
        loss: str | Loss | None = None,
        metrics: Sequence[str | Callable[[Any, Any], float]] = (),
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Return ``{"loss": ..., "accuracy": ...}`` (or ``"r2"``), and the metrics named."""
        chosen_loss = self._loss(loss)
        made_metrics = metric_table.get(metrics, chosen_loss, self.plan.outputs)
        if self.preprocessor is not None:
            from fastnet.preprocessing import edge

            made_metrics = edge.unscaled(self.preprocessor, made_metrics, chosen_loss)
        checked = self._check(chosen_loss, x, y, sample_weight)
        held_out = EvaluationSet.of(checked, self.backend_object, "")
        job = TrainingJob(self, self._engine(), held_out.rows, chosen_loss, metrics=made_metrics)
        return loop.evaluate(job, held_out)

    def gradients(
        self,
        x: Inputs,
        y: ArrayLike,
        *,
        loss: str | Loss | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return the gradient of the loss that `evaluate` reports, by parameter name.

        Dropout is off and batch normalisation uses its running statistics, as in prediction.
        """
        chosen_loss = self._loss(loss)
        checked, engine = self._check(chosen_loss, x, y, sample_weight), self._engine()
        engine.gradient(samples.on_backend(checked.rows, self.backend_object), chosen_loss)
        flat = self.backend_object.to_host(engine.gradients)
        learns = self.plan.learns()
        flat = np.array(flat) if learns is None else flat * learns
        return {t.name: t.view(flat) for t in self.plan.parameters}

    def input_gradients(self, x: Inputs, output: ArrayLike | None = None) -> NDArray[Any]:
        """Return how an output of each row changes with each input of that row, (N, I).

        Parameters
        ----------
        x : (N, I), or a table
            Of a table, the inputs are those that the `preprocessor` makes, called as in its
            ``feature_names``, and the outputs are in the unit of the targets.
        output : int or (N,) of int, optional
            Which output, or which one of each row. Default: the largest of each row.
        """
        from fastnet.inspection.input_gradients import input_gradients

        return input_gradients(self, x, output)

    def jacobian(self, x: Inputs) -> NDArray[Any]:
        """Return the derivative of every output by every input, (N, O, I).

        For a table, inputs and outputs are those of `input_gradients`.
        """
        from fastnet.inspection.input_gradients import jacobian

        return jacobian(self, x)

    def calibrate(
        self, x: Inputs, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float:
        """Divide what softmax or sigmoid is taken of by the temperature that suits these rows.

        Take rows that the network was not trained on. The answers stay the same, and how sure they
        are becomes right on average. The temperature goes into the last layer and is kept as
        `temperature`; called again, it starts from there.

        Returns
        -------
        float
            The temperature by which the last layer is divided now, in all.
        """
        from fastnet.inspection.calibration import apply_temperature, fit_temperature

        found = fit_temperature(self, self._check(self._loss(None), x, y, sample_weight))
        apply_temperature(self, found)
        self.temperature = found * (self.temperature or 1.0)
        return self.temperature

    # --- moving, copying, storing ----------------------------------------------------------------

    def to(self, backend: str, *, precision: str | None = None, device: int | None = None) -> Self:
        """Return the same network on another backend, training state included.

        `precision` stays as it is by default. Where nothing changes, the network itself is
        returned.
        """
        precision = self.precision if precision is None else precision
        target = backends.choose(backend, self.plan, precision=precision, device=device)
        if target is self.backend_object and precision == self.precision:
            return self
        return self._copy_to(target, precision)

    def copy(self) -> Self:
        """Return an independent copy."""
        return self._copy_to(self.backend_object, self.precision)

    __copy__ = copy

    def _copy_to(self, target: Backend, precision: str) -> Self:
        def move(values: Array) -> Array:
            return target.own(self.backend_object.to_host(values))

        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._set_backend(target, precision)
        other._parameters, other._state = move(self.parameters), move(self.state)
        if self.optimizer_state is not None:
            other.optimizer_state = self.optimizer_state.copy(move)
        return other

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to one ``.safetensors`` file, which `fastnet.load` reads.

        It holds weights, architecture, scaler, preprocessor, schema and label names, and nothing
        executable. An existing file is replaced in one step.
        """
        from fastnet.serialization.model_file import save

        save(self, path)

    def snapshot(self, into: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
        """Return copies of parameters and running statistics, in the memory of `into` if given."""
        if into is None:
            return self.parameters.copy(), self.state.copy()
        into[0][...] = self.parameters
        into[1][...] = self.state
        return into

    def restore(self, snapshot: tuple[Array, Array]) -> None:
        """Put back what `snapshot` returned."""
        self.parameters[...] = snapshot[0]
        self.state[...] = snapshot[1]

    def is_finite(self) -> bool:
        """Return whether all parameters and running statistics are finite."""
        for values in (self.parameters, self.state):
            # A sum of squares that overflows is looked at once more, element by element.
            with np.errstate(all="ignore"):
                square = float(values @ values)
            finite = np.isfinite(square) or np.isfinite(self.backend_object.to_host(values)).all()
            if not finite:
                return False
        return True

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_engines"], state["backend_object"]
        to_host = self.backend_object.to_host
        state["_parameters"], state["_state"] = to_host(self.parameters), to_host(self.state)
        if self.optimizer_state is not None:
            state["training"] = self.optimizer_state.copy(to_host)
        return {"backend": self.backend, **state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        name = state.pop("backend")
        self.__dict__.update(state)
        self._set_backend(backends.get_backend(name), self.precision)

        # Copies: what joblib maps from a file is read-only, and kernels write by address.
        own = self.backend_object.own
        self._parameters, self._state = own(self._parameters), own(self._state)
        if self.optimizer_state is not None:
            self.optimizer_state = self.optimizer_state.copy(own)

    # --- inside ----------------------------------------------------------------------------------

    def _engine(self, threads: int | None = None) -> Engine:
        """Return this thread's engine: Python threads may use one network side by side."""
        try:
            engine: Engine = self._engines.engine
        except AttributeError:
            engine = self.backend_object.engine(
                self.plan, self.parameters, self.state, precision=self.precision
            )
            self._engines.engine = engine
        engine.threads = threads
        return engine

    def _training_state(self, optimizer: Optimizer | LBFGS) -> OptimizerState:
        """Return the state to go on from."""

        def zeros(shape: tuple[int, ...]) -> Array:
            return self.backend_object.own(np.zeros(shape, self.dtype))

        self.optimizer_state = loop.prepare(self.optimizer_state, optimizer, self.plan.size, zeros)
        return self.optimizer_state

    def _loss(self, loss: str | Loss | None) -> Loss:
        """Return the loss meant, by default the one trained with."""
        chosen = self.loss if loss is None else loss
        return losses.get(chosen, self.plan.output_activation.name)

    def _check(
        self, loss: Loss, x: Inputs, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> Samples:
        if self.preprocessor is not None:
            from fastnet.preprocessing import edge

            x, y = edge.encode(self.preprocessor, x, y, self.dtype)
        in_float64 = self.scaler is not None
        checked = samples.check(
            self.plan, self.dtype, loss, x, y, sample_weight, in_float64=in_float64
        )
        return checked.weighted().scaled(self.scaler, self.dtype)

    def _decoded(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return outputs in the unit of a table's targets."""
        target = None if self.preprocessor is None else self.preprocessor.target
        return outputs if target is None else target.decode(outputs, self.loss)


def _read_layers(
    layers: Sequence[int] | Sequence[Layer],
    inputs: int | None,
    activation: str | None,
    output_activation: str | None,
) -> tuple[int, tuple[Layer, ...]]:
    """Return inputs and layers for either way of writing a network."""
    try:
        given = tuple(layers)
    except TypeError:
        raise InputError(f"layers must be several sizes or layers, got {layers!r}.") from None
    if any(isinstance(layer, Layer) for layer in given):
        if inputs is None:
            raise InputError("with layers, say how many inputs there are: inputs=784.")
        if activation is not None or output_activation is not None:
            raise InputError("with layers, give each layer its own activation.")
        return inputs, given  # type: ignore[return-value]
    if inputs is not None:
        raise InputError("with sizes, the first one is the number of inputs: leave out inputs=.")
    return chain(given, activation or "relu", output_activation or "identity")  # type: ignore[arg-type]
