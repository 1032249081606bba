"""``info``, ``evaluate``, ``predict`` and ``export``: what is done with a model."""

from __future__ import annotations

import csv
import json
import re
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from fastnet import data
from tests.cli.calling import NUMPY, predictions, refused, succeed


@pytest.fixture
def flowers(empty_folder: None) -> str:
    """A table with two numbers, a category and three species; returns the file's name."""
    rng = np.random.default_rng(0)
    lines = ["length,width,colour,species"]
    for _ in range(60):
        for k, species in enumerate(("rosa", "iris [blue]", "café, wild")):
            size = rng.normal(2.0 * k, 0.3, size=2)
            colour = rng.choice(["red", "white"]) if k else "blue"
            lines.append(f'{size[0]},{size[1]},{colour},"{species}"')
    Path("flowers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "flowers.csv"


@cache
def trained() -> bytes:
    """Return a model of the flowers, which are in the current folder."""
    succeed("train", "flowers.csv", "--target", "species", "--epochs", 60, "--batch-size", 16,
            "--hidden", "8", "--learning-rate", 0.01, "--seed", 7, "--out", "flowers.safetensors",
            *NUMPY)  # fmt: skip
    return Path("flowers.safetensors").read_bytes()


@pytest.fixture
def model(flowers: str) -> str:
    """A model of the flowers, of which the first test trains it for all."""
    Path("flowers.safetensors").write_bytes(trained())
    return "flowers.safetensors"


# --- info -----------------------------------------------------------------------------------------


def test_info_shows_layers_names_and_columns(model: str) -> None:
    text = succeed("info", model)
    facts = dict(line.split(maxsplit=1) for line in text.split("\n\n")[0].splitlines())
    assert facts["parameters"] == "75 float32"
    assert facts["seed"] == "7"
    assert facts["inputs"] == "5, made of a table's columns"
    assert facts["outputs"] == "3 (softmax)"
    assert facts["labels"] == "'café, wild', 'iris [blue]', 'rosa'"
    assert facts["columns"] == "length, width, colour (3 categories)"
    assert facts["target"] == "species"
    assert f"{Path(model).stat().st_size:,} bytes" in facts["model"]
    rows = [line.split() for line in text.splitlines() if line.startswith(("0 ", "1 "))]
    assert rows == [
        ["0", "dense", "gelu", "5", "->", "8", "48"],
        ["1", "dense", "softmax", "8", "->", "3", "27"],
    ]


def test_info_as_json_is_everything_but_the_weights(model: str) -> None:
    content = json.loads(succeed("info", model, "--json"))
    net = fn.load(model, backend="numpy")
    assert content["label_names"] == list(net.label_names)
    description, arrays = net.preprocessor.description()
    stored = {name: values.tolist() for name, values in arrays.items()}
    assert content["preprocessor"] == {"kind": "TablePreprocessor"} | description | stored
    assert content["layers"][0]["units"] == 8
    assert content["bytes"] == Path(model).stat().st_size
    assert (content["inputs"], content["outputs"], content["parameters"]) == (5, 3, 75)


def test_info_knows_every_layer_and_a_model_without_names() -> None:
    layers = [fn.Dense(4), fn.BatchNorm("relu"), fn.Dropout(0.5), fn.LayerNorm("tanh")]
    fn.Network([*layers, fn.Dense(1)], inputs=2, backend="numpy").save("plain.safetensors")
    text = succeed("info", "plain.safetensors")
    for name in ("0  dense", "1  batch norm", "2  dropout 0.5", "3  layer norm", "4  dense"):
        assert f"\n{name} " in text
    assert "labels" not in text
    assert "columns" not in text


def test_info_shows_control_characters_escaped() -> None:
    net = fn.Network([2, 2], output_activation="softmax", backend="numpy")
    net.label_names = ("a\x1b[31mred", "b\r\nc")
    net.save("odd.safetensors")
    text = succeed("info", "odd.safetensors")
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text


# --- evaluate -------------------------------------------------------------------------------------


def test_evaluate_is_what_the_library_says(model: str, flowers: str) -> None:
    result = json.loads(succeed("evaluate", model, flowers, "--json", *NUMPY))
    net = fn.load(model, backend="numpy")
    rows = data.load(flowers, target="species")
    names = ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "calibration_error"]
    assert result["metrics"] == net.evaluate(rows.x, rows.y, metrics=names)
    assert result["metrics"]["accuracy"] > 0.95
    assert result["rows"] == 180
    assert [row["class"] for row in result["classes"]] == list(net.label_names)
    for name in ("precision", "recall", "f1"):
        by_class = [row[name] for row in result["classes"]]
        assert np.mean(by_class) == pytest.approx(result["metrics"][name], abs=1e-12)


def test_evaluate_writes_a_line_for_each_metric_and_a_row_for_each_class(
    model: str, flowers: str
) -> None:
    args = ("--target", "species", "--metric", "f1", *NUMPY)
    lines = succeed("evaluate", model, flowers, *args).splitlines()
    assert lines[0] == "flowers.csv: 180 rows"
    assert [line.split()[0] for line in lines[1:8]] == [
        "loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1",
        "calibration_error",
    ]  # fmt: skip
    row = next(line for line in lines if line.startswith("iris [blue] "))
    assert row.split()[2] == "60"


def test_evaluate_of_numbers_has_errors_and_no_classes() -> None:
    x = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    np.savez("line.npz", x=x, y=2 * x[:, 0] + 0.25)
    succeed("train", "line.npz", "--epochs", 3, "--quiet", *NUMPY)
    result = json.loads(succeed("evaluate", "model.safetensors", "line.npz", "--json", *NUMPY))
    assert set(result["metrics"]) == {"loss", "r2", "mae", "rmse"}
    assert "classes" not in result


def test_evaluate_asks_for_the_loss_where_outputs_are_no_predictions() -> None:
    x = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
    np.savez("line.npz", x=x, y=2 * x[:, 0] + 0.25)
    succeed("train", "line.npz", "--loss", "gaussian_nll", "--epochs", 1, "--quiet", *NUMPY)
    args = ("evaluate", "model.safetensors", "line.npz", *NUMPY)
    assert "r2 " in succeed(*args)  # the loss is stored with the model
    net = fn.load("model.safetensors", backend="numpy")
    net.loss = None
    net.save("model.safetensors")
    assert "name its loss with --loss" in refused(*args)
    assert "r2 " in succeed(*args, "--loss", "gaussian_nll")


def test_two_classes_by_one_output_are_evaluated_and_predicted() -> None:
    Path("two.csv").write_text("a,t\n" + "0.1,no\n0.9,yes\n" * 20, encoding="utf-8")
    succeed("train", "two.csv", "--target", "t", "--loss", "binary_cross_entropy",
            "--epochs", 100, "--batch-size", 8, "--quiet", *NUMPY)  # fmt: skip
    result = succeed("evaluate", "model.safetensors", "two.csv", *NUMPY)
    assert "accuracy 1.0000\n" in result
    assert "roc_auc 1.0000\n" in result
    header, rows = predictions("model.safetensors", "two.csv")
    assert header == ["prediction", "probability_no", "probability_yes"]
    assert [row[0] for row in rows] == ["no", "yes"] * 20
    assert all(abs(float(row[1]) + float(row[2]) - 1) < 1e-6 for row in rows)


def test_evaluate_without_the_target_says_what_is_missing(model: str) -> None:
    Path("new.csv").write_text("length,width,colour\n1,2,red\n", encoding="utf-8")
    said = refused("evaluate", model, "new.csv", *NUMPY)
    assert "new.csv has no column 'species' to compare with" in said
    said = refused("evaluate", model, "new.csv", "--target", "specie", *NUMPY)
    assert "no column 'specie'" in said


# --- predict --------------------------------------------------------------------------------------


def test_predict_writes_labels_and_probabilities_exactly(model: str, flowers: str) -> None:
    result = succeed("predict", model, flowers, *NUMPY)
    assert result == "predictions.csv: predictions for 180 rows of flowers.csv\n"
    header, *rows = csv.reader(Path("predictions.csv").read_text(encoding="utf-8").splitlines())
    net = fn.load(model, backend="numpy")
    names = net.label_names
    assert header == ["prediction", *(f"probability_{name}" for name in names)]
    expected = net.predict(data.load(flowers, target="species").x)
    assert np.array_equal(np.array([row[1:] for row in rows], dtype=np.float32), expected)
    assert [row[0] for row in rows] == [names[k] for k in expected.argmax(axis=1)]


def test_predict_finds_columns_by_name_and_needs_no_target(model: str, flowers: str) -> None:
    lines = Path(flowers).read_text(encoding="utf-8").splitlines()[1:4]
    mixed = "colour,extra,width,length\n"
    for line in lines:
        length, width, colour = line.split(",")[:3]
        mixed += f"{colour},9,{width},{length}\n"
    Path("mixed.csv").write_text(mixed, encoding="utf-8")
    assert predictions(model, "mixed.csv")[1] == predictions(model, flowers)[1][:3]


def test_predict_of_float64_has_all_its_digits() -> None:
    x = np.linspace(-1, 1, 50)[:, None]
    np.savez("line.npz", x=x, y=2 * x[:, 0] + 0.25)
    succeed("train", "line.npz", "--epochs", 1, "--dtype", "float64", "--quiet", *NUMPY)
    header, rows = predictions("model.safetensors", "line.npz")
    assert header == ["prediction"]
    expected = fn.load("model.safetensors", backend="numpy").predict_columns(x)
    assert np.array_equal(np.array(rows, dtype=np.float64), expected)


@pytest.mark.parametrize("out", [(), ("--out", "given.csv")], ids=["default", "given"])
def test_predict_replaces_a_file_on_demand_only(
    out: tuple[str, ...], model: str, flowers: str
) -> None:
    file = Path(out[1] if out else "predictions.csv")
    file.write_text("old", encoding="utf-8")
    said = refused("predict", model, flowers, *out, *NUMPY)
    assert f"{file} is there already: give --force to replace it, or another --out" in said
    assert file.read_text(encoding="utf-8") == "old"
    succeed("predict", model, flowers, *out, "--force", *NUMPY)
    assert file.read_text(encoding="utf-8").startswith("prediction,")


def test_predict_never_replaces_what_it_reads(model: str, flowers: str) -> None:
    for path in (flowers, model):
        before = Path(path).read_bytes()
        said = refused("predict", model, flowers, "--out", path, "--force", *NUMPY)
        assert f"{path} is what is read here" in said
        assert Path(path).read_bytes() == before


def test_a_link_keeps_pointing_where_it_points(model: str, flowers: str) -> None:
    Path("store").mkdir()
    Path("store/real.csv").write_text("old", encoding="utf-8")
    Path("link.csv").symlink_to("store/real.csv")
    succeed("predict", model, flowers, "--out", "link.csv", "--force", *NUMPY)
    assert Path("link.csv").is_symlink()
    assert Path("store/real.csv").read_text(encoding="utf-8").startswith("prediction,")
    assert sorted(path.name for path in Path("store").iterdir()) == ["real.csv"]


def test_predict_writes_into_a_device(model: str, flowers: str) -> None:
    succeed("predict", model, flowers, "--out", "/dev/null", *NUMPY)
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("length,colour,species\n1,red,rosa\n", "has no column 'width'"),
        ("length,width,colour,species\n1,2\n", "line 2: expected 4 cells, got 2"),
        (
            "length,width,colour,species\n1,two,red,rosa\n",
            "column 'width' must hold numbers, got 'two' in row 1",
        ),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_data_that_do_not_fit_are_one_line(
    command: str, content: str, problem: str, model: str
) -> None:
    Path("new.csv").write_text(content, encoding="utf-8")
    assert problem in refused(command, model, "new.csv", *NUMPY)
    assert not Path("predictions.csv").exists()


@pytest.mark.parametrize("command", ["evaluate", "plot"])
@pytest.mark.parametrize(
    ("y", "cell", "said"),
    [
        ([2, 0, 1], "perhaps", r", row 4, column 'y': the label 'perhaps' is none of the known"),
        ([2, 0, 1], "", r": the target 'y' is missing in row 4"),
        ([2.5, 0.25, 7.0], "perhaps", r": column 'y' must hold numbers, got 'perhaps' in row 4"),
        ([2.5, 0.25, 7.0], "", r": the target 'y' is missing in row 4"),
    ],
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_what_is_wrong_with_a_target_is_said_by_the_name_of_the_file(
    command: str, y: list[float], cell: str, said: str, known: bool
) -> None:
    x = np.arange(3.0)[:, None]
    np.savez("few.npz", x=x, y=y)
    if known:
        succeed("train", "few.npz", "--epochs", 1, "--out", "model.safetensors", *NUMPY)
    else:  # a model of the library knows no target
        output, outputs = ("softmax", 3) if y[0] == 2 else ("identity", 1)
        net = fn.Network([1, outputs], output_activation=output, backend="numpy")
        net.fit(x, y, epochs=1)
        net.save("model.safetensors")
    rows = "".join(f"{k},{y[0]}\n" for k in range(3))
    Path("rows.csv").write_text(f"x,y\n{rows}3,{cell}\n", encoding="utf-8")
    out = ("--out", "picture.svg") if command == "plot" else ()
    found = refused(command, "model.safetensors", "rows.csv", "--target", "y", *out)
    assert re.search(rf"rows\.csv{said}", found), found


def test_predict_does_not_look_at_targets() -> None:
    net = fn.Network([1, 3], output_activation="softmax", backend="numpy")
    net.save("model.safetensors")
    np.savez("rows.npz", x=np.ones((2, 1)), y=[5, -3])
    assert "2 rows of rows.npz" in succeed(
        "predict", "model.safetensors", "rows.npz", "--out", "p.csv"
    )
    said = refused("evaluate", "model.safetensors", "rows.npz")
    assert "rows.npz, row 1, column 'y': the label '5' is none of" in said


def test_numbers_that_are_missing_are_said_by_the_name_of_the_file_too() -> None:
    net = fn.Network([2, 1], backend="numpy")
    net.save("model.safetensors")
    Path("rows.csv").write_text("a,b\n1,2\n3,\n", encoding="utf-8")
    said = refused("predict", "model.safetensors", "rows.csv", "--out", "-")
    assert "error: rows.csv holds nan at row 1, column 1" in said


def test_a_target_whose_deviation_is_infinite_is_said_by_name_in_training() -> None:
    Path("rows.csv").write_text("a,b\n1,-1e300\n2,1e300\n3,4\n", encoding="utf-8")
    said = refused("train", "rows.csv", "--target", "b", *NUMPY)
    assert "rows.csv: the target 'b' is too large to be scaled" in said


def test_a_built_in_data_set_of_another_width_is_refused(model: str) -> None:
    assert "expected 3 columns, got 64" in refused("predict", model, "digits", *NUMPY)


def test_a_split_that_is_not_there_is_refused(model: str, flowers: str) -> None:
    said = refused("predict", model, flowers, "--split", "test", *NUMPY)
    assert "flowers.csv has no test split" in said


# --- export ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "file", "usage"),
    [
        ("c", "flowers.c", "cc -O3 -c flowers.c"),
        ("numpy", "flowers.py", "its function predict("),
        ("onnx", "flowers.onnx", "onnxruntime.InferenceSession('flowers.onnx')"),
        ("torch", "flowers.torch.safetensors", "model.load_state_dict("),
    ],
)
def test_export_writes_the_file_and_how_it_is_used(
    model: str, to: str, file: str, usage: str
) -> None:
    text = succeed("export", model, "--to", to)
    assert text.startswith(f"{file}: ")
    assert usage in text
    assert Path(file).stat().st_size > 100


def test_export_takes_the_name_of_the_model(model: str, flowers: str) -> None:
    assert succeed("export", model, "--to", "numpy").startswith("flowers.py: ")
    module = runpy.run_path("flowers.py")
    net = fn.load(model, backend="numpy")
    with Path(flowers).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    x = {name: [row[name] for row in rows] for name in rows[0]}
    assert module["LABELS"] == net.label_names
    expected = net.predict(data.load(flowers, target="species").x)
    inputs = module["encode"](x)
    np.testing.assert_allclose(module["predict"](inputs), expected, rtol=1e-5, atol=1e-6)
    labels = [net.label_names[k] for k in expected.argmax(axis=1)]
    assert module["predict_labels"](inputs) == labels


def test_export_does_not_replace_the_model(model: str) -> None:
    assert "is what is read here" in refused("export", model, "--to", "numpy", "--out", model)
    fn.load(model, backend="numpy")
