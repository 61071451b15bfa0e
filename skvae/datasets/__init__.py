"""Recorded and made-up signals for examples."""

from importlib import resources
from numbers import Integral, Number, Real

import numpy as np
from sklearn.utils import Bunch, check_random_state, check_scalar

__all__ = ["load_watch", "make_load_profiles"]

CHANNEL_NAMES = ["ax", "ay", "az", "wx", "wy", "wz"]
TARGET_NAMES = [
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "lower trapezius row",
    "bent-over row",
]
POSITIONS = {str(key): i for i, name in enumerate(CHANNEL_NAMES) for key in (i, name)}
SUBSETS = {"train": range(1, 8), "test": range(8, 11), "all": range(1, 11)}  # subjects

# Three daily activities of each kind of building: hour, width (standard deviation in
# hours), and heights on weekdays, Saturdays and Sundays, in percent.
BUILDINGS = np.array(
    [
        [(7, 1, 35, 15, 10), (13, 3, 10, 30, 30), (19, 2, 50, 40, 40)],  # commuters
        [(8, 2, 30, 25, 25), (12.5, 2, 30, 30, 40), (19, 2, 40, 40, 40)],  # family
        [(2, 2.5, 50, 50, 50), (12, 3, 10, 25, 25), (19, 2, 30, 30, 30)],  # heating
        [(10, 2, 40, 10, 0), (15, 2, 40, 0, 0), (12.5, 3, 10, 10, 10)],  # office
        [(10, 2, 30, 40, 0), (15, 3, 40, 30, 0), (19, 1.5, 25, 0, 0)],  # shop
        [(12, 2, 30, 30, 40), (16, 3, 10, 10, 10), (20, 2, 40, 50, 25)],  # restaurant
        [(8, 2.5, 30, 25, 0), (14, 3, 30, 0, 0), (20, 2.5, 30, 0, 0)],  # two shifts
    ]
)
SUNDAY = 2  # position among the heights
WEEK = [0, 0, 0, 0, 0, 1, SUNDAY]
HOLIDAYS = 0.1  # share of days that are like Sundays

# Differences of buildings of one kind. They are chosen so that classes overlap: 1-NN on
# 500 signals of seven classes has an accuracy of about 0.7.
WEEK_SHIFT, DAY_SHIFT = 1.5, 1.0  # standard deviations, hours
STRENGTH = 0.5  # standard deviation of the logarithm, per building and again per day


def load_watch(*, subset="train", channels=None, return_X_y=False):
    """Load wrist motion during seven shoulder exercises (classification).

    Windows have 336 samples at 50 Hz. Ten people wore the watch, and none of them is in
    both the training and the test windows.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Windows of subjects 1 to 7 (448), of subjects 8 to 10 (210), or both (658).
    channels : str, int, or list of these, default=None
        Names or positions of the channels, in any order: "ax", "ay", "az" (acceleration
        in g, with gravity), "wx", "wy", "wz" (angular velocity in rad/s). None loads
        all six. A single channel keeps its axis.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch, or (data, target)
        ``data``, float32 of shape (n_samples, n_channels, 336), rounded to multiples of
        0.01 g and 0.02 rad/s; ``target``, the exercise as a position in
        ``target_names``; ``subject``, 1 to 10, for cross-validation by `groups`;
        ``channel_names``; ``sampling_rate`` in Hz; ``DESCR``.

    References
    ----------
    Burns et al. (2018), https://arxiv.org/abs/1802.01489; the recordings are those of
    seglearn 1.2.5, (c) 2018 David M. Burns, BSD 3-clause.
    """
    if subset not in list(SUBSETS):  # subset may be unhashable
        raise ValueError(f"subset={subset!r}, but it must be one of {list(SUBSETS)}.")
    if channels is None:
        channels = CHANNEL_NAMES
    elif isinstance(channels, (str, Number)):
        channels = [channels]
    names = [str(channel) for channel in channels]
    if not names or not POSITIONS.keys() >= set(names):
        raise ValueError(
            f"channels={list(channels)}, but the recordings have {CHANNEL_NAMES}. Pass "
            "names of these, positions from 0 to 5, or None for all."
        )
    channels = [POSITIONS[name] for name in names]

    folder = resources.files("skvae.datasets") / "data"
    with (folder / "watch.npz").open("rb") as file, np.load(file) as stored:
        rows = np.isin(stored["subject"], SUBSETS[subset])
        data = stored["data"][rows][:, channels]  # (n, c, t), whole steps
        data = data.astype(np.float32) * stored["step"][channels, None]
        target, subject = (stored[k][rows].astype(int) for k in ("target", "subject"))
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        subject=subject,
        target_names=TARGET_NAMES.copy(),
        channel_names=[CHANNEL_NAMES[channel] for channel in channels],
        sampling_rate=50.0,
        DESCR=(folder / "watch.rst").read_text(encoding="utf-8"),
    )


def make_load_profiles(
    n_samples=500, *, n_classes=7, n_timepoints=336, noise=0.1, random_state=None
):
    """Make up weekly load profiles of several kinds of buildings (classification).

    A profile is a base load plus three daily activities. An activity is a bump over the
    hours; its height depends on the kind of building and on the kind of day. Buildings
    of one kind differ: the week and each day are early or late, and activities are
    stronger or weaker. One day in ten is like a Sunday. Shifts in time are not linear,
    so classes overlap and lie on curved sheets.

    Parameters
    ----------
    n_samples : int, default=500
        Number of profiles, at least 1. Counts per class differ by at most one.
    n_classes : int, default=7
        Number of kinds: commuters, family at home, night storage heating, office, shop,
        restaurant, factory with two shifts. The eighth kind is the first kind, three
        hours later, and so on. Kinds do not depend on `random_state`.
    n_timepoints : int, default=336
        Points in the week, which starts on a Monday at midnight; 336 are half-hours.
    noise : float, default=0.1
        Standard deviation of the noise at each point, in units of the largest load.
    random_state : int, RandomState instance or None, default=None
        Seed of the signals.

    Returns
    -------
    X : float32 array of shape (n_samples, n_timepoints)
        Loads relative to the largest possible load, clipped to [0, 1].
    y : int array of shape (n_samples,)
        Classes, 0 to n_classes - 1.
    """
    n_samples = int(check_scalar(n_samples, "n_samples", Integral, min_val=1))
    n_classes = int(check_scalar(n_classes, "n_classes", Integral, min_val=1))
    n_timepoints = int(check_scalar(n_timepoints, "n_timepoints", Integral, min_val=1))
    check_scalar(noise, "noise", Real, min_val=0)
    if not np.isfinite(noise):
        raise ValueError(f"noise={noise}, but it must be finite. Give 0 for none.")
    rng = check_random_state(random_state)

    y = rng.permutation(np.arange(n_samples) % n_classes)
    repeat, kind = np.divmod(y, len(BUILDINGS))
    # Values of days have shape (n, 7); [:, day] spreads them over the points.
    points = np.arange(n_timepoints)
    hour = points * (7 * 24 / n_timepoints)  # (t,)
    day = points * 7 // n_timepoints  # (t,), exact where hour // 24 would round
    day_type = np.where(rng.uniform(size=(n_samples, 7)) < HOLIDAYS, SUNDAY, WEEK)
    late = 3.0 * repeat[:, None] + rng.normal(0, WEEK_SHIFT, (n_samples, 1))
    late = late + rng.normal(0, DAY_SHIFT, (n_samples, 7))

    X = rng.normal(0, noise, (n_samples, n_timepoints))
    X += rng.uniform(0.02, 0.15, (n_samples, 1))
    for activity in BUILDINGS[kind].transpose(1, 2, 0):  # (5, n)
        centre, width = activity[:2, :, None]  # (n, 1)
        height = np.take_along_axis(activity[2:].T / 100, day_type, axis=1)  # (n, 7)
        height = height * rng.lognormal(0, STRENGTH, (n_samples, 1))
        height = height * rng.lognormal(0, STRENGTH, (n_samples, 7))
        apart = (hour - centre - late[:, day] + 12) % 24 - 12  # (n, t), -12 to 12 h
        X += height[:, day] * np.exp(-0.5 * (apart / width) ** 2)
    return X.clip(0, 1).astype(np.float32), y
