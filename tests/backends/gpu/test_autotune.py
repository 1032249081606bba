"""Which algorithm a product gets: measured once, kept on disk, never a reason to fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastnet.backends.gpu import autotune
from fastnet.backends.gpu.autotune import Choices


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    return tmp_path / "products"


def never(number: int) -> float:
    raise AssertionError("measured again")


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((1.0, 0.5, 0.7), 1),
        ((1.0, 0.97, 2.0), 0),  # Too small a gain to be told from noise.
        ((float("inf"), 5.0, 4.0), 2),
        ((1.0, float("inf"), float("inf")), 0),
    ],
)
def test_the_fastest_is_taken_where_it_gains_enough(
    seconds: tuple[float, ...], chosen: int
) -> None:
    assert Choices("GPU").choose("a product", 3, seconds.__getitem__) == chosen
    assert Choices("GPU").choose("a product", 3, never) == chosen


def test_without_a_home_each_process_measures_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise FileNotFoundError("there is no home folder for a cache: set FASTNET_CACHE_DIR")

    monkeypatch.setattr(autotune, "product_cache", homeless)
    choices = Choices("GPU")
    assert choices.choose("a product", 3, (1.0, 0.5, 0.7).__getitem__) == 1
    assert choices.choose("a product", 3, never) == 1
    assert Choices("GPU").choose("a product", 3, (1.0, 0.7, 0.5).__getitem__) == 2


def test_each_gpu_and_version_has_its_own_choices(folder: Path) -> None:
    assert Choices("NVIDIA H200 cublasLt 130000").choose("p", 2, (2.0, 1.0).__getitem__) == 1
    assert Choices("NVIDIA H200 cublasLt 130100").choose("p", 2, (1.0, 2.0).__getitem__) == 0
    assert [path.name for path in sorted(folder.iterdir())] == [
        "NVIDIA-H200-cublasLt-130000.json",
        "NVIDIA-H200-cublasLt-130100.json",
    ]


def test_a_single_algorithm_is_not_measured() -> None:
    assert Choices("GPU").choose("p", 1, never) == 0


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"p": "x"}', '{"p": 7}', '{"p": true}', '{"p": -1}', "\xff"]
)
def test_a_damaged_file_is_written_anew(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "GPU.json").write_bytes(content.encode("latin-1"))
    assert Choices("GPU").choose("p", 2, (2.0, 1.0).__getitem__) == 1
    assert json.loads((folder / "GPU.json").read_text(encoding="utf-8")) == {"p": 1}


def test_a_folder_that_cannot_be_written_costs_the_measurement_only(folder: Path) -> None:
    folder.write_text("a file in its place", encoding="utf-8")
    choices = Choices("GPU")
    assert choices.choose("p", 2, (2.0, 1.0).__getitem__) == 1
    assert choices.choose("p", 2, never) == 1


def test_two_processes_keep_each_other_s_choices() -> None:
    first, second = Choices("GPU"), Choices("GPU")
    first.choose("p", 2, (2.0, 1.0).__getitem__)
    second.choose("q", 2, (1.0, 2.0).__getitem__)
    third = Choices("GPU")
    assert (third.choose("p", 2, never), third.choose("q", 2, never)) == (1, 0)
