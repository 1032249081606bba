"""NumPy's BLAS: a product gets as many threads as it is worth, and the process keeps its number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.backends import blas
from fastnet.backends.blas import BLAS, blas_pools


def blas_now() -> list[int]:
    return [library.num_threads for library in BLAS._libraries]  # SciPy may have its own


def seen_in_fit(sizes: list[int], rows: int, **options: Any) -> set[int]:
    """Return the numbers of threads that BLAS had in the steps of a fit."""
    seen: set[int] = set()
    net = fn.Network(sizes, backend="numpy")
    engine = net.engine()
    step = engine.train_step

    def spy(*arguments: Any) -> None:
        seen.update(blas_now())
        step(*arguments)

    engine.train_step = spy  # type: ignore[method-assign]
    x, y = np.zeros((rows, sizes[0]), np.float32), np.zeros((rows, sizes[-1]), np.float32)
    net.fit(x, y, epochs=1, batch_size=rows, **options)
    return seen


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process have eight cores and eight threads of BLAS, which count alone."""
    monkeypatch.setattr("fastnet.backends.numpy_backend.cores", lambda: 8)
    monkeypatch.setattr(blas.BlasThreads, "most", lambda self: 8)


WIDE = [512, 512, 1]  # a product of half a million operations for each row


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("rows", "asked_for", "expected"),
    [
        (300, None, 1),
        (400, None, 2),
        (800, None, 4),
        (8000, None, 8),
        (800, 2, 2),
        (300, 8, 1),
        (8000, 1, 1),
    ],
)
def test_blas_gets_as_many_threads_as_the_size_of_a_product_is_worth(
    rows: int, asked_for: int | None, expected: int
) -> None:
    engine = fn.Network(WIDE, backend="numpy").engine(asked_for)
    assert engine.threads_for(rows) == expected


@pytest.mark.skipif(not blas_pools(), reason="NumPy's BLAS cannot be bounded here")
def test_small_products_are_not_shared_and_the_number_comes_back() -> None:
    before = blas_now()
    assert seen_in_fit(WIDE, 64) == {1}
    assert blas_now() == before


@pytest.mark.skipif(not blas_pools(), reason="NumPy's BLAS cannot be bounded here")
def test_the_least_bound_of_several_holds_and_the_first_number_comes_back() -> None:
    before = blas_now()
    first, second = BLAS.bounded(2), BLAS.bounded(1)
    first.__enter__()
    second.__enter__()
    assert set(blas_now()) == {1}
    first.__exit__(None, None, None)  # not in the order in which they came
    assert set(blas_now()) == {1}
    second.__exit__(None, None, None)
    assert blas_now() == before


@pytest.mark.skipif(not blas_pools(), reason="NumPy's BLAS cannot be bounded here")
def test_an_error_within_leaves_no_bound() -> None:
    before = blas_now()
    with pytest.raises(KeyboardInterrupt), BLAS.bounded(1):
        raise KeyboardInterrupt
    assert blas_now() == before


# --- SciPy's --------------------------------------------------------------------------------------


class Library:
    """A library of BLAS in a process."""

    def __init__(self, filepath: str) -> None:
        self.filepath, self.num_threads = filepath, 4

    def set_num_threads(self, count: int) -> None:
        self.num_threads = count


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> list[Library]:
    """NumPy's library, the system's, and SciPy's."""
    places = "numpy.libs/libscipy_openblas64_.so", "usr/lib/libblas.so", "scipy.libs/libopenblas.so"
    found = [Library(f"/x/{place}") for place in places]

    class Controller:
        lib_controllers = found

        def select(self, user_api: str) -> Controller:
            return self

    monkeypatch.setattr(blas, "ThreadpoolController", Controller)
    return found


def test_what_scipy_has_for_itself_is_bounded_alone(three: list[Library]) -> None:
    with blas.BlasThreads(of_scipy=True).bounded(1):
        assert [one.num_threads for one in three] == [4, 4, 1]
        with blas.BlasThreads().bounded(2):
            assert [one.num_threads for one in three] == [2, 2, 1]
    assert [one.num_threads for one in three] == [4, 4, 4]


def test_lbfgs_runs_scipys_library_on_one_thread(
    three: list[Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr(blas, "SCIPYS_BLAS", blas.BlasThreads(of_scipy=True))
    seen: list[int] = []
    x = np.arange(12.0).reshape(6, 2)
    net = fn.Network([2, 1], backend="numpy")
    net.fit(
        x,
        x @ [1.0, 2.0],
        optimizer="lbfgs",
        epochs=3,
        callbacks=[lambda run: seen.append(three[2].num_threads)],
    )
    assert set(seen) == {1}
    assert three[2].num_threads == 4
