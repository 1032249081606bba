"""Data sets: built-in ones, and readers for CSV, NumPy, IDX, Parquet and Arrow files.

Importing this package loads NumPy and the standard library; a reader is imported on first use.
"""

from fastnet.data.chunks import Chunks
from fastnet.data.dataset import BUILT_IN, Dataset, load

__all__ = ["BUILT_IN", "Chunks", "Dataset", "load"]
