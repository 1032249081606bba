"""Pictures through matplotlib, which is imported here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnet.errors import FastNetError

if TYPE_CHECKING:
    from fastnet.history import History


def plot_history(history: History, path: str | None = None) -> Any:
    """Draw the learning curves of `history`; training and validation share a panel."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise FastNetError("plotting needs matplotlib: pip install 'fastnet-mlp[plot]'.") from None
    names = [name for name in history if not name.startswith("val_") and name != "learning_rate"]
    names += [n for n in history if n.startswith("val_") and n.removeprefix("val_") not in history]
    # A Figure of its own, not pyplot's: no window, no global state.
    figure = Figure(figsize=(4.5 * max(len(names), 1), 3.4), layout="constrained")
    axes = figure.subplots(1, max(len(names), 1), squeeze=False)[0]
    marker = "o" if len(history.epochs) == 1 else None
    for axis, name in zip(axes, names, strict=False):
        label = "validation" if name.startswith("val_") else "training"
        axis.plot(history.epochs, history[name], marker=marker, label=label)
        if f"val_{name}" in history:
            axis.plot(history.epochs, history[f"val_{name}"], marker=marker, label="validation")
        if history.best_epoch is not None:
            axis.axvline(history.best_epoch, color="0.6", linestyle=":", label="best epoch")
        axis.set(xlabel="epoch", title=name.removeprefix("val_"))
        axis.grid(alpha=0.3)
        axis.legend()
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
