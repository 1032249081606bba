"""Copies to the GPU: in slices that may be read late, with nothing pinned or kept afterwards."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np
import pytest
from numpy.typing import NDArray

from fastnet.backends.gpu import cupy_runtime, transfers
from fastnet.backends.gpu.cupy_runtime import CudaRuntime
from fastnet.backends.gpu.memory import Memory
from fastnet.backends.gpu.transfers import send, to_device, zeros
from tests.cuda.host_module import WHY_NOT
from tests.cuda.host_runtime import HostRuntime
from tests.networks import dense_plan


class LateArray:
    """Device memory that is written when somebody waits, as late as a GPU may."""

    def __init__(self, cupy: LateCupy, memory: NDArray[Any]) -> None:
        self.cupy, self.memory = cupy, memory

    def __getitem__(self, part: slice) -> LateArray:
        return type(self)(self.cupy, self.memory[part])

    def reshape(self, *shape: int) -> LateArray:
        return type(self)(self.cupy, self.memory.reshape(*shape))

    def fill(self, value: float) -> None:
        self.memory.fill(value)

    def set(self, values: NDArray[Any]) -> None:
        assert values.shape == self.memory.shape and values.flags.c_contiguous
        assert any(np.shares_memory(values, room) for room in self.cupy.pinned)
        self.cupy.pending.append((self.memory, values))


class Refusing(LateArray):
    def set(self, values: NDArray[Any]) -> None:
        raise RuntimeError("cudaErrorIllegalAddress")


class LateCupy:
    """As much of CuPy as a transfer uses. `patience`: whether it is waited for."""

    def __init__(self, *, patience: bool = True) -> None:
        self.pending: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.pinned: list[NDArray[Any]] = []
        self.most_pinned, self.arrays, self.patience = 0, 0, patience
        stream = SimpleNamespace(record=self.record)
        self.cuda = SimpleNamespace(
            get_current_stream=lambda: stream, alloc_pinned_memory=self.alloc_pinned_memory
        )

    def record(self) -> Any:
        number = len(self.pending)

        def synchronize() -> None:
            if self.patience:
                for k, (into, values) in enumerate(self.pending[:number]):
                    into[...] = values
                    self.pending[k] = into[:0], values[:0]

        return SimpleNamespace(synchronize=synchronize)

    def alloc_pinned_memory(self, size: int) -> NDArray[np.uint8]:
        self.pinned.append(np.full(size, 0xFF, np.uint8))
        self.most_pinned = max(self.most_pinned, sum(room.nbytes for room in self.pinned))
        return self.pinned[-1]

    def get_default_pinned_memory_pool(self) -> Any:
        return SimpleNamespace(free_all_blocks=self.pinned.clear)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> LateArray:
        return LateArray(self, np.full(shape, 77, dtype))

    def array(self, values: NDArray[Any]) -> LateArray:
        self.arrays += 1
        return LateArray(self, values.copy())


ROWS = np.arange(7 * 30, dtype=np.float64).reshape(30, 7)
LARGE = {
    "rows": ROWS,
    "columns": np.asfortranarray(ROWS),
    "every second row": np.repeat(ROWS, 2, axis=0)[::2],
    "numbers": np.arange(500, dtype=np.int64),
    "one row": ROWS.reshape(1, -1),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "SLICE_BYTES", 8 * 7 * 4)
    monkeypatch.setattr(transfers, "LARGE_BYTES", 8 * 7 * 8)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", LARGE)
def test_large_arrays_go_in_slices_through_two_buffers(name: str) -> None:
    cupy, values = LateCupy(), LARGE[name]
    array = to_device(cupy, values)
    np.testing.assert_array_equal(array.memory, values)
    assert not cupy.arrays
    assert cupy.most_pinned == 2 * transfers.SLICE_BYTES
    assert not cupy.pinned and len(cupy.pending) > 2


@pytest.mark.usefixtures("small")
def test_buffers_that_are_not_waited_for_are_noticed() -> None:
    """A negative control: without waiting, a slice is overwritten before it is read."""
    cupy = LateCupy(patience=False)
    array = cupy.empty(ROWS.shape, ROWS.dtype)
    send(cupy, array, ROWS)
    for into, values in cupy.pending:
        into[...] = values
    assert not np.array_equal(array.memory, ROWS)


@pytest.mark.usefixtures("small")
def test_small_arrays_are_cupy_s_affair() -> None:
    cupy = LateCupy()
    np.testing.assert_array_equal(to_device(cupy, ROWS[:8]).memory, ROWS[:8])
    assert cupy.arrays == 1 and not cupy.most_pinned


@pytest.mark.usefixtures("small")
def test_after_an_error_nothing_is_pinned() -> None:
    cupy = LateCupy()
    array = Refusing(cupy, ROWS.copy())
    with pytest.raises(RuntimeError, match="IllegalAddress"):
        send(cupy, array, ROWS)
    assert not cupy.pinned


def test_zeros_are_written_by_the_device() -> None:
    cupy = LateCupy()
    assert not zeros(cupy, (3, 4), np.float32).memory.any()
    assert not cupy.arrays and not cupy.pending


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_an_engine_s_memory_begins_without_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, runtime = dense_plan(3, (4, "relu"), (2, "identity")), HostRuntime(np.float32)
    parameters, state = (runtime.empty((size,), np.float32) for size in (plan.size, 0))
    monkeypatch.setattr(HostRuntime, "to_device", None)
    memory = Memory(plan, parameters, state, runtime)
    assert not memory.gradients.any() and not memory.tally.any() and not memory.clock.any()


def test_uploaded_arrays_live_until_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy may come after `set` has returned."""
    runtime = object.__new__(CudaRuntime)
    waits: list[Any] = []
    runtime._cupy = SimpleNamespace(asnumpy=lambda values: values)
    runtime._uploaded = []
    monkeypatch.setattr(CudaRuntime, "mark", lambda self: "mark")
    monkeypatch.setattr(CudaRuntime, "wait", lambda self, mark: waits.append(mark))
    monkeypatch.setattr(cupy_runtime, "UPLOADS", 3)
    into = SimpleNamespace(set=lambda values: None)

    def upload() -> Any:
        values = np.zeros(4)
        runtime.upload(into, values)
        return ref(values)

    first = upload()
    assert first() is not None and sys.getrefcount(first()) > 1
    runtime.to_host(np.zeros(1))
    assert first() is None
    kept = [upload() for _ in range(4)]
    assert waits == ["mark"]
    assert [one() is None for one in kept] == [True, True, True, False]
