"""Gradients that stay on the GPUs: by NCCL, by MPI, or alone, with the bits of the host's sums."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet import backends
from fastnet.cli.commands.train.distributed import placed
from fastnet.distributed import Ranks, nccl
from fastnet.distributed.group import Group
from fastnet.distributed.transports import DeviceTransport, choose
from tests.cuda import strict_backend
from tests.cuda.strict import DeviceArray
from tests.distributed import fake_nccl
from tests.distributed.in_threads import InThreads, run

pytestmark = pytest.mark.skipif(not strict_backend.stands_in(), reason="it asks the stand-in")

X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(int)
LAYERS = [fn.Dense(6), fn.BatchNorm("relu"), fn.Dropout(0.2), fn.Dense(2, "softmax")]


@pytest.fixture(autouse=True)
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_backend.CUPY.runtime, "devices", 4)
    monkeypatch.setattr(backends.find("cupy"), "_numbered", {})  # other tests have two
    monkeypatch.setattr(nccl, "library", lambda: fake_nccl)


class WithGpuMemory(InThreads):
    """MPI that takes arrays of CuPy."""

    def __init__(self, room: Any, rank: int) -> None:
        super().__init__(room, rank)
        self.takes_gpu_memory = True
        self.from_gpu = 0

    def gather_pieces(self, mine: Any, everyone: Any, counts: Sequence[int]) -> None:
        super().gather_pieces(self._memory(mine), self._memory(everyone), counts)

    def exchange(
        self, mine: Any, counts: Sequence[int], received: Any, received_counts: Sequence[int]
    ) -> None:
        super().exchange(self._memory(mine), counts, self._memory(received), received_counts)

    def _memory(self, values: Any) -> Any:
        if not isinstance(values, DeviceArray):
            return values
        self.from_gpu += 1
        return values.memory


def fit(comm: InThreads, transport: Any = "auto", device: int | None = None, **how: Any) -> Any:
    """Return parameters, running statistics and losses of a network on a GPU of its own."""
    device = comm.rank if device is None else device
    net = fn.Network(LAYERS, inputs=5, backend="cupy", device=device, seed=1)
    own = slice(40 * comm.rank // comm.size, 40 * (comm.rank + 1) // comm.size)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 20, "validation_split": 0.2, **how}
    ranks = Ranks(comm, 4, transport=transport)
    history = net.fit(X[own], LABELS[own], comm=ranks, threads=1, **options)
    return net.parameters.tobytes(), net.state.tobytes(), history["val_loss"]


@pytest.fixture(scope="module")
def expected() -> Any:
    """What one rank has whose sums are the host's."""
    (alone,) = run(1, lambda comm: fit(comm, "host"))
    assert isinstance(alone, tuple), alone
    return alone


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_nccl_moves_what_the_gpus_add_up_with_the_bits_of_the_host(
    ranks: int, expected: Any
) -> None:
    before = len(fake_nccl.moved)
    assert run(ranks, fit) == [expected] * ranks
    assert len(fake_nccl.moved) > before


def test_mpi_does_where_it_says_that_it_can(monkeypatch: pytest.MonkeyPatch, expected: Any) -> None:
    monkeypatch.setattr(fake_nccl, "available", False)
    counts = []

    def with_memory(comm: InThreads) -> Any:
        there = WithGpuMemory(comm._room, comm.rank)
        made = fit(there)
        counts.append(there.from_gpu)
        return made

    assert run(2, with_memory) == [expected] * 2
    assert all(counts)


def test_one_rank_needs_neither(expected: Any) -> None:
    assert run(1, fit) == [expected]


def test_the_host_does_where_nothing_else_can(
    monkeypatch: pytest.MonkeyPatch, expected: Any
) -> None:
    monkeypatch.setattr(fake_nccl, "available", False)
    before = len(fake_nccl.moved)
    assert run(2, fit) == [expected] * 2
    assert len(fake_nccl.moved) == before


def chosen(comm: InThreads, transport: Any, device: int) -> str:
    backend = fn.Network([1, 1], backend="cupy", device=device).backend_object
    group = Group(Ranks(comm, transport=transport))
    with group.opened():
        group.settle()
        return type(choose(group, backend)).__name__


def one_without(rank: int) -> Callable[[], Any]:
    """Return what rank `rank`'s library says: there is none."""

    def version() -> int:
        from tests.cuda.strict import CURRENT

        if rank == CURRENT.device:
            raise OSError("libnccl.so.2: cannot open shared object file")
        return 22707

    return version


def test_one_rank_without_nccl_is_enough_for_none_to_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(3, lambda comm: chosen(comm, "auto", comm.rank)) == ["NcclTransport"] * 3
    monkeypatch.setattr(fake_nccl, "get_version", one_without(2))
    assert run(3, lambda comm: chosen(comm, "auto", comm.rank)) == ["HostTransport"] * 3
    for error in run(3, lambda comm: chosen(comm, "nccl", comm.rank)):
        assert str(error).startswith("transport='nccl': rank 2 has no NCCL (OSError: libnccl.so.2")


def test_ranks_that_share_a_gpu_do_without_nccl() -> None:
    with pytest.warns(fn.FastNetWarning, match="go through the host: ranks 0 and 1 share a GPU"):
        assert run(2, lambda comm: chosen(comm, "auto", 1)) == ["HostTransport"] * 2
    for error in run(2, lambda comm: chosen(comm, "nccl", 1)):
        assert "ranks 0 and 1 share a GPU, and each needs its own" in str(error)


def test_other_versions_do_without_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([22707, 22805])
    monkeypatch.setattr(fake_nccl, "get_version", lambda: next(numbers))
    for error in run(2, lambda comm: chosen(comm, "nccl", comm.rank)):
        assert re.search("rank 0 has NCCL 22[78]0[57], and rank 1 22[78]0[57]: install", str(error))


def test_nccl_that_does_not_start_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(fake_nccl.NcclCommunicator):
        def __init__(self, ndev: int, token: tuple[int, ...], rank: int) -> None:
            if rank == 1:
                raise fake_nccl.NcclError("NCCL_ERROR_SYSTEM_ERROR: no socket interface found")
            super().__init__(ndev, token, rank)

    monkeypatch.setattr(fake_nccl, "NcclCommunicator", Broken)
    monkeypatch.setattr(fake_nccl, "_WAIT", 0.1)
    aborted = []

    def train(comm: InThreads) -> Any:
        try:
            return fit(comm)
        finally:
            aborted.append(comm.aborted)

    results = run(2, train)
    assert aborted == [True, True]
    assert type(results[1]) is fn.DistributedError
    assert "NCCL does not start on rank 1 (NcclError: NCCL_ERROR_SYSTEM" in str(results[1])
    assert "transport='host'" in str(results[1])


def test_what_moves_arrays_of_a_gpu_needs_a_gpu() -> None:
    net = fn.Network(LAYERS, inputs=5, backend="numpy")
    (error,) = run(1, lambda comm: net.fit(X, LABELS, comm=Ranks(comm, transport="nccl")))
    assert type(error) is fn.InputError
    assert "the backend 'numpy' has none: leave it out" in str(error)


def test_other_transports_are_refused() -> None:
    with pytest.raises(fn.InputError, match="transport must be one of auto, nccl, mpi, host"):
        Ranks(None, transport="gloo")  # type: ignore[arg-type]


def test_each_process_of_a_machine_has_a_number() -> None:
    assert run(3, fn.distributed.local_rank) == [0, 1, 2]


@pytest.mark.parametrize(("local_rank", "asked", "taken"), [(1, None, 1), (5, None, 1), (1, 0, 0)])
def test_the_processes_of_the_command_take_the_gpus_in_turn(
    local_rank: int, asked: int | None, taken: int
) -> None:
    settings: Any = SimpleNamespace(model=SimpleNamespace(device=asked))
    group: Any = SimpleNamespace(communicator=SimpleNamespace(local_rank=local_rank))
    net = fn.Network([2, 1], backend="cupy", device=0)
    assert placed(net, settings, group).backend_object.device == taken
    on_host = fn.Network([2, 1], backend="numpy")
    assert placed(on_host, settings, group) is on_host
    assert placed(net, settings, None) is net


def test_the_stand_in_refuses_what_nccl_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_nccl, "_WAIT", 0.1)

    def twice(comm: InThreads) -> Any:
        return fake_nccl.NcclCommunicator(2, (1,) * 128, comm.rank)  # both on GPU 0

    assert any("Duplicate GPU" in str(error) for error in run(2, twice))
    communicator = fake_nccl.NcclCommunicator(1, fake_nccl.get_unique_id(), 0)
    values = DeviceArray(np.zeros(3, np.float32))
    for wrong in ((1, fake_nccl.NCCL_FLOAT32), (0, 99)):
        with pytest.raises(fake_nccl.NcclError, match="invalid argument"):
            communicator.send(values.data.ptr, 3, wrong[1], wrong[0], 0)
    with pytest.raises(AssertionError, match="both calls in one group"):
        communicator.send(values.data.ptr, 3, fake_nccl.NCCL_FLOAT32, 0, 0)


def test_it_has_the_names_of_cupy() -> None:
    """CuPy's module needs the library; what can be read without it is compared."""
    source = inspect.getsource(pytest.importorskip("cupyx.distributed._nccl_comm"))
    for name in ("get_unique_id", "groupStart", "groupEnd", "NcclCommunicator", "NCCL_FLOAT64"):
        assert f"nccl.{name}" in source
        assert hasattr(fake_nccl, name)


def test_the_only_rank_gets_what_it_sends() -> None:
    transport = DeviceTransport(strict_backend.StrictBackend().on(0))
    mine = DeviceArray(np.arange(3.0))
    for move in (
        lambda into: transport.exchange(mine, [3], into, [3]),
        lambda into: transport.gather_pieces(mine, into, [3]),
    ):
        into = DeviceArray(np.zeros((1, 3)))
        move(into)
        assert into.tolist() == [[0.0, 1.0, 2.0]]
