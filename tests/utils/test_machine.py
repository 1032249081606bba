"""What this process may use of the machine: cores, and the folder of caches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastnet.kernels.cache_dir import user_cache
from fastnet.utils.machine import cores


def test_cores_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3, 5, 6}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert cores() == 3


@pytest.mark.parametrize(("counted", "expected"), [(64, 64), (None, 1)])
def test_without_affinity_all_cores_count(
    monkeypatch: pytest.MonkeyPatch, counted: int | None, expected: int
) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: counted)
    assert cores() == expected


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home, and no variable that names a cache."""
    for name in ("FASTNET_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "parts"),
    [
        ("linux", (".cache",)),
        ("darwin", ("Library", "Caches")),
        ("win32", ("AppData", "Local")),
    ],
)
def test_the_cache_is_where_the_platform_has_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, platform: str, parts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert user_cache() == home.joinpath(*parts, "fastnet")


def test_variables_choose_the_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    assert user_cache() == home / ".cache" / "fastnet"
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert user_cache() == Path("/some/where/fastnet")
    monkeypatch.setenv("FASTNET_CACHE_DIR", "/chosen")
    assert user_cache() == Path("/chosen")


def test_without_a_home_it_says_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(FileNotFoundError, match="set FASTNET_CACHE_DIR"):
        user_cache()
    monkeypatch.setenv("FASTNET_CACHE_DIR", "/chosen")
    assert user_cache() == Path("/chosen")
