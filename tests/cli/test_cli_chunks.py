"""Several files on the command line: patterns, training in chunks, predictions, evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from tests.cli.calling import NUMPY, refused, run, succeed
from tests.closeness import assert_close

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

RNG = np.random.default_rng(21)
N = 90
TABLE = pd.DataFrame(
    {
        "customer": [f"{k:03d}" for k in range(N)],
        "size": np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(50, 20, N)),
        "kind": RNG.choice(["flat", "house", "loft"], N),
        "w": RNG.integers(1, 4, N),
        "answer": RNG.choice(["no", "yes"], N),
    }
)
WRITE = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "csv.gz": lambda table, path: table.to_csv(path, index=False),
    "parquet": lambda table, path: table.to_parquet(path),
    "feather": lambda table, path: table.to_feather(path),
}
MODEL = "model.safetensors"
ROLES = ("--target", "answer", "--id", "customer", "--weight", "w")
PLAIN: tuple[object, ...] = ("--epochs", 3, "--hidden", "8", *NUMPY)


@pytest.fixture(params=WRITE)
def kind(request: pytest.FixtureRequest, empty_folder: Path) -> str:
    """The table in one file, and in two."""
    kind = str(request.param)
    WRITE[kind](TABLE, f"whole.{kind}")
    WRITE[kind](TABLE[:50].reset_index(drop=True), f"part-1.{kind}")
    WRITE[kind](TABLE[50:].reset_index(drop=True), f"part-2.{kind}")
    return kind


def model_of(*arguments: object) -> bytes:
    succeed("train", *arguments, *PLAIN, "--quiet")
    return Path(MODEL).read_bytes()


def test_files_that_fit_into_one_chunk_train_the_model_of_one_file(kind: str) -> None:
    whole = model_of(f"whole.{kind}", *ROLES)
    assert model_of(f"part-*.{kind}", *ROLES) == whole
    assert model_of(f"part-1.{kind}", f"part-2.{kind}", *ROLES) == whole
    assert model_of(f"whole.{kind}", *ROLES, "--chunk-rows", 1000) == whole
    assert model_of(f"part-*.{kind}", *ROLES, "--chunk-rows", 16, "--batch-size", 8) != whole


def test_no_preset_is_what_files_in_chunks_have_anyway(kind: str) -> None:
    expected = model_of(f"part-*.{kind}", *ROLES)
    assert model_of(f"part-*.{kind}", *ROLES, "--preset", "none") == expected


def test_balanced_classes_are_those_of_one_file(kind: str) -> None:
    balanced = ("--class-weight", "balanced")
    assert model_of(f"part-*.{kind}", *ROLES, *balanced) == model_of(
        f"whole.{kind}", *ROLES, *balanced
    )


def test_every_output_of_training_is_there(kind: str) -> None:
    WRITE[kind](TABLE[::4].reset_index(drop=True), f"held.{kind}")
    text = succeed(
        *("train", f"part-*.{kind}", *ROLES, "--chunk-rows", 16, "--batch-size", 8, *PLAIN),
        *("--validation-data", f"held.{kind}", "--metric", "f1", "--early-stopping", 2),
        *("--html", "r.html", "--log", "l.jsonl", "--class-weight", "yes=2"),
        *("--checkpoint", "run", "--embedding-size", 2, "--categorical", "kind"),
    )
    assert f"part-*.{kind}: 90 rows" in text
    assert f"23 rows of held.{kind} for validation" in text
    assert "validation f1" in text
    page = Path("r.html").read_text(encoding="utf-8")
    assert "the first 16 of 23 validation rows" in page
    net = fn.load(MODEL, backend="numpy")
    assert [column.name for column in net.preprocessor.columns] == ["size", "kind"]
    assert net.label_names == ("no", "yes")


def test_predictions_of_several_files_are_those_of_one(kind: str) -> None:
    model_of(f"whole.{kind}", *ROLES)
    whole = succeed("predict", MODEL, f"whole.{kind}", "--out", "-", *NUMPY).splitlines()
    parts = succeed("predict", MODEL, f"part-*.{kind}", "--out", "-", *NUMPY).splitlines()
    assert parts[0] == whole[0] == "customer,prediction,probability_no,probability_yes"
    one, other = (np.array([row.split(",") for row in rows[1:]]) for rows in (parts, whole))
    assert np.array_equal(one[:, :2], other[:, :2])
    assert_close(one[:, 2:].astype(np.float32), other[:, 2:].astype(np.float32), terms=64)
    result = succeed("predict", MODEL, f"part-1.{kind}", f"part-2.{kind}", "--out", "p.parquet")
    assert result == f"p.parquet: predictions for 90 rows of part-1.{kind} and 1 more\n"
    assert list(pd.read_parquet("p.parquet")["customer"]) == list(TABLE["customer"])


def test_evaluation_of_several_files_is_that_of_one(kind: str) -> None:
    model_of(f"whole.{kind}", *ROLES)
    whole, parts = (
        json.loads(succeed("evaluate", MODEL, name, "--json", *NUMPY))
        for name in (f"whole.{kind}", f"part-*.{kind}")
    )
    assert parts["rows"] == 90
    assert parts["metrics"] == pytest.approx(whole["metrics"], rel=1e-5)
    assert parts["classes"] == [pytest.approx(row) for row in whole["classes"]]


def test_the_target_and_the_roles_may_be_missing(kind: str) -> None:
    model_of(f"whole.{kind}", *ROLES)
    for k in (1, 2):
        WRITE[kind](TABLE[["kind", "size"]][:9], f"new-{k}.{kind}")
    result = run("predict", MODEL, f"new-*.{kind}", "--out", "-", *NUMPY)
    assert result.stdout.startswith("prediction,")
    assert len(result.stdout.splitlines()) == 19
    assert "has no column 'customer': rows come without it" in result.stderr
    assert "has no column 'answer' to compare with" in refused("evaluate", MODEL, f"new-*.{kind}")


def test_a_bad_cell_is_named_by_its_file(empty_folder: Path) -> None:
    WRITE["csv"](TABLE, "part-1.csv")
    table = TABLE.astype({"size": object})
    table.loc[7, "size"] = "big"
    WRITE["csv"](table, "part-2.csv")
    said = refused("train", "part-*.csv", *ROLES, *PLAIN)
    assert "must hold numbers, got 'big' in row 8 of part-2.csv" in said
    model_of("part-1.csv", *ROLES)
    said = refused("predict", MODEL, "part-*.csv", *NUMPY)
    assert "part-2.csv: column 'size' must hold numbers, got 'big' in row 8" in said
    assert not Path("predictions.csv").exists()


def test_arrays_in_several_files_train_and_are_predicted(empty_folder: Path) -> None:
    matrix = np.column_stack([RNG.normal(size=(60, 2)), np.arange(60) % 2])
    for k in range(2):
        np.save(f"part{k}.npy", matrix[30 * k : 30 * k + 30])
    np.save("whole.npy", matrix)
    model_of("part*.npy", "--target", "-1", "--chunk-rows", 64)
    net = fn.load(MODEL, backend="numpy")
    assert net.label_names == ("0", "1")
    whole = succeed("predict", MODEL, "whole.npy", "--out", "-", *NUMPY).splitlines()
    parts = succeed("predict", MODEL, "part*.npy", "--out", "-", *NUMPY).splitlines()
    assert [row.split(",")[0] for row in parts] == [row.split(",")[0] for row in whole]
    assert "accuracy" in succeed("evaluate", MODEL, "part*.npy", *NUMPY)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "part-*.csv", *ROLES, "--validation", "0.1"), "--validation does not go with"),
        (("train", "part-*.csv", *ROLES, "--calibrate"), "--calibrate does not go with"),
        (("train", "part-*.csv", *ROLES, "--preset", "tabular"), "--preset tabular does not go"),
        (("train", "part-*.csv", *ROLES, "--metric", "f1"), "--metric does not go with"),
        (("train", "part-1.csv", "digits", *ROLES), "digits is read as a whole, and alone"),
        (("train", "-", "--chunk-rows", 5, *ROLES), "- (standard input) is read as a whole"),
        (("train", "rows.npz", "--chunk-rows", 5), "files that are read in chunks end in .npy"),
        (("predict", MODEL, "part-*.csv", "--split", "test"), "--split and --data-dir do not go"),
        (("train", "none-*.csv", *ROLES), "There is no file that fits 'none-*.csv'"),
        (("train", "part-*.csv", "--id", "customer"), "needs a target"),
        (("predict", MODEL, "part-*.csv", "--out", "part-1.csv"), "is what is read here"),
    ],
)
def test_what_does_not_go_with_several_files_is_said(
    empty_folder: Path, arguments: tuple[object, ...], said: str
) -> None:
    for k in (1, 2):
        WRITE["csv"](TABLE, f"part-{k}.csv")
    np.savez("rows.npz", x=np.ones((8, 2)), y=np.arange(8.0))
    model_of("part-1.csv", *ROLES)
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert said in result.stderr
