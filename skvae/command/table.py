"""Signals, labels and groups of a file: which columns they are, and a line says so."""

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
from skvae.inputs.long_frames import MAX_READINGS, refuse_long
from skvae.inputs.signals import pad

# In lower case, as all names that are looked for.
LABEL_NAMES = ("y", "class", "classes", "label", "labels", "target", "targets")
INDEX_NAMES = ("", "unnamed: 0", "rownames")
KEYS = (  # of whom or when a signal is, not what
    *("id", "index"),
    *("meter", "sensor", "machine", "device", "subject", "person", "patient", "user"),
    *("customer", "household", "group", "week", "day", "date", "time", "month", "year"),
)
DATE = r"\d+[-/.]\d+[-/.]\d+(?:[ T].*)?"
MIN_VALUES = 2  # of a signal
PIVOT = "If a line is a reading, make it a line for each signal: pivot the table."


class Table(NamedTuple):
    """X (n, c, t), y and groups, Series of n or None, index and time steps of X.

    `timepoints` (t,) are positions that names of columns give, or None.
    """

    X: np.ndarray
    y: pd.Series | None
    groups: pd.Series | None
    index: pd.Index
    timepoints: np.ndarray | None


def read(path, label=None, decimal_comma=False, groups=None):
    """`Table` of a file; SystemExit with the reason if it cannot be read.

    Parameters
    ----------
    path : Path
    label : str, optional
        Column that holds y: its name, or its number from 0, or from -1 at the end;
        "none": there is no such. None: it is found.
    decimal_comma : bool
        Decimals of a text stand after a comma.
    groups : str, optional
        Column that says of whom or what a signal is, as `label`.
    """
    asked = [option for option in (label, groups) if option not in (None, "none")]
    of_text = {
        "decimal_comma": decimal_comma,
        "is_named": not all(map(is_whole, asked)),
        "label": int(label) if is_whole(label or "") else -1,
    }
    try:
        frame, notes, where = read_frame(path, **of_text)
        if groups is None and path.suffix == ".npz" and "groups" in frame:
            groups = "groups"
        levels = [n for n in frame.index.names if is_label(n) or n in asked]
        if levels:
            frame = frame.reset_index(levels, allow_duplicates=True)
        table, said = Columns(frame, where).take(label, groups)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}.") from error
    except (ValueError, ImportError) as error:
        raise SystemExit(f"{path}: {error}") from error
    print(f"{path}: {'; '.join([*listed(notes), *said])}.")
    return table


def is_label(name):
    return str(name).lower() in LABEL_NAMES


def listed(items, n=6):
    """The first of a list of words, and how many more there are."""
    more = [f"and {len(items) - n} more"] if len(items) > n else []
    return [*items[:n], *more]


class Columns:
    """Columns of a frame; their kinds are numbers, cells, dates, texts, and mixed.

    They are called by numbers here; `given` is what they were, `names` as texts.
    """

    def __init__(self, frame, where):
        self.given, self.names = frame.columns, None
        if not isinstance(self.given, pd.RangeIndex):
            self.names = [
                " ".join(filter(None, map(str, n))) if isinstance(n, tuple) else str(n)
                for n in self.given
            ]
        frame = frame.set_axis(range(frame.shape[1]), axis=1)
        others = [j for j, dtype in enumerate(frame.dtypes) if dtype.kind not in "biuf"]
        for j in others:
            frame[j] = plain(frame[j])
        self.frame, self.where = frame, where
        self.kinds = ["numbers"] * frame.shape[1]
        for j in others:
            self.kinds[j] = kind(frame[j])

    def take(self, label, groups):
        """The `Table`, and what is said of each column."""
        if not len(self.frame):
            raise ValueError("no rows. Expected a signal in each.")
        group = None if groups is None else self.find(groups, "groups")
        columns = [j for j in self.frame if j != group]
        target = None
        if label not in (None, "none"):
            target = self.find(label, "label")
        elif label is None:
            target = self.find_label(columns)
        if target is not None and target == group:
            raise ValueError(f"{self.called(group)} for both --label and --groups.")
        columns = [j for j in columns if j != target]
        signals, left_out = self.find_signals(columns)
        is_few = len(signals) <= (MIN_VALUES if target is not None else MAX_READINGS)
        if "dates" in self.kinds and "cells" not in self.kinds and is_few:
            refuse_long(self.with_dates(left_out))
        X, rows = self.read_signals(signals)
        frame = self.frame.iloc[rows]
        said = ["no labels" if target is None else f"labels in {self.called(target)}"]
        if target is not None and label is None and not is_label(self.name(target)):
            said[0] += " (--label none if these are none)"
        if group is not None:
            said.append(f"groups in {self.called(group)}")
        said.append(f"signals in {self.range_of(signals)}")
        if self.names and (pair := out_of_order([self.names[j] for j in signals])):
            said.append(f"they are out of order, {pair[0]!r} before {pair[1]!r}")
        said += listed([f"{self.called(j)} left out, {left_out[j]}" for j in left_out])
        if len(rows) < len(self.frame):
            first = self.where(np.setdiff1d(range(len(self.frame)), rows)[0])
            n = len(self.frame) - len(rows)
            said.append(f"{n} signals without a value left out, first {first}")
        if n_missing := np.isnan(X).sum():
            said.append(f"{n_missing} of {X.size} values missing")
        y, of_group = (None if j is None else known(frame[j]) for j in (target, group))
        if target is not None and (y.isna() & (frame[target] == "-1")).any():
            said.append("-1 among texts is no label")
        index = frame.index
        keys = [j for j in left_out if self.kinds[j] != "cells"]
        keys = [j for j in keys if frame[j].nunique() > 1]
        if keys and isinstance(index, pd.RangeIndex):
            names = [self.names[j] if self.names else str(j) for j in keys]
            index = pd.MultiIndex.from_frame(frame[keys], names=names)
            index = index.get_level_values(0) if len(keys) == 1 else index
        has_names = self.names and self.given.nlevels == 1
        timepoints = positions([self.given[j] for j in signals]) if has_names else None
        return Table(X, y, of_group, index, timepoints), said

    def called(self, j):
        return f"column {j}" + (f" ({self.names[j]!r})" if self.names else "")

    def range_of(self, columns):
        ends = dict.fromkeys(self.called(j) for j in (columns[0], columns[-1]))
        return f"{len(columns)} column(s), {' to '.join(ends)}"

    def name(self, j):
        return self.names[j].lower() if self.names else None

    def is_key(self, j):
        """Whether its name says of whom or when, as "meter_id" or "Sensor No." do."""
        words = re.split(r"[\W\d_]+", self.name(j) or "")
        return any(word in KEYS or word.endswith("id") for word in words)

    def find(self, column, option):
        """The number of the column that an option names."""
        names, n_columns = self.names or [], self.frame.shape[1]
        for known in (names, [name.lower() for name in names]):
            if column in known:
                return known.index(column)
        if is_whole(column) and -n_columns <= int(column) < n_columns:
            return int(column) % n_columns
        shown = shorten(", ".join(names), 60, placeholder=" ...") or "none there"
        raise ValueError(
            f"no column {column!r} for --{option}. Expected a name ({shown}), or a "
            f"number from 0 to {n_columns - 1}, or from -1 at the end."
        )

    def find_label(self, columns):
        """The number of the column of labels, or None; ValueError where it is unclear.

        Its name says so, or it alone stands beside signals that are known; else the
        last or the first, which can be.
        """
        if named := [j for j in columns if self.names and is_label(self.names[j])]:
            return named[-1]
        signals = self.known_signals(columns)
        if signals is not None:
            others = sorted({*columns} - {*signals})
            others = [j for j in others if not self.is_key(j)]
            likely = [j for j in others if self.can_be_labels(j)]
            likely += [j for j in others if self.can_be_target(j)]
            if len(likely) > 1 or (likely and not self.is_plain(likely[0], columns)):
                return self.ask(likely)
            ends = [j for j in (columns[-1], columns[0]) if j in signals]
            likely += [
                j for j in ends if self.can_be_labels(j) and self.is_unlike(j, columns)
            ]
            return likely[0] if likely else self.constant(columns)
        first, last = columns[0], columns[-1]
        likely = [j for j in (last, first) if self.can_be_labels(j)]
        likely = [j for j in likely if not self.is_key(j)]
        kinds = [self.kinds[j] for j in likely]
        if kinds == ["numbers", "texts"]:
            return self.ask(likely)
        if kinds[:1] == ["numbers"]:  # of counts, all columns may be like labels
            others = [j for j in columns[:50] if j not in likely]
            if others and np.mean([self.can_be_labels(j) for j in others]) > 0.5:
                return self.ask(likely)
        return likely[0] if likely else self.constant(columns)

    def is_plain(self, j, columns):
        """Whether a column beside signals is their label, if it is the only one."""
        is_alone = "cells" in self.kinds or j == columns[-1]
        return is_alone or self.can_be_labels(j)

    def constant(self, columns):
        """The last, if it holds one text alone, which the job refuses by name."""
        last = columns[-1]
        is_one = self.kinds[last] == "texts" and len(self.distinct(last)) == 1
        return last if is_one else None

    def ask(self, columns):
        options = " or ".join(f"--label {self.option(j)}" for j in columns[:4])
        raise ValueError(
            f"no column is named as labels are ({', '.join(LABEL_NAMES[:4])}). Say "
            f"which holds them: {options}, or that none does: --label none."
            f"{self.transposed(columns)}"
        )

    def transposed(self, columns):
        """What to say where one of the columns is an axis down the rows, or ""."""
        values = [self.frame[j] for j in columns if self.kinds[j] == "numbers"]
        n_rows, n_columns = self.frame.shape
        is_axis = any(x.is_unique and x.is_monotonic_increasing for x in values)
        if n_rows > n_columns and is_axis:
            return " If a signal goes down a column, transpose the table first."
        return ""

    def option(self, j):
        """What names a column on the command line: its name, or else its number."""
        name = self.names[j] if self.names else ""
        is_odd = not name or name[0] == "-" or is_whole(name) or name == "none"
        return str(j) if is_odd or self.names.count(name) > 1 else shlex.quote(name)

    def distinct(self, j):
        return known(self.frame[j]).dropna().unique()

    def can_be_labels(self, j):
        """Whether it has few values, each several times: texts, or whole numbers."""
        if self.kinds[j] not in ("numbers", "texts", "mixed"):
            return False
        found, n = self.distinct(j), len(self.frame)
        is_number = self.kinds[j] == "numbers"
        is_few = 1 < len(found) <= max(2, n / 4 if is_number else n / 2)
        return is_few and not (is_number and (found != np.round(found)).any())

    def is_unlike(self, j, columns):
        """Whether it holds texts or whole numbers, and few other columns do."""
        others = [k for k in columns[:50] if k != j and self.kinds[k] == "numbers"]
        others = self.frame[others].dropna(axis=1, how="all")
        is_whole = self.kinds[j] != "numbers" or (self.frame[j].dropna() % 1 == 0).all()
        return is_whole and ((others % 1 == 0) | others.isna()).all().mean() < 0.5

    def can_be_target(self, j):
        """Whether it has numbers with decimals, not all the same."""
        if self.kinds[j] != "numbers":
            return False
        found = self.distinct(j)
        return len(found) > 1 and (found != np.round(found)).any()

    def known_signals(self, columns):
        """Those with signals in cells, or figures in their names, if most have them.

        As a meter has none beside "Mon 00:00"; but "kWh" is the first of "kWh.1",
        "kWh.2". None: nothing tells.
        """
        if cells := [j for j in columns if self.kinds[j] == "cells"]:
            return cells
        others = not_numbered([self.names[j] for j in columns]) if self.names else None
        if others is None:
            return None
        others = {*others}
        return [j for j in columns if self.names[j] not in others]

    def find_signals(self, columns):
        """Columns of signals, and why each other is none of them, a dict."""
        signals = self.known_signals(columns)
        left_out = {}
        if signals is not None:
            why = "its cells hold no signals"
            if "cells" not in self.kinds:
                why = "no number in its name, as most have"
            left_out = dict.fromkeys(sorted({*columns} - {*signals}), why)
            times = [j for j in signals if self.holds_times(j)]
            if len(times) < len(signals):
                left_out |= dict.fromkeys(times, "the same rising values in all rows")
        else:
            signals = list(columns)
            while signals and (why := self.is_index(signals)):
                left_out[signals.pop(0)] = why
        for j in signals:
            if self.kinds[j] in ("texts", "dates"):
                left_out[j] = f"it holds {self.kinds[j]}"
        signals = [j for j in signals if j not in left_out]
        if not signals:
            names = listed(list(map(self.called, left_out)))
            names = ", ".join(names) or "labels and groups alone"
            texts = [j for j in left_out if self.kinds[j] == "texts"]
            cell = self.frame[texts[0]].dropna().iloc[0] if texts else None
            why = f"{self.called(texts[0])} holds {short(cell)}. " if texts else ""
            raise ValueError(f"no column of signals beside {names}. {why}{PIVOT}")
        return signals, left_out

    def holds_times(self, j):
        """Whether all cells begin as the longest, which rises."""
        if self.kinds[j] != "cells":
            return False
        cells = self.frame[j].dropna()
        if not cells.map(lambda cell: isinstance(cell, np.ndarray)).all():
            return False
        longest = max(cells, key=len)
        is_rising = longest.ndim == 1 and longest.dtype.kind in "iufM"
        is_rising = is_rising and (longest[1:] > longest[:-1]).all()
        return is_rising and all(np.array_equal(x, longest[: len(x)]) for x in cells)

    def is_index(self, columns):
        """Why the first of the columns is an index, not a part of a signal, or None."""
        j, others = columns[0], columns[1:]
        values = self.frame[j]
        if self.name(j) in INDEX_NAMES or self.is_key(j):
            return "named as an index is"
        if self.kinds[j] == "mixed" and self.kinds.count("mixed") == 1:
            is_name = pd.to_numeric(values, errors="coerce").isna().all()
            return "it names the signals" if is_name else None
        if self.kinds[j] != "numbers" or len(values) < 3:
            return None
        if values[0:1].isin([0, 1]).all() and (np.diff(values) == 1).all():
            return "it counts the lines"
        others = self.frame[[k for k in others[:50] if self.kinds[k] == "numbers"]]
        if others.empty:
            return None
        low, high = others.min(axis=None), others.max(axis=None)
        with np.errstate(invalid="ignore"):  # infinity is refused later
            is_far = values.min() > high + 5 * (high - low)
        is_varied = values.nunique() > len(values) / 2
        is_whole = (values % 1 == 0).all() and values.nunique() > 1
        signs = is_far, is_varied, self.is_unlike(j, columns)
        if is_whole and sum(signs) > 1:
            return "whole numbers, unlike the signals (names of columns would keep it)"
        return None

    def read_signals(self, columns):
        """X (n, c, t) of the signals that have a value, and which rows these are."""
        frame, rows = self.frame[columns], np.arange(len(self.frame))
        if "cells" in self.kinds:
            rows = rows[frame.notna().any(axis=1)]
            frame = frame.iloc[rows]
        for j in columns:
            if self.kinds[j] == "mixed":
                is_text = pd.to_numeric(frame[j], errors="coerce").isna()
                i = int((is_text & frame[j].notna()).to_numpy().argmax())
                raise ValueError(
                    f"{self.where(rows[i])} holds {short(frame[j].iloc[i])} in "
                    f"{self.called(j)}. Expected a number, NaN, NA or nothing."
                )
        if "cells" in self.kinds:
            signals, _ = containers.read(frame.set_axis(self.given[columns], axis=1))
            X = pad(signals, 1)
            X = X.reshape(len(X), -1, X.shape[-1])
        else:
            X = frame.to_numpy(float)[:, None]
            if self.given.nlevels > 1:
                X = X[:, 0, layout(self.given[columns]).order]
        if not X.size or X[0].size < MIN_VALUES:
            raise ValueError(
                f"{len(X)} signals of {X[:1].size} values. Expected at least "
                f"{MIN_VALUES} values each. {PIVOT}"
            )
        if (is_infinite := np.isinf(X).any(axis=(1, 2))).any():
            where = self.where(rows[is_infinite.argmax()])
            raise ValueError(f"{where} holds infinity. Expected numbers, or NaN.")
        is_empty = np.isnan(X).all(axis=(1, 2))
        if is_empty.all():
            raise ValueError("no signal has a value. Expected numbers.")
        return (X[~is_empty], rows[~is_empty]) if is_empty.any() else (X, rows)

    def with_dates(self, left_out):
        """The frame with its own names, dates as such and keys as texts."""
        frame = self.frame.copy()
        for j in left_out:
            if self.kinds[j] == "numbers":
                frame[j] = frame[j].astype(str)
            if self.kinds[j] == "dates" and frame[j].dtype.kind != "M":
                frame[j] = pd.to_datetime(frame[j], errors="coerce", format="mixed")
        return frame.set_axis(self.names or list(frame), axis=1)


def plain(column):
    """A column of numbers, missing ones perhaps, as float; bytes as texts."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(float)  # of types that have NA
    first = next(iter(column.dropna()), np.nan)
    if isinstance(first, bytes):
        try:
            return column.str.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                "cells hold bytes that are no text. Save arrays or lists in them, of "
                "numpy.frombuffer(cell, dtype)."
            ) from error
    is_number = isinstance(first, Number) and not isinstance(first, bool)
    return column.astype(float) if is_number else column


def kind(column):
    """What a column that is not of numbers by its type holds."""
    if column.dtype.kind in "biuf":
        return "numbers"
    first = next(iter(column.dropna()))
    if isinstance(first, (list, tuple, np.ndarray)) or str(first)[:1] == "[":
        return "cells"  # or texts of such, which are refused by name
    texts = column.dropna().astype(str).str.strip()
    if column.dtype.kind in "Mm" or texts.str.fullmatch(DATE).all():
        return "dates"
    if texts.str.fullmatch(CODE).all():
        return "texts"
    return "mixed" if texts.str.fullmatch(NUMBERISH).mean() > 0.5 else "texts"


def known(column):
    """Labels or groups, missing where there is none: also -1 among words."""
    if column.dtype.kind in "biuf":
        return column
    texts = column.astype(str).str.strip()
    is_missing = column.isna() | texts.str.lower().isin(MISSING)
    if not texts[~is_missing].str.fullmatch(pattern(*PLAIN)).all():
        is_missing |= texts == "-1"
    return texts.astype(object).mask(is_missing, np.nan)


def short(value):
    return shorten(repr(value), 60, placeholder=" ...")


def is_whole(text):
    return re.fullmatch(r"[+-]?\d+", text) is not None
