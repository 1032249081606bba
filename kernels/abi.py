"""The codes, constants and record layout that fastnet and its kernels share.

Python tables, Numba kernels and the CUDA text all take these values from here, so a code means the
same everywhere. No file contains codes (model files have names), so they may be renumbered.
"""

from __future__ import annotations

from typing import Final

import numpy as np

# Kinds of layer.
DENSE: Final = 0
DROPOUT: Final = 1
BATCH_NORM: Final = 2
LAYER_NORM: Final = 3

# Activations.
IDENTITY: Final = 0
RELU: Final = 1
LEAKY_RELU: Final = 2
ELU: Final = 3
SELU: Final = 4
GELU: Final = 5
SILU: Final = 6
MISH: Final = 7
TANH: Final = 8
SIGMOID: Final = 9
SOFTPLUS: Final = 10
EXP: Final = 11
SOFTMAX: Final = 12

# Losses.
CROSS_ENTROPY: Final = 0
BINARY_CROSS_ENTROPY: Final = 1
MSE: Final = 2
MAE: Final = 3
HUBER: Final = 4
POISSON: Final = 5
GAUSSIAN_NLL: Final = 6
QUANTILE: Final = 7

# In place of a loss, for a gradient that was computed elsewhere: of the output layer's y or z.
GRADIENT_OF_Y: Final = -1
GRADIENT_OF_Z: Final = -2

# Optimizers.
SGD: Final = 0
RMSPROP: Final = 1
ADAGRAD: Final = 2
ADAM: Final = 3
NADAM: Final = 4
LION: Final = 5

# Constants of the activations.
LEAKY_SLOPE: Final = 0.01
SELU_LAMBDA: Final = 1.0507009873554805
SELU_ALPHA: Final = 1.6732632423543772
GELU_SCALE: Final = 0.7978845608028654  # sqrt(2 / pi)
GELU_CUBIC: Final = 0.044715
GELU_FLAT: Final = 12.0  # its derivative is 0 or 1 from here on

# An optimizer's hyperparameters, one float64 each: the layout of ``Optimizer.hyperparameters``.
BETA1, BETA2, EPSILON, MOMENTUM, NESTEROV, L1, L2, CLIP_NORM = range(8)
CONSTANTS: Final = 8

# An optimizer's per-step coefficients, one float64 each: a row of ``Optimizer.step_coefficients``.
RATE, SCALE, RATE_GRADIENT, DECAY = range(4)
COEFFICIENTS: Final = 4

# The sums of training and evaluation, one float64 each: the layout of ``Engine.tally``. STEPS
# counts batches while the sum of the losses is finite, so it is the number of the first bad one.
LOSS_SUM, SCORE_SUM, WEIGHT_SUM, STEPS = range(4)
TALLY: Final = 4

# The purposes of random numbers: the last word of every Philox counter.
INITIALIZE: Final = 0
SHUFFLE: Final = 1
DROP: Final = 2
SPLIT: Final = 3
BLOCKS: Final = 4

# Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
PHILOX_M0: Final = 0xD2511F53
PHILOX_M1: Final = 0xCD9E8D57
PHILOX_W0: Final = 0x9E3779B9
PHILOX_W1: Final = 0xBB67AE85
PHILOX_ROUNDS: Final = 10

# The shuffle's Feistel network.
FEISTEL_ROUNDS: Final = 8
FEISTEL_M0: Final = 0xD2511F53
FEISTEL_M1: Final = 0x85EBCA6B

# One step of a network's forward pass. Every field is 8 bytes wide and naturally aligned, so the
# record reads the same in NumPy, in Numba and as a C struct of int64 and double.
#
# Offsets count elements. ``weight`` and ``bias`` point into the flat parameters (and gradients and
# moments), ``state`` into the flat running statistics. ``x y z xhat`` point into a workspace that
# holds ``rows`` rows for every unit: the array of shape (rows, width) starts at ``offset * rows``.
OP: Final = np.dtype(
    [
        ("kind", np.int64),
        ("inputs", np.int64),  # I, the width of x
        ("outputs", np.int64),  # O, the width of y
        ("activation", np.int64),
        ("weight", np.int64),  # w (I, O) of a dense layer, gamma (O,) of a normalisation; else -1
        ("bias", np.int64),  # b (O,) of a dense layer, beta (O,) of a normalisation; else -1
        ("state", np.int64),  # running mean (O,), then running variance (O,); else -1
        ("x", np.int64),  # the y of the step before; -1 is the network's own input
        ("y", np.int64),
        ("z", np.int64),  # equal to y where the activation can work in place
        ("xhat", np.int64),  # normalised input, or a dropout mask; else -1
        ("stream", np.int64),  # the index of the layer: keys its dropout mask
        ("rate", np.float64),  # dropout: the probability of a zero
        ("epsilon", np.float64),
        ("momentum", np.float64),
    ]
)
