"""The function of an exported Python file that makes one answer of the outputs of its members.

It has the formulas of `Ensemble.predict`, in float64, and its bits where outputs have those of the
members.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fastnet.export.combination import Mean
from fastnet.populations.ensemble import LEAST


def definition(mean: Mean) -> str:
    """Return the function ``combine``, which takes a list of outputs (N, O)."""
    lines = ["z = np.stack(outputs)"]
    if mean.units is not None:
        lines.append('z = z * TENSORS["target_scale"][:, None] + TENSORS["target_center"][:, None]')
    if mean.floors is not None:
        about = "means and logarithms of variances of the mixture"
        lines += [
            "means, log_variances = np.split(z, 2, axis=2)",
            'std = np.exp(0.5 * np.maximum(log_variances, TENSORS["member_floors"][:, None]))',
            "means, std = means.astype(float), std.astype(float)",
            'mean = np.tensordot(TENSORS["weights"], means, 1)',
            'variance = np.tensordot(TENSORS["weights"], std**2 + (means - mean) ** 2, 1)',
            "return np.hstack([mean, np.log(variance)]).astype(DTYPE)",
        ]
        return _function(about, lines)
    lines.append('mean = np.tensordot(TENSORS["weights"], z.astype(float), 1)')
    about = "weighted mean"
    if mean.temperature is not None:
        about = f"weighted mean at the temperature {mean.temperature:.4g}"
        logits = f"np.log(np.maximum(mean, {LEAST!r}))"
        if mean.activation == "sigmoid":
            logits = f"({logits} - np.log(np.maximum(1.0 - mean, {LEAST!r})))"
        lines.append(f"mean = {mean.activation}({logits} / {float(mean.temperature)!r})")
    return _function(about, [*lines, "return mean.astype(DTYPE)"])


def _function(about: str, lines: list[str]) -> str:
    head = f'def combine(outputs):\n    """Return the {about} (N, O) of the members\' outputs."""\n'
    return head + "".join(f"    {line}\n" for line in lines)


def tensors(mean: Mean | None) -> dict[str, NDArray[Any]]:
    """Return the arrays of this function by name."""
    if mean is None:
        return {}
    made: dict[str, NDArray[Any]] = {"weights": mean.weights}
    if mean.units is not None:
        made |= zip(("target_scale", "target_center"), mean.units, strict=True)
    if mean.floors is not None:
        made["member_floors"] = mean.floors
    return made
