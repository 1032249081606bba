"""Who is compared on real tables: each gets what its manual asks for, and one thread."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import fastnet as fn
from fastnet.benchmarks import table_contenders
from fastnet.benchmarks.table_contenders import CONTENDERS, Contender, Fold
from fastnet.benchmarks.tables import score
from fastnet.tables import Frame, as_frame

pytestmark = pytest.mark.usefixtures("one_core")

OURS = [contender for contender in CONTENDERS if contender.ours]
HERE = [c for c in CONTENDERS if not c.missing() and c not in OURS[1:]]


def fold_of(classes: bool) -> tuple[Fold, Any]:
    """Return a fold with texts, gaps, and a category that training had not; and the truth."""
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=150), rng.choice(["a", "b", "c"], 150).astype(object)
    y = (x + (kind == "a") > 0.5).astype(int) if classes else x + (kind == "a")
    x[::8], kind[::11] = np.nan, None
    test = table(x[100:], [*kind[100:149], "new"])
    return Fold(table(x[:100], kind[:100]), test, y[:100], classes), y[100:]


def table(x: Any, kind: Any) -> Frame:
    return as_frame({"x": x, "kind": np.array(kind, object)})


@pytest.mark.parametrize("contender", HERE, ids=lambda contender: contender.name)
@pytest.mark.parametrize("classes", [True, False])
def test_contenders_take_texts_gaps_and_new_categories(contender: Contender, classes: bool) -> None:
    fold, truth = fold_of(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the benchmark does
        answers = contender.fit(fold, 0)(fold.test)
    assert answers.shape == (50,)
    assert score(truth, answers, classes) > 0.2
    assert score(truth, answers[::-1], classes) < score(truth, answers, classes)


def test_ours_are_the_presets_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []
    train = fn.tables.train

    def briefly(*args: Any, **how: Any) -> Any:
        called.append(how)
        return train(*args, **how, epochs=1)

    monkeypatch.setattr(fn.tables, "train", briefly)
    fold, _ = fold_of(True)
    for contender in OURS:
        assert set(contender.fit(fold, 7)(fold.test)) <= {0, 1}
    same = {"task": "classification", "seed": 7}
    assert called == [
        {"preset": "tabular"} | same,
        {"preset": "tabular", "n_estimators": 5} | same,
        {"preset": "tabular-piecewise"} | same,
        {"preset": "tabular-best"} | same,
    ]


# --- libraries that need not be here --------------------------------------------------------------


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, kind: str) -> dict[str, Any]:
    """Put a model that keeps what it is given in place of a library's; return what it keeps."""
    kept: dict[str, Any] = {}

    class Model:
        def __init__(self, **options: Any) -> None:
            kept["options"] = options

        def fit(self, x: Any, y: Any) -> None:
            kept["x"], kept["y"] = x, y

        def predict(self, x: Any) -> Any:
            kept["test"] = x
            return np.zeros((len(x), 1) if module == "catboost" else len(x))

    library = ModuleType(module)
    for task in ("Classifier", "Regressor"):
        setattr(library, kind + task, Model)
    monkeypatch.setitem(sys.modules, module, library)
    return kept


@pytest.mark.parametrize(("module", "kind"), [("lightgbm", "LGBM"), ("xgboost", "XGB")])
def test_boosted_trees_get_categories_as_pandas_has_them(
    module: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = stand_in(monkeypatch, module, kind)
    fold, _ = fold_of(True)
    assert getattr(table_contenders, module)(fold, 3)(fold.test).shape == (50,)
    assert kept["options"]["n_jobs"] == 1
    assert kept["options"]["random_state"] == 3
    assert kept["options"].get("enable_categorical", module == "lightgbm")
    for frame in (kept["x"], kept["test"]):
        assert list(frame["kind"].cat.categories) == ["a", "b", "c"]
        assert frame["x"].dtype == np.float64
    assert kept["x"]["kind"].isna().sum() == 10
    assert kept["test"]["kind"].isna().iloc[-1]  # that category is new


def test_catboost_gets_texts_and_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = stand_in(monkeypatch, "catboost", "CatBoost")
    fold, _ = fold_of(False)
    assert table_contenders.catboost(fold, 3)(fold.test).shape == (50,)
    options = kept["options"]
    assert (options["thread_count"], options["random_seed"]) == (1, 3)
    assert options["cat_features"] == ["kind"]
    assert set(kept["x"]["kind"]) == {"a", "b", "c", ""}
    assert kept["test"]["kind"].iloc[-1] == "new"


def test_too_many_categories_become_numbers_where_that_is_asked_for() -> None:
    train = table(np.arange(4.0), ["a", "b", "c", None])
    assert list(table_contenders.categories_of(train)(train)["kind"].cat.categories) == [*"abc"]
    encode = table_contenders.categories_of(train, most=2)
    assert list(encode(train)["kind"]) == [0, 1, 2, -1]
    assert list(encode(table([0.0], ["new"]))["kind"]) == [-1]


def test_a_contender_without_its_package_says_which() -> None:
    absent = Contender("none", lambda fold, seed: lambda frame: None, ("numpy", "no_such_library"))
    assert absent.missing() == ["no_such_library"]
    assert not Contender("here", absent.fit, ("scikit-learn", "pandas")).missing()
