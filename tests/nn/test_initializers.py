"""Initial weights: variances, bounds, and one seed meaning the same everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastnet.nn.initializers import INITIALIZERS, draw
from tests.networks import dense_plan

ROWS = pytest.mark.parametrize("name", INITIALIZERS)
INPUTS, OUTPUTS = 400, 250
# Glorot and Bengio (2010), He et al. (2015), LeCun et al. (1998).
VARIANCES = {
    "glorot_uniform": 2 / (INPUTS + OUTPUTS),
    "glorot_normal": 2 / (INPUTS + OUTPUTS),
    "he_uniform": 2 / INPUTS,
    "he_normal": 2 / INPUTS,
    "lecun_uniform": 1 / INPUTS,
    "lecun_normal": 1 / INPUTS,
    "normal": 0.05**2,
    "standard_normal": 1.0,
    "zeros": 0.0,
    "ones": 0.0,
}


def test_every_row_has_a_known_variance() -> None:
    assert set(VARIANCES) == set(INITIALIZERS)


@ROWS
def test_weights_have_the_variance_of_the_paper(name: str) -> None:
    w = draw(name, INPUTS, OUTPUTS, seed=1, stream=0) - (name == "ones")
    assert w.shape == (INPUTS, OUTPUTS)
    assert w.dtype == np.float64
    variance, count = VARIANCES[name], INPUTS * OUTPUTS
    # In deviations of the estimate; the fourth moment is 9/5 (uniform) or 3 (normal) variances^2.
    assert abs(w.mean()) <= 4.5 * math.sqrt(variance / count)
    assert abs((w**2).mean() - variance) <= 4.5 * variance * math.sqrt(2 / count)


@pytest.mark.parametrize("name", [n for n in INITIALIZERS if n.endswith("uniform")])
def test_uniform_weights_fill_their_interval_and_stay_in_it(name: str) -> None:
    w = draw(name, INPUTS, OUTPUTS, seed=1, stream=0)
    bound = math.sqrt(3 * VARIANCES[name])
    assert 0.999 * bound < np.abs(w).max() < bound
    quarters = np.histogram(w, bins=4, range=(-bound, bound))[0] / w.size
    assert np.abs(quarters - 0.25).max() < 4.5 * math.sqrt(0.25 * 0.75 / w.size)


@pytest.mark.parametrize("name", [n for n in INITIALIZERS if n.endswith("normal")])
def test_normal_weights_have_tails(name: str) -> None:
    w = draw(name, INPUTS, OUTPUTS, seed=1, stream=0) / math.sqrt(VARIANCES[name])
    share = float((np.abs(w) > 2).mean())
    assert abs(share - 0.0455) < 4.5 * math.sqrt(0.0455 / w.size)


def test_zeros_are_zero() -> None:
    assert not draw("zeros", 3, 4, seed=1, stream=0).any()


@pytest.mark.parametrize("name", [n for n in INITIALIZERS if n not in ("zeros", "ones")])
def test_the_seed_and_the_layer_are_the_key(name: str) -> None:
    w = draw(name, 5, 6, seed=1, stream=2)
    assert (w == draw(name, 5, 6, seed=1, stream=2)).all()
    assert (w != draw(name, 5, 6, seed=2, stream=2)).all()
    assert (w != draw(name, 5, 6, seed=1, stream=3)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 5)])
@ROWS
def test_any_shape_can_be_drawn(name: str, shape: tuple[int, int]) -> None:
    w = draw(name, *shape, seed=0, stream=0)
    assert w.shape == shape
    assert np.isfinite(w).all()


def test_float32_weights_are_the_float64_ones_rounded() -> None:
    plan = dense_plan(5, (7, "relu"), (3, "identity"))
    single, double = (plan.initial_parameters(3, dtype) for dtype in ("float32", "float64"))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_weights_are_frozen() -> None:
    w = draw("glorot_uniform", 2, 2, seed=0, stream=0)
    frozen = [
        [-0.24728463415322377, 0.5773760478350543],
        [1.1567499792485163, 0.4750317970409492],
    ]
    np.testing.assert_array_equal(w, frozen)
