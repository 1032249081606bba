"""The CPU kernels' own exp, expm1, log, ..., against numbers of twice the precision."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

numba = pytest.importorskip("numba", reason="Numba is not installed")

from fastnet.kernels.cpu import elementary  # noqa: E402
from fastnet.kernels.cpu.lanes import load, store  # noqa: E402
from fastnet.kernels.cpu.vectors import lanes_of  # noqa: E402
from tests import normal  # noqa: E402

LIMITS = {"exp": 2, "expm1": 2, "log": 2, "log1p": 3, "tanh": 4}  # units in the last place
NORMAL = {"mills": 5, "density": 3}
DTYPES = [np.float32, np.float64]


@cache
def compiled_loop(name: str) -> Any:
    """Return a kernel that applies the function to every element."""
    function = getattr(elementary, name)

    @numba.njit(error_model="numpy")
    def loop(like: Any, out: Any, x: Any, count: Any) -> None:
        for i in range(0, count, lanes_of(like)):
            offset, left = i * like.itemsize, count - i
            store(out + offset, function(load(like, x + offset, left)), left)

    return loop


def apply(name: str, x: NDArray[Any]) -> NDArray[Any]:
    """Return the compiled function of each element."""
    out = np.empty_like(x)
    compiled_loop(name)(x[:1], out.ctypes.data, x.ctypes.data, len(x))
    return out


def arguments(name: str, dtype: Any) -> NDArray[Any]:
    """Return many arguments of every size whose results are normal numbers."""
    rng = np.random.default_rng(0)
    lowest, highest = np.log(np.finfo(dtype).tiny), np.log(np.finfo(dtype).max)
    small = 10.0 ** rng.uniform(-30, 0, 20_000)
    if name == "log1p":
        return np.concatenate([rng.uniform(0, 1, 50_000), small, [0.0, 1.0]]).astype(dtype)
    if name == "log":
        wide = np.exp(rng.uniform(0.99 * lowest, 0.999 * highest, 50_000))
        return np.concatenate([wide, rng.uniform(0.5, 2, 50_000), [1.0]]).astype(dtype)
    if name in NORMAL:
        return rng.uniform(0, 40, 100).astype(dtype)
    low = lowest * 0.99 if name == "exp" else -60.0
    wide = rng.uniform(low, 0.999 * highest if name != "tanh" else 60.0, 50_000)
    near = rng.uniform(-1, 1, 50_000)
    return np.concatenate([wide, near, small, -small, [0.0]]).astype(dtype)


def units(name: str, got: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    """Return the errors in units in the last place of the exact results."""
    exact = getattr(np, name)(x.astype(np.float64 if x.dtype == np.float32 else np.longdouble))
    return np.abs(got.astype(exact.dtype) - exact) / np.spacing(np.abs(exact.astype(x.dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_errors_are_within_the_stated_bound(name: str, dtype: Any) -> None:
    x = arguments(name, dtype)
    assert units(name, apply(name, x), x).max() <= LIMITS[name]


def units_of_normal(name: str, dtype: Any, shift: float = 0.0) -> float:
    """Return the largest error, in units in the last place, of results moved by `shift`."""
    rng = np.random.default_rng(0)
    # As far out as the density is a normal number.
    farthest = {np.float32: 13.0, np.float64: 37.5}[dtype]
    x = np.concatenate([rng.uniform(0, farthest, 500), rng.uniform(0, 2, 500), [0.0, 1e-30]])
    x = x.astype(dtype)
    got = (apply(name, x) * (1 + shift)).astype(dtype)
    exact = [getattr(normal, name)(float(v)) for v in x]
    wrong = [float(abs(normal.Decimal(float(a)) - b)) for a, b in zip(got, exact, strict=True)]
    return float((np.array(wrong) / np.spacing(np.array(exact, np.float64).astype(dtype))).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NORMAL)
def test_errors_of_the_normal_distribution_are_within_the_stated_bound(
    name: str, dtype: Any
) -> None:
    assert units_of_normal(name, dtype) <= NORMAL[name]
    assert units_of_normal(name, dtype, shift=8 * np.finfo(dtype).eps) > NORMAL[name]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_coefficient_that_is_slightly_off_is_found(dtype: Any) -> None:
    x = arguments("exp", dtype)
    worse = apply("exp", x) * (1 + 16 * np.finfo(dtype).eps)
    assert units("exp", worse.astype(dtype), x).max() > LIMITS["exp"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_and_nan_are_exact(dtype: Any) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30], dtype)
    np.testing.assert_array_equal(apply("exp", x), [np.nan, np.inf, 0, 1, np.inf, 0])
    np.testing.assert_array_equal(apply("expm1", x), [np.nan, np.inf, -1, 0, np.inf, -1])
    np.testing.assert_array_equal(apply("tanh", x), [np.nan, 1, -1, 0, 1, -1])
    positive = np.array([np.nan, np.inf, 1.0], dtype)
    np.testing.assert_array_equal(apply("log", positive), [np.nan, np.inf, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_goes_to_zero_and_to_infinity_where_it_should(dtype: Any) -> None:
    x = np.linspace(*(np.array([1.002, 0.9]) * np.log(np.finfo(dtype).tiny)), 1000, dtype=dtype)
    exact = np.exp(x.astype(np.longdouble))
    smallest = np.finfo(dtype).smallest_subnormal
    assert (np.abs(apply("exp", x) - exact) <= 2 * smallest + 2e-7 * exact).all()
    top = np.log(np.finfo(dtype).max.astype(np.longdouble)).astype(dtype)
    edge = np.array([top * (1 - 1e-6), top * (1 + 1e-6)], dtype)
    assert np.isfinite(apply("exp", edge)).tolist() == [True, False]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*LIMITS, *NORMAL])
def test_an_element_has_the_same_bits_wherever_it_stands(name: str, dtype: Any) -> None:
    """In a full vector, and in one with fewer elements."""
    x = arguments(name, dtype)[:67]
    alone = np.concatenate([apply(name, x[i : i + 1]) for i in range(len(x))])
    assert np.array_equal(apply(name, x), alone)
