"""The table of losses: each row's value, gradient and score, and what a loss may be given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastnet.errors import InputError
from fastnet.nn import losses
from fastnet.nn.activations import ACTIVATIONS
from fastnet.nn.loss_arrays import LossArrays
from fastnet.nn.losses import (
    LOSSES,
    MSE,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    Huber,
    Loss,
    Poisson,
    Quantile,
)
from tests import reference
from tests.closeness import assert_close
from tests.networks import LOSS_OUTPUTS, loss_options

COUNT = 6
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
ROWS = pytest.mark.parametrize("kind", LOSSES.values(), ids=LOSSES.keys())
VARIANTS = [
    *(kind() for kind in LOSSES.values()),
    CrossEntropy(label_smoothing=0.25),
    BinaryCrossEntropy(label_smoothing=0.25),
    Huber(delta=0.25),
    Quantile((0.5,)),
    Quantile((0.0625, 0.25, 0.75, 0.9375)),
]


def head_for(
    z: Any, output: str, *, labels: Any = None, target: Any = None, dtype: type = np.float64
) -> LossArrays:
    """Return a head with the output of `output` at z, and NaN in everything that is to be set."""
    z = np.asarray(z, dtype)
    y = np.array([reference.activate(output, row) for row in z.tolist()]).astype(dtype)
    target = None if target is None else np.asarray(target, dtype)
    d, s, t = (np.full_like(z, np.nan) for _ in range(3))
    return LossArrays(
        y, z, labels, target, d, np.full(len(z), np.nan, dtype), s, t, np.empty(len(z), np.intp)
    )


def random_head(loss: Loss, output: str, dtype: type, *, labels: bool = False) -> LossArrays:
    rng = np.random.default_rng(7)
    targets = 3
    z = rng.standard_normal((COUNT, targets * loss.outputs_per_target)).astype(np.float32)
    if labels:
        return head_for(z, output, labels=rng.integers(0, targets, COUNT), dtype=dtype)
    if loss.name == "cross_entropy":
        target = rng.multinomial(8, np.full(targets, 1 / targets), COUNT) / 8
    elif loss.name == "binary_cross_entropy":
        target = rng.integers(0, 2, (COUNT, targets))
    else:
        target = np.abs(rng.standard_normal((COUNT, targets))).astype(np.float32)
    return head_for(z, output, target=target, dtype=dtype)


def check(loss: Loss, h: LossArrays) -> None:
    """Compare value, gradient and score of each row with the reference."""
    if h.labels is not None:
        targets = reference.one_hot(h.labels.tolist(), h.y.shape[1])
    else:
        assert h.target is not None
        targets = h.target.tolist()
    options = loss_options(loss)
    rows = list(zip(h.y.tolist(), h.z.tolist(), targets, strict=True))
    expected = [reference.LOSSES[loss.name](y, z, t, options) for y, z, t in rows]
    terms = h.y.shape[1]
    loss.gradient(h)
    size = 1 + max(abs(value) for value, _ in expected)
    assert_close(h.row, [value for value, _ in expected], terms=terms, scale=size)
    assert_close(h.d, [slope for _, slope in expected], terms=terms)
    loss.score_rows(h)
    scores = [reference.score_row(loss.name, *row) for row in rows]
    assert_close(h.row, scores, terms=terms)


@DTYPES
@pytest.mark.parametrize(("name", "output"), LOSS_OUTPUTS)
def test_each_loss_is_the_reference_s_on_each_output(name: str, output: str, dtype: type) -> None:
    loss = LOSSES[name]()
    check(loss, random_head(loss, output, dtype))


@DTYPES
@pytest.mark.parametrize("loss", VARIANTS, ids=str)
def test_each_option_is_used(loss: Loss, dtype: type) -> None:
    check(loss, random_head(loss, loss.output_activations[0], dtype))


@DTYPES
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_labels_are_classes(smoothing: float, dtype: type) -> None:
    loss = CrossEntropy(smoothing)
    check(loss, random_head(loss, "softmax", dtype, labels=True))


@pytest.mark.parametrize("loss", VARIANTS, ids=str)
def test_a_loss_leaves_what_it_reads_as_it_was(loss: Loss) -> None:
    h = random_head(loss, loss.output_activations[0], np.float64)
    before = [np.copy(a) for a in (h.y, h.z, h.target)]
    loss.gradient(h)
    loss.score_rows(h)
    for old, new in zip(before, (h.y, h.z, h.target), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("loss", VARIANTS, ids=str)
def test_a_score_leaves_the_gradient_as_it_was(loss: Loss) -> None:
    h = random_head(loss, loss.output_activations[0], np.float64)
    loss.gradient(h)
    before = h.d.copy()
    loss.score_rows(h)
    np.testing.assert_array_equal(h.d, before)


# --- single values --------------------------------------------------------------------------------


def value_and_slope(loss: Loss, z: list[float], output: str, **target: Any) -> tuple[float, Any]:
    h = head_for([z], output, **target)
    loss.gradient(h)
    return float(h.row[0]), h.d[0].tolist()


def test_cross_entropy_of_even_odds_is_the_logarithm_of_the_number_of_classes() -> None:
    value, slope = value_and_slope(CrossEntropy(), [3.0, 3.0], "softmax", labels=np.array([1]))
    assert value == math.log(2)
    assert slope == [0.5, -0.5]


@pytest.mark.parametrize("big", [1e4, 1e30])
def test_fused_losses_neither_overflow_nor_lose_their_slope(big: float) -> None:
    cross, sides = CrossEntropy(), BinaryCrossEntropy()
    for label, value in [(0, 0.0), (1, 2 * big)]:
        labels = {"labels": np.array([label])}
        assert value_and_slope(cross, [big, -big], "softmax", **labels) == (
            value,
            [1.0 - (label == 0), -float(label)],
        )
    for z, t, value, slope in [
        (big, 1.0, 0.0, 0.0),
        (big, 0.0, big, 1.0),
        (-big, 1.0, big, -1.0),
        (-big, 0.0, 0.0, 0.0),
    ]:
        assert value_and_slope(sides, [z], "sigmoid", target=[[t]]) == (value, [slope])


def test_huber_is_squared_near_the_target_and_straight_beyond() -> None:
    for e, value, slope in [(0.0, 0.0, 0.0), (0.5, 0.125, 0.5), (1.0, 0.5, 1.0), (-3.0, 2.5, -1.0)]:
        assert value_and_slope(Huber(), [e], "identity", target=[[0.0]]) == (value, [slope])


@pytest.mark.parametrize("name", ["mae", "quantile"])
def test_the_slope_at_the_target_itself_is_0(name: str) -> None:
    loss = LOSSES[name]()
    z = [2.0] * loss.outputs_per_target
    assert value_and_slope(loss, z, "identity", target=[[2.0]]) == (0.0, [0.0] * len(z))


def test_poisson_is_least_where_the_output_is_the_count() -> None:
    value, slope = value_and_slope(Poisson(), [0.0], "exp", target=[[1.0]])
    assert (value, slope) == (1.0, [0.0])


def test_gaussian_nll_is_the_negative_log_density() -> None:
    value, slope = value_and_slope(GaussianNLL(), [2.0, 0.0], "identity", target=[[1.0]])
    assert_close(np.asarray(value), 0.5 * math.log(2 * math.pi) + 0.5)
    assert slope == [1.0, 0.0]


def test_gaussian_nll_takes_a_tiny_variance_as_the_floor() -> None:
    floor = math.log(1e-6)
    at_floor = value_and_slope(GaussianNLL(), [1.001, floor], "identity", target=[[1.0]])
    for below in (floor - 1.0, -1e4):
        value = value_and_slope(GaussianNLL(), [1.001, below], "identity", target=[[1.0]])
        assert value == at_floor


def test_the_outputs_of_quantiles_lie_quantile_by_quantile() -> None:
    loss = Quantile((0.25, 0.75))
    h = head_for([[0.0, 0.0, 0.0, 0.0]], "identity", target=[[4.0, -4.0]])
    loss.gradient(h)
    assert (h.d * 4).tolist() == [[-0.25, 0.75, -0.75, 0.25]]
    assert h.row.tolist() == [(0.25 * 4 + 0.75 * 4 + 0.75 * 4 + 0.25 * 4) / 4]


def test_the_first_of_equal_outputs_is_the_answer() -> None:
    h = head_for([[1.0, 1.0], [1.0, 1.0]], "softmax", labels=np.array([0, 1]))
    CrossEntropy().score_rows(h)
    assert h.row.tolist() == [1.0, 0.0]


def test_one_half_is_a_no() -> None:
    h = head_for([[0.0], [0.0]], "sigmoid", target=[[1.0], [0.0]])
    BinaryCrossEntropy().score_rows(h)
    assert h.row.tolist() == [0.0, 1.0]


# --- the table ------------------------------------------------------------------------------------


def test_the_reference_has_every_row() -> None:
    assert set(LOSSES) == set(reference.LOSSES)
    assert {
        n: row.fused_activation for n, row in LOSSES.items() if row.fused_activation
    } == reference.FUSED


def test_names_and_codes_are_unique_and_codes_are_dense() -> None:
    assert sorted(row.code for row in LOSSES.values()) == list(range(len(LOSSES)))
    assert all(row.name == name for name, row in LOSSES.items())


@ROWS
def test_each_row_fits_known_outputs_and_its_own_partner(kind: type[Loss]) -> None:
    assert kind.output_activations
    assert set(kind.output_activations) <= set(ACTIVATIONS)
    assert kind.fused_activation is None or kind.fused_activation in kind.output_activations
    assert kind.formula


@ROWS
def test_constants_are_the_fields_as_numbers(kind: type[Loss]) -> None:
    loss = kind()
    values = loss_options(loss).values()
    flat = [n for v in values for n in (v if isinstance(v, tuple) else (v,))]
    assert loss.hyperparameters == tuple(map(float, flat))


@ROWS
def test_a_name_and_an_instance_find_the_loss(kind: type[Loss]) -> None:
    assert losses.get(kind.name, kind.output_activations[0]) == kind()
    loss = kind()
    assert losses.get(loss, kind.output_activations[-1]) is loss


@pytest.mark.parametrize("output", ACTIVATIONS)
def test_without_a_name_the_output_s_partner_is_taken(output: str) -> None:
    partners = {"softmax": CrossEntropy, "sigmoid": BinaryCrossEntropy, "exp": Poisson}
    assert losses.get(None, output) == partners.get(output, MSE)()


@pytest.mark.parametrize("output", ACTIVATIONS)
@ROWS
def test_a_loss_that_does_not_fit_the_output_says_what_would(kind: type[Loss], output: str) -> None:
    if output in kind.output_activations:
        return
    with pytest.raises(
        InputError, match=f"'{kind.name}' does not fit .*'{output}'.*{kind.output_activations[0]}"
    ):
        losses.get(kind.name, output)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(1.0), "label_smoothing must be at least 0 and below 1, got 1.0"),
        (lambda: CrossEntropy(-0.1), "label_smoothing must be at least 0"),
        (lambda: BinaryCrossEntropy(math.nan), "label_smoothing must be .* got nan"),
        (lambda: Huber(0.0), "delta must be a positive number, got 0.0"),
        (lambda: Huber(math.inf), "delta must be a positive number, got inf"),
        (lambda: Huber(math.nan), "delta must be a positive number, got nan"),
        (lambda: Quantile(()), r"quantiles must be several numbers, got \(\)"),
        (lambda: Quantile(0.5), "quantiles must be several numbers, got 0.5"),
        (lambda: Quantile((0.0, 0.5)), "a quantile must be above 0 and below 1, got 0.0"),
        (lambda: Quantile((0.5, 1.0)), "a quantile must be above 0 and below 1, got 1.0"),
        (lambda: Quantile((0.5, 0.5)), "quantiles must increase"),
        (lambda: Quantile((0.7, 0.2)), "quantiles must increase"),
        (lambda: Quantile((math.nan,)), "a quantile must be above 0 and below 1, got nan"),
    ],
)
def test_a_bad_argument_is_an_input_error_in_a_sentence(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make()
    assert str(error.value).endswith(".")
