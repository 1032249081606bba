"""A run on several ranks goes on from its checkpoint, also on another number of ranks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.distributed import Ranks
from tests.distributed.in_threads import InThreads, run

N = 50
X = np.random.default_rng(1).standard_normal((N, 4))
Y = np.sin(X[:, 0])
LAYERS = [fn.Dense(8), fn.BatchNorm("tanh"), fn.Dropout(0.2), fn.Dense(1)]


def fit(comm: InThreads, folder: Path, *, parts: int | None = None, **options: Any) -> Any:
    net = fn.Network(LAYERS, inputs=4, backend="numpy")
    cuts = [N * rank // comm.size for rank in range(comm.size + 1)]
    own = slice(cuts[comm.rank], cuts[comm.rank + 1])
    how: dict[str, Any] = {"epochs": 6, "batch_size": 10, "validation_split": 0.2, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = net.fit(
            *(X[own], Y[own]), early_stopping=4, checkpoint=folder, comm=Ranks(comm, parts), **how
        )
    arrays = [net.parameters, net.state, net.optimizer_state.moments]
    return [a.tobytes() for a in (*arrays, *map(np.array, history.values()))]


def crash(epoch: int) -> Any:
    def callback(run: fn.Run) -> None:
        if run.epoch == epoch:
            raise RuntimeError("killed")

    return callback


@pytest.mark.parametrize("every", [1, "0.0001s"])
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 3), (3, 4)])
def test_a_run_goes_on_with_other_ranks(
    tmp_path: Path, before: int, after: int, every: int | str
) -> None:
    whole = run(2, lambda comm: fit(comm, tmp_path / "whole"))
    how: dict[str, Any] = {"checkpoint_every": every}
    ended = run(before, lambda comm: fit(comm, tmp_path / "run", callbacks=[crash(4)], **how))
    assert all(isinstance(error, RuntimeError) for error in ended)
    went_on = run(after, lambda comm: fit(comm, tmp_path / "run", resume=True, **how))
    assert went_on == [whole[0]] * after


def test_the_parts_are_those_of_the_run(tmp_path: Path) -> None:
    run(1, lambda comm: fit(comm, tmp_path, parts=3, epochs=3))
    assert run(2, lambda comm: fit(comm, tmp_path, epochs=3, resume=True)) == run(
        2, lambda comm: fit(comm, tmp_path / "other", parts=3, epochs=3)
    )
    for result in run(4, lambda comm: fit(comm, tmp_path, resume=True)):
        assert str(result).startswith("the run that is resumed has parts=3, and there are 4 ranks")
    results = run(2, lambda comm: fit(comm, tmp_path, parts=4, epochs=3, resume=True))
    assert "parts is 4 here and 3 there" in str(results[0])


def test_a_run_of_one_process_is_another(tmp_path: Path) -> None:
    net = fn.Network(LAYERS, inputs=4, backend="numpy")
    net.fit(X, Y, epochs=1, batch_size=10, checkpoint=tmp_path, validation_split=0.2)
    (result,) = run(1, lambda comm: fit(comm, tmp_path, resume=True))
    assert "parts is 4 here and absent there" in str(result)
    assert type(result) is fn.InputError


def test_rank_0_alone_sees_the_folder(tmp_path: Path) -> None:
    def fit_apart(comm: InThreads, **options: Any) -> Any:
        return fit(comm, tmp_path / ("run" if comm.rank == 0 else "none"), epochs=3, **options)

    first = run(2, fit_apart)
    assert run(2, lambda comm: fit_apart(comm, resume=True)) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_damaged_checkpoint_ends_all_ranks(tmp_path: Path) -> None:
    run(1, lambda comm: fit(comm, tmp_path, epochs=2))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-9])
    results = run(2, lambda comm: fit(comm, tmp_path, resume=True))
    assert type(results[0]) is fn.CheckpointError
    assert "there is nothing to go on from" in str(results[1])
