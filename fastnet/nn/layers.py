"""Layers: frozen descriptions without input sizes and without arrays.

A network is a chain of them. `fastnet.backends.numpy_backend` defines their formulas, and
`fastnet.nn.plan` decides where their parameters lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Final, Literal, NamedTuple

from fastnet.errors import InputError
from fastnet.kernels import abi
from fastnet.nn import activations, initializers
from fastnet.utils.names import ActivationName, InitializerName
from fastnet.utils.param_validation import LARGEST, check_float, check_int, check_list
from fastnet.utils.serialize import build, describe


@dataclass(frozen=True)
class Layer:
    """Base class of all layers."""

    name: ClassVar[str]
    code: ClassVar[int]

    def __getstate__(self) -> dict[str, Any]:
        return _renamed(self.__dict__, activations.to_stored)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(_renamed(state, activations.from_stored))


class Block(NamedTuple):
    """A block of the weights of a `Dense` layer, for some columns of its inputs.

    Attributes
    ----------
    inputs, outputs : int
    initializer : str, default "lecun_normal"
        Its variance is that of the block's numbers of inputs and outputs.
    rate : float, default 1
        Factor on the layer's `weight_rate`.
    """

    inputs: int
    outputs: int
    initializer: InitializerName = "lecun_normal"
    rate: float = 1.0


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """A fully connected layer: ``y = f(x @ w + b)``, w (I, O), b (O,).

    Parameters
    ----------
    units : int
        Number of outputs, O.
    activation : str, default "identity"
    initializer : str, optional
        Initial weights. The default depends on the activation: He for the ReLU family, LeCun for
        selu, Glorot otherwise.
    bias_initializer : str, default "zeros"
    weight_rate, bias_rate : float, default 1
        Factors on the optimizer's learning rate and on decoupled decay; 0 freezes the weights or
        the biases.
    blocks : sequence of Block, optional
        Blocks along the diagonal of the weights, which together cover all inputs and outputs. Every
        other weight is 0 and stays so; another value is refused where it is assigned, and by `fit`
        and `save` where it was written into a view. A block for the one-hot inputs of a category is
        its embedding.
    """

    units: int
    activation: ActivationName = "identity"
    initializer: InitializerName | None = None
    _: KW_ONLY
    bias_initializer: InitializerName = "zeros"
    weight_rate: float = 1.0
    bias_rate: float = 1.0
    blocks: tuple[Block, ...] | None = None

    name: ClassVar[str] = "dense"
    code: ClassVar[int] = abi.DENSE

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_int("units", self.units, most=LARGEST))
        row = activations.get(self.activation)
        chosen = row.initializer if self.initializer is None else self.initializer
        object.__setattr__(self, "initializer", initializers.check(chosen))
        initializers.check(self.bias_initializer)
        for name in ("weight_rate", "bias_rate"):
            object.__setattr__(self, name, check_float(name, getattr(self, name), least=0))
        if self.blocks is not None:
            blocks = tuple(_block(values) for values in check_list("blocks", self.blocks))
            object.__setattr__(self, "blocks", blocks)
            if sum(block.outputs for block in blocks) != self.units:
                raise InputError(
                    f"the blocks of Dense({self.units}) must have {self.units} outputs in all, got "
                    f"{sum(block.outputs for block in blocks)}."
                )

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        special = _special(self)
        texts = [f"{k}={v!r}" for k, v in shown.items() if k not in _OPTIONS or k in special]
        return f"Dense({', '.join(texts)})"


_OPTIONS: Final = ("bias_initializer", "weight_rate", "bias_rate", "blocks")


def _special(layer: Dense) -> set[str]:
    """Return the names of the options that differ from their defaults."""
    return {name for name in _OPTIONS if getattr(layer, name) != getattr(Dense, name)}


def _block(values: Any) -> Block:
    if not isinstance(values, tuple | list) or not 2 <= len(values) <= 4:
        raise InputError(f"a block must be a Block(inputs, outputs), got {values!r}.")
    block = Block(*values)
    inputs, outputs = (check_int("a block's size", size, most=LARGEST) for size in block[:2])
    rate = check_float("a block's rate", block.rate, least=0)
    return Block(inputs, outputs, initializers.check(block.initializer), rate)


@dataclass(frozen=True)
class Dropout(Layer):
    """Zero each input with probability `rate`, and scale the rest by ``1 / (1 - rate)``.

    This happens in training only (Srivastava et al., 2014, in the inverted form).
    """

    rate: float

    name: ClassVar[str] = "dropout"
    code: ClassVar[int] = abi.DROPOUT

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_float("rate", self.rate, least=0, below=1))


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalise each unit over the batch (Ioffe and Szegedy, 2015), then apply an activation.

    Training normalises by the mean and the biased variance of the batch, and updates the running
    statistics: ``running = (1 - momentum) running + momentum batch``, with the unbiased variance.
    Prediction uses the running statistics.

    A single row has no variance. So batches of training need two rows at least: a last batch of one
    row is left out of its epoch (with `shuffle`, another row in each), and ``batch_size=1`` or a
    single row in ``partial_fit`` is refused. Sample weights do not count in the statistics.

    Parameters
    ----------
    activation : str, default "identity"
    momentum : float, default 0.1
    epsilon : float, default 1e-5
        Added to the variance.
    """

    activation: ActivationName = "identity"
    momentum: float = 0.1
    epsilon: float = 1e-5

    name: ClassVar[str] = "batch_norm"
    code: ClassVar[int] = abi.BATCH_NORM

    def __post_init__(self) -> None:
        activations.get(self.activation)
        momentum = check_float("momentum", self.momentum, least=0, most=1)
        object.__setattr__(self, "momentum", momentum)
        object.__setattr__(self, "epsilon", check_float("epsilon", self.epsilon, above=0, below=1))


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalise each row over its units (Ba et al., 2016), then apply an activation.

    Parameters
    ----------
    activation : str, default "identity"
    epsilon : float, default 1e-5
        Added to the variance.
    """

    activation: ActivationName = "identity"
    epsilon: float = 1e-5

    name: ClassVar[str] = "layer_norm"
    code: ClassVar[int] = abi.LAYER_NORM

    def __post_init__(self) -> None:
        activations.get(self.activation)
        object.__setattr__(self, "epsilon", check_float("epsilon", self.epsilon, above=0, below=1))


@dataclass(frozen=True, repr=False)
class Residual(Layer):
    """A residual connection (He et al., 2015): ``y = x + f(x)``, f a chain of layers.

    The chain ends as wide as it begins. Its layers may be of any kind, residual connections too,
    but none may be softmax. Their parameters are called ``layers.2.layers.0.weight``: those of the
    first layer of a connection that is the network's third layer.

    Parameters
    ----------
    layers : sequence of Layer
        Kept as a tuple.

    Examples
    --------
    >>> import fastnet as fn
    >>> block = fn.Residual([fn.LayerNorm(), fn.Dense(64, "gelu"), fn.Dense(16)])
    >>> layers = [fn.Dense(16), block, block, fn.Dense(3, "softmax")]
    >>> net = fn.Network(layers, inputs=4, backend="numpy")
    >>> net.named_parameters()["layers.1.layers.1.weight"].shape
    (16, 64)
    """

    layers: Sequence[Layer]

    name: ClassVar[str] = "residual"
    code: ClassVar[int] = abi.ADD

    def __post_init__(self) -> None:
        try:
            inside: tuple[Any, ...] = tuple(self.layers)
        except TypeError:
            raise InputError(
                f"the layers of Residual must be a list, such as [Dense(64, 'relu'), Dense(16)], "
                f"got {self.layers!r}."
            ) from None
        if not inside:
            raise InputError("Residual needs at least one layer.")
        for index, layer in enumerate(inside):
            require_layer(layer, f"layers[{index}] of Residual")
        if _depth(inside) >= MOST_NESTED:
            raise InputError(f"residual connections may be nested {MOST_NESTED} deep at most.")
        object.__setattr__(self, "layers", inside)

    def __repr__(self) -> str:
        return f"Residual([{', '.join(map(repr, self.layers))}])"


@dataclass(frozen=True, repr=False)
class Members(Layer):
    """Lets the layers behind it answer several times, as the members of an ensemble.

    The members share the weights of all layers but the last, of which each has its own. Small
    factors of their own keep them apart (Gorishniy, Kotelnikov and Babenko, "TabM: Advancing
    tabular deep learning with parameter-efficient ensembling", ICLR 2025). In training the loss is
    the mean of the members' losses, and each member has its own shuffle and dropout masks. What
    the network predicts is the mean of the members' outputs; rows held out are scored by it.

    It stands once in the list of layers, right before a `Dense`. Layers before it are shared as
    well. Penalties and decay act on all parameters of such a network. The losses ``gaussian_nll``
    and functions do not go with it, nor do `BatchNorm` and, behind it, blocks.

    Parameters
    ----------
    members : int
        Their number, k.
    scales : {"first", "all"}, default "first"
        The layers whose inputs have factors: the first behind it (the paper's TabM-mini), whose
        member m computes ``f((x * r[m]) @ w + b)``; or all but the last, whose outputs have factors
        and biases of their own too (TabM): ``f(((x * r[m]) @ w) * s[m] + b[m])``.
    initializer : {"signs", "normal"}, optional
        The first factors r: 1 and -1 at random, or normal numbers. All other factors begin as 1.
        Default: normal behind a `Dense` with blocks of several outputs, which embed columns, else
        signs.
    groups : sequence of int, optional
        How many neighbouring inputs begin with the same factor, such as those of a category; their
        sum is the number of inputs. Default: the outputs of each block of a `Dense` right before,
        else 1 each.

    Examples
    --------
    >>> import fastnet as fn
    >>> layers = [fn.Members(16), fn.Dense(256, "relu"), fn.Dropout(0.1), fn.Dense(3, "softmax")]
    >>> net = fn.Network(layers, inputs=8, backend="numpy")
    >>> for name, values in net.named_parameters().items():
    ...     print(name, values.shape)
    layers.1.input_scale (16, 8)
    layers.1.weight (8, 256)
    layers.1.bias (256,)
    layers.3.weight (16, 256, 3)
    layers.3.bias (16, 3)
    """

    members: int
    _: KW_ONLY
    scales: Literal["first", "all"] = "first"
    initializer: Literal["signs", "normal"] | None = None
    groups: tuple[int, ...] | None = None

    name: ClassVar[str] = "members"
    code: ClassVar[int] = -1  # no op has it: `fastnet.nn.member_plan` takes it out of the chain

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", check_int("members", self.members, most=MOST_MEMBERS))
        _check_choice("scales", self.scales, ("first", "all"))
        if self.initializer is not None:
            _check_choice("initializer", self.initializer, ("signs", "normal"))
        if self.groups is not None:
            sizes = check_list("groups", self.groups)
            groups = tuple(check_int("the size of a group", n, most=LARGEST) for n in sizes)
            object.__setattr__(self, "groups", groups)

    def __repr__(self) -> str:
        special = [f for f in fields(self)[1:] if getattr(self, f.name) != f.default]
        texts = [f"{f.name}={getattr(self, f.name)!r}" for f in special]
        return f"Members({', '.join([str(self.members), *texts])})"


MOST_MEMBERS: Final = 2**16
"""Most members of a network."""


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        wanted = " or ".join(map(repr, choices))
        raise InputError(f"{name} must be {wanted}, got {value!r}.")


def require_layer(layer: Any, where: str) -> None:
    """Raise `InputError` for what is no layer."""
    if not isinstance(layer, Layer):
        raise InputError(f"{where} must be a layer such as Dense(128, 'relu'), got {layer!r}.")


MOST_NESTED: Final = 20
"""Deepest nesting of residual connections."""


def _depth(layers: Sequence[Layer]) -> int:
    """Return how deep residual connections are nested."""
    return max((1 + _depth(v.layers) for v in layers if isinstance(v, Residual)), default=0)


LAYERS: Final[dict[str, type[Layer]]] = {
    row.name: row for row in (Dense, Dropout, BatchNorm, LayerNorm, Residual, Members)
}


def _renamed(values: dict[str, Any], rename: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the fields of a layer with another name for its activation, if it has one."""
    return {k: rename(v) if k == "activation" else v for k, v in values.items()}


def _all_renamed(descriptions: Any, rename: Callable[[Any], Any], deep: int = 0) -> Any:
    """Rename in a list of descriptions, and in those inside of them; leave anything else."""
    listed = isinstance(descriptions, list) and all(isinstance(v, dict) for v in descriptions)
    if not listed or deep > MOST_NESTED:
        return descriptions
    renamed = [_renamed(values, rename) for values in descriptions]
    return [
        values | {"layers": _all_renamed(values["layers"], rename, deep + 1)}
        if "layers" in values
        else values
        for values in renamed
    ]


def to_stored(descriptions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return layers as `to_dict` describes them with the names that files have."""
    stored: list[dict[str, Any]] = _all_renamed(descriptions, activations.to_stored)
    return stored


def from_stored(descriptions: Any) -> Any:
    """Return what `to_stored` was given; what no list of dicts is stays as it is."""
    return _all_renamed(descriptions, activations.from_stored)


def to_dict(layer: Layer) -> dict[str, Any]:
    """Return a layer as plain JSON values, with its name under ``"layer"``."""
    values = describe("layer", layer)
    if isinstance(layer, Dense):
        special = _special(layer)
        values = {k: v for k, v in values.items() if k not in _OPTIONS or k in special}
    if isinstance(layer, Residual):
        values["layers"] = [to_dict(inner) for inner in layer.layers]
    return values


def from_dict(values: Any, deep: int = 0) -> Layer:
    """Return the layer that `to_dict` described; raise `InputError` for anything else.

    `deep` is the number of residual connections around it.
    """
    inside = values.get("layers") if isinstance(values, dict) else None
    if isinstance(inside, list) and deep < MOST_NESTED:
        values = values | {"layers": [from_dict(inner, deep + 1) for inner in inside]}
    return build("layer", LAYERS, values)
