"""Tables with what came before them: reports, pictures, calibration, checkpoints, gradients."""

from __future__ import annotations

import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import fastnet as fn
from fastnet.cli import group
from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.decisions import Decisions
from fastnet.data import Chunks
from fastnet.plotting import plot_predictions
from fastnet.preprocessing.base import Passthrough
from fastnet.tables import TableTarget, read_frame
from fastnet.training.budget import Budget
from tests.cli.calling import succeed
from tests.closeness import assert_close
from tests.tables.test_networks import INPUTS, TABLE, fitted

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

PRESET = ("--preset", "tabular", "--hidden", "16")
PLAIN = ("--hidden", "16", "--validation", "0.2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    TABLE[[*INPUTS, "class"]].to_csv("classes.csv", index=False)
    TABLE[[*INPUTS, "price"]].to_csv("prices.csv", index=False)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype("f4")
    np.save("numbers.npy", np.column_stack([x, x @ [1.0, -2.0, 0.5]]))
    np.save("labels.npy", np.column_stack([x, 10 * (x[:, 0] > 0) + 5]))
    return tmp_path


def run(*arguments: object) -> Result:
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(group, [*words, "--backend", "numpy"], prog_name="fastnet")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def train(*arguments: object, epochs: int = 12) -> str:
    result = run("train", *arguments, "--epochs", epochs, "--learning-rate", "0.02")
    assert result.exit_code == 0, result.output + result.stderr
    return result.stdout


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


# --- the commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PRESET, PLAIN], ids=["preset", "table"])
def test_a_table_of_classes_has_every_output_of_training(
    kind: tuple[str, ...], folder: Path
) -> None:
    out = train(
        *("classes.csv", "--target", "class", *kind, "--class-weight", "balanced"),
        *("--metric", "f1", "--html", "r.html", "--log", "l.jsonl", "--calibrate"),
        *("--checkpoint", "run", "--checkpoint-every", 5),
    )
    assert "calibrated at temperature" in out
    before, after = map(float, re.findall(r"loss (\S+) -> ([\d.]+)", out)[0])
    assert after < before  # without label smoothing, with which surer answers cost more
    said = run("evaluate", "model.safetensors", "classes.csv").stdout
    assert re.search(r"loss \S+ \(\S+ before calibration\)", said)
    assert "validation f1" in out
    page = Path("r.html").read_text(encoding="utf-8")
    text = text_of(page)
    assert "48 validation rows" in text
    assert re.search(r"cheap dear cheap \d+ \d+ dear \d+ \d+", text)  # the matrix has names
    assert "Calibration" in text
    assert len(fn.History.read("l.jsonl")["val_f1"]) == 12
    assert list(Path("run").iterdir())


def test_a_table_of_numbers_has_every_output_of_training(folder: Path) -> None:
    out = train(
        *("prices.csv", "--target", "price", *PRESET, "--metric", "mae", "--html", "r.html"),
    )
    mae = float(re.findall(r"validation mae (\S+)", out)[0])
    assert 20 < mae < 3000  # in the unit of the price
    page = text_of(Path("r.html").read_text(encoding="utf-8"))
    assert "residuals of price" in page
    assert "8-16-1 (mish, identity)" in page  # what the preset chose
    assert "adam, learning rate 0.02 (cos_log)" in page
    assert re.search(r"\b[5-9],?000\b", page)  # the axes are in the unit of the price


def test_calibration_refuses_numbers_and_needs_rows_held_back(folder: Path) -> None:
    said = run("train", "prices.csv", "--target", "price", *PRESET, "--calibrate")
    assert said.exit_code == 1
    assert "--calibrate goes with classes" in said.stderr
    for none in (("--epochs", 2), ("--validation", 0)):
        said = run("train", "classes.csv", "--target", "class", "--calibrate", *none)
        assert said.exit_code == 2
        assert "--calibrate needs rows held back" in said.stderr
    Path("few.csv").write_text("x,y\n" + "1,a\n2,b\n" * 40, encoding="utf-8")
    said = run("train", "few.csv", "--target", "y", "--calibrate")
    assert "--calibrate needs rows held back" in said.stderr  # fewer than 100 are all trained on


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("classes.csv", ("--target", "class", *PRESET)),
        ("prices.csv", ("--target", "price", *PRESET)),
        ("prices.csv", ("--target", "price", *PLAIN, "--early-stopping", "3")),
        ("numbers.npy", ("--target", "-1", "--chunk-rows", "64")),
        ("labels.npy", ("--target", "-1", "--chunk-rows", "64")),
    ],
    ids=["classes", "prices", "stopping", "block numbers", "block labels"],
)
def test_a_run_that_was_ended_goes_on_to_the_same_model(
    data: str, options: tuple[str, ...], folder: Path
) -> None:
    if "--preset" not in options:
        options = (*options, "--schedule", "constant")
    train(data, *options, "--out", "alone.safetensors", "--quiet")
    kept = ("--checkpoint", "run", "--checkpoint-every", "2", "--resume", "--quiet")
    more = () if "--preset" in options else ("--checkpoint", "run")
    if more:  # a cosine and a preset's schedule depend on the number of epochs
        train(data, *options, *kept, "--out", "m.safetensors", epochs=5)
    else:
        train(data, *options, *kept, "--out", "m.safetensors")
        newest = max(Path("run").iterdir())
        newest.unlink()  # as if it had been killed before the last one
    train(data, *options, *kept, "--out", "m.safetensors")
    assert Path("m.safetensors").read_bytes() == Path("alone.safetensors").read_bytes()
    other = run("train", data, *options, *kept, "--epochs", "12", "--learning-rate", "0.03")
    assert other.exit_code == 1
    assert "checkpoints of another run" in other.stderr


def test_another_category_is_another_run(folder: Path) -> None:
    options = ("--target", "class", *PLAIN, "--checkpoint", "run", "--resume", "--quiet")
    train("classes.csv", *options)
    text = Path("classes.csv").read_text(encoding="utf-8").replace("flat", "apartment")
    Path("classes.csv").write_text(text, encoding="utf-8")
    result = run("train", "classes.csv", *options, "--epochs", 12, "--learning-rate", "0.02")
    assert "is apartment here and flat there" in result.stderr


@pytest.mark.parametrize(("name", "target"), [("classes", "class"), ("prices", "price")])
@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture_of_a_model_of_a_table(name: str, target: str, suffix: str, folder: Path) -> None:
    train(f"{name}.csv", "--target", target, *PLAIN, "--quiet")
    result = run("plot", "model.safetensors", f"{name}.csv", "--out", f"p.{suffix}")
    assert result.exit_code == 0, result.stderr
    if suffix == "svg":
        drawn = Path("p.svg").read_text(encoding="utf-8")
        for label in ("cheap", "dear") if name == "classes" else ("price", "residuals of price"):
            assert f"<!-- {label} -->" in drawn


@pytest.mark.parametrize(
    ("loss", "columns"),
    [
        ("gaussian_nll", ["prediction", "prediction_std"]),
        ("quantile", [f"prediction_quantile_{q}" for q in (0.1, 0.5, 0.9)]),
    ],
)
def test_uncertain_predictions_of_a_table_are_in_its_unit(
    loss: str, columns: list[str], folder: Path
) -> None:
    table = TABLE[[*INPUTS, "price"]]
    table.to_csv("t.csv", index=False)
    options = ("--target", "price", *PLAIN, "--loss", loss, "--html", "r.html", "--quiet")
    train("t.csv", *options, epochs=80)
    result = run("predict", "model.safetensors", "t.csv", "--out", "-")
    answers = pd.read_csv(io.StringIO(result.stdout))
    assert answers.columns.tolist() == columns
    price = table["price"]
    if loss == "gaussian_nll":
        inside = (price - answers["prediction"]).abs() < 2 * answers["prediction_std"]
    else:
        inside = price.between(answers[columns[0]], answers[columns[2]])
    assert inside.mean() > 0.6
    assert "expected share" in text_of(Path("r.html").read_text(encoding="utf-8"))
    measured = json.loads(run("evaluate", "model.safetensors", "t.csv", "--json").stdout)
    net = fn.load("model.safetensors", backend="numpy")
    frame = read_frame("t.csv")
    quantiles = loss == "quantile"
    parts = (
        net.predict_quantiles(frame).values() if quantiles else net.predict(frame, return_std=True)
    )
    outputs = np.column_stack(list(parts))
    assert_close(answers.to_numpy(np.float32), outputs, terms=64)
    assert measured["metrics"]["loss"] == pytest.approx(net.evaluate(frame, "price")["loss"])


def test_a_row_of_text_codes_means_the_same_whatever_the_other_rows_are(folder: Path) -> None:
    codes = ["00501", "501", "00544", "2A004", "NA", "2B010", "2C117", "-"] * 30
    table = pd.DataFrame({"code": codes, "size": np.arange(240) % 7.0})
    table["price"] = 5000 + 300 * (table["code"] == "00501") + 10 * table["size"]
    table.to_csv("t.csv", index=False)
    train("t.csv", "--target", "price", "--task", "regression", *PLAIN, "--quiet")
    net = fn.load("model.safetensors", backend="numpy")
    expected = net.predict_columns(table.assign(code=table["code"].replace("NA", None)))
    found = net.predict_columns(read_frame("t.csv", preprocessor=net.preprocessor))
    assert_close(found, expected)
    for count in (8, 3, 1):  # with words among them, and numbers only
        Path("few.csv").write_text(table[:count].to_csv(index=False), encoding="utf-8")
        answers = run("predict", "model.safetensors", "few.csv", "--out", "-").stdout
        assert_close(np.array(answers.split()[1:], np.float32), expected[:count, 0])
    assert expected[0] != expected[49]  # "00501" and "501", of the same size
    without = net.predict(read_frame("few.csv"))  # the file decides: a number
    assert not np.array_equal(without, expected[:1, 0])


def test_labels_and_columns_of_words_are_read_as_they_were_learned(folder: Path) -> None:
    labels = ["007", "08", "x", "y", "z"] * 20
    table = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0, 5.0] * 20, "class": labels})
    table.to_csv("t.csv", index=False)
    train("t.csv", "--target", "class", *PLAIN, "--quiet")
    table[:2].to_csv("few.csv", index=False)
    assert json.loads(run("evaluate", "model.safetensors", "few.csv", "--json").stdout)
    Path("few.csv").write_text("size,class\n1,007\nbig,08\n", encoding="utf-8")
    said = run("evaluate", "model.safetensors", "few.csv").stderr
    assert "few.csv: column 'size' must hold numbers, got 'big' in row 2" in said


def test_codes_without_a_header_are_found_by_position(folder: Path) -> None:
    matrix = np.array([["01", 1.0], ["1", 2.0], ["a", 3.0]] * 20, object)
    net = fn.tables.train(matrix, np.arange(60) % 3.0, preset=None, epochs=2, backend="numpy")
    assert not net.preprocessor.named
    Path("few.csv").write_text("01,1.0\n1,2.0\n", encoding="utf-8")
    frame = read_frame("few.csv", preprocessor=net.preprocessor)
    assert np.array_equal(net.predict(frame), net.predict(matrix[:2]))
    assert not np.array_equal(net.predict(read_frame("few.csv")), net.predict(matrix[:2]))
    Path("few.csv").write_text("01,1.0,7\n", encoding="utf-8")
    with pytest.raises(fn.DataError, match=r"few\.csv: expected 2 columns, got 3"):
        read_frame("few.csv", preprocessor=net.preprocessor)


def test_several_targets_of_a_table_are_named(folder: Path) -> None:
    TABLE[[*INPUTS, "price"]].assign(rent=TABLE["price"] / 200).to_csv("t.csv", index=False)
    options = ("--target", "price,rent", *PLAIN, "--loss", "quantile", "--html", "r.html")
    train("t.csv", *options, "--quiet")
    result = run("predict", "model.safetensors", "t.csv", "--out", "-")
    assert result.stdout.splitlines()[0].split(",") == [
        f"{name}_quantile_{q}" for q in (0.1, 0.5, 0.9) for name in ("price", "rent")
    ]
    page = text_of(Path("r.html").read_text(encoding="utf-8"))
    assert "price" in page and "rent" in page
    assert run("plot", "model.safetensors", "t.csv", "--out", "p.png").exit_code == 0


def test_info_tells_the_columns_and_the_calibration(folder: Path) -> None:
    train("classes.csv", "--target", "class", *PLAIN, "--calibrate", "--quiet")
    out = succeed("info", "model.safetensors")
    names = [line.split()[0] for line in out.splitlines()[: out.splitlines().index("")]]
    assert len(set(names)) == len(names)
    assert {"inputs", "outputs", "calibrated", "columns", "target", "labels"} <= set(names)
    assert "kind (4 categories)" in out
    assert "calibrated" in out
    assert re.search(r"target\s+class", out)
    content = json.loads(succeed("info", "model.safetensors", "--json"))
    assert content["temperature"] > 0
    assert [c["name"] for c in content["preprocessor"]["columns"]] == INPUTS
    assert content["label_names"] == ["cheap", "dear"]


# --- blocks ---------------------------------------------------------------------------------------


def test_a_report_of_blocks_is_of_the_first_rows_and_says_so(folder: Path) -> None:
    options = ("--chunk-rows", "64", "--html", "r.html", "--quiet")
    train("labels.npy", "--target", "-1", *options)
    text = text_of(Path("r.html").read_text(encoding="utf-8"))
    assert "the first 64 of 300 training rows, as none were held back" in text
    counts = re.search(r"5 15 5 (\d+) (\d+) 15 (\d+) (\d+)", text)
    assert counts is not None
    assert sum(map(int, counts.groups())) == 64
    train("numbers.npy", "--target", "-1", *options)
    assert "the first 64 of 300" in text_of(Path("r.html").read_text(encoding="utf-8"))
    train("numbers.npy", "--target", "-1", "--chunk-rows", "1000", "--html", "r.html", "--quiet")
    assert "300 training rows" in text_of(Path("r.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("given", [("--calibrate",), ("--calibrate", "--validation", "0.2")])
def test_calibration_by_blocks_is_refused_in_one_sentence(
    given: tuple[str, ...], folder: Path
) -> None:
    result = run("train", "labels.npy", "--target", "-1", "--chunk-rows", "64", *given)
    assert result.exit_code == 2
    assert "does not go with --chunk-rows" in result.stderr


def test_a_part_of_a_file_is_its_rows(folder: Path) -> None:
    matrix = np.load("numbers.npy")
    chunks = Chunks("numbers.npy", target=-1, chunk_rows=10)
    how = Decisions(None, Budget.of(300))
    data = TrainingData("n", chunks, None, Passthrough(3, TableTarget.plain(("y",))), how)
    index = np.array([7, 3, 299])
    rows = data.take(index)
    assert np.array_equal(np.column_stack([rows.x, rows.y]), matrix[index])


# --- in Python ------------------------------------------------------------------------------------


def differences(net: fn.Network, x: NDArray[Any]) -> NDArray[Any]:
    """Return central differences of all outputs by the inputs that the preprocessor made."""
    raw, h = net.copy(), 1e-5
    raw.preprocessor = Passthrough(net.inputs)
    target = net.preprocessor.target
    columns = []
    for i in range(net.inputs):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[:, i] += sign * h
            outputs = raw.predict_columns(moved)
            ends.append(outputs if target is None else target.decode(outputs))
        columns.append((ends[0] - ends[1]) / (2 * h))
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("target", ["price", "class"])
@pytest.mark.parametrize("preset", [None, "tabular"])
def test_gradients_are_by_the_inputs_that_the_preprocessor_makes(
    preset: str | None, target: str, backend: Any
) -> None:
    made = fitted(target, preset=preset, dtype="float64", activation="tanh", epochs=3)
    net, rows = made._copy_to(backend, "float32"), TABLE[:70]
    x = net.preprocessor.transform(rows, np.float64)
    jacobian = net.jacobian(rows)
    expected = differences(made, x)
    assert jacobian.shape == (70, net.outputs, len(net.preprocessor.feature_names))
    scale = float(np.abs(expected).max())
    assert_close(jacobian, expected, terms=64, scale=scale * 1e5)  # what differences leave
    assert np.abs(jacobian).max() > 0.1 * scale > 0
    best = net.predict_columns(rows).argmax(axis=1)
    gradients = net.input_gradients(rows)
    assert_close(gradients, jacobian[np.arange(70), best], terms=64, scale=scale)
    assert_close(net.input_gradients(rows, 0), jacobian[:, 0], terms=64, scale=scale)


def test_quantiles_and_several_targets_have_their_units() -> None:
    table = TABLE[INPUTS].assign(price=TABLE["price"], rent=TABLE["price"] / 200)
    options: dict[str, Any] = {"epochs": 2, "hidden": (8,), "backend": "numpy", "dtype": "float64"}
    net = fn.tables.train(
        table, ["price", "rent"], preset=None, activation="tanh", loss="quantile", **options
    )
    expected = differences(net, net.preprocessor.transform(table[:20], np.float64))
    jacobian = net.jacobian(table[:20])
    for k in range(6):
        scale = float(np.abs(expected[:, k]).max())
        assert_close(jacobian[:, k], expected[:, k], terms=64, scale=scale * 1e5)


def test_a_network_of_a_table_is_calibrated() -> None:
    net = fitted("class", epochs=60, optimizer=fn.Adam(0.05))
    before = net.predict(TABLE)
    temperature = net.calibrate(TABLE, "class")
    after = net.predict(TABLE)
    assert temperature != 1
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    again = net.copy()
    assert again.calibrate(TABLE[INPUTS], TABLE["class"]) == pytest.approx(temperature, rel=1e-3)
    with pytest.raises(fn.InputError, match="only probabilities can be calibrated"):
        fitted("price").calibrate(TABLE, "price")


def test_steps_on_tables_go_on_after_a_first_fit() -> None:
    one, other = fitted(epochs=2), fitted(epochs=2)
    for net in (one, other):
        net.partial_fit(TABLE[:50], "price")
    other.partial_fit(TABLE[50:70], "price")
    assert not np.array_equal(one.parameters, other.parameters)
    one.partial_fit(TABLE[INPUTS][50:70], TABLE["price"][50:70])
    assert np.array_equal(one.parameters, other.parameters)


def moved(net: fn.Network, how: str, folder: Path) -> fn.Network:
    """Return the network after a copy, a pickle, another backend, joblib or a file."""
    match how:
        case "copy":
            return net.copy()
        case "pickle":
            again: fn.Network = pickle.loads(pickle.dumps(net))
            return again
        case "joblib":
            joblib = pytest.importorskip("joblib")
            joblib.dump(net, folder / "net.joblib")
            mapped: fn.Network = joblib.load(folder / "net.joblib", mmap_mode="r")
            return mapped
        case "file":
            net.save(folder / "m.safetensors")
            return fn.load(folder / "m.safetensors", backend="numpy")
        case _:
            return net.to(how)


HOW = ["copy", "pickle", "joblib", "file"]
HOW += [n for n, why in fn.available_backends().items() if why is None and n != "numpy"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("target", ["price", "class"])
def test_a_network_keeps_its_preprocessor_wherever_it_goes(
    target: str, how: str, tmp_path: Path
) -> None:
    net = fitted(target, preset="tabular", epochs=2, embedding_size=2)
    again = moved(net, how, tmp_path)
    outputs = net.predict(TABLE)
    assert again.label_names == net.label_names
    found = again.predict(TABLE).astype(net.dtype)
    assert_close(found, outputs, terms=4000, scale=float(np.abs(outputs).max()))
    assert again.evaluate(TABLE, target)["loss"] == pytest.approx(
        net.evaluate(TABLE, target)["loss"], rel=1e-4
    )
    before = np.array(net.parameters)
    again.fit(TABLE, target, epochs=1)
    assert np.array_equal(net.parameters, before)


def test_pictures_take_tables_and_labels() -> None:
    figure = plot_predictions(fitted("class"), TABLE[INPUTS], TABLE["class"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["cheap", "dear"]
    figure = plot_predictions(fitted("price"), TABLE, "price")
    low, high = figure.axes[0].get_ylim()
    assert low > 1000 and high < 20_000
    assert figure.axes[0].get_title() == "price"
