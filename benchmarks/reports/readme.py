"""``python -m fastnet.benchmarks.reports.readme``: README's numbers and charts, from a record.

README holds them between two marks, of which the first names the record. Nothing there is written
by hand: a test makes it again from the record and compares.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fastnet
from fastnet.benchmarks.reports.charts import lead_chart, width_chart
from fastnet.benchmarks.reports.grids import falls_text
from fastnet.benchmarks.reports.report import Curve, Fall, percent, scaled, significant
from fastnet.errors import InputError

ROOT: Final = Path(fastnet.__file__).parent.parent
CHARTS: Final = "benchmarks/results"

_BEGIN, _END = "<!-- measured: {} -->", "<!-- end of what was measured -->"
_BLOCK: Final = re.compile(
    re.escape(_BEGIN).replace(r"\{\}", r"(\S+)") + r"\n.*?" + re.escape(_END), re.DOTALL
)

OURS: Final = "fastnet-numba"
_RIVALS: Final = "jax_scan", "pytorch", "sklearn_mlp", "onnx_runtime", "numpy_script"

Json = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """What is made of a record: a block of README, and charts by path."""

    block: str
    charts: dict[str, str]


def main(arguments: Sequence[str]) -> None:
    """Write README's block and the charts, from the record named or from the one it has.

    Raises
    ------
    InputError
        The record is no whole one, README has no marks, or there is no README: it is not installed.
    """
    readme = ROOT / "README.md"
    if not readme.is_file():
        raise InputError(
            "README.md and the records are not installed: run this from a checkout of fastnet."
        )
    text = readme.read_text(encoding="utf-8")
    name = named_in(text)
    if arguments:
        name = Path(arguments[0]).resolve().relative_to(ROOT).as_posix()
    made = page(name, json.loads((ROOT / name).read_text(encoding="utf-8")))
    readme.write_text(replaced(text, made.block), encoding="utf-8")
    for path, chart in made.charts.items():
        (ROOT / path).write_text(chart, encoding="utf-8")
    print(f"README.md and {len(made.charts)} charts are what {name} says")


def named_in(text: str) -> str:
    """Return the name of the record that README is made from."""
    found = _BLOCK.search(text)
    if found is None:
        raise InputError(f"README.md has no block that begins with {_BEGIN.format('RECORD')}")
    return found[1]


def replaced(text: str, block: str) -> str:
    """Return README with another block."""
    named_in(text)
    return _BLOCK.sub(lambda _: block, text)


def page(name: str, record: Json) -> Page:
    """Return block and charts; a part that the record lacks is left out.

    Raises
    ------
    InputError
        It was a quick run: its numbers are for a first look.
    """
    if record.get("quick"):
        raise InputError(f"{name} is a quick record; README shows whole ones.")
    runs: list[Json] = record["runs"]
    lines = [_BEGIN.format(name), _machine(name, record), ""]
    charts: dict[str, str] = {}
    ladders = [run for run in runs if any(t["kind"] == "training" for t in run["tables"])]
    for run in ladders:
        single = next((r for r in ladders if r["machine"]["threads"] == 1), None)
        lines += _ladder(run, None if run is single else single)
    if ladders:
        charts[f"{CHARTS}/ladder.svg"] = _lead_chart(ladders[0])
        lines += [_image("ladder", "How many times as fast fastnet trains"), ""]
        lines += _predictions(ladders[0])
    for run in runs:
        lines += _startup(run)
        lines += _learning(run)
        if run.get("widths"):
            curves = [_curve(curve) for curve in run["widths"]]
            charts[f"{CHARTS}/widths.svg"] = width_chart(curves)
            lines += _widths(curves)
    return Page("\n".join([*lines, _END]), charts)


def _machine(name: str, record: Json) -> str:
    machine = record["machine"]
    simd = "AVX-512" if "AVX-512" in machine["simd"] else ", ".join(machine["simd"])
    packages = machine["packages"]
    # A part may have been measured again after a change that concerns it alone.
    commits = ", ".join(dict.fromkeys(str(run["machine"]["commit"]) for run in record["runs"]))
    return (
        f"{machine['cpu']}, {simd}; {machine['python']}, NumPy {packages['numpy']}, Numba "
        f"{packages.get('numba', 'absent')}; fastnet {machine['fastnet']} at commit "
        f"{commits}, {record['created'][:10]}. Every round's time is in the [record]({name})."
    )


# --- the parts -----------------------------------------------------------------------------------


def _ladder(run: Json, single: Json | None) -> Iterator[str]:
    """Yield the table of training, with the gain over one thread where there is such a run."""
    tables = [table for table in run["tables"] if table["kind"] == "training"]
    threads, peak = run["machine"]["threads"], run["peak"]
    cores = "one core" if threads == 1 else f"{threads} cores"
    reached = peak["one_thread"] if threads == 1 else peak["all_threads"]
    yield f"**Training on {cores}**, microseconds per step; in brackets the time over fastnet's."
    yield f"The peak is {significant(reached)} GFLOP/s of fused multiply-adds, measured."
    yield ""
    keys = [key for key in (*_RIVALS, "fastnet-numpy") if any(_row(t, key) for t in tables)]
    gain = ["on one core"] if single else []
    yield from _head(["network", "fastnet numba", "of peak", *gain, *_labels(tables, keys)])
    for table in tables:
        ours = _row(table, OURS)
        fastest = min(row["us"] for row in table["rows"])
        cells = [f"`{table['network']}`: {table['layers']}, batch {table['batch']}"]
        cells.append(_bold(ours["us"], fastest) if ours else "")
        cells.append(percent(ours["share_of_peak"]) if ours else "")
        if single:
            alone = next(t for t in single["tables"] if _same(t, table))
            cells.append(_cell(_row(alone, OURS), ours, fastest))
        cells += [_cell(_row(table, key), ours, fastest) for key in keys]
        yield _line(cells)
    yield ""


def _predictions(run: Json) -> Iterator[str]:
    """Yield the table of predictions."""
    tables = [table for table in run["tables"] if table["kind"] != "training"]
    if not tables:
        return
    yield "**Prediction on one core**: one row, in microseconds; many, in rows per second."
    yield ""
    keys = [key for key in (*_RIVALS, "fastnet-numpy") if any(_row(t, key) for t in tables)]
    yield from _head(["network", "fastnet numba", *_labels(tables, keys)])
    for table in sorted(tables, key=lambda table: table["kind"] == "many rows"):
        one = table["kind"] == "one row"
        fastest = min(row["us"] for row in table["rows"])
        rows = "one row" if one else f"{table['batch']:,} rows"
        cells = [f"{table['layers']}, {rows}"]
        for key in (OURS, *keys):
            row = _row(table, key)
            if row is None:
                cells.append("")
            elif one:
                cells.append(_bold(row["us"], fastest))
            else:
                text = scaled(row["rows_per_second"])
                cells.append(f"**{text}**" if row["us"] == fastest else text)
        yield _line(cells)
    yield ""


def _startup(run: Json) -> Iterator[str]:
    """Yield the table of whole processes."""
    if not run["startup"]:
        return
    yield "**Start-up**, milliseconds of a whole process, median:"
    yield ""
    yield from _head(["", "ms"])
    for item in run["startup"]:
        yield _line([item["what"], significant(item["ms"])])
    yield ""


def _learning(run: Json) -> Iterator[str]:
    """Yield the table of Fashion-MNIST."""
    if not run.get("learning"):
        return
    threads = run["machine"]["threads"]
    yield f"**Fashion-MNIST**, 784-128-10, ten epochs of Adam, batch 128, on {threads} cores:"
    yield ""
    yield from _head(["", "seconds", "test accuracy"])
    for row in run["learning"]:
        label = _label(row)
        yield _line([label, f"{row['seconds']:.2f}", f"{100 * row['accuracy']:.1f} %"])
    yield ""


def _widths(curves: Sequence[Curve]) -> Iterator[str]:
    first = curves[0]
    yield f"**No cliffs**: {first.layers}, batch {first.batch}, H from {first.widths[0]} to"
    yield f"{first.widths[-1]}, odd widths too. " + " ".join(
        f"On at most {curve.threads} thread{'s' * (curve.threads != 1)}, {falls_text(curve)}."
        for curve in curves
    )
    yield ""
    yield _image("widths", "GFLOP/s against the hidden width")
    yield ""


def _curve(plain: Json) -> Curve:
    return Curve(**{**plain, "falls": [Fall(**fall) for fall in plain["falls"]]})


def _lead_chart(run: Json) -> str:
    leads: dict[str, dict[str, float]] = {}
    for table in run["tables"]:
        ours = _row(table, OURS)
        if table["kind"] == "training" and ours:
            rows = ((key, _row(table, key)) for key in _RIVALS)
            leads[table["network"]] = {
                row["label"]: row["us"] / ours["us"] for _, row in rows if row is not None
            }
    return lead_chart(leads, "Time of a training step over fastnet's, on one core")


# --- cells ---------------------------------------------------------------------------------------


def _same(table: Json, other: Json) -> bool:
    return all(table[name] == other[name] for name in ("kind", "network", "batch"))


def _row(table: Json, key: str) -> Json | None:
    return next((row for row in table["rows"] if row["contender"] == key), None)


def _labels(tables: Sequence[Json], keys: Sequence[str]) -> list[str]:
    """Return the contenders' names, those of rivals with their versions."""
    found = {}
    for table in tables:
        for row in table["rows"]:
            found[row["contender"]] = _label(row)
    return [found[key] for key in keys]


def _label(row: Json) -> str:
    """Return a contender's name; a rival's with its version, but not its build (2.13.0+cpu)."""
    version = row["version"].partition("+")[0] if row["kind"] == "rival" else ""
    return f"{row['label']} {version}".strip()


def _cell(row: Json | None, ours: Json | None, fastest: float) -> str:
    if row is None:
        return ""
    times = f" ({significant(row['us'] / ours['us'])}×)" if ours else ""
    return _bold(row["us"], fastest) + times


def _bold(us: float, fastest: float) -> str:
    return f"**{significant(us)}**" if us == fastest else significant(us)


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _line(cells)
    yield "|" + "|".join(["---", *["---:"] * (len(cells) - 1)]) + "|"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _image(name: str, text: str) -> str:
    return f"![{text}]({CHARTS}/{name}.svg)"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
