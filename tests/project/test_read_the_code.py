"""The page that reads the code quotes it as it stands, and names twins that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.losses import LOSSES
from tests.checkout import ROOT

TEXT = (ROOT / "docs/architecture/read-the-code.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^```\{code-block\} py\n:caption: (\S+)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
TWINS = re.compile(r"`(kernels/[\w./]+)`((?:(?:,|,? and)?\s+`\w+`)+)")


def stripped(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def misquotes(text: str) -> Iterator[str]:
    """Yield each quoted block whose lines do not stand in its file, one after the other."""
    for path, code in BLOCK.findall(text):
        quoted, lines = stripped(code), stripped((ROOT / path).read_text(encoding="utf-8"))
        starts = (k for k, line in enumerate(lines) if line == quoted[0])
        if not any(lines[k : k + len(quoted)] == quoted for k in starts):
            yield f"{path}: {quoted[0]}"


def missing_twins(text: str) -> Iterator[str]:
    """Yield each function that is named as a twin and is not defined in its file."""
    for path, names in TWINS.findall(text):
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names.replace(" and ", " ")):
            defined = rf"^(def|extern .*|__device__ .*) {name}\("
            if not re.search(defined, source, re.MULTILINE):
                yield f"{path}: {name}"


def test_every_quoted_line_stands_in_its_file() -> None:
    assert list(misquotes(TEXT)) == []


@pytest.mark.parametrize("edit", [("z += layer.b\n", "z -= layer.b\n"), ("dx -= mean\n", "")])
def test_a_line_that_was_changed_or_left_out_is_found(edit: tuple[str, str]) -> None:
    assert edit[0] in TEXT
    assert len(list(misquotes(TEXT.replace(*edit, 1)))) == 1


def test_every_twin_is_there() -> None:
    assert list(missing_twins(TEXT)) == []
    found = TWINS.findall(TEXT)
    for folder in ("kernels/cpu", "kernels/cuda"):
        assert sum(path.startswith(folder) for path, _ in found) >= 12


def test_a_twin_that_was_renamed_is_found() -> None:
    edited = TEXT.replace("`optimizer_update`", "`optimizer_step`")
    assert list(missing_twins(edited)) == ["kernels/cuda/optimizers.cu: optimizer_step"]


def unknown_formulas(text: str) -> list[str]:
    """Return names of activations and losses whose formula the page's tables do not have."""
    lines = text.replace(r"\|", "|").splitlines()
    rows = [*ACTIVATIONS.values(), *LOSSES.values()]
    return [
        row.name
        for row in rows
        if not any(line.startswith(f"| `{row.name}` | `{row.formula}` |") for line in lines)
    ]


def test_the_tables_have_every_formula() -> None:
    assert unknown_formulas(TEXT) == []


def test_a_wrong_formula_is_found() -> None:
    assert unknown_formulas(TEXT.replace("`(y - t)^2`", "`(t - y)^2 / 2`")) == ["mse"]


def test_the_page_stays_short_and_quotes_the_backend_often() -> None:
    assert TEXT.count("\n") <= 420
    assert len(BLOCK.findall(TEXT)) >= 20
