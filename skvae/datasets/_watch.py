"""Shoulder exercises recorded by a wristwatch."""

from importlib import resources
from numbers import Number

import numpy as np
from sklearn.utils import Bunch

CHANNEL_NAMES = ("ax", "ay", "az", "wx", "wy", "wz")
TARGET_NAMES = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "lower trapezius row",
    "bent-over row",
)
POSITIONS = {str(key): i for i, name in enumerate(CHANNEL_NAMES) for key in (i, name)}
SAMPLING_RATE = 50.0  # Hz
SUBSETS = {"train": range(1, 8), "test": range(8, 11), "all": range(1, 11)}  # subjects


def load_watch(*, subset="train", channels=None, return_X_y=False):
    """Load wrist motion during seven shoulder exercises (classification).

    Windows of 336 samples at 50 Hz, cut without overlap from recordings of ten people;
    no person is in both the training and the test windows.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Windows of subjects 1 to 7 (448), of subjects 8 to 10 (210), or both (658).
    channels : str, int, or list of these, default=None
        Names or positions of the channels to load, in the order wanted: "ax", "ay",
        "az" (acceleration in g, gravity included), "wx", "wy", "wz" (angular velocity
        in rad/s). None loads all six. A single channel keeps its axis.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch
        data : float32 array of shape (n_samples, n_channels, 336)
            In g and rad/s, rounded to multiples of 0.01 g and 0.02 rad/s.
        target : int array of shape (n_samples,)
            The exercise, as a position in `target_names`.
        subject : int array of shape (n_samples,)
            Who wore the watch, 1 to 10: `groups` for cross-validation.
        target_names, channel_names : list of str
        sampling_rate : float
            In Hz.
        DESCR : str
            Origin, licence, units and rounding.

    (data, target) if `return_X_y`.

    References
    ----------
    Burns et al. (2018), https://arxiv.org/abs/1802.01489; the recordings are those of
    seglearn 1.2.5, (c) 2018 David M. Burns, BSD 3-clause.

    Examples
    --------
    >>> from skvae.datasets import load_watch
    >>> X, y = load_watch(channels=["ax", "wy"], return_X_y=True)
    >>> X.shape
    (448, 2, 336)
    """
    if subset not in list(SUBSETS):  # subset may be unhashable
        raise ValueError(f"subset={subset!r}, but it must be one of {list(SUBSETS)}.")
    if channels is None:
        channels = CHANNEL_NAMES
    elif isinstance(channels, (str, Number)):
        channels = [channels]
    expected = (
        f"the recordings have {CHANNEL_NAMES}. Name some of these, or give their "
        f"positions from 0 to {len(CHANNEL_NAMES) - 1}, or None for all of them."
    )
    for channel in channels:
        if str(channel) not in POSITIONS:
            raise ValueError(f"channels has {channel!r}, but {expected}")
    channels = [POSITIONS[str(channel)] for channel in channels]
    if not channels:
        raise ValueError(f"channels is empty, but {expected}")

    folder = resources.files("skvae.datasets") / "data"
    with (folder / "watch.npz").open("rb") as file, np.load(file) as stored:
        rows = np.isin(stored["subject"], SUBSETS[subset])
        data = stored["data"][rows][:, channels]  # (n, c, t), whole steps
        data = data.astype(np.float32) * stored["step"][channels, None]
        target = stored["target"][rows].astype(int)
        subject = stored["subject"][rows].astype(int)

    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        subject=subject,
        target_names=list(TARGET_NAMES),
        channel_names=[CHANNEL_NAMES[channel] for channel in channels],
        sampling_rate=SAMPLING_RATE,
        DESCR=(folder / "watch.rst").read_text(encoding="utf-8"),
    )
