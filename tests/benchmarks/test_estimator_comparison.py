"""The benchmark against scikit-learn: what it compares is the same, and it says what it found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn")

from fastnet.benchmarks import sklearn_estimators
from fastnet.benchmarks.sklearn_estimators import Problem, check_parity, contenders, main
from fastnet.errors import FastNetError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((100, 4))
SMALL = [
    Problem("classes", "MLPClassifier", X, (X[:, 0] > 0) + 0, {"max_iter": 2}),
    Problem("numbers", "MLPRegressor", X, X[:, 0], {"max_iter": 2, "solver": "lbfgs"}),
]


def test_every_contender_is_timed_and_scored_on_every_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sklearn_estimators, "problems", lambda: SMALL)
    file = tmp_path / "results.json"
    done = CliRunner().invoke(main, ["--rounds", "2", "--threads", "1", "--json", str(file)])
    assert done.exit_code == 0, done.output
    content = json.loads(file.read_text(encoding="utf-8"))
    assert "scikit-learn" in content["machine"]["packages"]
    found = {(row["problem"], row["contender"], row["dtype"]) for row in content["results"]}
    dtypes = "float32", "float64"
    assert found == {(p.name, c, d) for p in SMALL for c in contenders() for d in dtypes}
    for row in content["results"]:
        assert len(row["seconds"]) == len(row["scores"]) == 2
        assert min(row["seconds"]) > 0
    assert done.output.count("scikit-learn") == 4


def test_who_computes_something_else_is_named_and_not_timed() -> None:
    makers: dict[str, Any] = {name: make("MLPClassifier") for name, make in contenders().items()}
    check_parity(SMALL[0], makers)
    makers["a cheat"] = lambda **options: makers["scikit-learn"](**{**options, "alpha": 1.0})
    with pytest.raises(FastNetError, match="classes: a cheat has the losses"):
        check_parity(SMALL[0], makers)
