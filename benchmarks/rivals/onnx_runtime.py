"""ONNX Runtime: prediction only, on a graph of ``Gemm``, ``Relu``, ``Tanh`` and ``Softmax``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnet.benchmarks.contenders import Contender
from fastnet.benchmarks.problems import Floats, Problem


class OnnxRuntime(Contender):
    """An inference session with all graph optimisations, on the CPU."""

    def __init__(self, problem: Problem, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            make_model(problem), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, x: Floats) -> NDArray[Any]:
        return np.asarray(self.session.run(["y"], {"x": x})[0])


def make_model(problem: Problem) -> bytes:
    """Return the network as an ONNX model."""
    from onnx import TensorProto, helper
    from onnx.numpy_helper import from_array

    last = len(problem.weights) - 1
    nodes, arrays, name = [], [], "x"
    for i, (w, b) in enumerate(zip(problem.weights, problem.biases, strict=True)):
        arrays += [from_array(w, f"w{i}"), from_array(b, f"b{i}")]
        rung = problem.rung
        activation = (rung.output_activation if i == last else rung.activation).capitalize()
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"z{i}"]))
        name = "y" if i == last else f"y{i}"
        nodes.append(helper.make_node(activation, [f"z{i}"], [name]))
    floats, sizes = TensorProto.FLOAT, problem.rung.sizes
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", floats, ["rows", sizes[0]])],
        [helper.make_tensor_value_info("y", floats, ["rows", sizes[-1]])],
        arrays,
    )
    # An opset and a file version that older runtimes read too.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
