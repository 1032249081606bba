"""`Trainer`: the networks of a search, and the board that compares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastnet.errors import InputError
from fastnet.network import Network
from fastnet.nn import metrics as metric_table
from fastnet.nn.losses import CrossEntropy
from fastnet.populations.folds import Fold
from fastnet.populations.results import SEED
from fastnet.populations.runner import train_member
from fastnet.populations.scorer import Scorer
from fastnet.populations.work import Row, Trained
from fastnet.preprocessing.validation import seed_of
from fastnet.tables import pace
from fastnet.tables.board import Board
from fastnet.tables.prepare import Prepared, prepare
from fastnet.tables.preset import Preset
from fastnet.tables.rows import TableRows
from fastnet.tables.space import described, preset_of


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains the networks of a search: trial k on fold f is number ``k * folds + f``.

    Attributes
    ----------
    rows : TableRows
    folds : list of (rows to train on, rows to hold out)
    how : dict
        Arguments of `train` for all trials.

    Raises
    ------
    InputError
        A fold does not train on each class: its network would answer with others.
    """

    rows: TableRows
    folds: list[Fold]
    how: Mapping[str, Any]

    def __post_init__(self) -> None:
        labels = self.rows.labels
        for number, (mine, _) in enumerate(self.folds if labels is not None else ()):
            if len(lacking := np.setdiff1d(labels, labels[mine])):
                raise InputError(
                    f"fold {number} has no row of the class {lacking[0].item()!r} to train on: "
                    "give folds that have their share of each class, such as cv=5."
                )

    @property
    def seed(self) -> int:
        """The seed of the search; trial k has the k-th after it."""
        return seed_of(self.how.get("seed", 0))

    def preset(self, trial: int) -> Preset:
        """Return the settings of a trial, with as many epochs as suit the rows."""
        preset = preset_of(self.seed, trial)
        return replace(preset, epochs=preset.epochs_for(len(self.rows)))

    def describe(self, number: int) -> Row:
        """Return seed and settings of a network's trial."""
        return self.describe_trial(number // len(self.folds))

    def describe_trial(self, trial: int) -> Row:
        """Return seed and settings of a trial as the results show them."""
        shown = described(self.preset(trial), self.rows.task, self.how)
        return {SEED: (self.seed + trial) % 2**64, **shown}

    def prepare(self, trial: int, fold: int | None) -> Prepared:
        """Return a network of a trial, for a fold or for all rows."""
        how = {**self.how, "preset": self.preset(trial), "seed": self.describe_trial(trial)[SEED]}
        if fold is None:
            settings = self.rows.settings(how, None)
            return prepare(*self.rows.take(None), settings, learns_from_all=True)
        mine, held_out = self.folds[fold]
        weight = self.rows.weight(how, held_out)
        apart = self.rows.take(held_out)
        how["validation_data"] = apart if weight is None else (*apart, weight)
        return prepare(*self.rows.take(mine), self.rows.settings(how, mine))

    def train(
        self, numbers: Sequence[int], threads: int | None, folder: Path | None
    ) -> Iterator[Trained]:
        """Yield networks that are trained, each with its row of the results; see `Work`."""
        for number in numbers:
            began = pace.now()
            trial, fold = divmod(number, len(self.folds))
            prepared = replace(self.prepare(trial, fold), is_usual=False)  # its settings are drawn
            prepared.in_population(folder, number, threads)
            shown = self.describe(number)
            network, row = train_member(prepared.network, prepared.train, shown, fold=fold)
            yield network, row | {"seconds": pace.now() - began}

    def board(self, first: Prepared, score: Any) -> Board:
        """Return the board for the rows that folds hold out; refuse what is no score for them."""
        loss, metrics = first.fit["loss"], self.how.get("metrics", ())
        if self.rows.task == "classification" and self.how.get("loss") is None:
            loss = CrossEntropy()  # the same for all trials, whatever their label smoothing
        if not isinstance(score, str):
            raise InputError(f"score must be 'loss' or the name of a metric, got {score!r}.")
        outputs = first.network.outputs
        metric_table.get([] if score == "loss" else [score], loss, outputs)
        metric_table.get(metrics, loss, outputs)
        known = np.unique(np.concatenate([held_out for _, held_out in self.folds]))
        weight = self.rows.weight(self.how, known)
        return Board(
            size=len(self.rows),
            held_out=[held_out for _, held_out in self.folds],
            scorer=Scorer.of(first.network, *self.rows.take(known), weight, loss=loss, scaled=True),
            score=score,
            metrics=metrics,
            describe=self.describe_trial,
            predict=self._answer,
        )

    def _answer(self, network: Network, rows: Any) -> Any:
        answers = network.predict_columns(self.rows.take(rows)[0])
        network.forget_engines()
        return answers
