"""The GPU backend: CuPy, cuBLASLt and fastnet's own CUDA kernels."""
