"""Data sets: built-in ones, readers for CSV, NumPy, IDX and Parquet files, and their encoding.

Importing this package loads NumPy and the standard library; a reader is imported on first use.
"""

from fastnet.data.chunks import Chunks
from fastnet.data.dataset import Dataset
from fastnet.data.loading import BUILT_IN, load
from fastnet.preprocessing.scaler import Scaler
from fastnet.preprocessing.schema import Column, TableSchema

__all__ = ["BUILT_IN", "Chunks", "Column", "Dataset", "Scaler", "TableSchema", "load"]
