"""``python -m fastnet.benchmarks.reports.readme``: the numbers in README and on the site.

A page holds them between two marks. The first one names the part and the record it is made from::

    <!-- measured: training-1 benchmarks/results/NAME.json -->
    <!-- end -->

The command makes every block anew, and the charts. A record that it is given replaces the one of
the same format in all blocks. A test makes the blocks again and compares them with the pages.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

import fastnet
from fastnet.benchmarks import defaults, table_standings
from fastnet.benchmarks.ladder import CLOSE, LADDER, Rung
from fastnet.benchmarks.reports import population_tables
from fastnet.benchmarks.reports.charts import lead_chart, width_chart
from fastnet.benchmarks.reports.grids import falls_text
from fastnet.benchmarks.reports.report import PARTS as PARTS_OF_BENCH
from fastnet.benchmarks.reports.report import Curve, Fall, percent, scaled, significant
from fastnet.errors import InputError

ROOT: Final = Path(fastnet.__file__).parent.parent
BLOCK: Final = re.compile(r"(?s)<!-- measured: (\S+) (\S+) -->\n.*?<!-- end -->")
OURS: Final = "fastnet-numba"
RIVALS: Final = "jax_scan", "pytorch", "sklearn_mlp", "onnx_runtime", "numpy_script"

Json = dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Renew all blocks and charts; `arguments` name records to take from now on.

    Raises
    ------
    InputError
        A record is no whole one, or there is no README: it is not installed.
    """
    if not (ROOT / "README.md").is_file():
        raise InputError(
            "README.md and the records are not installed: run this from a checkout of fastnet."
        )
    paths = [Path(path).resolve().relative_to(ROOT).as_posix() for path in arguments]
    for path in paths:
        has = read(path).get("parts", PARTS_OF_BENCH)
        if {*has} != {*PARTS_OF_BENCH}:
            raise InputError(
                f"{path} has only {' and '.join(has)}: write its name into the blocks it is for."
            )
    newer = {read(path)["format"]: path for path in paths}
    for page in pages():
        page.write_text(renewed(page.read_text(encoding="utf-8"), newer), encoding="utf-8")
    for path, chart in charts((ROOT / "README.md").read_text(encoding="utf-8")).items():
        (ROOT / path).write_text(chart, encoding="utf-8")


def pages() -> list[Path]:
    """Return the pages that have a block."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if BLOCK.search(page.read_text(encoding="utf-8"))]


def read(path: str) -> Json:
    """Return a record; raise `InputError` for a quick one, whose numbers are for a first look."""
    record: Json = json.loads((ROOT / path).read_text(encoding="utf-8"))
    if record.get("quick"):
        raise InputError(f"{path} is a quick record; README and the site show whole ones.")
    return record


def renewed(text: str, newer: dict[str, str] | None = None) -> str:
    """Return a page with every block made from its record, or from the newer one of its format."""

    def block(match: re.Match[str]) -> str:
        part, path = match.groups()
        path = (newer or {}).get(read(path)["format"], path)
        if part not in PARTS:
            raise InputError(f"unknown part {part!r}; there are {', '.join(PARTS)}.")
        body = "\n".join(PARTS[part](read(path)))
        return f"<!-- measured: {part} {path} -->\n{body}\n<!-- end -->"

    return BLOCK.sub(block, text)


def charts(text: str) -> dict[str, str]:
    """Return the charts by path, made from the record that a page's table of training names."""
    record = read(dict(BLOCK.findall(text))["training-1"])
    leads: dict[str, dict[str, float]] = {}
    for table in _tables(record, LADDER)[0]:
        rows = {row["contender"]: row for row in table["rows"]}
        if table["kind"] == "training":
            rivals = [rows[key] for key in RIVALS if key in rows]
            leads[table["network"]] = {r["label"]: r["us"] / rows[OURS]["us"] for r in rivals}
    title = "Time of a training step over fastnet's, on one core"
    return {
        "benchmarks/results/ladder.svg": lead_chart(leads, title),
        "benchmarks/results/widths.svg": width_chart(_curves(record)),
    }


# --- the parts, as lines of Markdown --------------------------------------------------------------


def _machine(record: Json) -> Iterator[str]:
    machine, packages = record["machine"], record["machine"]["packages"]
    simd = "AVX-512" if "AVX-512" in machine["simd"] else ", ".join(machine["simd"])
    # A part may have been measured again after a change that concerns it alone.
    commits = ", ".join(dict.fromkeys(str(run["machine"]["commit"]) for run in record["runs"]))
    yield (
        f"{machine['cpu']}, {simd}; {machine['python']}, NumPy {packages['numpy']}, Numba "
        f"{packages.get('numba', 'absent')}; fastnet {machine['fastnet']} at commit {commits}, "
        f"{record['created'][:10]}."
    )


def _training(record: Json, run: int) -> Iterator[str]:
    found = [table for table in _tables(record, LADDER)[run] if table["kind"] == "training"]
    return _ladder(found, lambda t: f"`{t['network']}`: {t['layers']}, batch {t['batch']:,}")


def _close(record: Json, run: int) -> Iterator[str]:
    found = _tables(record, CLOSE)[run]
    yield from _ladder(found, _described)
    yield ""
    behind = []
    for table in found:
        rows = {row["contender"]: row for row in table["rows"]}
        first = min(table["rows"], key=lambda row: float(row["us"]))
        if first is not rows[OURS]:
            times = significant(rows[OURS]["us"] / first["us"])
            behind.append(f"`{table['network']}` ({first['label']} by {times}×)")
    yield f"fastnet is the fastest on {len(found) - len(behind)} of the {len(found)}" + (
        f"; it is behind on {', '.join(behind)}." if behind else "."
    )


def _described(table: Json) -> str:
    """Return the name and all that is not as on the ladder."""
    rung = CLOSE[table["network"]]
    hidden = len(rung.sizes) - 2
    facts = [
        rung.layers
        if hidden < 8
        else f"{rung.sizes[0]}-{hidden} × {rung.sizes[1]}-{rung.sizes[-1]}",
        *[rung.activation] * (rung.activation != "relu"),
        *[f"{rung.norm} normalisation"] * bool(rung.norm),
        *[rung.dtype] * (rung.dtype != "float32"),
        f"batch {table['batch']:,}",
    ]
    return f"`{rung.name}`: {', '.join(facts)}"


def _predictions(record: Json) -> Iterator[str]:
    found = [table for table in _tables(record, LADDER)[0] if table["kind"] != "training"]
    found.sort(key=lambda table: table["batch"])
    return _ladder(found, lambda t: f"{t['layers']}, rows: {t['batch']:,}")


def _ladder(found: list[Json], title: Callable[[Json], str]) -> Iterator[str]:
    """Yield a line for each network and a column for each contender; the fastest is bold."""
    labels = {row["contender"]: _label(row) for table in found for row in table["rows"]}
    keys = [key for key in (OURS, *RIVALS, "fastnet-numpy") if key in labels]
    lines = []
    for table in found:
        rows = {row["contender"]: row for row in table["rows"]}
        fastest = min(rows.values(), key=lambda row: float(row["us"]))
        cells = [title(table)]
        for row in map(rows.get, keys):
            many = table["kind"] == "many rows"
            text = "" if row is None else significant(row["us"])
            text = scaled(row["rows_per_second"]) if many and row else text
            text = f"**{text}**" if row is fastest else text
            if row and table["kind"] == "training":
                times = f"{significant(row['us'] / rows[OURS]['us'])}×"
                share = f"{percent(row['share_of_peak'])} of peak"
                text += f" ({share if row is rows[OURS] else times})"
            cells.append(text)
        lines.append(cells)
    return _markdown(["network", *(labels[key] for key in keys)], lines)


def _startup(record: Json) -> Iterator[str]:
    items = _all(record, "startup")
    return _markdown(["", "milliseconds"], [[i["what"], significant(i["ms"])] for i in items])


def _learning(record: Json) -> Iterator[str]:
    rows = [
        [_label(row), f"{row['seconds']:.2f}", f"{100 * row['accuracy']:.1f} %"]
        for row in _all(record, "learning")
    ]
    if not rows:
        raise InputError(
            "the record has no times of learning: Fashion-MNIST was not at hand (FASTNET_DATA_DIR)."
        )
    return _markdown(["", "seconds", "test accuracy"], rows)


def _widths(record: Json) -> Iterator[str]:
    for curve in _curves(record):
        yield f"- At most {curve.threads} thread{'s' * (curve.threads > 1)}: {falls_text(curve)}."


def _standings(record: Json) -> Iterator[str]:
    results = _results(record)
    yield from table_standings.summary(results)
    yield ""
    ours = [name for name in record["contenders"] if name.startswith("fastnet")]
    lost = list(table_standings.beaten(results, ours))
    count = len(table_standings.by_table(results))
    yield f"Another library is ahead of all of fastnet's on {len(lost)} of the {count} tables" + (
        f": {', '.join(lost)}." if lost else "."
    )


def _costs(record: Json) -> Iterator[str]:
    yield from table_standings.costs(_results(record))
    yield ""
    names = {"catboost": "CatBoost", "lightgbm": "LightGBM", "xgboost": "XGBoost"}
    versions = record["versions"]
    shown = {name: names.get(name, name) for name in ("scikit-learn", *names) if name in versions}
    libraries = ", ".join(f"{title} {versions[name]}" for name, title in shown.items())
    yield (
        f"{record['cpu']}, threads: {record['machine']['threads']}; {libraries}; fastnet "
        f"{record['machine']['fastnet']} at commit {record['commit']}."
    )


def _accuracies(record: Json) -> Iterator[str]:
    yield from table_standings.accuracies(_results(record))


def _results(record: Json) -> list[table_standings.Result]:
    return [table_standings.Result(**result) for result in record["results"]]


def _defaults(record: Json) -> Iterator[str]:
    results = [defaults.Result(**result) for result in record["results"]]
    names = list(dict.fromkeys(result.table for result in results))
    score = {(result.table, result.contender): mean(result.scores) for result in results}
    yield from defaults.head()
    for name in names:
        yield defaults.line([result for result in results if result.table == name])
    yield ""
    door, _, estimator, linear, by_hand = defaults.CONTENDERS

    def keeps_up(one: str, other: str) -> int:
        return sum(score[name, one] > score[name, other] - 0.01 for name in names)

    yield (
        f"Of the {len(names)} tables, the command is above the linear model or within 0.01 of it "
        f"on {keeps_up(door, linear)}, and the estimators on {keeps_up(estimator, linear)}; of the "
        f"network tuned by hand on {keeps_up(door, by_hand)} and {keeps_up(estimator, by_hand)}."
    )


def _sklearn(record: Json) -> Iterator[str]:
    found = {(r["problem"], r["contender"], r["dtype"]): r for r in record["results"]}
    pair = f"scikit-learn {record['machine']['packages']['scikit-learn']}", "fastnet numba"
    lines = []
    for problem in dict.fromkeys(r["problem"] for r in record["results"]):
        cells, scores = [problem], []
        for dtype in ("float64", "float32"):
            both = [found[problem, name, dtype] for name in ("scikit-learn", "fastnet numba")]
            seconds = [median(result["seconds"]) for result in both]
            cells += [f"{s:.3f}" if s > min(seconds) else f"**{s:.3f}**" for s in seconds]
            scores += [f"{mean(result['scores']):.3f}" for result in both]
        lines.append([*cells, ", ".join(scores[:2])])
    return _markdown(["seconds", *pair, *(f"{name}, float32" for name in pair), "scores"], lines)


def _memory(record: Json) -> Iterator[str]:
    report = record["report"]
    yield (
        f"On a file of {report['file'] / 1e9:.1f} GB, a process that held "
        f"{report['before'] / 2**20:.0f} MB before training held at most "
        f"{report['peak'] / 2**20:.0f} MB during it."
    )


PARTS: Final[dict[str, Callable[[Json], Iterator[str]]]] = {
    "machine": _machine,
    "training-1": lambda record: _training(record, 0),
    "training-2": lambda record: _training(record, 1),
    "close-1": lambda record: _close(record, 0),
    "close-2": lambda record: _close(record, 1),
    "predictions": _predictions,
    "startup": _startup,
    "learning": _learning,
    "widths": _widths,
    "tables": _accuracies,
    "tables-costs": _costs,
    "tables-standings": _standings,
    "defaults": _defaults,
    "populations": lambda record: _markdown(*population_tables.seconds(record)),
    "populations-machine": lambda record: iter([population_tables.machine(record)]),
    "populations-rivals": lambda record: _markdown(*population_tables.steps(record)),
    "populations-tabm": lambda record: _markdown(*population_tables.members(record)),
    "sklearn": _sklearn,
    "memory": _memory,
}


def _tables(record: Json, rungs: Mapping[str, Rung]) -> list[list[Json]]:
    """Return the tables of these networks, a list for each number of threads."""
    runs = (run["tables"] for run in record["runs"])
    return [tables for tables in runs if tables and tables[0]["network"] in rungs]


def _all(record: Json, part: str) -> list[Json]:
    return [item for run in record["runs"] for item in run.get(part) or ()]


def _curves(record: Json) -> list[Curve]:
    plain = _all(record, "widths")
    return [Curve(**{**curve, "falls": [Fall(**f) for f in curve["falls"]]}) for curve in plain]


def _label(row: Json) -> str:
    """Return a contender's name; a rival's with its version, but not its build (2.13.0+cpu)."""
    version = row["version"].partition("+")[0] if row["kind"] == "rival" else ""
    return f"{row['label']} {version}".strip()


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---", *["---:"] * (len(head) - 1)], *rows):
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
