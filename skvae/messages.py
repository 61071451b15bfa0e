"""Warnings that point at a line of the user's code."""

import contextlib
import inspect
import os
import warnings
from pathlib import Path

import numpy as np
import sklearn

# Paths of skvae, and of packages that may call it from the user's code.
FOLDERS = (Path(file).parent for file in (__file__, sklearn.__file__, np.__file__))
BETWEEN = (*(f"{folder}{os.sep}" for folder in FOLDERS), contextlib.__file__)


def warn_user(message, category=UserWarning):
    """Warn at the line of the user's code from which skvae was called."""
    frame, level = inspect.currentframe().f_back, 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(BETWEEN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
