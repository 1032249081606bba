"""Runs the code of a page of the documentation, or of a notebook, as a reader would.

A block in ``console`` shows commands after ``$`` and what they write, of which ``...`` stands for
anything. Commands are those of fastnet, ``cat FILE`` and ``head -n N FILE``, and ``|`` between two.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib.util
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from fastnet.cli import group
from tests.on_backends import INSTALLED

FENCE = re.compile(r"^(`{3,}|:{3,})([^\n]*)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
GPU = ":class: gpu\n"
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d*(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """Code of a page.

    Attributes
    ----------
    language : str
        ``python``, ``pycon`` with prompts and results, or ``console`` with commands and outputs.
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
        if self.gpu and "cupy" not in INSTALLED:
            return True
        return self.torch and importlib.util.find_spec("torch") is None


def blocks(text: str) -> Iterator[Block]:
    """Yield the Python of a page."""
    for match in FENCE.finditer(text):
        language, code = match[2].removeprefix("{code-block} "), match[3]
        if language in ("python", "pycon", "console"):
            line = text.count("\n", 0, match.start(3)) + 1
            yield Block(language, code.removeprefix(GPU), line, code.startswith(GPU))


def shell_lines(text: str) -> list[str]:
    """Return the lines of a page that are meant for a shell."""
    shells = (match[3] for match in FENCE.finditer(text) if match[2] in ("", "sh"))
    return "".join(shells).splitlines()


def last_place(number: str) -> float:
    """Return what one is worth in the last place behind the point, 0 where there is none."""
    digits, _, exponent = number.partition("e")
    places = len(digits.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - places) if places else 0.0


def alike(shown: str, found: str) -> bool:
    """Return whether two texts are the same but for the last digits of decimal numbers.

    These may differ by one in the last place behind the point, or by 1 %: machines round
    differently, and a hundred steps of training later three images of 360 have another answer.
    Whole numbers and words may not differ.
    """
    if DECIMAL.sub("#", shown).split() != DECIMAL.sub("#", found).split():
        return False
    for ours, theirs in zip(DECIMAL.findall(shown), DECIMAL.findall(found), strict=True):
        last = min(last_place(ours), last_place(theirs))
        if abs(float(ours) - float(theirs)) > max(1.001 * last, 0.01 * abs(float(ours))):
            return False
    return True


class Alike(doctest.OutputChecker):
    """Takes results of sessions that are `alike` for right."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Return whether `got` is what is shown."""
        return super().check_output(want, got, optionflags) or alike(want, got)


def run_page(path: Path) -> int:
    """Run a page's blocks in order, with one set of names; return how many there were.

    A line ``print(...)  # text`` must print the text, see `alike`.

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
        if block.language == "console":
            check_console(block, where)
        elif block.language == "python":
            run_program(block, names, path)
        else:
            check_session(block, names, where)
    return count


def run_program(block: Block, names: dict[str, Any], path: Path) -> None:
    """Run a block without prompts; raise `AssertionError` where it prints something else."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), names)
    if shown := PRINTED.findall(block.code):
        found = printed.getvalue().splitlines()
        assert len(found) == len(shown), f"{path.name}:{block.line} printed {found}"
        for pair in zip(shown, found, strict=True):
            assert alike(*pair), f"{path.name}:{block.line} shows {pair[0]!r}, printed {pair[1]!r}"


def check_session(block: Block, names: dict[str, Any], where: str) -> None:
    """Run a session with prompts; raise `AssertionError` where it shows something else."""
    test = doctest.DocTestParser().get_doctest(block.code, names, where, where, block.line - 1)
    said: list[str] = []
    runner = doctest.DocTestRunner(Alike(), optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert not said, "".join(said)


def check_console(block: Block, where: str) -> None:
    """Run the commands of a block; raise `AssertionError` where one writes something else."""
    commands = re.split(r"^\$ ", block.code, flags=re.MULTILINE)
    assert not commands[0], f"{where}: expected a command after '$ '"
    for command in commands[1:]:
        line, _, expected = command.partition("\n")
        got = piped(line)
        flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        same = doctest.OutputChecker().check_output(expected, got, flags)
        assert same, f"{where}: $ {line}\nExpected:\n{expected}\nGot:\n{got}"


def piped(line: str) -> str:
    """Return what commands write that are joined by ``|``, messages included."""
    text = ""
    for part in line.split(" | "):
        words = shlex.split(part)
        if words[0] == "fastnet":
            files = (
                sorted(glob(w)) if "*" in w and f"'{w}'" not in part else [w] for w in words[1:]
            )
            given = [word for one in files for word in one]
            text = CliRunner().invoke(group, given, input=text, prog_name="fastnet").output
        elif words[0] == "cat":
            text = "".join(Path(name).read_text(encoding="utf-8") for name in words[1:])
        else:
            assert words[:2] == ["head", "-n"], part
            source = Path(words[3]).read_text(encoding="utf-8") if len(words) > 3 else text
            text = "".join(source.splitlines(keepends=True)[: int(words[2])])
    return text


def run_notebook(path: Path) -> int:
    """Run a notebook's cells of code in order; return how many there were."""
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for number, source in enumerate(sources, 1):
        exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
    return len(sources)
