"""Every format answers as `Ensemble.predict`: all members, what they do to rows, and their mean."""

from __future__ import annotations

import ctypes
import re
import subprocess
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.export import FORMATS, export, to_torch, usage
from fastnet.export.c.memory import memory_of
from fastnet.export.c.source import content as c_content
from fastnet.export.columns import table_of
from fastnet.export.combination import combination_of
from fastnet.export.python.source import content as python_content
from tests import toolchain
from tests.export import compiled, ensembles
from tests.export.ensembles import ASKED, X, expected
from tests.export.formats import ANSWERS, Answer, python_module, run_onnx
from tests.exports import LIMIT, for_table, relative_difference

DOUBLE = ("calibrated", "one_probability", "units", "normal", "normal_in_units")
ARRAYS = {f"{name}_float32": made for name, made in ensembles.of_arrays("float32").items()}
ARRAYS |= {
    f"{name}_float64": made
    for name, made in ensembles.of_arrays("float64").items()
    if name in DOUBLE
}
TABLES = ensembles.of_tables()
EVERY = {**ARRAYS, **TABLES}

by_each_format = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
pytestmark = pytest.mark.filterwarnings("ignore:.*not there in training")


def rows_of(ensemble: fn.Ensemble) -> Any:
    return X if table_of(ensemble[0]) is None else ASKED


def difference(y: Any, ensemble: fn.Ensemble) -> float:
    """Return the largest difference of an output, as a multiple of the largest that is allowed.

    Each output is measured by its own size: logarithms of variances may stand beside millions.
    """
    wanted = expected(ensemble, rows_of(ensemble))
    assert y.dtype == wanted.dtype and y.shape == wanted.shape
    worst = max(relative_difference(y[:, [k]].T, wanted[:, [k]].T) for k in range(y.shape[1]))
    return worst / LIMIT[wanted.dtype.name]


# --- the same outputs -----------------------------------------------------------------------------


@by_each_format
@pytest.mark.parametrize("name", EVERY)
def test_an_ensemble_is_answered_as_by_itself(name: str, answer: Answer, tmp_path: Path) -> None:
    ensemble = EVERY[name]
    assert difference(answer(ensemble, rows_of(ensemble), tmp_path), ensemble) <= 1


@pytest.mark.parametrize("name", EVERY)
def test_pytorch_answers_as_the_ensemble(name: str) -> None:
    torch = pytest.importorskip("torch")
    ensemble = EVERY[name]
    whole = combination_of(ensemble)
    x = np.asarray(X, whole.dtype)
    if whole.takes_tables:
        parts = [whole.of(one)[0][1].network.preprocessor for one in whole.encodings]
        x = np.hstack([part.transform(ASKED, whole.dtype) for part in parts])
    with torch.no_grad():
        y = to_torch(ensemble)(torch.from_numpy(x)).numpy()
    assert difference(y, ensemble) <= 1


@pytest.mark.parametrize("name", [n for n in EVERY if not n.startswith("one_member")])
def test_the_mean_of_a_python_file_has_the_bits_of_the_ensemble(name: str) -> None:
    ensemble = EVERY[name]
    module, rows = python_module(ensemble), rows_of(ensemble)
    learned = []
    for net in ensemble:
        plain = net.copy()
        if net.preprocessor.target is not None:
            target = net.preprocessor.target.unscaled()
            plain.preprocessor = replace(net.preprocessor, target=target)
        learned.append(plain.predict_columns(rows))
    assert np.array_equal(module.combine(learned), expected(ensemble, rows))
    learned[0] = learned[0] * np.float32(1.001)
    assert not np.array_equal(module.combine(learned), expected(ensemble, rows))


@pytest.mark.parametrize("name", TABLES)
def test_a_python_file_encodes_tables_bit_by_bit(name: str) -> None:
    ensemble = TABLES[name]
    x = python_module(ensemble).encode(ASKED)
    whole = combination_of(ensemble)
    parts = [whole.of(one)[0][1].network.preprocessor for one in whole.encodings]
    assert np.array_equal(x, np.hstack([part.transform(ASKED, x.dtype) for part in parts]))


@by_each_format
@pytest.mark.parametrize(
    "part", ["weight", "weights", "temperature", "units", "floors", "encoding"]
)
def test_whatever_is_wrong_is_noticed(part: str, answer: Answer, tmp_path: Path) -> None:
    made = ensembles.of_arrays("float32")
    ensemble = made[
        {"temperature": "calibrated", "units": "units", "floors": "normal"}.get(part, "numbers")
    ]
    rows: Any = X
    if part == "encoding":
        ensemble, rows = fn.Ensemble(TABLES["different"].networks, weights=[1, 1, 2, 1]), ASKED
    y = answer(ensemble, rows, tmp_path)
    assert difference(y, ensemble) <= 1
    last = ensemble[-1]
    if part == "weight":
        last.biases[-1][0] += 0.01
    elif part == "weights":
        ensemble.weights = ensemble.weights[::-1].copy()
    elif part == "temperature":
        ensemble.temperature = 1.01 * (ensemble.temperature or 1.0)
    elif part == "units":
        target = last.preprocessor.target
        assert target is not None
        last.preprocessor = replace(
            last.preprocessor, target=replace(target, scale=target.scale * 1.01)
        )
    elif part == "floors":
        last.preprocessor = replace(
            last.preprocessor,
            target=fn.preprocessing.target.TableTarget((), None, np.zeros(2), np.full(2, 1.01)),
        )
    else:
        kept = last.preprocessor
        last.preprocessor = replace(kept, center=kept.center + 0.01)
        assert difference(y, ensemble) > 1
        last.preprocessor = kept
        return
    assert difference(y, ensemble) > 1


# --- rows -----------------------------------------------------------------------------------------


def test_members_share_an_encoding_where_they_can(tmp_path: Path) -> None:
    for name, count in {"shared": 1, "best": 2, "different": 3, "targets": 1}.items():
        ensemble = TABLES[name]
        ensemble.save(tmp_path / "e.safetensors")
        # In a file each member has a preprocessor of its own.
        loaded = fn.Ensemble.load(tmp_path / "e.safetensors", backend="numpy")
        assert loaded[0].preprocessor is not loaded[1].preprocessor
        for one in (ensemble, loaded):
            whole = combination_of(one)
            assert len(whole.encodings) == count
            assert whole.inputs == sum(encoding.inputs for encoding in whole.encodings)
            source = c_content(one, "net").decode("ascii")
            assert source.count("int net_encode(const net_row *row, float *x) {") <= 1
            listed = re.findall(r"^const char \*const net_categories_kind\[", source, re.MULTILINE)
            assert len(listed) == 1
            python = python_content(one, "net").decode("ascii")
            assert python.count(" _encoded(table, COLUMNS") + python.count("[_encoded(") == count


@by_each_format
@pytest.mark.parametrize("rows", [0, 1])
def test_the_number_of_rows_is_free(rows: int, answer: Answer, tmp_path: Path) -> None:
    for name in ("different", "best_classes"):
        table = {key: column[:rows] for key, column in ASKED.items()}
        assert answer(TABLES[name], table, tmp_path).shape == (rows, TABLES[name].outputs)


@pytest.mark.parametrize("answer", [ANSWERS[n] for n in ("c", "onnx")])
@pytest.mark.parametrize("name", ["calibrated", "one_probability", "normal", "units"])
def test_what_is_not_finite_has_no_answer(answer: Answer, name: str, tmp_path: Path) -> None:
    rows = np.array(X[:4])
    rows[1, 0], rows[2, 2] = np.nan, -np.inf
    y = answer(ARRAYS[f"{name}_float32"], rows, tmp_path)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, True, False]
    assert np.isfinite(y[[0, 3]]).all()


def test_a_number_that_one_member_refuses_is_refused(tmp_path: Path) -> None:
    table = {"a": [1.0, 2.0, 3.0], "k": ["u", "v", "w"]}
    nets = [for_table(table) for _ in range(2)]
    narrow = nets[1].preprocessor
    factor = np.where(np.arange(len(narrow.factor)) == 0, 1e-30, narrow.factor)
    nets[1].preprocessor = replace(narrow, scaling="standard", factor=factor)
    ensemble = fn.Ensemble(nets)
    rows = {"a": [1e20], "k": ["u"]}
    assert np.isfinite(nets[0].predict(rows)).all()
    with pytest.raises(fn.InputError, match="after scaling"):
        ensemble.predict(rows)
    with pytest.raises(ValueError, match="too large"):
        python_module(ensemble).encode(rows)
    assert np.isnan(ANSWERS["onnx"](ensemble, rows, tmp_path)).all()
    result, x = compiled.encode_row(compiled.library(tmp_path, ensemble), ensemble, [1e20, "u"])
    assert result == 1 and np.isnan(x).all()


@pytest.mark.parametrize("code", [-3.0, 0.5, 4.0, 1e300, np.inf, np.nan])
def test_a_graph_takes_any_number_for_no_category(code: float) -> None:
    from fastnet.export.onnx.model import content

    ensemble = TABLES["different"]
    columns = combination_of(ensemble).columns
    assert columns is not None
    names = [column.name for column in columns.columns]
    x = np.zeros((2, len(names)))
    x[0, names.index("kind")], x[1, names.index("kind")] = code, -1
    assert "cabin" in columns.columns[names.index("kind")].categories
    y = run_onnx(content(ensemble, "net"), x)
    known = code in range(len(columns.columns[names.index("kind")].categories))
    assert np.array_equal(y[0], y[1]) != known


COLUMNS: dict[str, Any] = {
    "number": lambda rng, n: rng.normal(40.0, 9.0, n),
    "few": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "two": lambda rng, n: rng.choice(["no", "maybe"], n),
    "truth": lambda rng, n: rng.choice(["yes", "no"], n),
    "some": lambda rng, n: rng.choice(list("abcdefgh"), n),
}


@st.composite
def drawn(draw: st.DrawFn) -> tuple[fn.Ensemble, dict[str, Any]]:
    """Draw networks for some of the columns of a table, encoded by some of its rows each."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    table = {name: np.array(make(rng, 40), object) for name, make in COLUMNS.items()}
    for column in table.values():
        column[rng.random(40) < 0.2] = None
    target, nets = rng.normal(1e3, 9, (40, 2)), []
    for k in range(draw(st.integers(1, 3))):
        chosen = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, unique=True))
        rows = rng.permutation(40)[: draw(st.sampled_from([6, 40]))]
        embedding: Any = draw(st.sampled_from([None, "periodic", "piecewise"]))
        part = {name: table[name][rows].tolist() for name in chosen}
        with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):
            made = fn.tables.TablePreprocessor.fit(part, target[rows], numeric_embedding=embedding)
        net = fn.Network([made.inputs, 4, 2], activation="tanh", seed=k, backend="numpy")
        net.preprocessor = made
        nets += [net] * draw(st.integers(1, 2))
    weights = rng.uniform(0.1, 1, len(nets))
    asked = {name: [*column[:12].tolist(), None] for name, column in table.items()}
    asked["some"][0] = "unheard of"
    return fn.Ensemble(nets, weights=weights), asked


@by_each_format
@given(made=drawn())
@settings(max_examples=12)
def test_any_members_answer_any_rows(
    answer: Answer, tmp_path_factory: pytest.TempPathFactory, made: Any
) -> None:
    ensemble, rows = made
    y = answer(ensemble, rows, tmp_path_factory.mktemp("any"))
    assert relative_difference(y, expected(ensemble, rows)) <= LIMIT["float32"]


# --- what cannot be -------------------------------------------------------------------------------


def refusal(ensemble: fn.Ensemble, to: Any = "numpy", **options: Any) -> str:
    with pytest.raises(fn.InputError) as caught:
        export(ensemble, "never written", to=to, **options)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return message


def test_members_that_take_no_common_rows_are_refused() -> None:
    table = {"a": [1.0, 2.0, 3.0], "k": ["u", "v", "w"]}
    plain, named = fn.Network([4, 2], backend="numpy"), for_table(table)
    matrices = [for_table(np.random.default_rng(k).normal(size=(9, k)), 2) for k in (3, 4)]
    for nets, says in (
        ([plain, named], "some take a table and others an array"),
        ([named, matrices[0]], "columns by their names and others by their places"),
        (matrices, "tables of different numbers of columns"),
        ([plain, fn.Network([3, 2], backend="numpy")], "they take 4 or 3 inputs"),
    ):
        for to in FORMATS:
            assert says in refusal(fn.Ensemble(nets), to)


def test_members_of_two_precisions_are_refused() -> None:
    nets = [fn.Network([3, 2], dtype=dtype, backend="numpy") for dtype in ("float32", "float64")]
    assert "a file has one precision" in refusal(fn.Ensemble(nets))


def test_a_column_of_numbers_and_of_categories_is_exported_to_numpy_alone(tmp_path: Path) -> None:
    table: dict[str, Any] = {"a": [1.0, 2.0, 3.0], "k": ["1", "2", "10"]}
    with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):
        ensemble = fn.Ensemble([for_table(table), for_table(table, categorical=["k"])])
    rows = {"a": [1.5, None], "k": ["10", "1"]}
    module = python_module(ensemble)
    assert relative_difference(module.predict(module.encode(rows)), ensemble.predict(rows)) < 1e-5
    for to in ("c", "onnx"):
        assert "read numbers in the column 'k'" in refusal(ensemble, to)


def test_a_column_of_times_and_of_something_else_is_exported_to_numpy_alone() -> None:
    days = np.array(["2024-01-01", "2024-02-29", "2024-12-24"], "M8[D]")
    table: dict[str, Any] = {"a": [1.0, 2.0, 3.0], "day": days}
    as_times, as_texts = for_table(table), for_table(table, categorical=["day"])
    rows = {"a": [1.5, None], "day": days[:2]}
    for nets in ([as_times, as_texts], [as_texts, as_times]):
        ensemble = fn.Ensemble(nets)
        module = python_module(ensemble)
        assert (
            relative_difference(module.predict(module.encode(rows)), ensemble.predict(rows)) < 1e-5
        )
        for to in ("c", "onnx"):
            assert "read times in the column 'day' and others categories" in refusal(ensemble, to)
    with warnings.catch_warnings(action="ignore", category=fn.FastNetWarning):
        without = for_table({"a": [1.0, 2.0, 3.0], "day": [None] * 3})
    for nets in ([as_times, without], [without, as_times]):
        assert c_content(fn.Ensemble(nets), "net")
    numbers = for_table({"a": [1.0, 2.0, 3.0], "day": [1.0, 2.0, 3.0]})
    assert "times in the column 'day' and others numbers" in refusal(
        fn.Ensemble([numbers, as_times]), "c"
    )


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_neither_network_nor_ensemble_is_refused(to: str) -> None:
    for other in ([*ARRAYS["numbers_float32"]], "net.safetensors", None):
        assert f"got {type(other).__name__}" in refusal(other, to)  # type: ignore[arg-type]


def test_whole_numbers_are_for_one_network() -> None:
    ensemble = ARRAYS["numbers_float32"]
    assert "fixed is for one network" in refusal(ensemble, "c", fixed="int8", rows=X)


def test_a_member_that_is_not_finite_is_refused() -> None:
    made = ensembles.of_arrays("float32")["numbers"]
    made[1].parameters[0] = np.nan
    for to in ("c", "numpy", "onnx"):
        assert "not finite" in refusal(made, to)


# --- C: derivatives, its own test, its memory -----------------------------------------------------


def wanted_slopes(ensemble: fn.Ensemble, rows: Any) -> NDArray[Any]:
    """Return the derivatives (N, O, I) by the inputs of all encodings side by side, in float64."""
    whole = combination_of(ensemble)
    each = []
    for member in whole.members:
        at, part = member.encoding.at, member.network.jacobian(rows).astype(float)
        slopes = np.zeros((len(part), whole.outputs, whole.inputs))
        slopes[:, :, at : at + part.shape[2]] = part
        each.append(slopes)
    dz, w = np.array(each), ensemble.weights
    mean: NDArray[Any] = np.tensordot(w, dz, 1)
    if whole.mean is not None and whole.mean.floors is not None:
        # d log V = sum w (dv + 2 (m - M) (dm - dM)) / V, with v = exp(log v) above its floor.
        half = whole.outputs // 2
        pairs = [net.output_schema.mean_and_std(net.predict_columns(rows)) for net in ensemble]
        m, s = (np.array(part, float) for part in zip(*pairs, strict=True))
        log_v = np.array([net.predict_columns(rows)[:, half:] for net in ensemble], float)
        moving = (
            log_v > np.array([net.output_schema.log_variance_floors for net in ensemble])[:, None]
        )
        center = np.tensordot(w, m, 1)
        variance = np.tensordot(w, s**2 + (m - center) ** 2, 1)
        dv = (moving * s**2)[..., None] * dz[:, :, half:]
        apart = 2 * (m - center)[..., None] * (dz[:, :, :half] - mean[:, :half])
        mean[:, half:] = np.tensordot(w, dv + apart, 1) / variance[..., None]
    if ensemble.temperature is not None:
        p = ensemble.uncalibrated().predict_columns(rows).astype(float)[..., None]
        q = ensemble.predict_columns(rows).astype(float)[..., None]
        if ensemble.output_schema.activation == "sigmoid":
            return np.asarray(mean * q * (1 - q) / (p * (1 - p)) / ensemble.temperature)
        logs = mean / p / ensemble.temperature
        return np.asarray(q * (logs - (q * logs).sum(axis=1, keepdims=True)))
    return mean


@pytest.mark.parametrize("name", ["calibrated", "one_probability", "units", "normal"])
def test_the_wanted_derivatives_are_those_of_predictions(name: str) -> None:
    ensemble, step = ARRAYS[f"{name}_float64"], 1e-5
    found = np.empty((len(X), ensemble.outputs, 3))
    for k in range(3):
        ahead, behind = (ensemble.predict_columns(X + np.eye(3)[k] * d) for d in (step, -step))
        found[:, :, k] = (ahead - behind) / (2 * step)
    wanted = wanted_slopes(ensemble, X)
    # The step's square, and the rounding of outputs that may be a million, over the step.
    size = np.abs(ensemble.predict_columns(X)).max(axis=0)[:, None]
    allowed = 1e-7 * np.abs(wanted).max(axis=(0, 2))[:, None] + 1e-10 * size
    assert (np.abs(found - wanted) <= allowed).all()


SLOPES = ["classes_float32", "units_float64", "shared", "different", "calibrated_float32",
          "sharpened_float32", "one_probability_float64", "several_answers_float32",
          "normal_float64", "normal_in_units_float32", "normal_mixed_float32", "one_normal_float32",
          "best_classes", "normal_table", "units_after_an_activation_float32"]  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_are_those_of_the_ensemble(name: str, tmp_path: Path) -> None:
    ensemble = EVERY[name]
    whole, rows = combination_of(ensemble), rows_of(ensemble)
    export(ensemble, tmp_path / "net.c", to="c", jacobian=True)
    done = compiled.compile_c(tmp_path, "-shared", "-fPIC", "net.c", "-o", "net.so")
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(tmp_path / "net.so"))
    x = compiled.encode(loaded, ensemble, rows) if whole.takes_tables else rows.astype(whole.dtype)
    x = np.ascontiguousarray(x)
    y = np.full((len(x), whole.outputs), np.nan, whole.dtype)
    dy = np.full((*y.shape, whole.inputs), np.nan, whole.dtype)
    for k in range(len(x)):
        loaded.net_jacobian(*(ctypes.c_void_p(array[k:].ctypes.data) for array in (x, y, dy)))
    assert y.tobytes() == compiled.predict(loaded, ensemble, x).tobytes()
    wanted, limit = wanted_slopes(ensemble, rows), LIMIT[whole.dtype.name]
    for k in range(whole.outputs):
        assert np.abs(wanted[:, k]).max() > 0
        assert relative_difference(dy[:, k], wanted[:, k]) <= limit
        wanted[0, k, -1] += np.abs(wanted[:, k]).max() * 100 * limit
        assert relative_difference(dy[:, k], wanted[:, k]) > limit


SELF = ["calibrated_float32", "normal_in_units_float64", "units_float32", "different", "best"]


@pytest.mark.parametrize("name", SELF)
def test_the_test_of_a_file_finds_a_wrong_number(name: str, tmp_path: Path) -> None:
    export(EVERY[name], tmp_path / "net.c", to="c")
    source = (tmp_path / "net.c").read_text("ascii")
    last = max(re.findall(r" (b\d_1)\[", source))
    for part, status in ((None, 0), ("weights", 1), (last, 1)):
        if part is not None:
            pattern = rf"( {part}\[\d+\][^{{]*{{\n  )(-?[0-9.]+)"
            wrong = re.sub(pattern, r"\g<1>400+\g<2>", source, count=1)
            assert wrong != source
            (tmp_path / "net.c").write_text(wrong, "ascii")
        arguments = [*compiled.STRICT, "-DFASTNET_SELFTEST", "net.c", "-o", "test", "-lm"]
        toolchain.build("C", arguments, tmp_path)
        assert subprocess.run([tmp_path / "test"], capture_output=True).returncode == status, part


@pytest.mark.parametrize("name", ["calibrated_float32", "units_float64", "normal_float64", "best"])
def test_the_memory_counts_all_members(name: str, tmp_path: Path) -> None:
    ensemble = EVERY[name]
    export(ensemble, tmp_path / "net.c", to="c")
    source = (tmp_path / "net.c").read_text("ascii").split("#ifdef FASTNET_MAIN")[0]
    names = re.findall(r"^static const (?:float|double) (\w+)\[", source, re.MULTILINE)
    sizes = " + ".join(f"sizeof {name}" for name in names)
    program = (
        f'#include "net.c"\n#include <stdio.h>\nint main(void) {{ printf("%zu", {sizes}); }}\n'
    )
    (tmp_path / "sizes.c").write_text(program, "ascii")
    toolchain.build("C", ["sizes.c", "-o", "sizes", "-lm"], tmp_path)
    constants = int(subprocess.check_output([tmp_path / "sizes"]))
    # The arrays of a function: the members' are on the stack one after the other.
    stack = {}
    for head, body in re.findall(r"^\w[^\n]* (\w+)\(const [^)]*\) {\n(.*?)^}", source, re.M | re.S):
        arrays = re.findall(r"^  (float|double) \w+\[(\d+)\]", body, re.MULTILINE)
        stack[head] = sum({"float": 4, "double": 8}[real] * int(size) for real, size in arrays)
    called = max(size for head, size in stack.items() if head.startswith(("answer", "combine")))
    assert called > 0
    said = f"{constants:,} bytes of constant numbers, and needs {stack['net_predict'] + called:,} "
    assert said in usage(ensemble, tmp_path / "net.c", to="c")
    member = combination_of(ensemble[0])
    assert memory_of(member, None).constants < constants / 2


# --- texts ----------------------------------------------------------------------------------------


@cache
def said(name: str, to: Any) -> str:
    return usage(EVERY[name], Path("net"), to=to)


def test_the_usage_says_what_each_format_takes() -> None:
    assert "ensemble[0].preprocessor.transform(table, 'float32'))" in said("shared", "torch")
    assert "ensemble[1].preprocessor.transform(table, 'float32'),\n" in said("best", "torch")
    columns = combination_of(TABLES["different"]).columns
    assert columns is not None
    assert f"x (rows, {len(columns.columns)}) float64" in said("different", "onnx")
    assert "net_encode(&row, x)" in said("different", "c")
    assert "predict(encode(table)) returns (N, 1)" in said("different", "numpy")


def test_the_files_say_what_they_are() -> None:
    for name, title in {
        "calibrated_float32": "The mean of 4 neural networks at the temperature 1.7, exported",
        "normal_float32": "The mixture of 4 neural networks, exported",
        "one_at_a_temperature_float32": "The mean of 1 neural network at the temperature 3, exp",
        "one_member_float32": "A neural network, exported",
    }.items():
        assert title in c_content(EVERY[name], "net").decode("ascii")
        module = python_module(EVERY[name])
        assert module.__doc__.startswith(title)


def test_labels_and_deviations_are_those_of_the_ensemble(tmp_path: Path) -> None:
    classes = TABLES["calibrated_table"]
    module = python_module(classes)
    labels = classes.predict_labels(ASKED).tolist()
    assert module.predict_labels(module.encode(ASKED)) == labels and len(set(labels)) > 1
    normal = TABLES["normal_table"]
    module = python_module(normal)
    for got, want in zip(
        module.predict_std(module.encode(ASKED)),
        normal.predict(ASKED, return_std=True),
        strict=True,
    ):
        assert relative_difference(got.reshape(8, 1), want.astype("f4").reshape(8, 1)) <= 1e-5
