"""Columns that are no inputs: identifiers, weights; rows for validation; weights of classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import load
from tests.cli.calling import NUMPY, refused, run, succeed
from tests.closeness import assert_close

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

RNG = np.random.default_rng(5)
N = 60
TABLE = pd.DataFrame(
    {
        "customer": [f"{k:05d}" for k in range(N)],
        "length": RNG.normal(size=N),
        "kind": ["a", "b", "c"] * (N // 3),
        "w": RNG.integers(0, 4, N) * 0.5,
    }
)
TABLE["answer"] = np.where(TABLE["length"] > 0.8, "yes", "no")
INPUTS = ["length", "kind"]
WRITE = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "parquet": lambda table, path: table.to_parquet(path),
    "feather": lambda table, path: table.to_feather(path),
    "arrow": lambda table, path: table.to_feather(path),
}
MODEL = "model.safetensors"
PLAIN: tuple[object, ...] = ("--epochs", 3, "--quiet", "--hidden", "8", *NUMPY)
TARGET = ("--target", "answer")
ROLES = (*TARGET, "--id", "customer", "--weight", "w")


@pytest.fixture(params=WRITE)
def file(request: pytest.FixtureRequest, empty_folder: Path) -> str:
    """The table in a file of some kind."""
    WRITE[request.param](TABLE, f"rows.{request.param}")
    return f"rows.{request.param}"


@pytest.fixture
def csv(empty_folder: Path) -> str:
    WRITE["csv"](TABLE, "rows.csv")
    return "rows.csv"


# --- identifiers and weights ----------------------------------------------------------------------


def test_an_id_and_a_weight_are_no_inputs_and_are_remembered(file: str) -> None:
    succeed("train", file, *ROLES, *PLAIN)
    net = fn.load(MODEL, backend="numpy")
    assert [column.name for column in net.preprocessor.columns] == INPUTS
    assert (net.preprocessor.id, net.preprocessor.weight) == ("customer", "w")
    text = succeed("predict", MODEL, file, "--out", "-", *NUMPY)
    header, *rows = (line.split(",") for line in text.splitlines())
    assert header == ["customer", "prediction", "probability_no", "probability_yes"]
    assert [row[0] for row in rows] == list(TABLE["customer"])
    info = succeed("info", MODEL)
    assert "customer" in info.split("id ")[1].splitlines()[0]


def test_weights_count_in_training_and_evaluation(file: str) -> None:
    succeed("train", file, *ROLES, *PLAIN)
    net = fn.tables.train(
        TABLE, "answer", id="customer", weight="w", preset=None, hidden=(8,), epochs=3,
        backend="numpy",
    )  # fmt: skip
    again = fn.load(MODEL, backend="numpy")
    assert np.array_equal(net.parameters, again.parameters)
    weighted = fn.tables.train(
        TABLE[[*INPUTS, "answer"]], "answer", sample_weight=TABLE["w"], preset=None, hidden=(8,),
        epochs=3, backend="numpy",
    )  # fmt: skip
    assert np.array_equal(net.parameters, weighted.parameters)
    unweighted = json.loads(succeed("evaluate", MODEL, file, "--json", *NUMPY))
    how: dict[str, Any] = {"metrics": ["precision", "recall"], "sample_weight": TABLE["w"]}
    expected = net.evaluate(TABLE, "answer", **how)
    assert unweighted["metrics"]["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    for name in ("precision", "recall"):
        by_class = [row[name] for row in unweighted["classes"]]
        assert np.mean(by_class) == pytest.approx(expected[name], rel=1e-12)


def test_predict_needs_neither_and_says_that_the_id_is_missing(csv: str) -> None:
    succeed("train", csv, *ROLES, *PLAIN)
    whole = succeed("predict", MODEL, csv, "--out", "-", *NUMPY)
    TABLE.assign(w="?!").to_csv("odd.csv", index=False)
    assert succeed("predict", MODEL, "odd.csv", "--out", "-", *NUMPY) == whole
    TABLE[INPUTS].to_csv("few.csv", index=False)
    result = run("predict", MODEL, "few.csv", "--out", "-", *NUMPY)
    assert result.stdout == "".join(line.split(",", 1)[1] for line in whole.splitlines(True))
    assert result.stderr == "fastnet: few.csv has no column 'customer': rows come without it.\n"
    TABLE.drop(columns="w").to_csv("few.csv", index=False)
    result = run("evaluate", MODEL, "few.csv", *NUMPY)
    assert "few.csv has no column 'w' with weights: all rows weigh the same" in result.stderr


def test_the_roles_of_training_may_be_replaced(csv: str) -> None:
    succeed("train", csv, *TARGET, "--drop", "w,customer", *PLAIN)
    first = succeed("predict", MODEL, csv, "--out", "-", *NUMPY)
    assert first.startswith("prediction,")
    named = succeed("predict", MODEL, csv, "--id", "kind", "--out", "-", *NUMPY)
    assert [line.split(",")[0] for line in named.splitlines()[:3]] == ["kind", "a", "b"]
    one, other = (
        json.loads(succeed("evaluate", MODEL, csv, "--json", *more, *NUMPY))["metrics"]["loss"]
        for more in ((), ("--weight", "w"))
    )
    net = fn.load(MODEL, backend="numpy")
    assert other != one
    assert other == net.evaluate(TABLE, "answer", sample_weight=TABLE["w"])["loss"]


def test_an_id_is_written_as_it_stands(empty_folder: Path) -> None:
    ids = ["007", "1.0", "1,5", "NA", "", "x"]
    rows = "".join(f'"{one}";{k},5;{k}\n' for k, one in enumerate(ids))
    Path("rows.csv").write_text(f"code;size;y\n{rows}", encoding="utf-8")
    how = ("--decimal", ",", "--sep", ";")
    succeed("train", "rows.csv", "--target", "y", "--id", "code", *how, *PLAIN)
    text = succeed("predict", MODEL, "rows.csv", "--out", "-", *how, *NUMPY)
    table = pd.read_csv(pd.io.common.StringIO(text), dtype=str, keep_default_na=False)
    assert list(table["code"]) == ids


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--id", "custmer"), "has no column 'custmer'; did you mean 'customer'?"),
        (("--id", "answer"), "the column 'answer' cannot be a target and the id"),
        (("--weight", "answer"), "the column 'answer' cannot be a target and the weight"),
        (("--id", "w", "--weight", "w"), "the column 'w' cannot be the id and the weight"),
        (("--id", "kind", "--features", "kind,w"), "'kind' cannot be a feature and the id"),
        (("--weight", "kind"), "column 'kind' must hold numbers, got 'a' in row 1"),
        (("--weight", "length"), "column 'length': the weight is -"),
        (("--weight", "gap"), "row 3, column 'gap': the weight is missing"),
        (("--id", "length,kind"), "has no column 'length,kind'"),
    ],
)
def test_roles_that_cannot_be_are_refused(
    empty_folder: Path, options: tuple[str, ...], said: str
) -> None:
    table = TABLE.assign(gap=[1.0, 2.0, None] * (N // 3))
    table.loc[0, "length"] = -1.5
    table.to_csv("rows.csv", index=False)
    assert said in refused("train", "rows.csv", *TARGET, *options, *PLAIN)


def test_arrays_and_columns_without_names_have_no_roles(csv: str) -> None:
    np.savez("rows.npz", x=np.ones((8, 2)), y=np.arange(8.0))
    Path("bare.csv").write_text("1,2\n3,4\n", encoding="utf-8")
    assert "go with tables, and rows.npz holds arrays" in refused("train", "rows.npz", "--id", "x")
    said = refused("train", "bare.csv", "--target", "x0", "--weight", "x1")
    assert "bare.csv has columns without names" in said
    with pytest.raises(fn.InputError, match="give weight or sample_weight, not both"):
        fn.tables.train(TABLE, "answer", weight="w", sample_weight=TABLE["w"])


def test_load_gives_ids_and_weights_as_they_stand(file: str) -> None:
    data = load(file, target="answer", id="customer", weight="w")
    assert list(data.x.columns) == INPUTS
    assert [data.ids.values[code] for code in data.ids.codes] == list(TABLE["customer"])
    assert np.array_equal(data.sample_weight, TABLE["w"])
    few = data.take(np.array([3, 1]))
    assert np.array_equal(few.sample_weight, TABLE["w"][[3, 1]])


# --- rows for validation --------------------------------------------------------------------------


def test_validation_data_are_evaluated_after_each_epoch(file: str) -> None:
    kind = file.partition(".")[2]
    held_out = TABLE[::-1][:20].reset_index(drop=True)[[*TABLE.columns[::-1]]]
    WRITE[kind](held_out, f"held.{kind}")
    options = ("--validation-data", f"held.{kind}", "--log", "log.jsonl", "--calibrate")
    text = succeed(
        "train", file, *ROLES, *options, "--early-stopping", 2, *PLAIN, "--html", "r.html"
    )
    assert "validation loss" in text and "calibrated at temperature" in text
    net = fn.tables.train(
        TABLE, "answer", id="customer", weight="w", preset=None, hidden=(8,), epochs=3,
        backend="numpy", validation_data=(held_out, held_out["answer"], held_out["w"]),
    )  # fmt: skip
    assert fn.History.read("log.jsonl")["val_loss"] == net.history["val_loss"]
    assert "20 validation rows" in Path("r.html").read_text(encoding="utf-8")


def test_a_preset_validates_on_the_file_and_trains_on_all_rows(csv: str) -> None:
    WRITE["csv"](TABLE[:20], "held.csv")
    options = (*ROLES, "--preset", "tabular", "--epochs", 3, "--hidden", "8", *NUMPY)
    text = succeed("train", csv, *options, "--validation-data", "held.csv", "--log", "log.jsonl")
    assert "; 20 rows of held.csv for validation" in text
    net = fn.tables.train(
        TABLE, "answer", id="customer", weight="w", preset="tabular", hidden=(8,), epochs=3,
        backend="numpy", validation_data=(TABLE[:20], TABLE["answer"][:20], TABLE["w"][:20]),
    )  # fmt: skip
    assert fn.History.read("log.jsonl")["val_loss"] == net.history["val_loss"]


def test_arrays_are_validated_too(empty_folder: Path) -> None:
    x = RNG.normal(size=(30, 2))
    for name, rows in (("rows", slice(0, 20)), ("held", slice(20, 30))):
        np.savez(f"{name}.npz", x=x[rows], y=x[rows, 0])
    np.savez("wide.npz", x=np.ones((5, 3)), y=np.ones(5))
    text = succeed("train", "rows.npz", "--validation-data", "held.npz", *PLAIN)
    assert "validation r2" in text
    said = refused("train", "rows.npz", "--validation-data", "wide.npz", *PLAIN)
    assert "wide.npz must have 2 columns, got 3" in said
    WRITE["csv"](TABLE, "rows.csv")
    said = refused("train", "rows.npz", "--validation-data", "rows.csv", *PLAIN)
    assert "--validation-data: rows.csv must be of the kind of rows.npz, with targets" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="length"), "held.csv has no column 'length'"),
        (lambda t: t.drop(columns="answer"), "held.csv has no column 'answer'"),
        (lambda t: t.drop(columns="w"), "held.csv has no column 'w'"),
        (lambda t: t.assign(length="long"), "held.csv: column 'length' must hold numbers"),
        (lambda t: t.assign(answer="maybe"), "held.csv, row 1, column 'answer': the label 'maybe'"),
    ],
)
def test_validation_data_that_do_not_fit_are_refused_before_training(
    csv: str, change: Any, said: str
) -> None:
    change(TABLE[:9]).to_csv("held.csv", index=False)
    assert said in refused("train", csv, *ROLES, "--validation-data", "held.csv", *PLAIN)
    assert not Path(MODEL).exists()


def test_a_share_and_a_file_exclude_each_other(csv: str) -> None:
    result = run("train", csv, *TARGET, "--validation-data", csv, "--validation", "0.1")
    assert result.exit_code == 2
    assert "give --validation-data or --validation, not both" in result.stderr


# --- weights of classes ---------------------------------------------------------------------------


def test_weights_of_classes_are_given_by_label(csv: str) -> None:
    drop = ("--drop", "customer,w")
    succeed("train", csv, *TARGET, *drop, "--class-weight", "yes=5, no=0.5", *PLAIN)
    net = fn.tables.train(
        TABLE, "answer", drop="customer,w", preset=None, hidden=(8,), epochs=3, backend="numpy",
        class_weight={1: 5.0, 0: 0.5},
    )  # fmt: skip
    assert np.array_equal(fn.load(MODEL, backend="numpy").parameters, net.parameters)


def test_a_label_may_have_commas_and_equal_signs(empty_folder: Path) -> None:
    labels = ["a,b", "c=d"] * 10
    pd.DataFrame({"x": range(20), "t": labels}).to_csv("rows.csv", index=False)
    given = '"a,b=2",c=d=3'
    succeed("train", "rows.csv", "--target", "t", "--class-weight", given, *PLAIN)
    net = fn.tables.train(
        pd.read_csv("rows.csv"), "t", preset=None, hidden=(8,), epochs=3, backend="numpy",
        class_weight={0: 2.0, 1: 3.0},
    )  # fmt: skip
    assert np.array_equal(fn.load(MODEL, backend="numpy").parameters, net.parameters)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("balance", "expected balanced, or labels with weights above 0 such as yes=10,no=1"),
        ("yes=-1", "expected balanced, or labels"),
        ("no=3,yes=0", "expected balanced, or labels with weights above 0"),
        ("yes=inf", "expected balanced, or labels"),
        ("yes=1,yes=2", "the label 'yes' is there twice"),
        ("yse=2", "there is no class 'yse'; did you mean 'yes'? Classes: no, yes."),
    ],
)
def test_weights_of_classes_that_cannot_be_are_refused(csv: str, given: str, said: str) -> None:
    result = run("train", csv, *TARGET, "--class-weight", given, *PLAIN)
    assert result.exit_code in (1, 2)
    assert said in result.stderr


@pytest.mark.parametrize("given", ["yes=2", "balanced"])
def test_numbers_have_no_classes_to_weigh(csv: str, given: str) -> None:
    said = refused("train", csv, "--target", "length", "--class-weight", given, *PLAIN)
    assert "--class-weight goes with classes, and the target holds numbers" in said


# --- ways out -------------------------------------------------------------------------------------

CODES = ["10115", "20095", "2A004", "80331", "07545"] * 6


def test_a_text_among_numbers_names_the_ways_out_and_they_are_open(empty_folder: Path) -> None:
    table = pd.DataFrame({"zip": CODES, "size": range(30), "price": np.arange(30) * 1.5})
    table = table.assign(zip=table["zip"].replace("07545", "7545"))
    table.to_csv("rows.csv", index=False)
    command = ("train", "rows.csv", "--target", "price", *PLAIN)
    said = refused(*command)
    assert "column 'zip' must hold numbers, got '2A004' in row 3" in said
    assert "drop the column if it is no input, or name it as categorical" in said
    succeed(*command, "--drop", "zip")
    succeed(*command, "--categorical", "zip")
    column = fn.load(MODEL, backend="numpy").preprocessor.columns[0]
    assert column.categories == ("10115", "20095", "2A004", "7545", "80331")
    table.head(2).to_csv("few.csv", index=False)
    whole = succeed("predict", MODEL, "rows.csv", "--out", "-", *NUMPY)
    few = succeed("predict", MODEL, "few.csv", "--out", "-", *NUMPY)
    numbers = (np.array(text.split()[1:3], np.float32) for text in (whole, few))
    assert_close(*numbers, terms=64)
    assert "has no column 'zap'" in refused(*command, "--categorical", "zap")


def test_codes_that_are_all_digits_are_categories_as_they_are_written(empty_folder: Path) -> None:
    table = pd.DataFrame({"zip": ["00501", "00544", "10001"] * 10, "price": range(30)})
    table.to_csv("rows.csv", index=False)
    how = ("--target", "price", "--task", "regression", "--categorical", "zip", *PLAIN)
    succeed("train", "rows.csv", *how)
    column = fn.load(MODEL, backend="numpy").preprocessor.columns[0]
    assert column.categories == ("00501", "00544", "10001")
    np.savez("rows.npz", x=np.ones((8, 2)), y=np.arange(8.0))
    result = run("train", "rows.npz", "--categorical", "x0")
    assert "--categorical and embeddings go with tables in files" in result.stderr


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("how", [(), ("--chunk-rows", 999)])
def test_a_header_that_comes_again_makes_no_row(csv: str, how: tuple[object, ...]) -> None:
    command = ("train", csv, *ROLES, *PLAIN, *how)
    succeed(*command)
    once = Path(MODEL).read_bytes()
    text = Path(csv).read_text(encoding="utf-8")
    header = text.split("\n", 1)[0]
    Path(csv).write_text(text.replace("\n", f"\n{header}\n", 3), encoding="utf-8")
    told = run(*command).stderr
    assert "the header stands again in line 2 and 2 more" in told
    assert told.count("\n") == 1
    assert Path(MODEL).read_bytes() == once


def test_numbers_for_people_name_the_options_that_read_them(empty_folder: Path) -> None:
    Path("rows.csv").write_text("a;y\n" + "1,5;2\n2,5;3\n" * 9, encoding="utf-8")
    said = refused("train", "rows.csv", "--target", "y", *PLAIN)
    assert "say how numbers are written (decimal, thousands)" in said
    succeed("train", "rows.csv", "--target", "y", "--decimal", ",", *PLAIN)


def test_an_input_of_the_network_is_no_target_of_an_evaluation(file: str) -> None:
    succeed("train", file, *ROLES, *PLAIN)
    copy = shutil.copy(file, f"copy.{file}")
    for files in ([file], [file, copy]):  # several files are read in chunks
        said = refused("evaluate", MODEL, *files, "--target", "length", *NUMPY)
        assert "the column 'length' is an input of the network: name another target" in said
