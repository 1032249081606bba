"""Networks for tables: data frames with numbers, text and missing values.

Importing this package loads NumPy; the first data frame imports narwhals.
"""

from fastnet.data.frame import Frame, as_frame
from fastnet.data.frame_files import read_frame
from fastnet.preprocessing.columns import TableColumn
from fastnet.preprocessing.table import TablePreprocessor
from fastnet.preprocessing.target import TableTarget
from fastnet.tables.populations import cross_validate, fit_many
from fastnet.tables.preset import PRESETS, Overrides, Preset
from fastnet.tables.train import train
from fastnet.tables.tune import tune
from fastnet.tables.tuned import Tuned

__all__ = [
    "PRESETS",
    "Frame",
    "Overrides",
    "Preset",
    "TableColumn",
    "TablePreprocessor",
    "TableTarget",
    "Tuned",
    "as_frame",
    "cross_validate",
    "fit_many",
    "read_frame",
    "train",
    "tune",
]
