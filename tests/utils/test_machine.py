"""What this process may use of the machine: cores, and the folder of caches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastnet.kernels.cache_dir import user_cache
from fastnet.utils import machine
from fastnet.utils.machine import cores


def test_cores_are_those_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {3, 5, 6}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(machine, "_quotas", list)
    assert cores() == 3


@pytest.mark.parametrize(("counted", "expected"), [(64, 64), (None, 1)])
def test_without_affinity_all_cores_count(
    monkeypatch: pytest.MonkeyPatch, counted: int | None, expected: int
) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: counted)
    monkeypatch.setattr(machine, "_quotas", list)
    assert cores() == expected


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 16 cores, whose control groups are in a folder of the test."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(16)), raising=False)
    monkeypatch.setattr(machine, "GROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


QUOTAS: dict[str, tuple[str, dict[str, str], int]] = {
    "none": ("", {}, 16),
    "no limit": ("0::/", {"cpu.max": "max 100000"}, 16),
    "a container": ("0::/", {"cpu.max": "200000 100000"}, 2),
    "a container without a list": ("", {"cpu.max": "400000 100000"}, 4),
    "part of a core": ("0::/", {"cpu.max": "50000 100000"}, 1),
    "a core and a half": ("0::/", {"cpu.max": "150000 100000"}, 1),
    "more than there are": ("0::/", {"cpu.max": "9900000 100000"}, 16),
    "a service": ("0::/a.slice/b.service", {"a.slice/b.service/cpu.max": "300000 100000"}, 3),
    "a slice": (
        "0::/a.slice/b.service",
        {"a.slice/cpu.max": "300000 100000", "a.slice/b.service/cpu.max": "max 100000"},
        3,
    ),
    "version 1": (
        "4:memory:/x\n3:cpu,cpuacct:/job",
        {"cpu,cpuacct/job/cpu.cfs_quota_us": "500000", "cpu,cpuacct/job/cpu.cfs_period_us": "1000"
         "00"},
        5,
    ),
    "version 1 in a container": (
        "1:cpu:/docker/0123",
        {"cpu/cpu.cfs_quota_us": "700000", "cpu/cpu.cfs_period_us": "100000"},
        7,
    ),
    "version 1 without a limit": (
        "1:cpu:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        16,
    ),
    "nonsense": ("0::/\n:::\nabc", {"cpu.max": "many 0"}, 16),
    "no period": ("0::/", {"cpu.max": "100000 0"}, 16),
}  # fmt: skip


@pytest.mark.parametrize(("own", "files", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_the_time_of_a_control_group_bounds_the_cores(
    own: str, files: dict[str, str], expected: int, groups: Path
) -> None:
    (groups / "own").write_text(own + "\n")
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text + "\n")
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
