"""Files are replaced whole or not at all, and folders are brought to the disk."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from fastnet.errors import ModelFileError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new, never a mix.

    Temporary file in the same folder, sync, rename, sync of the folder (Pillai et al., OSDI 2014).
    Where `path` is a link, the file it points to is replaced.

    Raises
    ------
    ModelFileError
        It cannot be written; what was there before is still there.
    """
    try:
        path = path.resolve()
        mode = path.stat().st_mode if path.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            raise ModelFileError(f"{path} cannot be written: it is there and is not a file.")
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "wb") as file:
                if mode is not None:
                    os.chmod(temporary, stat.S_IMODE(mode))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except ModelFileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{path} cannot be written: {reason}.") from error


def sync_folder(path: Path) -> None:
    """Bring a folder's list of names to the disk, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
