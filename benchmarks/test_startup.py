"""Start-up of whole Python processes: imports, and a first training, which compiles or loads."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet.benchmarks import startup
from fastnet.benchmarks.contenders import GPU, available

# A GPU may be a stand-in here, which a process of its own has not.
CASES = startup.cases([name for name in available() if name not in GPU], rivals=False)


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize("what", [what for what, start in CASES.items() if not start.cold])
def test_startup(benchmark: Any, what: str) -> None:
    start = CASES[what]
    benchmark.extra_info["kind"] = start.kind
    benchmark.pedantic(startup.run, (start.code,), rounds=3, warmup_rounds=1)
