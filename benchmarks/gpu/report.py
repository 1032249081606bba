"""The site's table of GPU times, made of the recorded results and of nothing else.

    python -m fastnet.benchmarks.gpu.report docs/performance.md

writes it anew between the two marks. What was not measured is not in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fastnet.benchmarks.ladder import LADDER
from fastnet.errors import InputError

BEGIN, END = "<!-- gpu times: begin -->", "<!-- gpu times: end -->"
RESULTS: Final = Path(__file__).parent.parent / "results"
LABELS: Final = {
    "fastnet": "fastnet cupy",
    "torch-eager": "PyTorch eager",
    "torch-compile": "PyTorch compiled",
    "torch-graph": "PyTorch CUDA graph",
    "nvmath": "CuPy and nvmath",
    "jax": "JAX",
}
NOTHING: Final = "The CuPy backend has not been timed on a GPU yet, so there are no figures for it."


def newest() -> dict[str, Any] | None:
    """Return the newest recorded run, or None where none was recorded.

    Raises
    ------
    InputError
        The records are not here: they are not installed.
    """
    if not RESULTS.is_dir():
        raise InputError(
            "the records of measurements are not installed: run this from a checkout of fastnet."
        )
    files = sorted(RESULTS.glob("gpu-*.json"))
    if not files:
        return None
    found: dict[str, Any] = json.loads(files[-1].read_text(encoding="utf-8"))
    return found


def table(result: dict[str, Any] | None) -> str:
    """Return a run's times per step as a Markdown table, the fastest of each line in bold.

    Where contenders trained differently, nothing is claimed.
    """
    rows = [row for row in (result or {}).get("rows", []) if "us" in row and "doubt" not in row]
    if result is None or not rows:
        return NOTHING
    contenders = [name for name in LABELS if any(row["contender"] == name for row in rows)]
    gpu = result["environment"].get("backend", {}).get("device", "an unnamed GPU")
    versions = {row["contender"]: row["version"] for row in rows}
    heads = [f"{LABELS[name]} {versions[name]}" for name in contenders]
    lines = [
        f"Microseconds per training step on {gpu}, lower is better (commit {result['commit']}):",
        "",
        "| network | precision | " + " | ".join(heads) + " |",
        "|---|---|" + "---:|" * len(contenders),
    ]
    lines += _lines(rows, contenders)
    return "\n".join(lines)


def _lines(rows: list[dict[str, Any]], contenders: list[str]) -> list[str]:
    lines = []
    for network, rung in LADDER.items():
        for precision in ("float32", "tf32", "bf16"):
            times = {
                row["contender"]: row["us"]
                for row in rows
                if (row["network"], row["precision"]) == (network, precision)
            }
            if times:
                best = min(times.values())
                cells = [_cell(times.get(name), best) for name in contenders]
                name = f"`{network}`: {rung.layers}, batch {rung.gpu_batch}"
                lines.append(f"| {name} | {precision} | {' | '.join(cells)} |")
    return lines


def _cell(us: float | None, best: float) -> str:
    if us is None:
        return ""
    digits = 0 if us >= 100 else 1 if us >= 10 else 2
    text = f"{us:,.{digits}f}"
    return f"**{text}**" if us == best else text


def renewed(text: str, result: dict[str, Any] | None) -> str:
    """Return a page with the table of a run between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the text must have the marks {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{table(result)}\n{END}{after}"


def main(names: Sequence[str]) -> None:
    """Renew the table in these files."""
    result = newest()
    for name in names:
        file = Path(name)
        file.write_text(renewed(file.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
