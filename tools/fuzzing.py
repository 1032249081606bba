"""Read damaged files by the thousand: each is data, or one of fastnet's own errors.

``python -m tools.fuzzing --count 10000 csv npz`` prints a line of JSON for each format. A file is
made from a good one by a seeded mutator, so that ``--seed`` and the number of a mutant bring it
back. It is read in this process: a crash of a library ends it, and leaves the file.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import signal
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

import numpy as np

import fastnet as fn
from tools import fuzz_formats
from tools.fuzz_formats import FORMATS

SLOW_SECONDS, SLOW_TIMES = 2.0, 10
"""A damaged file may take so much of the processor's time and so often that of the good file, which
tells how large it is and how fast this machine: one that takes more has made its reader hang."""

Rng = np.random.Generator

# --- mutators -------------------------------------------------------------------------------------


def bits(data: bytearray, rng: Rng) -> None:
    """Flip from 1 to 8 bits."""
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))


def truncate(data: bytearray, rng: Rng) -> None:
    """Cut off the end."""
    del data[int(rng.integers(len(data))) :]


def append(data: bytearray, rng: Rng) -> None:
    """Put random bytes, or the file itself, behind it."""
    data += bytes(data) if rng.random() < 0.2 else rng.bytes(int(rng.integers(1, 65)))


def length_field(data: bytearray, rng: Rng) -> None:
    """Write a size that is small, large or negative over what may be one."""
    size, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["little", "big"]))
    edge = 1 << 8 * size
    values = [0, 1, edge - 1, edge // 2 - 1, edge // 2, int(rng.integers(edge // 2)), len(data)]
    value = int(values[rng.integers(len(values))]) % edge
    place = int(rng.integers(min(len(data), 256)))
    data[place : place + size] = value.to_bytes(size, order)  # type: ignore[arg-type]


def header_bytes(data: bytearray, rng: Rng) -> None:
    """Write over a piece of the beginning, with what means something in texts and without."""
    place, length = int(rng.integers(min(len(data), 512))), int(rng.integers(1, 9))
    choices = [b"\0", b"\xff", b"9", b'"', b",", b"\n", b"[", b"{", b"(", b"\\", b"-", b"e"]
    filler = choices[rng.integers(len(choices))] * length
    data[place : place + length] = filler if rng.random() < 0.7 else rng.bytes(length)


def swap(data: bytearray, rng: Rng) -> None:
    """Exchange two pieces."""
    a, b = sorted(rng.integers(0, len(data), 2).tolist())
    length = min(int(rng.integers(1, 33)), b - a, len(data) - b)
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]


def delete(data: bytearray, rng: Rng) -> None:
    """Take a piece out."""
    place = int(rng.integers(len(data)))
    del data[place : place + int(rng.integers(1, 33))]


MUTATORS = (bits, truncate, append, length_field, header_bytes, swap, delete)


def mutant(good: bytes, rng: Rng) -> bytes:
    """Return `good` after one to three mutations."""
    data = bytearray(good)
    for _ in range(rng.integers(1, 4)):
        if data:
            MUTATORS[rng.integers(len(MUTATORS))](data, rng)
    return bytes(data)


# --- the campaign ---------------------------------------------------------------------------------


@dataclass
class Report:
    """What came of the mutants of one format.

    Attributes
    ----------
    read, refused : int
    foreign : list of str
        Errors and warnings that are not fastnet's, messages of more than a line, and files with a
        checksum that were read as something else: at most 20.
    slowest_ms : float
    bytes : int
        Size of the good file.
    honest_mb, worst_mb : float
        By how much resident memory rose while the good file was read, and at most while one of its
        mutants was.
    """

    format: str
    count: int
    read: int = 0
    refused: int = 0
    foreign: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0
    bytes: int = 0
    honest_mb: float = 0.0
    worst_mb: float = 0.0
    seconds: float = 0.0


class HangError(BaseException):
    """A file took too long."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise HangError("took longer than its size explains")


class Memory:
    """By how many MB the resident memory rises at most; elsewhere than on Linux always 0."""

    def __enter__(self) -> Self:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be used again, unseen
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # sets the peak back
        self.rise = -self._read("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.rise += self._read("VmHWM")

    @staticmethod
    def _read(name: str) -> float:
        try:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        return int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1024


def campaign(name: str, count: int, seed: int, folder: Path) -> Report:
    """Read so many mutants of a format."""
    form, report, began = FORMATS[name], Report(name, count), time.perf_counter()
    good = form.good(folder)
    path = folder / form.name
    path.write_bytes(good)
    expected = form.read(path)
    rises = []
    started = time.process_time()
    for _ in range(3):  # a reader of Arrow may use memory again that it has not given back
        with Memory() as memory:
            form.read(path)
        rises.append(memory.rise)
    most_seconds = SLOW_SECONDS + SLOW_TIMES * (time.process_time() - started) / len(rises)
    report.honest_mb, report.bytes = round(max(rises), 1), len(good)
    signal.signal(signal.SIGPROF, _too_long)
    for number in range(count):
        content = form.mend(mutant(good, np.random.default_rng([seed, number])))
        path.write_bytes(content)
        started, wrong = time.process_time(), ""
        try:
            signal.setitimer(signal.ITIMER_PROF, most_seconds)
            with Memory() as memory, warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", fn.FastNetWarning)
                result = form.read(path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            report.read += 1
            if form.checked and result != expected:
                wrong = "was read as something else"
        except fn.FastNetError as error:
            report.refused += 1
            if "\n" in str(error):
                wrong = f"has a message of several lines: {error!r}"
        except (Exception, HangError) as error:
            wrong = f"{type(error).__name__}: {error}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        milliseconds = round(1e3 * (time.process_time() - started), 1)
        report.slowest_ms = max(report.slowest_ms, milliseconds)
        report.worst_mb = round(max(report.worst_mb, memory.rise), 1)
        if wrong and len(report.foreign) < 20:
            report.foreign.append(f"mutant {number}: {wrong[:200]}")
    report.seconds = round(time.perf_counter() - began, 1)
    return report


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.fuzzing", description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rows", type=int, default=fuzz_formats.ROWS, help="of a good file; a multiple of 3"
    )
    arguments = parser.parse_args()
    fuzz_formats.ROWS = arguments.rows
    for name in arguments.formats or FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            report = campaign(name, arguments.count, arguments.seed, Path(folder))
        print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main()
