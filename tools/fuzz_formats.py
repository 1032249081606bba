"""The kinds of files that `tools.fuzzing` damages: a good one of each, and what reads it."""

from __future__ import annotations

import gzip
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.data.frame import Frame
from fastnet.nn.losses import MSE
from fastnet.preprocessing import serialize
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.target import TableTarget
from fastnet.serialization import safetensors_file
from fastnet.tables import TablePreprocessor, read_frame
from fastnet.training.checkpoints.folder import Folder
from fastnet.training.checkpoints.snapshot import Checkpoint
from fastnet.training.chunk_learning import learn_chunks
from fastnet.training.out_of_core import Windows

ROWS = 12
"""Of a good file; ``--rows`` makes larger ones, to see how much memory is taken."""


LABELS = ("ä", "b", "c")


def x_and_labels() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return np.random.default_rng(0).standard_normal((ROWS, 3)), np.arange(ROWS) % 3


def _network() -> fn.Network:
    layers = [fn.Dense(4), fn.BatchNorm("relu"), fn.Dropout(0.1), fn.Dense(3, "softmax")]
    net = fn.Network(layers, inputs=3, backend="numpy")
    net.preprocessor = Passthrough(3, TableTarget.plain(("y",), LABELS))
    return net


def x_and_names() -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    x, y = x_and_labels()
    return x, np.array(LABELS)[y]


def model(folder: Path) -> bytes:
    net = _network()
    net.fit(*x_and_names(), epochs=1, standardize=True)
    net.save(folder / "m", optimizer=True)
    return (folder / "m").read_bytes()


def checkpoint(folder: Path) -> bytes:
    _network().fit(*x_and_names(), epochs=3, early_stopping=3, checkpoint=folder / "run")
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


def gaps() -> dict[str, list[Any]]:
    """Return columns of numbers, of numbers with gaps, of words with gaps, and of labels."""
    x, y = x_and_labels()
    holes: list[Any] = [None if k % 5 == 3 else number for k, number in enumerate(x[:, 1].tolist())]
    texts: list[Any] = [None if k % 4 == 2 else word for k, word in enumerate(words())]
    labels = [("low", "ä", "high")[k] for k in y]
    return {"a": x[:, 0].tolist(), "b": holes, "word": texts, "y": labels}


def arrow_table(columns: dict[str, Any]) -> Any:
    import pyarrow as pa

    return pa.table(columns)


def parquet_gaps(folder: Path) -> bytes:
    import pyarrow.parquet as pq

    pq.write_table(arrow_table(gaps()), folder / "t")
    return (folder / "t").read_bytes()


def parquet_numbers(folder: Path) -> bytes:
    import pyarrow.parquet as pq

    x, y = x_and_labels()
    columns = {"a": x[:, 0], "b": x[:, 1].astype("f4"), "y": y}
    pq.write_table(arrow_table(columns), folder / "t", row_group_size=max(5, ROWS // 4))
    return (folder / "t").read_bytes()


def feather(folder: Path) -> bytes:
    from pyarrow.feather import write_feather

    write_feather(arrow_table(gaps()), str(folder / "t"))  # in LZ4, as pandas writes it
    return (folder / "t").read_bytes()


def arrow_stream(folder: Path) -> bytes:
    import pyarrow as pa

    x, y = x_and_labels()
    table = arrow_table({"a": x[:, 0], "word": words(), "y": y})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def csv_gaps(folder: Path) -> bytes:
    cells = [["" if cell is None else f'"{cell}"' for cell in c] for c in gaps().values()]
    lines = [",".join(row) for row in zip(*cells, strict=True)]
    return "\n".join(["a,b,word,y", *lines, ""]).encode()


def model_of_table(folder: Path) -> bytes:
    columns = {name: np.array(column, object) for name, column in gaps().items()}
    table = TablePreprocessor.fit(columns, "y", numeric_embedding="piecewise")
    layers = [table.first_layer(2), fn.Dense(3, "softmax")]
    net = fn.Network(layers, inputs=table.inputs, backend="numpy")
    net.preprocessor, net.label_names = table, table.label_names
    net.fit(columns, "y", epochs=1)
    net.save(folder / "m")
    return (folder / "m").read_bytes()


def csv_numbers(folder: Path) -> bytes:
    x, y = x_and_labels()
    rows = zip(*x.T[:2], y, strict=True)
    return "".join(f"{a:.17g};{b:.4f};{label}\n" for a, b, label in rows).encode()


def read_table(target: str | None) -> Callable[[Path], Any]:
    """Return a reader whose result holds no number that is not finite."""

    def read(path: Path) -> list[bytes]:
        data = fn.data.load(path, target=target)
        x = _inputs(data.x) if isinstance(data.x, Frame) else data.x
        assert np.isfinite(x).all()
        return [x.tobytes()]

    return read


def _inputs(frame: Frame) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fn.FastNetWarning)  # of columns without a value
        return TablePreprocessor.fit(frame).transform(frame)


def read_with_gaps(path: Path) -> list[bytes]:
    """Read a table, learn its preprocessor and apply it: no number may be other than finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fn.FastNetWarning)  # of columns without a value
        frame = read_frame(path, learning=True)
        made = TablePreprocessor.fit(frame, "y")
    x, y = made.transform(frame), made.encode_target(frame, None)
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    return [x.tobytes(), y.tobytes()]


def read_blocks(target: int | str) -> Callable[[Path], Any]:
    """Return a reader of a file as ``fit`` reads it, block by block; without the training."""

    def read(path: Path) -> list[bytes]:
        blocks = fn.data.Chunks(path, target=target, chunk_rows=max(4, ROWS // 3))
        net = fn.Network([2, 1], backend="numpy")
        windows = Windows(blocks, net, MSE(), 4, None, standardize=True, checksums=True)
        order = windows.order(0, 0, shuffle=True)
        parts = [windows.read(order, k).x.copy() for k in range(windows.windows)]
        assert all(np.isfinite(part).all() for part in parts)
        return [part.tobytes() for part in parts]

    return read


def read_table_in_blocks(path: Path) -> list[bytes]:
    """Learn a table's preprocessor block by block and apply it: all numbers must be finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fn.FastNetWarning)
        blocks = fn.data.Chunks(path, target="y", chunk_rows=max(4, ROWS // 3))
        made = learn_chunks(blocks)
        parts = []
        for piece in blocks.pieces(0, len(blocks), made):
            parts += made.encode(piece.x, piece.y, np.dtype("f8"), piece.names[0])
    assert all(np.isfinite(part).all() for part in parts)
    return [part.tobytes() for part in parts]


def read_model(path: Path) -> Any:
    net = fn.load(path, backend="numpy")
    if isinstance(net.preprocessor, TablePreprocessor):
        net.predict({"a": [1.0, 2.0], "b": [None, 1e300], "word": ["red", None]})
    content, arrays = serialize.write(net.preprocessor)
    numbers = {name: values.tobytes() for name, values in arrays.items()}
    state = net.optimizer_state
    moments = b"" if state is None else state.moments.tobytes()
    facts = repr((net, content, numbers, net.label_names, state, net.history))
    return [net.parameters.tobytes(), net.state.tobytes(), moments, facts]


def read_checkpoint(path: Path) -> Any:
    description, tensors = safetensors_file.unpack(
        path, "fastnet-checkpoint", "checkpoint", "a test"
    )
    safetensors_file.require_version(path, description, 1)
    saved = Checkpoint.read(path, description, tensors)
    saved.require_fit(path, _network(), 2, 1)
    return [saved.parameters.tobytes(), saved.moments.tobytes(), repr(saved.callback_states)]


def signed(kind: str, data: bytes) -> bytes:
    """Return a container whose checksum is right again, if it can still be read at all."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        tensors = load(data)
        text = header["__metadata__"][kind].partition("\n")[2]
        header["__metadata__"][kind] = f"{safetensors_file.checksum(text, tensors)}\n{text}"
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
    "arrow": Format("table.arrow", arrow_stream, read_table("y")),
    "feather": Format("gaps.feather", feather, read_with_gaps),
    "csv-gaps": Format("gaps.csv", csv_gaps, read_with_gaps),
    "parquet-gaps": Format("gaps.parquet", parquet_gaps, read_with_gaps),
    "npy-blocks": Format("blocks.npy", array_file(np.save), read_blocks(-1)),
    "parquet-blocks": Format("blocks.parquet", parquet_numbers, read_blocks("y")),
    "csv-table-blocks": Format("gaps.csv", csv_gaps, read_table_in_blocks),
    "csv-gzip-blocks": Format(
        "gaps.csv.gz",
        lambda folder: gzip.compress(csv_gaps(folder), mtime=0),
        read_table_in_blocks,
    ),
    "parquet-table-blocks": Format("gaps.parquet", parquet_gaps, read_table_in_blocks),
    "feather-blocks": Format("gaps.feather", feather, read_table_in_blocks),
    "table-model": Format("m.safetensors", model_of_table, read_model, checked=True),
    "table-model-signed": Format(
        "m.safetensors", model_of_table, read_model, mend=lambda data: signed("fastnet", data)
    ),
}  # fmt: skip
