"""The names that arguments take, as types: an editor offers them, and a type checker knows them.

Each stands beside a table of what the names mean, and a test compares the two.
"""

from typing import Literal

Auto = Literal["auto"]
BackendName = Literal["numpy", "numba", "cupy"]
DTypeName = Literal["float32", "float64"]
PrecisionName = Literal["float32", "tf32", "bf16"]
TransportName = Literal["auto", "nccl", "mpi", "host"]

ActivationName = Literal[
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "tanh",
    "sigmoid",
    "softplus",
    "exp",
    "softmax",
]
InitializerName = Literal[
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "normal",
    "standard_normal",
    "zeros",
    "ones",
]
LossName = Literal[
    "cross_entropy",
    "binary_cross_entropy",
    "mse",
    "mae",
    "huber",
    "poisson",
    "gaussian_nll",
    "quantile",
]
StreamOptimizerName = Literal["sgd", "rmsprop", "adagrad", "adam", "adamw", "nadam", "lion"]
OptimizerName = Literal[StreamOptimizerName, "lbfgs"]
PresetName = Literal["tabular", "tabular-piecewise"]
TogetherName = Literal["tabular-best"]
ExportName = Literal["c", "numpy", "onnx", "torch"]
FixedName = Literal["int8", "q15"]
