"""Combination: the networks of a file and what makes one answer of theirs.

Every format is written from it. The file of one network is that of a combination of one, without a
mean. The file of an ensemble has its members one after the other, with outputs as they learned
them; the mean, in float64, brings them into the unit of the targets first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.export.columns import target_scale
from fastnet.export.encodings import (
    Columns,
    Encoding,
    Sources,
    columns_of,
    encodings_of,
    sources_of,
)
from fastnet.export.steps import Step, shown, steps_of
from fastnet.network import Network
from fastnet.nn.losses import GaussianNLL
from fastnet.nn.member_plan import MemberPlan
from fastnet.populations.ensemble import Ensemble
from fastnet.preprocessing.outputs import OutputSchema

Array = NDArray[Any]

Predictor = Network | Ensemble
"""What can be exported."""


@dataclass(frozen=True, eq=False)
class Member:
    """One of the networks of a file.

    Attributes
    ----------
    suffix : str
        Of its names in the file; "" for the only one.
    network : Network
    encoding : Encoding
        What it does to a row.
    in_units : bool
        Whether its outputs are in the unit of the targets, or as it learned them.
    """

    suffix: str
    network: Network
    encoding: Encoding
    in_units: bool

    @cached_property
    def steps(self) -> list[Step]:
        """The steps from encoded inputs to outputs."""
        return steps_of(self.network, in_units=self.in_units)


@dataclass(frozen=True, eq=False)
class Mean:
    """What makes one answer of the outputs of K members, as `Ensemble.predict`.

    Attributes
    ----------
    weights : (K,) float64
        Their sum is 1.
    units : (scale, center), each (K, O) float64, or None
        What brings outputs into the unit of the targets: ``outputs * scale + center``.
    floors : (K, T) or None
        Lower bounds of the logarithms of variances, if outputs are means and these logarithms:
        their mean is the mean and the logarithm of the variance of the mixture.
    temperature : float or None
        It divides the logarithms of mean probabilities, or those of their odds.
    activation : str
        What makes probabilities of these: "softmax" or "sigmoid".
    """

    weights: NDArray[np.float64]
    units: tuple[Array, Array] | None
    floors: Array | None
    temperature: float | None
    activation: str


@dataclass(frozen=True, eq=False)
class Combination:
    """The networks of a file.

    Attributes
    ----------
    predictor : Network or Ensemble
    members : tuple of Member
    encodings : tuple of Encoding
    mean : Mean or None
        None if there is one network, whose answer is the file's.
    """

    predictor: Predictor
    members: tuple[Member, ...]
    encodings: tuple[Encoding, ...]
    mean: Mean | None

    # --- what all members have in common ---------------------------------------------------------

    @property
    def first(self) -> Network:
        """The first network, which says what the outputs of all mean."""
        return self.members[0].network

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of all networks."""
        return self.first.dtype

    @property
    def inputs(self) -> int:
        """The length of the file's x."""
        return max(one.at + one.inputs for one in self.encodings)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.first.outputs

    @property
    def schema(self) -> OutputSchema:
        """The meaning of the outputs."""
        return self.first.output_schema

    @property
    def has_deviations(self) -> bool:
        """Whether outputs are means and logarithms of variances."""
        return self.schema.class_names is None and isinstance(self.first.loss, GaussianNLL)

    @property
    def floors(self) -> Array:
        """Lower bounds of these logarithms, (T,)."""
        return self.schema.log_variance_floors.astype(self.dtype)

    @cached_property
    def columns(self) -> Columns | None:
        """The columns that a row of a table has; None if the file takes arrays.

        Raises
        ------
        InputError
            Some members read numbers in a column, and others categories.
        """
        return columns_of(self.encodings)

    @cached_property
    def sources(self) -> Sources | None:
        """What the columns of a table are called; None if the file takes arrays."""
        return sources_of(self.encodings)

    @property
    def takes_tables(self) -> bool:
        """Whether rows are those of a table."""
        return self.encodings[0].table is not None

    @cached_property
    def steps(self) -> list[Step]:
        """The steps of all members."""
        return [step for member in self.members for step in member.steps]

    def of(self, encoding: Encoding) -> list[tuple[int, Member]]:
        """Return the members with that encoding, with their numbers."""
        return [(k, one) for k, one in enumerate(self.members) if one.encoding is encoding]

    # --- texts -----------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """What the file is, as the beginning of a sentence."""
        if self.mean is None:
            return "A neural network"
        what = "mixture" if self.mean.floors is not None else "mean"
        count = len(self.members)
        title = f"The {what} of {count} neural {'network' if count == 1 else 'networks'}"
        known = self.mean.temperature
        return title if known is None else f"{title} at the temperature {known:.4g}"

    def described(self) -> list[str]:
        """Return a line for each layer; once for networks of the same layers."""
        counts: dict[tuple[str, ...], int] = {}
        for member in self.members:
            layers = tuple(map(shown, member.network.layers))
            counts[layers] = counts.get(layers, 0) + 1
        lines: list[str] = []
        for layers, count in counts.items():
            if self.mean is not None:
                each = (
                    "each has" if len(counts) == 1 else "one has" if count == 1 else f"{count} have"
                )
                lines.append(f"{each} the layers")
            lines += [f"  {index}  {layer}" for index, layer in enumerate(layers)]
        return lines


def combination_of(predictor: Predictor) -> Combination:
    """Return the networks of the file of a network or an ensemble.

    Raises
    ------
    InputError
        It is neither; or members of an ensemble have different dtypes, or take no common rows.
    """
    if not isinstance(predictor, Network | Ensemble):
        raise InputError(
            f"expected a Network or an Ensemble to export, got {type(predictor).__name__}: an "
            "estimator has one of them as network_ or ensemble_, and fn.Ensemble makes one of "
            "several networks."
        )
    plain = _of_plain_networks(predictor)
    networks: Sequence[Network] = [plain] if isinstance(plain, Network) else [*plain]
    mean = None if isinstance(plain, Network) else _mean(plain)
    if len({network.dtype for network in networks}) > 1:
        raise InputError(
            "some members of the ensemble compute in float32 and others in float64, and a file "
            "has one precision: export an ensemble of those of one dtype."
        )
    encodings, chosen = encodings_of(networks)
    members = [
        Member("" if mean is None else f"_{k}", network, encodings[own], mean is None)
        for k, (network, own) in enumerate(zip(networks, chosen, strict=True))
    ]
    return Combination(predictor, tuple(members), encodings, mean)


def _of_plain_networks(predictor: Predictor) -> Predictor:
    """Return a network with `fastnet.Members` as the ensemble of them, within an ensemble too."""
    networks = [predictor] if isinstance(predictor, Network) else predictor.networks
    if not any(isinstance(network.plan, MemberPlan) for network in networks):
        return predictor
    weights = np.ones(1) if isinstance(predictor, Network) else predictor.weights
    members = [network.members() for network in networks]
    each = [weight / len(own) for weight, own in zip(weights, members, strict=True)]
    counts = [len(own) for own in members]
    made = Ensemble([one for own in members for one in own], weights=np.repeat(each, counts))
    made.temperature = None if isinstance(predictor, Network) else predictor.temperature
    return made


def _mean(ensemble: Ensemble) -> Mean | None:
    """Return what combines the members; None for one whose outputs stay as they are."""
    networks, activation = ensemble.networks, ensemble.output_schema.activation
    mixes = isinstance(ensemble.output_schema.loss, GaussianNLL)
    if len(networks) == 1 and ensemble.temperature is None and not mixes:
        return None
    units, floors = None, None
    scales = [target_scale(network) for network in networks]
    if any(scale is not None for scale in scales):
        same = np.ones(ensemble.outputs), np.zeros(ensemble.outputs)
        pairs = [same if scale is None else scale for scale in scales]
        units = np.array([scale for scale, _ in pairs]), np.array([center for _, center in pairs])
    if mixes:
        # In the dtype in which `Ensemble.predict` has the outputs.
        dtype = networks[0].dtype if units is None else np.dtype(np.float64)
        bounds = [network.output_schema.log_variance_floors for network in networks]
        floors = np.array(bounds).astype(dtype)
    return Mean(ensemble.weights, units, floors, ensemble.temperature, activation)
