"""CUDA kernels: text that NVRTC compiles for a GPU, and a loader that puts it together."""
