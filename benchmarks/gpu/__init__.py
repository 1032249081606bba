"""Measurements on a GPU: python -m fastnet.benchmarks.gpu."""
