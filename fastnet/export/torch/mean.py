"""The PyTorch module of an ensemble: its members, and their mean, in double."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastnet.export.combination import Mean
from fastnet.populations.ensemble import LEAST


def state(mean: Mean) -> dict[str, NDArray[Any]]:
    """Return the buffers of the module by name."""
    made: dict[str, NDArray[Any]] = {"weights": mean.weights}
    if mean.units is not None:
        scale, center = mean.units
        made |= {"target_scale": scale[:, None, :], "target_center": center[:, None, :]}
    if mean.floors is not None:
        made["member_floors"] = mean.floors.astype(float)[:, None, :]
    return {name: values.copy() for name, values in made.items()}


def definition(mean: Mean) -> str:
    """Return the class ``Ensemble``, whose buffers are still zeros."""
    buffers = [
        f'self.register_buffer("{name}", torch.zeros({values.shape}, dtype=torch.float64))'
        for name, values in state(mean).items()
    ]
    lines = [
        "outputs = torch.stack([member(x) for member in self.members])",
        "z = outputs.to(torch.float64)",
        *([] if mean.units is None else ["z = z * self.target_scale + self.target_center"]),
        *_mean(mean),
        "return y.to(outputs.dtype)",
    ]
    return (
        "class Ensemble(nn.Module):\n"
        "    def __init__(self, members):\n"
        "        super().__init__()\n"
        "        self.members = nn.ModuleList(members)\n"
        + "".join(f"        {line}\n" for line in buffers)
        + "\n    def forward(self, x):\n"
        + "".join(f"        {line}\n" for line in lines)
    )


def _mean(mean: Mean) -> list[str]:
    """Return the lines from z (K, N, O) to y (N, O)."""
    if mean.floors is not None:
        half = mean.floors.shape[1]
        return [
            f"means, log_variances = z[:, :, :{half}], z[:, :, {half}:]",
            "y = torch.tensordot(self.weights, means, 1)",
            "variances = torch.exp(torch.maximum(log_variances, self.member_floors))",
            "variances = variances + (means - y) ** 2",
            "y = torch.cat([y, torch.log(torch.tensordot(self.weights, variances, 1))], 1)",
        ]
    lines = ["y = torch.tensordot(self.weights, z, 1)"]
    if mean.temperature is not None:
        logs = f"torch.log(torch.clip(y, {LEAST!r}))"
        if mean.activation == "softmax":
            lines.append(f"y = torch.softmax({logs} / {mean.temperature!r}, 1)")
        else:
            odds = f"{logs} - torch.log(torch.clip(1.0 - y, {LEAST!r}))"
            lines.append(f"y = torch.sigmoid(({odds}) / {mean.temperature!r})")
    return lines
