"""The C file: its functions, its names, and what a C programmer does with it."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.export import export
from fastnet.export.c.names import RESERVED, fields_of, prefix_of
from fastnet.export.c.source import content
from tests.export import compiled
from tests.exports import ODD_NAMES, assert_same_outputs, disturbed, for_table


def run(folder: Path, program: str, *files: str) -> str:
    """Return the output of a C program that is compiled with exported files."""
    (folder / "program.c").write_text(program)
    done = compiled.compile_c(folder, "program.c", *files, "-o", "program")
    assert done.returncode == 0, done.stderr
    try:
        return subprocess.run([folder / "program"], capture_output=True, check=True).stdout.decode()
    except PermissionError as error:
        pytest.skip(f"temporary files may not be executed here: {error}")


def texts(loaded: ctypes.CDLL, name: str, count: int) -> tuple[str, ...]:
    """Return an array of texts of a library."""
    array: Any = (ctypes.c_char_p * count).in_dll(loaded, name)
    return tuple(text.decode() for text in array)


# --- the file as it is used -----------------------------------------------------------------------


def example_of(source: str) -> tuple[str, list[str]]:
    """Return includes and statements of the example in the comment at the top."""
    lines = re.findall(r"^ \*   ([^ ].*)$", source, re.MULTILINE)
    code = [re.sub(r"  \(.*\)$", "", line) for line in lines]
    includes = [line for line in code if line.startswith("#")]
    return "\n".join(includes), [line for line in code if line.endswith(";")]


@pytest.mark.parametrize("kind", ["plain", "table"])
def test_the_example_in_the_comment_is_a_program(kind: str, tmp_path: Path) -> None:
    labels = ("no", "yes")
    if kind == "plain":
        net, x = disturbed(fn.Network([3, 2], output_activation="softmax", backend="numpy")), None
        x = np.zeros((1, 3))
    else:
        net = for_table({"size": [1.0, 2.0, 4.0], "class": ["a", "b", "c"]})
        x = {"size": [1.5], "class": ["a"]}
    net.label_names = labels
    export(net, tmp_path / "my-net.c", to="c")
    includes, statements = example_of((tmp_path / "my-net.c").read_text("ascii"))
    shown = [s for s in statements if "printf" in s] or ['printf("%d\\n", y[1] > y[0]);']
    body = "\n  ".join([*(s for s in statements if "printf" not in s), *shown, "return 0;"])
    program = f"#include <stdio.h>\n{includes}\nint main(void) {{\n  {body}\n}}\n"
    answer = int(net.predict(x).argmax())
    assert run(tmp_path, program, "my-net.c") == f"{labels[answer]}\n"


def test_two_files_go_into_one_program(tmp_path: Path) -> None:
    nets = {
        name: disturbed(fn.Network([1, 1], backend="numpy"), seed) for seed, name in enumerate("ab")
    }
    for name, net in nets.items():
        export(net, tmp_path / f"{name}.c", to="c")
    program = """\
#define A_HEADER
#include "a.c"
#include "a.c"
#define B_HEADER
#include "b.c"
#include <stdio.h>
int main(void) {
  float x[A_INPUTS] = {3}, y[A_OUTPUTS], z[B_OUTPUTS];
  a_predict(x, y);
  b_predict(x, z);
  printf("%.9g %.9g", (double)y[0], (double)z[0]);
  return 0;
}
"""
    numbers = run(tmp_path, program, "a.c", "b.c").split()
    for number, net in zip(numbers, nets.values(), strict=True):
        assert_same_outputs(np.array([[number]], np.float32), net, np.array([[3.0]]))


def test_nothing_is_read_or_allocated_but_by_the_program() -> None:
    source = content(for_table({"size": [1.0, 2.0], "kind": ["a", "b"]}), "net").decode("ascii")
    functions, program, test = re.split("#ifdef FASTNET_(?:MAIN|SELFTEST)", source)
    assert re.findall(r"\b(main|stdin|getchar|strtod|stdio|stdlib)\b", functions) == []
    assert re.findall(r"\b(malloc|realloc|calloc)\b", source) == []
    assert re.findall(r"#include <(\w+)", functions) == ["stddef", "float", "math", "string"]
    assert re.findall(r"#include <(\w+)", program) == ["stdio", "stdlib"]
    assert re.findall(r"#include <(\w+)", test) == ["stdio"]


# --- what it says of outputs ----------------------------------------------------------------------


def test_labels_with_any_characters_come_through(tmp_path: Path) -> None:
    net = fn.Network([1, 5], output_activation="softmax", backend="numpy")
    net.label_names = ODD_NAMES
    net.biases[0][3] = 9
    loaded = compiled.library(tmp_path, net)
    assert texts(loaded, "net_labels", 5) == ODD_NAMES
    y = compiled.predict(loaded, net, [[0.0]])
    assert loaded.net_class(ctypes.c_void_p(y.ctypes.data)) == 3


@pytest.mark.parametrize(("bias", "answer"), [(-1.0, 0), (1.0, 1)])
def test_one_output_for_two_classes_has_a_class(bias: float, answer: int, tmp_path: Path) -> None:
    net = fn.Network([1, 1], output_activation="sigmoid", backend="numpy")
    net.label_names = ("no", "yes")
    net.biases[0][0] = bias
    loaded = compiled.library(tmp_path, net)
    y = compiled.predict(loaded, net, [[0.0]])
    assert loaded.net_class(ctypes.c_void_p(y.ctypes.data)) == answer


def test_a_variance_becomes_a_deviation(tmp_path: Path) -> None:
    net = fn.Network([1, 4], dtype="float64", backend="numpy")
    net.loss = fn.losses.GaussianNLL()
    net.biases[0][...] = [1.0, 2.0, -3.0, -99.0]  # the last is below the floor of the loss
    net.weights[0][...] = 0
    loaded = compiled.library(tmp_path, net)
    y = compiled.predict(loaded, net, [[7.0]])
    loaded.net_deviations(ctypes.c_void_p(y.ctypes.data))
    assert y[0] == pytest.approx([1, 2, np.exp(-1.5), 1e-3], rel=1e-12)
    names = ("prediction_0", "prediction_1", "prediction_0_std", "prediction_1_std")
    assert texts(loaded, "net_outputs", 4) == names


def test_quantiles_are_named(tmp_path: Path) -> None:
    net = fn.Network([1, 2], backend="numpy")
    net.loss = fn.losses.Quantile((0.05, 0.95))
    loaded = compiled.library(tmp_path, net)
    names = ("prediction_quantile_0.05", "prediction_quantile_0.95")
    assert texts(loaded, "net_outputs", 2) == names


# --- the row of a table ---------------------------------------------------------------------------


def test_categories_are_listed_whatever_their_characters(tmp_path: Path) -> None:
    net = for_table({"odd": ODD_NAMES, "two": [*"abaab"]})
    loaded = compiled.library(tmp_path, net)
    assert texts(loaded, "net_categories_odd", 5) == tuple(sorted(ODD_NAMES))
    assert texts(loaded, "net_categories_two", 2) == ("a", "b")


@pytest.mark.parametrize(
    "column", [*ODD_NAMES, "int", "NAN", "unix", "9", "*/ }", "//", "REAL", "F"]
)
def test_a_column_may_have_any_name(column: str, tmp_path: Path) -> None:
    net = for_table(
        {column: [1.0, 2.0, 5.0], f"{column} ": ["a", "b", "c"], "NAME": [3.0, 4.0, 5.0]}
    )
    loaded = compiled.library(tmp_path, net)
    table = {column: [4.0], f"{column} ": ["c"], "NAME": [1.0]}
    assert_same_outputs(
        compiled.predict(loaded, net, compiled.encode(loaded, net, table)), net, table
    )


def test_fields_are_identifiers_and_all_different() -> None:
    names = ["a b", "a_b", "a-b", "a_b_2", "class", "class_", "1", "", "\N{SNOWMAN}", "ok"]
    fields = fields_of(names)
    assert fields == [
        "a_b", "a_b_2", "a_b_3", "a_b_2_2", "class_", "class__2", "column_1", "column_",
        "column__", "ok",
    ]  # fmt: skip
    assert len(set(fields)) == len(fields)
    assert RESERVED.isdisjoint(fields)
    assert [prefix_of(name) for name in ("my-net", "9 nets", "_x")] == [
        "my_net",
        "net_9_nets",
        "net__x",
    ]


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_number_is_refused_and_stays_visible(infinite: float, tmp_path: Path) -> None:
    net = for_table({"a": [1.0, 2.0, 4.0], "t": ["u", "v", "w"], "b": [1.0, 2.0, None]})
    loaded = compiled.library(tmp_path, net)
    for cells, result in (
        ((1.0, "u", 1e308), 0),
        ((infinite, "u", 1.0), 1),
        ((1.0, "u", infinite), 3),
        ((infinite, None, infinite), 1),
    ):
        got, x = compiled.encode_row(loaded, net, cells)
        assert got == result
        assert np.isnan(x).all() == np.isnan(compiled.predict(loaded, net, x[None])).all()
        assert np.isnan(x).all() == (result != 0)
    with pytest.raises(fn.DataError, match="finite"):
        net.predict({"a": [infinite], "t": ["u"], "b": [1.0]})


# All that `str.strip` takes away, in UTF-8.
BLANKS = [chr(c) for c in range(1, 0x10000) if chr(c).isspace()]


@pytest.mark.filterwarnings("ignore:.*not there in training")
def test_blanks_around_a_text_do_not_count(tmp_path: Path) -> None:
    net = for_table({"t": ["u", "two\u00a0words", "", "\u0420"] * 3})
    loaded = compiled.library(tmp_path, net)

    def inputs(text: str | None) -> bytes:
        return compiled.encode_row(loaded, net, [text])[1].tobytes()

    kept = ["\u200b", "\ufeff", "\u1681", "\u200c", "\u2027", "\u2060", "\u3001", "\u0180", "x"]
    for word in ("u", "two\u00a0words", "", "\u0420"):
        for blank in [*BLANKS, *kept]:
            for text in (blank + word, word + blank, f"{blank}{blank}{word} {blank}"):
                x = net.preprocessor.transform({"t": [text]}, net.dtype)
                assert inputs(text) == x.tobytes(), ascii(text)
    assert len({inputs(text) for text in ("u", "two\u00a0words", "", "\u0420", None)}) == 5
    assert inputs("two words") == inputs("u u") == inputs(None)


def test_a_text_is_a_category_byte_for_byte(tmp_path: Path) -> None:
    net = for_table({"t": ["u", "", "w"]})
    loaded = compiled.library(tmp_path, net)
    known = {text: compiled.encode_row(loaded, net, [text])[1] for text in ("u", "", "w")}
    missing = compiled.encode_row(loaded, net, [None])[1]
    rows = [*known.values(), missing]
    assert len({row.tobytes() for row in rows}) == 4
    for text in ("U", "u u", "uu", "NULL"):
        assert (compiled.encode_row(loaded, net, [text])[1] == missing).all()


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
@pytest.mark.parametrize("where", ["label", "category"])
def test_a_text_that_c_cannot_hold_is_refused(text: str, where: str) -> None:
    if where == "label":
        net = fn.Network([1, 2], output_activation="softmax", backend="numpy")
        net.label_names = (text, "b")
    else:
        net = for_table({"t": [text, "u", "v"]})
    with pytest.raises(fn.InputError, match="C cannot hold the text"):
        content(net, "net")


def test_fast_math_which_knows_no_nan_is_refused(tmp_path: Path) -> None:
    export(for_table({"a": [1.0, 2.0, None]}), tmp_path / "net.c", to="c")
    assert compiled.compile_c(tmp_path, "-c", "net.c").returncode == 0
    done = compiled.compile_c(tmp_path, "-ffast-math", "-c", "net.c")
    assert done.returncode != 0
    assert "without -ffast-math" in done.stderr
