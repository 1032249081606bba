"""`MemberPlan`: the parameters of a network that answers k times, and of each of its members.

Member m of such a network is a plain network, whose parameters are *folded* out of those of the
whole. With ``(x * r) @ w = x @ (r[:, None] * w)``, a layer that has factors for its inputs and
outputs is a dense layer with the weights ``r[m][:, None] * w * s[m]``. A gradient of these weights,
``g``, *unfolds* to

    dw += r[m][:, None] * g * s[m]
    dr[m] = sum_o g * w * s[m]
    ds[m] = sum_i r[m] * g * w

and all other parameters are either shared, or a member's own. So no kernel and no backend knows of
members: `fastnet.backends.member_engine` trains them one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import initializers, random
from fastnet.nn.batch import Array
from fastnet.nn.chain import check_chain
from fastnet.nn.function_loss import FunctionLoss
from fastnet.nn.layers import BatchNorm, Dense, Layer, Members
from fastnet.nn.losses import GaussianNLL
from fastnet.nn.plan import Plan, Tensor, make_plan

_HEADS, _HEAD_BIASES, _SCALES = 2**31 + 2**28, 2**31 + 2**29, 2**31 + 2**29 + 2**28
"""First random streams of the members' last layers, of their biases, and that of factors."""


@dataclass(frozen=True)
class Part:
    """A parameter of a member, and the parameters of the whole that it is folded out of.

    Attributes
    ----------
    member : Tensor
        The member's parameter, within its flat parameters.
    whole : Tensor
        Has the same shape if it is shared, else one such array for each member.
    inputs, outputs : Tensor or None
        Factors (k, I) and (k, O) of weights (I, O).
    """

    member: Tensor
    whole: Tensor
    inputs: Tensor | None = None
    outputs: Tensor | None = None

    @property
    def is_shared(self) -> bool:
        """Whether all members have the same array."""
        own = len(self.whole.shape) > len(self.member.shape)
        return not own and self.inputs is None and self.outputs is None

    @property
    def tensors(self) -> list[Tensor]:
        """The parameters of the whole, factors first."""
        return [t for t in (self.inputs, self.outputs) if t is not None] + [self.whole]

    def of(self, flat: Array, member: int) -> Array:
        """Return the array of a member within the flat parameters or gradients of the whole."""
        values = self.whole.view(flat)
        return values[member] if len(self.whole.shape) > len(self.member.shape) else values

    def fold(self, whole: Array, member: int, out: Array) -> None:
        """Write the parameter of a member into its flat parameters `out`."""
        values, w = self.member.view(out), self.of(whole, member)
        if self.inputs is None:
            values[...] = w
        else:
            np.multiply(w, self.inputs.view(whole)[member][:, None], out=values)
        if self.outputs is not None:
            values *= self.outputs.view(whole)[member]

    def unfold(self, whole: Array, member: int, gradients: Array, into: Array) -> None:
        """Add the gradient of a member's parameter to those of the whole; overwrite the former."""
        g, r, s = self.member.view(gradients), self.inputs, self.outputs
        if r is not None or s is not None:
            product = g * self.of(whole, member)
            if r is not None:
                of_outputs = product if s is None else product * s.view(whole)[member]
                r.view(into)[member] += of_outputs.sum(axis=1)
            if s is not None:
                by_inputs = product if r is None else product * r.view(whole)[member][:, None]
                s.view(into)[member] += by_inputs.sum(axis=0)
        if r is not None:
            g *= r.view(whole)[member][:, None]
        if s is not None:
            g *= s.view(whole)[member]
        total = self.of(into, member)
        total += g


@dataclass(frozen=True, eq=False)
class MemberPlan(Plan):
    """The layout of the parameters of a network with `Members`.

    Chain, names, ops and workspace are those of one member, and offsets of ops refer to its flat
    parameters. An engine is made of it by ``Backend.engine`` alone.

    Attributes
    ----------
    members : int
        Their number, k.
    member : Plan
        That of each of them.
    parts : tuple of Part
        One for each parameter of a member.
    """

    members: int
    member: Plan
    parts: tuple[Part, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return plan_of, (self.inputs, self.layers)

    @property
    def settings(self) -> Members:
        """The layer that says how many members there are."""
        return next(layer for layer in self.layers if isinstance(layer, Members))

    @cached_property
    def flops(self) -> int:
        """Floating-point operations per row of the matrix products of all members in a step."""
        return self.member.flops * self.members

    @cached_property
    def flat(self) -> Plan:
        """A plan of as many parameters, all of them weights: an engine of it updates them."""
        plain = make_plan(self.size - 1, (Dense(1),))
        values = {name: getattr(plain, name) for name in Plan.__dataclass_fields__}
        return _FlatPlan(**values | {"n_weights": self.size}, of=self)

    def initial_parameters(self, seed: int, dtype: Any) -> NDArray[Any]:
        """Return the flat initial parameters (P,) for `seed`.

        The members begin with what a network without `Members` begins with; all but the first draw
        a last layer of their own.
        """
        whole, one = np.zeros(self.size), self.member.initial_parameters(seed, np.float64)
        last = len(self.chain) - 1
        for part in self.parts:
            part.whole.view(whole)[...] = part.member.view(one)
            for factors in part.tensors[:-1]:
                factors.view(whole)[...] = 1.0
            if part.member.op == last:
                self._draw_heads(part, seed, whole)
        first = next(t for part in self.parts for t in part.tensors if t.kind == "input_scale")
        first.view(whole)[...] = self._first_factors(first.shape[1], seed)
        return whole.astype(dtype)

    def _draw_heads(self, part: Part, seed: int, whole: NDArray[np.float64]) -> None:
        """Draw weights or biases of the last layer of all members but the first."""
        layer = self.chain[-1]
        assert isinstance(layer, Dense)
        assert layer.initializer is not None
        of_weights = part.member.kind == "weight"
        name = layer.initializer if of_weights else layer.bias_initializer
        stream = _HEADS if of_weights else _HEAD_BIASES
        rows, columns = part.member.shape if of_weights else (1, layer.units)
        for m in range(1, self.members):
            drawn = initializers.draw(name, rows, columns, seed=seed, stream=stream + m)
            part.of(whole, m)[...] = drawn.reshape(part.member.shape)

    def _first_factors(self, inputs: int, seed: int) -> NDArray[np.float64]:
        """Return the first factors of the inputs (k, I)."""
        groups, embeds = _groups(self.layers, self.settings)
        groups = groups or (1,) * inputs
        kind = self.settings.initializer or ("normal" if embeds else "signs")
        how = {"stream": _SCALES, "purpose": abi.INITIALIZE, "seed": seed}
        count = self.members * len(groups)
        if kind == "normal":
            drawn = random.normal(count, **how)
        else:
            drawn = np.where(random.uniform(count, **how) < 0.5, -1.0, 1.0)
        return np.repeat(drawn.reshape(self.members, len(groups)), groups, axis=1)

    def require_loss(self, loss: object) -> None:
        """Raise `InputError` for a loss that the mean of the members' outputs does not suit."""
        if isinstance(loss, GaussianNLL | FunctionLoss):
            what = "gaussian_nll" if isinstance(loss, GaussianNLL) else "that is a function"
            raise InputError(
                f"a network with Members has no loss {what}: it predicts the mean of its members' "
                "outputs. Choose another loss, or train an ensemble by fn.fit_many(net, x, y, "
                "seeds=...)."
            )


@dataclass(frozen=True, eq=False)
class _FlatPlan(Plan):
    """The parameters of another plan as the weights of one layer, at their own rates."""

    of: MemberPlan

    @cached_property
    def has_rates(self) -> bool:
        """Whether some parameters have their own learning rate or are frozen."""
        return self.of.has_rates

    def rates(self, dtype: Any) -> NDArray[Any] | None:
        """Return each parameter's factor on the learning rate (P,), or None if all are 1."""
        return self.of.rates(dtype)


def plan_of(inputs: int, layers: tuple[Layer, ...]) -> Plan:
    """Return the plan of a list of layers, a `MemberPlan` if `Members` is one of them.

    Raises
    ------
    InputError
        They form no network.
    """
    places = [k for k, layer in enumerate(layers) if isinstance(layer, Members)]
    if not places:
        return make_plan(inputs, layers)
    place = places[0]
    settings = layers[place]
    assert isinstance(settings, Members)
    check_chain(inputs, layers)
    member = make_plan(inputs, (*layers[:place], *layers[place + 1 :]))
    _require(settings, place, layers, member)
    first = member.names.index(f"layers.{place}")
    names = tuple(_renumbered(name, place) for name in member.names)
    parts = _parts(member, names, settings, first)
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    values = {name: getattr(member, name) for name in Plan.__dataclass_fields__}
    values |= {"layers": layers, "names": names, "parameters": tensors}
    values["n_weights"] = sum(tensor.size for tensor in tensors)
    return MemberPlan(**values, members=settings.members, member=member, parts=parts)


def _require(settings: Members, place: int, layers: tuple[Layer, ...], member: Plan) -> None:
    """Raise `InputError` for layers that cannot be a member's."""
    behind = layers[place + 1 :]
    if len(behind) < 2 or not isinstance(behind[0], Dense):
        raise InputError(
            f"behind layers[{place}], Members, there must be a Dense that is not the last layer, "
            "as in [fn.Members(16), fn.Dense(256, 'relu'), fn.Dense(1)]."
        )
    if any(isinstance(layer, BatchNorm) for layer in member.chain):
        raise InputError(
            "Members do not go with BatchNorm, whose statistics would be those of one member: "
            "normalise by LayerNorm."
        )
    first = member.names.index(f"layers.{place}")
    if any(isinstance(layer, Dense) and layer.blocks for layer in member.chain[first:]):
        raise InputError(
            f"a Dense with blocks must stand before layers[{place}], Members, and not behind it."
        )
    groups, inputs = _groups(layers, settings)[0], int(member.ops[first]["inputs"])
    if groups is not None and sum(groups) != inputs:
        raise InputError(
            f"the groups of layers[{place}], Members, must have {inputs} inputs in all, got "
            f"{sum(groups)}."
        )


def _groups(layers: tuple[Layer, ...], settings: Members) -> tuple[tuple[int, ...] | None, bool]:
    """Return the sizes of groups of inputs, None for single ones; and whether these are embeddings.

    Groups are those that `Members` names, else the outputs of blocks right before it.
    """
    place = layers.index(settings)
    before = layers[place - 1] if place else None
    blocks = before.blocks if isinstance(before, Dense) else None
    groups = tuple(block.outputs for block in blocks) if blocks else None
    return settings.groups or groups, any(size > 1 for size in groups or ())


def _renumbered(name: str, place: int) -> str:
    """Return the name of a layer as one counts them with `Members` at `place`."""
    start, number, *rest = name.split(".")
    return ".".join([start, str(int(number) + (int(number) >= place)), *rest])


def _parts(member: Plan, names: tuple[str, ...], settings: Members, first: int) -> tuple[Part, ...]:
    """Return the parts of a member's plan, with tensors of the whole one after the other."""
    k, last, offset = settings.members, len(member.chain) - 1, 0

    def tensor(of: Tensor, kind: str, shape: tuple[int, ...]) -> Tensor:
        nonlocal offset
        made = Tensor(f"{names[of.op]}.{kind}", offset, shape, of.op)
        offset += made.size
        return made

    parts = []
    for one in member.parameters:
        behind = isinstance(member.chain[one.op], Dense) and one.op >= first
        every = behind and settings.scales == "all" and one.op != last
        inputs = outputs = None
        if one.kind == "weight" and (every or one.op == first):
            inputs = tensor(one, "input_scale", (k, one.shape[0]))
        if one.kind == "weight" and every:
            outputs = tensor(one, "output_scale", (k, one.shape[1]))
        own = one.op == last or (every and one.kind == "bias")
        whole = tensor(one, one.kind, (k, *one.shape) if own else one.shape)
        parts.append(Part(one, whole, inputs, outputs))
    return tuple(parts)
