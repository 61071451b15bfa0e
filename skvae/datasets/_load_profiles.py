"""Made-up weekly load profiles."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state, check_scalar

# Of each kind of building, its three activities in a day: hour, width (standard
# deviation in hours), and height on weekdays, on Saturdays and on Sundays, in percent.
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
SATURDAY, SUNDAY = 1, 2  # among the heights, after the weekdays' at 0
WEEK = [0, 0, 0, 0, 0, SATURDAY, SUNDAY]

# How much buildings of one kind differ, chosen so that the classes overlap: the nearest
# of 500 signals is of the right one of seven classes about seven times in ten.
WEEK_SHIFT, DAY_SHIFT = 1.5, 1.0  # standard deviations, hours
STRENGTH = 0.5  # standard deviation of the logarithm, per building and again per day
HOLIDAYS = 0.1  # share of days


def make_load_profiles(
    n_samples=500, *, n_classes=7, n_timepoints=336, noise=0.1, random_state=None
):
    """Make up weekly load profiles of several kinds of buildings (classification).

    A profile is a base load plus three daily activities, each a bump over the hours
    whose height depends on the kind of building and on weekday, Saturday or Sunday.
    Buildings of one kind differ: the whole week is early or late, each day again,
    activities are stronger or weaker, and one day in ten goes as on Sundays. The
    classes therefore overlap, and lie on curved sheets rather than in flat ones: a
    shift in time is no linear change.

    Parameters
    ----------
    n_samples : int, default=500
        At least 1.
    n_classes : int, default=7
        The kinds: commuters, family at home, night storage heating, office, shop,
        restaurant, factory with two shifts. From the eighth on they come again, each
        time three hours later. They do not depend on `random_state`, so two calls can
        make training and test signals. Counts per class differ by at most one.
    n_timepoints : int, default=336
        Points in the week, which starts on a Monday at midnight; 336 are half-hours.
    noise : float, default=0.1
        Standard deviation of the noise at each point, in units of the largest load.
    random_state : int, RandomState instance or None, default=None
        As in scikit-learn: an int makes the same signals every time.

    Returns
    -------
    X : float32 array of shape (n_samples, n_timepoints)
        Loads as shares of the largest possible one: what is beyond [0, 1] is cut off.
    y : int array of shape (n_samples,)
        Classes, 0 to n_classes - 1.

    Examples
    --------
    >>> from skvae.datasets import make_load_profiles
    >>> X, y = make_load_profiles(100, n_classes=2, random_state=0)
    >>> X.shape, y.shape
    ((100, 336), (100,))
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

    # What holds for a day has shape (n, 7); [:, day] spreads it over the points.
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
