"""The CPU kernels' matrix products and transpose: every remainder and stride, nothing outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.closeness import assert_close

numba = pytest.importorskip("numba", reason="Numba is not installed")

from fastnet.kernels.cpu import gemm as kernels  # noqa: E402

DTYPES = [np.float32, np.float64]
EDGE = 70  # sentinels around an output: more than the widest vector
SENTINEL = 12345.0
IN_PLACE = 2**62, 0, 0  # no B is so large that blocks compute the product
TRUE = np.bool_(True)
SIZES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 79, 100]


@numba.njit(error_model="numpy")
def call_gemm(  # type: ignore[no-untyped-def]
    like, c, ldc, a, row_stride, column_stride, b, ldb, m, n, k, bias, relu, where
):
    kernels.gemm(like, c, ldc, a, row_stride, column_stride, b, ldb, m, n, k, bias, relu, where)


@numba.njit(error_model="numpy")
def call_narrow(like, c, ldc, a, lda, bt, ldbt, m, n, k, bias, relu):  # type: ignore[no-untyped-def]
    kernels.narrow_gemm(like, c, ldc, a, lda, bt, ldbt, m, n, k, bias, relu)


@numba.njit(error_model="numpy")
def call_product(like, c, a, b, m, n, k, bias, relu, room):  # type: ignore[no-untyped-def]
    wide = n - kernels.narrow_part(like, n, k, TRUE)
    kernels.product(like, c, n, a, k, b, n, m, n, k, wide, bias, relu, room)


@numba.njit(error_model="numpy")
def call_turned(like, c, a, lda, b, m, n, k, room):  # type: ignore[no-untyped-def]
    kernels.product_of_transposed(like, c, n, a, lda, b, n, m, n, k, room)


@numba.njit(error_model="numpy")
def call_transpose(like, out, ldo, a, lda, rows, columns):  # type: ignore[no-untyped-def]
    kernels.transpose(like, out, ldo, a, lda, rows, columns)


def guarded(shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return an array of NaN, and the memory with sentinels before and behind it."""
    size = int(np.prod(shape))
    memory = np.full(size + 2 * EDGE, SENTINEL, dtype)
    memory[EDGE : EDGE + size] = np.nan
    return memory[EDGE : EDGE + size].reshape(shape), memory


def is_untouched(memory: NDArray[Any]) -> bool:
    return bool((memory[:EDGE] == SENTINEL).all() and (memory[-EDGE:] == SENTINEL).all())


def product(
    a: NDArray[Any],
    b: NDArray[Any],
    bias: NDArray[Any] | None = None,
    relu: bool = False,
    where: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return ``a @ b + bias`` by the kernel of tiles; `a` may be a transposed view."""
    (m, k), n = a.shape, b.shape[1]
    c, memory = guarded((m, n), b.dtype)
    strides = (stride // a.itemsize for stride in a.strides)
    addresses = c.ctypes.data, n, a.ctypes.data, *strides, b.ctypes.data, n
    call_gemm(
        b.reshape(-1)[:1] if b.size else np.zeros(1, b.dtype),
        *addresses,
        *(m, n, k, address(bias), int(relu), address(where)),
    )
    assert is_untouched(memory)
    return c


def address(array: NDArray[Any] | None) -> int:
    return 0 if array is None else array.ctypes.data


def narrow(
    a: NDArray[Any], b: NDArray[Any], bias: NDArray[Any] | None = None, relu: bool = False
) -> NDArray[Any]:
    """Return ``a @ b + bias`` by the kernel of dot products."""
    (m, k), n = a.shape, b.shape[1]
    c, memory = guarded((m, n), b.dtype)
    turned = np.ascontiguousarray(b.T)
    call_narrow(
        np.zeros(1, b.dtype),
        *(c.ctypes.data, n, a.ctypes.data, k, turned.ctypes.data, k),
        *(m, n, k, address(bias), int(relu)),
    )
    assert is_untouched(memory)
    return c


def chosen(
    a: NDArray[Any], b: NDArray[Any], bias: NDArray[Any] | None = None, relu: bool = False
) -> NDArray[Any]:
    """Return ``a @ b + bias`` by the kernels that a forward pass takes for these sizes."""
    (m, k), n = a.shape, b.shape[1]
    c, memory = guarded((m, n), b.dtype)
    scratch, beyond = guarded((n, k), b.dtype)
    call_product(
        np.zeros(1, b.dtype),
        *(c.ctypes.data, a.ctypes.data, b.ctypes.data, m, n, k, address(bias), int(relu)),
        (scratch.ctypes.data, scratch.size, *IN_PLACE),
    )
    assert is_untouched(memory) and is_untouched(beyond)
    return c


def matrices(
    m: int, n: int, k: int, dtype: Any, *, turned: bool = False
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(m * 10_007 + n * 101 + k)
    a = rng.standard_normal((k, m) if turned else (m, k)).astype(dtype)
    bias = rng.standard_normal(n).astype(dtype)
    return a.T if turned else a, rng.standard_normal((k, n)).astype(dtype), bias


def exact(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return a.astype(np.longdouble) @ b.astype(np.longdouble)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("turned", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("n", SIZES)
def test_products_of_every_remainder_are_right(n: int, turned: bool, dtype: Any) -> None:
    for m in SIZES:
        k = 1 + (7 * m + n) % 40
        a, b, bias = matrices(m, n, k, dtype, turned=turned)
        expected = np.asarray(exact(a, b) + bias, np.float64)
        assert_close(product(a, b, bias), expected, terms=k)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wrong_product_is_noticed(dtype: Any) -> None:
    a, b, _ = matrices(5, 6, 7, dtype)
    wrong = np.asarray(exact(a, b), np.float64)
    wrong[4, 5] *= 1 + 1e-4
    with pytest.raises(AssertionError):
        assert_close(product(a, b), wrong, terms=7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_of_nothing_is_the_bias(dtype: Any) -> None:
    a, b, bias = matrices(5, 20, 0, dtype)
    assert np.array_equal(product(a, b, bias), np.tile(bias, (5, 1)))
    assert np.array_equal(product(a, b), np.zeros((5, 20)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_cuts_below_zero_and_lets_nan_pass(dtype: Any) -> None:
    a, b, bias = matrices(9, 35, 11, dtype)
    plain, cut = product(a, b, bias), product(a, b, bias, relu=True)
    assert np.array_equal(cut, np.maximum(plain, 0))
    a[3, 2] = np.nan
    assert np.isnan(product(a, b, bias, relu=True)[3]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_however_many_are_computed_with_it(dtype: Any) -> None:
    a, b, bias = matrices(29, 83, 50, dtype)
    together = product(a, b, bias)
    for first in range(0, 29):
        for count in (1, 2, 5, 13):
            part = product(np.ascontiguousarray(a[first : first + count]), b, bias)
            assert np.array_equal(part, together[first : first + count])


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_are_kept_where_another_matrix_is_positive(dtype: Any) -> None:
    a, b, _ = matrices(9, 83, 11, dtype)
    where = np.random.default_rng(0).standard_normal((9, 83)).astype(dtype)
    where[0, :3] = 0.0, -0.0, np.nan
    a[3, 2] = np.nan
    kept = product(a, b, where=where)
    assert np.array_equal(kept, np.where(where > 0, product(a, b), 0), equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", range(1, 21))
def test_products_by_dots_are_right(n: int, dtype: Any) -> None:
    for m in SIZES:
        for k in (0, 1, 3, 16, 17, 50, 100):
            a, b, bias = matrices(m, n, k, dtype)
            expected = np.asarray(exact(a, b) + bias, np.float64)
            assert_close(narrow(a, b, bias), expected, terms=k + 1)
            assert np.array_equal(narrow(a, b, bias, relu=True), np.maximum(narrow(a, b, bias), 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dots_do_not_spread_nan_and_infinity_to_other_rows(dtype: Any) -> None:
    a, b, _ = matrices(11, 3, 37, dtype)
    expected = narrow(a, b)
    a[5, 36], a[7, 0] = np.nan, np.inf
    got = narrow(a, b)
    assert np.isnan(got[5]).all() and not np.isfinite(got[7]).any()
    others = [0, 1, 2, 3, 4, 6, 8, 9, 10]
    assert np.array_equal(got[others], expected[others])


WIDTHS = [1, 2, 4, 9, 10, 16, 17, 18, 20, 21, 33, 36, 50, 64, 65, 68, 69, 127, 128, 130, 260, 263]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", WIDTHS)
def test_the_kernels_chosen_for_a_layer_are_right(n: int, dtype: Any) -> None:
    """Products of all columns, of the last few, and of none by dots; small and large k."""
    for k in (1, 5, 40, 300):
        a, b, bias = matrices(7, n, k, dtype)
        expected = np.asarray(exact(a, b) + bias, np.float64)
        assert_close(chosen(a, b, bias), expected, terms=k + 1)
        assert np.array_equal(chosen(a, b, bias, relu=True), np.maximum(chosen(a, b, bias), 0))
        for row in range(7):
            assert np.array_equal(chosen(a[row : row + 1], b, bias)[0], chosen(a, b, bias)[row])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", WIDTHS)
def test_the_kernels_chosen_for_the_gradient_of_weights_are_right(n: int, dtype: Any) -> None:
    for k, m, lda in ((1, 5, 5), (40, 3, 8), (300, 37, 40)):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((k, lda)).astype(dtype)
        dz = rng.standard_normal((k, n)).astype(dtype)
        c, memory = guarded((m, n), dtype)
        scratch, beyond = guarded((m, n), dtype)
        call_turned(
            np.zeros(1, dtype),
            *(c.ctypes.data, x.ctypes.data, lda, dz.ctypes.data, m, n, k),
            (scratch.ctypes.data, scratch.size, *IN_PLACE),
        )
        assert_close(c, np.asarray(exact(x[:, :m].T, dz), np.float64), terms=k)
        assert is_untouched(memory) and is_untouched(beyond)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", SIZES)
def test_a_transpose_of_every_remainder_is_exact(rows: int, dtype: Any) -> None:
    for columns in SIZES:
        a = np.arange(rows * columns, dtype=dtype).reshape(rows, columns)
        out, memory = guarded((columns, rows), dtype)
        call_transpose(a.reshape(-1), out.ctypes.data, rows, a.ctypes.data, columns, rows, columns)
        assert np.array_equal(out, a.T)
        assert is_untouched(memory)
