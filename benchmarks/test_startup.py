"""Start-up of whole Python processes: imports, and a first training, which compiles or loads."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet.benchmarks import startup
from fastnet.benchmarks.contenders import available

CASES = startup.cases(available(), rivals=False)


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("what", CASES)
def test_startup(benchmark: Any, what: str) -> None:
    kind, code = CASES[what]
    benchmark.extra_info["kind"] = kind
    benchmark.pedantic(startup.run, (code,), rounds=3, warmup_rounds=1)
