"""What ``fastnet train`` decides by the number of rows, where no option says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastnet.cli.commands.train.settings import Settings
from fastnet.nn.optimizers import OPTIMIZERS
from fastnet.tables import PRESETS, Preset
from fastnet.tables.preset import for_rows
from fastnet.training.budget import AUTO, Budget


@dataclass(frozen=True)
class Decisions:
    """The preset and the length of the training.

    Attributes
    ----------
    preset : Preset or None
    budget : Budget
        Epochs, batches and held-out rows, those of a preset too.
    """

    preset: Preset | None
    budget: Budget

    @property
    def epochs(self) -> int:
        """Passes over the rows."""
        return self.budget.epochs

    @property
    def batch_size(self) -> int:
        """Rows in a step."""
        assert self.budget.batch_size is not None
        return self.budget.batch_size

    @property
    def validation_split(self) -> float:
        """Fraction of the rows that is held out."""
        return self.budget.validation_split

    def line(self, settings: Settings, *, table: bool) -> str:
        """Return what was decided, as the options that change it; empty if nothing was."""
        given, budget = settings.given, self.budget
        said = {"epochs": str(self.epochs), "batch_size": str(self.batch_size)}
        if table and settings.preset == AUTO:
            said = {"preset": "none" if self.preset is None else "tabular"} | said
        if settings.data.validation_data is None and settings.training.early_stopping is None:
            said["validation"] = f"{self.validation_split:g}"
        if "epochs" in given and self.preset is None:
            said.pop("validation", None)
        words = [
            f"--{name.replace('_', '-')} {value}"
            for name, value in said.items()
            if name not in given
        ]
        if not words or settings.as_0_1:
            return ""
        held_out = bool(self.validation_split or settings.data.validation_data)
        keeps = budget.keeps_best or (held_out and self.preset is not None)
        best = "; the weights of the best epoch are kept" if keeps else ""
        return f"{', '.join(words)}, by the number of rows{best}"


def decide(
    settings: Settings,
    rows: int,
    *,
    table: bool,
    validation_rows: int | None,
    holds_out: bool = True,
    counted: int | None = None,
) -> Decisions:
    """Return what suits `rows` rows of which something is held out.

    Parameters
    ----------
    table : bool
        Whether the data are columns of a table, for which there are presets.
    validation_rows : int, optional
        Number of rows in a file of their own.
    holds_out : bool, default True
        Whether rows can be held out at all.
    counted : int, optional
        The rows as their weights count them.
    """
    training = settings.training
    plain = settings.describes_a_network
    if settings.preset == AUTO:
        preset = for_rows(rows, plain=plain) if table else None
    else:
        preset = PRESETS.get(settings.preset)
    options: dict[str, Any] = {
        "epochs": training.epochs,
        "batch_size": AUTO if training.batch_size is None else training.batch_size,
        "validation_split": training.validation if holds_out else 0.0,
        "early_stopping": training.early_stopping or AUTO,
    }
    if preset is not None:
        whole = preset.epochs if settings.preset != AUTO else preset.epochs_for(rows)
        options["epochs"] = training.epochs or whole
        options["batch_size"] = training.batch_size or preset.batch_size
        if training.validation is None:
            options["validation_split"] = preset.validation_split
    return Decisions(
        preset,
        Budget.of(
            rows,
            **options,
            validation_rows=validation_rows,
            counted=counted,
            optimizer=OPTIMIZERS[training.optimizer]() if training.optimizer else None,
        ),
    )
