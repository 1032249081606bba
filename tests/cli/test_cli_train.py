"""``fastnet train``: from a table to a model file."""

from __future__ import annotations

import re
from pathlib import Path

import click
import numpy as np
import pytest

import fastnet as fn
from fastnet import data
from fastnet.cli import group
from fastnet.cli.commands.train.build import make_optimizer
from fastnet.cli.commands.train.settings import Settings
from fastnet.nn.layers import Dropout
from fastnet.nn.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    Step,
)
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.samples import split_index
from fastnet.preprocessing.scaler import Scaler
from fastnet.training.budget import Budget
from tests.cli.calling import refused, run, succeed
from tests.closeness import assert_close

QUICK = ("--backend", "numpy", "--epochs", "2")
PLAIN = ("--activation", "relu", "--optimizer", "adam", "--batch-size", "128")
"""What a `Network` and its ``fit`` do by themselves."""

BUDGET, WIDE = Budget.of(500, epochs=9), (fn.Dense(64), fn.Dense(1))


def train(*args: object) -> str:
    return succeed("train", *args, *QUICK)


@pytest.fixture
def numbers(empty_folder: Path) -> str:
    """A table with three numeric inputs and a numeric target."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=200)
    text = "a,b,c,y\n" + "".join(f"{r[0]},{r[1]},{r[2]},{t}\n" for r, t in zip(x, y, strict=True))
    Path("numbers.csv").write_text(text, encoding="utf-8")
    return "numbers.csv"


def test_train_saves_the_network_that_the_library_trains() -> None:
    result = train("digits", "--hidden", "16", "--seed", 3, "--dtype", "float64", *PLAIN)
    digits = data.load("digits")
    net = fn.Network(
        [64, 16, 10], output_activation="softmax", dtype="float64", seed=3, backend="numpy"
    )
    history = net.fit(digits.x, digits.y, epochs=2)
    loaded = fn.load("model.safetensors", backend="numpy")
    assert np.array_equal(loaded.parameters, net.parameters)
    assert loaded.label_names == tuple("0123456789")
    assert isinstance(loaded.preprocessor, Passthrough)
    assert loaded.preprocessor.target.names == digits.target_names == ("label",)
    accuracy = net.evaluate(digits.test.x, digits.test.y)["accuracy"]
    lines = result.splitlines()
    assert f"test accuracy {accuracy:.4f}" in lines
    assert f"epoch=1 loss={history['loss'][0]:.10g}" in result
    assert len([line for line in lines if line.startswith("epoch=")]) == 2
    assert any(re.fullmatch(r"time \d+\.\d\d s for 2 epochs, [\d,]+ samples/s", x) for x in lines)
    assert re.fullmatch(r"model model\.safetensors \([\d.,]+ (kB|bytes)\)", lines[-1])
    facts = dict(line.split(maxsplit=1) for line in lines[:5])
    assert facts["data"] == "digits: 1,437 rows, 64 inputs, 10 classes"
    assert facts["network"].startswith("64-16-10 (relu, softmax), 1,210 parameters, float64")
    assert facts["backend"].startswith("numpy, ")


def test_quiet_leaves_the_results() -> None:
    lines = train("digits", "--quiet").splitlines()
    assert lines[0].startswith("training loss ")
    assert lines[-1].startswith("model ")
    assert not any(line.startswith(("epoch", "data")) for line in lines)


def test_early_stopping_without_validation_takes_a_tenth_and_says_so() -> None:
    written = train("digits", "--early-stopping", "1")
    assert "0.1 of the rows for validation (for --early-stopping)" in written
    assert "validation accuracy " in written
    assert "weights of epoch 2, the best of 2" in written


def test_validation_of_zero_stays_zero() -> None:
    assert "validation" not in train("digits", "--early-stopping", 1, "--validation", 0)


def test_the_results_are_those_of_the_best_epoch() -> None:
    args = ("digits", "--early-stopping", 3, "--log", "l.jsonl", "--learning-rate", 0.3)
    written = succeed("train", *args, "--backend", "numpy", "--epochs", 30, "--hidden", 8)
    losses = fn.History.read("l.jsonl")["val_loss"]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1 < 29
    assert f"weights of epoch {best + 1}, the best of {len(losses)}" in written
    assert f"validation loss {losses[best]:.4f}" in written


def test_the_log_has_every_number_at_full_precision() -> None:
    args = ("--log", "l.jsonl", "--metric", "f1", "--validation", 0.1, "--hidden", 8)
    written = train("digits", *args, *PLAIN)
    digits = data.load("digits")
    net = fn.Network([64, 8, 10], output_activation="softmax", backend="numpy")
    expected = net.fit(digits.x, digits.y, epochs=2, validation_split=0.1, metrics=["f1"])
    assert dict(fn.History.read("l.jsonl").items()) == expected.records
    for name in ("loss", "accuracy", "f1"):
        assert re.search(rf"^test {name} [\d.]+$", written, re.MULTILINE)


def test_a_number_of_a_table_is_regressed(numbers: str) -> None:
    result = run("train", numbers, "--target", "y", "--epochs", 60, "--batch-size", 16,
                 "--backend", "numpy", "--validation", 0.2)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "inputs    columns of a table, scaled robustly" in result.stdout
    said = "target    y: regressed, by its values; else give --task classification"
    assert said in result.stdout
    assert "3 inputs, 1 output" in result.stdout
    assert "mse by adamw, learning rate 0.003 (cosine), batches of 16" in result.stdout
    assert float(re.search(r"validation r2 (\S+)", result.stdout)[1]) > 0.9
    net = fn.load("model.safetensors", backend="numpy")
    target = net.preprocessor.target
    assert (target.names, target.is_scaled) == (("y",), True)
    assert net.label_names is None


@pytest.mark.parametrize(
    ("switch", "scaling", "said"),
    [
        ((), "robust", "scaled robustly"),
        (("--standardize",), "standard", "standardised"),
        (("--no-standardize",), "none", "not scaled"),
    ],
)
@pytest.mark.parametrize("preset", [(), ("--preset", "tabular")], ids=["plain", "preset"])
def test_the_numbers_of_a_table_are_scaled_as_asked(
    switch: tuple[str, ...], scaling: str, said: str, preset: tuple[str, ...], numbers: str
) -> None:
    result = train(numbers, "--target", "y", "--hidden", "4", "--validation", 0.2, *switch, *preset)
    assert re.search(rf"^inputs +columns of a table, {said}$", result, re.MULTILINE)
    made = fn.load("model.safetensors", backend="numpy").preprocessor
    assert made.scaling == scaling

    # What the rows that train are, and no others.
    x = np.genfromtxt(numbers, delimiter=",", skip_header=1)[:, :3]
    rows = x[split_index(len(x), 0.2, seed=0)[0]]
    center, factor = {
        "robust": (np.median(rows, axis=0), 1 / np.subtract(*np.quantile(rows, [0.75, 0.25], 0))),
        "standard": (rows.mean(axis=0), rows.std(axis=0)),
        "none": (np.zeros(3), np.ones(3)),
    }[scaling]
    assert_close(made.center, center, terms=1000, scale=1.0)
    assert_close(made.factor, factor, terms=1000)
    if scaling == "none":
        assert np.array_equal(made.transform(x, np.float64), x)


def test_arrays_are_standardised_as_asked(empty_folder: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez("xy.npz", x=rng.normal(5, 3, size=(40, 3)), y=rng.normal(size=40))
    for args, kind in (
        (("digits",), Passthrough),
        (("digits", "--standardize"), Scaler),
        (("xy.npz",), Scaler),
        (("xy.npz", "--no-standardize"), Passthrough),
    ):
        train(*args)
        assert type(fn.load("model.safetensors", backend="numpy").preprocessor) is kind, args


@pytest.mark.parametrize(
    ("loss", "outputs", "activation"),
    [
        ("mse", 2, "identity"),
        ("mae", 2, "identity"),
        ("huber", 2, "identity"),
        ("poisson", 2, "exp"),
        ("gaussian_nll", 4, "identity"),
        ("quantile", 6, "identity"),
        ("binary_cross_entropy", 2, "sigmoid"),
    ],
)
def test_the_output_layer_follows_the_loss(loss: str, outputs: int, activation: str) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((40, 2)) > 0.5).astype(np.float32)
    np.savez("xy.npz", x=rng.normal(size=(40, 3)), y=y)
    train("xy.npz", "--loss", loss)
    net = fn.load("model.safetensors", backend="numpy")
    assert (net.outputs, net.plan.output_activation.name) == (outputs, activation)


def test_binary_cross_entropy_takes_two_classes_with_one_output() -> None:
    Path("two.csv").write_text("a,t\n" + "0.1,no\n0.9,yes\n" * 20, encoding="utf-8")
    train("two.csv", "--target", "t", "--loss", "binary_cross_entropy", "--label-smoothing", 0.1)
    net = fn.load("model.safetensors", backend="numpy")
    assert (net.outputs, net.label_names) == (1, ("no", "yes"))


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["digits", "--loss", "mse"], "the loss 'mse' needs numbers"),
        (["digits", "--loss", "binary_cross_entropy"], "needs two classes"),
        (["numbers.csv", "--target", "y", "--loss", "cross_entropy"], "needs classes"),
        (
            ["numbers.csv", "--target", "y", "--class-weight", "balanced"],
            "--class-weight goes with classes",
        ),
        (["digits", "--metric", "roc_auc"], "'roc_auc' needs two classes"),
    ],
)
def test_a_loss_or_metric_for_the_other_task_is_refused(
    numbers: str, args: list[str], problem: str
) -> None:
    assert problem in refused("train", *args, *QUICK)
    assert not Path("model.safetensors").exists()


def test_a_single_class_is_nothing_to_learn() -> None:
    Path("one.csv").write_text("a,t\n1,yes\n2,yes\n", encoding="utf-8")
    assert "one class only" in refused("train", "one.csv", "--target", "t", *QUICK)


def test_dropout_follows_each_hidden_layer_and_none_is_a_linear_model() -> None:
    train("digits", "--hidden", "8,4", "--dropout", 0.25)
    layers = fn.load("model.safetensors", backend="numpy").layers
    assert layers[1] == layers[3] == Dropout(0.25)
    assert len(layers) == 5
    train("digits", "--hidden", "none", "--dropout", 0.25)
    assert len(fn.load("model.safetensors", backend="numpy").layers) == 1


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("cosine", Cosine(0.01, epochs=20)),
        ("one_cycle", OneCycle(0.01, epochs=20)),
        ("exponential", Exponential(0.01, factor=0.01 ** (1 / 20))),
        ("step", Step(0.01, every=7, factor=0.1)),
        ("reduce_on_plateau", ReduceOnPlateau(0.01, factor=0.3, patience=5)),
    ],
)
def test_a_schedule_spans_the_epochs(
    name: str, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    fit = fn.Network.fit

    def spy(self: fn.Network, *args: object, **kwargs: object) -> fn.History:
        seen.append(kwargs["optimizer"])
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(fn.Network, "fit", spy)
    rate = ("--learning-rate", 0.01, "--optimizer", "adam")
    options = ("--schedule", name, *rate, "--epochs", 20, "--hidden", "none")
    assert run("train", "digits", *options, "--backend", "numpy", "--quiet").exit_code == 0
    assert seen == [fn.Adam(schedule)]


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ("--optimizer sgd --momentum 0.9", fn.SGD(0.01, momentum=0.9)),
        ("--optimizer adamw", fn.AdamW(1e-3)),
        ("--optimizer adamw --weight-decay 0.1", fn.AdamW(1e-3, weight_decay=0.1)),
        ("--optimizer lion --l1 0.1 --l2 0.2", fn.Lion(1e-4, l1=0.1, l2=0.2)),
        ("--optimizer adam --learning-rate 0.5 --clip-norm 2", fn.Adam(0.5, clip_norm=2.0)),
        ("--optimizer lbfgs --l2 0.1", fn.LBFGS(l2=0.1)),
        ("--weight-decay 0.1", fn.AdamW(Cosine(3e-3, epochs=9), weight_decay=0.1)),
        ("--learning-rate 0.5 --l1 2", BUDGET.optimizer(WIDE, 0.5, l1=2.0)),
        ("--schedule constant", BUDGET.optimizer(WIDE, Constant(3e-3))),
    ],
)
def test_the_optimizer_has_the_options_and_else_its_own_defaults(
    options: str, optimizer: object
) -> None:
    command = group.get_command(click.Context(group), "train")
    context = command.make_context("train", ["digits", *options.split()])
    settings = Settings.read(context.params, frozenset())
    assert make_optimizer(settings.training, BUDGET, WIDE) == optimizer


def test_an_existing_model_is_replaced_and_the_line_says_so() -> None:
    Path("model.safetensors").write_text("old", encoding="utf-8")
    assert train("digits").endswith(", replacing the file that was there)\n")
    fn.load("model.safetensors", backend="numpy")


@pytest.mark.parametrize("option", ["--out", "--log"])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere/x.json", "there is no folder 'nowhere'; create it first"),
        ("numbers.csv/x.json", "there is no folder 'numbers.csv'"),
        ("folder.json", "folder.json is a folder"),
        ("numbers.csv", "numbers.csv is what is read here"),
        ("/dev/null", "/dev/null is not a file"),
    ],
)
def test_a_file_that_could_not_be_written_is_refused_before_training(
    option: str, path: str, problem: str, numbers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fn.Network, "fit", lambda *args, **kwargs: pytest.fail("it trained"))
    Path("folder.json").mkdir()
    before = Path(numbers).read_text(encoding="utf-8")
    said = refused("train", numbers, "--target", "y", option, path, *QUICK)
    assert said.startswith(f"fastnet: error: {option}: ")
    assert problem in said
    assert Path(numbers).read_text(encoding="utf-8") == before


def test_a_folder_without_permission_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", refuse)  # root may write everywhere
    said = refused("train", "digits", *QUICK)
    assert (
        said == "fastnet: error: --out: model.safetensors cannot be written: Permission denied.\n"
    )


def test_divergence_is_one_line_and_the_old_model_stays() -> None:
    Path("model.safetensors").write_text("old", encoding="utf-8")
    said = refused("train", "digits", *QUICK, "--optimizer", "sgd", "--learning-rate", 1e9)
    assert said.startswith("fastnet: error: training diverged: ")
    assert said.endswith("No model was saved.\n")
    assert Path("model.safetensors").read_text(encoding="utf-8") == "old"


def test_npz_and_npy_files_are_trained_on(numbers: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    np.savez("split.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    assert "test accuracy " in train("split.npz")
    np.save("matrix.npy", np.column_stack([x, 3.5 * x[:, 0]]))
    assert "training r2 " in train("matrix.npy", "--target", "-1")
    assert "needs a target" in refused("train", "matrix.npy", *QUICK)
