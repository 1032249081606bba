"""Runs CUDA kernels on the CPU, so that the GPU backend is tested on any machine."""
