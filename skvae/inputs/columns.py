"""Names of columns: the channel and the time step of each."""

import re
from collections import Counter
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from numbers import Real
from typing import NamedTuple

import numpy as np

NUMBER = re.compile(r"\s*[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?\s*", re.ASCII)
DIGITS = re.compile(r"\d+(?:[.,]\d+)?", re.ASCII)
CLOCK = re.compile(r"\s*(\d{1,2}):(\d\d)(?::(\d\d(?:[.,]\d+)?))?\s*", re.ASCII)
DATE = re.compile(r"(\d{1,4})[-./](\d{1,2})[-./](\d{1,4})(?!\d)", re.ASCII)
DAY = re.compile(r"(\d{1,2})\.(\d{1,2})\.(?!\d)", re.ASCII)  # without a year
UNIT = re.compile(r"(?<=m)\s*\^?[-\u2212]1$|\b1/(?=[cm]?m$)")  # as in cm-1 and 1/cm
HALF_DAYS = re.compile(r"[ap]\.?m\.?\W*$", re.IGNORECASE)
TIME_NAMES = re.compile(
    r"(t|time.*|.*_time|.*steps?|date.*|wave.*|freq.*)$", re.IGNORECASE
)
NUMBERS, DATES = "", "#-#-#"  # stems of names that are numbers, hours or dates


class Layout(NamedTuple):
    """The channel and the time step of each column of X."""

    # Numbers of the columns, (c, t), or (c, 1) of cells; None: X has no columns.
    order: np.ndarray | None = None
    channels: list | None = None  # names, if the columns have them
    positions: np.ndarray | None = None  # (t,): numbers, hours or days

    def restore(self, signals):
        """Signals (n, c, t) in the order of the columns of X."""
        if self.order is None:
            return signals
        columns = signals.reshape(len(signals), self.order.size, -1)
        restored = np.empty_like(columns)
        restored[:, self.order.ravel()] = columns
        return restored.reshape(signals.shape)


def layout(columns, n_channels=None):
    """`Layout` of columns from their names, or by a given number of channels."""
    if again := [name for name, n in Counter(columns).items() if n > 1]:
        raise ValueError(
            f"X has several columns named {again[0]!r}. Name each by its time "
            "step, or pass X.to_numpy()."
        )
    if getattr(columns, "nlevels", 1) > 1:
        levels = [columns.get_level_values(k) for k in range(columns.nlevels)]
        levels = [level for level in levels if level.nunique() > 1] or levels[-1:]
        if len(levels) > 1:
            return layout_of_levels(levels)
        columns = levels[0]
    if n_channels is None or len(columns) % n_channels:
        n_channels = 1
    order = np.arange(len(columns)).reshape(n_channels, -1)
    first, *others = (positions([columns[k] for k in block]) for block in order)
    is_same = all(np.array_equal(first, other) for other in others)
    return Layout(order, None, first if is_same else None)


def layout_of_levels(levels):
    """`Layout` of columns with a level of channels and one of time steps."""
    pairs = {pair: k for k, pair in enumerate(zip(*levels, strict=True))}
    is_time = time_levels(levels) if len(levels) == 2 else []
    sizes = [level.nunique() for level in levels]
    if sorted(is_time) != [False, True] or not (
        len(pairs) == len(levels[0]) == sizes[0] * sizes[1]
    ):
        raise ValueError(
            f"The columns of X have {len(levels)} levels, first {next(iter(pairs))}. "
            "Expected a level of channel names, and a level of numbers or times that "
            "are the same for each channel. Pass these, or X.to_numpy() and n_channels."
        )
    axis = is_time.index(False)
    channels, steps = (list(dict.fromkeys(levels[k])) for k in (axis, 1 - axis))
    order = [[pairs[(t, c) if axis else (c, t)] for t in steps] for c in channels]
    return Layout(np.array(order), [str(c) for c in channels], positions(steps))


def time_levels(levels):
    """Whether each of two levels is time, by the first rule that differs.

    The names are numbers or times, or have figures, or the level is named as time.
    """
    places = [[place(name) for name in level.unique()] for level in levels]
    rules = (
        [all(k and stem in (NUMBERS, DATES) for stem, k in level) for level in places],
        [all(keys for _, keys in level) for level in places],
        [bool(TIME_NAMES.match(str(level.name))) for level in levels],
    )
    return next((rule for rule in rules if rule[0] != rule[1]), [])


@lru_cache(maxsize=100_000, typed=True)
def place(name):
    """The text of a name without figures, and its figures in each order of a date."""
    if hasattr(name, "to_timestamp"):  # a period of pandas
        name = name.to_timestamp()
    if isinstance(name, (Real, np.number)) and not isinstance(name, bool):
        return (NUMBERS, ((float(name),),))
    if isinstance(name, datetime):
        start = datetime(1970, 1, 1, tzinfo=name.tzinfo and timezone.utc)
        return (DATES, (((name - start) / timedelta(days=1),),))
    if isinstance(name, date):
        return place(datetime(name.year, name.month, name.day))
    if isinstance(name, timedelta):
        return (NUMBERS, ((name / timedelta(hours=1),),))
    name = str(name)  # also of a time of day
    if NUMBER.fullmatch(name):
        return (NUMBERS, ((to_float(name),),))
    if clock := CLOCK.fullmatch(name):
        hours, minutes, seconds = (to_float(part or "0") for part in clock.groups())
        return (NUMBERS, ((hours + minutes / 60 + seconds / 3600,),))
    if found := DATE.search(name):
        with suppress(ValueError):  # summer time makes an hour come twice
            if (moment := datetime.fromisoformat(name.strip())).tzinfo:
                return place(moment)
        first, middle, last = map(int, found.groups())
        rest = tuple(map(to_float, DIGITS.findall(name[found.end() :])))
        orders = (first, middle, last), (last, middle, first), (last, first, middle)
        keys = (
            (year, month, day, *rest) if month <= 12 and day <= 31 else None
            for year, month, day in orders
        )
        return (DATES, tuple(keys))
    if found := DAY.match(name):
        day, month = map(int, found.groups())
        return (DATES, ((month, day), (day, month)))
    name = UNIT.sub("", name)
    figures = [to_float(figure) for figure in DIGITS.findall(name)]
    if figures and HALF_DAYS.search(name):
        figures[0] %= 12
    keys = tuple(figures), tuple(figures[::-1])  # as of "Q4 2000"
    return (DIGITS.sub("#", name).strip(), keys[: len(figures)])


def to_float(figure):
    return float(figure.replace(",", "."))


def positions(names):
    """Positions of time steps, float64 (t,), or None if the names have none.

    They are numbers, also as in ``"t12"``, hours of times, or days from the first date.
    """
    stems, keys = zip(*map(place, names), strict=True) if len(names) else ((), ())
    if len({*stems}) != 1 or any(len(k) != 1 or len(k[0]) != 1 for k in keys):
        return None
    values = np.array([figures[0] for (figures,) in keys])
    return values - values[0] if stems[0] == DATES else values


def out_of_order(columns):
    """Two successive names whose figures are out of order, or None.

    Names of one text, as "ax_#", rise or fall. Those without dates may start anew once,
    as hours from noon to noon.
    """
    kinds = {}
    for name in columns:
        stem, keys = place(name)
        kinds.setdefault(stem, []).append((name, keys))
    for stem, places in kinds.items():
        names, keys = zip(*places, strict=True)
        orders = [order for order in zip(*keys, strict=False) if None not in order]
        breaks = [first_break(order, stem != DATES) for order in orders]
        if breaks and None not in breaks:
            return names[breaks[0]], names[breaks[0] + 1]
    return None


def first_break(keys, may_start_anew):
    """Number of the last key before the direction changes, or None."""
    if len({len(key) for key in keys}) > 1:
        return None
    pairs = list(zip(keys, keys[1:] + keys[:1] * may_start_anew, strict=False))
    rises = [k for k, (a, b) in enumerate(pairs) if a < b]
    falls = [k for k, (a, b) in enumerate(pairs) if a > b]
    fewer = min(rises, falls, key=len)
    return fewer[0] if len(fewer) > may_start_anew else None


def not_numbered(columns):
    """Names without figures, or None if most have no figure.

    "price" is one beside "Mon 00:00", "kWh" beside "kWh.1" is none.
    """
    places = [place(name) for name in columns]
    letters = [re.sub(r"[\W_]", "", stem) for stem, _ in places]
    numbered = {text for text, (_, keys) in zip(letters, places, strict=True) if keys}
    if sum(bool(keys) for _, keys in places) <= max(2, len(places) / 2):
        return None
    parts = zip(columns, letters, places, strict=True)
    kinds = numbered - {""}
    return [name for name, text, (_, keys) in parts if not keys and text not in kinds]
