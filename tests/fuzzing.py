"""Read damaged files by the thousand: each is data, or one of fastnet's own errors.

``python -m tests.fuzzing --count 10000 csv npz`` prints a line of JSON for each format. A file is
made from a good one by a seeded mutator, so that ``--seed`` and the number of a mutant bring it
back. It is read in this process: a crash of a library ends it, and leaves the file.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import resource
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import fastnet as fn
from fastnet import container
from fastnet.checkpoint_content import Saved
from fastnet.checkpoint_folder import Folder

SLOW_SECONDS = 2.0
"""A file that takes longer to read, or to refuse, has made it hang."""

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

X = np.random.default_rng(0).standard_normal((12, 3))
LABELS = np.arange(12) % 3


def _network() -> fn.Network:
    layers = [fn.Dense(4), fn.BatchNorm("relu"), fn.Dropout(0.1), fn.Dense(3, "softmax")]
    net = fn.Network(layers, inputs=3, backend="numpy")
    net.label_names = ("ä", "b", "c")
    net.schema = fn.data.TableSchema.of_matrix(3, "y", net.label_names)
    return net


def model(folder: Path) -> bytes:
    net = _network()
    net.fit(X, LABELS, epochs=1, standardize=True)
    net.save(folder / "m")
    return (folder / "m").read_bytes()


def checkpoint(folder: Path) -> bytes:
    _network().fit(X, LABELS, epochs=3, early_stopping=3, checkpoint=folder / "run")
    return Folder(folder / "run").files()[0].read_bytes()


def _array_file(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    out = io.BytesIO()
    save(out, *arrays, **named)
    return out.getvalue()


def idx(folder: Path) -> bytes:
    images = np.arange(96, dtype=np.uint8).reshape(8, 3, 4)
    return b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes() + images.tobytes()


def parquet(folder: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = ["red", "blue", "red", "green"] * 3
    columns = {"a": X[:, 0], "b": np.arange(12), "word": words, "y": LABELS}
    pq.write_table(pa.table(columns), folder / "t", compression="snappy")
    return (folder / "t").read_bytes()


WORDS = ["red", '"blue, or"', "x"] * 4
TABLE = 'a,"b c",word,y\r\n' + "".join(
    f"{a},{b:.3e},{word},{y}\r\n"
    for a, b, word, y in zip(range(12), X[:, 0], WORDS, LABELS, strict=True)
)
NUMBERS = "".join(f"{a:.17g};{b:.4f};{y}\n" for a, b, y in zip(*X.T[:2], LABELS, strict=True))


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
    "csv": Format("table.csv", lambda folder: TABLE.encode(), read_table("y")),
    "csv-numbers": Format("numbers.csv", lambda folder: NUMBERS.encode(), read_table("x2")),
    "npy": Format("rows.npy", lambda folder: _array_file(np.save, X), read_table("-1")),
    "npz": Format(
        "stored.npz", lambda folder: _array_file(np.savez, x=X, y=LABELS), read_table(None)
    ),
    "npz-deflated": Format(
        "deflated.npz",
        lambda folder: _array_file(np.savez_compressed, x=X, y=LABELS.astype("U1")),
        read_table(None),
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
    growth : float
        Largest peak of resident memory while a mutant was read, in MB above the good file's.
    """

    format: str
    count: int
    read: int = 0
    refused: int = 0
    foreign: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0
    growth: float = 0.0
    seconds: float = 0.0


class HangError(BaseException):
    """A file took too long."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise HangError(f"took more than {SLOW_SECONDS} s")


def peak_megabytes() -> float:
    """Return the peak of resident memory since the last call (on Linux; elsewhere since ever)."""
    try:
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/clear_refs").write_text("5")
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def campaign(name: str, count: int, seed: int, folder: Path) -> Report:
    """Read so many mutants of a format."""
    form, report, began = FORMATS[name], Report(name, count), time.perf_counter()
    good = form.good(folder)
    path = folder / form.name
    path.write_bytes(good)
    expected = form.read(path)
    peak_megabytes()
    form.read(path)
    honest = peak_megabytes()
    signal.signal(signal.SIGALRM, _too_long)
    for number in range(count):
        content = form.mend(mutant(good, np.random.default_rng([seed, number])))
        path.write_bytes(content)
        peak_megabytes()
        started, wrong = time.perf_counter(), ""
        try:
            signal.setitimer(signal.ITIMER_REAL, SLOW_SECONDS)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                result = form.read(path)
            signal.setitimer(signal.ITIMER_REAL, 0)
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
            signal.setitimer(signal.ITIMER_REAL, 0)
        milliseconds = round(1e3 * (time.perf_counter() - started), 1)
        report.slowest_ms = max(report.slowest_ms, milliseconds)
        report.growth = round(max(report.growth, peak_megabytes() - honest), 1)
        if wrong and len(report.foreign) < 20:
            report.foreign.append(f"mutant {number}: {wrong[:200]}")
    report.seconds = round(time.perf_counter() - began, 1)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.formats or FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            report = campaign(name, arguments.count, arguments.seed, Path(folder))
        print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main()
