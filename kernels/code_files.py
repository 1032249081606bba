"""Files of compiled code: read only where nobody but the user can have written, bounded in size.

An entry is two files: ``NAME.nbi`` holds JSON with the SHA-256 of the code, which is in the file
``NAME.SHA256.nbc``. So two processes that write the same entry at once leave a whole one, whichever
comes last.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fastnet.kernels.cache_dir import make_private

MOST_BYTES: Final = 64 << 20
"""All entries together: the kernels of more than a hundred installations or processors."""

_ENDINGS: Final = (".nbi", ".nbc", ".tmp")

_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


def read(folder: Path, name: str) -> bytes | None:
    """Return the code of an entry, or None if there is none.

    Raises
    ------
    PermissionError
        Somebody else owns the folder, a folder above it or a file, or can write to it.
    ValueError
        The entry is damaged: its checksum differs.
    """
    index = folder / f"{name}.nbi"
    try:
        require_private(folder)
        facts = json.loads(_read_own(index))
        digest = facts["sha256"]
        if not (isinstance(digest, str) and digest.isalnum()):
            raise ValueError
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{index} is damaged") from None
    file = folder / f"{name}.{digest[:16]}.nbc"
    try:
        code = _read_own(file)
    except FileNotFoundError:
        return None
    if hashlib.sha256(code).hexdigest() != digest:
        raise ValueError(f"{file} is damaged: its SHA-256 is not the one in {index.name}")
    _mark_used(index, file)
    return code


def has(folder: Path, name: str) -> bool:
    """Return whether there is an entry of that name, whole or not."""
    return (folder / f"{name}.nbi").is_file()


def write(folder: Path, name: str, code: bytes, facts: dict[str, Any]) -> None:
    """Write an entry, with `facts` for whoever looks into its index; drop entries unused longest.

    Raises
    ------
    OSError
        The folder is not private, or cannot be written to.
    """
    make_private(folder)
    require_private(folder)
    digest = hashlib.sha256(code).hexdigest()
    _replace(folder / f"{name}.{digest[:16]}.nbc", code)
    index = json.dumps({**facts, "sha256": digest}, indent=1)
    _replace(folder / f"{name}.nbi", index.encode())
    prune(folder, MOST_BYTES)


def prune(folder: Path, most: int) -> None:
    """Remove the files that were used longest ago until no more than `most` bytes are left."""
    used = []
    for path in _files_of(folder):
        with suppress(FileNotFoundError):
            status = path.lstat()
            used.append((status.st_atime_ns, status.st_size, path))
    total = sum(size for _, size, _ in used)
    for _, size, path in sorted(used):
        if total <= most:
            return
        with suppress(FileNotFoundError):
            path.unlink()
        total -= size


def clear(folder: Path) -> tuple[int, int]:
    """Remove all entries of a folder, which need not exist; return how many files and bytes."""
    count = size = 0
    for path in list(_files_of(folder)):
        with suppress(FileNotFoundError):
            freed = path.lstat().st_size
            path.unlink()
            count, size = count + 1, size + freed
    return count, size


def _files_of(folder: Path) -> Iterator[Path]:
    """Yield the files of entries, those of earlier versions and unfinished ones among them."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.suffix in _ENDINGS:
                yield path


def require_private(folder: Path) -> None:
    """Raise `PermissionError` if somebody else can decide what is found under this path.

    That are those who own, or may write to, the folder, one above it, or a link on the way. The
    administrator may, and groups that only the user or the administrator is in. Others may write to
    folders above where these have the sticky bit, as those of temporary files. Where the system has
    no owners of this kind (Windows), nothing is checked.
    """
    if not hasattr(os, "getuid"):
        return
    trusted = _trusted()
    for place in _places(folder):
        status = place.lstat()
        if status.st_uid not in trusted:
            raise PermissionError(f"{place} belongs to somebody else")
        if stat.S_ISLNK(status.st_mode):
            continue
        by = status.st_mode & _WRITABLE
        if place != folder:
            own_group = status.st_gid in (0, status.st_uid)  # a user's private group, by its number
            if status.st_mode & stat.S_ISVTX or (own_group and not by & stat.S_IWOTH):
                by = 0
        if by:
            raise PermissionError(f"{place} can be written by somebody else")


def _trusted() -> set[int]:
    # Whoever owns the root folder can replace everything; in a container that may be "nobody".
    return {os.getuid(), 0, os.lstat(os.sep).st_uid}


def _places(folder: Path) -> Iterator[Path]:
    """Yield a folder, those above it, and where links among them lead."""
    waiting, seen = [folder], set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        yield place
        if place.is_symlink():
            waiting.append(place.parent / os.readlink(place))
        waiting.append(place.parent)


def _read_own(path: Path) -> bytes:
    """Return the content of a file that the user owns and nobody else can write to."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    # Nothing blocks: a pipe of that name is opened and then refused.
    with open(os.open(path, flags | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{path} is no file")
        if hasattr(os, "getuid"):
            if status.st_uid not in _trusted():
                raise PermissionError(f"{path} belongs to somebody else")
            if status.st_mode & _WRITABLE:
                raise PermissionError(f"{path} can be written by somebody else")
        return file.read()


def _mark_used(*paths: Path) -> None:
    """Set the time of the last access, which `prune` goes by; that of the last change stays."""
    for path in paths:
        with suppress(OSError):  # a read-only disk
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place whole, readable for this user only."""
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
