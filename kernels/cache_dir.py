"""Where fastnet keeps what it can make again: compiled kernels, measured choices, downloads."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """Return the folder of fastnet's caches, which need not exist.

    ``FASTNET_CACHE_DIR``, else the folder ``fastnet`` in the user's cache: ``XDG_CACHE_HOME`` where
    that is an absolute path (the specification says to ignore any other), else what is usual on the
    platform.

    Raises
    ------
    FileNotFoundError
        The user has no home folder, and neither variable names one.
    """
    chosen = os.environ.get("FASTNET_CACHE_DIR")
    if chosen:
        return Path(chosen)
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named, "fastnet")
    try:
        home = Path.home()
    except RuntimeError:
        raise FileNotFoundError(
            "there is no home folder for a cache: set FASTNET_CACHE_DIR"
        ) from None
    usual = {
        "darwin": home / "Library" / "Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"),
    }
    return usual.get(sys.platform, home / ".cache") / "fastnet"
