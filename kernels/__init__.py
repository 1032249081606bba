"""The kernels: ``cpu`` in Numba and ``cuda`` as CUDA text.

Formulas have the same file stem in both: ``activations``, ``losses``, ``norm``, ``optimizers``,
``random``, ``residual`` and ``tiny``. The other files differ, because each side divides a training
step as its machine likes it: the CPU compiles a whole step into one kernel with matrix products of
its own, the GPU launches a kernel for each part of it and takes its products from cuBLASLt.

This package is installed as ``fastnet.kernels`` and imports nothing from the rest of fastnet.
"""
