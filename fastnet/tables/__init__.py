"""Tables: data frames as they are, with texts and missing values, into networks.

Importing this package loads NumPy; narwhals is imported when a data frame comes.
"""

from fastnet.tables.columns import TableColumn
from fastnet.tables.files import read_frame
from fastnet.tables.frame import Frame, as_frame
from fastnet.tables.preprocessor import TablePreprocessor
from fastnet.tables.preset import PRESETS, Preset
from fastnet.tables.target import TableTarget
from fastnet.tables.train import train

__all__ = [
    "PRESETS",
    "Frame",
    "Preset",
    "TableColumn",
    "TablePreprocessor",
    "TableTarget",
    "as_frame",
    "read_frame",
    "train",
]
