"""Every format does to a table what the network does to it: texts, missing values, targets."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export import FORMATS, from_torch, to_torch, usage
from fastnet.export.columns import table_of
from fastnet.preprocessing.columns import TableColumn
from fastnet.preprocessing.scaling import APPLY
from fastnet.tables import TablePreprocessor
from tests.export import compiled
from tests.export.formats import ANSWERS, Answer, python_module, stand_in
from tests.exports import LIMIT, ODD_NAMES, for_table, relative_difference

ROWS = 160
MANY = tuple(f"city {k}" for k in range(40))
ODD = ODD_NAMES[0]

pytestmark = pytest.mark.filterwarnings("ignore:.*it is ignored")


def training() -> dict[str, Any]:
    """Return a table with a column of every kind, and targets that follow from it."""
    rng = np.random.default_rng(7)

    def words(*names: Any) -> NDArray[Any]:
        return rng.choice(np.array(names, object), ROWS)

    table: dict[str, Any] = {
        "size": rng.normal(1e6, 20, ROWS),
        "gap": np.where(rng.random(ROWS) < 0.3, np.nan, rng.normal(size=ROWS)),
        "floor": rng.integers(0, 4, ROWS),
        "two": words("left", "right"),
        "flag": words(True, False),
        "when": np.datetime64("2023-11-05T06:30", "m") + rng.integers(0, 9**6, ROWS),
        "one": words("same"),
        ODD: words(*ODD_NAMES),
        "nothing": np.full(ROWS, None),
        "city": words(*MANY),
        "constant": np.full(ROWS, -1e308),
        "number": words("1", "2", "30", "4.5"),
    }
    table["two"][::7] = table["flag"][::5] = None
    table["when"][::11] = "NaT"
    size = (table["size"] - 1e6) * 30
    table["price"] = size + 500.0 * (table["two"] == "left") - 200
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
    table["flag"][:5] = [None, "yes", "1.0", "F", "false"]
    table["flag"] = [None if flag is None else str(flag) for flag in table["flag"]]
    return table


ASKED = asked()


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
    given["categorical"] = ["number"]
    table = {name: v for name, v in TABLE.items() if name in X or name in names}
    with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):  # an empty column
        return spread(fn.tables.train(table, target, dtype=dtype, backend="numpy", **given))


def networks() -> dict[str, fn.Network]:
    made = {
        f"{name.replace(', ', '_').replace(' ', '_')}_{dtype}": network(target, dtype, **options)
        for name, (target, options) in CASES.items()
        for dtype in ("float32", "float64")
    }
    # What nobody trains but a network may be: targets in their unit after an activation, and none.
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
    return made


NETWORKS = networks()
by_each_format = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


def difference(y: NDArray[Any], net: fn.Network) -> float:
    """Return the difference from a network's predictions, as a multiple of the largest allowed."""
    return (
        relative_difference(y, net.predict_columns(ASKED).astype(net.dtype)) / LIMIT[net.dtype.name]
    )


# --- the same outputs -----------------------------------------------------------------------------


@by_each_format
@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_a_table_is_answered_as_by_the_network(
    net: fn.Network, answer: Answer, tmp_path: Path
) -> None:
    assert difference(answer(net, ASKED, tmp_path), net) <= 1


def test_pytorch_answers_as_the_network() -> None:
    torch = pytest.importorskip("torch")
    for net in NETWORKS.values():
        assert net.preprocessor is not None
        x = torch.from_numpy(net.preprocessor.transform(ASKED, net.dtype))
        assert difference(to_torch(net)(x).detach().numpy(), net) <= 1


@by_each_format
@pytest.mark.parametrize("part", ["weight", "center", "factor", "knots", "target"])
def test_whatever_is_wrong_is_noticed(answer: Answer, part: str, tmp_path: Path) -> None:
    net = network("price", "float32", numeric_embedding="periodic")
    y = answer(net, ASKED, tmp_path)
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


# --- every scaling --------------------------------------------------------------------------------

COLUMNS = (
    TableColumn("size", "numeric"),
    TableColumn("gap", "numeric", indicator=True),
    TableColumn("pair", "categorical", ("a", "b")),
    TableColumn("two", "categorical", ("a", "b"), one_hot=True),
    TableColumn("some", "categorical", ("a", "b", "c")),
)
SCALED: dict[str, list[Any]] = {
    "size": [1e6 + k / 3 for k in range(5)] + [None],
    "gap": [None, -0.5, 1e4 / 3, 0.0, np.nan, 7.0],
    "pair": ["a", "b", None, "c", "a", "b"],
    "two": ["b", None, "a", "c", "b", "a"],
    "some": ["a", "b", "c", None, "d", "b"],
}
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_scaling = pytest.mark.parametrize("scaling", APPLY)


def with_scaling(scaling: Any, dtype: str) -> fn.Network:
    """Return a network whose table is scaled by that formula."""
    center = np.array([1e6, *np.linspace(-0.5, 0.5, 8)])
    factor = np.array([0.5, *np.linspace(0.7, 1.4, 8)])
    made = TablePreprocessor(COLUMNS, center, factor, scaling=scaling)
    net = fn.Network([made.inputs, 3], dtype=dtype, backend="numpy", seed=4)
    net.preprocessor = made
    return net


@by_each_format
@both_dtypes
@each_scaling
def test_every_scaling_is_exported(
    scaling: str, dtype: str, answer: Answer, tmp_path: Path
) -> None:
    net = with_scaling(scaling, dtype)
    y = answer(net, SCALED, tmp_path)
    assert relative_difference(y, net.predict_columns(SCALED)) <= LIMIT[dtype]
    for other in {"robust", "standard", "float32"} - {"standard" if scaling == "none" else scaling}:
        assert (
            relative_difference(y, with_scaling(other, dtype).predict_columns(SCALED))
            > LIMIT[dtype]
        )


@both_dtypes
@each_scaling
@pytest.mark.parametrize("number", [1e39, -1e308, np.inf])
def test_a_number_that_is_too_large_is_refused_as_by_the_network(
    scaling: str, dtype: str, number: float, tmp_path: Path
) -> None:
    net = with_scaling(scaling, dtype)
    table = {name: column[1:2] for name, column in SCALED.items()} | {"gap": [number]}
    try:
        with np.errstate(over="ignore"):
            accepted = bool(np.isfinite(net.predict(table)).all())
    except fn.FastNetError:
        accepted = False
    module = python_module(net)
    if accepted:
        assert np.isfinite(module.encode(table)).all()
    else:
        with pytest.raises(ValueError, match="too large|finite"):
            module.encode(table)
    assert np.isfinite(ANSWERS["onnx"](net, table, tmp_path)).all() == accepted
    cells = [column[0] for column in table.values()]
    result, x = compiled.encode_row(compiled.library(tmp_path, net), net, cells)
    assert (result, np.isfinite(x).all()) == ((0, True) if accepted else (2, False))


@by_each_format
@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("name", ["piecewise_float32", "embeddings_float32"])
def test_the_number_of_rows_is_free(name: str, rows: int, answer: Answer, tmp_path: Path) -> None:
    net = NETWORKS[name]
    table = {name: column[:rows] for name, column in ASKED.items()}
    assert answer(net, table, tmp_path).shape == (rows, net.outputs)


@by_each_format
def test_texts_alone_need_no_embedding_of_numbers(answer: Answer, tmp_path: Path) -> None:
    table = {"k": ["a", "b", "c", None], "t": ["u", "v", "u", "v"]}
    net = for_table(table)
    assert net.preprocessor is not None
    # As a model file may say.
    net.preprocessor = replace(net.preprocessor, numeric_embedding="piecewise")
    y = answer(net, table, tmp_path)
    assert relative_difference(y, net.predict_columns(table)) <= LIMIT["float32"]


def test_deviations_have_the_floors_of_their_targets(tmp_path: Path) -> None:
    net = network(["price", "rent"], "float32", loss="gaussian_nll")
    net.biases[-1][2:] = -1000
    outputs = net.predict_columns(ASKED).astype("f4")
    mean, std = net.output_schema.mean_and_std(outputs)
    assert std[0, 0] > 50 * std[0, 1]
    module = python_module(net)
    assert relative_difference(module.predict_std(module.encode(ASKED))[1], std) <= LIMIT["float32"]
    loaded = compiled.library(tmp_path, net)
    for row, (y, want) in enumerate(zip(outputs, np.hstack([mean, std]), strict=True)):
        y = np.ascontiguousarray(y)
        loaded.net_deviations(ctypes.c_void_p(y.ctypes.data))
        assert relative_difference(y[None], want[None]) <= LIMIT["float32"], row


def test_the_scale_of_targets_is_folded_into_the_last_layer() -> None:
    net = NETWORKS["regression_float64"]
    assert net.preprocessor is not None and net.preprocessor.target is not None
    again = from_torch(stand_in(net), backend="numpy")
    assert len(again.layers) == len(net.layers)
    target = net.preprocessor.target
    assert np.array_equal(again.weights[-1], net.weights[-1] * target.scale)
    assert np.array_equal(again.weights[0], net.weights[0])


def test_the_usage_says_what_each_format_takes(tmp_path: Path) -> None:
    said = {to: usage(NETWORKS["regression_float32"], tmp_path / "net", to=to) for to in FORMATS}
    assert "predict(encode(table))" in said["numpy"]
    used = table_of(NETWORKS["regression_float32"])
    assert used is not None
    assert (
        f"x (rows, {len(used.columns)}) float64" in said["onnx"]
        and "index of a category" in said["onnx"]
    )
    assert "net_encode(&row, x)" in said["c"] and "cc -O3 -c" in said["c"]
    assert "net.preprocessor.transform(table, 'float32')" in said["torch"]
    plain = fn.Network([2, 1], backend="numpy")
    for to in FORMATS:
        text = usage(plain, tmp_path / "net", to=to)
        assert "table" not in text and "category" not in text and "encode" not in text


# --- the Python file's encode ---------------------------------------------------------------------


@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_the_encoding_of_a_python_file_is_that_of_the_network_bit_by_bit(net: fn.Network) -> None:
    assert net.preprocessor is not None
    x = python_module(net).encode(ASKED)
    expected = net.preprocessor.transform(ASKED, net.dtype)
    assert x.dtype == expected.dtype
    assert np.array_equal(x, expected)


FRAMES: dict[str, Callable[[Any], Any]] = {
    "pandas": lambda table: pytest.importorskip("pandas").DataFrame(table),
    "pandas, its own types": lambda t: pytest.importorskip("pandas").DataFrame(t).convert_dtypes(),
    "polars": lambda table: pytest.importorskip("polars").DataFrame(table),
    "arrow": lambda table: pytest.importorskip("pyarrow").table(table),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_data_frames_are_encoded_too(kind: str) -> None:
    table = {name: column for name, column in ASKED.items() if name != "nothing"}
    for net in (NETWORKS["regression_float32"], NETWORKS["classes_float64"]):
        module = python_module(net)
        answers = module.predict(module.encode(FRAMES[kind](table)))
        assert difference(answers.reshape(-1, net.outputs), net) <= 1


DATES = ["2031-02-28", "2024/12/31 23:59:30", "1969-07-20T20:17+00:00", "2024-02", "NA",
         datetime(2024, 3, 1, 5, tzinfo=UTC), date(2022, 1, 1), np.datetime64(9, "s")]  # fmt: skip
TRUTHS = ["yes", "T", "0", 1.0, 0, True, np.False_, "off", "", None, "NaN", "TRUE"]


def test_every_spelling_of_a_date_and_a_truth_is_read_as_by_the_network() -> None:
    table = {"when": X["when"], "flag": X["flag"]}
    net = for_table(table)
    assert net.preprocessor is not None
    for k in range(12):
        asked = {"when": [*DATES, None][k % 9 : k % 9 + 1], "flag": TRUTHS[k : k + 1]}
        expected = net.preprocessor.transform(asked, net.dtype)
        assert np.array_equal(python_module(net).encode(asked), expected)
    assert "flag" in net.preprocessor.feature_names
    for asked in ({"when": ["31.12.2024"], "flag": [1]}, {"when": [1.5], "flag": [1]},
                  {"when": ["2024-01-01"], "flag": ["maybe"]}):  # fmt: skip
        for refuse in (python_module(net).encode, net.preprocessor.transform):
            with pytest.raises((ValueError, fn.DataError), match="must hold"):
                refuse(asked)


SPELLED = ["", "NA", "-", "None", "nan", "?", "-nan", "1", " 2.50 ", "+1e5", "-.5", "1.", "007",
           "\u00a03", "a", " a ", "inf", "1_000", "\u0661", "a\u00a0", "\u3000a\v", 'say "a"',
           "it's", "two words", "two\u00a0words", "a,b", "a\0", "\ufeffa"]  # fmt: skip
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "texts": st.sampled_from(SPELLED),
    "numbers": st.sampled_from(
        [None, np.nan, 1, 2.5, -0.0, True, 1e300, np.float32(0.1), np.True_]
    ),
    "mixed": st.sampled_from([None, "a", 1, 2.5, "2.5", np.nan, "NA", True, np.int64(7)]),
    "odd": st.sampled_from(
        [1, b"a", 1j, 2.5 + 0j, "a", np.datetime64(1, "ns"), (1,), "1_0", np.inf]
    ),
}


@st.composite
def columns(draw: st.DrawFn) -> Any:
    """Draw a column of three cells as a list, or as an array of them."""
    cells = draw(st.lists(CELLS[draw(st.sampled_from(list(CELLS)))], min_size=3, max_size=3))
    return draw(st.sampled_from([list, lambda cells: np.array(cells, object)]))(cells)


# A network whose categories are what tables write for no value, and numbers.
WORDS = ["-", "none", "NA", "a", "?", "inf", "1", "2.5", "007", "100000", "0", "True", "a,b",
         'say "a"', "it's", "two words", " blanks\u00a0"] * 4  # fmt: skip
READER = for_table({"x": [*range(len(WORDS) - 1), None], "word": WORDS}, categorical=["word"])


@pytest.mark.filterwarnings("ignore:.*not there in training")
@given(number=columns(), word=columns())
@settings(max_examples=300)
def test_cells_are_read_and_refused_as_by_the_network(number: Any, word: Any) -> None:
    table = {"x": number, "word": word}
    try:
        expected = READER.preprocessor.transform(table)
    except (fn.FastNetError, ValueError, TypeError, OverflowError) as error:
        expected = error
    try:
        x = python_module(READER).encode(table)
    except ValueError:
        assert isinstance(expected, Exception)
    else:
        assert not isinstance(expected, Exception), expected
        assert np.array_equal(x, expected)


def test_an_array_has_its_columns_in_the_order_of_training() -> None:
    matrix = np.random.default_rng(3).normal(size=(60, 3))
    net = for_table(matrix, outputs=1)
    module = python_module(net)
    expected = net.predict(matrix)
    for table in (matrix, {f"x{k}": matrix[:, k] for k in range(3)}):
        y = module.predict(module.encode(table))
        assert relative_difference(y, expected) <= LIMIT["float32"]
    assert len(np.unique(expected)) == 60


@pytest.mark.parametrize("names", [["x", "x", "word"], ["x", "word", "more", "more"]])
@pytest.mark.parametrize("library", ["pandas", "arrow"])
def test_a_name_of_two_columns_is_refused_as_by_the_network(names: list[str], library: str) -> None:
    cells = [["a"] if name == "word" else [1.0] for name in names]
    if library == "pandas":
        frame = pytest.importorskip("pandas").DataFrame([[c[0] for c in cells]], columns=names)
    else:
        frame = pytest.importorskip("pyarrow").table(cells, names=names)
    for refuse in (READER.preprocessor.transform, python_module(READER).encode):
        with pytest.raises(ValueError, match="has two columns named '(x|more)'"):
            refuse(frame)


@pytest.mark.parametrize(
    "table",
    [None, 3, "ab", [{"x": 1.0, "word": "a"}], {"x": 1.0, "word": "a"},
     {"x": [[1.0]], "word": [["a"]]}, {"x": np.ma.masked_array([1.0], [True]), "word": ["a"]}],
    ids=["none", "number", "text", "records", "a row", "two axes", "masked"],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_a_sentence(table: Any) -> None:
    with pytest.raises(ValueError, match="expected a dict or a data|has the shape|masked"):
        python_module(READER).encode(table)


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        ("size", ["big"], "'size' must hold numbers, got 'big'"),
        ("size", [np.inf], "'size' must hold finite numbers"),
        ("size", [b"1"], "'size' must hold numbers, texts or dates"),
        ("size", np.array([1], "M8[ns]"), "must hold numbers, got np.datetime64"),
        ("city", [["a"]], "'city' has the shape"),
        ("city", None, "the table has no column 'city'"),
        (None, np.zeros((1, 3)), r"expected the shape \(N, 12\), got \(1, 3\)"),
    ],
)
def test_encode_names_what_is_wrong(column: str | None, cells: Any, message: str) -> None:
    table: Any = {name: values[9:10] for name, values in ASKED.items()}
    if column is None:
        table = cells
    elif cells is None:
        del table[column]
    else:
        table[column] = cells
    with pytest.raises(ValueError, match=message):
        python_module(NETWORKS["regression_float32"]).encode(table)


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
    size = draw(st.sampled_from([None, 2]))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    layers = [pre.first_layer(size), fn.Dense(5, "tanh"), fn.Dense(2)]
    net = fn.Network(layers, inputs=pre.inputs, dtype=dtype, backend="numpy")
    net.preprocessor = pre
    return net, {name: [*column[:12], None] for name, column in table.items()}


@by_each_format
@given(made=drawn())
@settings(max_examples=20)
def test_any_table_is_answered_as_by_the_network(
    answer: Answer,
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[fn.Network, dict[str, Any]],
) -> None:
    net, table = made
    y = answer(net, table, tmp_path_factory.mktemp("any"))
    assert relative_difference(y, net.predict_columns(table)) <= LIMIT[net.dtype.name]
