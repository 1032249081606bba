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
ADD: Final = 4  # the end of a residual connection

# Activations.
IDENTITY: Final = 0
RELU: Final = 1
LEAKY_RELU: Final = 2
ELU: Final = 3
SELU: Final = 4
GELU: Final = 5
GELU_TANH: Final = 6
SILU: Final = 7
MISH: Final = 8
TANH: Final = 9
SIGMOID: Final = 10
SOFTPLUS: Final = 11
EXP: Final = 12
SOFTMAX: Final = 13

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
GELU_FLAT: Final = 12.0  # the tanh form's derivative is 0 or 1 from here on

# The normal distribution, of which the exact GELU is made: Phi(-t) = phi(t) m(t) for t >= 0, with
# the density phi(t) = exp(-t^2 / 2) / sqrt(2 pi). The Mills ratio m is smooth and falls like 1 / t:
# m(t) = P(q) / (t + 5) with q = (t - 5) / (t + 5). The form is that of Shepherd and Laframboise,
# "Chebyshev approximation of (1 + 2x) exp(x^2) erfc(x) in 0 <= x < infinity", Math. Comp. 36, 1981.
# The coefficients of P, from the constant on, are Chebyshev fits made with mpmath for this file.
NORMAL_SCALE: Final = 0.3989422804014327  # 1 / sqrt(2 pi)
NORMAL_FLAT: Final = 40.0  # phi is 0 from here on, in float64 too
MILLS_SHIFT: Final = 5.0
MILLS32: Final = (  # for t <= 16, beyond which phi is 0 in float32; its relative error is 2.0e-8
    1.928081017,
    -1.667866479,
    1.241549943,
    -0.7859141329,
    0.4135998047,
    -0.1732482828,
    0.05236668479,
    -0.007399128325,
    -0.002459382751,
    0.0009954417369,
)
MILLS64: Final = (  # for t <= 40; its relative error is 2.7e-17
    1.9280810471531576599,
    -1.6678665951889593748,
    1.2415470615738626279,
    -0.78591107554662018497,
    0.41364471573286268209,
    -0.17325473408468362491,
    0.052125502409260121072,
    -0.0075032828583207022196,
    -0.0019999619531238999741,
    0.0013658594796728051582,
    -0.00014883310153129229897,
    -0.00012473729244515361134,
    0.000041814327044707158791,
    9.9800558369722971398e-6,
    -6.9428968954711536227e-6,
    -8.4682324851189806031e-7,
    1.0870518060378469145e-6,
    1.1001640293842438076e-7,
    -1.6551876074754039154e-7,
    -2.634848874170406139e-8,
    1.8556263483858684813e-8,
    5.3472982285321996857e-9,
)

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

# Early stopping within a call of several epochs, one float64 each: the layout of `Monitor.record`.
# The first three change; COLUMN is that of the tally, and epochs count from 1.
BEST, BEST_EPOCH, WAITED, PATIENCE, MIN_DELTA, SIGN, COLUMN, HELD_OUT = range(8)
MONITOR: Final = 8

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
        ("skip", np.int64),  # ADD: the index of the op whose y it adds; -1 is the network's input
        ("joins", np.int64),  # how many ADDs add this y: as many gradients join its own
        ("rate", np.float64),  # dropout: the probability of a zero
        ("epsilon", np.float64),
        ("momentum", np.float64),
    ]
)
