"""The site and the examples: every piece of code in them runs, and shows what it gives."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT, tracked_files
from tests.pages import Block, blocks, check_session, run_notebook, run_page

pytest.importorskip("numba", reason="Numba is not installed")

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
WITH_CODE = [
    path for path in [ROOT / "README.md", *PAGES] if list(blocks(path.read_text(encoding="utf-8")))
]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_the_code_of_a_page_runs_and_gives_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(page) > 0


def test_every_page_of_tutorial_and_how_to_has_code() -> None:
    pages = {page for page in PAGES if page.parent.name in ("tutorial", "howto")}
    without = {name(page) for page in pages - set(WITH_CODE) if page.stem != "index"}
    assert without == set()


def test_a_result_that_a_page_shows_wrongly_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```pycon\n>>> x + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected"):
        run_page(page)


def test_code_that_needs_a_gpu_must_still_be_python(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```{code-block} python\n:class: gpu\n\nx = = 1\n```\n")
    with pytest.raises(SyntaxError):
        run_page(page)


def test_names_are_kept_from_block_to_block(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```pycon\n>>> x = 2\n```\n\n```python\ny = x\n```\n\n```pycon\n>>> y\n2\n```\n"
    )
    assert run_page(page) == 3
    with pytest.raises(AssertionError):
        check_session(Block("pycon", ">>> 1 / 0\n", 1, False), {}, "here")


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_an_example_runs(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script.name])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_notebook(notebook) > 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_a_notebook_is_stored_without_results(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert not re.search(r'"outputs": \[\s*[^\]\s]', text)
    assert not re.search(r'"execution_count": \d', text)


def test_there_are_scripts_and_a_notebook() -> None:
    assert len(SCRIPTS) >= 3
    assert len(NOTEBOOKS) == 1


def links(text: str) -> list[str]:
    """Return where the relative links of a page lead."""
    found: list[str] = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_a_link_that_leads_nowhere_is_seen() -> None:
    assert links("see [this](nowhere.md#part) and [that](https://x.org)") == ["nowhere.md"]


def test_nothing_that_was_built_is_tracked() -> None:
    assert not [file for file in tracked_files() if "_build" in file]
