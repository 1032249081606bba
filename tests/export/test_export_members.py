"""The file of a network with `Members` has all of them, and answers with their mean."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.errors import InputError
from fastnet.export import export, usage
from fastnet.export.combination import Predictor, combination_of
from fastnet.preprocessing.base import Passthrough
from fastnet.preprocessing.target import TableTarget
from fastnet.tables import TablePreprocessor
from tests.export.ensembles import ASKED, TABLE, X
from tests.export.formats import ANSWERS, Answer
from tests.exports import LIMIT, disturbed, relative_difference

by_each_format = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
pytestmark = pytest.mark.filterwarnings("ignore:.*not there in training")


def network(last: str, outputs: int, dtype: Any = "float32", scales: Any = "all") -> fn.Network:
    """Return a network for `X`."""
    hidden = [fn.Dense(5, "relu"), fn.Residual([fn.LayerNorm(), fn.Dense(5, "tanh")])]
    layers: list[Any] = [fn.Members(3, scales=scales), *hidden, fn.Dense(outputs, last)]  # type: ignore[arg-type]
    net = fn.Network(layers, inputs=3, dtype=dtype, seed=1, backend="numpy")
    return disturbed(net, 2)


def for_a_table() -> fn.Network:
    """Return a network for `ASKED`, with piecewise inputs and targets of a unit."""
    names = ("size", "gap", "kind", "flag")
    table = {name: TABLE[name] for name in names}
    made = TablePreprocessor.fit(table, TABLE["rent"], numeric_embedding="piecewise")
    layers = [made.first_layer(), fn.Members(3), fn.Dense(6, "relu"), fn.Dense(1)]
    net = fn.Network(layers, inputs=made.inputs, backend="numpy")
    net.preprocessor = made
    # What is outside of blocks stays 0.
    noise = 0.1 * np.random.default_rng(5).normal(size=net.plan.size) * (net.parameters != 0)
    net.parameters[...] += noise.astype(net.dtype)
    return net


@cache
def every() -> dict[str, Predictor]:
    """Return predictors by name."""
    units = network("identity", 2, "float64")
    units.preprocessor = Passthrough(3, TableTarget((), None, np.array([1e4, -3.0]), np.ones(2)))
    plain = disturbed(fn.Network([3, 4, 3], output_activation="softmax", backend="numpy"), 3)
    mixed = fn.Ensemble([network("softmax", 3), plain], weights=[1, 3])
    mixed.temperature = 1.5
    return {
        "classes": network("softmax", 3, scales="first"),
        "units": units,
        "table": for_a_table(),
        "within an ensemble": mixed,
    }


@by_each_format
@pytest.mark.parametrize("name", ["classes", "units", "table", "within an ensemble"])
def test_every_format_answers_as_the_network(name: str, answer: Answer, tmp_path: Path) -> None:
    predictor = every()[name]
    rows: Any = ASKED if name == "table" else X
    wanted = predictor.predict_columns(rows)
    found = answer(predictor, rows, tmp_path)
    dtype = combination_of(predictor).dtype
    assert relative_difference(found, wanted) <= LIMIT[dtype.name]
    assert relative_difference(found * dtype.type(1.001), wanted) > LIMIT[dtype.name]


def test_an_ensemble_counts_a_network_once_however_many_members_it_has() -> None:
    mean = combination_of(every()["within an ensemble"]).mean
    assert mean is not None and np.allclose(mean.weights, [1 / 12, 1 / 12, 1 / 12, 3 / 4])


def test_whole_numbers_are_for_one_plain_network() -> None:
    with pytest.raises(InputError, match="fixed is for one network, and this is an ensemble"):
        export(every()["classes"], "net.c", to="c", fixed="int8")  # type: ignore[arg-type]


def test_the_module_of_a_table_takes_what_the_network_s_own_preprocessor_makes() -> None:
    text = usage(every()["table"], "net.torch.safetensors", to="torch")  # type: ignore[arg-type]
    assert "net.preprocessor.transform(table, 'float32')" in text
