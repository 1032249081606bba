"""Read damaged files by the thousand: each is data, or one of fastnet's own errors.

``python -m tests.fuzzing --count 10000 csv npz`` prints a line of JSON for each format. A file is
made from a good one by a seeded mutator, so that ``--seed`` and the number of a mutant bring it
back. It is read in this process: a crash of a library ends it, and leaves the file.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import io
import json
import re
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet import container
from fastnet.checkpoint_content import Saved
from fastnet.checkpoint_folder import Folder

SLOW_SECONDS = 2.0
"""A file that takes more of the processor's time to read, or to refuse, has made it hang."""

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


# --- formats --------------------------------------------------------------------------------------

ROWS = 12
"""Of a good file; ``--rows`` makes larger ones, to see how much memory is taken."""


def x_and_labels() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return np.random.default_rng(0).standard_normal((ROWS, 3)), np.arange(ROWS) % 3


def _network() -> fn.Network:
    layers = [fn.Dense(4), fn.BatchNorm("relu"), fn.Dropout(0.1), fn.Dense(3, "softmax")]
    net = fn.Network(layers, inputs=3, backend="numpy")
    net.label_names = ("ä", "b", "c")
    net.schema = fn.data.TableSchema.of_matrix(3, "y", net.label_names)
    return net


def model(folder: Path) -> bytes:
    net = _network()
    net.fit(*x_and_labels(), epochs=1, standardize=True)
    net.save(folder / "m")
    return (folder / "m").read_bytes()


def checkpoint(folder: Path) -> bytes:
    _network().fit(*x_and_labels(), epochs=3, early_stopping=3, checkpoint=folder / "run")
    return Folder(folder / "run").files()[0].read_bytes()


def array_file(save: Callable[..., None], labels: str = "i8") -> Callable[[Path], bytes]:
    """Return what makes a file of NumPy's, with x and y where it holds several arrays."""

    def good(folder: Path) -> bytes:
        x, y = x_and_labels()
        out = io.BytesIO()
        if save is np.save:
            save(out, x)
        else:
            save(out, x=x, y=y.astype(labels))
        return out.getvalue()

    return good


def idx(folder: Path) -> bytes:
    images = np.resize(np.arange(251, dtype=np.uint8), (ROWS, 3, 4))
    return b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes() + images.tobytes()


def words() -> list[str]:
    return ["red", "blue, or", "x"] * (ROWS // 3)


def parquet(folder: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    x, y = x_and_labels()
    table = pa.table({"a": x[:, 0], "b": np.arange(ROWS), "word": words(), "y": y})
    pq.write_table(table, folder / "t", compression="snappy")
    return (folder / "t").read_bytes()


def csv(folder: Path) -> bytes:
    x, y = x_and_labels()
    rows = enumerate(zip(x[:, 0], words(), y, strict=True))
    lines = [f'{k},{number:.3e},"{word}",{label}\r\n' for k, (number, word, label) in rows]
    return b'a,"b c",word,y\r\n' + "".join(lines).encode()


def csv_numbers(folder: Path) -> bytes:
    x, y = x_and_labels()
    rows = zip(*x.T[:2], y, strict=True)
    return "".join(f"{a:.17g};{b:.4f};{label}\n" for a, b, label in rows).encode()


def read_table(target: str | None) -> Callable[[Path], Any]:
    """Return a reader whose result holds no number that is not finite."""

    def read(path: Path) -> list[bytes]:
        data = fn.data.load(path, target=target)
        assert np.isfinite(data.x).all()
        return [data.x.tobytes()]

    return read


def read_model(path: Path) -> Any:
    net = fn.load(path, backend="numpy")
    return [net.parameters.tobytes(), net.state.tobytes(), repr((net, net.schema, net.label_names))]


def read_checkpoint(path: Path) -> Any:
    description, tensors = container.unpack(path, "fastnet-checkpoint", "checkpoint", "a test")
    container.require_version(path, description, 1)
    saved = Saved.read(path, description, tensors)
    saved.require_fit(path, _network(), 2, 1)
    return [saved.parameters.tobytes(), saved.moments.tobytes(), repr(saved.memories)]


def signed(kind: str, data: bytes) -> bytes:
    """Return a container whose checksum is right again, if it can still be read at all."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        tensors = load(data)
        text = header["__metadata__"][kind].partition("\n")[2]
        header["__metadata__"][kind] = f"{container.checksum(text, tensors)}\n{text}"
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return data
    made = json.dumps(header).encode()
    return len(made).to_bytes(8, "little") + made + data[8 + size :]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes
    ----------
    name : str
        Of the file.
    good : callable
        Makes the content of a good file; may use the folder given.
    read : callable
    checked : bool
        Whether a checksum protects it: a file that is read then means what the good one meant.
    mend : callable
        Puts right in a mutant what would otherwise hide everything else.
    """

    name: str
    good: Callable[[Path], bytes]
    read: Callable[[Path], Any]
    checked: bool = False
    mend: Callable[[bytes], bytes] = bytes


FORMATS = {
    "model": Format("m.safetensors", model, read_model, checked=True),
    "model-signed": Format(
        "m.safetensors", model, read_model, mend=lambda data: signed("fastnet", data)
    ),
    "checkpoint": Format("c.safetensors", checkpoint, read_checkpoint, checked=True),
    "checkpoint-signed": Format(
        "c.safetensors", checkpoint, read_checkpoint,
        mend=lambda data: signed("fastnet-checkpoint", data),
    ),
    "csv": Format("table.csv", csv, read_table("y")),
    "csv-numbers": Format("numbers.csv", csv_numbers, read_table("x2")),
    "npy": Format("rows.npy", array_file(np.save), read_table("-1")),
    "npz": Format("stored.npz", array_file(np.savez), read_table(None)),
    "npz-deflated": Format(
        "deflated.npz", array_file(np.savez_compressed, "U1"), read_table(None)
    ),
    "idx": Format("rows.idx", idx, read_table(None)),
    "idx-gzip": Format(
        "rows.idx.gz", lambda folder: gzip.compress(idx(folder), mtime=0), read_table(None)
    ),
    "parquet": Format("table.parquet", parquet, read_table("y")),
}  # fmt: skip


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
    raise HangError(f"took more than {SLOW_SECONDS} s")


class Memory:
    """By how many MB the resident memory rises at most; elsewhere than on Linux always 0."""

    def __enter__(self) -> Self:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be used again, unseen
            Path("/proc/self/clear_refs").write_text("5")  # sets the peak back
        self.rise = -self._read("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.rise += self._read("VmHWM")

    @staticmethod
    def _read(name: str) -> float:
        try:
            status = Path("/proc/self/status").read_text()
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
    with Memory() as memory:
        form.read(path)
    report.honest_mb, report.bytes = round(memory.rise, 1), len(good)
    signal.signal(signal.SIGPROF, _too_long)
    for number in range(count):
        content = form.mend(mutant(good, np.random.default_rng([seed, number])))
        path.write_bytes(content)
        started, wrong = time.process_time(), ""
        try:
            signal.setitimer(signal.ITIMER_PROF, SLOW_SECONDS)
            with Memory() as memory, warnings.catch_warnings():
                warnings.simplefilter("error")
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=ROWS, help="of a good file; a multiple of 3")
    arguments = parser.parse_args()
    globals()["ROWS"] = arguments.rows
    for name in arguments.formats or FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            report = campaign(name, arguments.count, arguments.seed, Path(folder))
        print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main()
