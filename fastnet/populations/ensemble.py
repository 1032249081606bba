"""`Ensemble`: networks that answer together, with the mean of what each of them predicts."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Any, Final, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnet.data.chunks import Chunks
from fastnet.data.dataset import Dataset
from fastnet.data.frame import Inputs
from fastnet.errors import InputError, ModelFileError
from fastnet.inspection.calibration import PROBABILITIES, require_probabilities, temperature_of
from fastnet.model import Model
from fastnet.network import Network
from fastnet.nn.losses import GaussianNLL, Loss
from fastnet.populations import ensemble_file
from fastnet.populations.members import checked_weights, finite, require_alike
from fastnet.populations.population import Population
from fastnet.populations.scorer import Scorer, choose
from fastnet.preprocessing.base import Preprocessor
from fastnet.preprocessing.outputs import OutputSchema
from fastnet.utils.device_arrays import on_host
from fastnet.utils.names import Auto, BackendName
from fastnet.utils.param_validation import check_flag, check_int

Array = NDArray[Any]

LEAST: Final = 1e-30
"""Probabilities below count as this much in a logarithm."""


class Ensemble(Sequence[Network]):
    """Networks that answer together: the mean of their probabilities, or of their predictions.

    The mean of several networks is more accurate than most of them, and what they disagree on is
    uncertain (Lakshminarayanan, Pritzel and Blundell, 2017, "Simple and scalable predictive
    uncertainty estimation using deep ensembles").

    Parameters
    ----------
    networks : Population or sequence of Network
        They predict the same targets, or the same classes in the same order; their layers and
        preprocessors may differ. Members of a population that diverged are left out.
    weights : (K,), optional
        At least 0; only ratios matter. Default: all the same.

    Attributes
    ----------
    weights : (K,) float64
        Their sum is 1.
    temperature : float or None
        By which `calibrate` has divided the logarithms of the mean probabilities.
    out_of_fold : (N, O) or None
        What the members predict for the rows of the training that they held back, as
        ``fastnet.tables.train(..., n_estimators=...)`` sets it; NaN for a row that none did. Not
        saved.

    Examples
    --------
    >>> import fastnet as fn
    >>> data = fn.data.load("digits")
    >>> net = fn.Network([64, 32, 10], output_activation="softmax", backend="numpy")
    >>> members = fn.fit_many(net, data.x[:900], data.y[:900], seeds=5, epochs=10)
    >>> together = fn.Ensemble(members).evaluate(data.x[900:], data.y[900:])["accuracy"]
    >>> alone = [one.evaluate(data.x[900:], data.y[900:])["accuracy"] for one in members]
    >>> together > sum(alone) / 5
    True
    """

    def __init__(self, networks: Sequence[Network], *, weights: ArrayLike | None = None) -> None:
        if isinstance(networks, Network) or not isinstance(networks, Iterable):
            raise InputError(f"an ensemble needs a sequence of networks, got {networks!r}.")
        self.networks = finite(networks) if isinstance(networks, Population) else tuple(networks)
        require_alike(self.networks)
        self.weights = checked_weights(weights, len(self.networks))
        self.temperature: float | None = None
        self.out_of_fold: Array | None = None

    @classmethod
    def greedy(
        cls,
        networks: Sequence[Network],
        x: Inputs | Dataset,
        y: ArrayLike | None = None,
        *,
        rounds: int = 30,
        metric: str | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Ensemble:
        """Return the ensemble of those networks, with those weights, that do best on held-out rows.

        In each round it adds the network that improves the mean most, the same one several times if
        that is best (Caruana et al., 2004, "Ensemble selection from libraries of models").

        Parameters
        ----------
        networks : Population or sequence of Network
        x, y, sample_weight
            Rows that no member was trained on.
        rounds : int, default 30
        metric : str, optional
            The score to improve. Default: the loss, of scaled targets as the first member scales
            them.
        """
        if metric is not None and not isinstance(metric, str):
            raise InputError(f"metric must be the name of a metric, got {metric!r}.")
        every = Ensemble(networks)
        outputs = every.predict_all(x)
        name = "loss" if metric is None else metric
        scorer = Scorer.of(every[0], x, y, sample_weight, scaled=True)
        counts = choose(
            lambda weights: scorer.cost(every.mean_of(outputs, weights), name),
            len(every),
            check_int("rounds", rounds),
        )
        if not counts.any():
            raise InputError(f"no network has a finite {name!r} on these rows.")
        kept = np.flatnonzero(counts)
        return Ensemble([every.networks[k] for k in kept], weights=counts[kept])

    # --- members ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self.networks)

    @overload
    def __getitem__(self, index: int) -> Network: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Network, ...]: ...
    def __getitem__(self, index: int | slice) -> Network | tuple[Network, ...]:
        """Return a member, or some of them."""
        return self.networks[index]

    @property
    def output_schema(self) -> OutputSchema:
        """The meaning of the outputs."""
        return self.networks[0].output_schema

    @property
    def preprocessor(self) -> Preprocessor:
        """That of the first member: which columns there are, and what the targets mean."""
        return self.networks[0].preprocessor

    @property
    def loss(self) -> Loss | None:
        """The loss of the training of the first member."""
        return self.networks[0].loss

    @property
    def inputs(self) -> int:
        """Number of inputs of the first member."""
        return self.networks[0].inputs

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.networks[0].outputs

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names of the classes, if they have any."""
        return self.networks[0].label_names

    def uncalibrated(self) -> Ensemble:
        """Return the ensemble without its temperature."""
        other = copy.copy(self)
        other.temperature = None
        return other

    def to(self, backend: BackendName | Auto) -> Ensemble:
        """Return the ensemble on another backend."""
        return self._with(net.to(backend) for net in self.networks)

    def beside(self, other: Model) -> Ensemble:
        """Return the ensemble on the backend of a network, with its device and precision."""
        return self._with(net.beside(other) for net in self.networks)

    def _with(self, networks: Iterable[Network]) -> Ensemble:
        moved = copy.copy(self)
        moved.networks = tuple(networks)
        return moved

    # --- prediction ------------------------------------------------------------------------------

    def predict_all(self, x: Inputs | Chunks | Dataset) -> Array:
        """Return what each member predicts, (K, N, O), in the unit of the targets."""
        x = on_host("x", x)
        return np.stack([net.predict_columns(x) for net in self.networks])

    @overload
    def predict(
        self, x: Inputs | Chunks | Dataset, *, return_std: Literal[False] = False
    ) -> Array: ...
    @overload
    def predict(
        self, x: Inputs | Chunks | Dataset, *, return_std: Literal[True]
    ) -> tuple[Array, Array]: ...
    def predict(
        self, x: Inputs | Chunks | Dataset, *, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Return the mean of the members' predictions (N, O), or (N,) as a member's `predict`.

        After ``gaussian_nll`` it is the mean and the logarithm of the variance of the mixture of
        the members' normal distributions.

        With `return_std` it returns means and standard deviations. After ``gaussian_nll`` these are
        those of the mixture, which hold the noise of the targets and what the members disagree on;
        else they are the standard deviation of the members' predictions.
        """
        return_std = check_flag("return_std", return_std)
        shaped = self.networks[0].shaped
        outputs = self.predict_all(x)
        mean = self.mean_of(outputs, self.weights)
        if not return_std:
            return shaped(mean)
        if isinstance(self.output_schema.loss, GaussianNLL):
            found = self.output_schema.mean_and_std(mean)
            return shaped(found[0]), shaped(found[1])
        apart = (outputs.astype(np.float64) - mean) ** 2
        std = np.sqrt(np.tensordot(self.weights, apart, 1)).astype(outputs.dtype)
        return shaped(mean), shaped(std)

    def predict_columns(self, x: Inputs | Chunks | Dataset) -> Array:
        """Return what `predict` does, with two axes, (N, O)."""
        return self.mean_of(self.predict_all(x), self.weights)

    def predict_quantiles(self, x: Inputs | Chunks | Dataset) -> dict[float, Array]:
        """Return the means of the members' quantiles, as `Network.predict_quantiles`."""
        found = self.output_schema.quantiles(self.predict_columns(x))
        return {level: self.networks[0].shaped(values) for level, values in found.items()}

    def predict_labels(self, x: Inputs | Chunks | Dataset) -> Array:
        """Return the most probable label of each row (N,) by the mean probabilities."""
        return self.output_schema.labels_of(self.predict_columns(x))

    def disagreement(self, x: Inputs | Chunks | Dataset) -> Array:
        """Return the weight of the members with another label than the ensemble's, (N,), 0 to 1."""
        outputs = self.predict_all(x)
        label = self.output_schema.labels_of
        together = label(self.mean_of(outputs, self.weights))
        each = np.stack([label(one) != together for one in outputs])
        return np.tensordot(self.weights, each.any(axis=2) if each.ndim == 3 else each, 1)

    def mean_of(self, outputs: Array, weights: Array) -> Array:
        """Return the mean (N, O) of outputs (K, N, O) of the members, by weights (K,)."""
        kept = np.flatnonzero(weights)
        outputs, weights = outputs[kept], weights[kept]
        if isinstance(self.output_schema.loss, GaussianNLL):
            pairs = [
                self.networks[k].output_schema.mean_and_std(one)
                for k, one in zip(kept, outputs, strict=True)
            ]
            means, stds = (np.stack(part).astype(np.float64) for part in zip(*pairs, strict=True))
            mean = np.tensordot(weights, means, 1)
            variance = np.tensordot(weights, stds**2 + (means - mean) ** 2, 1)
            return np.hstack([mean, np.log(variance)]).astype(outputs.dtype)
        mean = np.tensordot(weights, outputs.astype(np.float64), 1)
        if self.temperature is not None:
            kind = self.output_schema.activation
            mean = PROBABILITIES[kind](self._logits(mean) / self.temperature)
        return mean.astype(outputs.dtype)

    def _logits(self, probabilities: Array) -> Array:
        """Return z of which softmax or sigmoid make these probabilities."""
        z = np.log(np.maximum(probabilities, LEAST))
        if self.output_schema.activation == "sigmoid":
            z -= np.log(np.maximum(1.0 - probabilities, LEAST))
        return z

    # --- scores ----------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Inputs | Dataset,
        y: ArrayLike | None = None,
        *,
        metrics: Sequence[str | Any] = (),
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Return ``{"loss": ..., "accuracy": ...}`` (or ``"r2"``) of the mean, and `metrics`.

        Unlike `Network.evaluate`, the loss of scaled targets is that of their own unit, since
        members may have scaled them differently.
        """
        return self.scores(
            self.predict_columns(x), x, y, metrics=metrics, sample_weight=sample_weight
        )

    def scores(
        self,
        outputs: Array,
        x: Inputs | Dataset,
        y: ArrayLike | None = None,
        *,
        metrics: Sequence[str | Any] = (),
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Return what `evaluate` does, for predictions (N, O) such as `out_of_fold`."""
        return Scorer.of(self.networks[0], x, y, sample_weight).scores(outputs, metrics)

    def calibrate(
        self,
        x: Inputs | Dataset,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Fit one temperature for the mean probabilities on held-out rows, and return it.

        Predicted probabilities then match observed frequencies on average; the most probable class
        of a row stays the same. A further call begins anew.
        """
        kind = self.output_schema.activation
        require_probabilities(kind)
        rows = Scorer.of(self.networks[0], x, y, sample_weight).rows
        self.temperature = None
        z = self._logits(self.predict_columns(x).astype(np.float64))
        self.temperature = temperature_of(z, rows, kind)
        return self.temperature

    # --- saving ----------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write all members to one ``.safetensors`` file, which `Ensemble.load` reads."""
        contents = [net.to_model_file() for net in self.networks]
        ensemble_file.write(path, contents, self.weights, self.temperature)

    @classmethod
    def load(cls, path: str | PathLike[str], *, backend: BackendName | Auto = "auto") -> Ensemble:
        """Load an ensemble that `save` wrote, on any backend.

        Raises
        ------
        ModelFileError
            The file is missing, damaged, or holds no ensemble.
        """
        networks, weights, temperature = ensemble_file.read(path)
        try:
            ensemble = Ensemble([net.to(backend) for net in networks])
            checked_weights(weights, len(networks))
            if temperature is not None:
                require_probabilities(ensemble.output_schema.activation)
        except InputError as error:
            raise ModelFileError(f"{path}: {error}") from None
        # As they are: to divide by the sum once more may change the last bit.
        ensemble.weights, ensemble.temperature = np.array(weights), temperature
        return ensemble

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self)} networks with {self.networks[0].outputs} outputs>"
