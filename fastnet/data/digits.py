"""digits: 1,797 handwritten digits of 8 x 8 pixels, which come with fastnet.

Source: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998), UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, under CC BY 4.0 (``digits.LICENSE.txt``).
These are the 1,797 rows of its test part, in its order, as scikit-learn has them too.

The original has no split of these rows, so this is ours: with the rows ordered by digit (and
within a digit as in the file), every fifth one from the first is for testing. That leaves 1,437
rows for training and 360 for testing, 35 to 37 of each digit. The same people wrote both parts.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fastnet.data.arrays import Arrays
from fastnet.data.npy import read_npz

_FILE = Path(__file__).with_name("digits.npz")  # x (1797, 64) uint8 in 0..16, y (1797,) uint8
_WHITE = np.float32(16)


def read(folder: str | os.PathLike[str] | None = None) -> Arrays:
    """Return x in 0..1, (1437, 64) float32, y (1437,), and the test split of 360 rows.

    `folder` is taken for the sake of one signature for all built-in data sets, and not used.
    """
    data = read_npz(_FILE, None)
    assert data.y is not None
    x, y = data.x / _WHITE, data.y
    test = np.zeros(len(y), dtype=bool)
    test[np.argsort(y, kind="stable")[::5]] = True
    names = tuple(str(digit) for digit in range(10))
    return Arrays(
        "digits",
        x[~test],
        y[~test],
        "label",
        names,
        test=Arrays("digits (test)", x[test], y[test], "label", names),
    )
