"""A second implementation of everything fastnet computes: float64, plain loops, only ``math``.

It is written from the textbook formulas and not from fastnet, with another way to the same number
wherever there is one (derivatives from z, batch normalisation's backward pass by the chain rule of
the original paper, Adam with its powers). Speed does not matter. ``test_reference.py`` holds its
gradients against central differences.

A matrix is a list of rows. A network is a list of dicts, one for each layer:

- ``{"kind": "dense", "w": (I, O), "b": (O,), "activation": name}``
- ``{"kind": "dropout"}``; its masks are given from outside, so that no randomness is needed here
- ``{"kind": "batch_norm", "w": gamma, "b": beta, "activation": name, "epsilon": e,
  "momentum": m, "running_mean": (O,), "running_var": (O,)}``
- ``{"kind": "layer_norm", "w": gamma, "b": beta, "activation": name, "epsilon": e}``
- ``{"kind": "residual", "layers": a network}``, whose output is added to its input
"""

from __future__ import annotations

import math

# --- activations: f(z) and f'(z) ------------------------------------------------------------------

SELU_LAMBDA = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


def exp(z: float) -> float:
    """e^z, infinite where it overflows."""
    try:
        return math.exp(z)
    except OverflowError:
        return math.inf


def sigmoid(z: float) -> float:
    return 1.0 / (1.0 + exp(-z)) if z >= 0 else exp(z) / (1.0 + exp(z))


def softplus(z: float) -> float:
    return max(z, 0.0) + math.log1p(exp(-abs(z)))


def _gelu(z: float) -> float:
    return 0.5 * z * math.erfc(-z / math.sqrt(2.0))


def _gelu_derivative(z: float) -> float:
    density = exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
    return 0.5 * math.erfc(-z / math.sqrt(2.0)) + z * density


def _gelu_tanh_inner(z: float) -> float:
    return math.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3))


def _gelu_tanh_derivative(z: float) -> float:
    h = _gelu_tanh_inner(z)
    inner = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * z**2)
    return 0.5 * (1.0 + h) + 0.5 * z * (1.0 - h) * (1.0 + h) * inner


def _mish_derivative(z: float) -> float:
    h = math.tanh(softplus(z))
    return h + z * (1.0 - h) * (1.0 + h) * sigmoid(z)


def _selu(z: float) -> float:
    return SELU_LAMBDA * (z if z > 0 else SELU_ALPHA * math.expm1(z))


FORWARD = {
    "identity": lambda z: z,
    "relu": lambda z: z if z > 0 else 0.0,
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": lambda z: 0.5 * z * (1.0 + _gelu_tanh_inner(z)),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * math.tanh(softplus(z)),
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "exp": exp,
}

DERIVATIVE = {
    "identity": lambda z: 1.0,
    "relu": lambda z: 1.0 if z > 0 else 0.0,
    "leaky_relu": lambda z: 1.0 if z > 0 else 0.01,
    "elu": lambda z: 1.0 if z > 0 else exp(z),
    "selu": lambda z: SELU_LAMBDA * (1.0 if z > 0 else SELU_ALPHA * exp(z)),
    "gelu": _gelu_derivative,
    "gelu_tanh": _gelu_tanh_derivative,
    "silu": lambda z: sigmoid(z) * (1.0 + z * sigmoid(-z)),
    "mish": _mish_derivative,
    "tanh": lambda z: 1.0 / math.cosh(z) ** 2 if abs(z) < 300 else 0.0,
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "softplus": sigmoid,
    "exp": exp,
}

# The values at minus and plus infinity.
LIMITS = {
    "identity": (-math.inf, math.inf),
    "relu": (0.0, math.inf),
    "leaky_relu": (-math.inf, math.inf),
    "elu": (-1.0, math.inf),
    "selu": (-SELU_LAMBDA * SELU_ALPHA, math.inf),
    "gelu": (0.0, math.inf),
    "gelu_tanh": (0.0, math.inf),
    "silu": (0.0, math.inf),
    "mish": (0.0, math.inf),
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
}

ACTIVATIONS = (*FORWARD, "softmax")


def softmax(z: list) -> list:
    top = max(z)
    powers = [exp(v - top) for v in z]
    total = math.fsum(powers)
    return [p / total for p in powers]


def activate(name: str, z: list) -> list:
    """One row: y = f(z)."""
    return softmax(z) if name == "softmax" else [FORWARD[name](v) for v in z]


def activate_backward(name: str, z: list, dy: list) -> list:
    """One row: dz from dy."""
    if name != "softmax":
        return [d * DERIVATIVE[name](v) for v, d in zip(z, dy, strict=True)]
    # The whole Jacobian: dy_i / dz_j = y_i (1[i = j] - y_j).
    y = softmax(z)
    return [
        math.fsum(dy[i] * y[i] * ((1.0 if i == j else 0.0) - y[j]) for i in range(len(y)))
        for j in range(len(y))
    ]


# --- losses: one row's value, and its gradient with respect to y (or z, where it is fused) --------

FUSED = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}


def _sign(v: float) -> float:
    return float((v > 0) - (v < 0))


def _cross_entropy(y: list, z: list, t: list, options: dict) -> tuple:
    """Against the softened target: log sum exp(z) - sum(t z); z's gradient is y - t."""
    smoothing = options.get("label_smoothing", 0.0)
    t = [(1.0 - smoothing) * v + smoothing / len(t) for v in t]
    top = max(z)
    loss = math.log(math.fsum(exp(v - top) for v in z))
    loss -= math.fsum(a * (v - top) for a, v in zip(t, z, strict=True))
    return loss, [p - a for p, a in zip(softmax(z), t, strict=True)]


def _binary_cross_entropy(y: list, z: list, t: list, options: dict) -> tuple:
    """-t log sigma(z) - (1 - t) log sigma(-z), and log sigma(z) = -softplus(-z)."""
    smoothing = options.get("label_smoothing", 0.0)
    t = [(1.0 - smoothing) * v + smoothing / 2 for v in t]
    loss = [a * softplus(-v) + (1.0 - a) * softplus(v) for a, v in zip(t, z, strict=True)]
    slope = [(sigmoid(v) - a) / len(t) for a, v in zip(t, z, strict=True)]
    return math.fsum(loss) / len(t), slope


def _mse(y: list, z: list, t: list, options: dict) -> tuple:
    e = [v - a for v, a in zip(y, t, strict=True)]
    return math.fsum(v * v for v in e) / len(e), [2.0 * v / len(e) for v in e]


def _mae(y: list, z: list, t: list, options: dict) -> tuple:
    e = [v - a for v, a in zip(y, t, strict=True)]
    return math.fsum(abs(v) for v in e) / len(e), [_sign(v) / len(e) for v in e]


def _huber(y: list, z: list, t: list, options: dict) -> tuple:
    delta = options.get("delta", 1.0)
    e = [v - a for v, a in zip(y, t, strict=True)]
    loss = [v * v / 2 if abs(v) <= delta else delta * (abs(v) - delta / 2) for v in e]
    slope = [v if abs(v) <= delta else delta * _sign(v) for v in e]
    return math.fsum(loss) / len(e), [v / len(e) for v in slope]


def _poisson(y: list, z: list, t: list, options: dict) -> tuple:
    loss = [exp(v) - a * v for v, a in zip(z, t, strict=True)]
    return math.fsum(loss) / len(t), [(exp(v) - a) / len(t) for v, a in zip(z, t, strict=True)]


def _gaussian_nll(y: list, z: list, t: list, options: dict) -> tuple:
    """Means, then log-variances. The floor under the variance is no part of the derivative."""
    count = len(t)
    floor = math.log(1e-6)
    loss, d_mean, d_log = [], [], []
    for mean, log_variance, a in zip(y[:count], y[count:], t, strict=True):
        variance = exp(max(log_variance, floor))
        loss.append(0.5 * (math.log(2.0 * math.pi * variance) + (mean - a) ** 2 / variance))
        d_mean.append((mean - a) / variance / count)
        d_log.append(0.5 * (1.0 - (mean - a) ** 2 / variance) / count)
    return math.fsum(loss) / count, d_mean + d_log


def _quantile(y: list, z: list, t: list, options: dict) -> tuple:
    loss, slope = [], []
    for k, q in enumerate(options.get("quantiles", (0.1, 0.5, 0.9))):
        for v, a in zip(y[k * len(t) : (k + 1) * len(t)], t, strict=True):
            e = a - v
            loss.append(max(q * e, (q - 1.0) * e))
            slope.append(0.0 if e == 0 else -q if e > 0 else 1.0 - q)
    return math.fsum(loss) / len(y), [v / len(y) for v in slope]


LOSSES = {
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "poisson": _poisson,
    "gaussian_nll": _gaussian_nll,
    "quantile": _quantile,
}


def score_row(loss: str, y: list, z: list, t: list) -> float:
    """1 or 0 for a right or wrong class; a share of right answers; or a mean squared error."""
    if loss == "cross_entropy":
        return float(y.index(max(y)) == t.index(max(t)))
    if loss == "binary_cross_entropy":
        return sum((v > 0) == (a > 0.5) for v, a in zip(z, t, strict=True)) / len(t)
    if loss == "quantile":
        return 0.0
    return math.fsum((v - a) ** 2 for v, a in zip(y, t, strict=False)) / len(t)


def one_hot(labels: list, classes: int) -> list:
    return [[float(c == label) for c in range(classes)] for label in labels]


# --- layers ---------------------------------------------------------------------------------------


def transpose(a: list) -> list:
    return [list(column) for column in zip(*a, strict=True)]


def matmul(a: list, b: list) -> list:
    columns = transpose(b)
    return [[_dot(row, column) for column in columns] for row in a]


def _dot(a: list, b: list) -> float:
    return math.fsum([p * q for p, q in zip(a, b, strict=True)])


def _moments(values: list) -> tuple:
    """Mean and biased variance."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / len(values)


def _normalize(values: list, mean: float, variance: float, epsilon: float) -> list:
    return [(v - mean) / math.sqrt(variance + epsilon) for v in values]


def _normalize_backward(x: list, dxhat: list, epsilon: float) -> list:
    """dx of xhat = (x - mean(x)) / sqrt(var(x) + epsilon), step by step as in the paper."""
    n = len(x)
    mean, variance = _moments(x)
    deviation = math.sqrt(variance + epsilon)
    d_variance = math.fsum(d * (v - mean) for d, v in zip(dxhat, x, strict=True))
    d_variance *= -0.5 / deviation**3
    d_mean = -math.fsum(dxhat) / deviation
    d_mean += d_variance * -2.0 * math.fsum(v - mean for v in x) / n
    return [
        d / deviation + d_variance * 2.0 * (v - mean) / n + d_mean / n
        for d, v in zip(dxhat, x, strict=True)
    ]


def _batch_norm_xhat(layer: dict, x: list, training: bool) -> list:
    """Normalised columns; in training the running statistics move."""
    columns = []
    for o, values in enumerate(transpose(x)):
        mean, variance = layer["running_mean"][o], layer["running_var"][o]
        if training:
            mean, variance = _moments(values)
            unbiased = variance * len(values) / max(len(values) - 1, 1)
            momentum = layer["momentum"]
            for key, value in (("running_mean", mean), ("running_var", unbiased)):
                layer[key][o] = (1.0 - momentum) * layer[key][o] + momentum * value
        columns.append(_normalize(values, mean, variance, layer["epsilon"]))
    return transpose(columns)


def forward(network: list, x: list, *, training: bool = False, masks: dict | None = None) -> list:
    """Run the layers; return a trace: for each its input, xhat, z and y. The last y is the output.

    `masks` holds one (B, O) matrix of factors for each dropout layer, by its index; for a residual
    connection, the masks of its layers.
    """
    trace = []
    for index, layer in enumerate(network):
        xhat = inside = None
        if layer["kind"] == "residual":
            own = (masks or {}).get(index)
            inside = forward(layer["layers"], x, training=training, masks=own)
            z = _add(x, inside[-1]["y"])
        elif layer["kind"] == "dense":
            z = [
                [v + b for v, b in zip(row, layer["b"], strict=True)]
                for row in matmul(x, layer["w"])
            ]
        elif layer["kind"] == "dropout":
            z = x
            if training:
                z = [
                    [v * m for v, m in zip(r, mask, strict=True)]
                    for r, mask in zip(x, masks[index], strict=True)
                ]
        else:
            if layer["kind"] == "batch_norm":
                xhat = _batch_norm_xhat(layer, x, training)
            else:
                xhat = [_normalize(row, *_moments(row), layer["epsilon"]) for row in x]
            z = [
                [v * g + b for v, g, b in zip(row, layer["w"], layer["b"], strict=True)]
                for row in xhat
            ]
        y = [activate(layer.get("activation", "identity"), row) for row in z]
        trace.append({"x": x, "xhat": xhat, "z": z, "y": y, "inside": inside})
        x = y
    return trace


def _add(a: list, b: list) -> list:
    return [[v + w for v, w in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def backward(
    network: list,
    trace: list,
    d: list,
    *,
    fused: bool,
    training: bool = False,
    masks: dict | None = None,
) -> list:
    """Return ``{"w": ..., "b": ...}`` for each layer, empty for dropout.

    For a residual connection it is ``{"layers": what this returns of its layers}``. `d` is the
    gradient of the output: with respect to its z when `fused`, else to y.
    """
    return _backward(network, trace, d, fused, training, masks)[0]


def _backward(
    network: list, trace: list, d: list, fused: bool, training: bool, masks: dict | None
) -> tuple:
    """The gradients of the layers, and that of the input."""
    gradients: list = []
    for index in range(len(network) - 1, -1, -1):
        layer, seen = network[index], trace[index]
        if not (fused and index == len(network) - 1):
            name = layer.get("activation", "identity")
            d = [activate_backward(name, z, dy) for z, dy in zip(seen["z"], d, strict=True)]
        if layer["kind"] == "residual":
            own = (masks or {}).get(index)
            within = _backward(layer["layers"], seen["inside"], d, False, training, own)
            gradients.append({"layers": within[0]})
            d = _add(d, within[1])
        elif layer["kind"] == "dense":
            w = matmul(transpose(seen["x"]), d)
            gradients.append({"w": w, "b": [math.fsum(c) for c in transpose(d)]})
            d = matmul(d, transpose(layer["w"]))
        elif layer["kind"] == "dropout":
            gradients.append({})
            if training:
                d = [
                    [v * m for v, m in zip(row, mask, strict=True)]
                    for row, mask in zip(d, masks[index], strict=True)
                ]
        else:
            products = zip(transpose(d), transpose(seen["xhat"]), strict=True)
            gamma = [_dot(a, b) for a, b in products]
            gradients.append({"w": gamma, "b": [math.fsum(c) for c in transpose(d)]})
            dxhat = [[v * g for v, g in zip(row, layer["w"], strict=True)] for row in d]
            d = _norm_backward(layer, seen["x"], dxhat, training)
    return gradients[::-1], d


def _norm_backward(layer: dict, x: list, dxhat: list, training: bool) -> list:
    epsilon = layer["epsilon"]
    if layer["kind"] == "layer_norm":
        return [_normalize_backward(a, b, epsilon) for a, b in zip(x, dxhat, strict=True)]
    if training:
        pairs = zip(transpose(x), transpose(dxhat), strict=True)
        return transpose([_normalize_backward(a, b, epsilon) for a, b in pairs])
    deviations = [math.sqrt(v + epsilon) for v in layer["running_var"]]
    return [[v / s for v, s in zip(row, deviations, strict=True)] for row in dxhat]


# --- the whole network ----------------------------------------------------------------------------


def loss_and_gradients(
    network: list,
    x: list,
    target: list,
    loss: str,
    options: dict | None = None,
    *,
    weight: list | None = None,
    training: bool = False,
    masks: dict | None = None,
) -> dict:
    """Return the sums of loss, score and weight over the rows, and the gradients of the mean loss.

    Keys: ``loss``, ``score``, ``weight``, ``output`` (B, O), ``rows`` (each row's loss) and
    ``gradients`` (as `backward` returns them).
    """
    weight = [1.0] * len(x) if weight is None else weight
    total = math.fsum(weight)
    trace = forward(network, x, training=training, masks=masks)
    y, z = trace[-1]["y"], trace[-1]["z"]
    rows = [LOSSES[loss](a, b, t, options or {}) for a, b, t in zip(y, z, target, strict=True)]
    scores = [score_row(loss, a, b, t) for a, b, t in zip(y, z, target, strict=True)]
    shares = [w / total if total else 0.0 for w in weight]
    d = [[share * v for v in row[1]] for share, row in zip(shares, rows, strict=True)]
    fused = FUSED.get(loss) == network[-1]["activation"]
    return {
        "loss": math.fsum(w * row[0] for w, row in zip(weight, rows, strict=True)),
        "score": math.fsum(w * s for w, s in zip(weight, scores, strict=True)),
        "weight": total,
        "output": y,
        "rows": [row[0] for row in rows],
        "gradients": backward(network, trace, d, fused=fused, training=training, masks=masks),
    }


# --- optimizers: one number at a time -------------------------------------------------------------


def _sgd(w: float, g: float, m: dict, t: int, rate: float, o: dict) -> float:
    mu = o.get("momentum", 0.0)
    m["m"] = mu * m.get("m", 0.0) + g
    return w - rate * (g + mu * m["m"] if o.get("nesterov") else m["m"])


def _rmsprop(w: float, g: float, m: dict, t: int, rate: float, o: dict) -> float:
    rho = o.get("rho", 0.99)
    m["v"] = rho * m.get("v", 0.0) + (1.0 - rho) * g * g
    return w - rate * g / (math.sqrt(m["v"]) + o.get("epsilon", 1e-8))


def _adagrad(w: float, g: float, m: dict, t: int, rate: float, o: dict) -> float:
    m["v"] = m.get("v", 0.0) + g * g
    return w - rate * g / (math.sqrt(m["v"]) + o.get("epsilon", 1e-10))


def _adam_moments(g: float, m: dict, o: dict) -> tuple:
    b1, b2 = o.get("beta1", 0.9), o.get("beta2", 0.999)
    m["m"] = b1 * m.get("m", 0.0) + (1.0 - b1) * g
    m["v"] = b2 * m.get("v", 0.0) + (1.0 - b2) * g * g
    return b1, b2, o.get("epsilon", 1e-8)


def _adam(w: float, g: float, m: dict, t: int, rate: float, o: dict) -> float:
    b1, b2, epsilon = _adam_moments(g, m, o)
    mean, square = m["m"] / (1.0 - b1**t), m["v"] / (1.0 - b2**t)
    return w - rate * mean / (math.sqrt(square) + epsilon)


def _nadam(w: float, g: float, m: dict, t: int, rate: float, o: dict) -> float:
    b1, b2, epsilon = _adam_moments(g, m, o)
    ahead = b1 * m["m"] / (1.0 - b1 ** (t + 1)) + (1.0 - b1) * g / (1.0 - b1**t)
    return w - rate * ahead / (math.sqrt(m["v"] / (1.0 - b2**t)) + epsilon)


def _lion(w: float, g: float, m: dict, t: int, rate: float, o: dict) -> float:
    b1, b2 = o.get("beta1", 0.9), o.get("beta2", 0.99)
    w -= rate * _sign(b1 * m.get("m", 0.0) + (1.0 - b1) * g)
    m["m"] = b2 * m.get("m", 0.0) + (1.0 - b2) * g
    return w


OPTIMIZERS = {
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adam": _adam,
    "adamw": _adam,
    "nadam": _nadam,
    "lion": _lion,
}


def optimizer_step(
    name: str,
    w: list,
    g: list,
    memory: list,
    t: int,
    rate: float,
    options: dict,
    decayed: list,
    factors: list | None = None,
) -> list:
    """Return the new flat parameters.

    Parameters
    ----------
    w, g : (P,)
        Parameters and the gradient of the loss.
    memory : (P,) list of dict
        Moments, changed; begins as empty dicts.
    t : int
        Number of this step, from 1.
    options : dict
        The optimizer's own numbers, and ``l1``, ``l2``, ``weight_decay``, ``clip_norm``.
    decayed : (P,) list of bool
        Which parameters are weights of dense layers.
    factors : (P,) list of float, optional
        What each parameter's step is multiplied by.
    """
    factors = [1.0] * len(w) if factors is None else factors
    norm = math.sqrt(math.fsum(v * v for v, f in zip(g, factors, strict=True) if f))
    clip = options.get("clip_norm")
    shrink = clip / norm if clip is not None and norm > clip else 1.0
    new = []
    for value, slope, m, decays, factor in zip(w, g, memory, decayed, factors, strict=True):
        slope = slope * shrink
        decay = 0.0
        if decays:
            slope += options.get("l2", 0.0) * value + options.get("l1", 0.0) * _sign(value)
            decay = rate * options.get("weight_decay", 0.0) * value
        moved = OPTIMIZERS[name](value - decay, slope, m, t, rate, options)
        new.append(value + factor * (moved - value))
    return new


def flatten(network: list, tensors: list) -> list:
    """Return every number under ``w`` and ``b``, layer by layer."""
    flat = []
    for layer, values in _leaves(network, tensors):
        if "w" not in values:
            continue
        rows = values["w"] if layer["kind"] == "dense" else [values["w"]]
        flat += [v for row in rows for v in row] + list(values["b"])
    return flat


def _leaves(network: list, tensors: list) -> list:
    """Pairs of each layer and what belongs to it, those inside of residual connections too."""
    pairs = []
    for layer, values in zip(network, tensors, strict=True):
        inside = layer["kind"] == "residual"
        pairs += _leaves(layer["layers"], values["layers"]) if inside else [(layer, values)]
    return pairs


def unflatten(network: list, flat: list) -> None:
    """Put numbers back into the network's ``w`` and ``b``."""
    numbers = iter(flat)
    for layer, _ in _leaves(network, network):
        if layer["kind"] == "dense":
            layer["w"] = [[next(numbers) for _ in row] for row in layer["w"]]
        elif "w" in layer:
            layer["w"] = [next(numbers) for _ in layer["w"]]
        if "b" in layer:
            layer["b"] = [next(numbers) for _ in layer["b"]]


def train(
    network: list,
    batches: list,
    loss: str,
    optimizer: str,
    rates: list,
    *,
    loss_options: dict | None = None,
    optimizer_options: dict | None = None,
) -> list:
    """Train `network` in place, one step for each batch; return each step's sums.

    A batch is a dict of ``x`` and ``target``, and of ``weight`` and ``masks`` where there are any.
    """
    decayed = []
    for layer, _ in _leaves(network, network):
        if layer["kind"] == "dense":
            decayed += [True] * (len(layer["w"]) * len(layer["b"])) + [False] * len(layer["b"])
        elif "w" in layer:
            decayed += [False] * (2 * len(layer["b"]))
    memory: list = [{} for _ in decayed]
    results = []
    for t, (batch, rate) in enumerate(zip(batches, rates, strict=True), start=1):
        result = loss_and_gradients(
            network,
            batch["x"],
            batch["target"],
            loss,
            loss_options,
            weight=batch.get("weight"),
            training=True,
            masks=batch.get("masks"),
        )
        results.append(result)
        w, g = flatten(network, network), flatten(network, result["gradients"])
        w = optimizer_step(optimizer, w, g, memory, t, rate, optimizer_options or {}, decayed)
        unflatten(network, w)
    return results
