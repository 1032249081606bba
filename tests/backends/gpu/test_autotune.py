"""What was measured of products: the fastest is found, kept on disk, and never a reason to fail."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fastnet.backends.gpu import autotune
from fastnet.backends.gpu.autotune import Choice, Choices, fastest

ONE, TWO = Choice(bytes(range(64)), 3.5e-6), Choice(bytes(64), -math.inf)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    return tmp_path / "products"


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((1.0, 0.5, 0.7), 1),
        ((1.0, 0.97, 2.0), 0),  # Too small a gain to be told from noise.
        ((math.inf, 5.0, 4.0), 2),
        ((1.0, math.inf, math.inf), 0),
        ((1.0,), 0),
        ((math.inf, math.inf), None),
        ((math.inf,), None),
        ((), None),
    ],
)
def test_the_fastest_is_taken_where_it_gains_enough(
    seconds: tuple[float, ...], chosen: int | None
) -> None:
    assert fastest(len(seconds), seconds.__getitem__) == chosen


def test_what_is_kept_is_there_in_the_next_process() -> None:
    choices = Choices("GPU")
    assert choices.get("p") is None
    choices.keep("p", ONE)
    choices.keep("q", TWO)
    for again in (choices, Choices("GPU")):
        assert (again.get("p"), again.get("q"), again.get("r")) == (ONE, TWO, None)


def test_without_a_home_nothing_is_kept_but_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise FileNotFoundError("there is no home folder for a cache: set FASTNET_CACHE_DIR")

    monkeypatch.setattr(autotune, "product_cache", homeless)
    choices = Choices("GPU")
    choices.keep("p", ONE)
    assert choices.get("p") == ONE
    assert Choices("GPU").get("p") is None


def test_each_gpu_and_version_has_its_own_choices(folder: Path) -> None:
    Choices("NVIDIA H200 cublasLt 130000").keep("p", ONE)
    assert Choices("NVIDIA H200 cublasLt 130100").get("p") is None
    Choices("NVIDIA H200 cublasLt 130100").keep("p", TWO)
    assert Choices("NVIDIA H200 cublasLt 130000").get("p") == ONE
    assert [path.name for path in sorted(folder.iterdir())] == [
        "NVIDIA-H200-cublasLt-130000.json",
        "NVIDIA-H200-cublasLt-130100.json",
    ]


HEX = ONE.algorithm.hex()


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", '{"p": "x"}', '{"p": 7}', '{"p": true}', "\xff"),
        '{"p": []}',
        f'{{"p": ["{HEX}"]}}',
        f'{{"p": ["{HEX}", "1"]}}',
        f'{{"p": ["{HEX}", true]}}',
        f'{{"p": ["{HEX}", NaN]}}',
        f'{{"p": ["{HEX}", Infinity]}}',
        f'{{"p": ["{HEX}", 1{"0" * 400}]}}',
        f'{{"p": ["{HEX[:-2]}", 1.0]}}',
        f'{{"p": ["{HEX[:-1]}", 1.0]}}',
        f'{{"p": ["{HEX[:-1]}x", 1.0]}}',
        '{"p": [5, 1.0]}',
        '{"p": [null, 1.0]}',
    ],
)
def test_what_is_damaged_counts_as_missing_and_is_written_anew(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "GPU.json").write_bytes(content.encode("latin-1"))
    choices = Choices("GPU")
    assert choices.get("p") is None
    choices.keep("p", TWO)
    written = json.loads((folder / "GPU.json").read_text(encoding="utf-8"))
    assert written == {"p": [TWO.algorithm.hex(), None]}


def test_a_folder_that_cannot_be_written_costs_the_measurement_only(folder: Path) -> None:
    folder.write_text("a file in its place", encoding="utf-8")
    choices = Choices("GPU")
    choices.keep("p", ONE)
    assert choices.get("p") == ONE
    assert Choices("GPU").get("p") is None


def test_two_processes_keep_and_find_each_other_s_choices() -> None:
    first, second = Choices("GPU"), Choices("GPU")
    first.keep("p", ONE)
    assert second.get("p") == ONE
    second.keep("q", TWO)
    third = Choices("GPU")
    assert (third.get("p"), third.get("q"), first.get("q")) == (ONE, TWO, TWO)
