"""Atomic replacement of files, and folders that are synced to disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fastnet.errors import ModelFileError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, even after a crash.

    The steps are: temporary file in the same folder, sync, rename, sync of the folder (Pillai et
    al., OSDI 2014). If `path` is a link, the file it points to is replaced.

    Raises
    ------
    ModelFileError
        The file cannot be written; the old content is untouched.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise ModelFileError(f"{path} cannot be written: it is there and is not a file.")
        with replacing(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except ModelFileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{path} cannot be written: {reason}.") from error


@contextmanager
def replacing(path: Path, mode: str = "w", *, private: bool = False) -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it is complete.

    If `path` is a link, the file it points to is replaced; the new file keeps the old one's mode.
    Text is UTF-8, and line ends are not translated.

    Parameters
    ----------
    mode : {"w", "wb"}
    private : bool, default False
        Whether nobody else may read a new file.
    """
    target = path.resolve()
    before = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    temporary = target.with_name(f".{os.urandom(8).hex()}.tmp")
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with open(temporary, mode, **options) as file:
            if private or before is not None:
                os.chmod(temporary, 0o600 if before is None else before)
            yield file
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Sync a folder's list of names to disk, where the system supports it."""
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
