"""Text files of signals: separators, forms of numbers, names of columns are found."""

import csv
import io
import re
import warnings
from collections import Counter

import numpy as np
import pandas as pd

# What marks a missing value, in lower case; some of them Excel's.
MISSING = ["", "na", "nan", "n/a", "null", "none", "?", "<na>", "nat"]
MISSING += ["#n/a", "#na", "#nv"]
NA_VALUES = [f(mark) for mark in MISSING for f in (str, str.upper, str.title)]
DASHES = ["-", "--", "."]  # missing among numbers, but classes beside "+"
COMPRESSED = (".gz", ".bz2", ".zip", ".xz", ".zst")
MAX_SAMPLED = 2000  # cells that are looked at as texts
PLAIN = ".", None  # decimal mark, and what groups thousands
POINTS = [PLAIN, (".", ","), (".", "'"), (".", " ")]
COMMAS = [(",", None), (",", "."), (",", "'"), (",", " ")]
CODE = r"0\d+|\d+[eE]\d+"  # 007 and 17e4 are names, if all are such
GROUPED = r"[+-]?[1-9]\d{0,2}[.,]\d{3}"  # 1.234 may be 1234


def read_text(path, decimal_comma=False, is_named=False, label=-1):
    """Frame of a text, names of its columns or None, notes, and `where` a row was.

    `is_named`: there are names of columns; `label`: a column that does not tell, as
    labels may be texts and numbers.
    """
    raw, text, encoding = decode(path)
    lines = text.split("\n")
    at = [i for i, line in enumerate(lines, 1) if line.strip(",;|\t ")]
    rows = [lines[i - 1] for i in at]
    if encoding != "utf-8" or len(rows) < len(lines) - 1:  # there are empty ones
        raw = "\n".join(rows).encode()
    mark = find_separator(rows[:: max(1, len(rows) // 100)])
    n_cells, start = check_rows(rows[:100], at, mark)
    step = max(1, len(rows) * n_cells // MAX_SAMPLED)
    try:
        sample = split([rows[start], *rows[start + 1 :: step]], mark)
    except ValueError:  # some have more cells, or fewer
        check_rows(rows, at, mark)
        raise
    numbers = find_format(sample, mark, decimal_comma)
    is_number, is_text = kinds(sample, numbers)
    above = split(rows[:start][-1:], mark)
    names = None
    if above.shape[1] == n_cells - 1:
        names = ["", *above[0].tolist()]  # as R's, where rows have names
    elif is_named or begins_with_names(sample, is_number, is_text, numbers, label):
        names, start = sample[0].tolist(), start + 1
        sample, is_number, is_text = sample[1:], is_number[1:], is_text[1:]
    if start == len(rows):
        raise ValueError("no signals below the names of columns. Add a line for each.")
    notes = [f"names of columns in line {at[start - 1]}" if names else
             "no column names"]  # fmt: skip
    if n_left_out := start - (names is not None):
        notes.append(f"{n_left_out} lines above left out")
    if encoding == "cp1252":
        notes.append("no UTF-8, read as cp1252, Windows' Western European")
    if numbers != PLAIN:
        notes.append(f"decimal mark {numbers[0]!r}, thousands mark {numbers[1]!r}")
    elif mark == ";" and fully(sample, GROUPED).any():
        notes.append("1.234 is read as a number below 2 (--decimal-comma for 1234)")
    of_texts = is_text.sum(axis=0) > is_number.sum(axis=0)
    of_texts[0] |= fully(sample[:, 0], CODE).all()
    options = {
        "sep": r"\s+" if mark == " " else mark,
        "header": None,
        "skiprows": start,
        "decimal": numbers[0],
        "thousands": numbers[1],
        "dtype": dict.fromkeys(np.flatnonzero(of_texts), str),
        "na_values": NA_VALUES,
        "skipinitialspace": True,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.DtypeWarning)
        try:
            frame = pd.read_csv(io.BytesIO(raw), **options)
        except pd.errors.DtypeWarning:  # a column of texts and numbers
            frame = pd.read_csv(io.BytesIO(raw), **options, low_memory=False)
    if frame.iloc[:, -1].isna().any():  # of a line that is too short, perhaps
        check_rows(rows, at, mark)
    for j, dtype in enumerate(frame.dtypes):
        if dtype.kind not in "biuf" and not of_texts[j]:
            frame[j] = to_numbers(frame[j], numbers)
    return frame, names, notes, lambda i: f"line {at[start + i]}"


def decode(path):
    """Bytes of a file, compressed or not, their text and its encoding."""
    if path.suffix.lower() in COMPRESSED:
        kept = {"quoting": 3, "keep_default_na": False, "skip_blank_lines": False}
        lines = pd.read_csv(
            path, sep="\x01", header=None, dtype=str, encoding="latin-1", **kept
        )
        raw = "\n".join(lines[0]).encode("latin-1")
    else:
        raw = path.read_bytes()
    is_utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # as of Excel's "Unicode text"
    for encoding in ("utf-16",) if is_utf16 else ("utf-8", "cp1252"):
        try:
            text = raw.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            text = re.sub("\r\n?", "\n", text) if "\r" in text else text
            return raw, text, encoding
    raise ValueError("no text. Expected one in UTF-8, in Excel CSV UTF-8.")


def split(rows, mark):
    """Cells of some lines, an array of str."""
    rows = map(str.strip, rows) if mark == " " else rows
    reader = csv.reader(rows, delimiter=mark, skipinitialspace=True)
    return np.array([[cell.strip() for cell in row] for row in reader], ndmin=2)


def find_separator(rows):
    """The mark that most of the lines hold, equally often."""
    rows = [re.sub('"[^"]*"', "", row) for row in rows]
    found = {}
    for mark in "\t;|,":
        counts = Counter(row.count(mark) for row in rows)
        n_marks, n_rows = max(counts.items(), key=lambda item: item[1], default=(0, 0))
        if n_marks and n_rows >= 0.8 * len(rows) and n_marks > found.get(",", 0) / 2:
            return mark
        found[mark] = sum(n * times for n, times in counts.items())
    likely = max(found, key=found.get)
    return likely if found[likely] > len(rows) / 2 else " "


def check_rows(rows, at, mark):
    """Number of cells of a line, and the first of so many; ValueError for others.

    But a text of several words may stand above.
    """
    counts = []
    for row in rows:
        if '"' in row:
            counts.append(split([row], mark).size)
        else:
            counts.append(row.count(mark) + 1 if mark != " " else len(row.split()))
    n_cells = Counter(counts).most_common(1)[0][0] if rows else 0
    if n_cells < 2:
        has = f"line {at[0]} has one cell" if rows else "no signals"
        raise ValueError(
            f"{has}. Expected a signal a line, with commas, semicolons, tabs or spaces "
            "between its values."
        )
    start = counts.index(n_cells)
    for i, n in enumerate(counts):
        if n != n_cells and (i > start or not re.search("[A-Za-z#]", rows[i])):
            raise ValueError(
                f"line {at[i]} has {n} columns, line {at[start]} has "
                f"{n_cells}. Expected equally many: fill or remove cells."
            )
    return n_cells, start


def fully(cells, pattern):
    """Which cells of an array of str match as a whole."""
    match = re.compile(pattern).fullmatch
    found = [match(cell) is not None for cell in cells.ravel().tolist()]
    return np.array(found, bool).reshape(cells.shape)


def pattern(decimal, thousands):
    """Regular expression of a number."""
    whole = r"\d+"
    if thousands:
        whole += rf"|[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+"
    mark = re.escape(decimal)
    number = rf"(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    return rf"[+-]?(?:{number}|[iI]nf(?:inity)?|INF)"


def kinds(cells, numbers):
    """Which cells of an array of str are numbers, and which texts: nor missing."""
    is_number = fully(cells, pattern(*numbers))
    lower = np.char.lower(cells)
    return is_number, ~is_number & ~np.isin(lower, [*MISSING, *DASHES])


def find_format(cells, mark, decimal_comma):
    """Decimal mark, and what groups thousands: the form that most cells have."""
    forms = [*COMMAS, PLAIN] if decimal_comma else [*POINTS, *COMMAS]
    marked = fully(cells, r"[+-]?\d[\d.,' ]*[.,' ][\d.,' ]*")
    grouped = fully(cells, GROUPED)
    best = max(forms, key=lambda form: fully(cells, pattern(*form)).sum())
    if best[1] is None and mark != "," and (grouped == marked).all():
        # All numbers have three decimals, or none: beside 987 they group thousands.
        rest = fully(cells, r"[+-]?[1-9]\d*") & grouped.any(axis=0)
        if rest.any() and (rest <= fully(cells, r"[+-]?\d{1,3}")).all():
            return COMMAS[1] if best == PLAIN else POINTS[1]
    return best


def begins_with_names(cells, is_number, is_text, numbers, label):
    """Whether the first line has texts above numbers, or numbers that are steps.

    As wavelengths or times are; the texts beside them, as of the label, come only once.
    """
    below = is_number[1:].any(axis=0) & ~is_text[1:].any(axis=0)
    above = is_text[0] & below
    above[label : label + 1 or None] = False
    is_step = is_number[0] & (below | (len(cells) == 1))
    flat = pd.Series(cells[:, is_step].ravel())
    values, *others = np.array(to_numbers(flat, numbers)).reshape(len(cells), -1)
    if np.isinf(values).any():
        return False
    steps = np.diff(values)
    is_sorted = len(steps) > 1 and abs(np.sign(steps).sum()) == len(steps)
    if above.any():
        is_whole = len(set(values)) == len(values) and (values == values.round()).all()
        return above.sum() > len(values) or is_sorted or is_whole or len(values) < 3
    if not is_sorted or (is_text[0] & (cells[1:] == cells[0]).any(axis=0)).any():
        return False
    if (abs(steps - steps[0]) < 0.1 * abs(steps[0])).all():
        return True
    if not others or len(values) < 5:
        return False
    is_beyond = values.min() > np.nanmax(others) or values.max() < np.nanmin(others)
    others = np.clip(others, -1e300, 1e300)  # infinity is refused later
    signs = np.sign(np.diff(others)).sum(axis=1)
    return is_beyond or (abs(signs) < len(steps)).all()


def to_numbers(texts, numbers):
    """A Series of texts as numbers; or, where some are none, with plain ones."""
    decimal, thousands = numbers
    stripped = texts.astype(str).str.strip()
    is_missing = texts.isna() | stripped.str.lower().isin([*MISSING, *DASHES])
    is_number = stripped.str.fullmatch(pattern(*numbers))
    plain = stripped.str.replace(thousands or "", "", regex=False)
    plain = plain.str.replace(decimal, ".", regex=False)
    if (is_missing | is_number).all():
        return plain.mask(is_missing).astype(float)
    return texts.mask(is_number & ~is_missing, plain)
