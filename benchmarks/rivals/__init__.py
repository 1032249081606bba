"""The rivals: the same networks in other libraries, one file each.

Every one of them is given the same data, initial weights, order of the batches and Adam, and is
written as its own documentation would have it for speed. They are imported on use: fastnet needs
none of them.
"""

from __future__ import annotations

import importlib
from typing import Final

from fastnet.benchmarks.contenders import Contender, Entry, missing, version_of

# key: (label, class, modules it needs, whether it trains); the module has the name of the key.
_RIVALS: Final = {
    "pytorch": ("PyTorch", "PyTorch", ("torch",), True),
    "jax_scan": ("JAX", "JaxScan", ("jax",), True),
    "sklearn_mlp": ("scikit-learn", "SklearnMLP", ("sklearn",), True),
    "numpy_script": ("NumPy script", "NumpyScript", ("numpy",), True),
    "onnx_runtime": ("ONNX Runtime", "OnnxRuntime", ("onnxruntime", "onnx"), False),
}

_PACKAGES: Final = {"sklearn": "scikit-learn"}


def installed() -> tuple[list[Entry], dict[str, str]]:
    """Return the rivals that can run here, and for the others what is not installed."""
    entries, absent = [], {}
    for key, (label, class_name, modules, trains) in _RIVALS.items():
        lacking = missing(modules)
        if lacking:
            names = " and ".join(_PACKAGES.get(module, module) for module in lacking)
            absent[label] = f"not installed: {names}"
            continue
        version = version_of(_PACKAGES.get(modules[0], modules[0]))
        rival: type[Contender] = getattr(importlib.import_module(f"{__name__}.{key}"), class_name)
        takes_all = key in ("jax_scan", "pytorch")
        entries.append(Entry(key, label, version, "rival", rival, trains, takes_all))
    return entries, absent
