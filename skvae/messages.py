"""Warnings that point at the line of the user's code."""

import contextlib
import inspect
import os
import warnings
from pathlib import Path

import numpy as np
import sklearn

# What may stand between the user's code and a warning: skvae, and what calls it.
BETWEEN = (
    str(Path(__file__).parent) + os.sep,
    str(Path(sklearn.__file__).parent) + os.sep,
    str(Path(np.__file__).parent) + os.sep,
    contextlib.__file__,
)


def warn_user(message, category=UserWarning):
    """Warn at the line of the user's code from which skvae was called."""
    frame, level = inspect.currentframe().f_back, 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(BETWEEN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
