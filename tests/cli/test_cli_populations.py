"""``fastnet cv`` and ``fastnet sweep``."""

from __future__ import annotations

import csv
import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.cli.commands.populations import trials
from fastnet.export import FORMATS
from fastnet.plotting import plot_predictions
from fastnet.populations import make_folds
from tests.cli.calling import NUMPY, predictions, refused, run, succeed
from tests.closeness import assert_close

ROWS = 120


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    size, kind = rng.normal(size=ROWS), rng.choice(["flat", "house"], ROWS)
    price = 3 * size + np.where(kind == "flat", 4.0, 0.0)
    sold = np.where(price > 2, "yes", "no")
    rows = zip(size, kind, price, sold, strict=True)
    lines = [f"{a:.5f},{b},{c:.5f},{d}" for a, b, c, d in rows]
    Path("homes.csv").write_text(
        "size,kind,price,sold\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )
    return tmp_path


def write(name: str, lines: list[str]) -> None:
    Path(f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def trials_of(*args: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(succeed(*args, "--json", *NUMPY))
    return content


def test_cross_validation_is_training_without_the_rows_of_a_fold(homes: Path) -> None:
    options = ("--target", "sold", "--drop", "price", "--epochs", "4", "--hidden", "8")
    found = trials_of("cv", "homes.csv", *options, "--folds", "3", "--metric", "f1")
    lines = Path("homes.csv").read_text(encoding="utf-8").splitlines()
    header, rows = lines[0], np.array(lines[1:])
    labels = np.array([row.rsplit(",", 1)[1] for row in rows])
    for row, (train, test) in zip(found["trials"], make_folds(ROWS, 3, labels=labels), strict=True):
        for name, index in (("train", train), ("test", test)):
            Path(f"{name}.csv").write_text(
                "\n".join([header, *rows[index]]) + "\n", encoding="utf-8"
            )
        succeed("train", "train.csv", *options, "--quiet", *NUMPY)
        said = json.loads(succeed("evaluate", "model.safetensors", "test.csv", "--json", *NUMPY))
        for name in ("loss", "accuracy", "f1"):
            assert row[f"test_{name}"] == said["metrics"][name]
    mean = found["means"][0]
    assert mean["members"] == 3
    assert mean["test_f1"] == np.mean([row["test_f1"] for row in found["trials"]])
    assert found["best"] == mean


def test_a_sweep_trains_all_combinations_and_saves_the_best(homes: Path) -> None:
    options = ("homes.csv", "--target", "price", "--drop", "sold", "--epochs", "6")
    grid = ("--grid", "hidden=8,16x8", "--grid", "learning-rate=1e-3,1e-2")
    found = trials_of(
        "sweep", *options, *grid, "--cv", 3, "--seeds", 2, "--out", "best.safetensors"
    )
    assert len(found["trials"]) == 24
    assert [(row["hidden"], row["learning_rate"]) for row in found["means"]] == [
        ("8", 0.001),
        ("8", 0.01),
        ("16x8", 0.001),
        ("16x8", 0.01),
    ]
    best = min(found["means"], key=lambda row: row["test_loss"])
    assert found["best"] == best
    hidden = best["hidden"].replace("x", ",")
    rate = best["learning_rate"]
    succeed("train", *options, "--hidden", hidden, "--learning-rate", rate, "--quiet", *NUMPY)
    one, other = fn.load("best.safetensors"), fn.load("model.safetensors")
    assert np.array_equal(one.parameters, other.parameters)
    text = succeed("sweep", *options, *grid, "--cv", 3, "--quiet", "--by", "test_r2", *NUMPY)
    assert re.search(r"best test_r2 \S+: --hidden (8|16,8) --learning-rate \S+", text)


def test_without_folds_the_rows_held_out_decide(homes: Path) -> None:
    options = ("homes.csv", "--target", "price", "--drop", "sold", "--epochs", "6")
    found = trials_of("sweep", *options, "--grid", "dropout=0,0.2", "--validation", 0.3)
    assert found["best"]["val_loss"] == min(row["val_loss"] for row in found["means"])
    succeed("train", *options, "--validation", 0.3, "--quiet", *NUMPY)
    history = json.loads(succeed("evaluate", "model.safetensors", "homes.csv", "--json", *NUMPY))
    assert history["metrics"]
    said = refused("sweep", *options, "--grid", "dropout=0,0.2", *NUMPY)
    assert "there will be no score 'val_loss'" in said
    assert "Give --cv, or --validation a share" in said


def test_pages_lines_and_presets(homes: Path) -> None:
    options = ("homes.csv", "--target", "sold", "--drop", "price", "--epochs", "2")
    result = run("cv", *options, "--folds", 2, "--html", "cv.html", "--preset", "tabular", *NUMPY)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("/2 networks: ") == 2
    assert "test loss" in result.stdout
    page = Path("cv.html").read_text(encoding="utf-8")
    assert "fastnet cv homes.csv" in page
    assert page.count("<h2>") == 4
    text = succeed("sweep", "digits", "--grid", "activation=relu,tanh", "--epochs", 1, *NUMPY,
                   "--cv", 2, "--quiet", "--html", "sweep.html")  # fmt: skip
    assert "report sweep.html" in text


def test_a_sweep_that_was_killed_goes_on(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("homes.csv", "--target", "price", "--drop", "sold", "--epochs", "3", "--cv", 2)
    grid = ("--grid", "l2=0,0.1,1")
    whole = trials_of("sweep", *options, *grid)
    trained = list[int]()
    one = trials._trial

    def killed(*args: Any) -> Any:
        trained.append(len(trained))
        if len(trained) == 4:
            raise KeyboardInterrupt
        return one(*args)

    monkeypatch.setattr(trials, "_trial", killed)
    asked = ("sweep", *options, *grid, "--checkpoint", "run", "--json", *NUMPY)
    assert run(*asked).exit_code == 130
    resumed = json.loads(succeed(*asked, "--resume"))
    assert len(trained) == 4 + 3  # three were done: none is lost, and none is doubled
    for a, b in zip(whole["trials"], resumed["trials"], strict=True):
        assert a | {"seconds": 0} == b | {"seconds": 0}
    said = refused("sweep", *options, "--grid", "l2=0,0.1", "--checkpoint", "run", "--resume")
    assert "another population" in said
    assert "give resume=True" in refused(*asked)


BAD = [
    (("--grid", "hiden=3"), "unknown option 'hiden'; did you mean 'hidden'"),
    (("--grid", "hidden"), "expected values after hidden="),
    (("--grid", "hidden=3,,4"), "expected values after hidden="),
    (("--grid", "hidden=x"), "expected sizes of layers"),
    (("--grid", "l2=-1"), "-1.0 is not in the range"),
    (("--grid", "optimizer=adm"), "did you mean 'adam'"),
    (("--grid", "l2=1", "--grid", "l2=2"), "l2 is there twice"),
    (("--grid", "l2=1", "--l2", "3"), "--l2 is in --grid, too"),
    (("--grid", "l2=1", "--resume"), "--resume goes with --checkpoint"),
    (("--grid", "l2=1", "--by", "test_mine"), "nothing tells whether"),
    (("--grid", "l2=1", "--cv", "1"), "1 is not in the range"),
    (("--grid", "l2=1", "--seeds", "0"), "0 is not in the range"),
    ((), "Missing option '--grid'"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=lambda v: " ".join(v)[:30])
def test_wrong_use_is_answered(homes: Path, args: Any, message: str) -> None:
    result = run("sweep", "homes.csv", "--target", "price", *args)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())


def test_bad_data_is_refused_before_anything_is_trained(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_trial", None)
    grid = ("--grid", "loss=mse,cross_entropy")
    assert "needs classes" in refused("sweep", "homes.csv", "--target", "price", *grid)
    assert "did you mean 'price'" in refused("cv", "homes.csv", "--target", "prce")
    assert "no score 'test_f1'" in refused("cv", "homes.csv", "--target", "sold", "--by", "test_f1")
    assert "121 folds need" in refused("cv", "homes.csv", "--target", "price", "--folds", 121)
    assert "is what is read here" in refused(
        "sweep", "homes.csv", "--target", "price", "--grid", "l2=1", "--out", "homes.csv"
    )


# --- ensembles ------------------------------------------------------------------------------------


@pytest.fixture
def ensemble(homes: Path) -> fn.Ensemble:
    table = fn.data.load("homes.csv", target="sold").joined()[0].without(["price"])
    made = fn.tables.train(table, "sold", n_estimators=3, epochs=5, backend="numpy", hidden=8)
    made.save("ensemble.safetensors")
    return made


def test_the_commands_take_an_ensemble(ensemble: fn.Ensemble) -> None:
    header, rows = predictions("ensemble.safetensors", "homes.csv")
    assert header == ["prediction", "probability_no", "probability_yes"]
    data = fn.data.load("homes.csv", target="sold")
    mean = ensemble.predict(data.x)
    assert np.array_equal(np.array(rows)[:, 1:].astype(np.float32), mean)
    assert [row[0] for row in rows] == ensemble.predict_labels(data.x).tolist()
    said = json.loads(succeed("evaluate", "ensemble.safetensors", "homes.csv", "--json", *NUMPY))
    scores = ensemble.evaluate(data)
    assert {name: said["metrics"][name] for name in scores} == scores
    assert sum(row["rows"] for row in said["classes"]) == ROWS
    text = succeed("info", "ensemble.safetensors")
    assert "of 3 networks; what follows is the first" in text
    content = json.loads(succeed("info", "ensemble.safetensors", "--json"))
    assert content["ensemble"] == {"members": 3, "temperature": None}


def test_a_calibrated_ensemble_says_so(ensemble: fn.Ensemble) -> None:
    data = fn.data.load("homes.csv", target="sold")
    temperature = ensemble.calibrate(data)
    ensemble.save("ensemble.safetensors")
    said = json.loads(succeed("evaluate", "ensemble.safetensors", "homes.csv", "--json", *NUMPY))
    before = ensemble.uncalibrated().evaluate(data)
    assert said["calibration"]["temperature"] == temperature
    assert said["calibration"]["before"]["loss"] == before["loss"] > said["metrics"]["loss"]
    assert "together, at temperature" in succeed("info", "ensemble.safetensors")


def test_the_predictions_of_an_ensemble_are_drawn(ensemble: fn.Ensemble) -> None:
    ensemble.temperature = 30.0  # the labels stay, and all probabilities are near a half
    ensemble.save("ensemble.safetensors")
    said = succeed("plot", "ensemble.safetensors", "homes.csv", "--out", "p.svg", *NUMPY)
    assert said.startswith("p.svg: ") and Path("p.svg").stat().st_size > 1000
    data = fn.data.load("homes.csv", target="sold")
    confusion, calibration = plot_predictions(ensemble, data.x, data.y).axes[:2]
    assert [label.get_text() for label in confusion.get_xticklabels()] == ["no", "yes"]
    labels = ensemble.predict_labels(data.x)
    said = json.loads(succeed("evaluate", "ensemble.safetensors", "homes.csv", "--json", *NUMPY))
    counts = [int(text.get_text()) for text in confusion.texts]
    assert sum(counts[::3]) == round(said["metrics"]["accuracy"] * ROWS)
    assert sum(counts[1::2]) == np.count_nonzero(labels == "yes")
    confidences = calibration.lines[-1].get_xdata()
    assert max(confidences) < 0.6


def test_an_ensemble_is_exported(ensemble: fn.Ensemble) -> None:
    for to, row in FORMATS.items():
        said = succeed("export", "ensemble.safetensors", "--to", to)
        assert said.startswith(f"ensemble{row.suffix}: ")
    assert "ensemble_jacobian" in succeed(
        "export", "ensemble.safetensors", "--to", "c", "--jacobian"
    )
    module = runpy.run_path("ensemble.py")
    with Path("homes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    x = module["encode"]({name: [row[name] for row in rows] for name in rows[0]})
    _, answers = predictions("ensemble.safetensors", "homes.csv")
    wanted = np.array(answers)[:, 1:].astype(np.float32)
    assert_close(module["predict"](x), wanted, terms=50)
    assert module["predict_labels"](x) == [answer[0] for answer in answers]
    with pytest.raises(AssertionError):
        assert_close(module["answer_0"](x), wanted, terms=50)


def test_what_an_ensemble_cannot_do_is_said(ensemble: fn.Ensemble) -> None:
    result = run("evaluate", "ensemble.safetensors", "homes.csv", "--loss", "cross_entropy")
    assert result.exit_code == 2
    assert "by its own loss" in result.stderr
    for option in (("--fixed", "int8"), ("--fixed", "q15", "--rows", "homes.csv")):
        said = refused("export", "ensemble.safetensors", "--to", "c", *option)
        assert "fixed is for one network, and this is an ensemble" in said
    Path("broken.safetensors").write_bytes(Path("ensemble.safetensors").read_bytes()[:200])
    assert "broken.safetensors" in refused("predict", "broken.safetensors", "homes.csv")


@pytest.mark.parametrize("target", ["sold", "price"])
def test_training_makes_an_ensemble(homes: Path, target: str) -> None:
    drop = "price" if target == "sold" else "sold"
    options = ("homes.csv", "--target", target, "--drop", drop, "--epochs", 200, "--hidden", 8)
    text = succeed("train", *options, "--n-estimators", 4, "--validation", 0.25, *NUMPY)
    score = "accuracy" if target == "sold" else "r2"
    found = re.search(rf"out-of-fold {score} (\S+) \(120 rows\)", text)
    assert found is not None
    assert "ensemble of 4 networks model.safetensors" in text
    loaded = fn.Ensemble.load("model.safetensors")
    assert len(loaded) == 4
    said = json.loads(succeed("evaluate", "model.safetensors", "homes.csv", "--json", *NUMPY))
    assert said["metrics"][score] > 0.5
    header, _ = predictions("model.safetensors", "homes.csv")
    assert header[0] == "prediction"
    for option in (("--calibrate",), ("--html", "x.html"), ("--checkpoint", "run")):
        result = run("train", *options, "--n-estimators", 2, *option)
        assert result.exit_code == 2
        assert f"{option[0]} does not go with --n-estimators" in result.stderr


def test_the_best_preset_is_an_ensemble(homes: Path) -> None:
    options = ("homes.csv", "--target", "price", "--drop", "sold", "--preset", "tabular-best")
    text = succeed("train", *options, "--epochs", 2, *NUMPY)
    assert "120 rows; 6 networks of" in text
    assert "out-of-fold r2" in text
    loaded = fn.Ensemble.load("model.safetensors", backend="numpy")
    table = fn.data.load("homes.csv", target="price").joined()[0].without(["sold"])
    same = fn.tables.train(table, "price", preset="tabular-best", epochs=2, backend="numpy")
    # The command learns the encoding without the rows of the first member's validation.
    assert [len(net.layers) for net in loaded] == [len(net.layers) for net in same]
    result = run("cv", *options)
    assert result.exit_code == 2
    assert "each trial is one network: take --preset tabular or tabular-piecewise" in " ".join(
        result.stderr.split()
    )
    with pytest.raises(fn.InputError, match="fastnet.tables.train and the command"):
        fn.tables.fit_many(table, "price", preset="tabular-best", epochs=1)


def test_arrays_make_an_ensemble_too(homes: Path) -> None:
    text = succeed(
        "train", "digits", "--n-estimators", 2, "--epochs", 2, "--validation", 0.2, *NUMPY
    )
    assert "out-of-fold accuracy" in text
    assert np.isfinite(fn.Ensemble.load("model.safetensors").predict(fn.data.load("digits"))).all()


def test_a_value_that_is_tried_twice_is_refused(homes: Path) -> None:
    options = ("--target", "price", "--epochs", "1", *NUMPY)
    for grid, text in (("hidden=8,16,8", "hidden=8"), ("l2=0.1,1e-1", "l2=1e-1")):
        said = run("sweep", "homes.csv", "--grid", grid, *options).output
        assert f"{text} is there twice" in said


def test_settings_with_the_name_of_a_score_are_compared_and_shown(homes: Path) -> None:
    options = ("--target", "price", "--cv", "2", "--epochs", "3", "--drop", "sold", *NUMPY)
    tried = ("sweep", "homes.csv", "--grid", "loss=mae,mse", *options)
    assert "different losses, MAE() and MSE()" in refused(*tried)
    found = json.loads(succeed(*tried, "--by", "test_r2", "--json"))
    assert [row["param_loss"] for row in found["means"]] == ["mae", "mse"]
    assert [row["members"] for row in found["means"]] == [2, 2]
    said = succeed(*tried, "--by", "test_r2", "--out", "best.safetensors")
    chosen = re.search(r"--loss (\w+)", said)
    assert chosen is not None
    assert chosen[1] == found["best"]["param_loss"]
    loss = fn.load("best.safetensors").loss
    assert loss is not None
    assert loss.name == chosen[1]
    epochs = ("sweep", "homes.csv", "--target", "price", "--grid", "epochs=3,30", "--cv", "3")
    means = trials_of(*epochs, "--early-stopping", "1", "--learning-rate", "0.3")["means"]
    assert [(row["param_epochs"], row["members"]) for row in means] == [(3, 3), (30, 3)]


def test_a_sweep_goes_on_with_other_threads_and_from_another_place(
    homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Path("homes.csv").read_text(encoding="utf-8").splitlines()
    write("held", lines[:40])
    options = ("--grid", "l2=0,1", "--target", "price", "--epochs", "2", "--json", *NUMPY)
    held = ("--validation-data", "held.csv", "--checkpoint", "run")
    first = json.loads(succeed("sweep", "homes.csv", *options, *held))
    monkeypatch.setattr(trials, "_trial", None)  # nothing is trained again
    again = ("sweep", homes / "homes.csv", *options, *held, "--resume", "--threads", "1")
    assert json.loads(succeed(*again))["trials"] == first["trials"]
    write("held", lines[:30])
    assert "another population" in refused(*again)
    said = refused("cv", "homes.csv", "--target", "price", "--checkpoint", "run", *NUMPY)
    assert "(or --resume)" in said


def test_trials_that_all_diverged_are_no_missing_score(homes: Path) -> None:
    wild = ("--optimizer", "sgd", "--learning-rate", "1e30", "--epochs", "9", "--hidden", "8")
    said = refused("cv", "homes.csv", "--target", "price", *wild, *NUMPY, "--folds", "2", "--quiet")
    assert "all of them diverged" in said


def test_settings_are_said_as_options_take_them(homes: Path) -> None:
    options = ("--cv", "2", "--epochs", "1", "--quiet", *NUMPY)
    said = succeed("sweep", "homes.csv", "--target", "price", "--grid", "hidden=none", *options)
    assert "--hidden none" in said
    said = succeed(
        "sweep", "homes.csv", "--target", "sold", "--grid", "class-weight=no=2", *options
    )
    assert "--class-weight no=2" in said


def test_the_scores_of_an_ensemble_have_the_metrics_that_are_asked_for(homes: Path) -> None:
    options = ("--n-estimators", "2", "--epochs", "2", "--validation", "0.5", *NUMPY)
    said = succeed("train", "homes.csv", "--target", "sold", "--metric", "f1", *options)
    assert "out-of-fold f1" in said


def test_trials_are_trained_where_an_executor_says(homes: Path) -> None:
    options = ("--target", "price", "--drop", "sold", "--epochs", "3", "--hidden", "8", *NUMPY)
    for command in (("sweep", "--grid", "l2=0,1", "--cv", "2"), ("cv", "--folds", "3")):
        call = (command[0], "homes.csv", *command[1:], *options, "--json")
        here = json.loads(succeed(*call))
        there = json.loads(succeed(*call, "--executor", "processes:2"))
        for one in (here, there):
            for row in (*one["trials"], *one["means"], one["best"]):
                row.pop("seconds", None)
        assert there == here
        assert "executor must be 'processes', 'processes:4'" in refused(*call, "--executor", "ray")
