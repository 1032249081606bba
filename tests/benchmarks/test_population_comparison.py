"""``python -m fastnet.benchmarks.populations``, in its quick form."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastnet as fn
from fastnet.benchmarks import populations
from fastnet.benchmarks.rivals import populations as rivals


def test_every_population_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [case for case in populations.CASES if case.name in ("xor, few rows", "table")]
    monkeypatch.setattr(populations, "CASES", few)
    monkeypatch.setattr(populations, "missing", lambda modules: modules)
    file = tmp_path / "p.json"
    result = CliRunner().invoke(populations.main, ["--quick", "--json", str(file)])
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text("utf-8"))
    assert content["format"] == populations.FORMAT
    found = [(one["case"], one["contender"]) for one in content["results"]]
    assert found == [
        ("xor, few rows", "fit_many"),
        ("xor, few rows", "one by one, one thread"),
        ("table", "fit_many"),
        ("table", "one by one, one thread"),
        *((name, "Members") for name in populations.TABM),
        ("search, 12 x 5 fits", "FastNetSearchCV"),
        ("search, 12 x 5 fits", "GridSearchCV of scikit-learn"),
    ]
    assert all(one["ratio"] > 0 and one["seconds"] > 0 for one in content["results"])
    assert result.output.count("\n| xor, few rows |") == 2


CASE = populations.Case("xor", (2, 4, 2), 64, 4, epochs=3, activation="tanh", rivalled=True)


def test_steps_are_compared_where_a_rival_trains_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[rivals.Population] = []

    def installed(population: rivals.Population) -> Any:
        given.append(population)
        return {"a rival": (lambda: time.sleep(0.01), 2)}

    monkeypatch.setattr(rivals, "installed", installed)
    monkeypatch.setattr(populations, "CASES", [CASE])
    monkeypatch.setattr(populations, "search", lambda quick: {"it": lambda: None})
    monkeypatch.setattr(populations, "TABM", {})
    ours, _, rival, _ = populations.measure(quick=True)
    assert ours.step_us == ours.seconds / (3 * 16 * 3) * 1e6
    assert rival.step_us == rival.seconds / (2 * 16) * 1e6
    assert rival.ratio == pytest.approx(rival.step_us / ours.step_us)
    (population,) = given
    assert [len(population.networks), population.epochs] == [3, 1]


@pytest.mark.parametrize("name", ["JAX, vmap in a scan", "PyTorch, stacked", "PyTorch, one by one"])
def test_rivals_learn_what_fastnet_learns(name: str) -> None:
    """They have the same weights, orders and Adam, so the same losses but for rounding."""
    pytest.importorskip("jax" if "JAX" in name else "torch", reason="the rival is not installed")
    x, labels = populations.data(CASE)
    networks = [
        fn.Network([2, 4, 2], activation="tanh", output_activation="softmax", seed=seed)
        for seed in (3, 4)
    ]
    population = rivals.Population(networks, x, labels, batch=4, epochs=2, activation="tanh")
    train, count = rivals.installed(population)[name]
    assert count == 2
    losses = []
    for net in networks:
        own = net.copy()
        own.fit(x, labels, batch_size=4, epochs=2)
        assert own.history is not None
        losses.append(own.history["loss"][-1])
    for _ in range(2):  # each call begins anew
        assert train() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("scales", ["first", "all"])
def test_the_authors_of_tabm_learn_what_members_learn(scales: Any) -> None:
    pytest.importorskip("tabm", reason="the rival is not installed")
    calls = populations.tabm_of(scales, 8, 3)  # compares the losses
    assert [*calls] == ["Members", "PyTorch, the authors' package"]
    assert 0 < calls["PyTorch, the authors' package"]() < 10


def test_losses_of_tabm_that_differ_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populations, "missing", lambda modules: [])
    monkeypatch.setattr(populations.tabm, "epoch_of", lambda *which: lambda: 2.3)
    with pytest.raises(RuntimeError, match="does not compute the losses of fastnet's network"):
        populations.tabm_of("first", 8, 3)


def test_contenders_that_differ_are_noticed() -> None:
    one, other = (fn.Network([2, 1], seed=seed, backend="numpy") for seed in (0, 1))
    populations.require_same([[one], [one]])
    with pytest.raises(RuntimeError, match="have not trained to the same bits"):
        populations.require_same([[one], [other]])
