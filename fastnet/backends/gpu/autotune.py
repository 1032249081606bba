"""Chooses an algorithm for each matrix product by measuring once per GPU; keeps it on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastnet.kernels.cache_dir import make_private, product_cache
from fastnet.utils.files import replacing

GAIN: Final = 0.95
"""Another algorithm must take at most this share of the first one's time, or noise would decide."""


class Choices:
    """The chosen algorithm for each problem, for one GPU and one version of the library.

    The file holds indices into the library's own list of algorithms, so a damaged file can only
    choose another correct algorithm. Where the file cannot be read or written, `Choices` measures
    again in each process.

    Parameters
    ----------
    device : str
        GPU and version; part of the file's name.
    """

    def __init__(self, device: str) -> None:
        name = "".join(c if c.isalnum() else "-" for c in device)
        self._path = _file(name)
        self._known = _read(self._path)

    def choose(self, key: str, count: int, seconds: Callable[[int], float]) -> int:
        """Return the index of the algorithm to use; ``seconds(n)`` measures number n of `count`."""
        chosen = self._known.get(key, -1)
        if not 0 <= chosen < count:
            chosen = 0
            if count > 1:
                times = [seconds(n) for n in range(count)]
                fastest = min(range(count), key=times.__getitem__)
                chosen = fastest if times[fastest] < GAIN * times[0] else 0
            self._known[key] = chosen
            self._write()
        return chosen

    def _write(self) -> None:
        """Put the file in place whole, with what other processes found meanwhile."""
        if self._path is None:
            return
        self._known = {**_read(self._path), **self._known}
        try:
            make_private(self._path.parent)
            with replacing(self._path, private=True) as file:
                json.dump(self._known, file, indent=0, sort_keys=True)
        except OSError:
            return


def _file(name: str) -> Path | None:
    """Return the file of a GPU, or None where there is no home: each process measures anew."""
    try:
        return product_cache() / f"{name}.json"
    except OSError:
        return None


def _read(path: Path | None) -> dict[str, int]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {key: n for key, n in values.items() if type(n) is int}
