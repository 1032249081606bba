"""Start-up of whole Python processes: imports, and a first training, which compiles or loads."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet.benchmarks import startup
from fastnet.benchmarks.contenders import available

CASES = startup.cases(available(), rivals=False)


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("what", [what for what, start in CASES.items() if not start.cold])
def test_startup(benchmark: Any, what: str) -> None:
    start = CASES[what]
    benchmark.extra_info["kind"] = start.kind
    benchmark.pedantic(startup.run, (start.code,), rounds=3, warmup_rounds=1)
