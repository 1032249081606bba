"""The examples: each runs in its short form, and what it prints is so."""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import toolchain
from tests.checkout import ROOT
from tests.pages import run_notebook

pytest.importorskip("numba", reason="Numba is not installed")

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

Run = Callable[[str], str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs an example's short form and returns what it printed."""

    def run(name: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, "--quick"])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def shown(text: str, line: str, what: str = "") -> float:
    """Return the first number after `what` in the line that begins with `line`."""
    match = re.search(rf"^{re.escape(line)}.*?{re.escape(what)}\W*?(-?[\d.,]*\d)", text, re.M)
    assert match is not None, f"no line {line!r} with a number after {what!r} in:\n{text}"
    return float(match[1].replace(",", ""))


def test_a_number_is_found_by_its_line_and_the_words_before_it() -> None:
    text = "ridge   R2 0.71, within 11.4%\nfastnet R2 0.83, within 1,200.5%\n"
    assert shown(text, "ridge", "R2") == 0.71
    assert shown(text, "fastnet", "within") == 1200.5
    with pytest.raises(AssertionError, match="no line 'lasso'"):
        shown(text, "lasso")


def test_cart_pole_balances_its_pole(run: Run) -> None:
    assert run("cart_pole.py").endswith("balanced\n")


def test_deploy_gives_the_same_answers_from_every_file(run: Run) -> None:
    text = run("deploy.py")
    assert shown(text, "right states", "network") > shown(text, "right states", "%,") + 10
    compared = re.findall(r"^(\w+): 100.0% the same answers, .* difference (\S+)$", text, re.M)
    assert all(float(difference) < 1e-5 for _, difference in compared)
    assert len(compared) + text.count("is written") + text.count("would write") == 2


def test_deploy_passes_over_compilers_that_do_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if toolchain.why_no("C") is not None or not toolchain.may_run_programs(tmp_path):
        pytest.skip(toolchain.why_no("C") or "the folder for temporary files lets no program run")
    found = runpy.run_path(str(EXAMPLES / "deploy.py"))["working_compiler"]
    # The real one looks for its parts on PATH.
    real = f"PATH='{os.environ['PATH']}' exec '{toolchain.compiler('C')}' \"$@\""
    (tmp_path / "shims").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    for name, script, expected in (
        ("cc", "", None),
        ("gcc", "exit 127", None),
        ("clang", real, "clang"),
    ):
        program = tmp_path / "shims" / name
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        assert found(tmp_path) == expected


def test_folder_of_files_learns_what_no_plane_fits(run: Run) -> None:
    text = run("folder_of_files.py")
    assert shown(text, "fastnet", "R2") > 0.9 > shown(text, "ridge regression", "R2")


def test_fraud_costs_less_with_probabilities_that_are_true(run: Run) -> None:
    text = run("fraud.py")
    precision = {
        name: shown(text, name, "average precision") for name in ("logistic regression", "network")
    }
    assert precision["network"] > 1.2 * precision["logistic regression"]
    losses = {
        name: shown(text, name, "log loss")
        for name in ("network", "network, calibrated", "class weights undone")
    }
    assert losses["network, calibrated"] < 1.01 * losses["network"]
    assert shown(text, "network, class weights", "log loss") > 4 * losses["class weights undone"]
    costs = text.partition("cost of a thousand")[2]
    cost = {
        name: shown(costs, name)
        for name in ("looking at none", "logistic regression", "network ", "class weights undone")
    }
    assert cost["network "] < cost["logistic regression"] < cost["looking at none"]
    assert cost["class weights undone"] < shown(costs, "network, class weights, threshold")
    assert shown(costs, "network, class weights  ") > cost["looking at none"]


def test_from_scratch_takes_the_same_steps_as_a_network_by_hand(run: Run) -> None:
    text = run("from_scratch.py")
    assert [round(float(y)) for y in re.findall(r"\d\.\d+", text.splitlines()[0])] == [0, 1, 1, 0]
    difference = re.search(r"^largest difference.*: (\S+)$", text, re.M)
    assert difference is not None
    assert float(difference[1]) < 1e-12


def test_growing_classes_follows_a_stream_better_than_means(run: Run) -> None:
    text = run("growing_classes.py")
    assert text.count(" came\n") == 7
    for line in ("all answers", "10 classes"):
        assert shown(text, line, "fastnet") > shown(text, line, "nearest mean") + 5


def test_house_prices_are_better_than_those_of_a_ridge_regression(run: Run) -> None:
    text = run("house_prices.py")
    for name in ("pipeline, searched", "fastnet.tables.train"):
        assert shown(text, name, "R2") > shown(text, "ridge regression", "R2") + 0.05
        assert shown(text, name, "within") < 0.75 * shown(text, "ridge regression", "within")
    assert 300_000 < shown(text, "an old flat", "metres:") < 800_000


def test_shopkeeper_learns_nearly_the_best_plan(run: Run) -> None:
    text = run("shopkeeper.py")
    best = shown(text, "value iteration (exact)")
    for agent in ("policy gradient", "Q-learning"):
        assert shown(text, "filled to one level") < 0.9 * best < shown(text, agent) < 1.01 * best


def test_surrogate_knows_values_slopes_and_its_own_errors(run: Run) -> None:
    text = run("surrogate.py")
    for name in ("reach (m)", "time (s)"):
        line = f"{name:9} error"
        assert shown(text, line, "network") < 0.5 * shown(text, line, "polynomial")
        assert abs(shown(text, f"{name:9} runs within") - 68.3) < 8
    for name in ("reach  ", "time  "):
        assert min(shown(text, name), shown(text, name, "and")) > 0.85
    line = "farthest at 25 m/s"
    assert abs(shown(text, line, ":") - shown(text, line, "exact")) < 2


def test_sweep_tries_all_and_tests_the_best(run: Run) -> None:
    text = run("sweep.py")
    assert text.count("width") == 9
    assert shown(text, "the best one on rows that nobody saw") > 95


def test_titanic_is_answered_better_than_by_a_logistic_regression(run: Run) -> None:
    text = run("titanic.py")
    for name in ("pipeline, searched", "fastnet.tables.train"):
        assert shown(text, name, "log loss") < shown(text, "logistic regression", "log loss")
        assert shown(text, name, "accuracy") > shown(text, "logistic regression", "accuracy")
    assert shown(text, "a girl") > 70 > 30 > shown(text, "a man")


def test_weekly_sales_are_forecast_better_than_by_ridge_and_by_copying(run: Run) -> None:
    text = run("weekly_sales.py").partition("in each fold:")[2]
    naive = min(shown(text, name) for name in ("last week again", "the week of last year"))
    assert shown(text, "fastnet") < 0.85 * shown(text, "ridge regression") < naive
    assert shown(text, "05 January 2026, with an", ":") > shown(
        text, "05 January 2026, without", ":"
    )


def untested(scripts: list[Path], tests: str) -> set[str]:
    """Return the names of the examples whose claims no test checks."""
    return {script.name for script in scripts} - set(re.findall(r'run\("(\w+\.py)"\)', tests))


def test_every_example_has_a_test_here_and_a_line_in_the_readme() -> None:
    assert untested(SCRIPTS, Path(__file__).read_text(encoding="utf-8")) == set()
    assert untested([Path("new.py")], 'run("old.py")') == {"new.py"}
    listed = re.findall(r"^\| `(\S+)`", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(path.name for path in [*SCRIPTS, *NOTEBOOKS])


# --- notebooks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_notebook(notebook) > 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_results(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert not re.search(r'"outputs": \[\s*[^\]\s]', text)
    assert not re.search(r'"execution_count": \d', text)


def test_there_is_a_notebook() -> None:
    assert len(NOTEBOOKS) == 1
