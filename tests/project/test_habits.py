"""What is said in two places says the same: workflows, hooks, metadata, the citation."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import pytest

from fastnet import __version__
from tests.checkout import ROOT, program

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BASH = program("bash")
BUG_FORM = ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml"

pytestmark = pytest.mark.skipif(
    not (ROOT / ".github").is_dir(), reason="an sdist has neither workflows nor forms"
)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def steps(text: str) -> set[str]:
    """Return the steps of .ci/run that a workflow asks for."""
    return {step for line in re.findall(r"bash \.ci/run(.*)", text) for step in line.split()}


def known_steps() -> set[str]:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:steps|others)=\(([^)]*)\)", text, re.MULTILINE)
    return {step for names in lists for step in names.split()}


def test_workflows_and_ci_run_have_the_same_steps() -> None:
    asked = {step for path in WORKFLOWS for step in steps(path.read_text(encoding="utf-8"))}
    assert asked == known_steps()
    assert {"tests", "lint", "types", "layers", "docs", "wheel"} <= asked


def test_a_step_that_only_one_side_has_is_seen() -> None:
    assert steps("- run: bash .ci/run lint flies\n- run: bash .ci/run wheel") == {
        "lint",
        "flies",
        "wheel",
    }
    assert "flies" not in known_steps()


@pytest.mark.skipif(BASH is None, reason="no bash that works")
def test_an_unknown_step_is_refused_before_anything_is_installed() -> None:
    done = subprocess.run(
        [str(BASH), ".ci/run", "lint", "flies"], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no step flies; there are: tests lint" in done.stderr


def test_the_pythons_that_are_claimed_are_those_that_are_tested() -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"python: \[(.*)\]", text)
    claimed = [
        classifier.rpartition(" ")[2]
        for classifier in project()["classifiers"]
        if re.search(r":: 3\.\d+$", classifier)
    ]
    assert claimed == re.findall(r"[\d.]+", matrix)
    assert f">={claimed[0]}" == project()["requires-python"]


def test_every_job_has_a_limit_of_time() -> None:
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert text.count("runs-on:") == text.count("timeout-minutes:"), path.name


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (version,) = re.findall(r"^version: (.*)$", text, re.MULTILINE)
    (day,) = re.findall(r'^date-released: "(.*)"$', text, re.MULTILINE)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert version == __version__
    headings = re.findall(r"^## \[(.*)$", changes, re.MULTILINE)
    assert headings[:2] == ["Unreleased]", f"{version}] - {day}"]


def test_the_bug_form_asks_for_what_the_command_prints() -> None:
    assert "`fastnet backends --json`" in BUG_FORM.read_text(encoding="utf-8")
