"""Where an optional package is missing, the message says what to install; nothing has changed."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from tests.on_backends import everything, same

X = np.random.default_rng(0).standard_normal((20, 2))

NEEDS: dict[str, tuple[Callable[[fn.Network], Any], str]] = {
    "matplotlib": (lambda net: fn.History().plot(), r"'fastnet-mlp\[plot\]'"),
    "scipy": (
        lambda net: net.fit(X, X, optimizer="lbfgs", standardize=True),
        r"SciPy.*'fastnet-mlp\[lbfgs\]'",
    ),
    "tensorboardX": (lambda net: fn.TensorBoard("run"), r"'fastnet-mlp\[tensorboard\]'"),
}


@pytest.mark.parametrize("package", NEEDS)
def test_without_a_package_the_message_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return original(name, *rest)

    call, message = NEEDS[package]
    net = fn.Network([2, 2], backend="numpy")
    before = everything(net)
    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", without)
        with pytest.raises(fn.FastNetError, match=message) as caught:
            call(net)
    assert "pip install" in str(caught.value)
    assert same(everything(net), before)
    assert net.preprocessor.description() == ({}, {})
    net.fit(X, X, epochs=1)
