"""Studies of Optuna prune trials, and those that were killed go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.populations import halfway
from tests.checkout import ROOT

optuna = pytest.importorskip("optuna")

from fastnet.integrations.optuna import Objective, PruningCallback  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # SQLite connections of its storages
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
optuna.logging.set_verbosity(optuna.logging.ERROR)

RNG = np.random.default_rng(1)
X = RNG.standard_normal((80, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5], np.float32)
NET = fn.Network([3, 6, 1], activation="tanh", backend="numpy", seed=5)


def suggest(trial: Any) -> dict[str, Any]:
    return {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 0.3, log=True)}


class After(optuna.pruners.BasePruner):  # type: ignore[misc]
    """Prunes each trial after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def prune(self, study: Any, trial: Any) -> bool:
        return len(trial.intermediate_values) >= self.epochs


def fixed(study: Any) -> None:
    study.enqueue_trial({"learning_rate": 0.01})


def test_each_epoch_is_reported_and_the_value_is_that_of_a_fit() -> None:
    study = optuna.create_study()
    fixed(study)
    how: dict[str, Any] = {"epochs": 4, "validation_split": 0.25}
    study.optimize(Objective(NET, X, Y, suggest, **how), n_trials=1)
    alone = fn.Network([3, 6, 1], activation="tanh", backend="numpy", seed=5)
    history = alone.fit(X, Y, optimizer=fn.Adam(0.01), **how)
    (trial,) = study.trials
    assert trial.value == history["val_loss"][-1]
    assert trial.intermediate_values == dict(zip(range(1, 5), history["val_loss"], strict=True))


def test_a_trial_is_pruned_between_epochs(tmp_path: Path) -> None:
    study = optuna.create_study(pruner=After(2))
    how: dict[str, Any] = {"epochs": 9, "validation_split": 0.25, "checkpoint": tmp_path}
    study.optimize(Objective(NET, X, Y, suggest, **how), n_trials=2)
    for trial in study.trials:
        assert trial.state == optuna.trial.TrialState.PRUNED
        assert sorted(trial.intermediate_values) == [1, 2]
    assert not list(tmp_path.iterdir())


def test_the_value_is_the_mean_of_the_folds(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    fixed(study)
    how: dict[str, Any] = {"epochs": 3, "cv": 3}
    objective = Objective(NET, X, Y, suggest, score="test_r2", checkpoint=tmp_path, **how)
    study.optimize(objective, n_trials=1)
    results = fn.cross_validate(NET, X, Y, optimizer=fn.Adam(0.01), **how)
    assert study.best_value == results.mean()[0]["test_r2"]
    assert len(list((tmp_path / "trial-000000").glob("member-*.json"))) == 3


def test_a_trial_that_diverges_is_pruned() -> None:
    study = optuna.create_study()
    how: dict[str, Any] = {"optimizer": fn.SGD(), "epochs": 6, "cv": 2}
    study.optimize(Objective(NET, X, Y, lambda trial: {"learning_rate": 1e30}, **how), n_trials=1)
    assert study.trials[0].state == optuna.trial.TrialState.PRUNED


# --- trials that were killed ----------------------------------------------------------------------


def run_of_a_study(url: str, folder: Path, killed: bool) -> None:
    """Optimize a study of one trial; the process is killed in it if that is asked for."""
    script = _PROGRAM.format(url=url, folder=str(folder), killed=killed)
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env=paths,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr


_PROGRAM = """
import os, signal
import numpy as np, optuna
import fastnet as fn
from fastnet.integrations.optuna import Objective
from fastnet.populations.folder import PopulationFolder
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from tests.integrations.test_optuna import NET, X, Y, suggest

again = RetryHeartbeatStaleTrialCallback(max_retry=3)
storage = RDBStorage({url!r}, heartbeat_interval=1, grace_period=2,
                     heartbeat_stale_trial_callback=again)
study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
write, count = PopulationFolder.write, [0]
def noted(self, number, *rest):
    write(self, number, *rest)
    with open({folder!r} + "/trained", "a") as file:
        file.write(f"{{number}} ")
    count[0] += 1
    if {killed} and count[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
PopulationFolder.write = noted
if {killed}:
    study.enqueue_trial({{"learning_rate": 0.01}})
study.optimize(Objective(NET, X, Y, suggest, cv=4, epochs=3, threads=1,
                         checkpoint={folder!r} + "/trials"), n_trials=1)
"""


def require_a_repeated_trial_goes_on(url: str, tmp_path: Path) -> None:
    run_of_a_study(url, tmp_path, killed=True)
    time.sleep(3)  # longer than the grace of a trial without a heartbeat
    run_of_a_study(url, tmp_path, killed=False)
    study = optuna.load_study(study_name="s", storage=url)
    states = [trial.state.name for trial in study.trials]
    assert states == ["FAIL", "COMPLETE"]
    results = fn.cross_validate(NET, X, Y, optimizer=fn.Adam(0.01), cv=4, epochs=3)
    assert study.trials[1].value == results.mean()[0]["test_loss"]
    trained = (tmp_path / "trained").read_text(encoding="ascii").split()
    assert sorted(trained) == ["0", "1", "2", "3"]  # no fold twice
    assert [file.name for file in (tmp_path / "trials").iterdir()] == ["trial-000000"]


def test_a_trial_that_was_killed_is_repeated_from_its_folder_with_sqlite(tmp_path: Path) -> None:
    require_a_repeated_trial_goes_on(f"sqlite:///{tmp_path}/study.db", tmp_path)


def programs() -> dict[str, str] | None:
    """Return the paths of a PostgreSQL server's programs; None where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    found = {name: shutil.which(name, path=path) for name in ("initdb", "pg_ctl")}
    return None if None in found.values() else {name: str(one) for name, one in found.items()}


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """The address of a server of this test's own, behind a socket in its folder."""
    found = programs()
    if found is None and not os.environ.get("CI"):
        pytest.skip("no PostgreSQL server is installed")
    assert found is not None, "no PostgreSQL server is installed"
    data, sockets = tmp_path / "data", tmp_path / "s"
    as_user: list[str] = []
    for folder in (data, sockets):
        folder.mkdir(mode=0o700)
    if os.getuid() == 0:  # which the server refuses
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        for folder in (data, sockets):
            shutil.chown(folder, "postgres")
        for folder in tmp_path.parents:
            if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o011 == 0:
                folder.chmod(folder.stat().st_mode | 0o011)
        tmp_path.chmod(0o711)
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    options = ["-D", str(data)]
    subprocess.run([*as_user, found["initdb"], *options, "-A", "trust", "-U", "ada"], **quiet)
    settings = f"-k {sockets} -c listen_addresses= -c fsync=off"
    call = [*as_user, found["pg_ctl"], *options, "-w"]
    subprocess.run([*call, "-o", settings, "-l", str(data / "log"), "start"], **quiet)
    try:
        yield f"postgresql+psycopg2://ada@/postgres?host={sockets}"
    finally:
        subprocess.run([*call, "-m", "immediate", "stop"], **quiet)


def test_a_trial_that_was_killed_is_repeated_from_its_folder_with_postgresql(
    postgresql: str, tmp_path: Path
) -> None:
    require_a_repeated_trial_goes_on(postgresql, tmp_path)


def test_a_resumed_fit_reports_its_earlier_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual_handler: None
) -> None:
    class Interrupted(fn.Callback):
        def memory(self) -> dict[str, Any]:
            return {"x": 1}

        def on_epoch_end(self, run: fn.Run) -> None:
            if armed and run.history.epochs[-1] == 3:
                armed.clear()
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(halfway, "LONG_SECONDS", 0.0)
    armed, study = [True], optuna.create_study()
    how: dict[str, Any] = {"epochs": 6, "validation_split": 0.25, "callbacks": [Interrupted()]}
    objective = Objective(NET, X, Y, suggest, checkpoint=tmp_path, **how)
    fixed(study)
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    first = study.trials[0]
    assert sorted(first.intermediate_values) == [1, 2, 3]
    again = optuna.storages.RetryHeartbeatStaleTrialCallback()
    again(study, first)
    study.optimize(objective, n_trials=1)
    repeated = study.trials[1]
    known = optuna.create_study()
    fixed(known)
    known.optimize(Objective(NET, X, Y, suggest, **how), n_trials=1)
    assert repeated.intermediate_values == known.trials[0].intermediate_values
    assert len(repeated.intermediate_values) == 6
    assert repeated.value == known.best_value


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"score": "test_r2", "cv": 2},
        "better the larger: create the study with dir",
    ),
    ({}, "cannot monitor 'val_loss'"),
    ({"score": "val_losss", "validation_split": 0.2}, "cannot monitor 'val_losss'; did you mean"),
    ({"score": "test_los", "cv": 2}, "there is no score 'test_los'; did you mean 'test_loss'"),
    ({"seeds": 3}, "an Objective has no seeds"),
    ({"callbacks": print}, "callbacks must be a list or a tuple"),
]


@pytest.mark.parametrize(("how", "message"), BAD, ids=lambda value: str(value)[:30])
def test_bad_input_is_answered_in_a_sentence(how: Any, message: str) -> None:
    with pytest.raises(fn.InputError, match=message) as caught:
        optuna.create_study().optimize(Objective(NET, X, Y, suggest, epochs=2, **how), n_trials=1)
    assert "\n" not in str(caught.value)
    with pytest.raises(fn.InputError, match="suggest must return a dict"):
        optuna.create_study().optimize(Objective(NET, X, Y, lambda trial: 3), n_trials=1)
    with pytest.raises(fn.InputError, match="PruningCallback needs a trial of Optuna, got 3"):
        PruningCallback(3)
    with pytest.raises(fn.InputError, match="suggest must be a function"):
        Objective(NET, X, Y, {})  # type: ignore[arg-type]


def test_fixed_and_frozen_trials_are_evaluated(tmp_path: Path) -> None:
    study = optuna.create_study()
    fixed(study)
    how: dict[str, Any] = {"epochs": 3, "validation_split": 0.25, "checkpoint": tmp_path}
    objective = Objective(NET, X, Y, suggest, **how)
    study.optimize(objective, n_trials=1)
    other = objective(optuna.trial.FixedTrial({"learning_rate": 0.1}))  # its number is 0, too
    again = objective(optuna.trial.FixedTrial({"learning_rate": 0.01}))
    assert again == objective(study.best_trial) == study.best_value != other


def test_studies_of_several_objectives_are_refused() -> None:
    def refused(objective: Any, message: str) -> None:
        study = optuna.create_study(directions=["minimize", "minimize"])
        with pytest.raises(fn.InputError, match=message):
            study.optimize(objective, n_trials=1)

    refused(Objective(NET, X, Y, suggest, epochs=1), "has one score, and the study 2 objectives")
    refused(PruningCallback, "a study of 2 objectives prunes no trials")


def test_the_callback_prunes_a_fit_of_ones_own() -> None:
    study = optuna.create_study(pruner=After(1))

    def objective(trial: Any) -> float:
        net = fn.Network([3, 1], backend="numpy")
        net.fit(X, Y, epochs=5, callbacks=[PruningCallback(trial)])
        return 0.0

    study.optimize(objective, n_trials=1)
    assert study.trials[0].state == optuna.trial.TrialState.PRUNED
