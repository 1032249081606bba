"""`Network`: the public class, which fits, predicts and saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import Any, Final, Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.backends.epochs import TrainConfig
from fastnet.backends.threads import asked
from fastnet.data.chunks import Chunks
from fastnet.data.dataset import Dataset
from fastnet.data.frame import Inputs, is_table
from fastnet.distributed import group as distributed
from fastnet.errors import DivergenceError, InputError, ModelFileError
from fastnet.inspection import calibration, input_gradients
from fastnet.model import Model, while_active
from fastnet.nn import metrics as metric_table
from fastnet.nn import optimizers
from fastnet.nn.batch import Array
from fastnet.nn.chain import chain
from fastnet.nn.function_loss import AnyLoss
from fastnet.nn.gradients import Gradients
from fastnet.nn.layers import Layer
from fastnet.nn.losses import Loss
from fastnet.nn.member_plan import plan_of
from fastnet.nn.optimizer_state import OptimizerState
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.preprocessing import datasets
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.learn import require_plain
from fastnet.preprocessing.samples import Samples
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.target import axes_of
from fastnet.preprocessing.weights import ClassWeight
from fastnet.serialization import model_file
from fastnet.serialization.model_file import ModelFile
from fastnet.serialization.training_state import TrainingState
from fastnet.training import chunk_pass, fit, lbfgs, loop, out_of_core
from fastnet.training.callbacks import Callback, EarlyStopping, Run
from fastnet.training.checkpoints import writer
from fastnet.training.evaluation import EvaluationSet
from fastnet.training.fit import PreparedFit
from fastnet.training.history import History
from fastnet.training.online import OnlineStep
from fastnet.training.state import TrainingJob
from fastnet.training.steps import Steps
from fastnet.utils.arguments import answers
from fastnet.utils.names import (
    ActivationName,
    Auto,
    BackendName,
    DTypeName,
    OptimizerName,
    PrecisionName,
    StreamOptimizerName,
)
from fastnet.utils.param_validation import check_flag

Pair = tuple[Inputs, ArrayLike] | tuple[Inputs, ArrayLike, ArrayLike] | Dataset


class Network(Model):
    """A feed-forward network.

    Parameters
    ----------
    layers : sequence of int, or sequence of Layer
        Sizes, as in ``[784, 128, 10]`` (inputs, hidden layers, outputs), or layers, as in
        ``[fn.Dense(128, "relu"), fn.Dropout(0.1), fn.Dense(10, "softmax")]``.
    inputs : int, optional
        Number of inputs, if `layers` holds layers.
    activation, output_activation : str
        Activations of the hidden layers and of the last one, if `layers` holds sizes.
    loss : str, Loss or f(output, target), optional
        The loss of the first training; see `fit`.
    dtype : {"float32", "float64"}
    seed : int, default 0
        Seed of the initial weights, the order of the batches and the dropout masks, which are the
        same on every backend.
    backend : {"auto", "numpy", "numba", "cupy"}
        ``"auto"`` takes an available backend that suits the size of the network.
    precision : {"float32", "tf32", "bf16"}
        Precision of the matrix products of a float32 network: ``"bf16"`` on Numba, where the
        processor has instructions for it, and both on a GPU. Lower precision is several times
        faster; parameters and updates stay float32. Not saved with the model.
    device : int, optional
        Index of the GPU.

    Attributes
    ----------
    parameters : (P,) array of the backend
        All parameters in one flat buffer: first the weights of dense layers, then the rest.
    state : (S,) array of the backend
        Running statistics of batch normalisation.
    history : History or None
        History of the newest call of `fit`; saved by ``save(path, optimizer=True)``.
    loss : Loss or None
        Loss of the last training, the default of all methods that need one; assign a name, a loss
        or a function to change it. Saved with the model, but of a function only its name.
    preprocessor : Preprocessor
        It turns x into inputs. `Passthrough` checks arrays; a `Scaler`, set by
        ``fit(standardize=True)``, standardises them; a `TablePreprocessor`, set by the first
        ``fit`` on a data frame, encodes a table. Every method then takes tables as x: a data frame,
        a dict of columns, or an array of columns in the order of training. Saved with the model.
    label_names : tuple of str or None
    temperature : float or None
        The temperature that `calibrate` folded into the last layer; None after more training.
    optimizer_state : OptimizerState or None
        Moments and counters of the last optimizer; saved by ``save(path, optimizer=True)``.

    Examples
    --------
    >>> import fastnet as fn
    >>> net = fn.Network([2, 8, 1], activation="tanh", output_activation="sigmoid", seed=1)
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = net.fit(x, y, optimizer=fn.Adam(0.05), epochs=300, batch_size=4)
    >>> (net.predict(x) > 0.5).tolist()
    [False, True, True, False]
    """

    @answers("Network")
    def __init__(
        self,
        layers: Sequence[int] | Sequence[Layer],
        *,
        inputs: int | None = None,
        activation: ActivationName | None = None,
        output_activation: ActivationName | None = None,
        loss: AnyLoss | None = None,
        dtype: DTypeName | type | np.dtype[Any] = "float32",
        seed: int = 0,
        backend: BackendName | Auto = "auto",
        precision: PrecisionName = "float32",
        device: int | None = None,
    ) -> None:
        plan = plan_of(*_read_layers(layers, inputs, activation, output_activation))
        where: dict[str, Any] = {"backend": backend, "precision": precision, "device": device}
        super().__init__(plan, dtype=dtype, seed=seed, **where)
        self.loss = loss

    def _start(self, *what: Any) -> None:
        super()._start(*what)
        self.history: History | None = None

    # --- training --------------------------------------------------------------------------------

    @answers("fit")
    @while_active
    def fit(
        self,
        x: Inputs | Chunks | Dataset,
        y: ArrayLike | None = None,
        *,
        loss: AnyLoss | None = None,
        optimizer: OptimizerName | Optimizer | LBFGS = "adam",
        epochs: int = 10,
        batch_size: int | None = 128,
        validation_data: Pair | Chunks | None = None,
        validation_split: float = 0.0,
        early_stopping: int | EarlyStopping | None = None,
        metrics: Sequence[str | Callable[[Any, Any], float]] = (),
        callbacks: Sequence[Callback | Callable[[Run], Any]] = (),
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight | None = None,
        standardize: bool | Literal["running"] = False,
        standardize_targets: bool = False,
        shuffle: bool = True,
        threads: int | None = None,
        verbose: bool | int = False,
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_every: int | str = writer.DEFAULT_EVERY,
        resume: bool = False,
        comm: Any = None,
    ) -> History:
        """Train the network; a further call continues training.

        Parameters
        ----------
        x : (N, I), or a data frame or dict of columns, or Chunks, or a data set
            The first table fits the network's `preprocessor`. `fastnet.data.Chunks` read rows and
            targets from a file during training. What `fastnet.data.load` returns has its own
            targets and label names.
        y : (N,) or (N, O), or a column's name
            Class labels or probabilities for ``cross_entropy``; numbers for the other losses. With
            a table, labels may be strings, and numeric targets of mse, mae, huber, quantile and
            gaussian_nll are scaled: the loss is that of the scaled targets, while predictions and
            metrics are in the targets' unit.
        loss : str, Loss or f(output, target), optional
            Default: `loss` of the network, or that of the output activation (softmax:
            cross_entropy, sigmoid: binary_cross_entropy, exp: poisson, else mse). A function takes
            outputs (B, O), after the last activation, and targets (B, T), y as it is given, as
            arrays of the backend. It returns the loss of each row (B,) and the derivative (B, O) of
            each by the row's outputs, of which `fit` makes the (weighted) mean; or one number and
            its derivative, without sample weights. It is called from Python at every step, so
            small networks train slower than with a loss of fastnet.
        optimizer : str, Optimizer or LBFGS
        epochs : int
            Passes over the data; iterations for L-BFGS.
        batch_size : int or None
            Rows in a step; the last batch of an epoch may be smaller. None means all rows. With
            `BatchNorm`, a last batch of a single row is left out of the epoch.
        validation_data : (x, y), (x, y, sample_weight), a data set or Chunks, optional
            Held-out rows, which are evaluated after each epoch.
        validation_split : float, default 0
            Fraction of the rows to hold out for validation, drawn by the network's seed.
        early_stopping : int, True or EarlyStopping, optional
            Stop after this many epochs (True: 5) without a better validation loss (training loss
            without validation), and restore the best weights.
        metrics : sequence of str or f(target, output)
            Computed after each epoch on the validation data, or else on the training data.
        callbacks : sequence of Callback or f(run)
        sample_weight : (N,), optional
            Weights, at least 0, of which only the ratios matter: a row of weight 0 is left out,
            one of weight 2 counts like two rows, in the `Scaler` too. The loss of a batch is
            divided by the sum of its weights.
        class_weight : dict of label to float, or "balanced", optional
            Weights of classes in the loss, which multiply those of the training rows; validation
            rows have none, and a class that is not in the dict has weight 1; 0 is refused, since
            to leave a class out is to leave out its rows. ``"balanced"`` gives
            all classes the same total among the training rows. Labels are those of y: the numbers
            of the classes, or what a table's target or `label_names` call them. With one sigmoid
            output the classes are 0 and 1; with several, give a list of dicts.
        standardize : bool or "running", default False
            Fit a `Scaler` to the training rows and apply it to all inputs from now on. A network
            that has one keeps it. With ``"running"``, further calls add their rows to its mean and
            deviation (Chan et al., 1979): for streams, whose first rows may be few. The weights of
            the network stay as they are while the scale moves, by less and less.
        standardize_targets : bool, default False
            Scale numeric targets to mean 0 and deviation 1, for mse, mae, huber, quantile and
            gaussian_nll: the loss is that of the scaled targets, while predictions and metrics are
            in the targets' unit. A network that scales them keeps the scale. Tables always do.
        shuffle : bool, default True
        threads : int, optional
            Most threads to use, at most one for each core that this process may use. Default: what
            pays, by the size of the network and, on ``"numba"``, by measurement.
        verbose : bool or int, default False
            Show progress: a bar on a terminal, a live line in a notebook, else a line on standard
            error for every epoch, or for every `verbose`-th.
        checkpoint : str or path, optional
            Folder for checkpoints of this run, created if missing. They are written during
            training, at the end, and on Ctrl-C and SIGTERM.
        checkpoint_every : int or str, default "30s"
            Epochs between checkpoints, or a time such as ``"30s"``, ``"5min"`` or ``"1h"``, which
            may end within an epoch.
        resume : bool, default False
            Resume from the last checkpoint, if there is one, with the same bits as an uninterrupted
            run. `epochs` counts the whole run; all other arguments must be the same as before.
        comm : mpi4py.MPI.Intracomm or Ranks, optional
            Train on all processes of a communicator, such as ``MPI.COMM_WORLD``: each calls `fit`
            with rows of its own (of `Chunks`, with all rows) and the same other arguments. All end
            with the same weights and history, which do not depend on the number of ranks; rank 0
            writes checkpoints and progress. See `fastnet.distributed`.

        Returns
        -------
        History

        Raises
        ------
        InputError
            An argument is invalid, or another thread is training the network, which is unchanged.
        DivergenceError
            Loss or weights are not finite; the weights are those of the last good epoch.
        KeyboardInterrupt
            Ctrl-C ended training after the current batches; the network is usable, and `history`
            has the finished epochs.
        CheckpointError
            The folder cannot be written to, or holds no valid checkpoint to resume from.
        SystemExit
            SIGTERM came while `checkpoint` was given.
        DistributedError
            Another rank has failed; the message is that of its error.
        """
        with distributed.opened(comm) as group:
            if group is not None:
                # Imported here: `import fastnet` would take longer, and few programs need it.
                from fastnet.training.data_parallel import job as data_parallel

                data_parallel.settle(group, lambda: writer.known_parts(checkpoint, resume))
            options = fit.read_options(
                self,
                loss=loss,
                optimizer=optimizer,
                epochs=epochs,
                batch_size=batch_size,
                validation_split=validation_split,
                early_stopping=early_stopping,
                metrics=metrics,
                callbacks=callbacks,
                class_weight=class_weight,
                standardize=standardize,
                standardize_targets=standardize_targets,
                shuffle=shuffle,
                threads=asked(threads, self.engine().most_threads),
                verbose=verbose if group is None or group.is_first else False,
                checkpointer=writer.asked(checkpoint, checkpoint_every, resume, group),
            )
            # Check and convert the rows; the network does not change yet.
            before = self.preprocessor
            given = x, y, sample_weight, validation_data
            if group is not None:
                prepared = data_parallel.prepare(options, group, *given)
            elif isinstance(x, Chunks):
                if y is not None or sample_weight is not None or options.validation_split:
                    instead = "give validation_data where validation_split was."
                    raise InputError(f"{out_of_core.OWN_TARGETS}, and {instead}")
                prepared = out_of_core.prepare(options, x, validation_data)
            else:
                prepared = fit.prepare(options, *given)
            # Train; from here on the network changes.
            with self.alone, prepared.opened() as job:
                if self.preprocessor is not before:
                    raise InputError(
                        "another thread has trained this network meanwhile: fit it again."
                    )
                state = self.begin_fit(prepared)
                if isinstance(x, Dataset) and self.output_schema.can_be_named(x.label_names):
                    self.label_names = x.label_names
                if isinstance(state.optimizer, LBFGS):
                    return lbfgs.train_lbfgs(job, state.optimizer, state)
                history = loop.train(job, prepared.config, state)
                if group is not None:
                    data_parallel.compare_networks(job)
                return history

    def begin_fit(self, prepared: PreparedFit) -> OptimizerState:
        """Take over what a call of `fit` has learned about its rows, as its training begins."""
        self.preprocessor = prepared.preprocessor
        target = self.preprocessor.target
        if target is not None and target.labels is not None:
            self.label_names = target.labels
        self.loss, self.temperature, self.history = prepared.job.loss, None, prepared.job.history
        self.history.task = None if target is None else target.task
        self.target_axes = prepared.target_axes
        return self.state_for(prepared.options.optimizer)

    @answers("partial_fit")
    @while_active
    def partial_fit(
        self,
        x: Inputs | Dataset,
        y: ArrayLike | None = None,
        *,
        loss: AnyLoss | None = None,
        optimizer: StreamOptimizerName | Optimizer = "adam",
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Take one training step on these rows, as one batch.

        The optimizer's moments carry over from call to call, `fit` included. A learning-rate
        schedule stands still meanwhile: epochs of `fit` and calls of `update` advance it.

        Returns
        -------
        float
            The loss before the step.

        Raises
        ------
        DivergenceError
            The loss is not finite; the weights are unchanged.
        """
        chosen, chosen_loss = optimizers.get(optimizer), self.loss_or_own(loss)
        if isinstance(chosen, LBFGS):
            raise InputError("lbfgs needs all data at once: use fit, or another optimizer.")
        x, y, sample_weight = self.taken((x, y, sample_weight))
        sample_weight = datasets.weights_of(x, sample_weight)
        x, y = datasets.unpacked(x, y, self.preprocessor)
        if isinstance(self.preprocessor, Passthrough) and is_table(x):
            require_plain(x)
        rows = self._samples(chosen_loss, x, y, sample_weight).rows
        self.plan.require_batch(len(rows))
        batch = self.backend_object.place(rows)
        config = TrainConfig(chosen_loss, chosen, len(batch), self.seed, shuffle=False, once=True)
        job = TrainingJob(self, self.engine_for(chosen_loss), batch, chosen_loss)
        with self.alone:
            kept = None if self.optimizer_state is None else replace(self.optimizer_state)
            try:
                value = loop.train_once(job, config, self.state_for(chosen))
            except DivergenceError:
                raise
            except BaseException:  # in a caller's loss, before anything was updated
                self.optimizer_state = kept
                raise
            self.loss, self.temperature = chosen_loss, None
            self.target_axes = axes_of(y)
            return value

    def online_step(
        self, optimizer: StreamOptimizerName | Optimizer = "adam", *, loss: AnyLoss | None = None
    ) -> OnlineStep:
        """Return a function ``step(x, y)`` that takes one training step on one row, quickly.

        ``step(x, y)`` does what ``partial_fit(x[None], y[None])`` does, with the same bits, and
        returns the loss before the step. It is fastest on the Numba backend, with x (I,) of the
        network's dtype, and y an int for ``cross_entropy``, else a float or (T,) of that dtype.
        Whatever else happens to the network between two steps is no hindrance: the function goes
        on with the network as it is.

        Examples
        --------
        >>> import fastnet as fn, numpy as np
        >>> net = fn.Network([2, 8, 1], activation="tanh", backend="numpy", seed=0)
        >>> step, rng = net.online_step(fn.Adam(0.01), loss="mse"), np.random.default_rng(0)
        >>> losses = [step(x, x[0] * x[1]) for x in rng.uniform(-1, 1, (3000, 2))]
        >>> bool(np.mean(losses[-500:]) < 0.1 * np.mean(losses[:500]))
        True
        """
        chosen = optimizers.get(optimizer)
        if isinstance(chosen, LBFGS):
            raise InputError("lbfgs needs all data at once: use fit, or another optimizer.")
        given = None if loss is None else self.loss_or_own(loss)

        def plain(x: Any, y: Any) -> float:
            return self.partial_fit(x, y, optimizer=chosen, loss=given)

        return OnlineStep(self, chosen, plain)

    # --- a training loop of one's own ------------------------------------------------------------

    @while_active
    def forward(self, x: Inputs, *, training: bool = True) -> Array:
        """Return the outputs (B, O) for the rows x, and keep what `backward` needs.

        Parameters
        ----------
        x : (B, I), or a table
            What `predict` takes: the preprocessor encodes it.
        training : bool, default True
            Whether dropout is active, and batch normalisation uses the statistics of these rows
            and moves the running ones, as in `fit`. Two passes before the same update draw the same
            dropout masks.

        Returns
        -------
        (B, O) array of the backend, of the network's dtype
            A copy. If the targets are scaled, outputs are in the scaled unit that the network
            learns; `predict` returns the targets' own.

        Examples
        --------
        A step on the fourth power of the error, a loss that fastnet does not have:

        >>> import fastnet as fn, numpy as np
        >>> net = fn.Network([1, 8, 1], activation="tanh", backend="numpy", seed=0)
        >>> x = np.linspace(-1, 1, 16)[:, None]
        >>> for step in range(1000):
        ...     error = net.forward(x) - x**2
        ...     gradients = net.backward(4 * error**3 / len(x))
        ...     net.update(fn.Adam(0.02))
        >>> round(float(np.abs(net.predict(x) - x**2).max()), 2)
        0.1
        """
        return self._steps().forward(self, x, training=check_flag("training", training))

    @while_active
    def backward(self, output_gradient: ArrayLike, *, logits: bool = False) -> Gradients:
        """Return the gradients of all parameters for the newest `forward`.

        Nothing is accumulated: each call starts from 0, and several calls may follow one `forward`.
        Add up what they return, and give the sum to `update`, where gradients should accumulate.

        Parameters
        ----------
        output_gradient : (B, O), of NumPy or of the backend
            The derivative of the loss by each output of `forward`. A mean over rows has its
            ``1 / B`` here.
        logits : bool, default False
            Whether it is the derivative by the last layer's pre-activations instead, such as
            ``probabilities - targets`` for softmax and cross-entropy.

        Returns
        -------
        Gradients
            A mapping from the names of ``net.named_parameters()`` to arrays of the same shapes,
            with all of them in `flat` (P,), in the order of ``net.parameters``. Penalties, decay
            and clipping are not in it: they belong to the optimizer, and `update` applies them.

        Raises
        ------
        InputError
            There was no `forward`, the parameters have changed since, or the gradient has another
            shape or holds NaN.
        """
        logits = check_flag("logits", logits)
        return self._steps().backward(self, output_gradient, logits=logits)

    @while_active
    def update(
        self,
        optimizer: StreamOptimizerName | Optimizer = "adam",
        *,
        gradients: Gradients | Mapping[str, ArrayLike] | ArrayLike | None = None,
        steps_per_epoch: int = 1,
    ) -> None:
        """Take one step of the optimizer: clipping, penalties, decay and rates as in `fit`.

        Moments and counters live in `optimizer_state` and carry over from call to call, `fit` and
        `partial_fit` included, while the class of the optimizer stays the same.

        Parameters
        ----------
        optimizer : str or Optimizer, default "adam"
            A learning-rate schedule counts `steps_per_epoch` updates as one epoch.
        gradients : Gradients, dict by name, or (P,), optional
            Default: those that the newest `backward` returned, with what was changed in them since.
        steps_per_epoch : int, default 1

        Raises
        ------
        InputError
            There are no gradients, they do not fit, or the parameters have changed since `forward`.
        DivergenceError
            A weight became infinite or NaN; the weights are unchanged.
        """
        with self.alone:
            self._steps().update(self, optimizer, gradients, steps_per_epoch)

    def _steps(self) -> Steps:
        return self.of_this_thread("steps", Steps)

    # --- prediction ------------------------------------------------------------------------------

    @overload
    def predict(
        self, x: Inputs | Chunks | Dataset, *, return_std: Literal[False] = False
    ) -> NDArray[Any]: ...

    @overload
    def predict(
        self, x: Inputs | Chunks | Dataset, *, return_std: Literal[True]
    ) -> tuple[NDArray[Any], NDArray[Any]]: ...

    @while_active
    def predict(
        self, x: Inputs | Chunks | Dataset, *, return_std: bool = False
    ) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Return the outputs (N, O) for x (N, I), which are probabilities after softmax or sigmoid.

        Of a network with one output that was trained on targets (N,), they are (N,), so that
        ``net.predict(x) - y`` is what it seems; after targets (N, 1) they are (N, 1).

        With `return_std`, a network trained with ``gaussian_nll`` returns means and standard
        deviations of the targets, each (N, T), or (N,) after targets (N,). Of `Chunks`, a part of x
        is in memory at a time.
        """
        return_std = check_flag("return_std", return_std)
        outputs = self.predict_columns(x)
        if not return_std:
            return self.shaped(outputs)
        mean, std = self.output_schema.mean_and_std(outputs)
        return self.shaped(mean), self.shaped(std)

    @while_active
    def predict_columns(self, x: Inputs | Chunks | Dataset) -> NDArray[Any]:
        """Return what `predict` does, with two axes, (N, O), whatever it was trained on."""
        if isinstance(x, Chunks):
            outputs = chunk_pass.predict(self, x)
        else:
            rows = datasets.inputs_of(self.taken(x), self.preprocessor)
            values = self.preprocessor.transform(rows, self.dtype)
            outputs = self.backend_object.outputs(self.engine(), values)
        return self.preprocessor.decode(outputs, self.loss)

    @while_active
    def predict_quantiles(self, x: Inputs | Chunks | Dataset) -> dict[float, NDArray[Any]]:
        """Return the quantiles of a network trained with ``quantile``.

        The keys are the levels, the values (N, T): ``{0.1: ..., 0.5: ..., 0.9: ...}``, or (N,)
        after targets (N,).
        """
        found = self.output_schema.quantiles(self.predict_columns(x))
        return {level: self.shaped(values) for level, values in found.items()}

    @while_active
    def predict_labels(self, x: Inputs | Chunks | Dataset) -> NDArray[Any]:
        """Return the most probable label of each row (N,): texts or numbers, as in training.

        A network that knows no labels returns the classes' indices. One sigmoid output means the
        second label above 1/2; several ones are answers of their own, (N, O) of bool.
        """
        return self.output_schema.labels_of(self.predict_columns(x))

    @while_active
    def predict_one(self, row: ArrayLike | Mapping[str, Any]) -> NDArray[Any]:
        """Return the outputs (O,) for one row (I,), with low latency; a single one is (1,).

        Only the length of an array is checked. For a table, a row with names (a dict, a Series of
        pandas, a named tuple, a record) goes by name, other values by the order of training.
        """
        values = self.preprocessor.transform_row(row, self.dtype)
        outputs = self.preprocessor.decode(self.engine().predict_one(values), self.loss)
        if self._predict_one is None:
            self._answer_directly(_PREDICT_ONE)
        return outputs

    @while_active
    def evaluate(
        self,
        x: Inputs | Chunks | Dataset,
        y: ArrayLike | None = None,
        *,
        loss: AnyLoss | None = None,
        metrics: Sequence[str | Callable[[Any, Any], float]] = (),
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Return ``{"loss": ..., "accuracy": ...}`` (or ``"r2"``) and further `metrics`.

        `Chunks` hold their own targets and weights. A part of their rows is in memory at a time;
        further `metrics` keep the targets and outputs of all rows.
        """
        chosen_loss = self.loss_or_own(loss)
        made_metrics = metric_table.get(metrics, chosen_loss, self.plan.outputs)
        if self.preprocessor.target is not None:
            made_metrics = self.preprocessor.target.metrics_in_units(made_metrics, chosen_loss)
        if isinstance(x, Chunks):
            if y is not None or sample_weight is not None:
                raise InputError(out_of_core.OWN_TARGETS + ".")
            return chunk_pass.evaluate(self, x, chosen_loss, made_metrics)
        checked = self._samples(chosen_loss, x, y, sample_weight)
        rows = EvaluationSet.of(checked, self.backend_object, "")
        engine = self.engine_for(chosen_loss)
        job = TrainingJob(self, engine, rows.rows, chosen_loss, metrics=made_metrics)
        return rows.evaluate(job)

    @while_active
    def gradients(
        self,
        x: Inputs | Dataset,
        y: ArrayLike | None = None,
        *,
        loss: AnyLoss | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return the gradients of the loss that `evaluate` reports, by parameter name.

        As in prediction, dropout is off and batch normalisation uses its running statistics. With
        `Members` they are those of the mean of the members' losses, which training minimises.
        """
        chosen_loss = self.loss_or_own(loss)
        engine = self.engine_for(chosen_loss)
        checked = self._samples(chosen_loss, x, y, sample_weight)
        engine.gradient(self.backend_object.place(checked.rows), chosen_loss)
        flat = self.backend_object.back(engine.gradients, checked.rows.x)
        learns = self.plan.learns()
        flat = flat.copy() if learns is None else flat * np.asarray(learns, like=flat)
        return {t.name: t.view(flat) for t in self.plan.parameters}

    @while_active
    def input_gradients(self, x: Inputs, output: ArrayLike | None = None) -> NDArray[Any]:
        """Return the derivative of one output of each row by each of its inputs, (N, I).

        Parameters
        ----------
        x : (N, I), or a table
            For a table, the inputs are the columns in the preprocessor's ``feature_names``, and the
            outputs are in the unit of the targets.
        output : int or (N,) of int, optional
            Index of the output, for all rows or for each. Default: the largest of each row.
        """
        return input_gradients.input_gradients(self, x, output)

    @while_active
    def jacobian(self, x: Inputs) -> NDArray[Any]:
        """Return the derivative of every output by every input, (N, O, I).

        For a table, inputs and outputs are those of `input_gradients`.
        """
        return input_gradients.jacobian(self, x)

    @while_active
    def jacobian_one(self, row: ArrayLike | Mapping[str, Any]) -> NDArray[Any]:
        """Return the derivative of every output by every input for one row, (O, I), quickly.

        It takes what `predict_one` does, and returns what `jacobian` does but for rounding.
        """
        slopes = input_gradients.jacobian_one(self, row)
        if self._jacobian_one is None:
            self._answer_directly(_JACOBIAN_ONE)
        return slopes

    @while_active
    def calibrate(
        self,
        x: Inputs | Dataset,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Fit a temperature on held-out rows and fold it into the last layer.

        Predicted probabilities then match observed frequencies on average; the most probable class
        of a row stays the same. Use rows that the network was not trained on. The temperature is
        stored in `temperature`; a further call starts from it.

        Returns
        -------
        float
            The total temperature by which the last layer is now divided.
        """
        with self.alone:
            checked = self._samples(calibration.likelihood(self), x, y, sample_weight)
            found = calibration.fit_temperature(self, checked)
            calibration.apply_temperature(self, found)
            self.temperature = found * (self.temperature or 1.0)
            return self.temperature

    # --- saving ----------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str], *, optimizer: bool = False) -> None:
        """Write the network to one ``.safetensors`` file, which `fastnet.load` reads.

        The file holds weights, architecture, preprocessor, loss and label names, but no code; of a
        loss that is a function, its name. An existing file is replaced atomically.

        Parameters
        ----------
        optimizer : bool, default False
            Whether it also holds what training goes on from: `optimizer_state`, the rows that a
            running `Scaler` has counted, and `history`. Then further calls of `fit`, `partial_fit`
            and `update` on the loaded network, on the same backend, have the bits of those on the
            network itself. The file is two to three times as large.
        """
        model_file.write(Path(path), self.to_model_file(optimizer=optimizer))

    @while_active
    def to_model_file(self, *, optimizer: bool = False) -> ModelFile:
        """Return what `save` writes."""
        self.check_blocks()
        to_host = self.backend_object.to_host
        named = {**self.named_parameters(), **self.named_state()}
        return ModelFile(
            plan=self.plan,
            dtype=self.dtype,
            seed=self.seed,
            tensors={name: np.ascontiguousarray(to_host(v)) for name, v in named.items()},
            preprocessor=self.preprocessor,
            loss=self.loss,
            label_names=self.label_names,
            temperature=self.temperature,
            target_axes=self.target_axes,
            training=self._training_state() if optimizer else None,
        )

    def _training_state(self) -> TrainingState:
        """Return what training goes on from, on the host."""
        state, history = self.optimizer_state, self.history
        if state is not None:
            state = state.copy(lambda a: np.ascontiguousarray(self.backend_object.to_host(a)))
        scaling = getattr(self.preprocessor, "moments", None)
        if history is None:
            return TrainingState(state, scaling)
        return TrainingState(state, scaling, history.description(), history.arrays())

    # --- internals -------------------------------------------------------------------------------

    def _answer_directly(self, method: FunctionType) -> None:
        """Let a compiled method answer from now on instead of `method`, where the engine has one.

        It answers as long as the preprocessor and the parameters' buffer stay the same: whatever
        replaces one of them sets the slot to None, also while this method runs.
        """
        slot, preprocessor, engine = f"_{method.__name__}", self.preprocessor, self.engine()
        made = None
        if type(preprocessor) is Passthrough and preprocessor.target is None:
            made = engine.direct(Network, method, slot)
        setattr(self, slot, () if made is None else made)
        if preprocessor is not self.preprocessor or engine.parameters is not self.parameters:
            setattr(self, slot, None)

    def _samples(
        self, loss: Loss, x: Inputs | Dataset, y: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> Samples:
        """Return the rows, checked and encoded."""
        x, y, sample_weight = self.taken((x, y, sample_weight))
        sample_weight = datasets.weights_of(x, sample_weight)
        x, y = datasets.unpacked(x, y, self.preprocessor)
        values, targets = self.preprocessor.encode(x, y, self.dtype)
        checked = Samples.check(self.plan, self.dtype, loss, values, targets, sample_weight)
        return checked.weighted()


_PREDICT_ONE: Final = cast("FunctionType", Network.predict_one)
_JACOBIAN_ONE: Final = cast("FunctionType", Network.jacobian_one)
"""Methods in Python, which compiled ones may replace."""


def load(
    path: str | PathLike[str],
    *,
    backend: BackendName | Auto = "auto",
    loss: AnyLoss | None = None,
    device: int | None = None,
) -> Network:
    """Load a network that ``net.save`` wrote, on any backend.

    Parameters
    ----------
    device : int, optional
        Index of the GPU, if the backend has several.
    loss : str, Loss or f(output, target), optional
        The network's loss; default: that of the file. A file holds of a function only its name: a
        network whose loss it was predicts without it, and needs it to train and to evaluate.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or not a model file.
    BackendUnavailableError
        The backend cannot run here.
    """
    return from_model_file(model_file.read(Path(path)), path, loss).to(backend, device=device)


def from_model_file(
    content: ModelFile, path: str | PathLike[str], loss: AnyLoss | None = None
) -> Network:
    """Return the network that a model file holds, on NumPy; `path` is for messages."""
    network = Network(
        content.plan.layers,
        inputs=content.plan.inputs,
        dtype=content.dtype,
        seed=content.seed,
        backend="numpy",
    )
    for name, view in {**network.named_parameters(), **network.named_state()}.items():
        view[...] = content.tensors[name]
    try:
        network.check_blocks()
    except InputError as error:
        raise ModelFileError(f"{path}: {error}") from None
    network.preprocessor = content.preprocessor
    network.loss = content.loss if loss is None else loss
    network.label_names, network.temperature = content.label_names, content.temperature
    network.target_axes = content.target_axes
    if content.training is not None:
        _restore(network, path, content.training)
    return network


def _restore(network: Network, path: str | PathLike[str], training: TrainingState) -> None:
    """Give a network what training goes on from."""
    if training.state is not None:
        network.optimizer_state = training.state.copy(network.backend_object.own)
    if training.scaling is not None:
        if not isinstance(network.preprocessor, Scaler):
            raise ModelFileError(f"{path}: it has the rows so far of a scaler that is not there.")
        network.preprocessor = replace(network.preprocessor, moments=training.scaling)
    if training.history is not None:
        try:
            network.history = History.of_description(training.history, training.records or {})
        except (InputError, KeyError) as error:
            raise ModelFileError(f"{path}: its history is not valid: {error}") from None


def _read_layers(
    layers: Sequence[int] | Sequence[Layer],
    inputs: int | None,
    activation: ActivationName | None,
    output_activation: ActivationName | None,
) -> tuple[int, tuple[Layer, ...]]:
    """Return inputs and layers from either form of the argument `layers`."""
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
