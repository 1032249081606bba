"""The names of a table's columns, and which of them are the targets that a caller means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from fastnet.errors import DataError, InputError, nearest

Target = str | int | Sequence[str | int] | None
"""A target column's name, or its index where columns have no names; or several."""

Names = str | Sequence[str] | None
"""A column's name or several; in one text they are separated by commas."""

TextColumns = Callable[[Sequence[str], bool, str], set[str]]
"""``text_columns(names, named, source)``: the columns that are texts, even if all are numbers."""

MAX_COLUMNS = 100_000
"""Most input columns, before and after one-hot encoding; bounds what a small file can claim."""


def unnamed(count: int) -> tuple[str, ...]:
    """Return ``x0 .. x{count-1}``, the names of columns that have none."""
    return tuple(f"x{i}" for i in range(count))


def check_names(source: str, names: Sequence[str]) -> None:
    """Raise DataError unless there are names, none of them empty, and no two alike."""
    if not names:
        raise DataError(f"{source} has no columns.")
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{source} has {len(names)} columns, more than {MAX_COLUMNS:,}.")
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"{source}: column {position} has no name in the header; name it or remove it."
            )
        if name in seen:
            raise DataError(f"{source} has two columns named {name!r}; rename or remove one.")
        seen.add(name)


def column_hint(name: str, names: Iterable[str]) -> str:
    """Return the tail of a message about a wrong column: the near one, and the first twenty."""
    known = list(names)
    return f"{nearest(name, known)} Columns: {listing(known)}."


def no_column(source: str, name: str, names: Iterable[str]) -> DataError:
    """Return the error for a column that a table does not have; it names the nearest."""
    return DataError(f"{source} has no column {name!r}{column_hint(name, names)}")


def named_columns(given: Names, names: Collection[str], source: str) -> list[str]:
    """Return the columns that a caller names, one or several; in a text they are cut at commas.

    Raises
    ------
    DataError
        There is no such column; the message has the most similar name.
    """
    found = cut(given, names)
    for name in found:
        if name not in names:
            raise no_column(source, name, names)
    return found


def cut(given: Names, names: Collection[str]) -> list[str]:
    """Return the names that a caller gives, cut at commas unless the whole text is one of them."""
    if isinstance(given, str):
        return [given] if given in names else [part.strip() for part in given.split(",")]
    return list(given or ())


def is_index(text: str) -> bool:
    """Tell whether `text` is a plain integer such as ``3`` or ``-1``."""
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 10


def listing(names: Sequence[str]) -> str:
    """Return names for an error message, at most twenty of them."""
    more = f", and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(name)[1:-1] for name in names[:20]) + more


def match_targets(
    target: Target, names: tuple[str, ...], named: bool, source: str
) -> tuple[str, ...]:
    """Return the names of the target columns that the caller means.

    Parameters
    ----------
    target : str, int or sequence of these
        A column's name or, in a file without names, its index (negative from the end); several
        are separated by commas or given as a sequence.

    Raises
    ------
    DataError
        If there is no such column; names the near one.
    InputError
        If one is given twice, or `target` has a wrong type.
    """
    if isinstance(target, str):
        wanted: Sequence[object] = [target] if target in names else target.split(",")
    elif isinstance(target, Sequence):
        wanted = target
    else:
        wanted = [target]
    found = tuple(_match_target(item, names, named, source) for item in wanted)
    if not found or len(set(found)) != len(found):
        raise InputError(f"Expected target columns that are all different, got {target!r}.")
    return found


def _match_target(item: object, names: tuple[str, ...], named: bool, source: str) -> str:
    if not isinstance(item, (str, int)) or isinstance(item, bool):
        raise InputError(f"Expected the target as a column's name or index, got {item!r}.")
    name = str(item).strip()
    if name in names:
        return name
    if not named and is_index(name) and -len(names) <= int(name) < len(names):
        return names[int(name)]
    if not named:
        raise DataError(
            f"{source} has no column {name!r}: expected x0 to x{len(names) - 1}, or an index."
        )
    hint = column_hint(name, names)
    if any(is_index(known.replace(".", "")) for known in names):
        hint += " The first row looks like data: add a header row."
    raise DataError(f"{source} has no column {name!r}{hint}")


def missing_target(names: tuple[str, ...], source: str) -> InputError:
    """Return the error for a table that needs a target and got none."""
    return InputError(
        f"{source} needs a target: name the column to learn. Columns: {listing(names)}."
    )
