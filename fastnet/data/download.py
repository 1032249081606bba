"""Downloads into the user's cache: checked, and either whole or not there at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from fastnet.errors import DataError, DataNotFoundError
from fastnet.kernels.cache_dir import make_private, user_cache
from fastnet.utils.files import replacing

_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16


def cache_folder() -> Path:
    """Return the folder for downloads, that of all of fastnet's caches; it need not exist.

    Raises
    ------
    DataNotFoundError
        If the user has no home folder, and no variable names another one; or if
        ``FASTNET_CACHE_DIR`` is a relative path.
    """
    try:
        return user_cache()
    except FileNotFoundError as error:
        raise DataNotFoundError(f"There is no folder for downloads: {error}.") from error


def download(
    addresses: Sequence[str],
    path: Path,
    sha256: str,
    size: int,
    timeout: float = _TIMEOUT_SECONDS,
) -> None:
    """Download a file from the first address that answers, and put it at `path` when it is right.

    Parameters
    ----------
    addresses : sequence of str
    path : Path
        Where it goes. A missing folder is made for this user only (mode 0700).
    sha256 : str
    size : int
        Expected number of bytes; not a byte more is taken.
    timeout : float
        Seconds without an answer after which the next address is tried.

    Raises
    ------
    DataNotFoundError
        If no address gives the whole file, or it cannot be written.
    DataError
        If the file is not the one that was expected.
    """
    from http.client import HTTPException  # with urllib.request 30 ms, for the few that download

    reasons = []
    for address in addresses:
        try:
            make_private(path.parent)
            _download(address, path, sha256, size, timeout)
            return
        except DataError:
            raise
        except (OSError, EOFError, HTTPException) as error:  # of the network, or of the disk
            reasons.append(f"{address}: {error!r}")
    raise DataNotFoundError(f"{path.name} could not be downloaded ({'; '.join(reasons)}).")


def _download(address: str, path: Path, sha256: str, size: int, timeout: float) -> None:
    import urllib.request

    digest, count = hashlib.sha256(), 0
    with replacing(path, "wb", private=True) as file:
        with urllib.request.urlopen(address, timeout=timeout) as answer:
            while count <= size and (chunk := answer.read(_CHUNK_BYTES)):
                count += len(chunk)
                digest.update(chunk)
                file.write(chunk)
        if count < size:
            raise EOFError(f"broken off after {count} of {size} bytes")
        if count > size or digest.hexdigest() != sha256:
            raise DataError(f"{address} is not the expected file (its SHA-256 is not {sha256}).")
        file.flush()
        os.fsync(file.fileno())
