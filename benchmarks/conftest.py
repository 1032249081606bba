"""Tells pytest-benchmark what machine this is; keeps the suite quick where it is only a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Add processor, versions, thread pools and measured peak to what is saved with the times."""
    from dataclasses import asdict

    from fastnet.benchmarks import machine, peak
    from fastnet.utils.machine import cores

    machine_info["fastnet"] = machine.describe()
    machine_info["fastnet"]["peak"] = asdict(peak.measure(cores(), 0.3))


@pytest.fixture(scope="session", autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Use one BLAS thread when nothing is measured: a busy machine keeps a second one waiting."""
    from fastnet.benchmarks.pinning import limited_pools

    measured = any(request.config.getoption(f"benchmark_{o}", False) for o in ("enable", "only"))
    with limited_pools(None if measured else 1):
        yield
