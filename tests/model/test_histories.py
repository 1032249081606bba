"""Whatever is done with a network between its trainings, only the trainings count.

Two networks live through one history. The first is saved and loaded, pickled, copied, moved,
exported and asked for predictions in between; the second is only trained. They must be equal to the
last bit.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import fastnet as fn
from fastnet.export import export
from fastnet.nn.optimizers import OPTIMIZERS
from tests.networks import usable_backends

INPUTS, CLASSES = 3, 3
NAMES = [name for name in usable_backends() if name in ("numpy", "numba")]
STEPWISE = [name for name in OPTIMIZERS if name != "lbfgs"]
seeds = st.integers(0, 10**6)


def rows_of(seed: int, count: int = 11) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, INPUTS)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 0.0]
    return x, rng.integers(0, CLASSES, count)


class Histories(RuleBasedStateMachine):
    """A network with a history, and its twin that is only trained."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(
        seed=seeds,
        dtype=st.sampled_from(["float32", "float64"]),
        backend=st.sampled_from(NAMES),
        hidden=st.sampled_from(["plain", "norm", "dropout"]),
    )
    def begin(self, seed: int, dtype: str, backend: str, hidden: str) -> None:
        between: dict[str, list[Any]] = {
            "plain": [],
            "norm": [fn.BatchNorm("tanh"), fn.LayerNorm()],
            "dropout": [fn.Dropout(0.3)],
        }
        layers = [fn.Dense(5, "silu"), *between[hidden], fn.Dense(CLASSES, "softmax")]
        how: dict[str, Any] = {"inputs": INPUTS, "dtype": dtype, "seed": seed, "backend": backend}
        self.net, self.twin = fn.Network(layers, **how), fn.Network(layers, **how)
        self.trained = False

    def both(self) -> tuple[fn.Network, fn.Network]:
        return self.net, self.twin

    # --- what counts -----------------------------------------------------------------------------

    @rule(
        seed=seeds,
        name=st.sampled_from(STEPWISE),
        epochs=st.integers(1, 2),
        standardize=st.booleans(),
        weighted=st.booleans(),
    )
    def fit(self, seed: int, name: str, epochs: int, standardize: bool, weighted: bool) -> None:
        x, y = rows_of(seed)
        weight = np.arange(len(x)) % 3 if weighted else None
        for net in self.both():
            net.fit(
                *(x, y),
                optimizer=name,
                epochs=epochs,
                batch_size=4,
                standardize=standardize,
                sample_weight=weight,
            )
        self.trained = True

    @rule(seed=seeds, name=st.sampled_from(STEPWISE))
    def take_one_step(self, seed: int, name: str) -> None:
        x, y = rows_of(seed)
        losses = [net.partial_fit(x, y, optimizer=name) for net in self.both()]
        assert losses[0] == losses[1]
        self.trained = True

    @precondition(lambda self: self.trained)
    @rule(seed=seeds)
    def calibrate(self, seed: int) -> None:
        found = [net.calibrate(*rows_of(seed)) for net in self.both()]
        assert found[0] == found[1]

    @rule(seed=st.none() | seeds)
    def initialize_again(self, seed: int | None) -> None:
        for net in self.both():
            net.initialize(seed)

    @rule(backend=st.sampled_from(NAMES))
    def train_elsewhere(self, backend: str) -> None:
        self.net, self.twin = (net.to(backend) for net in self.both())

    @rule()
    def save_and_load(self) -> None:
        path = Path(self.folder.name, "net.safetensors")
        self.net.save(path)
        self.net = fn.load(path, backend=self.net.backend)
        self.twin.optimizer_state = None  # a file holds no moments

    # --- what does not count ---------------------------------------------------------------------

    @rule(
        way=st.sampled_from([fn.Network.copy, copy.copy, copy.deepcopy, "pickle", "there and back"])
    )
    def make_another(self, way: Any) -> None:
        before = self.net
        if way == "pickle":
            self.net = pickle.loads(pickle.dumps(before))
        elif way == "there and back":
            self.net = before.to(NAMES[0]).to(NAMES[-1]).to(before.backend).copy()
        else:
            self.net = way(before)
        before.parameters[...] = np.nan  # the old one is no part of the new one

    @rule(seed=seeds)
    def ask(self, seed: int) -> None:
        x, y = rows_of(seed)
        asked, other = (net.predict(x) for net in self.both())
        assert asked.tobytes() == other.tobytes()
        one, another = (net.predict_one(x[0]) for net in self.both())
        assert one.tobytes() == another.tobytes()
        assert self.net.evaluate(x, y) == self.twin.evaluate(x, y)
        self.net.jacobian(x)

    @rule(to=st.sampled_from(["numpy", "c"]))
    def export(self, to: str) -> None:
        export(self.net, Path(self.folder.name, f"net.{'py' if to == 'numpy' else 'h'}"), to=to)

    @rule(wrong=st.sampled_from(["x", "y", "optimizer", "weight"]))
    def fit_wrongly(self, wrong: str) -> None:
        x, y = rows_of(0)
        how: dict[str, Any] = {"x": x, "y": y, "optimizer": "adam", "sample_weight": None}
        how |= {
            "x": {"x": np.full_like(x, np.inf)},
            "y": {"y": np.full(len(y), CLASSES)},
            "optimizer": {"optimizer": "adamm"},
            "weight": {"sample_weight": np.zeros(len(y))},
        }[wrong]
        with pytest.raises(fn.InputError):
            self.net.fit(**how)

    # --- what must hold --------------------------------------------------------------------------

    @invariant()
    def they_are_equal(self) -> None:
        for name in ("parameters", "state"):
            mine, other = (np.asarray(getattr(net, name)) for net in self.both())
            assert mine.tobytes() == other.tobytes(), name
        for name in ("temperature", "seed", "dtype", "loss", "label_names", "backend"):
            assert getattr(self.net, name) == getattr(self.twin, name), name
        mine, other = (net.preprocessor.description() for net in self.both())
        assert mine[0] == other[0]
        assert all(np.array_equal(mine[1][key], other[1][key]) for key in other[1])


def run(examples: int, *, machine: Any = Histories, **how: Any) -> None:
    chosen = settings(max_examples=examples, stateful_step_count=20, **how)
    run_state_machine_as_test(machine, settings=chosen)


def test_only_trainings_count() -> None:
    run(25)


@pytest.mark.slow
def test_only_trainings_count_in_a_thousand_histories() -> None:
    run(1000, derandomize=False)


def test_a_history_that_changes_something_is_noticed() -> None:
    class Forgetful(Histories):
        @rule()
        def forget_the_moments(self) -> None:
            self.net.optimizer_state = None

    with pytest.raises(AssertionError):
        run(100, machine=Forgetful, phases=[Phase.generate], report_multiple_bugs=False)
