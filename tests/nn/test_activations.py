"""The table of activations: every row against the reference, in place and not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastnet.nn import activations, initializers
from fastnet.nn.activations import ACTIVATIONS, Activation
from tests import normal, reference
from tests.closeness import assert_close, rounding

ROWS = pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# Around zero, over the whole working range, and where exponentials over- and underflow.
Z = np.array(
    [
        [-3.0, -0.75, -0.015625, 0.0, 0.015625, 0.75, 3.0],
        [-20.0, -9.0, -5.5, 5.5, 9.0, 20.0, 40.0],
        [-1000.0, -88.75, -104.0, -40.0, 60.0, 80.0, 85.0],
        [2.0**-30, -(2.0**-30), -1.0, 1.0, -2.0, 2.0, 0.5],
    ]
)


def scratch(count: int, like: Any) -> list[Any]:
    """Return scratch arrays in which nothing can be read."""
    return [np.full_like(like, np.nan) for _ in range(count)]


def run(row: Activation, z: Any) -> Any:
    y = np.full_like(z, np.nan)
    row.forward(y, z, *scratch(2, z))
    return y


@DTYPES
@ROWS
def test_each_value_is_the_reference_s(row: Activation, dtype: type) -> None:
    y = run(row, Z.astype(dtype))
    expected = np.array([reference.activate(row.name, z) for z in Z.tolist()])
    # Element by element: a small value is not measured by a large one.
    for got, want, z in zip(y.flat, expected.flat, Z.flat, strict=True):
        # tanh and exp see z rounded: e^z multiplies that by |z|. The rest is off by less than 1.
        size = abs(want) * max(1.0, abs(z)) if row.name in ("exp", "softmax") else None
        floor = 2.0**-20 if dtype is np.float32 else 0.0  # where 1 + tanh has lost its digits
        assert_close(got, want, scale=max(size or abs(want), abs(z) * 0.1, floor))


@DTYPES
@ROWS
def test_each_derivative_is_the_reference_s(row: Activation, dtype: type) -> None:
    z = Z.astype(dtype)
    y = run(row, z)
    dy = np.linspace(-1.5, 2.0, z.size).reshape(z.shape).astype(dtype)
    dz = np.full_like(z, np.nan)
    row.backward(dz, dy, y, z, *scratch(3, z))
    for got, a, b in zip(dz, Z.tolist(), dy.tolist(), strict=True):
        expected = reference.activate_backward(row.name, a, b)
        for k, want in enumerate(expected):
            assert_close(got[k], want, scale=max(2.0, abs(want) * max(1.0, abs(a[k]))))


@ROWS
def test_an_activation_may_take_the_place_of_z_unless_it_keeps_it(row: Activation) -> None:
    expected = run(row, Z.copy())
    z = Z.copy()
    if row.keeps_z:
        run(row, z)
        assert (z == Z).all()
        return
    row.forward(z, z, *scratch(2, z))
    np.testing.assert_array_equal(z, expected)


@ROWS
def test_a_derivative_reads_z_only_where_the_row_says_so(row: Activation) -> None:
    y, dy = run(row, Z.copy()), np.ones_like(Z)
    expected, dz = np.empty_like(Z), np.empty_like(Z)
    row.backward(expected, dy, y, Z.copy(), *scratch(3, Z))
    unreadable = np.full_like(Z, np.nan)
    if row.keeps_z:
        row.backward(dz, dy, unreadable, Z.copy(), *scratch(3, Z))
    else:
        row.backward(dz, dy, y, unreadable, *scratch(3, Z))
    np.testing.assert_array_equal(dz, expected)


@ROWS
def test_a_derivative_may_take_the_place_of_dy_and_leaves_y_and_z(row: Activation) -> None:
    y, z = run(row, Z.copy()), Z.copy()
    dy = np.linspace(-1.5, 2.0, Z.size).reshape(Z.shape)
    expected, before = np.empty_like(Z), y.copy()
    row.backward(expected, dy, y, z, *scratch(3, Z))
    row.backward(dy, dy, y, z, *scratch(3, Z))
    np.testing.assert_array_equal(dy, expected)
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(z, Z)


@ROWS
def test_nan_stays_nan(row: Activation) -> None:
    z = np.array([[np.nan, 1.0, -1.0]])
    assert np.isnan(run(row, z)[0, 0])


@ROWS
def test_no_rows_are_no_work(row: Activation) -> None:
    assert run(row, np.empty((0, 3))).shape == (0, 3)


def test_softmax_rows_sum_to_one() -> None:
    y = run(ACTIVATIONS["softmax"], np.array([[1e4, -1e4, 1e4], [-1e30, -1e30, -1e30], [0, 1, 2]]))
    assert_close(y.sum(axis=1), np.ones(3))
    assert y[0].tolist() == [0.5, 0.0, 0.5]


# --- gelu, the exact form -------------------------------------------------------------------------

LOWEST = {np.float32: -12.0, np.float64: -37.0}  # where gelu is still a normal number


def points(dtype: Any) -> Any:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(LOWEST[dtype], 9, 300), rng.uniform(-1, 1, 100), [-8.0]])
    return z[:, None].astype(dtype)


def relative_errors(got: Any, exact: list[Any]) -> Any:
    """Return each number's error, in units of rounding of the number itself."""
    errors = [
        abs(float((normal.Decimal(float(a)) - b) / b))
        for a, b in zip(got.ravel(), exact, strict=True)
    ]
    return np.array(errors) / rounding(got.dtype)


@DTYPES
def test_gelu_keeps_its_digits_however_far_to_the_left(dtype: Any) -> None:
    z = points(dtype)
    exact = [normal.gelu(float(v)) for v in z.ravel()]
    assert relative_errors(run(ACTIVATIONS["gelu"], z), exact).max() <= 5
    # Of 1 + erf(-6) there are no digits left, and the tanh form is another function.
    usual = np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in z.ravel().tolist()])
    assert relative_errors(usual.astype(dtype), exact).max() > 1e5
    assert relative_errors(run(ACTIVATIONS["gelu_tanh"], z), exact).max() > 1e5


@DTYPES
def test_the_derivative_of_gelu_keeps_its_digits_too(dtype: Any) -> None:
    z = points(dtype)
    z = z[abs(z + 0.75) > 0.25][:, None]  # it is 0 at -0.7518
    dz = np.empty_like(z)
    row = ACTIVATIONS["gelu"]
    row.backward(dz, np.ones_like(z), run(row, z), z, *scratch(3, z))
    exact = [normal.gelu_derivative(float(v)) for v in z.ravel()]
    assert relative_errors(dz, exact).max() <= 10


@DTYPES
def test_gelu_at_infinity_is_its_limit(dtype: Any) -> None:
    row, z = ACTIVATIONS["gelu"], np.array([[-np.inf, np.inf, -1e30, 1e30]], dtype)
    y, dz = run(row, z), np.empty_like(z)
    row.backward(dz, np.ones_like(z), y, z, *scratch(3, z))
    assert y.tolist() == [[0.0, np.inf, 0.0, float(dtype(1e30))]]
    assert dz.tolist() == [[0.0, 1.0, 0.0, 1.0]]


# --- the table ------------------------------------------------------------------------------------


def test_the_reference_has_every_row() -> None:
    assert set(ACTIVATIONS) == set(reference.ACTIVATIONS)


def test_names_and_codes_are_unique_and_codes_are_dense() -> None:
    assert sorted(activations.BY_CODE) == list(range(len(ACTIVATIONS)))
    assert all(row.name == name for name, row in ACTIVATIONS.items())
    assert all(activations.BY_CODE[row.code] is row for row in ACTIVATIONS.values())


@ROWS
def test_each_row_names_a_known_initializer_and_a_formula(row: Activation) -> None:
    assert row.initializer in initializers.INITIALIZERS
    assert row.formula


@ROWS
def test_a_name_finds_its_row(row: Activation) -> None:
    assert activations.get(row.name) is row
