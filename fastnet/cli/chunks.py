"""Files that a command reads a part at a time: several, or a pattern, or with ``--chunk-rows``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fastnet.cli.models import Predictor
from fastnet.cli.sources import STANDARD, Reading
from fastnet.data import BUILT_IN, Chunks
from fastnet.data.chunk_files import KINDS, expanded, is_pattern
from fastnet.data.columns import match_targets, unnamed
from fastnet.data.frame_files import ending
from fastnet.data.roles import Roles
from fastnet.data.text_format import TextFormat
from fastnet.errors import InputError


def in_chunks(sources: Sequence[str]) -> bool:
    """Tell whether these are several files, which are read a part at a time."""
    return len(sources) > 1 or is_pattern(sources[0])


def open_chunks(sources: Sequence[str], form: TextFormat, chunk_rows: int | None = None) -> Chunks:
    """Open files as one table without targets.

    Raises
    ------
    click.UsageError
        One of them is not of a kind that is read in parts.
    """
    for source in sources:
        if source == STANDARD:
            raise click.UsageError("- (standard input) is read as a whole, and alone.")
        if source in BUILT_IN:
            raise click.UsageError(f"{source} is read as a whole, and alone.")
    files = expanded(list(sources)) or []
    for file in files:
        if file.is_file() and ending(file) not in KINDS:
            raise click.UsageError(
                f"{file}: files that are read in chunks end in {', '.join(KINDS)}."
            )
    return Chunks(files, chunk_rows=chunk_rows, **form.keywords)


def columns_of(chunks: Chunks, target: str) -> Any:
    """Return the target of `Chunks` that the option ``--target`` means: a column, or several."""
    names = chunks.names or unnamed(chunks.columns)
    found = match_targets(target, names, bool(chunks.names), chunks.name)
    wanted: list[Any] = [name if chunks.names else names.index(name) for name in found]
    return wanted[0] if len(wanted) == 1 else wanted


def chunks_for(
    network: Predictor,
    sources: Sequence[str],
    reading: Reading,
    target: str | None = None,
    *,
    id: str | None = None,
    weight: str | None = None,
) -> Chunks:
    """Open files for a network; the target and the roles of training are found if they are there.

    Raises
    ------
    click.UsageError
        An option does not go with several files.
    """
    if reading.folder is not None or reading.split != "auto":
        raise click.UsageError("--split and --data-dir do not go with several files.")
    chunks = open_chunks(sources, reading.form)
    preprocessor = network.preprocessor
    known = preprocessor.target.names if preprocessor.target else ()
    roles = Roles(id, weight).with_known(preprocessor).among(chunks.names)
    named = bool(chunks.names)
    wanted: Any = None
    if target is not None:
        wanted = columns_of(chunks, target)
    elif known and set(known) <= set(chunks.names if named else unnamed(chunks.columns)):
        by_name = named and getattr(preprocessor, "named", True)
        inputs = len({column.name for column in getattr(preprocessor, "columns", ())})
        whole = chunks.columns == (inputs or preprocessor.inputs) + len(known)
        if by_name or whole:
            wanted = columns_of(chunks, ",".join(known))
    if not named:
        if id is not None or weight is not None:
            raise InputError(
                f"{chunks.name} has columns without names: --id and --weight need them."
            )
        roles = Roles()
    return chunks.with_roles(wanted, roles)
