"""The same on MPI: a few short runs of processes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.distributed import mpi
from fastnet.errors import FastNetError
from tests.distributed import in_threads, launched

FIT = """
net.fit(X[own], Y[own], epochs=4, batch_size=12, validation_split=0.2, comm=comm, threads=1)
import hashlib
print(hashlib.sha256(net.parameters.tobytes()).hexdigest())
"""


def in_threads_too() -> str:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 5)).astype("f4")
    net = fn.Network([5, 16, 1], activation="tanh", backend="numpy", seed=2)

    def fit(comm: Any) -> None:
        how: dict[str, Any] = {"batch_size": 12, "validation_split": 0.2, "comm": comm}
        net.fit(x, np.sin(x[:, 0]), epochs=4, **how)

    assert in_threads.run(1, fit) == [None]
    return hashlib.sha256(net.parameters.tobytes()).hexdigest()


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_of_mpi_have_the_bits_of_threads(ranks: int, tmp_path: Path) -> None:
    code, out, err = launched.run(ranks, tmp_path, FIT)
    assert (code, err) == (0, "")
    found = re.findall("[0-9a-f]{64}", out)  # MPI may bring the lines of ranks together in pieces
    assert found == [in_threads_too()] * ranks


def test_an_error_on_one_rank_ends_all_with_its_sentence(tmp_path: Path) -> None:
    wrong = "if comm.rank == 1:\n    X[40, 2] = np.nan\n" + FIT
    code, _, err = launched.run(2, tmp_path, wrong)
    assert code == 1
    assert "InputError: x holds nan at row 8, column 2" in err
    assert "DistributedError: rank 1 failed, and all ranks end: InputError: x holds nan" in err


def test_an_error_of_a_callback_in_training_does_too(tmp_path: Path) -> None:
    wrong = """
def fail(run):
    if comm.rank == 1 and run.epoch == 2:
        raise RuntimeError("the disk is full")
net.fit(X[own], Y[own], epochs=4000, comm=comm, callbacks=[fail])
"""
    code, _, err = launched.run(2, tmp_path, wrong)
    assert code == 1
    assert "RuntimeError: the disk is full" in err
    assert "rank 1 failed, and all ranks end: RuntimeError: the disk is full" in err


def test_a_rank_that_hears_nothing_says_where_it_waits_and_ends(tmp_path: Path) -> None:
    stuck = """
import time
def stop(run):
    if comm.rank == 1 and run.epoch == 2:
        time.sleep(1000)
ranks = fn.distributed.Ranks(comm, timeout=1.0)
net.fit(X[own], Y[own], epochs=4000, comm=ranks, callbacks=[stop])
"""
    code, _, err = launched.run(2, tmp_path, stuck)
    assert code != 0
    assert "Timeout (0:00:01)!" in err
    assert "most recent call first" in err


def test_other_communicators_of_mpi_are_refused(tmp_path: Path) -> None:
    code, out, err = launched.run(
        1,
        tmp_path,
        "try:\n    net.fit(X, Y, comm=MPI.COMM_NULL)\nexcept fn.InputError as e:\n    print(e)\n",
    )
    assert (code, err) == (0, "")
    assert "such as MPI.COMM_WORLD, got COMM_NULL or an intercommunicator" in out


def test_without_mpi_the_message_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mpi4py", None)
    with pytest.raises(FastNetError, match=r"needs mpi4py and MPI .*pip install 'fastnet-mlp"):
        mpi.world()
