"""`Model`: parameters, preprocessor and backend of a network, for training and inspection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet import backends
from fastnet.backends.base import Backend
from fastnet.backends.engine import Engine
from fastnet.backends.function_engine import FunctionEngine
from fastnet.errors import InputError
from fastnet.nn import function_loss, losses, strips
from fastnet.nn.batch import Array
from fastnet.nn.function_loss import AnyLoss, FunctionLoss
from fastnet.nn.layers import Dense, Layer
from fastnet.nn.losses import Loss
from fastnet.nn.member_plan import MemberPlan
from fastnet.nn.memory import initial_bytes
from fastnet.nn.optimizer_state import OptimizerState, continue_with
from fastnet.nn.optimizers import LBFGS, Optimizer
from fastnet.nn.plan import Plan
from fastnet.preprocessing import validation
from fastnet.preprocessing.base import Passthrough, Preprocessor
from fastnet.preprocessing.outputs import OutputSchema
from fastnet.utils import device_arrays, memory
from fastnet.utils.device_arrays import is_on_gpu
from fastnet.utils.names import Auto, BackendName, DTypeName, PrecisionName
from fastnet.utils.one_thread import OneThread
from fastnet.utils.param_validation import copy_into, refuse_masked

T = TypeVar("T")
P = ParamSpec("P")


def while_active(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method of a model run while the model's device is the current one."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        model: Any = args[0]
        with model.active():
            return method(*args, **kwargs)

    return call


class Views(list[Array]):
    """Views into the parameters of a network; assignment to one of them changes the network."""

    def __init__(
        self, views: list[Array], model: Model, outside: list[NDArray[np.bool_] | None]
    ) -> None:
        super().__init__(views)
        self._model, self._outside = model, outside

    def __setitem__(self, index: Any, values: Any) -> None:
        """Copy `values`, which have the shape of that view, to the network."""
        view: Any = self[index]
        if isinstance(view, list):
            raise InputError("assign to one layer at a time, as in net.weights[0] = values.")
        if values is view:  # after ``net.weights[0] *= 2``
            return
        refuse_masked("the array", values)
        array = np.asarray(device_arrays.on_host("the values", values), view.dtype)
        array = validation.finite("the values", array)
        if array.shape != view.shape:
            raise InputError(f"expected values of shape {view.shape}, got {array.shape}.")
        strips.check_outside(array, self._outside[index])
        with self._model.active():
            view[...] = self._model.backend_object.asarray(array)


class Model:
    """A network's plan, with its parameters on one backend.

    Parameters
    ----------
    plan : Plan
    dtype, seed, backend, precision, device
        See `fastnet.Network`.

    Attributes
    ----------
    parameters : (P,) array of the backend
        All parameters in one flat buffer: first the weights of dense layers, then the rest.
    state : (S,) array of the backend
        Running statistics of batch normalisation.
    optimizer_state : OptimizerState or None
        Moments and counters of the last optimizer.
    preprocessor : Preprocessor
        It turns a user's data into inputs.
    loss : Loss or None
        The loss of the last training; a name, a loss or a function may be assigned.
    target_axes : {1, 2}
        The axes of the targets of the last training; those of one target may be (N,).
    label_names : tuple of str or None
    temperature : float or None
        The temperature by which calibration has divided the last layer.
    """

    # The last two are what compiled methods look at; see `Engine.direct`.
    __slots__ = ("__dict__", "__weakref__", "_jacobian_one", "_predict_one")

    target_axes: int = 2

    def __init__(
        self,
        plan: Plan,
        *,
        dtype: DTypeName | type | np.dtype[Any] = "float32",
        seed: int = 0,
        backend: BackendName | Auto = "auto",
        precision: PrecisionName = "float32",
        device: int | None = None,
    ) -> None:
        dtype = validation.dtype_of(dtype)
        memory.require(initial_bytes(plan, dtype.itemsize), "the network")
        chosen = backends.choose(backend, plan, precision=precision, device=device)
        self._start(plan, dtype, validation.seed_of(seed), chosen, precision)

    def _start(
        self,
        plan: Plan,
        dtype: np.dtype[Any],
        seed: int,
        backend: Backend,
        precision: PrecisionName,
    ) -> None:
        """Set the attributes of a network that was not trained yet."""
        self.plan, self.dtype, self.seed = plan, dtype, seed
        self.preprocessor = Passthrough(plan.inputs)
        self._loss: Loss | None = None
        self.label_names: tuple[str, ...] | None = None
        self.temperature: float | None = None
        self._set_backend(backend, precision)
        self.initialize()

    def renewed(self, plan: Plan, seed: int) -> Self:
        """Return a new network of that plan: of this one's dtype and classes, where it is."""
        other = object.__new__(type(self))
        other._start(plan, self.dtype, seed, self.backend_object, self.precision)
        other.label_names = self.label_names
        return other

    def _set_backend(self, backend: Backend, precision: PrecisionName) -> None:
        backends.check_precision(backend, precision, self.dtype)
        self.backend_object, self.precision = backend, precision
        self.active = backend.turns()
        self.alone = OneThread()
        self.forget_engines()

    def initialize(self, seed: int | None = None) -> None:
        """Reset weights and optimizer state to their initial values, with a new `seed` if given."""
        if seed is not None:
            self.seed = validation.seed_of(seed)
        own = self.backend_object.own
        with self.active():
            self._parameters: Array = own(self.plan.initial_parameters(self.seed, self.dtype))
            self._state: Array = own(self.plan.initial_state(self.dtype))
        self.optimizer_state: OptimizerState | None = None
        self.temperature = None
        self.forget_engines()

    def forget_engines(self) -> None:
        """Free the workspaces, so that nothing computes with the arrays of before."""
        self._predict_one: object = None
        self._jacobian_one: object = None
        self._local = threading.local()

    # --- properties ------------------------------------------------------------------------------

    @property
    def parameters(self) -> Array:
        """All parameters in one flat buffer (P,). Assignment copies values into the buffer.

        The values may be on the host, on a GPU, or on the backend of another network.

        Raises
        ------
        InputError
            Values of another shape, or a weight outside of its layer's blocks that is not 0.
        """
        return self._parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        self._assign("parameters", self._parameters, values, self._check_blocks)

    @property
    def state(self) -> Array:
        """The running statistics in one flat buffer (S,). Assignment copies values into it."""
        return self._state

    @state.setter
    def state(self, values: ArrayLike) -> None:
        self._assign("state", self._state, values)

    def taken(self, values: Any, name: str = "x") -> Any:
        """Return a caller's array on a GPU as the backend takes it, and other values as they are.

        Of a plain tuple, such as ``(x, y)``, it is each of its values.
        """
        if type(values) is tuple:
            return tuple(self.taken(value, name) for value in values)
        return self.backend_object.taken(name, values) if is_on_gpu(values) else values

    def _assign(
        self,
        name: str,
        buffer: Array,
        values: Any,
        check: Callable[[NDArray[Any]], None] = lambda changed: None,
    ) -> None:
        """Copy values of the shape of a buffer, or that broadcast to it, into it, once checked."""
        changed = np.empty(buffer.shape, buffer.dtype)
        copy_into(name, changed, device_arrays.on_host(name, values))
        check(changed)
        with self.active():
            buffer[...] = self.backend_object.asarray(changed)

    @property
    def preprocessor(self) -> Preprocessor:
        """It turns a user's data into inputs; another one may be assigned."""
        return self.__dict__["preprocessor"]  # type: ignore[no-any-return]

    @preprocessor.setter
    def preprocessor(self, preprocessor: Preprocessor) -> None:
        self.__dict__["preprocessor"] = preprocessor
        self._predict_one = self._jacobian_one = None

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
        """The meaning of the outputs: classes, quantiles, or columns with their units."""
        activation = self.plan.output_activation.name
        labels, target = self.label_names, self.preprocessor.target
        return OutputSchema(self.outputs, activation, self.loss, labels, target)

    def shaped(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values (N, T) in the shape of the targets of the training: one column may be (N,).

        Several columns, such as the probabilities of classes, stay as they are.
        """
        return values[:, 0] if self.target_axes == 1 and values.shape[1] == 1 else values

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.backend_object.name

    @property
    def weights(self) -> Views:
        """The weights (I, O) of every dense layer; ``net.weights[0] = w`` sets those of one.

        Of `fastnet.Members`, the last ones are (k, I, O).
        """
        return self._views("weight")

    @property
    def biases(self) -> Views:
        """The biases (O,) of every dense layer; ``net.biases[0] = b`` sets those of one."""
        return self._views("bias")

    def _views(self, kind: str) -> Views:
        """Return views of the parameters of dense layers of that kind."""
        plan = self.plan
        of_dense = (t for t in plan.parameters if isinstance(plan.chain[t.op], Dense))
        chosen = [tensor for tensor in of_dense if tensor.kind == kind]
        mask = strips.outside(self.plan)
        outside = [None if mask is None else tensor.view(mask) for tensor in chosen]
        views = [tensor.view(self.parameters) for tensor in chosen]
        return Views(views, self, outside)

    def check_blocks(self) -> None:
        """Raise `InputError` if a weight outside of its layer's blocks is not 0.

        Assignment refuses that, but the views are arrays that may be written to.
        """
        if strips.outside(self.plan) is not None:
            self._check_blocks(self.backend_object.to_host(self.parameters))

    def _check_blocks(self, parameters: NDArray[Any]) -> None:
        outside = strips.outside(self.plan)
        if outside is not None:
            strips.check_outside(parameters, outside)

    def named_parameters(self) -> dict[str, Array]:
        """Return all parameters by name (``layers.0.weight``, ...), as views."""
        return {tensor.name: tensor.view(self.parameters) for tensor in self.plan.parameters}

    def named_state(self) -> dict[str, Array]:
        """Return the running statistics by name (``layers.1.running_mean``, ...), as views."""
        return {tensor.name: tensor.view(self.state) for tensor in self.plan.state}

    @property
    def loss(self) -> Loss | None:
        """The loss of the last training; a name, a loss or a function may be assigned."""
        return self._loss

    @loss.setter
    def loss(self, loss: AnyLoss | None) -> None:
        self._loss = self._suitable(function_loss.read(loss, self.plan.output_activation.name))

    def _suitable(self, loss: T) -> T:
        """Return the loss; raise `InputError` for one that does not go with `fastnet.Members`."""
        if isinstance(self.plan, MemberPlan):
            self.plan.require_loss(loss)
        return loss

    @property
    def default_loss(self) -> Loss:
        """The usual loss of the output activation."""
        return losses.get(None, self.plan.output_activation.name)

    def loss_or_own(self, loss: AnyLoss | None) -> Loss:
        """Return the loss of that name or function, by default the loss of the last training."""
        chosen = self.loss if loss is None else loss
        return self._suitable(function_loss.get(chosen, self.plan.output_activation.name))

    def __repr__(self) -> str:
        layers = ", ".join(str(layer) for layer in self.layers)
        return (
            f"{type(self).__name__}([{layers}], inputs={self.inputs}, dtype={self.dtype.name!r}, "
            f"seed={self.seed}, backend={self.backend!r})  # {self.plan.size:,} parameters"
        )

    def summary(self) -> str:
        """Return a text: layers, shapes, activations, numbers of parameters, inputs and outputs.

        A console or a notebook shows it as it is; in a program, print it.

        Examples
        --------
        >>> import fastnet as fn
        >>> layers = [fn.Dense(8, "relu"), fn.Dense(3, "softmax")]
        >>> fn.Network(layers, inputs=4, backend="numpy").summary()
        layer     activation  shape   parameters
        0  dense  relu        4 -> 8          40
        1  dense  softmax     8 -> 3          27
        <BLANKLINE>
        parameters  67
        inputs      4, as they are
        outputs     3 (softmax)
        loss        not trained yet
        computed    in float32 on numpy
        """
        text: str = self._described().text()
        return text

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        content: str = self._described().html(type(self).__name__)
        return content

    def _described(self) -> Any:
        # Imported here, because `import fastnet` would take 6 % longer with it.
        from fastnet.report.summary import Described

        what = self.preprocessor, self.output_schema, self.temperature
        return Described(self.plan, self.dtype, self.backend, *what)

    # --- moving and copying ----------------------------------------------------------------------

    def to(
        self,
        backend: BackendName | Auto,
        *,
        precision: PrecisionName | None = None,
        device: int | None = None,
    ) -> Self:
        """Return the network on another backend, with its optimizer state.

        None keeps the present `precision`, and of a network on a GPU the `device`. If nothing
        changes, the network itself is returned.
        """
        precision = self.precision if precision is None else precision
        target = backends.choose(backend, self.plan, precision=precision, device=device)
        if device is None and target.name == self.backend:
            target = self.backend_object
        if target is self.backend_object and precision == self.precision:
            return self
        return self._copy_to(target, precision)

    def beside(self, other: Model) -> Self:
        """Return the network on the backend of another one, with its device and precision."""
        if (other.backend_object, other.precision) == (self.backend_object, self.precision):
            return self
        return self._copy_to(other.backend_object, other.precision)

    def copy(self) -> Self:
        """Return an independent copy."""
        return self._copy_to(self.backend_object, self.precision)

    __copy__ = copy

    def _copy_to(self, target: Backend, precision: PrecisionName) -> Self:
        def move(values: Array) -> Array:
            return target.own(self.backend_object.to_host(values))

        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._set_backend(target, precision)
        with self.active(), other.active():
            other._parameters, other._state = move(self.parameters), move(self.state)
            if self.optimizer_state is not None:
                other.optimizer_state = self.optimizer_state.copy(move)
        return other

    @while_active
    def snapshot(self, into: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
        """Return copies of parameters and running statistics, written to `into` if given."""
        if into is None:
            return self.parameters.copy(), self.state.copy()
        for kept, values in zip(into, (self.parameters, self.state), strict=True):
            on_host = isinstance(kept, np.ndarray)
            kept[...] = self.backend_object.to_host(values) if on_host else values
        return into

    @while_active
    def restore(self, snapshot: tuple[Array, Array]) -> None:
        """Restore the parameters and running statistics that `snapshot` returned."""
        for values, kept in zip((self.parameters, self.state), snapshot, strict=True):
            values[...] = self.backend_object.asarray(self.taken(kept, "the snapshot"))

    @while_active
    def is_finite(self) -> bool:
        """Return whether all parameters and running statistics are finite."""
        for values in (self.parameters, self.state):
            # Large finite values may overflow the sum of squares, so each element is checked.
            with np.errstate(all="ignore"):
                square = float(values @ values)
            finite = np.isfinite(square) or np.isfinite(self.backend_object.to_host(values)).all()
            if not finite:
                return False
        return True

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_local"], state["alone"], state["backend_object"], state["active"]
        to_host = self.backend_object.to_host
        with self.active():
            state["_parameters"], state["_state"] = to_host(self.parameters), to_host(self.state)
            if self.optimizer_state is not None:
                state["optimizer_state"] = self.optimizer_state.copy(to_host)
        return {"backend": self.backend, **state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        name = state.pop("backend")
        self.__dict__.update(state)
        self._set_backend(backends.get_backend(name), self.precision)

        # Arrays that joblib maps from a file are read-only, and kernels write by address.
        own = self.backend_object.own
        with self.active():
            self._parameters, self._state = own(self._parameters), own(self._state)
            if self.optimizer_state is not None:
                self.optimizer_state = self.optimizer_state.copy(own)

    def members(self) -> list[Self]:
        """Return the members of a network with `fastnet.Members`, each as a plain network.

        The mean of what they predict is what the network predicts, but for rounding, and
        ``fn.Ensemble(net.members())`` is an ensemble of them. A plain network is its only member.
        """
        plan, made = self.plan, list[Self]()
        if not isinstance(plan, MemberPlan):
            return [self.copy()]
        whole = self.backend_object.to_host(self.parameters)
        for number in range(plan.members):
            one, flat = self.copy(), np.empty(plan.member.size, self.dtype)
            for part in plan.parts:
                part.fold(whole, number, flat)
            one.plan, one.optimizer_state = plan.member, None
            one._parameters = self.backend_object.own(flat)
            made.append(one)
        return made

    # --- computation -----------------------------------------------------------------------------

    def engine(self, threads: int | None = None, *, use: str = "engine") -> Engine:
        """Return this thread's own engine, so that Python threads can share one network.

        Engines for different uses keep their activations apart.
        """
        try:  # a prediction of one row takes little longer than a function that makes one
            engine: Engine = self._local.__dict__[use]
        except KeyError:
            where = self.plan, self.parameters, self.state
            engine = self.backend_object.engine(*where, precision=self.precision)
            self._local.__dict__[use] = engine
        engine.threads = threads
        return engine

    def engine_for(self, loss: Loss, threads: int | None = None) -> Engine:
        """Return this thread's engine for all that needs the loss, which may be a function."""
        engine = self.engine(threads)
        if isinstance(loss, FunctionLoss):
            return FunctionEngine(engine, self.backend_object)
        return engine

    def of_this_thread(self, name: str, make: Callable[[], T]) -> T:
        """Return an object that this thread alone uses, made on first use.

        It ends with the arrays of the network: copies, other backends and `initialize` begin anew.
        """
        kept: dict[str, T] = self._local.__dict__
        if name not in kept:
            kept[name] = make()
        return kept[name]

    def state_for(self, optimizer: Optimizer | LBFGS) -> OptimizerState:
        """Set and return the optimizer state from which training continues."""

        def zeros(shape: tuple[int, ...]) -> Array:
            return self.backend_object.zeros(shape, self.dtype)

        before, size = self.optimizer_state, self.plan.size
        self.optimizer_state = continue_with(before, optimizer, size, zeros)
        return self.optimizer_state
