"""The defaults learn: no front door is below a linear model by more than the noise of a split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

from fastnet.benchmarks import defaults
from fastnet.benchmarks.defaults import DOORS, Split, linear, marks, tables_here, ten_epochs
from fastnet.benchmarks.small_tables import DRAWN, draw

pytestmark = pytest.mark.usefixtures("one_core")

BOUNDS = {"diabetes": 0.06, "moons": 0.03, "offset of 1e6": 0.03, "texts and gaps": 0.02}
"""How far below the linear model a mean over two splits may be: the noise of so few rows."""


def behind(name: str, answer: Callable[[Split, int], Any]) -> float:
    """Return by how much a contender is behind the linear model."""
    table = draw(name) if name in DRAWN else tables_here((name,))[0]
    ahead = np.mean(marks(linear, table, 2, 1_000)), np.mean(marks(answer, table, 2, 1_000))
    return float(ahead[0] - ahead[1])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", BOUNDS)
def test_a_default_is_not_behind_a_linear_model(name: str, door: str) -> None:
    assert behind(name, DOORS[door]) < BOUNDS[name]


@pytest.mark.parametrize("name", ["diabetes", "offset of 1e6"])
def test_ten_epochs_of_unscaled_numbers_are_far_behind(name: str) -> None:
    assert behind(name, ten_epochs) > 10 * BOUNDS[name]


def test_the_program_writes_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "GRID", defaults.GRID[:1])
    file = tmp_path / "results.json"
    options = ["--table", "forty rows", "--seeds", "2", "--json", str(file)]
    done = CliRunner().invoke(defaults.main, options)
    assert done.exit_code == 0, done.output
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["format"] == defaults.FORMAT
    assert [row["contender"] for row in content["results"]] == list(defaults.CONTENDERS)
    assert all(len(row["scores"]) == 2 for row in content["results"])


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_table_is_the_same_each_time(name: str) -> None:
    one, other = draw(name), draw(name)
    assert np.array_equal(one.target, other.target)
    assert all(len(column) == len(one) for column in one.columns.values())
    assert len(set(one.target[:40])) > 1
