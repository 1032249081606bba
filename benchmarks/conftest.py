"""Tells pytest-benchmark what machine this is."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Add processor, versions, thread pools and measured peak to what is saved with the times."""
    from dataclasses import asdict

    from fastnet.benchmarks import machine, peak, pinning

    machine_info["fastnet"] = machine.describe()
    machine_info["fastnet"]["peak"] = asdict(peak.measure(pinning.usable_cores(), 0.3))
