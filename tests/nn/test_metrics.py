"""Metrics: what they say, by hand and, where it is installed, beside scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastnet as fn
from fastnet.nn import metrics
from fastnet.nn.metrics import METRICS
from tests.closeness import assert_close

Array = NDArray[Any]
RNG = np.random.default_rng(0)


def one_hot(answers: list[int], classes: int = 3) -> Array:
    """Return outputs that answer so."""
    return np.eye(classes)[answers] * 0.8 + 0.1


# --- by hand --------------------------------------------------------------------------------------

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
ANSWERS = [0, 0, 0, 1, 1, 0, 2, 2, 2, 1]

BY_HAND = {
    "accuracy": 7 / 10,
    "balanced_accuracy": (3 / 4 + 1 / 2 + 3 / 4) / 3,
    "precision": (3 / 4 + 1 / 3 + 3 / 3) / 3,
    "recall": (3 / 4 + 1 / 2 + 3 / 4) / 3,
    "f1": (6 / 8 + 2 / 5 + 6 / 7) / 3,
}


@pytest.mark.parametrize(("name", "value"), BY_HAND.items(), ids=BY_HAND)
def test_a_metric_of_classes_by_hand(name: str, value: float) -> None:
    assert_close(np.float64(METRICS[name](TRUTH, one_hot(ANSWERS), None)), value)


@pytest.mark.parametrize("name", BY_HAND)
def test_right_answers_score_one_and_wrong_ones_zero(name: str) -> None:
    metric = METRICS[name]
    assert metric(TRUTH, one_hot(TRUTH.tolist()), None) == 1.0
    assert metric(TRUTH, one_hot(((TRUTH + 1) % 3).tolist()), None) == 0.0


@pytest.mark.parametrize("name", BY_HAND)
def test_a_weight_of_two_is_a_row_twice(name: str) -> None:
    weight = np.array([2, 1, 1, 2, 1, 1, 1, 2, 1, 1])
    rows = np.repeat(np.arange(10), weight)
    metric = METRICS[name]
    twice = metric(TRUTH[rows], one_hot([ANSWERS[row] for row in rows]), None)
    assert_close(np.float64(metric(TRUTH, one_hot(ANSWERS), weight)), twice, terms=10)
    assert metric(TRUTH, one_hot(ANSWERS), None) != twice


@pytest.mark.parametrize("name", ["precision", "recall", "f1", "balanced_accuracy"])
def test_a_class_that_is_neither_there_nor_answered_does_not_count(name: str) -> None:
    metric = METRICS[name]
    assert metric(TRUTH, one_hot(ANSWERS, 7), None) == metric(TRUTH, one_hot(ANSWERS), None)


def test_yes_or_no_answers_begin_above_one_half() -> None:
    target = np.array([[1.0], [1.0], [0.0], [0.0]])
    output = np.array([[0.9], [0.5], [0.5], [0.1]])
    assert metrics.accuracy(target, output) == 0.75
    assert metrics.recall(target, output) == (1 / 2 + 2 / 2) / 2
    assert metrics.precision(target, output) == (1 / 1 + 2 / 3) / 2


def test_several_yes_or_no_answers_are_counted_one_by_one() -> None:
    target = np.array([[1.0, 0.0], [0.0, 0.0]])
    output = np.array([[0.9, 0.9], [0.1, 0.2]])
    assert metrics.accuracy(target, output) == 0.75
    assert metrics.accuracy(target, output, np.array([3.0, 1.0])) == (3 * 0.5 + 1) / 4
    for name in ("f1", "precision", "recall", "balanced_accuracy"):
        with pytest.raises(fn.InputError):
            METRICS[name](target, output, None)


def test_errors_by_hand() -> None:
    target = np.array([[1.0, 2.0], [3.0, 4.0]])
    output = np.array([[1.0, 4.0], [2.0, 4.0]])
    assert metrics.mse(target, output) == 5 / 4
    assert metrics.rmse(target, output) == (5 / 4) ** 0.5
    assert metrics.mae(target, output) == 3 / 4
    assert metrics.r2(target, output) == 1 - (5 / 4) / 1.0
    weight = np.array([1.0, 3.0])
    assert metrics.mse(target, output, weight) == (2.0 + 3 * 0.5) / 4
    assert metrics.mae(target, output, weight) == (1.0 + 3 * 0.5) / 4


def test_r2_is_one_at_best_and_zero_for_the_mean() -> None:
    target = RNG.standard_normal((20, 2))
    assert metrics.r2(target, target) == 1.0
    mean = np.tile(target.mean(axis=0), (20, 1))
    assert abs(metrics.r2(target, mean)) < 1e-15
    # The mean of three times 0.1 is not 0.1.
    for constant in (np.full((5, 1), 3.0), np.full((3, 1), 0.1)):
        for weight in (None, np.arange(len(constant)) % 3 * 0.7):
            assert metrics.r2(constant, constant, weight) == 1.0
            assert metrics.r2(constant, constant + 1, weight) == 0.0


def test_variances_beside_the_means_are_left_out() -> None:
    target = RNG.standard_normal((8, 2))
    output = np.hstack([target, np.full((8, 2), 9.0)])
    assert metrics.mse(target, output) == 0.0


def test_float32_outputs_are_measured_in_float64() -> None:
    target = np.full((4, 1), 1.0)
    output = np.full((4, 1), 1.0 + 2.0**-20, np.float32)
    assert metrics.mse(target, output) == 2.0**-40


# --- the area under the curve ---------------------------------------------------------------------


def pairs_won(truth: Array, score: Array, weight: Array) -> float:
    """Return the weighted share of pairs that are in order: the definition, in two loops."""
    won = total = 0.0
    for i in np.flatnonzero(truth == 1):
        for j in np.flatnonzero(truth == 0):
            both = weight[i] * weight[j]
            total += both
            won += both * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    return won / total


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_roc_auc_is_the_share_of_pairs_in_order(weighted: bool, ties: bool) -> None:
    truth = RNG.integers(0, 2, 60)
    score = RNG.random(60) + 0.3 * truth
    score = np.round(score, 1) if ties else score
    weight = RNG.uniform(0, 2, 60) if weighted else np.ones(60)
    expected = pairs_won(truth, score, weight)
    assert 0.5 < expected < 1
    given = weight if weighted else None
    one = metrics.roc_auc(truth[:, None].astype(float), score[:, None], given)
    two = metrics.roc_auc(truth, np.stack([1 - score, score], axis=1), given)
    assert_close(np.float64(one), expected, terms=60)
    assert_close(np.float64(two), expected, terms=60)


def test_roc_auc_of_one_class_alone_is_no_number() -> None:
    assert np.isnan(metrics.roc_auc(np.ones((3, 1)), np.array([[0.1], [0.2], [0.3]])))


def test_roc_auc_needs_two_classes() -> None:
    with pytest.raises(fn.InputError, match="two classes"):
        metrics.roc_auc(TRUTH, one_hot(ANSWERS))


# --- beside scikit-learn --------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_agree_with_scikit_learn(weighted: bool) -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    weight = RNG.uniform(0.1, 2, 200) if weighted else None
    truth, output = RNG.integers(0, 4, 200), RNG.random((200, 4))
    answer = output.argmax(axis=1)
    options: dict[str, Any] = {"sample_weight": weight}
    macro = {"average": "macro", "zero_division": 0, **options}
    binary, score = RNG.integers(0, 2, 200), RNG.random(200)
    target, predicted = RNG.standard_normal((200, 2)), RNG.standard_normal((200, 2))
    pairs = {
        "accuracy": theirs.accuracy_score(truth, answer, **options),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, answer, **options),
        "precision": theirs.precision_score(truth, answer, **macro),
        "recall": theirs.recall_score(truth, answer, **macro),
        "f1": theirs.f1_score(truth, answer, **macro),
        "mse": theirs.mean_squared_error(target, predicted, **options),
        "rmse": theirs.mean_squared_error(target, predicted, **options) ** 0.5,
        "mae": theirs.mean_absolute_error(target, predicted, **options),
        "roc_auc": theirs.roc_auc_score(binary, score, **options),
    }
    for name, value in pairs.items():
        given = (truth, output)
        if name in ("mse", "rmse", "mae"):
            given = target, predicted
        elif name == "roc_auc":
            given = binary[:, None], score[:, None]
        assert_close(np.float64(METRICS[name](*given, weight)), value, terms=200, what=name)
    one = target[:, :1], predicted[:, :1]
    expected = theirs.r2_score(*one, sample_weight=weight)
    assert_close(np.float64(metrics.r2(*one, weight)), expected, terms=200)
    assert set(pairs) | {"r2", "calibration_error"} == set(METRICS)


# --- in use ---------------------------------------------------------------------------------------

X = RNG.standard_normal((50, 3))
LABELS = (X[:, 0] > 0).astype(int)


def classifier() -> fn.Network:
    return fn.Network([3, 2], output_activation="softmax", backend="numpy")


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"mse", "rmse", "mae", "r2"}))
def test_evaluate_computes_a_metric_of_classes(name: str) -> None:
    net = classifier()
    weight = RNG.uniform(0.5, 1, 50)
    found = net.evaluate(X, LABELS, metrics=[name], sample_weight=weight)[name]
    assert found == METRICS[name](LABELS, net.predict(X), weight.astype(np.float32))


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "r2"])
def test_evaluate_computes_a_metric_of_numbers(name: str) -> None:
    net = fn.Network([3, 2], backend="numpy", dtype="float64")
    target = X[:, :2]
    found = net.evaluate(X, target, metrics=[name])[name]
    assert_close(np.float64(found), METRICS[name](target, net.predict(X), None), terms=50)


def test_a_function_is_a_metric_of_its_own_name() -> None:
    seen: list[tuple[Array, Array]] = []

    def share_of_ones(target: Array, output: Array) -> Any:
        seen.append((target, output))
        return np.float32(0.5)

    net = classifier()
    values = net.evaluate(X, LABELS, metrics=[share_of_ones, "f1"])
    assert list(values) == ["loss", "accuracy", "share_of_ones", "f1"]
    assert values["share_of_ones"] == 0.5
    assert type(values["share_of_ones"]) is float
    target, output = seen[0]
    assert np.array_equal(target, LABELS)
    assert np.array_equal(output, net.predict(X))


def test_probabilities_count_as_their_largest_class() -> None:
    shares = np.where(LABELS[:, None] == [0, 1], 0.75, 0.25)
    net = classifier()
    by_shares = net.evaluate(X, shares, metrics=["f1", "roc_auc"])
    by_labels = net.evaluate(X, LABELS, metrics=["f1", "roc_auc"])
    for name in ("f1", "roc_auc", "accuracy"):
        assert by_shares[name] == by_labels[name]


def test_two_functions_of_one_name_are_not_mixed_up() -> None:
    """Two lambdas, say: one must not silently take the other's place."""
    with pytest.raises(fn.InputError, match="lambda"):
        classifier().evaluate(X, LABELS, metrics=[lambda t, y: 1.0, lambda t, y: 2.0])


def test_a_metric_that_returns_no_number_is_an_error_that_names_it() -> None:
    def table(target: Array, output: Array) -> Any:
        return output

    with pytest.raises(fn.InputError, match="table"):
        classifier().evaluate(X, LABELS, metrics=[table])


def test_an_error_in_a_metric_comes_out() -> None:
    def broken(target: Array, output: Array) -> float:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        classifier().evaluate(X, LABELS, metrics=[broken])


# --- directions -----------------------------------------------------------------------------------

DIRECTIONS = {
    "min": "loss mse rmse mae calibration_error hinge_loss MeanSquaredError brier_score_loss "
    "mean_poisson_deviance cross_entropy_loss dice_loss smape log_mape root_error_2",
    "max": "accuracy balanced_accuracy precision recall f1 roc_auc r2 r2_score AveragePrecision "
    "my_score top3_accuracy",
    None: "income mean_absolute negative_log_loss_ratio neg_mean_absolute_error brier_score "
    "d2_absolute_error_score loss_reduction acid rerror",
}


@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for mode, names in DIRECTIONS.items() for name in names.split()]
)
def test_a_name_tells_the_direction_or_nothing(name: str, mode: str | None) -> None:
    assert metrics.mode_of(name) == mode


def test_every_metric_of_the_table_has_a_direction() -> None:
    assert None not in {metrics.mode_of(name) for name in metrics.METRICS}


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 99), st.booleans())
def test_the_variance_of_pieces_is_that_of_all_rows(
    rows: int, columns: int, seed: int, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    target = rng.normal(1e3, 1, (rows, columns)).astype(np.float32)
    weight = rng.integers(0, 2, rows) + (np.arange(rows) == rows // 2) if weighted else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_PIECE", 7)
        pieces = metrics.variance(target, weight)
    t = target.astype(np.float64)
    centred = t - np.average(t, axis=0, weights=weight)
    expected = np.average(np.mean(centred**2, axis=1), weights=weight)
    assert_close(np.float64(pieces), np.float64(expected), terms=1e4)
