"""Loss functions: one class each, with the formula and its derivative in NumPy.

The NumPy formulas are the definition. ``kernels/cpu/losses.py`` and ``kernels/cuda/losses.cu``
implement the same formulas, selected by ``code`` and given ``hyperparameters``.

A loss is the mean over rows, and over outputs too unless the class says otherwise; with sample
weights it is ``sum(weight * row_loss) / sum(weight)``. With its `fused_activation` a loss computes
the gradient with respect to z, in a form that neither overflows nor cancels; with any other output
activation, with respect to y. Losses allocate nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.errors import InputError, suggest
from fastnet.kernels import abi
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.loss_arrays import LossArrays, derivative_by_outputs
from fastnet.utils.device_arrays import on_host
from fastnet.utils.names import ActivationName, LossName
from fastnet.utils.param_validation import check_flag, check_float, shown
from fastnet.utils.serialize import build, describe

Array = NDArray[Any]

LOG_VARIANCE_FLOOR: Final = math.log(1e-6)
"""`GaussianNLL` treats smaller variances as 1e-6, as PyTorch's ``GaussianNLLLoss`` does."""


@dataclass(frozen=True)
class Loss(ABC):
    """Base class of the functions that training minimises.

    Attributes
    ----------
    name, formula : str
        The formula is that of one element with the target t.
    code : int
        Its number in the kernels.
    output_activations : tuple of str
        The output activations it can be used with.
    fused_activation : str or None
        The output activation with which loss and gradient are computed from z.
    metric : {"accuracy", "r2", None}
        The metric that training reports. The kernels add up its raw form: correct predictions or
        squared errors.
    """

    name: ClassVar[str]
    code: ClassVar[int]
    formula: ClassVar[str]
    output_activations: ClassVar[tuple[str, ...]]
    fused_activation: ClassVar[ActivationName | None] = None
    metric: ClassVar[Literal["accuracy", "r2"] | None] = "r2"

    @property
    def output_activation(self) -> ActivationName:
        """The default activation of the last layer for this loss."""
        return self.fused_activation or "identity"

    @property
    def title(self) -> str:
        """The name as a reader sees it."""
        return self.name

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers that the kernels need beside the arrays."""
        return ()

    @property
    def outputs_per_target(self) -> int:
        """Number of network outputs for each target column."""
        return 1

    @abstractmethod
    def gradient(self, h: LossArrays) -> None:
        """Write the loss of each row to `row` and its gradient to `d`."""

    def value_and_gradient(
        self,
        output: Any,
        target: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        logits: bool = False,
    ) -> tuple[float, Array]:
        """Return the loss of some rows as ``fit`` computes it, and its derivative by the outputs.

        Parameters
        ----------
        output : (B, O) of float
            Outputs of the network, such as `Network.forward` returns. An array of CuPy is copied to
            the host and its derivative back.
        target : (B, T) of float, (B,) where T is 1, or (B,) of int
            Class indices, for ``cross_entropy``; else numbers.
        sample_weight : (B,) of float, optional
        logits : bool, default False
            Return the derivative by the pre-activations of the `fused_activation`, which neither
            overflows nor cancels: what ``fit`` uses, and what ``net.backward(..., logits=True)``
            takes.

        Returns
        -------
        (float, (B, O) array)

        Examples
        --------
        >>> import fastnet as fn
        >>> fn.losses.MSE().value_and_gradient([[1.0], [3.0]], [2.0, 2.0])
        (1.0, array([[-1.],
               [ 1.]]))
        """
        if hasattr(output, "get") and hasattr(output, "set"):
            value, found = self.value_and_gradient(
                output.get(), target, sample_weight, logits=logits
            )
            gradient = output.copy()
            gradient.set(found)
            return value, gradient
        if check_flag("logits", logits) and self.fused_activation is None:
            raise InputError(f"the loss {self.name!r} has no form by logits: leave out logits.")
        labels = self.name == "cross_entropy"
        h = LossArrays.of(output, target, self.fused_activation, self.outputs_per_target, labels)
        self.gradient(h)
        if self.fused_activation is not None and not logits:
            derivative_by_outputs(self.fused_activation, h.d, h.y)
        if sample_weight is None:
            return float(h.row.sum(dtype=np.float64) / len(h.y)), h.d * (1.0 / len(h.y))
        weight = np.asarray(on_host("sample_weight", sample_weight), h.y.dtype)
        total = float(weight.sum(dtype=np.float64))
        if weight.shape != (len(h.y),) or not total > 0 or weight.min() < 0:
            raise InputError(
                f"sample_weight must be {len(h.y)} numbers, at least 0 and not all of them 0."
            )
        value = float((h.row * weight).sum(dtype=np.float64) / total)
        return value, h.d * weight[:, None] * (1.0 / total)

    def score_rows(self, h: LossArrays) -> None:
        """Write the score of each row to `row`, by default its mean squared error."""
        assert h.target is not None
        outputs = h.target.shape[1]
        e = h.s[:, :outputs]
        np.subtract(h.y[:, :outputs], h.target, out=e)
        np.einsum("bo,bo->b", e, e, out=h.row)
        h.row /= outputs


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Multi-class classification: ``log(sum(exp(z))) - sum(t * z)``, a mean over rows.

    Parameters
    ----------
    label_smoothing : float, default 0
        Fraction of the target that is distributed evenly over all classes (Szegedy et al., 2016).
    """

    label_smoothing: float = 0.0

    name: ClassVar[str] = "cross_entropy"
    code: ClassVar[int] = abi.CROSS_ENTROPY
    formula: ClassVar[str] = "-log y[label]"
    output_activations: ClassVar[tuple[str, ...]] = ("softmax",)
    fused_activation: ClassVar[ActivationName | None] = "softmax"
    metric: ClassVar[Literal["accuracy", "r2"] | None] = "accuracy"

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "label_smoothing",
            check_float("label_smoothing", self.label_smoothing, least=0, below=1),
        )

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        return (float(self.label_smoothing),)

    def gradient(self, h: LossArrays) -> None:
        # s is the target after smoothing.
        if h.labels is not None:
            h.s.fill(0)
            np.put_along_axis(h.s, h.labels[:, None], 1, axis=1)
        else:
            assert h.target is not None
            np.copyto(h.s, h.target)
        h.s *= 1.0 - self.label_smoothing
        h.s += self.label_smoothing / h.s.shape[1]
        # With u = z - max(z): loss = log(sum(exp(u))) - sum(s * u), for targets that sum to one.
        np.max(h.z, axis=1, out=h.row)
        np.subtract(h.z, h.row[:, None], out=h.t)
        np.subtract(h.y, h.s, out=h.d)
        np.multiply(h.s, h.t, out=h.s)
        np.exp(h.t, out=h.t)
        np.sum(h.t, axis=1, out=h.row)
        np.log(h.row, out=h.row)
        np.sum(h.s, axis=1, out=h.t[:, 0])
        h.row -= h.t[:, 0]

    def score_rows(self, h: LossArrays) -> None:
        """Write 1 where the largest output (the first of equals) is that of the label, else 0."""
        np.argmax(h.y, axis=1, out=h.best)
        if h.labels is not None:
            np.equal(h.best, h.labels, out=h.row)
        else:
            assert h.target is not None
            np.equal(h.best, np.argmax(h.target, axis=1), out=h.row)


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Cross-entropy of one or several binary targets: ``max(z, 0) - z t + log(1 + exp(-|z|))``.

    Parameters
    ----------
    label_smoothing : float, default 0
        Fraction by which every target moves towards 1/2.
    """

    label_smoothing: float = 0.0

    name: ClassVar[str] = "binary_cross_entropy"
    code: ClassVar[int] = abi.BINARY_CROSS_ENTROPY
    formula: ClassVar[str] = "-t log y - (1 - t) log(1 - y)"
    output_activations: ClassVar[tuple[str, ...]] = ("sigmoid",)
    fused_activation: ClassVar[ActivationName | None] = "sigmoid"
    metric: ClassVar[Literal["accuracy", "r2"] | None] = "accuracy"

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "label_smoothing",
            check_float("label_smoothing", self.label_smoothing, least=0, below=1),
        )

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        return (float(self.label_smoothing),)

    def gradient(self, h: LossArrays) -> None:
        assert h.target is not None
        np.multiply(h.target, 1.0 - self.label_smoothing, out=h.s)
        h.s += 0.5 * self.label_smoothing
        np.subtract(h.y, h.s, out=h.d)
        h.d /= h.d.shape[1]
        h.s *= h.z
        np.maximum(h.z, 0, out=h.t)
        np.subtract(h.t, h.s, out=h.s)
        np.abs(h.z, out=h.t)
        np.negative(h.t, out=h.t)
        np.exp(h.t, out=h.t)
        np.log1p(h.t, out=h.t)
        h.t += h.s
        np.mean(h.t, axis=1, out=h.row)

    def score_rows(self, h: LossArrays) -> None:
        """Write the fraction of outputs on the target's side of 1/2; 1/2 itself counts as 0."""
        assert h.target is not None
        np.subtract(h.target, 0.5, out=h.s)
        np.greater(h.s, 0, out=h.s)
        np.greater(h.z, 0, out=h.t)
        h.s -= h.t
        np.abs(h.s, out=h.s)
        np.mean(h.s, axis=1, out=h.row)
        np.subtract(1, h.row, out=h.row)


_ANY_OUTPUT: Final = tuple(ACTIVATIONS)


@dataclass(frozen=True)
class MSE(Loss):
    """Squared error, ``(y - t)^2``."""

    name: ClassVar[str] = "mse"
    code: ClassVar[int] = abi.MSE
    formula: ClassVar[str] = "(y - t)^2"
    output_activations: ClassVar[tuple[str, ...]] = _ANY_OUTPUT

    def gradient(self, h: LossArrays) -> None:
        assert h.target is not None
        np.subtract(h.y, h.target, out=h.d)
        np.einsum("bo,bo->b", h.d, h.d, out=h.row)
        h.row /= h.d.shape[1]
        h.d *= 2.0 / h.d.shape[1]


@dataclass(frozen=True)
class MAE(Loss):
    """Absolute error, ``|y - t|``, with derivative 0 at 0."""

    name: ClassVar[str] = "mae"
    code: ClassVar[int] = abi.MAE
    formula: ClassVar[str] = "|y - t|"
    output_activations: ClassVar[tuple[str, ...]] = _ANY_OUTPUT

    def gradient(self, h: LossArrays) -> None:
        assert h.target is not None
        np.subtract(h.y, h.target, out=h.s)
        np.abs(h.s, out=h.t)
        np.mean(h.t, axis=1, out=h.row)
        np.sign(h.s, out=h.d)
        h.d /= h.d.shape[1]


@dataclass(frozen=True)
class Huber(Loss):
    """Squared error up to `delta`, absolute error beyond it (Huber, 1964).

    ``e^2 / 2`` where ``|e| <= delta``, else ``delta (|e| - delta / 2)``, with ``e = y - t``.

    Parameters
    ----------
    delta : float, default 1
    """

    delta: float = 1.0

    name: ClassVar[str] = "huber"
    code: ClassVar[int] = abi.HUBER
    formula: ClassVar[str] = "e^2/2 if |e| <= delta else delta (|e| - delta/2), e = y - t"
    output_activations: ClassVar[tuple[str, ...]] = _ANY_OUTPUT

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", check_float("delta", self.delta, above=0))

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        return (float(self.delta),)

    def gradient(self, h: LossArrays) -> None:
        # With c = clip(e, -delta, delta) both branches are c (e - c / 2), and the derivative is c.
        assert h.target is not None
        np.subtract(h.y, h.target, out=h.s)
        np.clip(h.s, -self.delta, self.delta, out=h.d)
        np.multiply(h.d, 0.5, out=h.t)
        np.subtract(h.s, h.t, out=h.s)
        h.s *= h.d
        np.mean(h.s, axis=1, out=h.row)
        h.d /= h.d.shape[1]


@dataclass(frozen=True)
class Poisson(Loss):
    """Poisson loss of counts, ``y - t log y``: minus the log-likelihood without its constant."""

    name: ClassVar[str] = "poisson"
    code: ClassVar[int] = abi.POISSON
    formula: ClassVar[str] = "y - t log y"
    output_activations: ClassVar[tuple[str, ...]] = ("exp",)
    fused_activation: ClassVar[ActivationName | None] = "exp"

    def gradient(self, h: LossArrays) -> None:
        assert h.target is not None
        np.multiply(h.target, h.z, out=h.s)
        np.subtract(h.y, h.s, out=h.s)
        np.mean(h.s, axis=1, out=h.row)
        assert h.target is not None
        np.subtract(h.y, h.target, out=h.d)
        h.d /= h.d.shape[1]


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """Loss of a predicted normal distribution, ``(log(2 pi v) + (mean - t)^2 / v) / 2``.

    For T targets the network has 2 T outputs: T means, then T logarithms of variances v (Nix and
    Weigend, 1994). Loss and gradient take variances below 1e-6 as 1e-6.
    """

    name: ClassVar[str] = "gaussian_nll"
    code: ClassVar[int] = abi.GAUSSIAN_NLL
    formula: ClassVar[str] = "(log(2 pi v) + (mean - t)^2 / v) / 2"
    output_activations: ClassVar[tuple[str, ...]] = ("identity",)

    @property
    def outputs_per_target(self) -> int:
        return 2

    def gradient(self, h: LossArrays) -> None:
        assert h.target is not None
        targets = h.target.shape[1]
        precision, error = h.s[:, :targets], h.s[:, targets:]
        log_variance, square = h.t[:, :targets], h.t[:, targets:]
        np.maximum(h.y[:, targets:], LOG_VARIANCE_FLOOR, out=log_variance)
        np.negative(log_variance, out=precision)
        np.exp(precision, out=precision)
        np.subtract(h.y[:, :targets], h.target, out=error)
        np.multiply(error, error, out=square)
        square *= precision
        np.multiply(error, precision, out=h.d[:, :targets])
        h.d[:, :targets] /= targets
        np.subtract(1, square, out=h.d[:, targets:])
        h.d[:, targets:] *= 0.5 / targets
        square += log_variance
        np.mean(square, axis=1, out=h.row)
        h.row += math.log(2.0 * math.pi)
        h.row *= 0.5


@dataclass(frozen=True)
class Quantile(Loss):
    """Pinball loss of several quantiles (Koenker and Bassett, 1978).

    For T targets and Q quantiles the network has Q T outputs: the first quantile of every target,
    then the second, ... The loss of each is ``max(q e, (q - 1) e)`` with ``e = t - y``, and its
    derivative at ``e = 0`` is 0.

    Parameters
    ----------
    quantiles : tuple of float, default (0.1, 0.5, 0.9)
        Increasing, between 0 and 1.
    """

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    name: ClassVar[str] = "quantile"
    code: ClassVar[int] = abi.QUANTILE
    formula: ClassVar[str] = "max(q e, (q - 1) e), e = t - y"
    output_activations: ClassVar[tuple[str, ...]] = ("identity", "softplus", "exp")
    metric: ClassVar[Literal["accuracy", "r2"] | None] = None

    def __post_init__(self) -> None:
        if not isinstance(self.quantiles, Sequence) or not self.quantiles:
            raise InputError(f"quantiles must be several numbers, got {self.quantiles!r}.")
        q = tuple(check_float("a quantile", value, above=0, below=1) for value in self.quantiles)
        if any(a >= b for a, b in pairwise(q)):
            raise InputError(f"quantiles must increase, got {self.quantiles!r}.")
        object.__setattr__(self, "quantiles", q)

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        return self.quantiles

    @property
    def outputs_per_target(self) -> int:
        return len(self.quantiles)

    def gradient(self, h: LossArrays) -> None:
        assert h.target is not None
        targets = h.target.shape[1]
        for k, q in enumerate(self.quantiles):
            block = slice(k * targets, (k + 1) * targets)
            e, sign = h.s[:, block], h.t[:, block]
            np.subtract(h.target, h.y[:, block], out=e)
            # dl/de is q where e > 0 and q - 1 where e < 0: (sign(e) + (2 q - 1) |sign(e)|) / 2.
            np.sign(e, out=sign)
            np.abs(sign, out=h.d[:, block])
            h.d[:, block] *= 2.0 * q - 1.0
            sign += h.d[:, block]
            sign *= 0.5
            e *= sign
            np.multiply(sign, -1.0 / h.d.shape[1], out=h.d[:, block])
        np.mean(h.s, axis=1, out=h.row)

    def score_rows(self, h: LossArrays) -> None:
        """Write zeros, since quantiles have no score beside their loss."""
        h.row.fill(0)


LOSSES: Final[dict[str, type[Loss]]] = {
    row.name: row
    for row in (
        CrossEntropy,
        BinaryCrossEntropy,
        MSE,
        MAE,
        Huber,
        Poisson,
        GaussianNLL,
        Quantile,
    )
}


def to_dict(loss: Loss) -> dict[str, Any]:
    """Return a loss as plain JSON values, with its name under ``"loss"``."""
    return describe("loss", loss)


def from_dict(values: Any, output_activation: ActivationName) -> Loss:
    """Return the loss that `to_dict` described; raise `InputError` for anything else."""
    return get(build("loss", LOSSES, values), output_activation)


_DEFAULT_FOR_OUTPUT: Final[dict[str, type[Loss]]] = {
    "softmax": CrossEntropy,
    "sigmoid": BinaryCrossEntropy,
    "exp": Poisson,
}


def get(loss: LossName | Loss | None, output_activation: ActivationName) -> Loss:
    """Return the loss for a name, an instance or None, checked against the output activation.

    None gives the usual loss of the output activation: cross-entropy for softmax, binary
    cross-entropy for sigmoid, Poisson for exp, else squared error.

    Raises
    ------
    InputError
        The name is unknown, or the loss does not fit the output activation.
    """
    if loss is None:
        suited: type[Loss] = _DEFAULT_FOR_OUTPUT.get(output_activation, MSE)
        return suited()
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise InputError(f"unknown loss {loss!r}{suggest(loss, LOSSES)}")
        loss = LOSSES[loss]()
    if not isinstance(loss, Loss):
        own = callable(loss) and not isinstance(loss, type)
        whose = ": functions are losses of fn.Network alone" if own else ""
        raise InputError(f"loss must be a name or a Loss, got {shown(loss)}{whose}.")
    if output_activation not in loss.output_activations:
        fitting = " or ".join(map(repr, loss.output_activations[:3]))
        raise InputError(
            f"the loss {loss.name!r} does not fit the output activation {output_activation!r}: "
            f"give the last layer {fitting}, or choose another loss."
        )
    return loss
