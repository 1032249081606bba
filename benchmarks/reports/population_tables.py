"""The tables of a record of `fastnet.benchmarks.populations`: a head, and rows of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastnet.benchmarks.populations import CASES, SEARCH, TABM, TABM_BATCH, VERSIONS
from fastnet.benchmarks.reports.report import significant

Json = dict[str, Any]
Table = tuple[list[str], list[list[str]]]

_SEARCHED: Final = "search, 12 settings on 5 folds"


def seconds(record: Json) -> Table:
    """Return the seconds of each population, and of the same networks one by one."""
    titles = {}
    for case in CASES:
        rows = f"{case.rows:,} rows in batches of {case.batch}"
        epochs = f"{case.epochs} epoch{'s' * (case.epochs > 1)}"
        titles[case.name] = f"{case.layers}, {rows}, {epochs}"
    titles[SEARCH] = _SEARCHED
    cells = [
        [title, *_cells([(row["seconds"], row) for row in found[:2]])]
        for found, title in _titled(record, titles)
    ]
    return ["seconds", "fastnet", "one by one, or scikit-learn"], cells


def steps(record: Json) -> Table:
    """Return the microseconds of a step of one network, in all libraries."""
    titles = {c.name: f"{c.layers}, batch {c.batch}" for c in CASES if c.rivalled}
    return _steps(record, titles, "microseconds", 1.0)


def members(record: Json) -> Table:
    """Return the milliseconds of a step of networks with `fastnet.Members`, and of TabM."""
    titles = {name: f"{name}, batch {TABM_BATCH}" for name in TABM}
    return _steps(record, titles, "milliseconds", 1e3)


def machine(record: Json) -> str:
    """Return a sentence: where it was measured, with which versions."""
    described = record["machine"]
    packages = {VERSIONS[name]: text for name, text in record["versions"].items()}
    versions = ", ".join(f"{title} {text.partition('+')[0]}" for title, text in packages.items())
    return (
        f"{described['cpu']}, threads: {described['threads'] or described['usable_processors']}; "
        f"{described['python']}, {versions}; fastnet {described['fastnet']} at commit "
        f"{described['commit']}, {record['created'][:10]}."
    )


def _steps(record: Json, titles: Mapping[str, str], unit: str, per: float) -> Table:
    found = _titled(record, titles)
    rows = [
        [title, *_cells([(row["step_us"] / per, row) for row in results])]
        for results, title in found
    ]
    return [unit, "fastnet", *(row["contender"] for row in found[0][0][1:])], rows


def _titled(record: Json, titles: Mapping[str, str]) -> list[tuple[list[Json], str]]:
    """Return the results and the title of each case; fastnet's population comes first."""
    results = record["results"]
    return [([r for r in results if r["case"] == name], titles[name]) for name in titles]


def _cells(values: Sequence[tuple[float, Json]]) -> list[str]:
    """Return a cell for each contender; all but the first tell how many times as long it takes."""
    least = min(value for value, _ in values)
    cells: list[str] = []
    for value, row in values:
        text = significant(value)
        text = f"**{text}**" if value == least else text
        cells.append(f"{text} ({significant(row['ratio'])}\u00d7)" if cells else text)
    return cells
