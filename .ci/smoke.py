"""What an installed fastnet must be able to do, run by the wheel job away from the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import fastnet as fn
import fastnet.benchmarks
import fastnet.kernels


def main() -> None:
    """Train a small network on both CPU backends, store it, load it, and predict the same."""
    prefix = Path(sys.prefix)
    for module in (fn, fastnet.benchmarks, fastnet.kernels):
        assert prefix in Path(str(module.__file__)).parents, f"{module} is not the installed one"
    prepared = [file.name for file in Path(str(fastnet.kernels.__file__)).parent.glob("cpu/*.ir")]
    assert prepared, "the wheel does not bring the LLVM code of the kernels"
    print("fastnet", fn.__version__, "in", sys.prefix, "with", ", ".join(sorted(prepared)))

    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    y = np.array([0, 1, 1, 0])
    for backend in ("numpy", "numba"):
        net = fn.Network(
            [2, 8, 2], activation="tanh", output_activation="softmax", seed=0, backend=backend
        )
        net.fit(x, y, optimizer=fn.Adam(0.05), epochs=200, batch_size=4)
        accuracy = net.evaluate(x, y)["accuracy"]
        assert accuracy == 1, f"{backend}: xor is learnt to {accuracy}"
        file = Path(f"{backend}.safetensors")
        net.save(file)
        np.testing.assert_array_equal(fn.load(file, backend=backend).predict(x), net.predict(x))
        print(f"{backend}: xor learnt, stored and loaded")


if __name__ == "__main__":
    main()
