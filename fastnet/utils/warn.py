"""`warn`: a warning that points at the line of the user's code that has led to it."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

from fastnet.errors import FastNetWarning

_OWN = str(Path(__file__).parent.parent) + os.sep


def warn(message: str, category: type[Warning] = FastNetWarning) -> None:
    """Warn as `warnings.warn` does, of the call that has entered fastnet.

    However many of fastnet's functions and decorators, and of scikit-learn's, lie between: to count
    them would go wrong with the next one.
    """
    frame: FrameType | None = sys._getframe(1)
    level, entered = 2, 2
    while frame is not None:
        level += 1
        if frame.f_code.co_filename.startswith(_OWN):
            entered = level
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=entered)
