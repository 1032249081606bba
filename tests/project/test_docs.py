"""The site: every piece of code on it runs, and shows what it gives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import fastnet as fn
import fastnet.sklearn as estimators
from fastnet.cli import COMMANDS, group
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.initializers import INITIALIZERS
from fastnet.nn.losses import LOSSES
from fastnet.nn.metrics import METRICS
from fastnet.nn.optimizers import OPTIMIZERS
from tests.checkout import ROOT, tracked_files
from tests.pages import Alike, Block, alike, blocks, check_session, run_page, shell_lines

pytest.importorskip("numba", reason="Numba is not installed")

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
WITH_CODE = [
    path for path in [ROOT / "README.md", *PAGES] if list(blocks(path.read_text(encoding="utf-8")))
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_the_code_of_a_page_runs_and_gives_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(page) > 0


def test_every_page_of_tutorial_and_guides_has_code() -> None:
    pages = {page for page in PAGES if page.parent.name in ("tutorial", "guides")}
    without = {name(page) for page in pages - set(WITH_CODE) if page.stem != "index"}
    assert without == set()


def test_a_result_that_a_page_shows_wrongly_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```pycon\n>>> x + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected"):
        run_page(page)


def test_a_print_that_shows_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(2 / 3)  # 0.667\n```\n")
    assert run_page(page) == 1
    page.write_text("```python\nprint(2 / 3)  # 0.677\n```\n")
    with pytest.raises(AssertionError, match="shows '0.677', printed '0.66"):
        run_page(page)


SAME = [
    ("loss 0.079, accuracy 0.978", "loss 0.078, accuracy 0.986"),
    ("[[871.]\n [  0.]]", "[[866.] [  0.]]"),
    ("array([0.04, 0.26])", "array([0.05, 0.26])"),
    ("1.5e-08", "1.6e-08"),
    ("0.9", "0.91"),
]


@pytest.mark.parametrize(("shown", "found"), SAME)
def test_the_last_digits_of_a_figure_may_differ(shown: str, found: str) -> None:
    assert alike(shown, found)


OTHER = [
    ("loss 0.079, accuracy 0.978", "loss 0.079, accuracy 0.950"),
    ("loss 0.079, accuracy 0.978", "accuracy 0.978"),
    ("(360, 10)", "(361, 10)"),
    ("0.98", "1"),
    ("0", "0.04"),
    ("0.9", "0.97"),
    ("0.04", "-0.04"),
    ("[[0., 1.]]", "[[1., 0.]]"),
    ("1.5e-08", "1.5e-06"),
    ("0.98", "nan"),
    ("'numba'", "'numpy'"),
    ("layers.0.weight", "layers.1.weight"),
]


@pytest.mark.parametrize(("shown", "found"), OTHER)
def test_anything_else_may_not(shown: str, found: str) -> None:
    assert not alike(shown, found)
    assert not Alike().check_output(f"{shown}\n", f"{found}\n", 0)


@pytest.mark.parametrize(
    ("shown", "true"),
    [
        ("$ cat a.txt\none\n", True),
        ("$ cat a.txt | head -n 1\none\n$ fastnet --version\nfastnet ...\n", True),
        ("$ cat a.txt\ntwo\n", False),
        ("$ fastnet info none.safetensors\nfastnet: error: none.safetensors ...\n", True),
        ("$ fastnet trian x\nUsage: ...\n", True),
        ("$ fastnet --version\n", False),
    ],
)
def test_commands_of_a_page_run_and_write_what_it_shows(
    shown: str, true: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("one\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(f"```console\n{shown}```\n", encoding="utf-8")
    if true:
        assert run_page(page) == 1
    else:
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


# --- what the pages must have ---------------------------------------------------------------------


def wrong_commands(text: str) -> Iterator[str]:
    """Yield the lines with ``fastnet COMMAND`` whose options the command does not have."""
    parent = group.make_context("fastnet", [], resilient_parsing=True)
    for line in shell_lines(text):
        words = shlex.split(line, comments=True)
        if words[:1] != ["fastnet"]:
            continue
        command = group.get_command(parent, words[1])
        try:
            assert command is not None, f"there is no command {words[1]}"
            context = click.Context(command, parent=parent, info_name=words[1])
            command.make_parser(context).parse_args(words[2:])
        except (AssertionError, click.UsageError) as error:
            yield f"{line}: {error}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name)
def test_every_command_on_a_page_has_the_options_it_shows(page: Path) -> None:
    assert list(wrong_commands(page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("line", ["fastnet train x.csv --tabel", "fastnet trian x.csv"])
def test_a_wrong_command_is_found(line: str) -> None:
    assert len(list(wrong_commands(f"```sh\nfastnet info m\n{line}  # why\n```\n"))) == 1


def test_the_reference_of_the_command_line_has_every_command() -> None:
    text = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert re.findall(r"^\.\. command:: (\w+)$", text, re.MULTILINE) == list(COMMANDS)


def undocumented(text: str) -> list[str]:
    """Return the public names that the pages of the reference do not have."""
    whole = re.findall(r"automodule:: (\S+)\n   :members:", text)
    public = {f"fastnet.{name}": getattr(fn, name) for name in fn.__all__}
    public |= {f"fastnet.sklearn.{name}": getattr(estimators, name) for name in estimators.__all__}
    return [
        name
        for name, thing in public.items()
        if getattr(thing, "__module__", None) not in (None, *whole)
        and not re.search(rf"auto\w+:: {re.escape(name)}$", text, re.MULTILINE)
    ]


def test_the_reference_has_every_public_name() -> None:
    text = "".join(p.read_text(encoding="utf-8") for p in (DOCS / "reference").glob("*.md"))
    assert undocumented(text) == []
    assert undocumented(text.replace("autoclass:: fastnet.Adam\n", "")) == ["fastnet.Adam"]


def test_the_guide_lists_every_layer_loss_optimizer_and_metric() -> None:
    text = (DOCS / "guides/layers-losses-optimizers.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w]+", text.partition("\n## ")[0].lower()))
    known = {*ACTIVATIONS, *LOSSES, *OPTIMIZERS, *METRICS, *INITIALIZERS}
    assert known - listed == set()
    assert {"swish", "hinge"} - listed == {"swish", "hinge"}


# --- links ---------------------------------------------------------------------------------------


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
