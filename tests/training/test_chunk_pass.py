"""`Chunks` are predicted and evaluated as their rows in memory are, a part of them at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastnet as fn
from fastnet.backends.base import Backend
from fastnet.data import Chunks, chunks
from tests.closeness import assert_close

ROWS = 157
RNG = np.random.default_rng(31)
X = RNG.normal(size=(ROWS, 4))
Y = np.column_stack([X[:, 0] - X[:, 1], 5 * X[:, 2] ** 2 + 3])
CLASSES = RNG.integers(0, 3, ROWS)
WEIGHT = RNG.integers(0, 3, ROWS) * 1.5
WEIGHT[:30] = 0.0


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 700)


OUTPUTS = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}


def trained(backend: Backend, loss: str, y: NDArray[Any], outputs: int, **how: Any) -> fn.Network:
    last = OUTPUTS.get(loss, "identity")
    layers = [4, 6, outputs]
    net = fn.Network(layers, output_activation=last, dtype="float64", seed=2, backend="numpy")
    net.fit(X, y, loss=loss, epochs=3, standardize=True, **how)
    return net._copy_to(backend, "float32")


CASES = [
    ("cross_entropy", CLASSES, 3, ["f1"], {}),
    ("binary_cross_entropy", 1.0 * (X[:, 0] > 0), 1, ["roc_auc"], {}),
    ("mse", Y[:, 0], 1, ["mae"], {}),
    ("mse", Y, 2, ["rmse", lambda t, o: np.abs(t - o).max()], {}),
    ("mse", Y, 2, ["mae"], {"standardize_targets": True}),
    ("gaussian_nll", Y, 4, [], {}),
    ("poisson", Y[:, 1], 1, [], {}),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "y", "outputs", "metrics", "how"), CASES)
def test_the_values_are_those_of_the_rows_in_memory(
    backend: Backend,
    loss: str,
    y: NDArray[Any],
    outputs: int,
    metrics: list[Any],
    how: dict[str, Any],
    weighted: bool,
) -> None:
    net = trained(backend, loss, y, outputs, **how)
    columns = y.shape[1] if y.ndim == 2 else 1
    table = np.column_stack([WEIGHT, X, y])
    weight = WEIGHT if weighted else None
    rows = Chunks(
        table if weighted else table[:, 1:],
        target=[-k for k in range(columns, 0, -1)],
        weight=0 if weighted else None,
    )
    expected = net.evaluate(X, y, metrics=metrics, sample_weight=weight)
    got = net.evaluate(rows, metrics=metrics)
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert_close(np.array(got[name]), np.array(value), terms=ROWS)
    assert_close(net.predict(rows), net.predict(X), terms=10)


def test_labels_and_deviations_follow_the_predictions(backend: Backend) -> None:
    net = trained(backend, "cross_entropy", CLASSES, 3)
    rows = Chunks(X, 10.0 * CLASSES, labels=[0.0, 10.0, 20.0])
    assert np.array_equal(net.predict_labels(rows), net.predict_labels(X))
    assert net.evaluate(rows)["accuracy"] == pytest.approx(net.evaluate(X, CLASSES)["accuracy"])
    normal = trained(backend, "gaussian_nll", Y, 4)
    got = normal.predict(Chunks(X, Y), return_std=True)
    for one, other in zip(got, normal.predict(X, return_std=True), strict=True):
        assert_close(one, other, terms=10)


class Watched:
    """An array that counts the most rows that were read at once."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        self.most = max(self.most, len(self.values[rows]))
        return self.values[rows]


def test_a_few_rows_are_read_at_a_time(backend: Backend) -> None:
    net = trained(backend, "mse", Y[:, 0], 1)
    watched = Watched(np.column_stack([X, Y[:, 0]]))
    rows = Chunks(watched, target=-1)
    net.evaluate(rows, metrics=["mae"])
    net.predict(rows)
    assert 0 < watched.most <= 700 // (5 * 8)


def test_targets_need_not_be_known_to_predict(backend: Backend) -> None:
    net = trained(backend, "mse", Y[:, 0], 1)
    unknown = Chunks(X, np.full(ROWS, np.nan))
    assert_close(net.predict(unknown), net.predict(X), terms=10)
    with pytest.raises(fn.errors.InputError, match="y holds nan at row 0, column 0"):
        net.evaluate(unknown)


def test_what_does_not_go_with_chunks_is_said(backend: Backend) -> None:
    net = trained(backend, "mse", Y[:, 0], 1)
    rows = Chunks(X, Y[:, 0])
    for more in ({"y": Y[:, 0]}, {"sample_weight": WEIGHT}):
        with pytest.raises(fn.errors.InputError, match="own targets and weights: leave out"):
            net.evaluate(rows, **more)
    with pytest.raises(fn.errors.InputError, match="nothing to evaluate"):
        net.evaluate(Chunks(np.column_stack([0 * WEIGHT, X, Y[:, 0]]), target=-1, weight=0))
    taken = "got Chunks: fit, predict and evaluate take them"
    with pytest.raises(fn.errors.InputError, match=taken):
        net.gradients(rows, Y[:, 0])
    with pytest.raises(fn.errors.InputError, match=taken):
        net.jacobian(rows)
    with pytest.raises(fn.errors.InputError, match="expected targets: give y"):
        net.evaluate(X)
