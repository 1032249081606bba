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
