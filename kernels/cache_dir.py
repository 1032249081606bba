"""Where fastnet keeps what it can make again: compiled kernels, measured choices, downloads."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """Return the folder of fastnet's caches, an absolute path, which need not exist.

    ``FASTNET_CACHE_DIR``, else the folder ``fastnet`` in the user's cache: ``XDG_CACHE_HOME`` where
    that is an absolute path (the specification says to ignore any other), else what is usual on the
    platform. No variable leads to the current folder: it may hold what strangers wrote.

    Raises
    ------
    FileNotFoundError
        ``FASTNET_CACHE_DIR`` is a relative path, or the user has no home folder and neither
        variable names one.
    """
    chosen = os.environ.get("FASTNET_CACHE_DIR")
    if chosen:
        if not os.path.isabs(chosen):
            raise FileNotFoundError(
                f"FASTNET_CACHE_DIR must be an absolute path, got {chosen!r}: a relative one would "
                "lead to another folder with each current folder"
            )
        return Path(chosen)
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named, "fastnet")
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise FileNotFoundError("there is no home folder for a cache: set FASTNET_CACHE_DIR")
    local = os.environ.get("LOCALAPPDATA", "")
    usual = {
        "darwin": home / "Library" / "Caches",
        "win32": Path(local) if os.path.isabs(local) else home / "AppData" / "Local",
    }
    return usual.get(sys.platform, home / ".cache") / "fastnet"


def kernel_cache() -> Path:
    """Return the folder of compiled CPU kernels."""
    return user_cache() / "kernels"


def product_cache() -> Path:
    """Return the folder of the algorithms chosen for matrix products on GPUs."""
    return user_cache() / "products"


def make_private(folder: Path) -> None:
    """Make a folder and those above it; ``Path.mkdir`` gives its mode to the last one only."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
