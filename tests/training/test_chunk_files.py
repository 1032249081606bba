"""`Chunks` of several files, of text, of tables with gaps: what they train and refuse."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import Chunks, chunks, csv_chunks
from fastnet.data.chunk_files import expanded, sample, sources_of
from fastnet.training.chunk_learning import learn_chunks
from tests.closeness import assert_close

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

RNG = np.random.default_rng(12)
N = 240
TABLE = pd.DataFrame(
    {
        "size": np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(50, 20, N).round(3)),
        "kind": RNG.choice(["flat", "house", None], N),
        "rooms": RNG.integers(1, 9, N),
        "w": RNG.integers(0, 4, N) * 0.5,
    }
)
TABLE["price"] = (TABLE["rooms"] * 10.5 + (TABLE["kind"] == "house") * 7).round(2)
TABLE["answer"] = np.where(TABLE["rooms"] > 4, "many", "few")
INPUTS = ["size", "kind", "rooms"]
CUTS = [0, 70, 75, 160, N]

WRITE: dict[str, Callable[[Any, Path], object]] = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".csv.gz": lambda table, path: path.write_bytes(
        gzip.compress(table.to_csv(index=False).encode("utf-8"))
    ),
    ".parquet": lambda table, path: table.to_parquet(path, row_group_size=33),
    ".feather": lambda table, path: feather.write_feather(table, path, chunksize=33),
    ".arrow": lambda table, path: feather.write_feather(table, path, compression="uncompressed"),
}


def write(kind: str, folder: Path, table: Any = TABLE, stem: str = "part") -> str:
    """Write a table into four files; return the pattern of their names."""
    for k, (start, stop) in enumerate(pairwise(CUTS)):
        part = table[start:stop].reset_index(drop=True)
        # Columns are found by name.
        WRITE[kind](part[[*part.columns[::-1]]] if k % 2 else part, folder / f"{stem}-{k}{kind}")
    return str(folder / f"{stem}-*{kind}")


@pytest.fixture(params=WRITE)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def files(kind: str, tmp_path: Path) -> str:
    return write(kind, tmp_path)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and marks of a few rows."""
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 1500)
    monkeypatch.setattr(csv_chunks, "_EVERY", 8)


def network(outputs: int = 1, **how: Any) -> fn.Network:
    inputs = fn.tables.TablePreprocessor.fit(TABLE[INPUTS]).inputs
    last = {"output_activation": "softmax"} if outputs > 1 else {}
    return fn.Network([inputs, 6, outputs], seed=3, backend="numpy", dtype="float64", **last, **how)


ROLES: dict[str, Any] = {"features": INPUTS}


def whole(target: str) -> Any:
    """Return the inputs and one target, as a table in memory."""
    return TABLE[[*INPUTS, target]]


# --- the same as in memory ------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "outputs"), [("price", 1), ("answer", 2)])
def test_one_chunk_of_several_files_gives_the_bits_of_the_table_in_memory(
    files: str, target: str, outputs: int
) -> None:
    one, other = network(outputs), network(outputs)
    how: dict[str, Any] = {"epochs": 2, "batch_size": 16}
    how |= {"class_weight": "balanced"} if outputs > 1 else {}
    expected = one.fit(whole(target), target, **how)
    rows = Chunks(files, target=target, chunk_rows=N, **ROLES)
    history = other.fit(rows, **how)
    assert np.array_equal(one.parameters, other.parameters)
    assert history["loss"] == expected["loss"]
    assert one.preprocessor.description()[0] == other.preprocessor.description()[0]
    assert_close(other.predict(rows), one.predict(TABLE), terms=64)
    got, wanted = other.evaluate(rows), one.evaluate(whole(target), target)
    assert got == pytest.approx(wanted, rel=1e-12)


def test_many_chunks_learn_too(files: str) -> None:
    net = network()
    rows = Chunks(files, target="price", chunk_rows=32, **ROLES)
    net.fit(rows, epochs=60, batch_size=16, optimizer=fn.Adam(0.02))
    assert net.evaluate(rows)["r2"] > 0.9


def test_weights_and_gaps_count_as_in_memory(files: str) -> None:
    one, other = network(), network()
    weight = TABLE["w"].to_numpy()
    one.fit(whole("price"), "price", sample_weight=weight, epochs=1, batch_size=300)
    other.fit(
        Chunks(files, target="price", weight="w", chunk_rows=N, **ROLES), epochs=1, batch_size=300
    )
    assert one.preprocessor.description()[0].items() <= other.preprocessor.description()[0].items()
    assert other.preprocessor.weight == "w"
    assert_close(other.parameters, one.parameters, terms=300)


def test_validation_rows_may_stay_in_their_files(files: str, tmp_path: Path, kind: str) -> None:
    held_out = TABLE[::3].reset_index(drop=True)
    WRITE[kind](held_out, tmp_path / f"held{kind}")
    how: dict[str, Any] = {"epochs": 3, "batch_size": 16, "metrics": ["mae"]}
    pair = held_out[INPUTS], held_out["price"]
    expected = network().fit(whole("price"), "price", validation_data=pair, **how)
    apart = Chunks(tmp_path / f"held{kind}", target="price", chunk_rows=8, **ROLES)
    rows = Chunks(files, target="price", chunk_rows=N, **ROLES)
    for x, y in ((whole("price"), "price"), (rows, None)):
        history = network().fit(x, y, validation_data=apart, early_stopping=2, **how)
        for name in ("val_loss", "val_r2", "val_mae"):
            assert history[name] == pytest.approx(expected[name], rel=1e-9)


def test_a_run_with_validation_in_files_resumes(files: str, tmp_path: Path, kind: str) -> None:
    rows = Chunks(files, target="price", chunk_rows=32, **ROLES)
    how: dict[str, Any] = {"batch_size": 16, "validation_data": rows}
    one, other = network(), network()
    one.fit(rows, epochs=4, **how)
    for epochs in (2, 4):
        other = network()
        other.fit(rows, epochs=epochs, checkpoint=tmp_path / "run", resume=True, **how)
    assert np.array_equal(one.parameters, other.parameters)
    fewer = Chunks(files, target="rooms", chunk_rows=32, features=INPUTS[:2])
    with pytest.raises(fn.FastNetError, match="checkpoints of another run|inputs"):
        network().fit(fewer, epochs=4, checkpoint=tmp_path / "run", resume=True, **how)


def test_a_network_of_a_table_takes_files_in_chunks(files: str) -> None:
    how: dict[str, Any] = {"preset": None, "backend": "numpy", "dtype": "float64"}
    net = fn.tables.train(whole("price"), "price", epochs=2, **how)
    rows = Chunks(files, target="price", chunk_rows=32)
    assert_close(net.predict(rows), net.predict(TABLE), terms=64)
    assert net.evaluate(rows)["loss"] == pytest.approx(
        net.evaluate(TABLE, "price")["loss"], rel=1e-5
    )
    before = np.array(net.parameters)
    net.fit(rows, epochs=1)
    assert not np.array_equal(net.parameters, before)


def test_arrays_in_several_files_are_one_array(tmp_path: Path) -> None:
    matrix = RNG.normal(size=(100, 4))
    for k, rows in enumerate((slice(0, 30), slice(30, 31), slice(31, 100))):
        np.save(tmp_path / f"part{k}.npy", matrix[rows])
    nets = [fn.Network([3, 4, 1], backend="numpy", dtype="float64") for _ in range(2)]
    for net, x in zip(nets, (matrix, [tmp_path / f"part{k}.npy" for k in range(3)]), strict=True):
        net.fit(Chunks(x, target=-1, chunk_rows=32), epochs=2, batch_size=16)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


# --- what is learned ------------------------------------------------------------------------------


def test_labels_come_from_all_rows_and_the_rest_from_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import fastnet.training.chunk_learning as learning

    monkeypatch.setattr(learning, "CHUNK_BYTES", 8 * 4 * 40)
    table = TABLE.assign(answer=TABLE["answer"].where(TABLE.index != 101, "odd"))
    files = write(kind, tmp_path, table)
    made = learn_chunks(Chunks(files, target="answer", chunk_rows=10, **ROLES))
    assert made.label_names == ("few", "many", "odd")
    assert [column.kind for column in made.columns] == ["numeric", "categorical", "numeric"]
    # Of 240 rows every seventh is looked at, so that about 35 remain.
    expected = np.median(TABLE["rooms"][::7])
    assert made.center[-1] == expected
    assert len(sample(sources_of(files, "x"), 40, (), ())) == len(TABLE[::7])


@pytest.mark.parametrize(
    ("column", "task", "labels"),
    [
        ([0, 1, 2] * 80, "auto", ("0", "1", "2")),
        (list(range(240)), "auto", None),
        ([1.5, 2.0] * 120, "auto", None),
        ([1.5, 2.0] * 120, "classification", ("1.5", "2")),
        ([True, False] * 120, "auto", ("False", "True")),
        (["b", "a"] * 120, "auto", ("a", "b")),
        ([0, 1] * 120, "regression", None),
    ],
)
def test_the_task_is_decided_as_in_memory(
    tmp_path: Path, kind: str, column: list[Any], task: Any, labels: tuple[str, ...] | None
) -> None:
    table = TABLE[INPUTS].assign(target=column)
    files = write(kind, tmp_path, table)
    made = learn_chunks(Chunks(files, target="target"), task=task)
    assert made.label_names == labels
    first = table.copy()
    WRITE[kind](first, tmp_path / f"whole{kind}")
    data = fn.data.load(tmp_path / f"whole{kind}", target="target", task=task)
    assert fn.tables.TableTarget.learn(data.y, ("target",), task).labels == labels


# --- rows and files -------------------------------------------------------------------------------


def test_rows_are_found_wherever_they_are(tmp_path: Path) -> None:
    odd = 'a,b\n\n1,"x\ny"\n\n2,"z ""q"""\r\n3,é\n' + "".join(f"{k},{k}\n" for k in range(4, 60))
    path = tmp_path / "odd.csv"
    path.write_bytes(b"\xef\xbb\xbf" + odd.encode("utf-8"))
    (source,) = sources_of(path, "x")
    whole_file = fn.tables.read_frame(path)
    assert source.rows == len(whole_file)
    for start, stop in ((0, 3), (1, 2), (2, 40), (50, 59), (9, 33), (0, 59)):
        part = source.frame(start, stop, {"b"})
        texts: Any = part.columns["b"]
        expected: Any = whole_file.columns["b"]
        assert part.columns["a"].tolist() == list(range(start + 1, stop + 1))
        assert [texts.values[c] for c in texts.codes] == [
            expected.values[c] for c in expected.codes[start:stop]
        ]


def test_patterns_are_files_in_the_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.csv", "c[1].csv"):
        Path(name).touch()
    assert expanded("*.csv") == [Path("a.csv"), Path("b.csv"), Path("c[1].csv")]
    assert expanded("c[1].csv") == [Path("c[1].csv")]
    assert expanded(["b.csv", "a*"]) == [Path("b.csv"), Path("a.csv")]
    assert expanded(np.ones(3)) is None
    with pytest.raises(fn.DataError, match=re.escape("There is no file that fits 'z*.csv'")):
        expanded("z*.csv")


CELLS: dict[str, Any] = {
    "a text": ("rooms", "big", "column 'rooms' must hold numbers, got 'big' in row {}"),
    "a label": ("answer", "maybe", "row {}, column 'answer': the label 'maybe' is none"),
    "no label": ("answer", None, "the target 'answer' is missing in row {}"),
    "a weight": ("w", -1.0, "row {}, column 'w': the weight is -1"),
    "infinity": ("size", np.inf, "column 'size' must hold finite numbers, got inf in row {}"),
}


@pytest.mark.parametrize("row", [3, 72, 200])
@pytest.mark.parametrize(("column", "cell", "said"), CELLS.values(), ids=CELLS)
def test_a_bad_cell_is_named_by_file_and_row(
    tmp_path: Path, row: int, column: str, cell: Any, said: str
) -> None:
    net = fn.tables.train(
        whole("answer"), "answer", preset=None, epochs=1, backend="numpy", task="classification"
    )
    table = TABLE.astype({column: object})
    table.loc[row, column] = cell
    rows = Chunks(write(".csv", tmp_path, table), target="answer", weight="w", chunk_rows=32)
    file = int(np.searchsorted(CUTS, row, side="right")) - 1
    wanted = f"part-{file}.csv.*" + re.escape(said.format(row - CUTS[file] + 1))
    for use in (net.evaluate, lambda chunks: net.fit(chunks, epochs=1)):
        with pytest.raises(fn.DataError, match=wanted):
            use(rows)


def test_a_bad_cell_of_a_sample_is_named_by_file_and_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fastnet.training.chunk_learning as learning

    monkeypatch.setattr(learning, "CHUNK_BYTES", 8 * 6 * 40)
    table = TABLE.astype({"rooms": object})
    table.loc[105, "rooms"] = "big"  # 7 * 15, so it is looked at
    rows = Chunks(write(".csv", tmp_path, table), target="answer", chunk_rows=10)
    with pytest.raises(fn.DataError, match="got 'big' in row 31 of .*part-2.csv"):
        learn_chunks(rows)


def test_a_bad_number_of_an_array_is_named_by_file_and_row(tmp_path: Path) -> None:
    matrix = RNG.normal(size=(100, 4))
    matrix[70, 2] = np.nan
    np.save(tmp_path / "a.npy", matrix[:60])
    np.save(tmp_path / "b.npy", matrix[60:])
    net = fn.Network([3, 1], backend="numpy")
    with pytest.raises(fn.InputError, match=r"x in .*b\.npy holds nan at row 10, column 2"):
        net.fit(Chunks(tmp_path / "*.npy", target=-1), epochs=1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="rooms"), "has no column 'rooms', unlike"),
        (lambda t: t.assign(more=1), "has no column 'more', unlike"),
    ],
)
def test_files_that_are_read_together_have_the_same_columns(
    tmp_path: Path, kind: str, change: Any, said: str
) -> None:
    WRITE[kind](TABLE, tmp_path / f"a{kind}")
    WRITE[kind](change(TABLE), tmp_path / f"b{kind}")
    with pytest.raises(fn.DataError, match=said):
        Chunks(str(tmp_path / f"*{kind}"), target="price")


def test_files_of_different_kinds_and_encodings_are_refused(tmp_path: Path) -> None:
    WRITE[".csv"](TABLE, tmp_path / "a.csv")
    WRITE[".parquet"](TABLE, tmp_path / "b.parquet")
    with pytest.raises(fn.DataError, match="are files of different kinds"):
        Chunks([tmp_path / "a.csv", tmp_path / "b.parquet"], target="price")
    (tmp_path / "w.csv").write_text("a,b\n1,2\n", encoding="utf-16")
    with pytest.raises(fn.DataError, match="cannot be read in parts in the encoding utf-16"):
        Chunks(tmp_path / "w.csv", target="a", encoding="utf-16")
    (tmp_path / "s.arrow").write_bytes(b"\xff\xff\xff\xff")
    with pytest.raises(fn.DataError, match="is an Arrow stream, or none at all"):
        Chunks(tmp_path / "s.arrow", target="a")
    (tmp_path / "r.csv").write_text("a,b\n1,2\n\n3\n", encoding="utf-8")
    with pytest.raises(fn.DataError, match="line 4: expected 2 cells, got 1"):
        Chunks(tmp_path / "r.csv", target="a")


def test_a_german_file_is_read_in_chunks(tmp_path: Path) -> None:
    text = "".join(f"{k},5;Höfe;{2 * k}\n" for k in range(50))
    (tmp_path / "g.csv").write_text("größe;art;y\n" + text, encoding="cp1252")
    rows = Chunks(tmp_path / "g.csv", target="y", decimal=",", encoding="cp1252", chunk_rows=16)
    made = learn_chunks(rows, task="regression")
    assert [(column.name, column.kind) for column in made.columns] == [
        ("größe", "numeric"),
        ("art", "categorical"),
    ]
    assert made.center[0] == np.median(np.arange(50) + 0.5)


def test_a_copy_of_a_compressed_file_goes_with_its_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    rows = Chunks(write(".csv.gz", tmp_path), target="price")
    assert len(list((tmp_path / "copies").iterdir())) == 4
    del rows
    assert not list((tmp_path / "copies").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files of Linux")
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather", ".npy"])
def test_a_thousand_files_need_not_be_open_at_once(tmp_path: Path, ending: str) -> None:
    table = TABLE[["rooms", "price"]]
    for k in range(30):
        path = tmp_path / f"part-{k:02}{ending}"
        np.save(path, table.to_numpy()) if ending == ".npy" else WRITE[ending](table, path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    target = 1 if ending == ".npy" else "price"
    rows = Chunks(str(tmp_path / f"*{ending}"), target=target, chunk_rows=100)
    for start in (0, 3000, 1000, 7000):
        assert sum(len(piece.x) for piece in rows.pieces(start, start + 100)) == 100
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 5


@pytest.mark.parametrize("ending", [".feather", ".parquet"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    WRITE[ending](TABLE, path)
    good = path.read_bytes()
    for content in (good.replace(b"rooms", b"\xb3ooms"), good[: len(good) // 2], good[:20]):
        path.write_bytes(content)
        with pytest.raises(fn.DataError, match=re.escape(str(path))):
            learn_chunks(Chunks(path, target="price"))
