"""Every format does to a table what the network does to it: texts, missing values, targets."""

from __future__ import annotations

import json
import subprocess
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.cli import group
from fastnet.export import export, from_torch, to_torch, usage
from fastnet.export.onnx.model import content as onnx_content
from fastnet.export.python.source import content as numpy_content
from fastnet.preprocessing.scaler import Scaler
from fastnet.tables import TablePreprocessor, TableTarget, read_frame
from fastnet.tables.train import in_units, make_layers
from tests.export import test_export_c as c
from tests.export import test_export_numpy as numpy_
from tests.export.test_export_onnx import run as run_onnx
from tests.export.test_export_torch import stand_in
from tests.exports import LIMIT, ODD_NAMES, relative_difference

ROWS = 160
MANY = tuple(f"city {k}" for k in range(40))
ODD = ODD_NAMES[0]

pytestmark = pytest.mark.filterwarnings("ignore:.*it is ignored")


def training() -> dict[str, Any]:
    """Return a table with a column of every kind, and targets that follow from it."""
    rng = np.random.default_rng(7)

    def words(*names: str) -> NDArray[Any]:
        return rng.choice(np.array(names, object), ROWS)

    table: dict[str, Any] = {
        "size": rng.normal(1e6, 20, ROWS),
        "gap": np.where(rng.random(ROWS) < 0.3, np.nan, rng.normal(size=ROWS)),
        "floor": rng.integers(0, 4, ROWS),
        "two": words("yes", "no"),
        "one": words("same"),
        ODD: words(*ODD_NAMES),
        "nothing": np.full(ROWS, None),
        "city": words(*MANY),
        "constant": np.full(ROWS, -1e308),
        "number": words("1", "2", "30", "4.5"),
    }
    table["two"][::7] = None
    size = (table["size"] - 1e6) * 30
    table["price"] = size + 500.0 * (table["two"] == "yes") - 200
    table["rent"] = table["floor"] * 2.0 + rng.normal(size=ROWS)
    table["class"] = np.where(size > 300, "dear", np.where(size > -100, "usual", "cheap"))
    table["new"] = np.where(size > 0, ODD_NAMES[1], ODD_NAMES[3])
    return table


TABLE = training()
TARGETS = ("price", "rent", "class", "new")
X = {name: values for name, values in TABLE.items() if name not in TARGETS}


def asked() -> dict[str, list[Any]]:
    """Return rows to predict: some of training, and all that may come and was not there."""
    table = {name: values[:24].tolist() for name, values in X.items()}
    for name in ("size", "gap", "floor", "constant"):
        table[name][:6] = [None, np.nan, 1e308, -1e308, 1e-300, 0.0]
    for name in ("two", "one", ODD, "city", "number"):
        table[name][:3] = [None, "unheard of", ""]
    return table


ASKED = asked()


def as_numbers(preprocessor: TablePreprocessor, table: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return a row of doubles (N, C) for each row, as C and ONNX take it."""
    rows = len(next(iter(table.values())))
    x = np.full((rows, len(preprocessor.columns)), np.nan)
    for j, column in enumerate(preprocessor.columns):
        for i, cell in enumerate(table[column.name]):
            if column.kind == "categorical" and cell is not None:
                known = cell in column.categories
                x[i, j] = column.categories.index(cell) if known else -1
            elif column.kind == "numeric" and cell is not None:
                x[i, j] = cell
    return x


def spread(net: fn.Network) -> fn.Network:
    """Return the network with weights that make every input and every unit count."""
    rng = np.random.default_rng(1)
    values = np.asarray(net.parameters)
    # What is 0 in a layer of blocks stays 0.
    net.parameters[...] = np.where(values == 0, 0, values + 0.2 * rng.standard_normal(len(values)))
    return net


CASES: dict[str, tuple[str | list[str], dict[str, Any]]] = {
    "regression": ("price", {}),
    "two targets": (["price", "rent"], {}),
    "classes": ("class", {}),
    "two classes": ("new", {}),
    "one output": ("new", {"loss": "binary_cross_entropy"}),
    "periodic": ("price", {"numeric_embedding": "periodic"}),
    "piecewise": ("price", {"numeric_embedding": "piecewise"}),
    "embeddings": ("class", {"embedding_size": 3, "numeric_embedding": "periodic"}),
    "quantiles": (["price", "rent"], {"loss": fn.losses.Quantile([0.1, 0.5, 0.9])}),
    "deviations": (["price", "rent"], {"loss": "gaussian_nll"}),
    "preset": ("price", {"preset": "tabular"}),
    "preset, classes": ("class", {"preset": "tabular", "embedding_size": 4,
                                  "numeric_embedding": "piecewise"}),
}  # fmt: skip


def network(target: str | list[str], dtype: str, **options: Any) -> fn.Network:
    names = [target] if isinstance(target, str) else target
    given = {"preset": None, "epochs": 1, "hidden": (9,), "batch_size": 64} | options
    table = {name: v for name, v in TABLE.items() if name in X or name in names}
    with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):  # an empty column
        return spread(fn.tables.train(table, target, dtype=dtype, backend="numpy", **given))


def networks() -> dict[str, fn.Network]:
    made = {
        f"{name.replace(', ', '_').replace(' ', '_')}_{dtype}": network(target, dtype, **options)
        for name, (target, options) in CASES.items()
        for dtype in ("float32", "float64")
    }
    # What nobody trains but a network may be: targets in their unit after an activation, none, and
    # inputs that are scaled once more.
    for dtype in ("float32", "float64"):
        pre = made[f"regression_{dtype}"].preprocessor
        assert pre is not None
        for name, output, kept in (
            ("after_an_activation", "softplus", pre),
            ("no_target", "identity", replace(pre, target=None)),
        ):
            layers = [fn.Dense(5, "tanh"), fn.Dense(1, output)]
            net = fn.Network(layers, inputs=pre.inputs, dtype=dtype, backend="numpy")
            net.preprocessor = kept
            made[f"{name}_{dtype}"] = spread(net)
        made[f"scaled_inputs_{dtype}"] = net = network("price", dtype)
        net.scaler = Scaler(np.arange(net.inputs) / 9, np.arange(1.0, net.inputs + 1) ** 0.25)
    return made


NETWORKS = networks()
Answer = Callable[[fn.Network, dict[str, Any]], NDArray[Any]]


def by_numpy(net: fn.Network, table: dict[str, Any]) -> NDArray[Any]:
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(numpy_content(net, "net").decode("ascii"), namespace)
    y: NDArray[Any] = namespace["predict"](namespace["encode"](table))
    return y


def by_onnx(net: fn.Network, table: dict[str, Any]) -> NDArray[Any]:
    assert net.preprocessor is not None
    return run_onnx(onnx_content(net, "net"), as_numbers(net.preprocessor, table), np.float64)


def by_modules(net: fn.Network, table: dict[str, Any]) -> NDArray[Any]:
    """Return the answer of the modules of PyTorch, read back without it."""
    assert net.preprocessor is not None
    again = from_torch(stand_in(net), backend="numpy")
    return again.predict(net.preprocessor.transform(table, net.dtype))


ANSWERS: dict[str, Answer] = {"numpy": by_numpy, "onnx": by_onnx, "modules": by_modules}


def difference(y: NDArray[Any], net: fn.Network) -> float:
    return relative_difference(y, net.predict(ASKED)) / LIMIT[net.dtype.name]


# --- the same outputs -----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize(("name", "net"), NETWORKS.items(), ids=NETWORKS)
def test_a_table_is_answered_as_by_the_network(name: str, net: fn.Network, answer: Answer) -> None:
    assert difference(answer(net, ASKED), net) <= 1


def test_c_answers_as_the_network(tmp_path: Path) -> None:
    loaded = c.library(tmp_path, NETWORKS)
    for name, net in NETWORKS.items():
        assert net.preprocessor is not None
        x = as_numbers(net.preprocessor, ASKED)
        assert difference(c.predict(loaded, name, net, x), net) <= 1


def test_pytorch_answers_as_the_network() -> None:
    torch = pytest.importorskip("torch")
    for net in NETWORKS.values():
        assert net.preprocessor is not None
        x = torch.from_numpy(net.preprocessor.transform(ASKED, net.dtype))
        assert difference(to_torch(net)(x).detach().numpy(), net) <= 1


def by_c(folder: Path) -> Answer:
    def answer(net: fn.Network, table: dict[str, Any]) -> NDArray[Any]:
        assert net.preprocessor is not None
        x = as_numbers(net.preprocessor, table)
        return c.predict(c.library(folder, {"net": net}), "net", net, x)

    return answer


@pytest.mark.parametrize("name", ["c", *ANSWERS])
@pytest.mark.parametrize("part", ["weight", "center", "factor", "knots", "target"])
def test_whatever_is_wrong_is_noticed(tmp_path: Path, name: str, part: str) -> None:
    net = network("price", "float32", numeric_embedding="periodic")
    answer = by_c(tmp_path) if name == "c" else ANSWERS[name]
    y = answer(net, ASKED)
    assert difference(y, net) <= 1
    pre = net.preprocessor
    assert pre is not None and pre.knots is not None and pre.target is not None
    if part == "weight":
        net.parameters[0] *= 1.01
    elif part == "target":
        target = replace(pre.target, scale=pre.target.scale * 1.001)
        net.preprocessor = pre.with_target(target)
    else:
        net.preprocessor = replace(pre, **{part: getattr(pre, part) * 1.001})
    assert difference(y, net) > 1


def test_the_encoding_of_a_python_file_is_that_of_the_network_bit_by_bit() -> None:
    for net in NETWORKS.values():
        assert net.preprocessor is not None
        namespace: dict[str, Any] = {"__name__": "exported"}
        exec(numpy_content(net, "net").decode("ascii"), namespace)
        x = namespace["encode"](ASKED)
        expected = net.preprocessor.transform(ASKED, net.dtype)
        assert x.dtype == expected.dtype
        assert np.array_equal(x, expected)


def test_data_frames_are_encoded_too() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    net = NETWORKS["regression_float32"]
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(numpy_content(net, "net").decode("ascii"), namespace)
    table = {name: column for name, column in ASKED.items() if name != "nothing"}
    for frame in (pd.DataFrame(table), pd.DataFrame(table).convert_dtypes(), pl.DataFrame(table)):
        y = namespace["predict"](namespace["encode"](frame))
        assert difference(y, net) <= 1
    with pytest.raises(ValueError, match="'size' must hold numbers, got 'big'"):
        namespace["encode"](table | {"size": ["big"]})
    with pytest.raises(ValueError, match="'size' must hold finite numbers"):
        namespace["encode"](table | {"size": [np.inf]})


# --- any table ------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[np.random.Generator, int], list[Any]]] = {
    "numbers": lambda rng, n: rng.normal(rng.normal() * 100, 10.0 ** rng.integers(-9, 9), n),
    "few numbers": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "two": lambda rng, n: rng.choice(["a", "b"], n),
    "some": lambda rng, n: rng.choice(list("abcde"), n),
    "empty": lambda rng, n: np.full(n, None),
}


@st.composite
def drawn(draw: st.DrawFn) -> tuple[fn.Network, dict[str, Any]]:
    """Draw a table with gaps in any columns, and a network for it that learned nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    chosen = draw(st.lists(st.sampled_from(list(KINDS)), max_size=6))
    table: dict[str, Any] = {}
    for k, kind in enumerate(["numbers", *chosen]):
        column = np.array(KINDS[kind](rng, 30), object)
        column[rng.random(30) < draw(st.sampled_from([0.0, 0.2]))] = None
        table[f"{kind} {k}"] = column.tolist()
    embedding: Any = draw(st.sampled_from([None, "periodic", "piecewise"]))
    pre = TablePreprocessor.fit(table, rng.normal(3, 9, (30, 2)), numeric_embedding=embedding)
    loss = fn.losses.get("mse", "identity")
    size = draw(st.sampled_from([None, 2]))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    layers = make_layers(pre, None, loss, (5,), "tanh", size)
    net = fn.Network(layers, inputs=pre.inputs, dtype=dtype, backend="numpy")
    net.preprocessor = in_units(pre, loss, net)
    return net, {name: [*column[:12], None] for name, column in table.items()}


@given(made=drawn())
@settings(max_examples=60)
def test_any_table_is_answered_as_by_the_network(made: tuple[fn.Network, dict[str, Any]]) -> None:
    net, table = made
    expected, limit = net.predict(table), LIMIT[net.dtype.name]
    for answer in ANSWERS.values():
        assert relative_difference(answer(net, table), expected) <= limit


@given(made=drawn())
@settings(max_examples=10)
def test_any_table_is_answered_by_c(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[fn.Network, dict[str, Any]]
) -> None:
    net, table = made
    y = by_c(tmp_path_factory.mktemp("c"))(net, table)
    assert relative_difference(y, net.predict(table)) <= LIMIT[net.dtype.name]


# --- the programs ---------------------------------------------------------------------------------


def cells(table: dict[str, list[Any]], spellings: tuple[str, ...]) -> list[list[str]]:
    """Return a table as rows of texts, values that are missing in turn spelled in these ways."""
    rows, gaps = [], 0
    for k in range(len(next(iter(table.values())))):
        row = []
        for column in table.values():
            missing = column[k] is None or column[k] != column[k]
            row.append(spellings[gaps % len(spellings)] if missing else f" {column[k]} ")
            gaps += missing
        rows.append(row)
    return rows


WORDS = ("", "NA", " nan", "n/a ", "?", "NULL", "#N/A")


def folder_of(path: Path, net: fn.Network, rows: list[list[str]]) -> str:
    """Write a network and a file in all forms; return the text of the file."""
    text = c.as_csv(rows)
    (path / "rows.csv").write_text(text, encoding="utf-8", newline="")
    net.save(path / "net.safetensors")
    export(net, path / "net.py", to="numpy")
    export(net, path / "net.c", to="c")
    return text


def assert_programs_answer_as_the_command(path: Path, text: str) -> list[list[str]]:
    arguments = ["predict", str(path / "net.safetensors"), str(path / "rows.csv")]
    answer = CliRunner().invoke(group, [*arguments, "--backend", "numpy", "--out", "-"])
    assert answer.exit_code == 0, answer.output
    expected = c.records(answer.stdout_bytes.decode())
    status, by_c, complaint = c.run_program(path, "net", text)
    assert (status, complaint) == (0, "")
    by_python, complaint = numpy_.run_program(path, text)
    assert complaint == ""
    for out in (by_c, by_python):
        got = c.records(out)
        assert got[0] == expected[0]
        labels = got[0][0] == "prediction" and len(got[0]) > 1
        assert [row[:labels] for row in got] == [row[:labels] for row in expected]
        numbers = [np.array([r[labels:] for r in t[1:]], np.float32) for t in (got, expected)]
        assert relative_difference(*numbers) <= LIMIT["float32"]
    return expected


@pytest.mark.parametrize(
    "name", ["classes", "two_classes", "one_output", "two_targets", "quantiles", "deviations"]
)
def test_the_programs_write_what_the_command_predict_writes(tmp_path: Path, name: str) -> None:
    net = NETWORKS[f"{name}_float32"]
    turned = {k: ASKED[k] for k in reversed(ASKED) if k != "nothing"}
    table = {"more": ["-", "x"] * 12, **turned}
    rows = [list(table), *cells(table, WORDS)]
    text = folder_of(tmp_path, net, rows)
    expected = assert_programs_answer_as_the_command(tmp_path, text)
    assert len(expected) == 25


def test_deviations_have_the_floors_of_their_targets(tmp_path: Path) -> None:
    net = network(["price", "rent"], "float32", loss="gaussian_nll")
    net.biases[-1][2:] = -1000
    rows = [list(ASKED), *cells(ASKED, WORDS)]
    expected = assert_programs_answer_as_the_command(tmp_path, folder_of(tmp_path, net, rows))
    assert net.preprocessor is not None and net.preprocessor.target is not None
    least = np.array([row[2:] for row in expected[1:]], np.float32)
    floors = np.tile(1e-3 * net.preprocessor.target.scale, (24, 1)).astype(np.float32)
    assert relative_difference(least, floors) <= LIMIT["float32"]
    assert floors[0, 0] > 50 * floors[0, 1]


def test_an_empty_column_may_hold_anything_and_a_row_nothing(tmp_path: Path) -> None:
    table = ASKED | {"nothing": ["a word"] * 24}
    rows = [list(table), *cells(table, ("none", "-")), [""] * len(table)]
    text = folder_of(tmp_path, NETWORKS["regression_float32"], rows)
    expected = assert_programs_answer_as_the_command(tmp_path, text)
    assert len(expected) == 26


def test_texts_alone_need_no_embedding_of_numbers(tmp_path: Path) -> None:
    table = {"k": ["a", "b", "c", None], "t": ["u", "v", "u", "v"]}
    made = TablePreprocessor.fit(table)
    net = fn.Network([made.inputs, 2], backend="numpy")
    net.preprocessor = replace(made, numeric_embedding="piecewise")  # as a model file may say
    for answer in (*ANSWERS.values(), by_c(tmp_path)):
        assert relative_difference(answer(net, table), net.predict(table)) <= LIMIT["float32"]


@pytest.mark.parametrize("names", ["none", "none, with the target", "other"])
def test_columns_without_names_are_taken_by_position(tmp_path: Path, names: str) -> None:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(60, 3))
    table = {"x0": matrix[:, 0], "x1": matrix[:, 1], "x2": matrix[:, 2]}
    frame = fn.tables.as_frame(matrix)
    net = fn.Network([2, 4, 1], backend="numpy", seed=1)
    pre = TablePreprocessor.fit(frame.without(["x1"]))
    assert not pre.named
    net.preprocessor = pre.with_target(TableTarget.learn(table["x1"], ("x1",), "regression"))
    kept = matrix if "target" in names else matrix[:, [0, 2]]
    rows = kept[:9].astype(str).tolist()
    rows[4][0] = ""
    text = folder_of(tmp_path, net, [*([["b", "a"]] if names == "other" else []), *rows])
    expected = assert_programs_answer_as_the_command(tmp_path, text)
    assert len(expected) == 10
    assert len({row[0] for row in expected}) == 10


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gap\n1\n", ("row 0: the header lacks the column size", "['size'")),
        ("1,2\n", ("row 0: the number of columns is wrong", "expected 10 columns, got 2")),
        ("HEAD\nBIG\n", ("row 1: expected a finite number in the column size", "'size' must hold")),
        ("HEAD\nINF\n", ("row 1: expected a finite number in the column size", "must hold finite")),
        ("HEAD\n1\n", ("row 1: the number of cells is wrong", "row 1 must have")),
    ],
)
def test_the_programs_name_what_is_wrong(
    tmp_path: Path, text: str, complaint: tuple[str, str]
) -> None:
    text = text.replace("HEAD", c.as_csv([list(X)]).strip())
    for word in ("big", "inf"):
        row = [word if name == "size" else "" for name in X]
        text = text.replace(word.upper(), ",".join(row))
    folder_of(tmp_path, NETWORKS["regression_float32"], [["a"], ["b"]])
    status, _, by_c = c.run_program(tmp_path, "net", text)
    assert status == 1
    assert complaint[0] in by_c
    assert complaint[1] in numpy_.run_program(tmp_path, text)[1]


SPELLED = ["", "NA", "-", "None", "nan", "?", "-nan", "1", " 2.50 ", "+1e5", "-.5", "1.", "007"]


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[fn.Network, Path]:
    """A network whose categories are what tables write for no value, as programs in a folder."""
    words = ["-", "none", "NA", "a", "?", "inf"] * 8
    table: dict[str, Any] = {"x": [*range(47), None], "word": words, "more": [*"abcd"] * 12}
    table["code"] = ["1", "2.5", "007", "a", "-", "100000"] * 8
    pre = TablePreprocessor.fit(table)
    net = fn.Network([pre.inputs, 3], backend="numpy", seed=2)
    net.preprocessor = pre
    path = tmp_path_factory.mktemp("spelled")
    folder_of(path, net, [["x"], ["1"]])
    c.compile_c(path, "-DFASTNET_MAIN", "net.c", "-o", "net")
    return net, path


@given(data=st.data())
def test_cells_are_read_as_the_command_reads_them(
    spelled: tuple[fn.Network, Path], data: st.DataObject
) -> None:
    net, path = spelled
    count = data.draw(st.integers(1, 6))

    def column(*more: str) -> list[str]:
        made = st.lists(st.sampled_from([*SPELLED, *more]), min_size=count, max_size=count)
        return data.draw(made)

    table = {"x": column(), "word": column("a", " inf", "b"), "more": column("a", " d ")}
    table["code"] = column("a", "2.5")
    rows = [list(row) for row in zip(*table.values(), strict=True)]
    text = c.as_csv([list(table), *rows])
    (path / "rows.csv").write_text(text, newline="")
    expected = net.predict(read_frame(path / "rows.csv", preprocessor=net.preprocessor))
    namespace = numpy_.namespace_of(path / "net.py")
    header, body = namespace["_match"]([list(table), *rows])
    columns = zip(header, zip(*body, strict=True), strict=True)
    read = {name: namespace["_of_file"](cells) for name, cells in columns}
    y = namespace["predict"](namespace["encode"](read))
    assert relative_difference(y, expected) <= LIMIT["float32"]
    _, out, complaint = c.run_program(path, "net", text)
    assert complaint == ""
    got = np.array(c.records(out)[1:], np.float32)
    assert relative_difference(got, expected) <= LIMIT["float32"]


def test_a_category_is_the_text_of_a_cell_whatever_the_other_rows_hold(tmp_path: Path) -> None:
    net = NETWORKS["regression_float32"]
    spelled = ["2", "2.0", "4.50", "unheard of"]

    def answers(*numbers: str) -> list[list[str]]:
        table = {name: [column[9]] * len(numbers) for name, column in ASKED.items()}
        table["number"] = list(numbers)
        text = folder_of(tmp_path, net, [list(table), *cells(table, WORDS)])
        return assert_programs_answer_as_the_command(tmp_path, text)[1:]

    alone = [row for number in spelled for row in answers(number)]
    assert alone == answers(*spelled)
    assert alone[0] != alone[1] == alone[2] == alone[3]


# --- what is written beside the weights -----------------------------------------------------------


def test_names_and_categories_are_in_the_metadata_of_a_graph() -> None:
    net = NETWORKS["classes_float32"]
    model = onnx.load_from_string(onnx_content(net, "net"))
    stored = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert net.preprocessor is not None
    assert stored["labels"] == ["cheap", "dear", "usual"]
    assert stored["features"] == list(net.preprocessor.feature_names)
    assert [column["name"] for column in stored["columns"]] == list(X)
    by_name = {column["name"]: column for column in stored["columns"]}
    assert by_name["size"] == {"name": "size", "kind": "numeric"}
    assert by_name["nothing"]["kind"] == "empty"
    assert by_name[ODD]["categories"] == sorted(ODD_NAMES)


def test_the_number_of_nodes_of_a_graph_does_not_grow_with_the_columns() -> None:
    def nodes(columns: int) -> int:
        table: dict[str, Any] = {f"n{k}": [1.0, 2.0, None] for k in range(columns)}
        table |= {f"t{k}": ["a", "b", "c"] for k in range(columns)}
        pre = TablePreprocessor.fit(table)
        net = fn.Network([pre.inputs, 1], backend="numpy")
        net.preprocessor = pre
        return len(onnx.load_from_string(onnx_content(net, "net")).graph.node)

    assert nodes(2) == nodes(30)


@pytest.mark.parametrize("rows", [0, 1])
def test_the_number_of_rows_is_free(rows: int) -> None:
    table = {name: column[:rows] for name, column in ASKED.items()}
    for name in ("piecewise_float32", "embeddings_float32"):
        net = NETWORKS[name]
        for answer in (by_numpy, by_onnx):
            assert answer(net, table).shape == (rows, net.outputs)


def test_c_lists_the_columns_and_their_categories(tmp_path: Path) -> None:
    export(NETWORKS["classes_float32"], tmp_path / "net.c", to="c")
    caller = """\
#include <stdio.h>
#include <stddef.h>
extern const char *const net_columns[10];
extern const size_t net_category_counts[10];
extern const char *const *const net_categories[10];
int main(void) {
  for (size_t c = 0; c < 10; c++) {
    printf("%s\\n", net_columns[c]);
    for (size_t k = 0; k < net_category_counts[c]; k++) printf("  %s\\n", net_categories[c][k]);
  }
  return 0;
}
"""
    (tmp_path / "caller.c").write_text(caller)
    c.compile_c(tmp_path, *c.LINKED, "net.c", "caller.c", "-o", "caller")
    done = subprocess.run(["./caller"], cwd=tmp_path, capture_output=True, check=True)
    pre = NETWORKS["classes_float32"].preprocessor
    assert pre is not None
    lines = [t for column in pre.columns
             for t in (column.name, *(f"  {text}" for text in column.categories))]  # fmt: skip
    assert done.stdout.decode() == "\n".join(lines) + "\n"


def test_the_scale_of_targets_is_folded_into_the_last_layer() -> None:
    net = NETWORKS["regression_float64"]
    assert net.preprocessor is not None and net.preprocessor.target is not None
    again = from_torch(stand_in(net), backend="numpy")
    assert len(again.layers) == len(net.layers)
    target = net.preprocessor.target
    assert np.array_equal(again.weights[-1], net.weights[-1] * target.scale)
    assert np.array_equal(again.weights[0], net.weights[0])


def test_the_usage_says_what_each_format_takes(tmp_path: Path) -> None:
    net = NETWORKS["regression_float32"]
    said = {to: usage(net, tmp_path / "net", to=to) for to in ("c", "numpy", "onnx", "torch")}
    assert "predict(encode(table))" in said["numpy"]
    assert "x (rows, 10) float64" in said["onnx"]
    assert "index of a category" in said["onnx"] and "index of a category" in said["c"]
    assert "net.preprocessor.transform(table, 'float32')" in said["torch"]
    plain = fn.Network([2, 1], backend="numpy")
    for to in said:
        assert "table" not in usage(plain, tmp_path / "net", to=to)
        assert "category" not in usage(plain, tmp_path / "net", to=to)
