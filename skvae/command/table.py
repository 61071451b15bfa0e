"""Signals, labels and groups of a file, with a printed line about its columns."""

import re
import shlex
from numbers import Number
from textwrap import shorten
from typing import NamedTuple

import numpy as np
import pandas as pd

from skvae.command.files import read_frame
from skvae.command.text import CODE, MISSING, NUMBERISH, PLAIN, pattern
from skvae.inputs import containers
from skvae.inputs.columns import layout, not_numbered, out_of_order, positions
from skvae.inputs.long_frames import MAX_READINGS, are_dates
from skvae.inputs.signals import pad

LABEL_NAMES = ("y", "class", "label", "target", "classes", "labels", "targets")
KEYS = (  # words in names of columns that hold the owner or the time of a signal
    *("id", "index", "rownames", "unnamed", "week", "day", "date", "time", "month"),
    *("meter", "sensor", "machine", "device", "subject", "person", "patient", "user"),
    *("customer", "household", "group", "year"),
)
MIN_VALUES = 2  # of a signal
PIVOT = "If each line is a reading, pivot the table to a line for each signal."


class Table(NamedTuple):
    """Signals of a file."""

    X: np.ndarray  # (n_samples, n_channels, n_timepoints)
    y: pd.Series | None  # of n_samples, as `groups`
    groups: pd.Series | None
    index: pd.Index
    timepoints: np.ndarray | None  # (n_timepoints,), by the names of the columns


def read(path, label=None, decimal_comma=False, groups=None):
    """`Table` of a file, by the texts of command-line options; or SystemExit."""
    asked = [option for option in (label, groups) if option not in (None, "none")]
    is_named = not all(map(is_whole, asked))
    try:
        frame, notes, where = read_frame(path, decimal_comma, is_named)
        if groups is None and path.suffix == ".npz" and "groups" in frame:
            groups = "groups"
        levels = [n for n in frame.index.names if is_label(n) or n in asked]
        if levels:
            frame = frame.reset_index(levels, allow_duplicates=True)
        if not len(frame):
            raise ValueError("no rows. Expected a signal in each.")
        table, said = Columns(frame, where).take(label, groups)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}.") from error
    except (ValueError, ImportError) as error:
        raise SystemExit(f"{path}: {error}") from error
    print(f"{path}: {'; '.join([*listed(notes), *said])}.")
    return table


class Columns:
    """Numbered columns of a frame: numbers, cells, dates, texts or mixed.

    `given` are the frame's own names, `names` the same as texts.
    """

    def __init__(self, frame, where):
        self.given, self.where = frame.columns, where
        self.are_named = not isinstance(self.given, pd.RangeIndex)
        levels = [n if isinstance(n, tuple) else (n,) for n in self.given]
        self.names = [" ".join(filter(None, map(str, level))) for level in levels]
        self.frame = frame.set_axis(range(frame.shape[1]), axis=1)
        self.kinds = ["numbers"] * frame.shape[1]
        for j, dtype in enumerate(frame.dtypes):
            if dtype.kind not in "biuf":
                self.frame[j], self.kinds[j] = read_column(self.frame[j])

    def take(self, label, groups):
        """The `Table`, and what is printed about each column."""
        group = None if groups is None else self.find(groups, "groups")
        columns = [j for j in self.frame if j != group]
        if label is None:
            target = self.find_label(columns)
        else:
            target = None if label == "none" else self.find(label, "label")
        if target is not None and target == group:
            raise ValueError(f"{self.called(group)} for both --label and --groups.")
        signals, left_out = self.find_signals([j for j in columns if j != target])
        are_few = len(signals) <= (MAX_READINGS if target is None else MIN_VALUES)
        if are_few and "dates" in self.kinds and "cells" not in self.kinds:
            raise ValueError(
                f"{len(signals)} column(s) of numbers beside dates. {PIVOT}"
            )
        X, rows = self.read_signals(signals)
        frame = self.frame.iloc[rows]
        y, of_group = (None if j is None else known(frame[j]) for j in (target, group))
        said = ["no labels"]
        if target is not None:
            is_guess = label is None and not is_label(self.names[target])
            hint = " (--label none if these are none)" if is_guess else ""
            said = [f"labels in {self.called(target)}{hint}"]
        if group is not None:
            said.append(f"groups in {self.called(group)}")
        ends = dict.fromkeys([self.called(signals[0]), self.called(signals[-1])])
        said.append(f"signals in {len(signals)} column(s), {' to '.join(ends)}")
        if pair := out_of_order([self.names[j] for j in signals]):
            said.append(f"they are out of order, {pair[0]!r} before {pair[1]!r}")
        said += listed([f"{self.called(j)} left out, {left_out[j]}" for j in left_out])
        if n_empty := len(self.frame) - len(rows):
            first = self.where(np.setdiff1d(range(len(self.frame)), rows)[0])
            said.append(f"{n_empty} signals without a value left out, first {first}")
        if n_missing := np.isnan(X).sum():
            said.append(f"{n_missing} of {X.size} values missing")
        if target is not None and (y.isna() & (frame[target] == "-1")).any():
            said.append("-1 among texts marks a signal without a label")
        keys = [j for j in left_out if self.kinds[j] != "cells"]
        keys = [j for j in keys if frame[j].nunique() > 1]
        index, of_file = frame.index, self.frame.index
        if keys and isinstance(of_file, pd.RangeIndex) and of_file.name is None:
            index = frame.set_index(keys).index.set_names([self.names[j] for j in keys])
        has_times = self.are_named and self.given.nlevels == 1
        timepoints = positions([self.given[j] for j in signals]) if has_times else None
        return Table(X, y, of_group, index, timepoints), said

    def called(self, j):
        return f"column {j}" + (f" ({self.names[j]!r})" if self.are_named else "")

    def is_key(self, j):
        """Whether its name has such a word, as in "meter_id" or "Sensor No."."""
        words = re.split(r"[\W\d_]+", self.names[j].lower())
        return any(word in KEYS or word.endswith("id") for word in words)

    def find(self, column, option):
        """The number of the column that an option names."""
        n_columns = len(self.names)
        for names in (self.names, [name.lower() for name in self.names]):
            if column in names:
                return names.index(column)
        if is_whole(column) and -n_columns <= int(column) < n_columns:
            return int(column) % n_columns
        shown = shorten(", ".join(self.names), 60, placeholder=" ...")
        raise ValueError(
            f"no column {column!r} for --{option}. Expected a name ({shown}), or a "
            f"number from 0 to {n_columns - 1}, where -1 is the last."
        )

    def find_label(self, columns):
        """The number of the column of labels, or None; ValueError if it is unclear.

        A name decides, or a single column beside known signals, else the last or the
        first column, if it can hold labels.
        """
        if named := [j for j in columns if is_label(self.names[j])]:
            return named[-1]
        signals, last = self.known_signals(columns), columns[-1]
        others = [last, columns[0]] if signals is None else {*columns} - {*signals}
        others = [j for j in others if not self.is_key(j)]
        likely = [j for j in others if self.can_be_labels(j)]
        if signals is None:
            kinds = [self.kinds[j] for j in likely]
            # All columns may be like labels, as those of counts.
            between = [self.can_be_labels(j) for j in columns[1:-1][:50]]
            are_alike = kinds[:1] == ["numbers"] and np.mean(between or [0]) > 0.5
            is_clear = not are_alike and kinds != ["numbers", "texts"]
        else:
            targets = [j for j in others if not self.is_whole(j)]
            targets = [j for j in targets if self.frame[j].nunique() > 1]
            is_clear = targets in ([], [last]) or "cells" in self.kinds
            is_clear &= len(likely + targets) < 2
            ends = [j for j in (last, columns[0]) if j in signals]
            ends = [j for j in ends if self.can_be_labels(j)]
            likely += targets + [j for j in ends if self.is_unlike(j, columns)]
        if is_clear:
            return likely[0] if likely else None
        options = []
        for j in likely[:4]:
            name = self.names[j]
            is_plain = name[:1].isalpha() and self.names.count(name) < 2
            options.append(f"--label {shlex.quote(name) if is_plain else j}")
        raise ValueError(
            f"no column has a name of labels ({', '.join(LABEL_NAMES[:4])}). Pass the "
            f"column of labels, {' or '.join(options)}, or --label none if there are "
            "no labels. If each column is a signal, transpose the table first."
        )

    def is_whole(self, j):
        """Whether it holds no number with decimals."""
        return self.kinds[j] != "numbers" or (self.frame[j].dropna() % 1 == 0).all()

    def can_be_labels(self, j):
        """Whether it has few different texts or whole numbers."""
        if self.kinds[j] in ("cells", "dates") or not self.is_whole(j):
            return False
        n_signals = len(self.frame) / (4 if self.kinds[j] == "numbers" else 2)
        return 1 < known(self.frame[j]).nunique() <= max(2, n_signals)

    def is_unlike(self, j, columns):
        """Whether it holds texts or whole numbers, and few other columns do."""
        others = [k for k in columns[:50] if k != j and self.kinds[k] == "numbers"]
        others = self.frame[others].dropna(axis=1, how="all")
        are_whole = [self.is_whole(k) for k in others]
        return self.is_whole(j) and np.mean(are_whole or [1]) < 0.5

    def known_signals(self, columns):
        """Columns with signals in cells, or with figures in most names; else None."""
        if cells := [j for j in columns if self.kinds[j] == "cells"]:
            return cells
        names = [self.names[j] for j in columns]
        others = not_numbered(names) if self.are_named else None
        if others is None:
            return None
        return [j for j in columns if self.names[j] not in others]

    def find_signals(self, columns):
        """Columns of signals, and a dict of the others with the reason for each."""
        signals, left_out = self.known_signals(columns), {}
        if signals is None:
            signals = list(columns)
            while signals and (why := self.is_index(signals)):
                left_out[signals.pop(0)] = why
        else:
            why = "no number in its name, unlike most"
            why = "its cells hold no signals" if "cells" in self.kinds else why
            left_out = {j: why for j in columns if j not in signals}
            cells = [j for j in signals if self.kinds[j] == "cells"]
            times = [j for j in cells if self.holds_times(j)]
            if len(times) < len(signals):
                left_out |= dict.fromkeys(times, "the same rising values in all rows")
        for j in signals:
            if self.kinds[j] in ("texts", "dates"):
                left_out[j] = f"it holds {self.kinds[j]}"
        signals = [j for j in signals if j not in left_out]
        if not signals:
            others = [f"{self.called(j)}, {left_out[j]}" for j in left_out]
            others = "; ".join(listed(others, 3)) or "labels and groups alone"
            raise ValueError(f"no column of signals beside {others}. {PIVOT}")
        return signals, left_out

    def holds_times(self, j):
        """Whether all cells begin as the longest, which rises."""
        cells = self.frame[j].dropna()
        if not all(isinstance(cell, np.ndarray) and cell.ndim == 1 for cell in cells):
            return False
        longest = max(cells, key=len)
        is_rising = longest.dtype.kind in "iufM" and (longest[1:] > longest[:-1]).all()
        return is_rising and all(np.array_equal(x, longest[: len(x)]) for x in cells)

    def is_index(self, columns):
        """Why the first column is an index, not a part of a signal; or None."""
        j, values = columns[0], self.frame[columns[0]]
        if not self.names[j] or self.is_key(j):
            return "named like an index"
        others = [k for k in columns[1:51] if self.kinds[k] == "numbers"]
        if self.kinds[j] != "numbers" or len(values) < 3 or not others:
            return None
        if values[0] in (0, 1) and (np.diff(values) == 1).all():
            return "it counts the lines"
        others = self.frame[others].replace([np.inf, -np.inf], np.nan)
        low, high = others.min(axis=None), others.max(axis=None)
        is_far = values.min() > high + 5 * (high - low)
        is_varied = values.nunique() > len(values) / 2
        is_whole = (values % 1 == 0).all() and values.nunique() > 1
        if is_whole and sum([is_far, is_varied, self.is_unlike(j, columns)]) > 1:
            return "whole numbers, unlike the signals (to keep it, name the columns)"
        return None

    def read_signals(self, columns):
        """X (n, c, t) of the signals that have a value, and their rows' numbers."""
        frame, rows = self.frame[columns], np.arange(len(self.frame))
        for j in columns:
            if self.kinds[j] == "mixed":
                is_text = pd.to_numeric(frame[j], errors="coerce").isna()
                i = int((is_text & frame[j].notna()).to_numpy().argmax())
                value = shorten(repr(frame[j].iloc[i]), 60, placeholder=" ...")
                raise ValueError(
                    f"{self.where(i)} holds {value} in {self.called(j)}. Expected a "
                    "number, NaN, NA or nothing."
                )
        if "cells" in self.kinds:
            rows = np.flatnonzero(frame.notna().any(axis=1))
            frame = frame.iloc[rows].set_axis(self.given[columns], axis=1)
            signals, _ = containers.read(frame)
            X = pad(signals, 1)
            X = X.reshape(len(X), -1, X.shape[-1])
        else:
            X = frame.to_numpy(float, na_value=np.nan)[:, None]
            if self.given.nlevels > 1:
                X = X[:, 0, layout(self.given[columns]).order]
        is_known = ~np.isnan(X).all(axis=(1, 2))
        if not is_known.any():
            raise ValueError("no signal has a value. Expected numbers.")
        if X[0].size < MIN_VALUES:
            raise ValueError(
                f"{len(X)} signals of {X[0].size} values. Expected at least "
                f"{MIN_VALUES} values each. {PIVOT}"
            )
        if (is_infinite := np.isinf(X).any(axis=(1, 2))).any():
            where = self.where(rows[is_infinite.argmax()])
            raise ValueError(f"{where} holds infinity. Expected numbers, or NaN.")
        return (X, rows) if is_known.all() else (X[is_known], rows[is_known])


def is_label(name):
    return str(name).lower() in LABEL_NAMES


def listed(items, n=6):
    """The first n items, and how many more there are."""
    more = [f"and {len(items) - n} more"] if len(items) > n else []
    return [*items[:n], *more]


def read_column(column):
    """Values and kind of a column whose dtype is not of numbers."""
    first = next(iter(column.dropna()), np.nan)
    is_number = isinstance(first, Number) and not isinstance(first, bool)
    if is_number or pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(float), "numbers"  # of types that have NA
    if isinstance(first, (list, tuple, np.ndarray)) or str(first)[:1] == "[":
        return column, "cells"  # or texts of such, which are refused by name
    if isinstance(first, bytes):
        column = column.str.decode("utf-8", errors="replace")
    texts = column.dropna().astype(str).str.strip()
    if column.dtype.kind in "Mm" or are_dates(texts):
        return column, "dates"
    is_number = texts.str.fullmatch(NUMBERISH).mean() > 0.5
    is_code = texts.str.fullmatch(CODE).all()
    return column, "mixed" if is_number and not is_code else "texts"


def known(column):
    """Labels or groups, missing where there is none; -1 among words is none."""
    if column.dtype.kind in "biuf":
        return column
    texts = column.astype(str).str.strip()
    is_missing = column.isna() | texts.str.lower().isin(MISSING)
    if not texts[~is_missing].str.fullmatch(pattern(*PLAIN)).all():
        is_missing |= texts == "-1"
    return texts.astype(object).mask(is_missing, np.nan)


def is_whole(text):
    return re.fullmatch(r"[+-]?\d+", text) is not None
