"""Text files of signals: separators, forms of numbers, names of columns are found."""

import bz2
import csv
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections import Counter

import numpy as np
import pandas as pd

# What marks a missing value, in lower case; some of them Excel's.
MISSING = ["", "na", "nan", "n/a", "null", "none", "?", "<na>", "nat"]
MISSING += ["#n/a", "#na", "#nv"]
UNCLOSED = "a quotation mark is not closed. Remove it, or add another."
NA_VALUES = [f(mark) for mark in MISSING for f in (str, str.upper, str.title)]
DASHES = ["-", "--", "."]  # missing among numbers, but classes beside "+"
MAX_SAMPLED = 2000  # cells that are looked at as texts
PLAIN = ".", None  # decimal mark, and what groups thousands
POINTS = [PLAIN, (".", ","), (".", "'"), (".", " ")]
COMMAS = [(",", None), (",", "."), (",", "'"), (",", " ")]
CODE = r"0\d+|\d+[eE]\d+"  # 007 and 17e4 are names, if all are such
GROUPED = r"[+-]?[1-9]\d{0,2}[.,]\d{3}"  # 1.234 may be 1234
# Also 12 %, 1.2 V, (1.2), $1.2, 1.2D+00: numbers, if not for us.
NUMBERISH = r"[^\w\s]{0,2}\d[\d.,' ]*(?:[eEdD][+-]?\d+)?\s*[^\d_]{0,3}"
# As if all were typed on one keyboard: ends of lines, spaces, minus signs.
TYPED = {"\r\n": "\n", "\r": "\n", "\ufeff": "", "\u2212": "-", "\u2019": "'"}
TYPED |= dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")


def read_text(path, decimal_comma=False, is_named=False, label=-1):
    """Frame of a text, what is said of it, and `where` a row was.

    `is_named`: there are names of columns; `label`: a column that does not tell, as
    labels may be texts and numbers.
    """
    text, encoding = decode(path)
    rows, at, mark, n_cells, start = find_rows(text)
    step = max(1, len(rows) * n_cells // MAX_SAMPLED)
    try:
        sample = split([rows[start], *rows[start + 1 :: step]], mark)
    except ValueError:
        check_cells(rows, at, mark)
        raise
    numbers = find_format(sample, mark, decimal_comma)
    is_number, is_text = kinds(sample, numbers)
    names = None
    above = split([row.rstrip(mark) for row in rows[:start][-1:]], mark)
    if start and 0 <= n_cells - above.size <= 1:
        # One fewer is R's, where rows have names.
        names = [*[""] * (n_cells - above.size), *above[0]]
    elif is_named or begins_with_names(sample, is_number, is_text, numbers, label):
        names, start = sample[0].tolist(), start + 1
        sample, is_number, is_text = sample[1:], is_number[1:], is_text[1:]
    if names and len(sample) > 1 and two_levels(names, sample[0]):
        names, start = pd.MultiIndex.from_arrays([names, sample[0]]), start + 1
        sample, is_number, is_text = sample[1:], is_number[1:], is_text[1:]
        if is_title(split(rows[start : start + 1], mark)):  # the name of the index
            del rows[start], at[start]
    if start == len(rows):
        raise ValueError("no signals below the names of columns. Add a line for each.")
    notes = ["no column names"]
    n_lines = getattr(names, "nlevels", 1) if names is not None else 0
    if n_lines:
        notes = [f"names of columns in line {at[start - n_lines]}"]
    if n_left_out := start - n_lines:
        notes.append(f"{n_left_out} line(s) of text above left out")
    if encoding == "cp1252":
        notes.append("no UTF-8, read as cp1252, Windows' Western European")
    if numbers != PLAIN:
        of_thousands = f", thousands mark {numbers[1]!r}" if numbers[1] else ""
        notes.append(f"decimal mark {numbers[0]!r}{of_thousands}")
    elif mark == ";" and fully(sample, GROUPED).any():
        notes.append("1.234 is read as a number below 2 (--decimal-comma for 1234)")
    of_texts = is_text.sum(axis=0) > is_number.sum(axis=0)
    of_texts[0] |= fully(sample[:, 0], CODE).all()
    options = {
        "sep": r"\s+" if mark == " " else mark,
        "header": None,
        "decimal": numbers[0],
        "thousands": numbers[1],
        "dtype": dict.fromkeys(np.flatnonzero(of_texts), str),
        "na_values": NA_VALUES,
        "skipinitialspace": True,
    }
    raw = "\n".join(rows[start:]).encode()
    try:
        frame = read_csv(raw, options)
    except pd.errors.ParserError as error:
        check_cells(rows, at, mark)
        raise ValueError(UNCLOSED) from error
    if len(frame) < len(rows) - start:
        raise ValueError(UNCLOSED)
    if frame.iloc[:, -1].isna().any():  # of a line that is too short, perhaps
        check_cells(rows, at, mark)
    for j, dtype in enumerate(frame.dtypes):
        if dtype.kind not in "biuf" and not of_texts[j]:  # numbers, and texts
            frame[j] = to_numbers(frame[j], numbers)
    frame.columns = pd.RangeIndex(frame.shape[1]) if names is None else names
    return frame, notes, lambda i: f"line {at[start + i]}"


def find_rows(text):
    """Lines that are not empty, their numbers, what separates cells, how many, where.

    Marks at the end of all lines separate nothing; titles above are no first line.
    """
    lines = re.sub(r"\n[,;|\t ]+(?=\n|$)", "\n", "\n" + text)[1:].split("\n")
    at = [i for i, line in enumerate(lines, 1) if line]
    rows = [line for line in lines if line]
    mark = find_separator(list(map(unquoted, rows[:: max(1, len(rows) // 100)])))
    n_cells, start, _ = count_cells(rows[:100], mark)
    while rows and all(row.rstrip(" ").endswith(mark) for row in rows[start:]):
        rows[start:] = [row.rstrip(" ")[:-1] for row in rows[start:]]
        n_cells, start, _ = count_cells(rows[:100], mark)
    check_cells(rows[:100], at, mark)
    while is_title(split(rows[start : start + 1], mark)):
        start += 1
    return rows, at, mark, n_cells, start


def read_csv(raw, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.DtypeWarning)
        try:
            return pd.read_csv(io.BytesIO(raw), **options)
        except pd.errors.DtypeWarning:  # texts and numbers, in parts of a column
            return pd.read_csv(io.BytesIO(raw), **options, low_memory=False)


def decode(path):
    """The text of a file, compressed or not, and its encoding."""
    suffix = path.suffix.lower()
    try:
        with OPEN.get(suffix, open)(path, "rb") as file:
            raw = file.read()
    except OSError:
        raise
    except Exception as error:  # each has errors of its own
        raise ValueError(f"{suffix} is not read: {error}.") from error
    is_utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # as of Excel's "Unicode text"
    for encoding in ("utf-16",) if is_utf16 else ("utf-8", "cp1252"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            continue
        if "\r" in text or not text.isascii():
            for old, new in TYPED.items():
                text = text.replace(old, new)
        return text.rstrip("\x1a"), encoding  # DOS ends so
    raise ValueError("no text. Expected one in UTF-8, in Excel CSV UTF-8.")


def open_zip(path, mode):
    """The one file in it, beside what macOS adds."""
    archive = zipfile.ZipFile(path)
    names = [n for n in archive.namelist() if not n.startswith("__MACOSX")]
    if len(names) != 1:
        raise ValueError(f"it holds {len(names)} files, expected one")
    return archive.open(names[0])


OPEN = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zip": open_zip}


def split(rows, mark):
    """Cells of some lines, an array of str."""
    rows = [" ".join(row.split()) for row in rows] if mark == " " else rows
    reader = csv.reader(rows, delimiter=mark, skipinitialspace=True)
    cells = [[cell.strip() for cell in row] for row in reader]
    if len(set(map(len, cells))) > 1:
        raise ValueError(UNCLOSED)
    return np.array(cells, str, ndmin=2)


def find_separator(rows):
    """The mark that most of the lines hold, equally often."""
    found = {}
    for mark in "\t;|,":
        counts = Counter(row.count(mark) for row in rows)
        n_marks, n_rows = max(counts.items(), key=lambda item: item[1], default=(0, 0))
        if n_marks and n_rows >= 0.8 * len(rows) and n_marks > found.get(",", 0) / 2:
            return mark
        found[mark] = sum(n * times for n, times in counts.items())
    likely = max(found, key=found.get)
    return likely if found[likely] > len(rows) / 2 else " "


def unquoted(row):
    return re.sub('"[^"]*"', "_", row) if '"' in row else row


def count_cells(rows, mark):
    """How many cells most lines have, which is the first of these, and all counts."""
    rows = map(unquoted, rows)
    counts = [len(r.split()) if mark == " " else r.count(mark) + 1 for r in rows]
    n_cells = Counter(counts or [0]).most_common(1)[0][0]
    return n_cells, counts.index(n_cells) if counts else 0, counts


def check_cells(rows, at, mark):
    """ValueError for lines of other numbers of cells, but a text of words above."""
    n_cells, start, counts = count_cells(rows, mark)
    if n_cells < 2:
        has = f"line {at[0]} has one cell" if rows else "no signals"
        raise ValueError(
            f"{has}. Expected a signal a line, with commas, semicolons, tabs or spaces "
            "between its values."
        )
    for i, n in enumerate(counts):
        if n != n_cells and (i > start or not re.search("[A-Za-z#]", rows[i])):
            raise ValueError(
                f"line {at[i]} has {n} columns, line {at[start]} has "
                f"{n_cells}. Expected equally many: fill or remove cells."
            )


def is_title(cells):
    """Whether few cells of a line are filled, of words, as a title of Excel's is."""
    filled = cells[cells != ""]
    words = fully(filled, ".*[A-Za-z].*")
    return 0 < filled.size <= cells.size / 2 and words.all()


def two_levels(names, cells):
    """Names of columns in two lines, channels above times, equal for each channel."""
    times = {}
    for name, cell in zip(names, cells, strict=True):
        times.setdefault(name, []).append(cell)
    found = [cells for cells in times.values() if len(cells) > 1]
    is_same = len(found) > 1 and all(cells == found[0] for cells in found)
    return is_same and len(set(found[0])) == len(found[0])


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


def plain(cell, numbers):
    """The text of a number as Python writes it."""
    decimal, thousands = numbers
    return cell.replace(thousands or "", "").replace(decimal, ".")


def to_numbers(texts, numbers):
    """A Series of texts as numbers; or, where some are none, with plain ones."""
    cells = texts.map(str).str.strip()
    is_number = cells.str.fullmatch(pattern(*numbers))
    texts = texts.mask(is_number, [plain(cell, numbers) for cell in cells])
    texts = texts.mask(cells.isin(DASHES))
    return texts.astype(float) if (is_number | texts.isna()).all() else texts


def kinds(cells, numbers):
    """Which cells of an array of str are numbers, and which texts: nor missing."""
    is_number = fully(cells, pattern(*numbers))
    lower = np.char.lower(cells)
    return is_number, ~is_number & ~np.isin(lower, [*MISSING, *DASHES])


def find_format(cells, mark, decimal_comma):
    """Decimal mark, and what groups thousands: the form that most cells have."""
    forms = [PLAIN, COMMAS[0], *POINTS[1:], *COMMAS[1:]]  # the first of equals
    forms = [*COMMAS, PLAIN] if decimal_comma else forms
    cells = cells[1:] if len(cells) > 1 else cells  # below names, perhaps
    found = {None, *"".join(cells.flat)}
    forms = [form for form in forms if form[1] in found]
    best = max(forms, key=lambda form: fully(cells, pattern(*form)).sum())
    marked = fully(cells, r"[+-]?\d[\d.,' ]*[.,' ][\d.,' ]*")
    grouped = fully(cells, GROUPED)
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
    looks = is_number | fully(cells, NUMBERISH)
    below = is_number[1:].sum(axis=0) > is_text[1:].sum(axis=0)
    alike = looks[1:].sum(axis=0) > (is_text & ~looks)[1:].sum(axis=0)
    above = is_text[0] & (below | (alike & ~looks[0]))
    is_other = np.arange(len(below)) != label + len(below) * (label < 0)
    if below[is_other].any():
        above &= is_other
    is_step = is_number[0] & (below | (len(cells) == 1))
    values, *others = [
        np.array([float(plain(cell, numbers)) for cell in row])
        for row in np.where(is_number, cells, "nan")[:, is_step].tolist()
    ]
    if np.isinf(values).any():
        return False
    if len(cells) == 1 and not is_step.any():
        return True
    steps = np.diff(values)
    is_sorted = len(steps) > 1 and abs(np.sign(steps).sum()) == len(steps)
    if above.any():
        is_whole = len(set(values)) == len(values) and (values == values.round()).all()
        return above.sum() > len(values) or is_sorted or is_whole or len(values) < 3
    if not is_sorted or (is_text[0] & (cells[1:] == cells[0]).any(axis=0)).any():
        return False
    if is_even(steps) and not (others and is_even(np.diff(others[0]))):
        return True
    if not others or len(values) < 5:
        return False
    is_beyond = values.min() > np.nanmax(others) or values.max() < np.nanmin(others)
    others = np.clip(others, -1e300, 1e300)  # infinity is refused later
    signs = np.sign(np.diff(others)).sum(axis=1)
    return is_beyond or (abs(signs) < len(steps)).all()


def is_even(steps):
    """Whether they are alike, as those of a header and those of a ramp are."""
    return len(steps) > 0 and (abs(steps - steps[0]) < 0.1 * abs(steps[0])).all()
