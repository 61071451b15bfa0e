"""Names of columns: which channel each is of, and at which position in time."""

import re
from collections import Counter
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from numbers import Real
from typing import NamedTuple

import numpy as np

NUMBER = re.compile(r"\s*[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?\s*", re.ASCII)
DIGITS = re.compile(r"\d+(?:[.,]\d+)?", re.ASCII)
CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?", re.ASCII)
DATE = re.compile(r"(\d{1,4})[-./](\d{1,2})[-./](\d{1,4})(?!\d)", re.ASCII)
DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(?!\d)", re.ASCII)  # without a year
# Stems of names that are numbers or times, and no more.
TIMES = "", "date", "time", "hours", "#:#", "#:#:#"
TIME_NAMES = re.compile(
    r"(t|time.*|.*_time|.*steps?|date.*|wave.*|freq.*)$", re.IGNORECASE
)
HALF_DAYS = re.compile(r"[ap]\.?m\.?\W*$", re.IGNORECASE)


class Place(NamedTuple):
    """What one name says: its text without figures, and the figures in it.

    `keys` are those figures, of a date in each order of year, month and day, or None.
    """

    stem: str
    keys: tuple


class Layout(NamedTuple):
    """Which channel and time step each column of a DataFrame is.

    Attributes
    ----------
    order : ndarray of int, shape (n_channels, n_timepoints), or None
        Numbers of the columns, (n_channels, 1) where these hold signals. None: there
        are no columns.
    channels : list of str, or None
        Names of the channels; None: names do not say.
    positions : ndarray of float64, shape (n_timepoints,), or None
        Of the time steps; times of day and durations in hours, dates in days.
    """

    order: np.ndarray | None = None
    channels: list | None = None
    positions: np.ndarray | None = None

    def restore(self, signals):
        """Signals (n, c, t), or (n, c * t), in the order of the columns of X."""
        if self.order is None:
            return signals
        columns = signals.reshape(len(signals), self.order.size, -1)
        restored = np.empty_like(columns)
        restored[:, self.order.ravel()] = columns
        return restored.reshape(signals.shape)


def layout(columns, n_channels=None):
    """`Layout` of columns by their names, or of so many channels after each other."""
    order = np.arange(len(columns))
    if len(set(columns)) < len(columns):
        again = next(name for name, n in Counter(columns).items() if n > 1)
        raise ValueError(
            f"X has several columns of the name {again!r}. Name each by its time step, "
            "or pass X.to_numpy()."
        )
    if getattr(columns, "nlevels", 1) > 1:
        names = [columns.get_level_values(k) for k in range(columns.nlevels)]
        levels = [level for level in names if level.nunique() > 1] or names[-1:]
        if len(levels) > 1:
            called = [level.name for level in levels]
            return layout_of_levels(columns, [list(level) for level in levels], called)
        columns = levels[0]
    if n_channels is None or len(order) % n_channels:
        n_channels = 1
    order = order.reshape(n_channels, -1)
    first, *others = (positions([columns[k] for k in block]) for block in order)
    is_same = all(np.array_equal(first, other) for other in others)
    return Layout(order, None, first if is_same else None)


def layout_of_levels(columns, levels, called):
    """`Layout` of columns of two levels of names, channels and time steps."""
    level = find_channel_level(levels, called) if len(levels) == 2 else None
    if level is None:
        raise ValueError(
            f"The columns of X have {len(levels)} levels, first {columns[0]}. Expected "
            "one of names of channels, and one of the same numbers or times for each "
            "channel. Pass such columns, or X.to_numpy() and n_channels."
        )
    channels, steps = (list(dict.fromkeys(levels[k])) for k in (level, 1 - level))
    place = {pair: k for k, pair in enumerate(zip(*levels, strict=True))}
    order = [[place[(c, t) if level == 0 else (t, c)] for t in steps] for c in channels]
    return Layout(np.array(order), [str(c) for c in channels], positions(steps))


def find_channel_level(levels, names):
    """Number of the level that holds the channels, of two; None: nothing tells.

    The other one has the same names for each channel, which are numbers or times; or
    texts that end in numbers, if only it has such; or it is called as time is.
    """
    sizes = [len(set(level)) for level in levels]
    n_pairs = len({*zip(*levels, strict=True)})
    if not len(levels[0]) == n_pairs == sizes[0] * sizes[1]:
        return None
    found = [[place(name) for name in dict.fromkeys(level)] for level in levels]
    for is_time in (
        [all(p.keys and p.stem in TIMES for p in places) for places in found],
        [all(p.keys for p in places) for places in found],
        [bool(TIME_NAMES.match(str(name))) for name in names],
    ):
        if is_time[0] != is_time[1]:
            return is_time.index(False)
    return None


@lru_cache(maxsize=100_000, typed=True)
def place(name):
    """The `Place` of a name: a number, a time, or a text with figures."""
    if isinstance(name, (Real, np.number)) and not isinstance(name, bool):
        return Place("", ((float(name),),))
    if hasattr(name, "to_timestamp"):  # a period of pandas
        name = name.to_timestamp()
    if isinstance(name, datetime):
        moment = name.timestamp() if name.tzinfo else name.isoformat()
        return Place("date", ((moment,),))
    if isinstance(name, (date, time)):
        return Place(type(name).__name__, ((name.isoformat(),),))
    if isinstance(name, timedelta):
        return Place("hours", ((name.total_seconds() / 3600,),))
    name = str(name)
    if NUMBER.fullmatch(name):
        return Place("", ((to_float(name),),))
    found = DATE.search(name)
    if found:
        with suppress(ValueError):  # in summer time or not
            if (moment := datetime.fromisoformat(name.strip())).tzinfo:
                return place(moment)
        first, middle, last = map(int, found.groups())
        rest = tuple(map(to_float, DIGITS.findall(name[found.end() :])))
        orders = (first, middle, last), (last, middle, first), (last, first, middle)
        return Place(
            "date",
            tuple(
                (year, month, day, *rest) if month <= 12 and day <= 31 else None
                for year, month, day in orders
            ),
        )
    if found := DAY.match(name):
        day, month = map(int, found.groups())
        return Place("date", ((month, day), (day, month)))
    figures = [to_float(figure) for figure in DIGITS.findall(name)]
    if figures and HALF_DAYS.search(name):
        figures[0] %= 12
    stem = DIGITS.sub("#", name).strip()
    keys = tuple(figures), tuple(figures[::-1])  # as of "Q4 2000"
    return Place(stem, keys[: len(figures)])


def to_float(figure):
    return float(figure.replace(",", "."))


def positions(names):
    """Positions of time steps, float64 (t,), that are named by them; None: unknown.

    Numbers, as they are or behind the same text (``"t12"``), times of day and durations
    in hours, dates in days from the first.
    """
    if len(names) == 0:
        return None
    if all(isinstance(x, (int, float, np.number)) for x in names):
        return np.array(names, dtype=float)
    first = names[0]
    if isinstance(first, (datetime, date)) or hasattr(first, "to_timestamp"):
        stamps = [x.to_timestamp() if hasattr(x, "to_timestamp") else x for x in names]
        if not all(isinstance(x, date) for x in stamps):
            return None
        return np.array([(x - stamps[0]) / timedelta(days=1) for x in stamps])
    if all(isinstance(x, time) for x in names):
        return np.array([x.hour + x.minute / 60 + x.second / 3600 for x in names])
    if all(isinstance(x, str) and CLOCK.fullmatch(x.strip()) for x in names):
        parts = [[*map(to_float, x.split(":")), 0.0] for x in names]
        return np.array([h + m / 60 + s / 3600 for h, m, s, *_ in parts])
    places = [place(name) for name in names]
    one = places[0].stem
    if any(p.stem != one or len(p.keys) != 1 or len(p.keys[0]) != 1 for p in places):
        return None
    values = [p.keys[0][0] for p in places]
    return None if any(isinstance(x, str) for x in values) else np.array(values)


def out_of_order(columns):
    """Two names, one after the other, at which names of a kind go back; or None.

    Each kind, as "ax_#" and "ay_#", is looked at for itself. It may rise or fall, and
    start anew once, as hours that begin at noon do.
    """
    kinds = {}
    for name in columns:
        what = place(name)
        kinds.setdefault(what.stem, []).append((name, what.keys))
    for stem, places in kinds.items():
        names, keys = zip(*places, strict=True)
        orders = [order for order in zip(*keys, strict=False) if None not in order]
        breaks = [first_break(order, stem != "date") for order in orders]
        if breaks and None not in breaks:
            return names[breaks[0]], names[breaks[0] + 1]
    return None


def first_break(keys, may_start_anew):
    """Number of the first key that the next one goes back from, or None."""
    if len({len(key) for key in keys}) > 1:
        return None
    pairs = list(zip(keys, keys[1:] + keys[:1] * may_start_anew, strict=False))
    rises = [k for k, (a, b) in enumerate(pairs) if a < b]
    falls = [k for k, (a, b) in enumerate(pairs) if a > b]
    fewer = min(rises, falls, key=len)
    return fewer[0] if len(fewer) > may_start_anew else None


def not_numbered(columns):
    """Names without a figure, where most have one and nothing else like them has.

    As of a meter beside "Mon 00:00"; but "kWh" is the first of "kWh.1", "kWh.2". None:
    most have no figure.
    """
    places = [place(name) for name in columns]
    numbered = [p for p in places if p.keys]
    if len(numbered) <= max(2, len(places) / 2):
        return None
    kinds = {re.sub(r"[\W_]", "", p.stem) for p in numbered} - {""}
    return [
        name
        for name, p in zip(columns, places, strict=True)
        if not p.keys and re.sub(r"[\W_]", "", p.stem) not in kinds
    ]
