"""Runs the code of a page of the documentation, or of a notebook, as a reader would."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastnet as fn

FENCE = re.compile(r"^(`{3,}|:{3,})([^\n]*)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
GPU = ":class: gpu\n"


@dataclass(frozen=True)
class Block:
    """Code of a page.

    Attributes
    ----------
    language : str
        ``python``, or ``pycon`` with prompts and results.
    code : str
    line : int
    gpu : bool
        Whether it needs one.
    """

    language: str
    code: str
    line: int
    gpu: bool

    @property
    def torch(self) -> bool:
        """Whether it imports PyTorch, which not everybody has."""
        return re.search(r"^import torch$", self.code, re.MULTILINE) is not None

    def cannot_run(self) -> bool:
        """Return whether it needs what is not here."""
        if self.gpu and fn.available_backends()["cupy"] is not None:
            return True
        return self.torch and importlib.util.find_spec("torch") is None


def blocks(text: str) -> Iterator[Block]:
    """Yield the Python of a page."""
    for match in FENCE.finditer(text):
        language, code = match[2].removeprefix("{code-block} "), match[3]
        if language in ("python", "pycon"):
            line = text.count("\n", 0, match.start(3)) + 1
            yield Block(language, code.removeprefix(GPU), line, code.startswith(GPU))


def shell_lines(text: str) -> list[str]:
    """Return the lines of a page that are meant for a shell."""
    shells = (match[3] for match in FENCE.finditer(text) if match[2] in ("", "sh"))
    return "".join(shells).splitlines()


def run_page(path: Path) -> int:
    """Run a page's blocks in order, with one set of names; return how many there were.

    Raises
    ------
    AssertionError
        A result is not what the page shows.
    """
    names: dict[str, Any] = {"__name__": "page"}
    count = 0
    for block in blocks(path.read_text(encoding="utf-8")):
        count += 1
        ast.parse(block.code) if block.language == "python" else None
        if block.cannot_run():
            continue
        where = f"{path.name}:{block.line}"
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), names)
        else:
            check_session(block, names, where)
    return count


def check_session(block: Block, names: dict[str, Any], where: str) -> None:
    """Run a session with prompts; raise `AssertionError` where it shows something else."""
    test = doctest.DocTestParser().get_doctest(block.code, names, where, where, block.line - 1)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert not said, "".join(said)


def run_notebook(path: Path) -> int:
    """Run a notebook's cells of code in order; return how many there were."""
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for number, source in enumerate(sources, 1):
        exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
    return len(sources)
