"""Products of bfloat16 on the CPU: rounding, layouts, sums, remainders, and what is no number.

The reference rounds both factors in NumPy and multiplies them in float64. What may differ is the
float32 accumulation alone: products of two bfloat16 are exact in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

numba = pytest.importorskip("numba", reason="Numba is not installed")

from fastnet.backends.aligned import aligned  # noqa: E402
from fastnet.kernels.cpu import back_end, jit, pairs, tiles  # noqa: E402  # noqa: E402
from fastnet.kernels.cpu import pair_products as kernels  # noqa: E402
from fastnet.kernels.cpu.pair_layers import BLOCK, LANES, row_words, words_of  # noqa: E402
from tests.kernels import amx  # noqa: E402

Array = NDArray[Any]
SIZES = [(1, 1, 1), (1, 10, 784), (2, 3, 5), (7, 16, 2), (17, 33, 40), (33, 17, 31), (64, 64, 64)]
SIZES += [(5, 100, 129), (100, 80, 65), (49, 208, 8), (16, 32, 33)]
ROUNDING = 2.0**-24  # of float32, relative
TINIEST = 2.0**-126  # what is below counts as 0, also among the sums
EDGE, SENTINEL = 70, 12345.0

each_form = pytest.mark.parametrize("form", ["dots", "tiles"])


@pytest.fixture(autouse=True)
def instructions_or_what_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dot products have their form without instructions (`pairs.FASTEST`); tiles need one."""
    if not tiles.may_use_tiles():
        monkeypatch.setattr(tiles, "_call", amx.emulate)


@numba.njit(error_model="numpy")
def call_plain(like, c, ldc, a, panels, words, m, n, k, bias, relu, where):  # type: ignore[no-untyped-def]
    plain(like, c, ldc, a, panels, words, m, n, k, bias, relu, where)


plain = kernels.make_dots(pairs.Pairs)


def function(kernel: Any) -> Callable[..., int]:
    """Return a kernel that other kernels call as a function of Python, compiled here and now."""
    if kernel not in _loaded:
        code = back_end.machine_code(back_end.optimised(jit.front_end(kernel, np.float32)))
        _loaded[kernel] = back_end.load(kernel.__name__, code)
    return _loaded[kernel].call


_loaded: dict[Any, back_end.Kernel] = {}


def rounded(values: Array) -> Array:
    """Return float32 rounded to bfloat16, ties to even, as float32; NaN stays NaN."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    near = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    near[np.isnan(values)] = 0x7FC00000
    return near.astype(np.uint32).view(np.float32)


def address(array: Array | None) -> int:
    return 0 if array is None else array.ctypes.data


def panels_of(b: Array, *, turned: bool = False) -> Array:
    """Return the panels (P, words, L) of B (k, n); with `turned`, B.T is what is in memory."""
    k, n = b.shape
    source = np.ascontiguousarray(b.T if turned else b)
    words = words_of.py_func(k)
    out = aligned((-(-n // LANES), words, LANES), np.uint32)
    out.fill(0xFFFFFFFF)
    rows, columns = source.shape
    arguments = out.ctypes.data, words, source.ctypes.data, columns, rows, columns, turned
    function(kernels.round_panels)(*arguments)
    return out


def multiply(
    form: str,
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    relu: bool = False,
    where: Array | None = None,
    down: bool = False,
    turned: bool = False,
    rows_at_once: int = BLOCK,
) -> Array:
    """Return ``a @ b + bias`` by a kernel; with `down`, a.T is what is in memory."""
    (m, k), n = a.shape, b.shape[1]
    memory = np.full(m * n + 2 * EDGE, SENTINEL, np.float32)
    c = memory[EDGE : EDGE + m * n]
    source = np.ascontiguousarray(a.T if down else a)
    room = aligned((rows_at_once * row_words.py_func(k),), np.float32)
    room.fill(np.nan)
    panels = panels_of(b, turned=turned)
    kernel = kernels.tile_product if form == "tiles" else kernels.dot_product
    function(kernel)(
        *(c.ctypes.data, n, source.ctypes.data, source.shape[1], down),
        *(panels.ctypes.data, m, n, k),
        *(address(bias), relu, address(where), room.ctypes.data, room.size),
    )
    assert (memory[:EDGE] == SENTINEL).all() and (memory[EDGE + m * n :] == SENTINEL).all()
    return c.reshape(m, n).copy()


def matrices(m: int, n: int, k: int, seed: int = 0) -> tuple[Array, ...]:
    """Return A, B, a bias and a matrix like the product, of many magnitudes."""
    rng = np.random.default_rng(seed)
    shapes = (m, k), (k, n), (n,), (m, n)
    return tuple(
        (rng.standard_normal(shape) * 10.0 ** rng.uniform(-2, 2, shape)).astype(np.float32)
        for shape in shapes
    )


def assert_sums(
    got: Array, a: Array, b: Array, bias: Array | None = None, *, where: Array | None = None
) -> None:
    """Fail unless each element is the exact sum of its products, but for float32 accumulation.

    A sum of t terms takes fewer than t roundings, each of a partial sum that is at most the sum of
    the magnitudes (Higham, "Accuracy and stability of numerical algorithms", section 3.1).
    Only elements `where` that is true are looked at.
    """
    left, right = rounded(a).astype(np.float64), rounded(b).astype(np.float64)
    start = np.zeros(b.shape[1]) if bias is None else bias.astype(np.float64)
    terms = a.shape[1] + 2
    magnitude = np.abs(left) @ np.abs(right) + np.abs(start)
    bound = terms * ROUNDING / (1 - terms * ROUNDING) * magnitude + terms * TINIEST
    near = np.abs(got - (left @ right + start)) <= bound
    assert near.all() if where is None else near[where].all()


# --- rounding and layouts -------------------------------------------------------------------------


def test_rounding_is_to_the_nearest_with_ties_to_even() -> None:
    values = [1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8), np.inf, -np.inf]
    values += [0.0, -0.0, np.nan, 3.4e38, 2.0**-126, 1e-40]
    column = np.array(values, np.float32)[:, None]
    words = np.ascontiguousarray(panels_of(column)[0, :, 0])
    got = words.view(np.uint16)[: len(values)].astype(np.uint32) << 16
    numbers = got.view(np.float32)
    expected = [1, 1, 1 + 2**-6, 1 + 2**-7, -1, np.inf, -np.inf, 0, -0.0, np.nan, np.inf, 2.0**-126]
    np.testing.assert_array_equal(numbers[:-1], np.array(expected, np.float32))
    np.testing.assert_array_equal(np.signbit(numbers[7:9]), [False, True])
    # The instruction takes subnormal numbers as 0.
    assert numbers[-1] in (0, rounded(column)[-1, 0])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_panels_hold_the_words_of_their_columns_and_zeros(
    m: int, n: int, k: int, turned: bool
) -> None:
    b = matrices(m, n, k)[1]
    panels = panels_of(b, turned=turned)
    padded = np.zeros((2 * panels.shape[1], LANES * len(panels)), np.float32)
    padded[:k, :n] = rounded(b)
    words = padded.view(np.uint32) >> 16
    words = words[0::2] | words[1::2] << 16
    expected = words.reshape(len(words), -1, LANES).transpose(1, 0, 2)
    np.testing.assert_array_equal(panels, expected)


def test_rows_are_never_a_power_of_two_of_vectors_apart() -> None:
    for count in (1, 31, 32, 33, 512, 784, 4096):
        vectors, rest = divmod(row_words.py_func(count), LANES)
        assert rest == 0 and vectors % 2 == 1 and 2 * vectors * LANES >= count


# --- sums -----------------------------------------------------------------------------------------


@each_form
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_products_are_those_of_the_rounded_factors(form: str, m: int, n: int, k: int) -> None:
    a, b, bias, _ = matrices(m, n, k)
    assert_sums(multiply(form, a, b), a, b)
    assert_sums(multiply(form, a, b, bias), a, b, bias)
    assert_sums(multiply(form, a, b, turned=True), a, b)
    assert_sums(multiply(form, a, b, down=True), a, b)


def test_the_bound_would_notice_factors_that_are_not_rounded() -> None:
    a, b, _, _ = matrices(17, 33, 40)
    exact = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    truncated = [(x.view(np.uint32) & 0xFFFF0000).view(np.float32) for x in (a, b)]
    for wrong in (exact, truncated[0] @ truncated[1], rounded(a) @ b, a @ rounded(b)):
        with pytest.raises(AssertionError):
            assert_sums(wrong, a, b)


@each_form
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_relu_and_its_derivative_come_after_the_sum(form: str, m: int, n: int, k: int) -> None:
    a, b, bias, where = matrices(m, n, k)
    plain_sum = multiply(form, a, b, bias)
    np.testing.assert_array_equal(multiply(form, a, b, bias, relu=True), np.maximum(plain_sum, 0))
    selected = multiply(form, a, b, where=where)
    np.testing.assert_array_equal(selected, np.where(where > 0, multiply(form, a, b), 0))


def in_order(form: str, a: Array, b: Array) -> Array:
    """Return the product in float32, each sum in the order that the modules describe."""
    m, k = a.shape
    steps = words_of.py_func(k)
    left, right = np.zeros((m, 2 * steps), np.float32), np.zeros((2 * steps, b.shape[1]))
    left[:, :k], right[:k] = rounded(a), rounded(b)
    right = right.astype(np.float32)
    total = np.zeros((m, b.shape[1]), np.float32)
    if form == "dots":
        for word in range(steps):
            for p in (2 * word + 1, 2 * word):
                total += left[:, p, None] * right[p]
        return total
    for first in range(0, 2 * steps, BLOCK):
        halves = np.zeros((2, *total.shape), np.float32)
        for p in range(first, first + BLOCK):
            halves[p % 2] += left[:, p, None] * right[p]
        total += halves[0] + halves[1]
    return total


@each_form
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_each_sum_has_the_bits_of_its_order(form: str, m: int, n: int, k: int) -> None:
    a, b, _, _ = matrices(m, n, k)
    np.testing.assert_array_equal(multiply(form, a, b), in_order(form, a, b))


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_the_form_without_instructions_has_the_bits_of_the_dot_products(
    m: int, n: int, k: int
) -> None:
    """So what tests compute where the processor has none is what users compute elsewhere."""
    a, b, bias, where = matrices(m, n, k)
    stride, words = row_words.py_func(k), words_of.py_func(k)
    rows = np.zeros((m, 2 * stride), np.float32)
    rows[:, :k] = rounded(a)
    halves = (rows.view(np.uint32) >> 16).astype(np.uint16)
    panels = panels_of(b)
    for options in ((0, 0, 0), (address(bias), 1, 0), (0, 0, address(where))):
        c = np.empty((m, n), np.float32)
        factors = c.ctypes.data, n, halves.ctypes.data, panels.ctypes.data
        call_plain(np.zeros(1, np.float32), *factors, words, m, n, k, *options)
        start, relu = bias if options[0] else None, bool(options[1])
        selected = where if options[2] else None
        expected = multiply("dots", a, b, start, relu=relu, where=selected)
        np.testing.assert_array_equal(c, expected)


@each_form
def test_a_row_has_the_same_bits_alone_and_among_others(form: str) -> None:
    a, b, bias, _ = matrices(131, 50, 77)
    together = multiply(form, a, b, bias)
    for rows_at_once in (2 * BLOCK, 8 * BLOCK):
        again = multiply(form, a, b, bias, rows_at_once=rows_at_once)
        np.testing.assert_array_equal(again, together)
    for first, last in ((0, 1), (5, 6), (3, 20), (130, 131), (40, 131)):
        part = multiply(form, a[first:last], b, bias)
        np.testing.assert_array_equal(part, together[first:last])


@each_form
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
def test_what_is_no_finite_bfloat16_goes_where_it_must_and_nowhere_else(
    form: str, value: float
) -> None:
    a, b, _, _ = matrices(35, 37, 33)
    for left, right in (((4, 32), None), (None, (32, 36)), ((34, 0), (0, 0))):
        x, w = a.copy(), b.copy()
        if left is not None:
            x[left] = value
        if right is not None:
            w[right] = value
        with np.errstate(invalid="ignore", over="ignore"):
            expected = in_order(form, x, w)
        np.testing.assert_array_equal(multiply(form, x, w), expected)
        assert 0 < (~np.isfinite(expected)).sum() < expected.size


@each_form
def test_numbers_whose_products_are_too_small_do_no_harm(form: str) -> None:
    a, b, _, _ = matrices(5, 9, 40)
    for x, w in ((a * np.float32(1e-38), b), (a * np.float32(1e-25), b * np.float32(1e-25))):
        got = multiply(form, x, w)
        assert np.isfinite(got).all()
        left, right = (rounded(v).astype(np.float64) for v in (x, w))
        # Subnormal factors may count as 0.
        lost = 40 * TINIEST * max(1.0, float(np.abs(right).max()), float(np.abs(left).max()))
        bound = 42 * ROUNDING * (np.abs(left) @ np.abs(right)) + lost
        assert (np.abs(got - left @ right) <= bound).all()
