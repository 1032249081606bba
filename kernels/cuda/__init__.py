"""CUDA kernels: source text that NVRTC compiles for a GPU, and the loader that assembles it."""
