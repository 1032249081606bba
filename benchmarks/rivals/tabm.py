"""TabM by its authors' package (``pip install tabm``), eager, with PyTorch's fused Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.benchmarks.problems import LEARNING_RATE


def model_of(net: fn.Network) -> Any:
    """Return the package's model with the parameters of a network that begins with `Members`.

    The hidden layers of the network have the same width and ReLU; the last one is linear or
    softmax, which the package leaves to the loss.
    """
    import tabm
    import torch

    given = net.named_parameters()
    numbers = sorted({int(name.split(".")[1]) for name in given})
    *hidden, last = numbers
    k, inputs = given[f"layers.{hidden[0]}.input_scale"].shape
    everywhere = f"layers.{hidden[0]}.output_scale" in given
    arrays = {
        "output.weight": given[f"layers.{last}.weight"],
        "output.bias": given[f"layers.{last}.bias"],
    }
    for index, number in enumerate(hidden):
        place = f"backbone.blocks.{index}.0"
        arrays[f"{place}.weight"] = given[f"layers.{number}.weight"].T
        arrays[f"{place}.bias"] = given[f"layers.{number}.bias"]
        if everywhere:
            arrays[f"{place}.r"] = given[f"layers.{number}.input_scale"]
            arrays[f"{place}.s"] = given[f"layers.{number}.output_scale"]
    if not everywhere:
        arrays["backbone.affine.weight"] = given[f"layers.{hidden[0]}.input_scale"]
    model = tabm.TabM.make(
        n_num_features=inputs,
        d_out=given[f"layers.{last}.weight"].shape[2],
        k=k,
        n_blocks=len(hidden),
        d_block=given[f"layers.{hidden[0]}.weight"].shape[1],
        dropout=0.0,
        arch_type="tabm" if everywhere else "tabm-mini",
    )
    # Strict: a parameter without a counterpart is an error.
    model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return model


def epoch_of(
    net: fn.Network, x: NDArray[Any], labels: NDArray[np.int64], batch: int
) -> Callable[[], float]:
    """Return a function that trains for an epoch and returns its mean loss.

    Each member has its own order of the rows, the same in all epochs. The batch divides their
    number.
    """
    import torch

    model = model_of(net)
    k, rng = model.k, np.random.default_rng(0)
    orders = np.stack([rng.permutation(len(x)) for _ in range(k)], axis=1)
    steps = torch.tensor(orders.reshape(-1, batch, k))
    inputs, targets = torch.tensor(x), torch.tensor(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)

    def epoch() -> float:
        total = torch.zeros(())
        for index in steps:
            optimizer.zero_grad(set_to_none=True)
            z = model(inputs[index])
            loss = torch.nn.functional.cross_entropy(z.flatten(0, 1), targets[index].flatten())
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / len(steps)

    return epoch
