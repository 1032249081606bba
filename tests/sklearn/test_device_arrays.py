"""Estimators take arrays on a GPU, as copies on the host, and answer on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import neural_network
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnet.sklearn as estimators
from fastnet.errors import InputError
from fastnet.sklearn.host_arrays import takes_device_arrays
from fastnet.utils import device_arrays
from tests.cuda import strict_backend
from tests.cuda.strict import DeviceArray, Refused

pytestmark = [
    pytest.mark.skipif(not strict_backend.stands_in(), reason="it asks the stand-in"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 5))
LABELS = RNG.integers(0, 3, 90)
REAL = RNG.standard_normal(90)
WEIGHT = RNG.uniform(0.5, 2.0, 90)

To = Callable[[Any], Any]


class Exporter:
    """An array of another library, with the interface of Numba and older PyTorch alone."""

    def __init__(self, values: Any) -> None:
        self.__cuda_array_interface__ = DeviceArray(np.array(values)).__cuda_array_interface__


KINDS: dict[str, To] = {"cupy": lambda a: DeviceArray(np.array(a)), "interface": Exporter}


def own(name: str, **how: Any) -> Any:
    usual = {"hidden_layers": (4,), "epochs": 2, "random_state": 0, "backend": "numpy"}
    return getattr(estimators, name)(**usual | how)


def mlp(name: str, **how: Any) -> Any:
    usual = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, "backend": "numpy"}
    return getattr(estimators, name)(**usual | how)


def search(to: To) -> Any:
    pipeline = make_pipeline(StandardScaler(), own("FastNetClassifier"))
    grid = {"fastnetclassifier__learning_rate": [0.1, 0.01]}
    return estimators.FastNetSearchCV(pipeline, grid, cv=2).fit(to(X), to(LABELS))


FITTED: dict[str, tuple[Callable[[To], Any], Any]] = {
    "classifier": (
        lambda to: own("FastNetClassifier").fit(
            to(X), to(LABELS), to(WEIGHT), X_val=to(X), y_val=to(LABELS), sample_weight_val=WEIGHT
        ),
        LABELS,
    ),
    "regressor": (lambda to: own("FastNetRegressor").fit(to(X), y=to(REAL)), REAL),
    "on the GPU": (lambda to: own("FastNetRegressor", backend="cupy").fit(to(X), to(REAL)), REAL),
    "with a table": (
        lambda to: own("FastNetClassifier", table=True).fit(to(X), to(LABELS)),
        LABELS,
    ),
    "several": (
        lambda to: own("FastNetClassifier", n_estimators=2).fit(to(X), to(LABELS)),
        LABELS,
    ),
    "quantiles": (lambda to: own("FastNetRegressor", loss="quantile").fit(to(X), to(REAL)), REAL),
    "a stream": (
        lambda to: own("FastNetClassifier").partial_fit(to(X), to(LABELS), to(np.arange(3))),
        LABELS,
    ),
    "scikit-learn's classifier": (lambda to: mlp("MLPClassifier").fit(to(X), to(LABELS)), LABELS),
    "its stream": (
        lambda to: mlp("MLPClassifier").partial_fit(to(X), to(LABELS), classes=to(np.arange(3))),
        LABELS,
    ),
    "scikit-learn's regressor": (
        lambda to: mlp("MLPRegressor", solver="lbfgs", backend="cupy").fit(to(X), to(REAL)),
        REAL,
    ),
    "a search": (search, LABELS),
}
ASKED = ("predict", "predict_proba", "predict_log_proba", "predict_quantiles")


@pytest.mark.parametrize("to", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("fit", "y"), FITTED.values(), ids=FITTED)
def test_every_estimator_gives_the_bits_of_the_same_rows_on_the_host(
    fit: Callable[[To], Any], y: Any, to: To
) -> None:
    if "lbfgs" in str(fit.__code__.co_consts):
        pytest.importorskip("scipy")
    model, expected = fit(to), fit(lambda values: values)
    methods = [name for name in ASKED if hasattr(expected, name)]
    if getattr(expected, "loss", "quantile") != "quantile":
        methods = [name for name in methods if name != "predict_quantiles"]
    for name in methods:
        got = getattr(model, name)(to(X))
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, getattr(expected, name)(X))
    assert model.score(to(X), to(y)) == expected.score(X, y)


def test_scikit_learns_own_estimator_refuses_them() -> None:
    """The negative control: without ours, the device's error reaches the user."""
    plain = neural_network.MLPClassifier((4,), max_iter=2)
    with pytest.raises(TypeError, match="Implicit conversion") as caught:
        plain.fit(KINDS["cupy"](X), KINDS["cupy"](LABELS))
    assert isinstance(caught.value, Refused)


def test_methods_are_there_where_scikit_learns_are() -> None:
    fitted = search(lambda values: values)
    assert hasattr(fitted, "predict_proba")
    assert not hasattr(fitted, "transform")
    assert not hasattr(estimators.FastNetSearchCV(own("FastNetRegressor"), {}), "predict_proba")
    assert not hasattr(mlp("MLPClassifier", solver="lbfgs"), "partial_fit")

    @takes_device_arrays
    class Own:
        def predict(self, X: Any, *others: Any) -> Any:
            return X, others

    assert Own().predict(1, 2, 3) == (1, (2, 3))
    with pytest.raises(TypeError, match="argument"):
        own("FastNetRegressor").predict(X, False, 3)


def test_without_cupy_they_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_arrays, "cupy", lambda: None)
    for fit, name in ((own("FastNetRegressor").fit, "X"), (mlp("MLPRegressor").fit, "X")):
        with pytest.raises(InputError, match=rf"{name} is on a GPU.* not installed"):
            fit(Exporter(X), REAL)
