"""Graph: the nodes and constants of an ONNX graph while it is written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike


class Graph:
    """Nodes and constants in the order in which they are added; every value has a name.

    Parameters
    ----------
    dtype : dtype
        Of the network: the type of constants that have none of their own.

    Attributes
    ----------
    suffix : str
        What names of constants end in: that of the member, or of the encoding, that they are of.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.suffix = ""

    def op(self, kind: str, *inputs: str | float, name: str = "", **attributes: Any) -> str:
        """Add a node, with numbers among its inputs as constants; return the name of its output."""
        from onnx import helper

        output = name or f"v{len(self.nodes)}"
        values = [self.constant(v) if isinstance(v, float) else v for v in inputs]
        self.nodes.append(helper.make_node(kind, values, [output], **attributes))
        return output

    def constant(self, value: Any, name: str = "") -> str:
        """Add a constant of the network's dtype, unless `value` has its own; return its name."""
        from onnx.numpy_helper import from_array

        name = f"{name}{self.suffix}" if name else f"c{value!r}"
        array = value if isinstance(value, np.ndarray) else np.array(value, self.dtype)
        self.constants[name] = from_array(array, name)
        return name

    def cast(self, value: str, dtype: DTypeLike | None = None) -> str:
        """Convert a value to a dtype; default: the network's."""
        from onnx.helper import np_dtype_to_tensor_dtype

        kind = self.dtype if dtype is None else np.dtype(dtype)
        return self.op("Cast", value, to=np_dtype_to_tensor_dtype(kind))
