"""Files that version 0.1 wrote are read as it read them: models, checkpoints, histories.

`make.py` wrote them, and tells what each holds. What is stored, and what rows become before the
first layer, is the same to the bit. Arithmetic behind that may round differently from machine to
machine, and is compared as everywhere in these tests.
"""

from __future__ import annotations

import json
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from tests.closeness import assert_close
from tests.written_by_0_1 import contents
from tests.written_by_0_1.replays import COMMANDS, FITS, Fit, Seen, columns

HERE = Path(__file__).parent
INDEX: dict[str, Any] = json.loads((HERE / "index.json").read_text(encoding="utf-8"))
MODELS, CHECKPOINTS, HISTORIES = INDEX["models"], INDEX["checkpoints"], INDEX["histories"]
COMMAND_ANSWERS = [name for name, entry in MODELS.items() if "command_names" in entry]
FRAMES = [name for name, entry in MODELS.items() if str(entry["rows"]).endswith(".json")]
BACKENDS = "numba", "numpy"

Array = NDArray[Any]

each_model = pytest.mark.parametrize("name", MODELS)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def usual_surroundings() -> Iterator[None]:
    """Go on in other surroundings without a warning, and with Python's own handler of Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fn.ResumeWarning)
        yield
    signal.signal(signal.SIGINT, before)


def load(name: str, backend: str = "numpy") -> fn.Network:
    return fn.load(HERE / "models" / f"{name}.safetensors", backend=backend)


def expected(name: str) -> dict[str, Array]:
    with np.load(HERE / "models" / f"{name}.npz") as file:
        return dict(file)


def rows(name: str) -> Any:
    """Return the rows of a model: the path of a file, a dict of columns, or an array."""
    file = MODELS[name]["rows"]
    if file is None:
        return expected(name)["x"]
    path = HERE / "models" / file
    return columns(path) if path.suffix == ".json" else path


# --- comparisons ----------------------------------------------------------------------------------


def same_bits(got: Array, want: Array, what: str) -> None:
    assert (got.dtype, got.shape) == (want.dtype, want.shape), what
    assert got.tobytes() == want.tobytes(), f"{what}: {got} is not {want}"


def same_content(net: fn.Network, name: str) -> None:
    """Require of a network all that is recorded, and of its arrays every bit."""
    found, entry = contents.facts(net), MODELS[name]
    for key in found.keys() & entry.keys():
        assert includes(found[key], entry[key]), f"{key}: {found[key]} is not {entry[key]}"
    recorded, arrays = expected(name), contents.held(net)
    stored = "parameters", "state", "scaler.", "table.", "target."
    for key in arrays.keys() | {key for key in recorded if key.startswith(stored)}:
        # Empty arrays are not recorded.
        if key in recorded or arrays[key].size:
            same_bits(arrays[key], recorded[key], key)


def includes(found: Any, recorded: Any) -> bool:
    """Return whether everything recorded is found; a later version may know more of it."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        return all(k in found and includes(found[k], v) for k, v in recorded.items())
    if isinstance(recorded, list) and isinstance(found, list) and len(found) == len(recorded):
        return all(map(includes, found, recorded))
    return bool(found == recorded)


def terms_of(net: fn.Network) -> int:
    """Return how many roundings an output goes through: every sum on its way, once."""
    terms = width = net.inputs
    for layer in net.layers:
        width, before = getattr(layer, "units", width), width
        terms += before + width
    return terms


def same_outputs(net: fn.Network, got: Array, want: Array, what: str) -> None:
    """Compare column by column: targets may be of different size."""
    assert got.shape == want.shape
    if got.dtype != want.dtype:  # outputs in the unit of scaled targets were rounded then
        got = got.astype(want.dtype)
    for k in range(got.shape[1]):
        assert_close(got[:, k], want[:, k], terms=terms_of(net), what=f"{what}, output {k}")


def same_predictions(net: fn.Network, name: str) -> None:
    recorded = expected(name)
    given, _ = contents.encoded(net, rows(name))
    got = net.predict(given)
    same_outputs(net, got, recorded[net.backend], name)
    assert contents.labels(net, got) == MODELS[name]["answer_labels"]
    one = net.predict_one(row(given, 2)).astype(net.dtype)
    assert_close(one, got[2].astype(net.dtype), terms=terms_of(net))
    if f"{net.backend}.std" in recorded:
        std = net.predict(given, return_std=True)[1]
        same_outputs(net, std, recorded[f"{net.backend}.std"], "deviations")


def row(table: Any, index: int) -> Any:
    """Return one row of a table, as ``predict_one`` takes it."""
    if isinstance(table, dict):
        return {name: cells[index] for name, cells in table.items()}
    return table[index : index + 1] if isinstance(table, fn.tables.Frame) else table[index]


def same_end(net: fn.Network, name: str, steps: int, batch: int) -> None:
    """Require that training ended where it had to, layer by layer."""
    with np.load(HERE / "checkpoints" / name / "expected.npz") as file:
        recorded = dict(file)
    terms = steps * (batch + terms_of(net))
    for got, want in zip(by_layer(net), by_layer(net, recorded), strict=True):
        assert_close(got, want, terms=terms, what=name)
    history = net.history
    for key in (key for key in recorded if key.startswith("history.")):
        assert history is not None
        got = np.array(history[key.removeprefix("history.")]).astype(net.dtype)
        assert_close(got, recorded[key], terms=terms, what=key)


def by_layer(net: fn.Network, arrays: dict[str, Array] | None = None) -> list[Array]:
    """Return parameters and running statistics, or such arrays in their place, of each layer."""
    net = net.copy()
    if arrays is not None:
        parameters, state = arrays["parameters"], arrays.get("state", net.state[:0])
        assert (net.parameters.shape, net.state.shape) == (parameters.shape, state.shape)
        net.parameters, net.state = parameters, state
    layers: dict[str, list[Array]] = {}
    for name, values in net.named_parameters().items():
        layers.setdefault(name.rpartition(".")[0], []).append(values.ravel())
    # A mean and a variance are no sums of the same things.
    return [*map(np.concatenate, layers.values()), *net.named_state().values()]


# --- models ---------------------------------------------------------------------------------------


def test_every_record_is_there() -> None:
    assert INDEX["fastnet"] == "0.1.0"
    files = {path.name for path in (HERE / "models").iterdir()}
    wanted = {f"{name}{suffix}" for name in MODELS for suffix in (".safetensors", ".npz")}
    assert files == wanted | {entry["rows"] for entry in MODELS.values() if entry["rows"]}
    assert {path.name for path in (HERE / "checkpoints").iterdir()} == {*FITS, *COMMANDS}
    assert {*CHECKPOINTS} == {*FITS, *COMMANDS}
    assert (len(MODELS), len(CHECKPOINTS), len(HISTORIES)) == (39, 16, 1)


@each_model
def test_a_model_holds_what_it_held(name: str) -> None:
    same_content(load(name), name)


@each_model
def test_rows_become_the_same_inputs(name: str) -> None:
    recorded = {key: v for key, v in expected(name).items() if key.startswith("encoded")}
    _, found = contents.encoded(load(name), rows(name))
    assert found.keys() == recorded.keys()
    if "encoded" in found:
        same_bits(found["encoded"], recorded["encoded"], name)
    if "encoded64" in found:
        assert_close(found["encoded64"], recorded["encoded64"], what=name)


@each_backend
@each_model
def test_a_model_predicts_what_it_predicted(name: str, backend: str) -> None:
    net = load(name, backend)
    assert net.backend == backend
    same_predictions(net, name)


@pytest.mark.parametrize("name", FRAMES)
def test_a_data_frame_is_read_as_a_dict_of_columns(name: str) -> None:
    pd, net, table = pytest.importorskip("pandas"), load(name), rows(name)
    frame = pd.DataFrame({key: list(cells) for key, cells in table.items()})
    same_bits(net.predict(frame), net.predict(table), name)


@pytest.mark.parametrize("name", COMMAND_ANSWERS)
def test_the_command_answers_what_it_answered(name: str) -> None:
    net, path = load(name), HERE / "models" / f"{name}.safetensors"
    names, labels, numbers = contents.predict(path, rows(name), net)
    assert names == MODELS[name]["command_names"]
    assert labels == MODELS[name]["answer_labels"]
    same_outputs(net, numbers, expected(name)["command"], name)


QUANTILES = {
    "quantiles-softplus": [0.05, 0.5, 0.9],
    "command-two-targets": [0.1, 0.5, 0.9],
    "table-quantiles": [0.25, 0.75],
}


@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles_have_their_names(name: str) -> None:
    net = load(name)
    given, _ = contents.encoded(net, rows(name))
    found = net.predict_quantiles(given)
    assert [*found] == QUANTILES[name]
    same_bits(np.hstack([*found.values()]), net.predict(given), name)


@each_model
def test_a_model_is_the_same_after_it_was_written_again(name: str, tmp_path: Path) -> None:
    load(name).save(tmp_path / "again.safetensors")
    same_content(fn.load(tmp_path / "again.safetensors", backend="numpy"), name)


@each_model
def test_a_changed_parameter_is_noticed(name: str) -> None:
    net = load(name)
    net.parameters[-1] = np.nextafter(net.parameters[-1], np.inf)
    with pytest.raises(AssertionError, match="parameters"):
        same_content(net, name)
    net.parameters *= 1.001
    with pytest.raises(AssertionError, match="elements break a bound"):
        same_predictions(net, name)


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name]["preprocessor"]])
def test_a_changed_preprocessor_is_noticed(name: str) -> None:
    net = load(name)
    made = net.preprocessor
    assert made is not None
    made.center[0] += 1e-3
    with pytest.raises(AssertionError, match=r"table\.center"):
        same_content(net, name)
    changed = contents.encoded(net, rows(name))[1]["encoded"]
    with pytest.raises(AssertionError):
        same_bits(changed, expected(name)["encoded"], "encoded")


# --- checkpoints ----------------------------------------------------------------------------------


def copied(name: str, tmp_path: Path) -> Path:
    """Return a copy of a folder of checkpoints: who goes on writes to it."""
    return shutil.copytree(HERE / "checkpoints" / name / "run", tmp_path / "run")


def go_on(name: str, folder: Path, backend: str, **more: Any) -> fn.Network:
    return FITS[name].run(HERE / "checkpoints" / name, folder, backend, resume=True, **more)


def steps_of(run: Fit, name: str) -> tuple[int, int]:
    """Return the most steps that a run takes, and the rows of one."""
    given = run.rows(HERE / "checkpoints" / name)["x"]
    count = len(next(iter(given.values()))) if isinstance(given, dict) else len(given)
    batch = run.options.get("batch_size", count)
    return len(CHECKPOINTS[name]["epochs"]) * -(-count // batch), batch


@each_backend
@pytest.mark.parametrize("name", FITS)
def test_a_run_goes_on_to_where_it_would_have_ended(
    name: str, backend: str, tmp_path: Path
) -> None:
    seen, record = Seen(), CHECKPOINTS[name]
    net = go_on(name, copied(name, tmp_path), backend, callbacks=(seen,))
    # The epochs that were done are not done again.
    assert seen.epochs == record["epochs_left"] < len(record["epochs"])
    assert (seen.first and seen.first[0]) == (record["first"] and record["first"][0])
    same_end(net, name, *steps_of(FITS[name], name))
    history = net.history
    assert history is not None
    assert history.epochs == record["epochs"]
    assert history.best_epoch == record["best_epoch"]
    assert history.stop_reason == record["stop_reason"]


def test_a_run_that_is_interrupted_again_weighs_as_it_began(tmp_path: Path) -> None:
    name, folder = "every-layer-adam", copied("every-layer-adam", tmp_path)

    def stop(run: fn.Run) -> None:
        if any(path.stat().st_mtime_ns > before for path in folder.glob("checkpoint*")):
            raise KeyboardInterrupt

    before = max(path.stat().st_mtime_ns for path in folder.glob("checkpoint*"))
    with pytest.raises(KeyboardInterrupt):
        go_on(name, folder, "numpy", callbacks=(stop,), checkpoint_every=1)
    net = go_on(name, folder, "numpy")
    same_end(net, name, *steps_of(FITS[name], name))


@pytest.mark.parametrize("name", FITS)
def test_a_run_that_began_anew_would_be_noticed(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "anew"
    net = FITS[name].run(HERE / "checkpoints" / name, folder, "numpy", resume=True)
    with pytest.raises(AssertionError, match="elements break a bound"):
        same_end(net, name, *steps_of(FITS[name], name))


@pytest.mark.parametrize("name", FITS)
def test_a_changed_parameter_at_the_end_is_noticed(name: str, tmp_path: Path) -> None:
    net = go_on(name, copied(name, tmp_path), "numpy")
    net.parameters[-1] += 1e-3
    with pytest.raises(AssertionError, match="elements break a bound"):
        same_end(net, name, *steps_of(FITS[name], name))


@pytest.mark.parametrize("name", FITS)
def test_other_rows_are_another_run(name: str, tmp_path: Path) -> None:
    place = shutil.copytree(HERE / "checkpoints" / name, tmp_path / name)
    (path,) = place.glob("rows.*")
    if path.suffix == ".npz":
        with np.load(path) as file:
            changed = dict(file)
        changed["x"][0, 0] += 1
        np.savez(path, **changed)
    elif path.suffix == ".npy":
        matrix = np.load(path)
        matrix[0, 0] = 1.5
        np.save(path, matrix)
    else:
        table = json.loads(path.read_text(encoding="utf-8"))
        table["floor"][0] += 1
        path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(fn.InputError, match="checkpoints of another run"):
        FITS[name].run(place, place / "run", "numpy", resume=True)


@each_backend
@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_of_the_command_goes_on(name: str, backend: str, tmp_path: Path) -> None:
    copied(name, tmp_path)
    shutil.copyfile(HERE / "checkpoints" / name / "rows.csv", tmp_path / "rows.csv")
    net, epochs = COMMANDS[name].run(tmp_path, backend, "--resume")
    assert len(epochs) == CHECKPOINTS[name]["epochs_left"]
    same_end(net, name, COMMANDS[name].steps, COMMANDS[name].batch)
    net.parameters[-1] += 1e-3
    with pytest.raises(AssertionError, match="elements break a bound"):
        same_end(net, name, COMMANDS[name].steps, COMMANDS[name].batch)


# --- histories ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_is_read(name: str) -> None:
    history = fn.History.read(HERE / "histories" / name)
    assert {key: getattr(history, key) for key in HISTORIES[name]} == HISTORIES[name]
