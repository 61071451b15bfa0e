"""Text files of signals: separators, forms of numbers and names of columns are found."""

import io
import re
from collections import Counter

import numpy as np
import pandas as pd

# What marks a missing value, in lower case; some of them Excel's.
MISSING = ["", *"na nan n/a null none ? #n/a #na #nv <na> nat".split()]
NA_VALUES = [f(mark) for mark in MISSING for f in (str, str.upper, str.title)]
DASHES = ["-", "--", "."]  # missing among numbers, but classes beside "+"
COMPRESSED = (".gz", ".bz2", ".zip", ".xz", ".zst")
MAX_SAMPLED = 5000  # cells that are looked at as texts
PLAIN = ".", None  # decimal mark, and what groups thousands
POINTS, COMMAS = [PLAIN, *zip("...", ",' ")], [(",", None), *zip(",,,", ".' ")]
GROUPED = r"[+-]?[1-9]\d{0,2}[.,]\d{3}"  # 1.234 may be 1234


def read_text(path, decimal_comma=False, is_named=False, label=-1):
    """Frame of a text, names of its columns or None, notes, and `where` a row was.

    `is_named`: there are names of columns; `label`: a column that does not tell, as
    labels may be texts and numbers.
    """
    text, encoding = decode(path)
    lines = text.split("\n")
    at = [i for i, line in enumerate(lines) if line and not line.isspace()]
    rows = [lines[i] for i in at]
    mark = find_separator(rows[:: max(1, len(rows) // 100)])
    n_cells, start = check_rows(rows, at, mark)
    step = max(1, len(rows) * n_cells // MAX_SAMPLED)
    sample = split([rows[start], *rows[start + 1 :: step]], mark)
    numbers = find_format(sample, mark, decimal_comma)
    is_number, is_text = kinds(sample, numbers)
    names = None
    if start and len(split([rows[start - 1]], mark).columns) == n_cells - 1:
        names = ["", *split([rows[start - 1]], mark).iloc[0]]  # as R's
    elif is_named or begins_with_names(sample, is_number, is_text, numbers, label):
        names, start = list(sample.iloc[0]), start + 1
        sample, is_number, is_text = sample[1:], is_number[1:], is_text[1:]
    if start == len(rows):
        raise ValueError("no signals below the names of columns. Add a line for each.")
    notes = [f"names of columns in line {at[start - 1] + 1}" if names else
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
    of_texts[0] |= fully(sample[[0]], r"0\d+|\d+[eE]\d+").all()  # names: 007, 17e4
    frame = pd.read_csv(
        io.BytesIO(text.encode()),
        sep=r"\s+" if mark == " " else mark,
        header=None,
        skiprows=at[start],
        decimal=numbers[0],
        thousands=numbers[1],
        dtype=dict.fromkeys(np.flatnonzero(of_texts), str),
        na_values=NA_VALUES,
        skipinitialspace=True,
        low_memory=False,
    ).dropna(how="all")
    for j in np.flatnonzero(~of_texts):
        if frame[j].dtype.kind not in "biuf":
            frame[j] = to_numbers(frame[j], numbers)
    return frame, names, notes, lambda i: f"line {at[start + i] + 1}"


def decode(path):
    """Text of a file, compressed or not, and its encoding."""
    if path.suffix.lower() in COMPRESSED:
        kept = {"quoting": 3, "keep_default_na": False, "skip_blank_lines": False}
        lines = pd.read_csv(
            path, sep="\x01", header=None, dtype=str, encoding="latin-1", **kept
        )
        raw = "\n".join(lines[0]).encode("latin-1")
    else:
        raw = path.read_bytes()
    is_utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # as of Excel's "Unicode text"
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", "cp1252"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return re.sub("\r\n?", "\n", text) if "\r" in text else text, encoding
    raise ValueError("no text. Expected one in UTF-8, in Excel CSV UTF-8.")


def split(rows, mark):
    """Frame of the cells of some lines, all of them texts."""
    return pd.read_csv(
        io.StringIO("\n".join(rows)),
        sep=r"\s+" if mark == " " else mark,
        header=None,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
    ).map(str.strip)


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
    if mark == " ":
        counts = [len(row.split()) for row in rows]
    else:
        counts = [
            len(split([row], mark).columns) if '"' in row else row.count(mark) + 1
            for row in rows
        ]
    n_cells = Counter(counts).most_common(1)[0][0] if rows else 0
    if n_cells < 2:
        has = f"line {at[0] + 1} has one cell" if rows else "no signals"
        raise ValueError(
            f"{has}. Expected a signal a line, with commas, semicolons, tabs or spaces "
            "between its values."
        )
    start = counts.index(n_cells)
    for i, n in enumerate(counts):
        if n != n_cells and (i > start or not re.search("[A-Za-z#]", rows[i])):
            raise ValueError(
                f"line {at[i] + 1} has {n} columns, line {at[start] + 1} has "
                f"{n_cells}. Expected equally many: fill or remove cells."
            )
    return n_cells, start


def fully(cells, pattern):
    """Which cells of a frame of texts match as a whole, an array of bool."""
    flat = pd.Series(cells.to_numpy().ravel(), dtype=str)
    return flat.str.fullmatch(pattern).to_numpy(bool).reshape(cells.shape)


def pattern(decimal, thousands):
    """Regular expression of a number."""
    whole = r"\d+"
    if thousands:
        whole += rf"|[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+"
    mark = re.escape(decimal)
    number = rf"(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    return rf"[+-]?(?:{number}|[iI]nf(?:inity)?|INF)"


def kinds(cells, numbers):
    """Which cells of a frame of texts are numbers, and which neither that nor missing."""
    is_number = fully(cells, pattern(*numbers))
    lower = np.char.lower(cells.to_numpy().astype(str))
    return is_number, ~is_number & ~np.isin(lower, [*MISSING, *DASHES])


def find_format(cells, mark, decimal_comma):
    """Decimal mark, and what groups thousands: the form that most cells have."""
    forms = [*COMMAS, PLAIN] if decimal_comma else [*POINTS, *COMMAS]
    marked = fully(cells, r"[+-]?\d[\d.,' ]*[.,' ][\d.,' ]*")
    grouped = fully(cells, GROUPED)
    if not decimal_comma and (grouped.sum() == 0 or mark == ","):
        forms = [form for form in forms if form[1] != form[0]]
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
    values = np.array(to_numbers(cells.loc[0, is_step], numbers), float)
    steps = np.diff(values)
    is_sorted = len(steps) > 1 and abs(np.sign(steps).sum()) == len(steps)
    if above.any():
        is_whole = len(set(values)) == len(values) and (values == values.round()).all()
        return above.sum() > len(values) or is_sorted or is_whole or len(values) < 3
    if not is_sorted or (is_text[0] & (cells[1:] == cells.iloc[0]).any(axis=0)).any():
        return False
    if (abs(steps - steps[0]) < 0.1 * abs(steps[0])).all():
        return True
    others = cells.loc[1:, is_step]
    others = np.array([to_numbers(others[j], numbers) for j in others], float).T
    is_beyond = values.min() > np.nanmax(others) or values.max() < np.nanmin(others)
    signs = np.sign(np.diff(others)).sum(axis=1)
    return len(values) > 4 and (is_beyond or (abs(signs) < len(steps)).all())


def to_numbers(texts, numbers):
    """A Series of texts as numbers, if all of them are, else as it was."""
    decimal, thousands = numbers
    stripped = texts.astype(str).str.strip()
    is_missing = texts.isna() | stripped.str.lower().isin([*MISSING, *DASHES])
    if not (is_missing | stripped.str.fullmatch(pattern(*numbers))).all():
        return texts
    plain = stripped.str.replace(thousands or "", "", regex=False)
    return plain.str.replace(decimal, ".", regex=False).mask(is_missing).astype(float)
