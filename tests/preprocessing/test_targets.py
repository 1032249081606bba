"""What is taken for a class and what for a value, how classes are named, and how values scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import load
from fastnet.tables import TableTarget
from tests.cli.calling import run
from tests.closeness import assert_close

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

Learn = Callable[..., TableTarget]


@pytest.fixture
def learn(tmp_path: Path) -> Learn:
    """Return a function that learns the target of a text file with these cells."""

    def learn(cells: Sequence[Any], **options: Any) -> TableTarget:
        path = tmp_path / "table.csv"
        rows = "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
        path.write_text(f"a,y\n{rows}", encoding="utf-8")
        data = load(path, target="y", **options)
        target = TableTarget.learn(data.y, data.target_names, options.get("task", "auto"))
        target.encode(data.y)
        return target

    return learn


# --- classes or values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ([10, -1, 2, 10], ("-1", "2", "10")),
        (["1.0", "0.0", "1"], None),
        (["yes", "no", "yes"], ("no", "yes")),
        ([0, 1, 0.5], None),
        ([i % 20 for i in range(100)], tuple(map(str, range(20)))),
        ([i % 21 for i in range(100)], None),
        ([i % 21 for i in range(9000)], None),
        ([f"w{i % 45:02}" for i in range(100)], tuple(f"w{i:02}" for i in range(45))),
    ],
    ids=["in numeric order", "with a point", "truths", "no integers", "20 of 100",
         "21 of 100", "21 of many", "texts"],
)  # fmt: skip
def test_texts_and_few_integers_are_classes(
    cells: list[Any], labels: tuple[str, ...] | None, learn: Learn
) -> None:
    target = learn(cells)
    assert target.labels == labels
    assert target.task == ("regression" if labels is None else "classification")
    assert target.names == ("y",)


def test_texts_that_nearly_all_differ_are_not_taken_for_classes(learn: Learn) -> None:
    prices = [f"about {i}" for i in range(60)]
    with pytest.raises(fn.DataError, match=r"60 different texts in 60 rows, such as 'about 0'"):
        learn(prices)
    assert len(learn(prices, task="classification").labels or ()) == 60


def test_the_task_can_be_given(learn: Learn) -> None:
    assert learn([0, 1, 0], task="regression").labels is None
    assert learn([0.5, 1, 0.5], task="classification").labels == ("0.5", "1")
    assert len(learn(range(200), task="classification").labels or ()) == 200
    with pytest.raises(fn.InputError, match="did you mean 'regression'"):
        learn([1, 2], task="regresion")
    for values in ([1, 2], [1.5, 2.5], ["x", "y"]):
        with pytest.raises(fn.InputError, match="did you mean 'regression'"):
            fn.tables.train({"a": [1, 2]}, values, task="regresion", preset=None)


def test_labels_that_mix_numbers_and_words_need_the_task(learn: Learn) -> None:
    with pytest.raises(fn.DataError, match="column 'y' must hold numbers, got 'x' in row 3"):
        learn([0, 1, "x"])
    assert learn([0, 1, "x"], task="classification").labels == ("0", "1", "x")


def test_words_cannot_be_values(learn: Learn) -> None:
    with pytest.raises(fn.DataError, match="row 1, column 'y': 'u' is not a number"):
        learn(["u", "v"], task="regression")


@pytest.mark.parametrize("task", ["auto", "classification", "regression"])
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "the target 'y' is missing in row 2"),
        ("nan", "the target 'y' is missing in row 2"),
        ("inf", "row 2, column 'y': inf is not a finite|'y' must hold finite numbers, got inf"),
    ],
)
def test_a_missing_or_infinite_target_is_named_with_its_row(
    cell: str, message: str, task: str, learn: Learn
) -> None:
    with pytest.raises(fn.DataError, match=message):
        learn([1, cell, 0], task=task)


def test_a_missing_label_is_named_with_its_row(learn: Learn) -> None:
    with pytest.raises(fn.DataError, match="the target 'y' is missing in row 2"):
        learn(["u", "", "v"])


def test_classification_has_one_target(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("a,u,v\n1,0,1\n", encoding="utf-8")
    with pytest.raises(fn.InputError, match="one target column, got 2"):
        load(path, target="u,v", task="classification")
    with pytest.raises(fn.InputError, match="one target column, got 2"):
        TableTarget.learn([[0, 1]], task="classification")


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels", [["no", "yes", "no"], [0, 1, 0], [True, False, True], ["3", "7", "3"]]
)
def test_labels_become_class_numbers_of_every_kind_of_series(labels: list[Any]) -> None:
    for y in (labels, np.array(labels), pd.Series(labels), pl.Series(labels), pa.array(labels)):
        target = TableTarget.learn(y)
        codes = target.encode(y)
        assert codes.dtype == np.int64
        assert codes[0] == codes[2] != codes[1]


def test_numeric_labels_match_however_they_are_written() -> None:
    target = TableTarget.plain(("y",), ("-1", "2", "10"))
    for y in ([2, 10, -1], [2.0, 10.0, -1.0], ["2", "10.0", "-1"], np.array([2, 10, -1], "i1")):
        assert target.encode(y).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("labels", "y", "message"),
    [
        (("a", "b"), ["a", "c"], r"row 2, column 'kind': the label 'c' is none .*\('a', 'b'\)"),
        (("3", "7"), [4, 3], "row 1, column 'kind': the label '4' is none of"),
        (("3", "7"), [3, "w"], "row 2, column 'kind': the label 'w' is none of"),
        (("3", "7"), [3, np.nan], "the target 'kind' is missing in row 2"),
        (("3", "7"), [[3, 7]], "expected one column of labels, got 2"),
    ],
)
def test_an_unknown_label_is_named(labels: tuple[str, ...], y: list[Any], message: str) -> None:
    with pytest.raises(fn.DataError, match=message):
        TableTarget.plain(("kind",), labels).encode(y)


# --- values ---------------------------------------------------------------------------------------


def test_numbers_are_scaled_and_come_back() -> None:
    y = np.array([[1.0, 10.0], [2.0, 30.0], [6.0, 50.0]])
    target = TableTarget.learn(y)
    z = target.encode(y)
    assert_close(z.mean(axis=0), [0, 0], scale=1.0, terms=8)
    assert_close(z.std(axis=0), [1, 1], terms=8)
    assert_close(target.decode(z), y, terms=8)
    assert_close(target.decode(np.hstack([z, z])), np.hstack([y, y]), terms=8)
    outputs = np.hstack([z, np.log(np.full_like(z, 0.25))])
    means, log_variances = np.hsplit(target.decode(outputs, fn.losses.GaussianNLL()), 2)
    assert_close(means, y, terms=8)
    assert_close(np.exp(log_variances / 2), np.tile(target.scale / 2, (len(y), 1)), terms=64)


def test_targets_of_another_number_of_columns_are_refused() -> None:
    for columns, wrong in ((1, [[1, 2]]), (2, [1, 2]), (2, [[1, 2, 3]])):
        target = TableTarget.plain(("u", "v")[:columns], None, columns)
        with pytest.raises(fn.DataError, match=f"expected {columns} target columns, got"):
            target.encode(wrong)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, -1e-300])
def test_a_constant_target_is_no_division_by_zero(value: float) -> None:
    target = TableTarget.learn([value] * 7, task="regression")
    assert np.isfinite(target.encode([value, value + 1])).all()
    assert target.decode(np.zeros((2, 1))).tolist() == [[target.center[0]]] * 2


def test_a_target_that_cannot_be_scaled_is_named() -> None:
    target = TableTarget.learn([1e-3, 2e-3, 3e-3], ("size",))
    assert np.isfinite(target.encode([1e300])).all()
    with pytest.raises(fn.DataError, match="'size' is too far from its mean in row 2"):
        target.encode([1.0, 1e307])


def test_measurements_are_no_classes_at_any_door(
    learn: Learn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(6)
    weights = rng.permutation(np.arange(50, 110) / 4)  # 60 numbers, 45 of them with a fraction
    lines = "".join(f"{k},{weight}\n" for k, weight in enumerate(weights))
    Path("rows.csv").write_text(f"k,kg\n{lines}", encoding="utf-8")
    np.save("rows.npy", np.stack([np.arange(60.0), weights], axis=1))
    table = {"k": np.arange(60.0), "kg": weights}

    def command(*arguments: str) -> None:
        raise fn.DataError(run("train", *arguments, "--task", "classification").stderr)

    doors: list[Callable[[], Any]] = [
        lambda: fn.tables.train(table, "kg", task="classification"),
        lambda: fn.tables.TablePreprocessor.fit(table, "kg", task="classification"),
        lambda: learn(weights, task="classification"),
        lambda: command("rows.csv", "--target", "kg"),
        lambda: command("rows.csv", "--target", "kg", "--chunk-rows", "20"),
        lambda: command("rows.npy", "--target", "1", "--chunk-rows", "20"),
    ]
    for door in doors:
        with pytest.raises(fn.DataError, match="has 60 different numbers with fractions in 60"):
            door()


def test_fractions_of_a_scale_whole_numbers_and_few_values_are_classes() -> None:
    def count(values: Any) -> int:
        return len(TableTarget.learn(values, task="classification").labels or ())

    assert count(np.arange(90) % 45 / 2) == 45  # each of them twice
    assert count(np.arange(20) / 2) == 20
    assert count(np.arange(3000)) == 3000
    with pytest.raises(fn.DataError, match="has 1,500 different numbers with fractions in 4,500"):
        count(np.arange(4500) % 1500 / 2)
