"""The layers of a network as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnet.nn.layers import BatchNorm, Dense, Dropout, LayerNorm

if TYPE_CHECKING:
    from fastnet.network import Network

COLUMNS = "layer", "activation", "shape", "parameters"


def layer_rows(network: Network) -> list[tuple[str, str, str, str]]:
    """Return name, activation, shape and number of parameters of every layer."""
    rows = []
    for index, (layer, op) in enumerate(zip(network.layers, network.plan.ops, strict=True)):
        count = sum(
            tensor.size
            for tensor in network.plan.parameters
            if tensor.name.startswith(f"layers.{index}.")
        )
        name = {
            Dense: "dense",
            Dropout: f"dropout {getattr(layer, 'rate', 0)}",
            BatchNorm: "batch norm",
            LayerNorm: "layer norm",
        }[type(layer)]
        rows.append(
            (
                f"{index}  {name}",
                getattr(layer, "activation", "-"),
                f"{op['inputs']} -> {op['outputs']}",
                f"{count:,}",
            )
        )
    return rows
