"""Networks, estimators, files and the command line with tables as they are."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastnet as fn
from fastnet.cli import group
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.scaler import Scaler
from fastnet.sklearn import FastNetClassifier, FastNetRegressor
from fastnet.tables import TablePreprocessor, read_frame
from tests.closeness import assert_close

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

ROWS = 240


def table() -> Any:
    """Return a data frame whose price and class follow from its columns, with gaps."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "size": rng.normal(50, 20, ROWS),
            "floor": rng.integers(0, 5, ROWS),
            "kind": rng.choice(["flat", "house", "loft", "hut"], ROWS),
            "new": rng.choice(["yes", "no"], ROWS),
        }
    )
    extra = frame["kind"].map({"flat": 0.0, "house": 900.0, "loft": 300.0, "hut": -800.0})
    frame["price"] = 5000 + 30 * frame["size"] + extra
    frame["class"] = np.where(frame["price"] > 7000, "dear", "cheap")
    frame.loc[::9, "size"] = np.nan
    frame.loc[::11, "kind"] = None
    return frame


TABLE = table()
INPUTS = ["size", "floor", "kind", "new"]
X = TABLE[INPUTS]
WIDTH = TablePreprocessor.fit(X).inputs


def fitted(target: str = "price", *, y: Any = None, **options: Any) -> fn.Network:
    given = {"preset": None, "epochs": 30, "hidden": (16,), "backend": "numpy"} | options
    if y is not None:
        return fn.tables.train(X, y, **given)
    return fn.tables.train(TABLE[[*INPUTS, target]], target, **given)


# --- fit, predict, evaluate -----------------------------------------------------------------------


@pytest.mark.parametrize("make", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_every_kind_of_frame_trains_the_same_network(make: Any) -> None:
    nets = []
    for frame in (make(X), {name: X[name].to_numpy() for name in X}):
        net = fn.Network([WIDTH, 8, 1], backend="numpy", seed=2)
        net.fit(frame, TABLE["price"], epochs=2)
        nets.append(net)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)
    predicted = [net.predict(make(X)) for net in nets]
    assert np.array_equal(predicted[0], predicted[1])


def test_predictions_are_in_the_unit_of_the_targets(backend: Any) -> None:
    net = fitted(optimizer=fn.Adam(0.01), epochs=60)._copy_to(backend, "float32")
    assert net.evaluate(TABLE, "price")["r2"] > 0.8
    outputs = net.predict_columns(TABLE)
    assert abs(outputs.mean() - TABLE["price"].mean()) < 200
    for row in (dict(TABLE.iloc[3]), TABLE.iloc[3][INPUTS].tolist()):
        one = net.predict_one(row)
        assert_close(one.astype("f4"), outputs[3].astype("f4"), terms=1000)


def test_metrics_are_in_the_unit_of_the_targets_too() -> None:
    net = fitted(validation_split=0.2, metrics=["mae"])
    errors = np.abs(net.predict(TABLE)[:, 0] - TABLE["price"].to_numpy())
    values = net.evaluate(TABLE, "price", metrics=["mae", "rmse"])
    assert values["mae"] == pytest.approx(errors.mean(), rel=1e-5)
    assert net.history is not None
    assert net.history["val_mae"][-1] == pytest.approx(errors.mean(), rel=0.5)


def test_the_target_may_come_apart_or_by_name() -> None:
    one = fn.Network([WIDTH, 4, 1], backend="numpy").fit(X, TABLE["price"], epochs=2)
    frame = TABLE[[*INPUTS, "price"]]
    net = fn.Network([WIDTH, 4, 1], backend="numpy")
    assert net.fit(frame, "price", epochs=2)["loss"] == one["loss"]
    assert net.preprocessor.target.names == ("price",)
    assert net.evaluate(frame, "price") == net.evaluate(X, TABLE["price"])


def test_labels_may_be_texts() -> None:
    net = fn.Network([WIDTH, 16, 2], output_activation="softmax", backend="numpy")
    net.fit(X, TABLE["class"], epochs=40, optimizer=fn.Adam(0.01))
    assert net.label_names == ("cheap", "dear")
    assert net.evaluate(X, TABLE["class"])["accuracy"] > 0.85
    with pytest.raises(fn.DataError, match="'free' is none of the known"):
        net.evaluate(X, ["free"] * ROWS)


def test_class_numbers_stay_class_numbers() -> None:
    net = fn.Network([WIDTH, 4, 5], output_activation="softmax", backend="numpy")
    net.fit(X, TABLE["floor"].to_numpy() % 3, epochs=1)  # two of the classes never come
    assert net.label_names is None
    assert isinstance(net.preprocessor, TablePreprocessor) and net.preprocessor.target is None


def test_a_loss_that_has_a_unit_of_its_own_sees_the_targets_as_they_are() -> None:
    net = fn.Network([WIDTH, 4, 1], output_activation="exp", backend="numpy")
    net.fit(X, TABLE["floor"], loss="poisson", epochs=20, optimizer=fn.Adam(0.01))
    assert isinstance(net.preprocessor, TablePreprocessor) and net.preprocessor.target is None
    assert abs(net.predict(X).mean() - TABLE["floor"].mean()) < 0.5


def test_quantiles_are_in_the_unit_of_the_targets() -> None:
    net = fitted(loss=fn.losses.Quantile((0.1, 0.9)), epochs=80, optimizer=fn.Adam(0.01))
    low, high = net.predict(TABLE).T
    price = TABLE["price"].to_numpy()
    assert 0.6 < np.mean((low < price) & (price < high)) < 0.98


GAUSSIAN: dict[str, Any] = {
    "loss": "gaussian_nll", "activation": "tanh", "dtype": "float64", "epochs": 20,
    "batch_size": 32, "validation_split": 0.2, "metrics": ["mae"], "preset": None, "hidden": (16,),
    "backend": "numpy",
}  # fmt: skip


@pytest.mark.parametrize("factor", [1000.0, 1e-9])
@pytest.mark.parametrize("names", [["price"], ["price", "rent"]], ids=["one", "two"])
def test_means_and_deviations_follow_the_unit_of_the_targets(
    names: list[str], factor: float
) -> None:
    prices = X.assign(price=TABLE["price"], rent=TABLE["price"] ** 2 / 1e5 + TABLE["floor"])
    prices = prices[[*INPUTS, *names]]
    moved = prices.assign(**{name: factor * prices[name] + 5 * factor for name in names})
    nets = [fn.tables.train(frame, names, **GAUSSIAN) for frame in (prices, moved)]
    (mean, std), (mean_moved, std_moved) = (net.predict(X, return_std=True) for net in nets)
    assert mean.shape == std.shape == (ROWS, len(names))
    assert_close(mean_moved, factor * mean + 5 * factor, terms=1e8)
    assert_close(std_moved, factor * std, terms=1e8)
    one, other = (net.predict_one(dict(TABLE.iloc[3])) for net in nets)
    assert_close(other[: len(names)], factor * one[: len(names)] + 5 * factor, terms=1e8)
    assert_close(other[len(names) :], one[len(names) :] + 2 * np.log(factor), terms=1e8)
    values, others = (
        net.evaluate(frame, names, metrics=["mae"])
        for net, frame in zip(nets, (prices, moved), strict=True)
    )
    assert others["loss"] == pytest.approx(values["loss"], rel=1e-9)
    assert others["mae"] == pytest.approx(factor * values["mae"], rel=1e-9)
    assert nets[0].history is not None and nets[1].history is not None
    ends = [net.history["val_mae"][-1] for net in nets if net.history is not None]
    assert ends[1] == pytest.approx(factor * ends[0], rel=1e-9)
    units = np.repeat([factor, 1.0], len(names))[:, None]
    jacobian = nets[0].jacobian(X)
    for k in range(2 * len(names)):
        moved_jacobian = nets[1].jacobian(X)[:, k]
        assert_close(moved_jacobian, units[k] * jacobian[:, k], terms=1e8)


def test_deviations_have_a_floor_in_the_unit_of_the_targets() -> None:
    for factor in (1.0, 1e-9, 1e9):
        net = fitted(y=factor * TABLE["price"], **GAUSSIAN)
        net.biases[-1][1] = -1000
        std = net.predict(X, return_std=True)[1][:, 0]
        assert_close(std, np.full(ROWS, 1e-3 * net.preprocessor.target.scale[0]), terms=64)


def test_prices_are_learned_with_their_deviations() -> None:
    noise = np.random.default_rng(0).normal(0, np.where(TABLE["new"] == "yes", 400, 50))
    options: dict[str, Any] = {"loss": "gaussian_nll", "random_state": 0, "backend": "numpy"}
    options |= {"preset": "tabular", "epochs": 60}
    model = FastNetRegressor(**options).fit(X, TABLE["price"] + noise)
    assert model.score(X, TABLE["price"]) > 0.8
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (ROWS,)
    assert std[TABLE["new"] == "yes"].mean() > 2 * std[TABLE["new"] == "no"].mean() > 20
    net = fitted(loss="gaussian_nll", epochs=80, optimizer=fn.Adam(0.01))
    assert net.evaluate(TABLE, "price")["r2"] > 0.8
    means, deviations = net.predict(TABLE, return_std=True)
    distance = np.abs(TABLE[["price"]].to_numpy() - means) / deviations
    assert 0.5 < np.mean(distance < 1) < 0.95


def test_rows_that_validate_are_not_learned_from() -> None:
    frame = X.copy()
    from fastnet.preprocessing.samples import split_index

    training, held = split_index(ROWS, 0.25, 3)
    frame.loc[held, "kind"] = [f"only here {i}" for i in range(len(held))]
    made = TablePreprocessor.fit(frame.iloc[training])
    net = fn.Network([made.inputs, 4, 1], seed=3, backend="numpy")
    net.fit(frame, TABLE["price"], validation_split=0.25, epochs=1)
    assert net.preprocessor.feature_names == made.feature_names


def test_rows_of_weight_zero_are_rows_left_out() -> None:
    weight = np.ones(ROWS)
    weight[::3] = 0
    kept = TABLE[weight > 0]
    options: dict[str, Any] = {"epochs": 3, "seed": 1}
    one = fitted(sample_weight=weight, **options)
    columns = [*INPUTS, "price"]
    given = {"preset": None, "hidden": (16,), "backend": "numpy"} | options
    other = fn.tables.train(kept[columns], "price", **given)
    assert np.array_equal(one.predict(TABLE), other.predict(TABLE))


def test_training_goes_on_with_further_tables() -> None:
    net = fitted(epochs=5)
    before = net.evaluate(TABLE, "price")["loss"]
    net.fit(TABLE, "price", epochs=20)
    assert net.evaluate(TABLE, "price")["loss"] < before
    loss = net.partial_fit(TABLE, "price")
    assert np.isfinite(loss)
    assert net.gradients(TABLE, "price")["layers.0.weight"].shape == (WIDTH, 16)
    assert net.copy().predict(TABLE).shape == (ROWS,)


def test_a_network_of_arrays_takes_frames_as_arrays() -> None:
    numbers = np.random.default_rng(0).normal(size=(50, 3))
    net = fn.Network([3, 4, 1], backend="numpy")
    net.fit(numbers, numbers[:, 0], epochs=1)
    assert np.array_equal(net.predict(pd.DataFrame(numbers)), net.predict(numbers))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda n: n.fit(X, TABLE["price"]), f"becomes {WIDTH} inputs, and the network has 3"),
        (lambda n: n.fit(X[["floor"]], "price"), "no column 'price'"),
    ],
)
def test_what_does_not_fit_leaves_the_network_as_it_was(act: Any, message: str) -> None:
    net = fn.Network([3, 4, 1], backend="numpy")
    before = np.array(net.parameters)
    with pytest.raises(fn.FastNetError, match=message):
        act(net)
    assert isinstance(net.preprocessor, Passthrough) and net.optimizer_state is None
    assert np.array_equal(net.parameters, before)


def test_standardize_does_not_go_with_a_table() -> None:
    net = fn.Network([WIDTH, 4, 1], backend="numpy")
    with pytest.raises(fn.InputError, match="scaled already"):
        net.fit(X, TABLE["price"], standardize=True)


def test_more_classes_than_outputs_are_refused() -> None:
    net = fn.Network([WIDTH, 4, 3], output_activation="softmax", backend="numpy")
    with pytest.raises(fn.InputError, match="2 classes, and the network 3"):
        net.fit(X, TABLE["class"])


# --- train and the preset -------------------------------------------------------------------------


def test_an_embedding_is_a_row_of_the_first_layer_for_each_category() -> None:
    net = fitted(embedding_size=2, epochs=60, optimizer=fn.Adam(0.02))
    rows = [i for i, name in enumerate(net.preprocessor.feature_names) if name.startswith("kind=")]
    table = np.asarray(net.weights[0])[rows]
    columns = np.flatnonzero(table.any(axis=0))
    assert len(rows) == 4 and len(columns) == 2
    others = np.delete(np.asarray(net.weights[0]), rows, axis=0)
    assert not others[:, columns].any()


@pytest.mark.parametrize("preset", ["tabular", None])
def test_an_embedding_size_without_anything_to_embed_is_pointed_out(
    preset: Any, folder: Path
) -> None:
    numbers = X[["size", "floor", "new"]]
    given: dict[str, Any] = {"epochs": 2, "backend": "numpy", "preset": preset}
    says = "size of 3 embeds nothing: no column has more than two categories"
    with pytest.warns(fn.FastNetWarning, match=says) as found:
        fn.tables.train(numbers, TABLE["price"], embedding_size=3, **given)
    assert [warning.filename for warning in found] == [__file__]
    model = FastNetRegressor(embedding_size=3, **given)
    with pytest.warns(fn.FastNetWarning, match=says):
        model.fit(numbers, TABLE["price"])
    TABLE[["size", "floor", "price"]].to_csv("numbers.csv", index=False)
    command = ["train", "numbers.csv", "--target", "price", "--embedding-size", "3"]
    command += ["--preset", preset or "none", "--epochs", "2", "--backend", "numpy"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert says in CliRunner().invoke(group, command).stderr
    # With an embedding of numbers, or of a column of names, there is something to embed.
    given |= {"embedding_size": 3}
    fn.tables.train(numbers, TABLE["price"], categorical="floor", **given)
    fn.tables.train(numbers, TABLE["price"], numeric_embedding="periodic", **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "tabula"}, "unknown preset 'tabula'; did you mean 'tabular'"),
        ({"loss": "cross_entropy"}, "needs classes, and the target has numbers"),
    ],
)
def test_a_bad_option_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(fn.InputError, match=message):
        fitted(**options)
    with pytest.raises(fn.InputError, match="does not fit a target of 2 classes"):
        fitted("class", loss="mse")


# --- estimators -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"preset": "tabular"}, {"embedding_size": 2}])
def test_estimators_take_frames_with_texts_and_gaps(options: dict[str, Any]) -> None:
    model = FastNetClassifier(epochs=40, random_state=0, backend="numpy", **options)
    model.fit(X, TABLE["class"])
    assert model.score(X, TABLE["class"]) > 0.85
    assert model.feature_names_in_.tolist() == INPUTS
    turned = pl.from_pandas(X[INPUTS[::-1]])
    assert np.array_equal(model.predict_proba(turned), model.predict_proba(X))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_frames_of_plain_numbers_stay_what_they_were(make: Any) -> None:
    numbers = TABLE[["floor", "price"]]
    model = FastNetClassifier(epochs=1, random_state=0).fit(make(numbers), TABLE["class"])
    assert isinstance(model.network_.preprocessor, Scaler)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(make(numbers[["price", "floor"]]))
    # Gaps that training did not have are the median.
    gaps = numbers.astype(float).where(TABLE["kind"] != "hut")
    assert gaps.isna().to_numpy().any()
    with pytest.warns(fn.FastNetWarning, match="in 'floor', 'price', where training had none"):
        found = model.predict_proba(make(gaps))
    assert np.array_equal(found, model.predict_proba(make(gaps.fillna(numbers.median()))))
    model.set_params(table=True).fit(numbers, TABLE["class"])
    assert model.predict(numbers[["price", "floor"]]).shape == (ROWS,)


# --- files and commands ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("t.csv", index=False)
    TABLE.to_csv("t.tsv", index=False, sep="\t")
    TABLE.to_parquet("t.parquet")
    TABLE.to_feather("t.feather")
    stream = pa.Table.from_pandas(TABLE)
    with pa.OSFile("t.arrow", "wb") as file, pa.ipc.new_stream(file, stream.schema) as out:
        out.write_table(stream)
    return tmp_path


def command(*arguments: str) -> str:
    result = CliRunner().invoke(group, arguments, prog_name="fastnet")
    if result.exit_code:
        raise AssertionError(result.output + result.stderr + str(result.exception))
    return result.stdout


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "feather", "arrow"])
def test_every_kind_of_file_is_the_same_table(folder: Path, suffix: str) -> None:
    loaded = fn.data.load(f"t.{suffix}", target="class")
    expected = TablePreprocessor.fit(TABLE, "class")
    for frame, target in (
        (read_frame(f"t.{suffix}", learning=True), "class"),
        (loaded.x, loaded.y),
    ):
        made = TablePreprocessor.fit(frame, target)
        assert made.feature_names == expected.feature_names
        assert made.label_names == expected.label_names
        assert_close(made.transform(frame), expected.transform(TABLE), terms=8)


@pytest.mark.parametrize("suffix", ["parquet", "feather", "arrow"])
def test_a_damaged_file_is_refused(folder: Path, suffix: str) -> None:
    path = folder / f"t.{suffix}"
    path.write_bytes(path.read_bytes()[:200])
    for read in (read_frame, lambda p: fn.data.load(p, target="price")):
        with pytest.raises(fn.DataError, match="is not a readable"):
            read(path)


def test_a_word_among_numbers_is_named_in_training(folder: Path) -> None:
    Path("odd.csv").write_text("a,b\n1,x\n2,y\noops,x\n,y\n", encoding="utf-8")
    with pytest.raises(fn.DataError, match="column 'a' must hold numbers, got 'oops' in row 3"):
        read_frame("odd.csv", learning=True)
    with pytest.raises(fn.DataNotFoundError):
        read_frame("none.csv")
    with pytest.raises(fn.DataError, match=r"expected one of \.csv, .*, \.npy, got '\.py'"):
        read_frame(Path(__file__))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])
@pytest.mark.parametrize("target", ["price", "class"])
def test_the_commands_take_tables(folder: Path, suffix: str, target: str) -> None:
    out = command(
        *("train", f"t.{suffix}", "--target", target, "--preset", "tabular", "--epochs", "3"),
        *("--hidden", "16", "--backend", "numpy", "--out", "m.safetensors", "--quiet"),
    )
    assert "weights of epoch" in out
    net = fn.load("m.safetensors", backend="numpy")
    assert [w.shape[1] for w in net.weights[1:-1]] == [16]
    out = command("evaluate", "m.safetensors", "t.feather", "--json", "--backend", "numpy")
    measured = json.loads(out)["metrics"]
    name = "r2" if target == "price" else "accuracy"
    assert measured[name] == pytest.approx(net.evaluate(TABLE, target)[name], rel=1e-5)
    TABLE.drop(columns=target).to_csv("new.csv", index=False)
    command("predict", "m.safetensors", "new.csv", "--out", "p.csv", "--backend", "numpy")
    answers = pd.read_csv("p.csv")["prediction"]
    expected = net.predict(TABLE)
    if target == "price":
        assert np.array_equal(answers.to_numpy(), expected[:, 0])
    else:
        names = np.array(net.label_names)[expected.argmax(axis=1)]
        assert answers.tolist() == names.tolist()
    assert "kind (4 categories)" in command("info", "m.safetensors")
    assert "preprocessor" in json.loads(command("info", "m.safetensors", "--json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "--preset", "tabular"), "go with tables in files"),
        (("t.csv", "--preset", "tabular"), "needs a target"),
        (("t.csv", "--target", "prize"), "did you mean 'price'"),
        (("t.csv", "--target", "price", "--preset", "tabular", "--dropout", "0.5"), "does not go"),
    ],
)
def test_what_does_not_go_together_is_refused(folder: Path, arguments: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        command("train", *arguments)


@pytest.mark.parametrize(("target", "task"), [("price", "regression"), ("class", "classification")])
def test_the_history_says_what_was_decided(target: str, task: str) -> None:
    history = fitted(target, epochs=1).history
    assert history is not None and history.task == task
    arrays = fn.Network([1, 1], backend="numpy").fit([[1.0], [2.0]], [1.0, 2.0], epochs=1)
    assert arrays.task is None
