"""Keeps on disk what was measured of matrix products, once per GPU and version of the library."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastnet.kernels.cache_dir import make_private, product_cache
from fastnet.utils.files import replacing

GAIN: Final = 0.95
"""Another algorithm must take at most this share of the first one's time, or noise would decide."""

ALGORITHM_BYTES: Final = 64
"""The size of an algorithm of cublasLt."""


@dataclass(frozen=True)
class Choice:
    """What was found out about a product.

    Attributes
    ----------
    algorithm : bytes
        The library's own record of it.
    gain : float
        Seconds that its epilogue saves against launches of its own; minus infinity where it
        computes something else. 0 where there is no epilogue.
    """

    algorithm: bytes
    gain: float = 0.0


class Choices:
    """The choice for each problem, for one GPU and one version of the library.

    Where the file cannot be read or written, each process measures again. Entries that are damaged
    count as missing.

    Parameters
    ----------
    device : str
        GPU and version; part of the file's name.
    """

    def __init__(self, device: str) -> None:
        name = "".join(c if c.isalnum() else "-" for c in device)
        self._path = _file(name)
        self._known = _read(self._path)

    def get(self, key: str) -> Choice | None:
        """Return what is known of a problem, by another process too."""
        if key not in self._known:
            self._known = {**_read(self._path), **self._known}
        return self._known.get(key)

    def keep(self, key: str, choice: Choice) -> None:
        """Put the file in place whole, with what other processes found meanwhile."""
        self._known = {**_read(self._path), **self._known, key: choice}
        if self._path is None:
            return
        values = {name: _as_json(known) for name, known in self._known.items()}
        try:
            make_private(self._path.parent)
            with replacing(self._path, private=True) as file:
                json.dump(values, file, indent=0, sort_keys=True, allow_nan=False)
        except OSError:
            return


def fastest(count: int, seconds: Callable[[int], float]) -> int | None:
    """Return the number of the fastest algorithm, or None where none runs.

    Parameters
    ----------
    seconds : callable
        ``seconds(n)`` measures number n of `count`: infinity where it does not run.
    """
    times = [seconds(n) for n in range(count)]
    best = min(range(count), key=times.__getitem__, default=None)
    if best is None or times[best] == math.inf:
        return None
    return best if times[best] < GAIN * times[0] else 0


def _file(name: str) -> Path | None:
    """Return the file of a GPU, or None where there is no home: each process measures anew."""
    try:
        return product_cache() / f"{name}.json"
    except OSError:
        return None


def _as_json(choice: Choice) -> list[Any]:
    """Return a choice as JSON has it, where no number is infinite."""
    return [choice.algorithm.hex(), choice.gain if math.isfinite(choice.gain) else None]


def _read(path: Path | None) -> dict[str, Choice]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    found = ((key, _from_json(value)) for key, value in values.items())
    return {key: choice for key, choice in found if choice is not None}


def _from_json(value: Any) -> Choice | None:
    """Return the choice that was written, or None where it was none."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    algorithm, gain = value
    if gain is not None and not (type(gain) is float and math.isfinite(gain)):
        return None
    try:
        name = bytes.fromhex(algorithm)
    except (TypeError, ValueError):
        return None
    if len(name) != ALGORITHM_BYTES:
        return None
    return Choice(name, -math.inf if gain is None else gain)
