"""House rules that no linter knows, as scripts: each has a text beside it that must break it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from tests.checkout import ROOT, tracked_files

LINES = 400
"""A longer file probably holds more than one idea."""

LONG_FILES = {
    "fastnet/sklearn/estimator.py": "the base of the estimators, half of it their parameters",
    "fastnet/backends/numba_engine.py": "one class, with a method for each of the contract",
    "fastnet/nn/losses.py": "a table: eight losses, one after the other",
    "fastnet/cli/commands/train/options.py": "a table: the options, in the order of their help",
    "fastnet/model.py": "the base of the public class, most of it docstrings",
    "fastnet/network.py": "the public class, most of it docstrings",
    "fastnet/nn/optimizers.py": "a table: seven optimizers, one after the other",
}
"""Files that may be longer than `LINES`, and why."""

GPU_HOMES = (
    "fastnet/backends/gpu/backend.py",
    "fastnet/backends/gpu/cupy_runtime.py",
    "fastnet/distributed/nccl.py",
    "fastnet/utils/device_arrays.py",
    "kernels/cuda/*",
)
NUMBA_HOMES = ("fastnet/backends/numba_*.py", "kernels/cpu/*")
PRODUCT = ("fastnet/*.py", "kernels/*.py", "benchmarks/*.py")
LIBRARY = ("fastnet/*.py", "kernels/*.py")
IMPORTERS = {"__import__", "import_module", "importorskip"}


@dataclass(frozen=True)
class Rule:
    """Something that must hold of every file.

    Attributes
    ----------
    find : callable
        ``find(path, text)`` yields what is wrong in a file.
    files : tuple of str
        Patterns of the paths it looks at; ``*`` also matches ``/``.
    homes : tuple of str
        Patterns of the paths that may do what it forbids.
    offender : (str, str)
        A path and a text that must break it.
    """

    name: str
    find: Callable[[str, str], Iterator[str]]
    files: tuple[str, ...]
    offender: tuple[str, str]
    homes: tuple[str, ...] = ()

    def applies(self, path: str) -> bool:
        """Return whether the rule looks at this file."""
        wanted = any(fnmatch(path, pattern) for pattern in self.files)
        return wanted and not any(fnmatch(path, pattern) for pattern in self.homes)


def nodes(text: str, *words: str) -> Iterator[ast.AST]:
    """Yield every node of a file, where it has one of the words: to parse all takes seconds."""
    if not words or any(word in text for word in words):
        yield from ast.walk(ast.parse(text))


def imports(text: str, *words: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every module imported, wherever in the file, however it is.

    Relative imports keep their dots; ``importlib.import_module`` with a name counts as well.
    """
    for node in nodes(text, *words):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            for alias in node.names:
                yield node.lineno, f"{home}.{alias.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in IMPORTERS:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def importing(*packages: str) -> Callable[[str, str], Iterator[str]]:
    """Return a search for imports of these top-level packages."""

    def find(path: str, text: str) -> Iterator[str]:
        for line, name in imports(text, *packages):
            if name.partition(".")[0] in packages:
                yield f"line {line} imports {name}"

    return find


def imports_from_outside_the_kernels(path: str, text: str) -> Iterator[str]:
    """Find what would tie the kernels to the rest of fastnet."""
    for line, name in imports(text):
        if name.startswith("."):
            yield f"line {line} has a relative import"
        elif name.split(".")[0] == "fastnet" and name.split(".")[1:2] != ["kernels"]:
            yield f"line {line} imports {name}"


def unsafe_fastmath(path: str, text: str) -> Iterator[str]:
    """Find flags that let a compiler assume that there is no NaN and no infinity."""
    flags = {"nnan", "ninf", "fast"}
    for node in nodes(text, *flags):
        if isinstance(node, ast.keyword) and node.arg == "fastmath":
            if isinstance(node.value, ast.Constant) and node.value.value is not False:
                yield f"line {node.value.lineno} has fastmath={node.value.value!r}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = flags & {node.value} | ({"use_fast_math"} & {node.value.strip("-")})
            if found:
                yield f"line {node.lineno} has the flag {found.pop()!r}"


def too_many_lines(path: str, text: str) -> Iterator[str]:
    """Find a file that has grown past `LINES`."""
    count = text.count("\n")
    if count > LINES:
        yield f"{count} lines, more than {LINES}: is it one idea? (else `LONG_FILES` says why)"


def mentioning(*names: str) -> Callable[[str, str], Iterator[str]]:
    """Return a search for attributes, names and texts that are one of these."""

    def find(path: str, text: str) -> Iterator[str]:
        for node in nodes(text, *names):
            found = getattr(node, "attr", None) or getattr(node, "id", None)
            if isinstance(node, ast.Constant):
                found = node.value
            if isinstance(node, ast.alias):
                found = node.name
            if isinstance(found, str) and found in names:
                yield f"line {getattr(node, 'lineno', '?')} mentions {found}"

    return find


# Spelt so that this file keeps its own rule.
PLACES = re.compile(
    r"(?<![\w.-])/([w]ork|[f]arm|[r]oot)\b|(?<![\w.-])/([h]ome|[U]sers)/\w"
    r"|\b([p]ypi|[p]ythonhosted|deb\.[d]ebian|[n]pmjs)\.org\b"
    r"|https?://\S+\.([w]hl|[d]eb|[t]gz|[t]ar\.gz)\b"
)


def places_of_one_machine(path: str, text: str) -> Iterator[str]:
    """Find paths of one machine, hosts of registries and addresses of package files."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in PLACES.finditer(line):
            yield f"line {number} mentions {match.group()}"


RULES = [
    Rule(
        "the kernels import nothing from the rest of fastnet",
        imports_from_outside_the_kernels,
        ("kernels/*.py",),
        ("kernels/cpu/dense.py", "def f():\n    from fastnet import errors\n"),
    ),
    Rule(
        "numba is imported in its home only",
        importing("numba", "llvmlite"),
        LIBRARY,
        ("fastnet/network.py", "def f():\n    from numba.core import types\n"),
        NUMBA_HOMES,
    ),
    Rule(
        "cupy is imported in its home only",
        importing("cupy", "cupyx", "cupy_backends", "cuda"),
        LIBRARY,
        ("fastnet/backends/base.py", "import importlib\nimportlib.import_module('cupy.cuda')\n"),
        GPU_HOMES,
    ),
    Rule(
        "boosted trees of others are for the comparison on tables alone",
        importing("catboost", "lightgbm", "xgboost"),
        PRODUCT,
        ("fastnet/tables/presets.py", "import lightgbm\n"),
        ("benchmarks/table_contenders.py",),
    ),
    Rule(
        "nothing is unpickled",
        importing("pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"),
        PRODUCT,
        ("fastnet/serialization/model_file.py", "import pickle\n"),
        # joblib, which pickles tasks for the executors of others, and what a process packs for its
        # workers.
        (
            "fastnet/sklearn/search.py",
            "fastnet/sklearn/executor_backend.py",
            "fastnet/populations/parcel.py",
            "fastnet/populations/remote.py",
        ),
    ),
    Rule(
        "numpy is never allowed to unpickle",
        lambda path, text: (
            f"line {node.value.lineno} has allow_pickle"
            for node in nodes(text, "allow_pickle")
            if isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ),
        PRODUCT,
        ("fastnet/data/npy.py", "np.load(file, allow_pickle=True)\n"),
    ),
    Rule(
        "kernels and benchmarks are imported as parts of fastnet",
        importing("kernels", "benchmarks"),
        ("*.py",),
        ("tests/test_x.py", "from kernels.cpu import gemm\n"),
    ),
    Rule(
        "cores are counted in one place",
        mentioning("cpu_count", "process_cpu_count", "sched_getaffinity"),
        PRODUCT,
        ("fastnet/backends/threads.py", "import os\ncount = os.cpu_count() or 1\n"),
        # Benchmarks: to come back to the cores from before, and what a machine has in all.
        (
            "fastnet/utils/machine.py",
            "benchmarks/pinning.py",
            "benchmarks/machine.py",
            "benchmarks/gpu/sections.py",
        ),
    ),
    Rule(
        "the folder of caches is chosen in one place",
        mentioning("XDG_CACHE_HOME", "LOCALAPPDATA"),
        PRODUCT,
        ("kernels/cpu/jit.py", "import os\nos.environ.get('XDG_CACHE_HOME')\n"),
        ("kernels/cache_dir.py", "fastnet/data/download.py"),
    ),
    Rule(
        "no compiler may assume that there is no NaN",
        unsafe_fastmath,
        ("fastnet/backends/*.py", "kernels/*.py"),
        ("kernels/cpu/jit.py", "FLAGS = {'reassoc', 'nnan'}\n"),
    ),
    Rule(
        "files are short",
        too_many_lines,
        (*LIBRARY, "kernels/*.cu", "kernels/*.cuh"),
        ("kernels/cuda/dense.cu", "\n" * (LINES + 1)),
        tuple(LONG_FILES),
    ),
    Rule(
        "no file names a place of one machine",
        places_of_one_machine,
        ("*",),
        ("README.md", "The data are in \x2fwork/data.\n"),
    ),
]

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "-"))


@cache
def texts() -> dict[str, str]:
    """Return the text of every tracked file that is one."""
    found = {}
    for name in tracked_files():
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if b"\0" not in content:
                found[name] = content.decode()
    return found


@each_rule
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    files = {path: text for path, text in texts().items() if rule.applies(path)}
    assert files, "the rule looks at no file"
    assert [f"{path}: {what}" for path in files for what in rule.find(path, files[path])] == []


@each_rule
def test_a_file_that_breaks_the_rule_is_found(rule: Rule) -> None:
    path, text = rule.offender
    assert rule.applies(path)
    assert list(rule.find(path, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("numba", "import numba\n"),
        ("numba", "from numba import njit\n"),
        ("numba", "if True:\n    import numba.core.caching as c\n"),
        ("numba", "__import__('numba')\n"),
        ("kernels", "import kernels.abi\n"),
    ],
)
def test_every_way_to_import_is_seen(name: str, text: str) -> None:
    assert len(list(importing(name)("x.py", text))) == 1


def test_other_imports_are_not_mistaken_for_these() -> None:
    text = "import numbas\nfrom fastnet.kernels import abi\nimport fastnet.kernels.cpu.gemm as g\n"
    assert list(importing("numba", "kernels")("x.py", text)) == []
    assert list(imports_from_outside_the_kernels("kernels/x.py", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "@njit(fastmath=True)\ndef f(): pass\n",
        "nvcc('--use_fast_math')\n",
        "b.fadd(x, y, ['fast'])",
    ],
)
def test_every_way_to_ask_for_fastmath_is_seen(text: str) -> None:
    assert len(list(unsafe_fastmath("x.py", text))) == 1


@pytest.mark.parametrize(
    "text",
    ["\x2froot/.cache", "'\x2fhome/ada/x'", "https://\x70ypi.org/x", "https://x.org/a.\x77hl"],
)
def test_every_place_is_seen(text: str) -> None:
    assert len(list(places_of_one_machine("x", text))) == 1


@pytest.mark.parametrize("text", ["a/work/b", "~/.cache", "/usr/share/datasets", "/home"])
def test_other_paths_are_not_mistaken_for_these(text: str) -> None:
    assert list(places_of_one_machine("x", text)) == []


def test_every_long_file_that_is_excused_is_still_long() -> None:
    short = [name for name in LONG_FILES if not list(too_many_lines(name, texts()[name]))]
    assert short == []


@pytest.mark.parametrize("name", ["benchmarks", "kernels"])
def test_the_symlinks_are_relative(name: str) -> None:
    assert f"fastnet/{name}" in tracked_files()
    link = ROOT / "fastnet" / name
    assert link.is_symlink()
    assert Path(os.readlink(link)) == Path("..", name)


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_begins_with_the_two_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
