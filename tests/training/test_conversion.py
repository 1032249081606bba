"""What a user gives is converted once, at the door of `fit` and `predict`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.data import frame
from fastnet.tables import TablePreprocessor

pd = pytest.importorskip("pandas", reason="pandas is not installed")
nw = pytest.importorskip("narwhals", reason="narwhals is not installed")

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "size": np.where(RNG.random(60) < 0.1, np.nan, RNG.normal(50, 9, 60)),
        "kind": RNG.choice(["flat", "house", "hut"], 60),
        "price": RNG.normal(200, 30, 60),
    }
)
INPUTS = ["size", "kind"]


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The data frames that were converted, in order: by the one function that does it."""
    seen: list[Any] = []
    of_native, from_native = frame._of_native, nw.from_native

    def spy(values: Any, source: str) -> frame.Frame:
        seen.append(values)
        return of_native(values, source)

    def once(values: Any, **options: Any) -> Any:
        assert values is seen[-1]  # nobody else reads a frame
        return from_native(values, **options)

    monkeypatch.setattr(frame, "_of_native", spy)
    monkeypatch.setattr(nw, "from_native", once)
    return seen


def fresh() -> fn.Network:
    return fn.Network([TablePreprocessor.fit(TABLE[INPUTS]).inputs, 4, 1], backend="numpy")


def test_each_call_converts_its_frame_once(conversions: list[Any]) -> None:
    net, inputs = fresh(), TABLE[INPUTS]
    conversions.clear()
    net.fit(TABLE, "price", epochs=2, validation_split=0.25, early_stopping=2, metrics=["mae"])
    assert isinstance(net.preprocessor, TablePreprocessor)
    calls = {
        "fit again": lambda: net.fit(TABLE, "price", epochs=1, validation_split=0.25),
        "predict": lambda: net.predict(inputs),
        "evaluate": lambda: net.evaluate(TABLE, "price"),
        "gradients": lambda: net.gradients(TABLE, "price"),
        "partial_fit": lambda: net.partial_fit(TABLE, "price"),
        "jacobian": lambda: net.jacobian(inputs),
    }
    for name, call in {"fit": lambda: None, **calls}.items():
        call()
        assert len(conversions) == 1, name
        conversions.clear()


def test_validation_data_is_another_frame_and_converted_once_too(conversions: list[Any]) -> None:
    net, train, held_out = fresh(), TABLE[:40], TABLE[40:]
    conversions.clear()
    net.fit(train, "price", epochs=2, validation_data=(held_out, "price"))
    assert [id(seen) for seen in conversions] == [id(train), id(held_out)]


def test_the_count_sees_a_second_conversion(conversions: list[Any]) -> None:
    for _ in range(2):
        frame.as_frame(TABLE)
    assert len(conversions) == 2
    with pytest.raises(AssertionError):
        nw.from_native(TABLE[INPUTS])
