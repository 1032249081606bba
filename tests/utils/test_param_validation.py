"""Single arguments: what is taken, and the sentence about everything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.utils.param_validation import LONGEST, check_flag, check_int

X = np.linspace(-1, 1, 24).reshape(8, 3)
Y = X[:, 0]


@pytest.mark.parametrize("value", [True, 1, np.True_, np.int8(1), np.array(True)])
def test_a_truth_may_be_pythons_numpys_or_a_number(value: Any) -> None:
    assert check_flag("a", value) is True
    assert check_flag("a", type(value)(0) if not isinstance(value, np.ndarray) else False) is False


WRONG = ["yes", "False", "", 2, -1, 1.0, 0.5, None, [], [True], {}, np.nan, "running"]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(fn.InputError, match=re.escape(f"a must be True or False, got {value!r}.")):
        check_flag("a", value)


def net(**options: Any) -> fn.Network:
    return fn.Network([3, 4, 2], output_activation="softmax", backend="numpy", **options)


def fit(**options: Any) -> Any:
    return fn.Network([3, 4, 1], backend="numpy").fit(X, Y, epochs=1, **options)


def backward(value: Any) -> Any:
    made = net()
    made.forward(X)
    return made.backward(np.ones((8, 2)), logits=value)


CALLS: dict[str, Callable[[Any], Any]] = {
    "shuffle": lambda v: fit(shuffle=v),
    "standardize_targets": lambda v: fit(standardize_targets=v),
    "resume": lambda v: fit(resume=v),
    "training": lambda v: net().forward(X, training=v),
    "logits": backward,
    "return_std": lambda v: net().predict(X, return_std=v),
    "nesterov": lambda v: fn.SGD(0.1, momentum=0.9, nesterov=v),
    "restore_best": lambda v: fn.EarlyStopping(restore_best=v),
    "standardize": lambda v: fit(standardize=v),
}


@pytest.mark.parametrize("value", ["yes", "false", 2, None, 0.0], ids=repr)
@pytest.mark.parametrize("name", CALLS)
def test_every_public_truth_is_checked(name: str, value: Any) -> None:
    with pytest.raises(fn.InputError, match=f"{name} must be True"):
        CALLS[name](value)


def test_values_of_a_loss_have_a_truth_too() -> None:
    with pytest.raises(fn.InputError, match="logits must be True or False, got 'no'"):
        fn.losses.CrossEntropy().value_and_gradient([[0.5, 0.5]], [0], logits="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["shuffle", "standardize", "warm_start", "table"])
def test_estimators_check_theirs(name: str) -> None:
    pytest.importorskip("sklearn")
    from fastnet.sklearn import FastNetClassifier, FastNetRegressor

    for kind in (FastNetClassifier, FastNetRegressor):
        with pytest.raises(fn.InputError, match=f"{name} must be True.* got 'yes'"):
            kind(**{name: "yes"}).fit(X, Y > 0)
    with pytest.raises(fn.InputError, match="standardize_targets must be True or False, got 'no'"):
        FastNetRegressor(standardize_targets="no").fit(X, Y)
    fitted = FastNetRegressor(epochs=1, backend="numpy").fit(X, Y)
    with pytest.raises(fn.InputError, match="return_std must be True or False"):
        fitted.predict(X, return_std="yes")


# --- whole numbers --------------------------------------------------------------------------------

HUGE: dict[str, Callable[[int], Any]] = {
    "epochs": lambda v: fn.Network([3, 1], backend="numpy").fit(X, Y, epochs=v),
    "threads": lambda v: fit(threads=v),
    "early_stopping": lambda v: fit(early_stopping=v),
    "verbose": lambda v: fit(verbose=v),
    "patience": lambda v: fn.EarlyStopping(v),
    "chunk_rows": lambda v: fn.data.Chunks(X, Y, chunk_rows=v),
    "checkpoint_every": lambda v: fit(checkpoint="c", checkpoint_every=v),
}


@pytest.mark.parametrize("value", [LONGEST + 1, 10**400], ids=["2**63", "10**400"])
@pytest.mark.parametrize("name", HUGE)
def test_whole_numbers_beyond_64_bits_are_refused(name: str, value: int) -> None:
    with pytest.raises(fn.InputError, match=f"{name} must be at most 9223372036854775807, got"):
        HUGE[name](value)


def test_the_largest_numbers_are_taken() -> None:
    assert check_int("a", LONGEST) == LONGEST
    fit(batch_size=10**30, early_stopping=LONGEST)
    assert net(seed=2**64 - 1).seed == 2**64 - 1
    for seed in (2**64, 10**400):
        with pytest.raises(fn.InputError, match="seed must be"):
            net(seed=seed)
