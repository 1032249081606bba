"""Optimizers: one class each, with the update formula in NumPy.

The NumPy formulas are the definition. ``kernels/cpu/optimizers.py`` and
``kernels/cuda/optimizers.cu`` implement the same formulas, selected by ``code``. An update is one
pass over the flat buffers. These steps come before it, with the gradient g of the loss:

1. clip: ``g *= min(1, clip_norm / ||g||)``, with the norm of the whole gradient,
2. penalties, on the weights w of dense layers only: ``g += l2 w + l1 sign(w)``,
3. decoupled decay (Loshchilov and Hutter, 2019), likewise: ``w -= learning_rate weight_decay w``.

``step_coefficients`` computes all numbers that depend on the step alone (the learning rate, Adam's
bias corrections) in float64 for many steps at once. So kernels compute no powers, and backends
cannot differ in them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError, suggest
from fastnet.kernels import abi
from fastnet.nn import schedules
from fastnet.nn.schedules import Schedule
from fastnet.utils.names import OptimizerName
from fastnet.utils.param_validation import check_flag, check_float, check_int, shown

Array = NDArray[Any]


@dataclass(frozen=True)
class Optimizer(ABC):
    """Base class of the rules by which gradients change the parameters.

    Parameters
    ----------
    learning_rate : float or Schedule
    l1, l2 : float, default 0
        Penalties ``l1 sum|w| + l2/2 sum w^2`` on the weights of dense layers, but not on biases or
        normalisation layers. They add to the gradient, not to the reported loss.
    weight_decay : float, default 0
        Decoupled decay of the same weights.
    clip_norm : float or None, default None
        Largest norm of the gradient of the loss.

    Attributes
    ----------
    n_moments : int
        Number of moment buffers, each as long as the parameters.
    """

    learning_rate: float | Schedule = 1e-3
    _: KW_ONLY
    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None

    name: ClassVar[str]
    code: ClassVar[int]
    formula: ClassVar[str]
    n_moments: ClassVar[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", schedules.get(self.learning_rate))
        for name in ("l1", "l2", "weight_decay"):
            _set(self, name, least=0)
        if self.clip_norm is not None:
            _set(self, "clip_norm", above=0)

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        assert isinstance(self.learning_rate, Schedule)
        return self.learning_rate

    @property
    def hyperparameters(self) -> NDArray[np.float64]:
        """The (8,) numbers that all steps have in common, in the layout of ``kernels/abi.py``."""
        values = np.zeros(abi.CONSTANTS)
        values[abi.L1] = self.l1
        values[abi.L2] = self.l2
        values[abi.CLIP_NORM] = math.inf if self.clip_norm is None else self.clip_norm
        self._fill_hyperparameters(values)
        return values

    def _fill_hyperparameters(self, values: NDArray[np.float64]) -> None:
        """Write the hyperparameters of this class."""

    def step_coefficients(self, first_step: int, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (n, 4) coefficients of n steps, in the layout of ``kernels/abi.py``.

        Parameters
        ----------
        first_step : int
            Number of the first of these steps, counting from 1.
        rates : (n,) float64
            Learning rate of each step.
        """
        table = np.zeros((len(rates), abi.COEFFICIENTS))
        table[:, abi.RATE] = rates
        with np.errstate(all="ignore"):  # infinity makes the weights so, which training checks
            table[:, abi.DECAY] = rates * self.weight_decay
            self._fill_coefficients(table, np.arange(first_step, first_step + len(rates)), rates)
        return table

    def _fill_coefficients(
        self, table: NDArray[np.float64], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> None:
        """Write the coefficients of this class."""

    @abstractmethod
    def step(self, w: Array, g: Array, moments: Array, c: Sequence[float], s: Array) -> None:
        """Update w and the moments in place.

        Parameters
        ----------
        w, g : (P,)
            Parameters and their gradient; g may be overwritten.
        moments : (n_moments, P)
        c : four floats
            A row of `step_coefficients`.
        s : (P,)
            Scratch.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, optionally with momentum or Nesterov momentum.

    ``m = momentum m + g``; ``w -= rate m``, or with `nesterov` ``w -= rate (g + momentum m)``
    (Sutskever et al., 2013, in the form of Nesterov's look-ahead that needs no second gradient).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
    momentum : float, default 0
    nesterov : bool, default False
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    name: ClassVar[str] = "sgd"
    code: ClassVar[int] = abi.SGD
    formula: ClassVar[str] = "m = mu m + g; w -= rate m"
    n_moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _set(self, "momentum", least=0, below=1)
        object.__setattr__(self, "nesterov", check_flag("nesterov", self.nesterov))
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov needs a momentum above 0, got momentum=0.")

    def _fill_hyperparameters(self, values: NDArray[np.float64]) -> None:
        values[abi.MOMENTUM] = self.momentum
        values[abi.NESTEROV] = float(self.nesterov)

    def step(self, w: Array, g: Array, moments: Array, c: Sequence[float], s: Array) -> None:
        m = moments[0]
        m *= self.momentum
        m += g
        np.copyto(s, m)
        if self.nesterov:
            s *= self.momentum
            s += g
        s *= c[abi.RATE]
        w -= s


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Divide the gradient by its running root mean square (Tieleman and Hinton, 2012).

    ``v = rho v + (1 - rho) g^2``; ``w -= rate g / (sqrt(v) + epsilon)``.
    """

    learning_rate: float | Schedule = 1e-3
    rho: float = 0.99
    epsilon: float = 1e-8

    name: ClassVar[str] = "rmsprop"
    code: ClassVar[int] = abi.RMSPROP
    formula: ClassVar[str] = "v = rho v + (1 - rho) g^2; w -= rate g / (sqrt(v) + eps)"
    n_moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _set(self, "rho", least=0, below=1)
        _set(self, "epsilon", above=0)

    def _fill_hyperparameters(self, values: NDArray[np.float64]) -> None:
        values[abi.BETA2] = self.rho
        values[abi.EPSILON] = self.epsilon

    def step(self, w: Array, g: Array, moments: Array, c: Sequence[float], s: Array) -> None:
        v = moments[0]
        _running_mean_of_squares(v, g, self.rho, s)
        np.sqrt(v, out=s)
        s += self.epsilon
        np.divide(g, s, out=s)
        s *= c[abi.RATE]
        w -= s


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Divide the gradient by the root of its sum of squares so far (Duchi et al., 2011).

    ``v += g^2``; ``w -= rate g / (sqrt(v) + epsilon)``.
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    name: ClassVar[str] = "adagrad"
    code: ClassVar[int] = abi.ADAGRAD
    formula: ClassVar[str] = "v += g^2; w -= rate g / (sqrt(v) + eps)"
    n_moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _set(self, "epsilon", above=0)

    def _fill_hyperparameters(self, values: NDArray[np.float64]) -> None:
        values[abi.EPSILON] = self.epsilon

    def step(self, w: Array, g: Array, moments: Array, c: Sequence[float], s: Array) -> None:
        v = moments[0]
        np.multiply(g, g, out=s)
        v += s
        np.sqrt(v, out=s)
        s += self.epsilon
        np.divide(g, s, out=s)
        s *= c[abi.RATE]
        w -= s


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015).

    ``m = beta1 m + (1 - beta1) g``; ``v = beta2 v + (1 - beta2) g^2``;
    ``w -= rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)``.

    `weight_decay` is decoupled, so ``Adam(weight_decay=0.01)`` is `AdamW`.
    """

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    name: ClassVar[str] = "adam"
    code: ClassVar[int] = abi.ADAM
    formula: ClassVar[str] = "w -= rate m^ / (sqrt(v^) + eps)"
    n_moments: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        _set(self, "beta1", least=0, below=1)
        _set(self, "beta2", least=0, below=1)
        _set(self, "epsilon", above=0)

    def _fill_hyperparameters(self, values: NDArray[np.float64]) -> None:
        values[abi.BETA1] = self.beta1
        values[abi.BETA2] = self.beta2
        values[abi.EPSILON] = self.epsilon

    def _fill_coefficients(
        self, table: NDArray[np.float64], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> None:
        table[:, abi.RATE] = rates / (1.0 - self.beta1**steps)
        table[:, abi.SCALE] = 1.0 / np.sqrt(1.0 - self.beta2**steps)

    def step(self, w: Array, g: Array, moments: Array, c: Sequence[float], s: Array) -> None:
        m, v = moments
        _running_mean_of_squares(v, g, self.beta2, s)
        m *= self.beta1
        np.multiply(g, 1.0 - self.beta1, out=s)
        m += s
        np.sqrt(v, out=s)
        s *= c[abi.SCALE]
        s += self.epsilon
        np.divide(m, s, out=s)
        s *= c[abi.RATE]
        w -= s


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default (Loshchilov and Hutter, 2019)."""

    _: KW_ONLY
    weight_decay: float = 0.01

    name: ClassVar[str] = "adamw"


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam with Nesterov momentum (Dozat, 2016, with a constant beta1).

    The mean of `Adam` becomes ``beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t)``.
    """

    name: ClassVar[str] = "nadam"
    code: ClassVar[int] = abi.NADAM
    formula: ClassVar[str] = "w -= rate (beta1 m^ + (1 - beta1) g^) / (sqrt(v^) + eps)"

    def _fill_coefficients(
        self, table: NDArray[np.float64], steps: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> None:
        table[:, abi.RATE] = rates * self.beta1 / (1.0 - self.beta1 ** (steps + 1))
        table[:, abi.RATE_GRADIENT] = rates * (1.0 - self.beta1) / (1.0 - self.beta1**steps)
        table[:, abi.SCALE] = 1.0 / np.sqrt(1.0 - self.beta2**steps)

    def step(self, w: Array, g: Array, moments: Array, c: Sequence[float], s: Array) -> None:
        m, v = moments
        _running_mean_of_squares(v, g, self.beta2, s)
        m *= self.beta1
        np.multiply(g, 1.0 - self.beta1, out=s)
        m += s
        g *= c[abi.RATE_GRADIENT]
        np.multiply(m, c[abi.RATE], out=s)
        g += s
        np.sqrt(v, out=s)
        s *= c[abi.SCALE]
        s += self.epsilon
        g /= s
        w -= g


@dataclass(frozen=True)
class Lion(Optimizer):
    """Move by the sign of an interpolated momentum (Chen et al., 2023).

    ``w -= rate sign(beta1 m + (1 - beta1) g)``; ``m = beta2 m + (1 - beta2) g``.

    Where a gradient is zero up to rounding, as that of a bias in front of batch normalisation, its
    sign is one of the rounding, and the parameter moves by the whole rate all the same. So backends
    and numbers of threads that round differently may differ there by whole steps, not by digits.
    """

    learning_rate: float | Schedule = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99

    name: ClassVar[str] = "lion"
    code: ClassVar[int] = abi.LION
    formula: ClassVar[str] = "w -= rate sign(beta1 m + (1 - beta1) g)"
    n_moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _set(self, "beta1", least=0, below=1)
        _set(self, "beta2", least=0, below=1)

    def _fill_hyperparameters(self, values: NDArray[np.float64]) -> None:
        values[abi.BETA1] = self.beta1
        values[abi.BETA2] = self.beta2

    def step(self, w: Array, g: Array, moments: Array, c: Sequence[float], s: Array) -> None:
        m = moments[0]
        np.multiply(m, self.beta1, out=s)
        m *= self.beta2
        # s = sign(beta1 m + (1 - beta1) g), then g = (1 - beta2) g
        w_rate = c[abi.RATE]
        g *= 1.0 - self.beta1
        s += g
        g *= (1.0 - self.beta2) / (1.0 - self.beta1)
        m += g
        np.sign(s, out=s)
        s *= w_rate
        w -= s


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS on the whole data set (Liu and Nocedal, 1989), by SciPy's solver.

    Every evaluation computes the full-batch loss and gradient on the network's backend; ``epochs``
    bounds the iterations. It suits small, smooth problems without dropout, and needs SciPy (``pip
    install scipy``).

    Parameters
    ----------
    l1, l2 : float, default 0
        Penalties as for the other optimizers; the kinks of l1 slow the solver down.
    history_size : int, default 10
        Number of corrections that the solver keeps.
    tolerance : float, default 1e-9
        Stop when the relative decrease of the objective in one iteration is below this.
    gradient_tolerance : float, default 1e-7
        Stop when no element of the gradient exceeds this.
    line_search_steps : int, default 20
    evaluations : int, default 15000
        Stop after about this many evaluations of loss and gradient, one or more per iteration.
    """

    l1: float = 0.0
    l2: float = 0.0
    history_size: int = 10
    tolerance: float = 1e-9
    gradient_tolerance: float = 1e-7
    line_search_steps: int = 20
    evaluations: int = 15000

    name: ClassVar[str] = "lbfgs"
    n_moments: ClassVar[int] = 0

    def __post_init__(self) -> None:
        for name in ("l1", "l2", "tolerance", "gradient_tolerance"):
            _set(self, name, least=0)
        for name in ("history_size", "line_search_steps", "evaluations"):
            object.__setattr__(self, name, check_int(name, getattr(self, name)))


OPTIMIZERS: Final[dict[str, type[Optimizer] | type[LBFGS]]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "lion": Lion,
    "lbfgs": LBFGS,
}


def get(optimizer: OptimizerName | Optimizer | LBFGS) -> Optimizer | LBFGS:
    """Return `optimizer` itself, or a default instance of the class of that name."""
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise InputError(f"unknown optimizer {optimizer!r}{suggest(optimizer, OPTIMIZERS)}")
        return OPTIMIZERS[optimizer]()
    if not isinstance(optimizer, Optimizer | LBFGS):
        raise InputError(f"optimizer must be a name or an Optimizer, got {shown(optimizer)}.")
    return optimizer


def _running_mean_of_squares(v: Array, g: Array, rho: float, s: Array) -> None:
    """Write ``rho v + (1 - rho) g^2`` to v."""
    v *= rho
    np.multiply(g, g, out=s)
    s *= 1.0 - rho
    v += s


def _set(owner: Any, name: str, **bounds: float) -> None:
    """Check a field and store it as a float."""
    object.__setattr__(owner, name, check_float(name, getattr(owner, name), **bounds))
