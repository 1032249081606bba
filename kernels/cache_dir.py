"""Where fastnet keeps what it can make again: compiled kernels, measured choices, downloads."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """Return the folder of fastnet's caches; it need not exist.

    ``FASTNET_CACHE_DIR``, else ``fastnet`` in ``XDG_CACHE_HOME``, else ``fastnet`` in the folder
    that the platform has for caches.

    Raises
    ------
    RuntimeError
        If the user has no home folder, and neither variable is set.
    """
    chosen = os.environ.get("FASTNET_CACHE_DIR")
    if chosen:
        return Path(chosen)
    # A relative XDG_CACHE_HOME is ignored, as its specification says: kernels would be loaded from
    # whatever folder is current.
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named, "fastnet")
    home = Path.home()
    usual = {
        "darwin": home / "Library" / "Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"),
    }
    return usual.get(sys.platform, home / ".cache") / "fastnet"
