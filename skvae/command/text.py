"""Text files of signals as DataFrames: their form is found, then pandas reads them."""

import bz2
import contextlib
import csv
import gzip
import io
import lzma
import re
import zipfile
from collections import Counter

import numpy as np
import pandas as pd

# Marks of missing values, in lower case; the last three are Excel's.
MISSING = ["", "na", "nan", "n/a", "null", "none", "?", "<na>", "nat"]
MISSING += ["#n/a", "#na", "#nv"]
NA_VALUES = [f(mark) for mark in MISSING for f in (str, str.upper, str.title)]
DASHES = ["-", "--", "."]  # missing among numbers, but classes beside "+"
MARKS = "\t;|,"  # between cells
MAX_SAMPLED = 2000  # cells from which the form is found
MIN_RANGE = 9  # steps from 0 or 1 on, as pandas names columns, that are no signal
PLAIN = ".", None  # decimal mark, and thousands mark
POINTS = [PLAIN, (".", ","), (".", "'"), (".", " ")]
COMMAS = [(",", None), (",", "."), (",", "'"), (",", " ")]
CODE = r"0\d+|\d+[eE]\d+"  # a column of these, as 007 and 17e4, holds names
GROUPED = r"[+-]?[1-9]\d{0,2}[.,]\d{3}"  # 1.234 may be 1234
# Also 12 %, 1.2 V, (1.2), $1.2 and 1.2D+00, which pandas does not read as numbers.
NUMBERISH = r"[^\w\s]{0,2}\d[\d.,' ]*(?:[eEdD][+-]?\d+)?\s*[^\d_]{0,3}"
# Typographic minus signs, apostrophes and spaces become those of a keyboard.
TYPED = str.maketrans("\u2212\u2019\u00a0\u2007\u2009\u202f", "-'    ")


def read_text(path, decimal_comma=False, is_named=False):
    """Frame of a text, notes on its form, and a function from a row to its line.

    `is_named`: the first line has names of columns.
    """
    lines, encoding = read_lines(path)
    at = [i for i, line in enumerate(lines, 1) if line.strip(MARKS + " ")]
    rows = [lines[i - 1].rstrip(" ") for i in at]
    mark, start = find_cells(rows, at)

    def cells(rows):
        rows = [" ".join(row.split()) if mark == " " else row for row in rows]
        rows = csv.reader(rows, delimiter=mark, skipinitialspace=True)
        return np.char.strip(np.array(list(rows), str, ndmin=2))

    while is_title(first := cells(rows[start : start + 1])):
        start += 1
    step = max(1, len(rows) * first.size // MAX_SAMPLED)
    sample = cells([rows[start], *rows[start + 1 :: step]])
    decimal, thousands = numbers = find_format(sample, mark, decimal_comma)
    names, n_above = None, start
    above = cells([rows[start - 1].rstrip(mark)])[0].tolist() if start else []
    if start and 0 <= first.size - len(above) <= 1:
        # R writes one name fewer where its rows have names.
        names, n_above = [""] * (first.size - len(above)) + above, start - 1
    elif is_named or begins_with_names(sample, numbers):
        names, start, sample = sample[0].tolist(), start + 1, sample[1:]
    is_repeated = names is not None and len({*names}) < len(names)
    if is_repeated and len(sample) and are_times_of_channels(names, sample[0]):
        names = pd.MultiIndex.from_arrays([names, sample[0]])
        start, sample = start + 1, sample[1:]
        if is_title(cells(rows[start : start + 1])):  # the name of the index
            del rows[start], at[start]
    if start == len(rows):
        raise ValueError("no signals below the names of columns. Add a line for each.")
    notes = ["no column names"]
    if names is not None:
        notes = [f"names of columns in line {at[n_above]}"]
    if n_above:
        notes.append(f"{n_above} line(s) of text above left out")
    if encoding == "cp1252":
        notes.append("not UTF-8, read as cp1252, Windows' Western European")
    if numbers != PLAIN:
        of_thousands = f", thousands mark {thousands!r}" if thousands else ""
        notes.append(f"decimal mark {decimal!r}{of_thousands}")
    elif mark == ";" and fully(sample, GROUPED).any():
        notes.append("1.234 is a number below 2 (--decimal-comma reads it as 1234)")
    frame = pd.read_csv(
        io.BytesIO("\n".join(rows[start:]).encode()),
        sep=r"\s+" if mark == " " else mark,
        header=None,
        skipinitialspace=True,
        # The first column may hold names, as 007. Where points group thousands, pandas
        # would read 3.84 as 384.
        dtype=str if thousands else {0: str},
        decimal=decimal,
        na_values=NA_VALUES,
        low_memory=False,
    )
    for j in np.flatnonzero([dtype.kind not in "biuf" for dtype in frame.dtypes]):
        frame[j] = to_numbers(frame[j], decimal, thousands)
    frame.columns = pd.RangeIndex(frame.shape[1]) if names is None else names
    return frame, notes, lambda i: f"line {at[start + i]}"


def read_lines(path):
    """Lines of a text, which may be compressed, and its encoding."""
    suffix = path.suffix.lower()
    try:
        with OPEN.get(suffix, open)(path, "rb") as file:
            raw = file.read()
    except OSError:
        raise
    except Exception as error:  # each kind of compression has errors of its own
        raise ValueError(f"{suffix} is not read: {error}.") from error
    is_utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Excel's "Unicode text"
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            text = raw.decode(encoding)
            text = text if text.isascii() else text.translate(TYPED)
            text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")
            if "\0" not in text:
                return text.split("\n"), encoding
    raise ValueError("not a text file. Expected UTF-8: in Excel, save as CSV UTF-8.")


def open_zip(path, mode):
    """The one file in an archive, besides those that macOS adds."""
    archive = zipfile.ZipFile(path)
    names = [n for n in archive.namelist() if not n.startswith("__MACOSX")]
    if len(names) != 1:
        raise ValueError(f"it holds {len(names)} files, expected one")
    return archive.open(names[0])


OPEN = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zip": open_zip}


def find_cells(rows, at):
    """The separator, and the first line with the most common number of cells.

    Other lines are refused, unless they are text above. Marks at the end of all lines
    are cut off, in place.
    """
    bare = [re.sub('"[^"]*"', "_", row) if '"' in row else row for row in rows]
    if odd := [i for i, row in zip(at, bare, strict=True) if '"' in row]:
        raise ValueError(f"line {odd[0]}: a quotation mark is not closed. Add another.")
    mark = find_separator(bare[:: max(1, len(bare) // 100)])
    counts = [len(r.split()) if mark == " " else r.count(mark) + 1 for r in bare]
    n_cells = Counter(counts or [0]).most_common(1)[0][0]
    start = counts.index(n_cells) if counts else 0
    ends = (row[len(row.rstrip(mark + " ")) :].count(mark) for row in bare[start:])
    if n_ends := min(ends, default=0):
        rows[start:] = [row.rsplit(mark, n_ends)[0].rstrip(" ") for row in rows[start:]]
        counts[start:] = [n - n_ends for n in counts[start:]]
        n_cells -= n_ends
        start = counts.index(n_cells)
    if n_cells < 2:
        what = f"line {at[0]} has one cell" if rows else "no signals"
        raise ValueError(
            f"{what}. Expected a signal in each line, with commas, semicolons, tabs or "
            "spaces between its values."
        )
    for i, n in enumerate(counts):
        if n != n_cells and (i > start or not re.search("[A-Za-z#]", rows[i])):
            raise ValueError(
                f"line {at[i]} has {n} columns, line {at[start]} has {n_cells}. "
                "Expected equally many: fill or remove cells, or remove other lines."
            )
    return mark, start


def find_separator(rows):
    """The mark that comes equally often in most lines, else the most frequent one."""
    for mark in MARKS:
        counts = Counter(row.count(mark) for row in rows).most_common(1)
        if counts and counts[0][0] and counts[0][1] >= 0.8 * len(rows):
            return mark
    mark = max(MARKS, key="".join(rows).count)
    return mark if "".join(rows).count(mark) > len(rows) / 2 else " "


def is_title(cells):
    """Whether few cells of a line are filled, all with words, as in Excel's titles."""
    filled = cells[cells != ""]
    return 0 < filled.size <= cells.size / 2 and fully(filled, ".*[A-Za-z].*").all()


def are_times_of_channels(names, cells):
    """Whether each channel has the same times in the cells below its names."""
    times = pd.Series(cells).groupby(names).agg(tuple)
    times = times[times.map(len) > 1]
    return len(times) > 1 == times.nunique() and pd.Index(times.iloc[0]).is_unique


def fully(cells, pattern):
    """Which cells of an array of str match as a whole."""
    return np.vectorize(re.compile(pattern).fullmatch, otypes=[bool])(cells)


def pattern(decimal, thousands):
    """Regular expression of a number."""
    groups = rf"|[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+" if thousands else ""
    mark = re.escape(decimal)
    number = rf"(?:(?:\d+{groups})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    return rf"[+-]?(?:{number}|[iI]nf(?:inity)?|INF)"


def to_numbers(texts, decimal, thousands):
    """A Series of texts as numbers, or as plain texts of numbers if only most are."""
    cells = texts.str.strip()
    is_number = cells.str.fullmatch(pattern(decimal, thousands), na=False)
    is_missing = cells.isna() | cells.isin(DASHES)
    is_code = cells.str.fullmatch(CODE, na=True).all()
    if is_code or is_number.sum() <= (~is_number & ~is_missing).sum():
        return texts
    plain = cells.str.replace(thousands or "", "").str.replace(decimal, ".")
    plain = plain.where(is_number, texts).mask(is_missing)
    return pd.to_numeric(plain) if (is_number | is_missing).all() else plain


def find_format(cells, mark, decimal_comma):
    """Decimal mark and thousands mark of most cells."""
    forms = [PLAIN, COMMAS[0], *POINTS[1:], *COMMAS[1:]]  # the first of equals
    forms = [*COMMAS, PLAIN] if decimal_comma else forms
    cells = cells[1:] if len(cells) > 1 else cells  # the first line may hold names
    used = {None, *"".join(cells.flat)}
    forms = [form for form in forms if form[1] in used]
    best = max(forms, key=lambda form: fully(cells, pattern(*form)).sum())
    marked = fully(cells, r"[+-]?\d[\d.,' ]*[.,' ][\d.,' ]*")
    grouped = fully(cells, GROUPED)
    if best[1] is None and mark != "," and (grouped == marked).all():
        # All numbers have three decimals, or none: beside 987 they group thousands.
        rest = fully(cells, r"[+-]?[1-9]\d*") & grouped.any(axis=0)
        if rest.any() and (rest <= fully(cells, r"[+-]?\d{1,3}")).all():
            return COMMAS[1] if best == PLAIN else POINTS[1]
    return best


def begins_with_names(cells, numbers):
    """Whether the first line has texts above numbers, or steps, as wavelengths are.

    Steps rise or fall, unlike the numbers below.
    """
    if len(cells) == 1:
        return not fully(cells, pattern(*numbers)).any()
    is_number = fully(cells, pattern(*numbers))
    is_text = ~is_number & ~np.isin(np.char.lower(cells), MISSING + DASHES)
    looks = is_number | fully(cells, NUMBERISH)
    below = is_number[1:].sum(axis=0) > is_text[1:].sum(axis=0)
    alike = looks[1:].sum(axis=0) > (is_text & ~looks)[1:].sum(axis=0)
    n_names = (is_text[0] & (below | (alike & ~looks[0]))).sum()
    plain = np.char.replace(np.where(is_number, cells, "nan"), numbers[1] or " ", "")
    plain = np.char.replace(plain, numbers[0], ".")[:, is_number[0] & below]
    values = np.clip(plain.astype(float), -1e300, 1e300)
    steps = np.diff(values)
    n_rising, n_steps = abs(np.sign(steps).sum(axis=1)), steps.shape[1]
    is_sorted = n_rising[0] == n_steps > 1
    if n_names:  # rather than one odd cell among numbers
        return n_names > n_steps + 1 or is_sorted or n_steps < 2
    is_range = n_steps >= MIN_RANGE and values[0, 0] in (0, 1) and (steps[0] == 1).all()
    if is_range and not (steps[1:] == 1).all(axis=1).any():
        return True
    # A text beside steps, as the name of the label, comes only once.
    if not is_sorted or (is_text[0] & (cells[1:] == cells[0]).any(axis=0)).any():
        return False
    is_even = (abs(steps.T - steps[:, 0]) < 0.1 * abs(steps[:, 0])).all(axis=0)
    if is_even[0] and not is_even[1]:
        return True
    low, high = np.nanmin(values[1:]), np.nanmax(values[1:])
    is_beyond = values[0].min() > high or values[0].max() < low
    return n_steps > 3 and (is_beyond or (n_rising[1:] < n_steps).all())
