"""The kernels: ``cpu`` (Numba) and ``cuda`` (CUDA text), twins by file stem and function name.

This package is installed as ``fastnet.kernels`` and imports nothing from the rest of fastnet.
"""
