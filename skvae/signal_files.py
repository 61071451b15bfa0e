"""Signals, labels, groups of a file, as the main job reads it: a table, .npz or .ts.

A table (.csv, .tsv, .txt, .parquet) holds a signal a line. What of it is taken for
names of columns, for labels and for an index is said in a line.
"""

import csv
import io
import re
import zipfile
from textwrap import shorten

import numpy as np

# In lower case; some of them Excel's.
MISSING = ("", "na", "nan", "n/a", "null", "none", "?", "#n/a", "#nv")
LABEL_NAMES = ("y", "class", "label", "target")  # in lower case
INDEX_NAMES = ("", "index", "id", "unnamed: 0")  # as pandas writes them, and people
DATE = re.compile(r"\d+[-/.]\d+[-/.]\d+")
FEW_COLUMNS = 6  # as readings have
MIN_VALUES = 2  # of a signal
PIVOT = "If a line is a reading, make it a line for each signal: pivot the table."
TABLES = (".csv", ".tsv", ".txt", ".parquet")


def read(path, label=None, decimal_comma=False, groups=None):
    """X (n, c, t), y (n,) and groups, None or (n,), of a file.

    SystemExit with the reason if it cannot be read.

    Parameters
    ----------
    path : Path
    label : str, optional
        Column of a table that holds y: its name, or its number from 0, or from -1 at
        the end. None: the last of those named as in `LABEL_NAMES`, or the last.
    decimal_comma : bool
        Cells of a text stand between semicolons, or tabs, and hold decimal commas.
    groups : str, optional
        Column of a table that tells of whom or what a signal is: its name or number.
    """
    suffix = path.suffix.lower()
    readers = {".npz": read_npz, ".ts": read_ts}
    try:
        if suffix in TABLES:
            X, y, groups, names = read_table(path, label, decimal_comma, groups)
        elif suffix not in readers:
            expected = f"Expected {', '.join(TABLES)}, .npz or .ts"
            raise ValueError(f"{expected}. Save the signals as one of these.")
        elif label is not None or groups is not None:
            raise ValueError("has no columns. Leave --label and --groups out.")
        else:
            X, y, groups, names = readers[suffix](path)
        check(X, y, groups, names)
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise SystemExit(
            f"{path}: no text in UTF-8. Save it as such, in Excel as CSV UTF-8."
        ) from error
    except (ValueError, ImportError, csv.Error) as error:
        raise SystemExit(f"{path}: {error}") from error
    return X.reshape(len(X), -1, X.shape[-1]), y, groups


def check(X, y, groups, names):
    """ValueError if they are of no use; `names` say which signal is meant."""
    if X.ndim not in (2, 3) or y.ndim != 1 or len(X) != len(y) or not X.size:
        raise ValueError(
            f"X has shape {X.shape} and y has shape {y.shape}. Expected X (n, t) or "
            "(n, c, t) and y (n,)."
        )
    if groups is not None and groups.shape != y.shape:
        raise ValueError(f"groups has shape {groups.shape}. Expected {y.shape}, as y.")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has dtype {X.dtype}. Expected real numbers.")
    flat = X.reshape(len(X), -1)
    if flat.shape[1] < MIN_VALUES:
        raise ValueError(
            f"{len(X)} signals of {flat.shape[1]} values. Expected at least "
            f"{MIN_VALUES} values each. {PIVOT}"
        )
    infinite = "holds infinity. Expected finite numbers, NaN where there is none."
    empty = "has no measured value, all are missing. Leave it out."
    for is_unusable, reason in (
        (np.isinf(flat).any(axis=1), infinite),
        (np.isnan(flat).all(axis=1), empty),
    ):
        if is_unusable.any():
            raise ValueError(f"{names[is_unusable.argmax()]} {reason}")


def read_npz(path):
    """X, y, groups if there are any, and what to call each signal in an error."""
    expected = "Expected arrays of numbers: numpy.savez(file, X=X, y=y)."
    try:
        with np.load(path, allow_pickle=False) as file:
            used = [name for name in file if name in ("X", "y", "groups")]
            arrays = {name: load_array(file, name) for name in used}
            missing = [name for name in ("X", "y") if name not in arrays]
            held = file.files
    except (EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{error} {expected}") from error
    if missing:
        missing = " and no array ".join(missing)
        raise ValueError(f"no array {missing}, only {held}. {expected}")
    X, y = arrays["X"], arrays["y"]
    names = [f"signal X[{i}]" for i in range(len(X) if X.ndim else 0)]
    return X, y, arrays.get("groups"), names


def load_array(file, name):
    """An array of an .npz file."""
    try:
        return file[name]
    except ValueError as error:
        raise ValueError(
            f"array {name!r}: {error}. Save {name}.astype(float) or .astype(str)."
        ) from error


def read_ts(path):
    """X, y, None and names; signals shorter than the longest end in NaN."""
    try:
        from aeon.datasets import load_from_ts_file
    except ImportError as error:
        raise ImportError(".ts needs aeon: pip install aeon") from error
    signals, y = load_from_ts_file(str(path))
    if not len(signals):
        raise ValueError("no signals after @data. Add a line for each.")
    longest = max(x.shape[1] for x in signals)
    ends = [[(0, 0), (0, longest - x.shape[1])] for x in signals]
    padded = [
        np.pad(x, end, constant_values=np.nan)
        for x, end in zip(signals, ends, strict=True)
    ]
    return np.stack(padded), y, None, [f"signal {i + 1}" for i in range(len(signals))]


def read_lines(path, decimal_comma):
    """(name, cells) of each line of a table that holds something."""
    if path.suffix.lower() == ".parquet":
        try:
            import pandas as pd

            frame = pd.read_parquet(path)
        except ImportError as error:
            message = ".parquet needs pandas and pyarrow: pip install pandas pyarrow"
            raise ImportError(message) from error
        reader = csv.reader(io.StringIO(frame.to_csv(index=False)))
        return [(f"row {i}" if i else "the file", row) for i, row in enumerate(reader)]
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = next((line for line in file if line.strip()), "")
        if not decimal_comma and first.count(";") > first.count(",") / 2:
            raise ValueError(
                "line 1 has semicolons. If they separate the cells, add "
                "--decimal-comma (points are read too); else put commas in their place."
            )
        marks = "\t;" if decimal_comma else "\t,"
        mark = next((mark for mark in marks if mark in first), " ")
        file.seek(0)
        lines = map(str.strip, file) if mark == " " else file
        reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        rows = ([cell.strip() for cell in row] for row in reader)
        return [(f"line {reader.line_num}", row) for row in rows if any(row)]


def read_table(path, label, decimal_comma, groups):
    """X, y, groups and names of a table; a line says what was taken for what."""
    lines = read_lines(path, decimal_comma)
    if not lines:
        raise ValueError("no signals. Expected a signal a line, with its label.")
    table = Table(lines, decimal_comma)
    is_name = any(not is_whole(column) for column in (label, groups) if column)
    if path.suffix.lower() == ".parquet" or is_name or table.begins_with_names(label):
        table.take_header()
    if not table.names:
        raise ValueError("no signals below the names of columns. Add a line for each.")
    group = table.find(groups, "groups") if groups else None
    target = table.find(label, "label") if label else table.find_label(group)
    if target == group:
        raise ValueError(f"{table.called(group)} for both --label and --groups.")
    columns = [j for j in range(table.cells.shape[1]) if j not in (target, group)]
    is_known = label is not None or table.is_label(target)
    said = [f"labels in {table.called(target)}"]
    if groups:
        said.append(f"groups in {table.called(group)}")
    others = table.of_other_names(columns)
    columns = [j for j in columns if j not in others]
    if others and not is_known and table.is_numbered(target):
        raise ValueError(
            f"{table.called(target)}, the last, is named as signals are. Say which "
            f"holds the labels: --label {table.header[others[-1]]}, for example."
        )
    for j in others:
        said.append(
            f"{table.called(j)} left out, most others have a number in their name"
        )
    while columns and (reason := table.index_reason(columns, is_known)):
        said.append(f"{table.called(columns.pop(0))} left out, {reason}")
    where = f"names of columns in {lines[0][0]}" if table.header else "no column names"
    said = "; ".join([where, *said])
    if not columns:
        raise ValueError(f"{said}. No column of signals is left: add some.")
    table.check_numbers(columns, is_known)
    print(f"{path}: {said}; signals in {len(columns)} columns.")
    cells = table.cells.astype(str)
    of_group = cells[:, group] if groups else None
    return table.values[:, columns], cells[:, target], of_group, table.names


class Table:
    """Cells of a table as texts and as numbers; `names` say which line each row was."""

    header = None

    def __init__(self, lines, decimal_comma):
        self.names, rows = zip(*lines, strict=True)
        if len(rows[0]) < 2:
            raise ValueError(
                f"{self.names[0]} has one cell. Expected commas, tabs or spaces "
                "between cells, or, with --decimal-comma, semicolons or tabs."
            )
        for name, row in lines:
            if len(row) != len(rows[0]):
                raise ValueError(
                    f"{name} has {len(row)} columns, {self.names[0]} has "
                    f"{len(rows[0])}. Expected equally many: fill or remove cells."
                )
        numbers = [[to_number(cell, decimal_comma) for cell in row] for row in rows]
        self.decimal_comma = decimal_comma
        self.cells = np.array(rows, dtype=object)
        self.values = np.array(numbers, dtype=float)  # NaN where None
        self.is_text = np.array([[x is None for x in row] for row in numbers])

    def begins_with_names(self, label):
        """Whether line 1 has a text above numbers, or steps, as times or numbers do.

        In the latter case its texts, the name of the label, come only once.
        """
        is_number = ~self.is_text & ~np.isnan(self.values)
        above = self.is_text[0] & is_number[1:].any(axis=0)
        target = int(label or -1)
        above[target : target + 1 or None] = False  # labels may be of both kinds
        again = ~is_number[0] & (self.cells[1:] == self.cells[0])
        steps = np.diff(self.values[0, is_number[0]])
        is_even = len(steps) > 1 and (abs(steps - steps[0]) < 0.1 * abs(steps[0])).all()
        return above.any() or (is_even and not again.any())

    def take_header(self):
        self.header = list(self.cells[0])
        self.names, self.cells = self.names[1:], self.cells[1:]
        self.values, self.is_text = self.values[1:], self.is_text[1:]

    def called(self, j):
        return f"column {j}" + (f" ({self.header[j]!r})" if self.header else "")

    def is_label(self, j):
        """Whether the column is named as labels are."""
        return self.header is not None and self.header[j].lower() in LABEL_NAMES

    def find_label(self, group):
        """The number of the column of labels: by its name, or the last, no group."""
        columns = [j for j in range(self.cells.shape[1]) if j != group]
        return ([j for j in columns if self.is_label(j)] or columns)[-1]

    def find(self, column, option):
        """The number of the column that an option names."""
        header, n_columns = self.header or [], self.cells.shape[1]
        if column in header:
            return header.index(column)
        if is_whole(column) and -n_columns <= int(column) < n_columns:
            return int(column) % n_columns
        names = shorten(", ".join(header), 60, placeholder=" ...") or "none there"
        raise ValueError(
            f"no column {column!r} for --{option}. Expected a name of line 1 "
            f"({names}), or a number from 0 to {n_columns - 1}, or from -1 at the end."
        )

    def kind(self, j):
        """The name of a column, figures and signs aside."""
        return re.sub(r"[\d\W_]+", "", self.header[j])

    def is_numbered(self, j):
        """Whether the name of a column has a figure in it."""
        return re.search(r"\d", self.header[j]) is not None

    def of_other_names(self, columns):
        """Columns without a figure in their names, where most have one.

        As of a meter beside "Mon 00:00"; but "kWh" is the first of "kWh.1", "kWh.2".
        """
        if not self.header:
            return []
        numbered = [j for j in columns if self.is_numbered(j)]
        if len(numbered) <= max(2, len(columns) / 2):
            return []
        kinds = {self.kind(j) for j in numbered}
        return [j for j in columns if j not in numbered and self.kind(j) not in kinds]

    def index_reason(self, columns, is_known):
        """Why the first of the columns is no part of a signal, or None.

        `is_known`: what the labels are, so that it is none of them.
        """
        j = columns[0]
        cells = self.cells[:, j]
        if self.header and self.header[j].lower() in INDEX_NAMES:
            return "named as an index is"
        if counts(self.values[:, j]):
            return "it counts the lines"
        if self.is_text[:, j].all():
            if all(map(DATE.match, cells)):
                return "it holds dates"
            if len(set(cells)) == len(cells):
                return "it names each signal"
            if is_known:
                return "it holds texts"
        return None

    def check_numbers(self, columns, is_known):
        """ValueError at the first text in the columns."""
        texts = np.argwhere(self.is_text[:, columns])
        if not len(texts):
            return
        i, j = texts[0, 0], columns[texts[0, 1]]
        mark = "comma" if self.decimal_comma else "point"
        remedy = f"Expected a number, with a decimal {mark}, NaN, NA or nothing."
        if self.is_text[:, j].all():
            column = self.header[j] if self.header else j
            remedy = f"If it holds the labels, add --label {column}; else remove it."
            remedy = "Remove the column." if is_known else remedy
            remedy += f" {PIVOT}" if len(columns) < FEW_COLUMNS else ""
        raise ValueError(
            f"{self.names[i]} holds {self.cells[i, j]!r} in {self.called(j)}. {remedy}"
        )


def counts(values):
    """Whether numbers are 0, 1, 2, ... or 1, 2, 3, ...; two may be so by chance."""
    start = values[0] if len(values) > 2 else np.nan
    return start in (0, 1) and np.array_equal(values, start + np.arange(len(values)))


def is_whole(text):
    return re.fullmatch(r"[+-]?\d+", text) is not None


def to_number(cell, decimal_comma=False):
    """A cell as a float, NaN where it is missing; None: it is a text."""
    if cell.lower() in MISSING:
        return np.nan
    try:
        return float(cell.replace(",", ".") if decimal_comma else cell)
    except ValueError:
        return None
