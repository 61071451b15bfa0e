"""Files of signals as people have them, and what is said of those of no use.

Each is written by pandas, NumPy, SciPy or by hand, and read back as what it was.
"""

import gzip
import re
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import scipy.io

from skvae.command.load import load
from skvae.command.table import read

SIGNALS = np.array([[1.5, 2, 5], [3, -4, 0.25], [0, 1, 2], [7, 8, 1e3]])
LABELS = ["walk", "run", "walk", "run"]


def save(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def lines(*columns, names=None, mark=","):
    """The text of a table that has these columns."""
    rows = [names] if names else []
    rows += zip(*columns, strict=True)
    return "\n".join(mark.join(map(str, row)) for row in rows)


TABLES = {
    "plain": lines(*SIGNALS.T, LABELS),
    "names": lines(*SIGNALS.T, LABELS, names=["a", "b", "c", "kind"]),
    "number names": lines(*SIGNALS.T, LABELS, names=[0, 1, 2, "kind"]),
    "number names from 1": lines(*SIGNALS.T, LABELS, names=[1, 2, 3, ""]),
    "numbers for all": lines(*SIGNALS.T, [0, 1, 0, 1], names=[0, 1, 2, 3]),
    "times": lines(*SIGNALS.T, LABELS, names=[-0.067, -0.033, 0, "kind"]),
    "wavelengths": lines(*SIGNALS.T, [0, 1, 0, 1], names=[400, 410, 420, "kind"]),
    "wavenumbers": lines(*SIGNALS.T, LABELS, names=[4000, 3998, 3996, "kind"]),
    "pandas": lines([0, 1, 2, 3], *SIGNALS.T, LABELS, names=["", 0, 1, 2, "y"]),
    "shuffled": lines([9, 7, 3, 2], *SIGNALS.T, LABELS, names=["", 0, 1, 2, "y"]),
    "id": lines([9, 7, 3, 2], *SIGNALS.T, LABELS, names=["ID", *"abc", "y"]),
    "numbered lines": lines([1, 2, 3, 4], *SIGNALS.T, LABELS),
    "dates": lines(["2024-01-31"] * 4, *SIGNALS.T, LABELS),
    "named signals": lines("pqrs", *SIGNALS.T, LABELS, names=["who", *"abc", "y"]),
    "index and dates": lines(range(4), ["1.2.24"] * 4, *SIGNALS.T, LABELS),
    "named in the middle": lines(
        SIGNALS[:, 0], LABELS, *SIGNALS[:, 1:].T, names=["a", "Class", "b", "c"]
    ),
    "tabs": lines(*SIGNALS.T, LABELS, mark="\t"),
    "spaces": lines(*SIGNALS.T, LABELS, mark="   ") + "  ",
    "spaced": lines(*SIGNALS.T, LABELS, mark=", "),
    "byte order mark": "\ufeff" + lines(*SIGNALS.T, LABELS),
    "empty lines": "\n" + lines(*SIGNALS.T, LABELS).replace("\n", "\n\n,,,\n"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_as_people_have_them(name, tmp_path, capsys):
    X, y, *_ = read(save(tmp_path / "x.csv", TABLES[name]))
    np.testing.assert_array_equal(X, SIGNALS[:, None])
    is_numbers = name in ("numbers for all", "wavelengths")
    assert list(y) == ([0, 1, 0, 1] if is_numbers else LABELS)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert ("left out" in said) == (
        name in ("pandas", "shuffled", "id", "numbered lines", "dates")
        or name in ("named signals", "index and dates")
    )
    assert ("no column names" in said) == ("names of columns in line" not in said)


@pytest.mark.parametrize("label", ["0", "-4", "kind"])
def test_the_label_may_come_first(label, tmp_path):
    names = ["kind", *"abc"] if label == "kind" else None
    path = save(tmp_path / "x.tsv", lines(LABELS, *SIGNALS.T, names=names, mark="\t"))
    X, y, *_ = read(path, label)
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == LABELS


def test_labels_that_are_numbers_and_come_first(tmp_path):
    path = save(tmp_path / "x.txt", lines([1.0, 2.0, 1.0, 2.0], *SIGNALS.T, mark="  "))
    X, y, *_ = read(path, "0")
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == [1, 2, 1, 2]


def test_a_name_that_is_a_number_is_a_name_first(tmp_path):
    """Column 3 of a frame is its fourth, though it is the fifth of the file."""
    frame = lines(range(4), *SIGNALS.T, LABELS, names=["", 0, 1, 2, 3])
    X, y, *_ = read(save(tmp_path / "x.csv", frame), "3")
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == LABELS


RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
MANY = np.sin(np.outer(1 + Y, np.arange(12) / 2)) + RNG.normal(0, 0.1, (40, 12))
KINDS = np.array(["walk", "run"])[Y]


def check(path, signals=MANY, y=KINDS, **options):
    """The file is read as these; what else there was is returned."""
    table = read(path, **options)
    expected = signals.reshape(len(signals), -1, signals.shape[-1])
    np.testing.assert_allclose(table.X, expected, rtol=1e-13)
    if y is None:
        assert table.y is None
    else:
        assert as_list(table.y) == as_list(y)
    return table


def as_list(labels):
    return [None if label != label else label for label in labels]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"index": False},
        {"index": False, "header": False},
        {"sep": ";", "decimal": ",", "index": False},
        {"sep": "\t", "decimal": ","},
        {"sep": "|", "index": False},
        {"sep": " ", "index": False, "header": False},
        {"quoting": 1},
        {"encoding": "utf-16"},
        {"encoding": "utf-8-sig", "lineterminator": "\r\n"},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["csv", "data", "TXT.gz"])
def test_texts_that_pandas_writes(options, suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    compression = "gzip" if suffix.endswith("gz") else None
    frame = pd.DataFrame(MANY).add_prefix("t").assign(kind=KINDS)
    frame.to_csv(path, compression=compression, **options)
    check(path)


@pytest.mark.parametrize("compression", ["bz2", "xz", "zip"])
def test_compressed_texts(compression, tmp_path):
    path = tmp_path / f"x.csv.{compression}"
    pd.DataFrame(MANY).assign(kind=KINDS).to_csv(path, index=False)
    check(path)


def test_numpy_writes_what_ucr_has(tmp_path, capsys):
    """The label in front, -1 or 1; no names."""
    y = np.where(Y, 1, -1)
    np.savetxt(
        tmp_path / "ECG200_TRAIN.tsv", np.column_stack([y, MANY]), delimiter="\t"
    )
    check(tmp_path / "ECG200_TRAIN.tsv", y=y)
    np.savetxt(tmp_path / "ECG200_TRAIN", np.column_stack([y, MANY]), fmt="  %.16e")
    check(tmp_path / "ECG200_TRAIN", y=y)
    assert capsys.readouterr().out.count("labels in column 0 (--label none if") == 2
    np.savetxt(tmp_path / "x.csv", MANY, delimiter=",", header="fs = 100, volts")
    check(tmp_path / "x.csv", y=None)
    assert "1 line(s) of text above left out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["sample", None])
@pytest.mark.parametrize("order", [1, -1])
def test_a_header_of_uneven_wavelengths(order, name, tmp_path):
    waves = (1100 + np.cumsum(RNG.uniform(0.3, 2, 12)))[::order].round(1)
    frame = pd.DataFrame(MANY, columns=waves)
    if name:
        frame.insert(0, name, [f"S{i}" for i in range(40)])
    frame.assign(grade=KINDS).to_csv(tmp_path / "x.csv", index=False)
    table = check(tmp_path / "x.csv")
    assert table.index[3] == ("S3" if name else 3)


@pytest.mark.parametrize("first", [0, 1])
def test_steps_are_a_header_where_the_label_is_named_as_a_class(first, tmp_path):
    frame = pd.DataFrame(MANY, columns=range(first, first + 12))
    frame.insert(0, "day", pd.date_range("2024-01-01", periods=40).astype(str))
    frame["walk"] = KINDS
    frame.to_csv(tmp_path / "days.csv", index=False)
    check(tmp_path / "days.csv")


def test_a_decay_is_no_header(tmp_path):
    """All lines fall, so that the first of them is a signal."""
    decays = np.exp(-np.arange(12) / 4) * RNG.uniform(1, 2, (40, 1)) + 0.1
    pd.DataFrame(decays).assign(y=Y).to_csv(tmp_path / "x", index=False, header=False)
    check(tmp_path / "x", decays, Y)


def german(value, n_decimals=0):
    text = f"{value:,.{n_decimals}f}"
    return text.translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize("n_decimals", [0, 2])
@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("names", [True, False])
def test_points_for_thousands(n_decimals, flag, names, tmp_path):
    W = (1100 + 300 * MANY).round(n_decimals)
    head = ["Zähler", *(f"{h:02d}:00" for h in range(12)), "Klasse"]
    rows = [head] * names + [
        [f"Z{i}", *(german(v, n_decimals) for v in w), kind]
        for i, (w, kind) in enumerate(zip(W, KINDS, strict=True))
    ]
    text = "\n".join(map(";".join, rows))
    (tmp_path / "x.csv").write_text(text, encoding="cp1252")
    assert W.max() > 1000 > W.min()
    check(tmp_path / "x.csv", W, decimal_comma=flag)


@pytest.mark.parametrize("mark", [",", "'", " "])
def test_other_marks_of_thousands(mark, tmp_path):
    W = (1100 + 300 * MANY).round(2)
    rows = [
        [*(f"{v:,.2f}".replace(",", mark) for v in w), kind]
        for w, kind in zip(W, KINDS, strict=True)
    ]
    check(save(tmp_path / "x.csv", "\n".join(map("\t".join, rows))), W)


def test_three_decimals_alone_are_told(tmp_path, capsys):
    """Thousands, if the flag says so."""
    W = RNG.uniform(1.1, 9, (40, 5)).round(3)
    rows = [";".join([*(f"{v:.3f}" for v in w), "ab"[i % 2]]) for i, w in enumerate(W)]
    path = save(tmp_path / "x.csv", "\n".join(rows))
    labels = np.array(["a", "b"])[Y]
    check(path, W, labels)
    assert "(--decimal-comma reads it as 1234)" in capsys.readouterr().out
    check(path, 1000 * W, labels, decimal_comma=True)


@pytest.mark.parametrize(
    "na", ["NA", "", "NaN", "null", "None", "?", "#N/A", "-", "#NV"]
)
def test_missing_values(na, tmp_path, capsys):
    X = np.where(RNG.random(MANY.shape) < 0.2, np.nan, MANY)
    X[:, 0] = MANY[:, 0]
    frame = pd.DataFrame(X).add_prefix("t").assign(site=KINDS, kind=KINDS)
    if na != "-":  # a class beside +
        frame.loc[::5, ["site", "kind"]] = None
    frame.to_csv(tmp_path / "x.csv", na_rep=na, index=False)
    expected = frame["kind"].astype(object).where(frame["kind"].notna(), np.nan)
    table = check(tmp_path / "x.csv", X, expected, groups="site")
    assert as_list(table.groups) == as_list(expected)
    n_missing = np.isnan(X).sum()
    assert f"{n_missing} of 480 values missing" in capsys.readouterr().out


def test_dashes_are_a_class_beside_plus(tmp_path):
    y = np.array(["+", "-"])[Y]
    pd.DataFrame(MANY).assign(y=y).to_csv(tmp_path / "x.csv", index=False)
    check(tmp_path / "x.csv", y=y)


def test_exports_of_r(tmp_path, capsys):
    """Names of rows in front, of which write.table has no name; quoted texts; NA."""
    X = MANY.copy()
    X[3, 4] = np.nan
    body = [
        [f'"{i + 1}"', *("NA" if v != v else repr(float(v)) for v in x), f'"{kind}"']
        for i, (x, kind) in enumerate(zip(X, KINDS, strict=True))
    ]
    names = [*(f'"V{i}"' for i in range(12)), '"kind"']
    for head, mark in (([*['""'], *names], ","), (names, " "), (names, "\t")):
        text = "\n".join(mark.join(row) for row in [head, *body])
        table = check(save(tmp_path / "x", text), X)
        assert table.index[4] == 5
        assert "names of columns in line 1; labels in column 13 ('kind')" in (
            capsys.readouterr().out
        )


@pytest.mark.parametrize(
    "ids",
    [
        [f"{i // 7}_{i % 7 + 10}" for i in range(40)],
        [f"{10 + i}e{i % 5}" for i in range(40)],
        [f"{i:05d}" for i in range(40)],
        RNG.permutation(90_000)[:40] + 10_000,
        [20240101 + i % 28 + 100 * (i // 28) for i in range(40)],
        range(1, 41),
        [f"{i % 28 + 1:02d}.01.2024" for i in range(40)],
    ],
    ids=lambda ids: str(ids[0]),
)
def test_ids_in_front_are_the_index(ids, tmp_path, capsys):
    frame = pd.DataFrame(MANY).assign(kind=KINDS)
    frame.insert(0, "", ids)
    frame.to_csv(tmp_path / "x.csv", index=False, header=False)
    table = check(tmp_path / "x.csv")
    assert list(table.index) == list(ids)
    assert "column 0 left out, " in capsys.readouterr().out


def test_ids_stay_with_their_signals_beside_an_empty_one(tmp_path):
    frame = pd.DataFrame(MANY).assign(kind=KINDS)
    frame.insert(0, "meter", np.arange(40) + 500)
    frame.loc[3, range(12)] = np.nan
    frame.to_csv(tmp_path / "x.csv", index=False)
    is_kept = np.arange(40) != 3
    table = check(tmp_path / "x.csv", MANY[is_kept], np.array(KINDS)[is_kept])
    assert list(table.index) == list(frame["meter"][is_kept])


def test_a_named_index_of_whole_numbers_stays_beside_other_columns(tmp_path):
    frame = pd.DataFrame(MANY, columns=[f"t{i}" for i in range(12)])
    frame.index = pd.RangeIndex(500, 540, name="meter")
    frame.insert(0, "day", pd.date_range("2024-01-01", periods=40))
    frame.to_parquet(tmp_path / "x.parquet")
    assert check(tmp_path / "x.parquet", MANY, None).index.equals(frame.index)


def test_days_of_meters_without_labels(tmp_path):
    """Customer and date in front, with names of columns or without."""
    frame = pd.DataFrame(MANY, columns=[f"{h:02d}:00" for h in range(12)])
    frame.insert(0, "Date", [f"2024-01-{i % 28 + 1:02d}" for i in range(40)])
    frame.insert(0, "Meter", 1000 + np.arange(40) // 5)
    for names in (True, False):
        frame.to_csv(tmp_path / "x.csv", index=False, header=names)
        table = check(tmp_path / "x.csv", y=None, label=None if names else "none")
        assert table.index[6] == (1001, "2024-01-07")


def test_whole_numbers_of_the_signals_are_kept(tmp_path):
    X = RNG.integers(0, 500, (40, 12)).astype(float)
    path = tmp_path / "x.csv"
    pd.DataFrame(X).assign(kind=KINDS).to_csv(path, index=False, header=False)
    check(path, X)


def test_columns_out_of_order_are_told(tmp_path, capsys):
    frame = pd.DataFrame(MANY).add_prefix("t")
    frame.assign(y=KINDS).to_csv(tmp_path / "x.csv")
    check(tmp_path / "x.csv")
    assert "out of order" not in capsys.readouterr().out
    order = np.argsort(frame.columns)
    frame.iloc[:, order].assign(y=KINDS).to_csv(tmp_path / "x.csv")
    check(tmp_path / "x.csv", MANY[:, order])
    assert "they are out of order" in capsys.readouterr().out


UNEQUAL = [MANY[i, : 12 - i % 3] for i in range(40)]
PADDED = np.array([[*x, *[np.nan] * (12 - len(x))] for x in UNEQUAL])
CHANNELS = np.stack([MANY, 2 * MANY], axis=1)


@pytest.mark.parametrize("kind", [".parquet", ".feather"])
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"signal": list(MANY)}, MANY),
        ({"signal": UNEQUAL}, PADDED),
        ({"signal": [x.tolist() for x in CHANNELS]}, CHANNELS),
        ({"ax": list(MANY), "ay": list(2 * MANY)}, CHANNELS),
        ({f"{h:02d}:00": MANY[:, h] for h in range(12)}, MANY),
    ],
    ids=["cells", "unequal", "channels in cells", "columns of cells", "columns"],
)
def test_frames_of_arrow(kind, columns, expected, tmp_path):
    path = tmp_path / f"x{kind}"
    frame = pd.DataFrame({"meter": np.arange(40) // 4, **columns, "activity": KINDS})
    getattr(frame, f"to_{kind[1:]}")(path)
    table = check(path, expected)
    assert table.index.name == "meter"
    frame = frame.drop(columns="activity").assign(glucose=MANY.sum(axis=1))
    getattr(frame, f"to_{kind[1:]}")(path)
    check(path, expected, frame["glucose"])
    getattr(frame.drop(columns="glucose"), f"to_{kind[1:]}")(path)
    check(path, expected, None)


def test_the_index_of_parquet_is_none_of_the_signals(tmp_path):
    index = pd.MultiIndex.from_product([range(10), list("abcd")], names=["m", "w"])
    frame = pd.DataFrame(MANY, index=index).rename(columns=str).assign(y=Y)
    frame.to_parquet(tmp_path / "x.parquet")
    table = check(tmp_path / "x.parquet", y=Y)
    pd.testing.assert_index_equal(table.index, index)


def test_nullable_and_decimal_columns(tmp_path):
    frame = pd.DataFrame(MANY.round(3)).rename(columns=str)
    frame["0"] = frame["0"].astype("Float64").mask(Y == 1)
    frame["1"] = [Decimal(str(v)) for v in frame["1"]]
    frame = frame.assign(y=pd.Categorical(KINDS))
    frame.to_parquet(tmp_path / "x.parquet")
    expected = MANY.round(3)
    expected[Y == 1, 0] = np.nan
    check(tmp_path / "x.parquet", expected)


@pytest.mark.parametrize("signals", [MANY, CHANNELS], ids=["2-D", "3-D"])
def test_arrays(signals, tmp_path):
    path = tmp_path / "x.npz"
    for y in (Y, KINDS, KINDS.astype("S")):
        np.savez(path, X=signals, y=y, groups=Y, fs=100.0)
        table = check(path, signals, y.astype(str) if y is not Y else Y)
        np.testing.assert_array_equal(table.groups, Y)
    np.savez(path, X=signals)
    check(path, signals, None)
    np.save(tmp_path / "x.npy", signals)
    check(tmp_path / "x.npy", signals, None)
    np.savez(path, X=signals, kind=KINDS, site=Y)
    check(path, signals, label="kind")
    scipy.io.savemat(tmp_path / "x.mat", {"X": signals, "y": Y, "fs": 100.0})
    check(tmp_path / "x.mat", signals, Y)


def test_cells_of_matlab(tmp_path):
    cells = np.empty(40, object)
    cells[:] = UNEQUAL
    names = KINDS.astype(object)
    scipy.io.savemat(tmp_path / "x.mat", {"data": cells, "label": names})
    check(tmp_path / "x.mat", PADDED)


def test_arff(tmp_path):
    attributes = [f"@attribute t{i} numeric" for i in range(12)]
    head = ["@relation x", *attributes, "@attribute target {run,walk}", "@data"]
    X = MANY.copy()
    X[2, 3] = np.nan
    body = [
        ",".join([*("?" if v != v else repr(float(v)) for v in x), kind])
        for x, kind in zip(X, KINDS, strict=True)
    ]
    check(save(tmp_path / "x.arff", "\n".join(head + body)), X)
    head = ["@relation x", "@attribute r relational", *attributes, "@end r"]
    head += ["@attribute kind {run,walk}", "@data"]
    body = [
        "'" + "\\n".join(",".join(map(repr, c)) for c in x.tolist()) + f"',{kind}"
        for x, kind in zip(CHANNELS, KINDS, strict=True)
    ]
    check(save(tmp_path / "x.arff", "\n".join(head + body)), CHANNELS)


def test_ts_without_labels(tmp_path):
    pytest.importorskip("aeon")
    header = (
        "@problemName x\n@timeStamps false\n@missing false\n@univariate true\n"
        "@equalLength true\n@seriesLength 3\n@classLabel false\n@data\n"
    )
    X, y, *_ = read(save(tmp_path / "x.ts", header + "1,2,3\n4,5,6\n"))
    assert (X[:, 0].tolist(), y) == ([[1, 2, 3], [4, 5, 6]], None)


def test_ts_of_unequal_lengths_ends_in_gaps(tmp_path):
    pytest.importorskip("aeon")
    header = (
        "@problemName x\n@timeStamps false\n@missing true\n@univariate false\n"
        "@dimensions 2\n@equalLength false\n@classLabel true run walk\n@data\n"
    )
    path = save(tmp_path / "x.ts", header + "1,2,3:4,5,?:walk\n6,7:8,9:run\n")
    X, y, *_ = read(path)
    nan = np.nan
    expected = [[[1, 2, 3], [4, 5, nan]], [[6, 7, nan], [8, 9, nan]]]
    np.testing.assert_array_equal(X, expected)
    assert list(y) == ["walk", "run"]


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        ({"total": MANY.sum(1), "remark": "-"}, "--label total, or --label none"),
        ({"kind of": KINDS, "site": KINDS}, "--label 'kind of' or --label site"),
        ({"-x": KINDS, "site": KINDS, "one": 1}, "--label 12 or --label site, or"),
        ({"kind": KINDS, "id2": range(40), "who": 1}, None),
    ],
)
def test_hints_can_be_followed(columns, hint, tmp_path):
    frame = pd.DataFrame(MANY).add_prefix("t").assign(**columns)
    frame.to_csv(tmp_path / "x.csv", index=False)
    if hint is None:
        check(tmp_path / "x.csv", np.column_stack([MANY, range(40)]))
        return
    with pytest.raises(SystemExit, match=re.escape(hint)):
        read(tmp_path / "x.csv")
    check(tmp_path / "x.csv", y=None, label="none")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xlsx", "", r"not read. Expected a text .*Save the signals as one of these"),
        ("x.csv", b"\x00\x01\x02", "not a text file. Expected UTF-8"),
        ("x.csv", "", "no signals. Expected a signal in each line"),
        ("x.csv", "1,2,a\n1,a\n", "line 2 has 2 columns, line 1 has 3"),
        ("x.csv", "1,2,a\n" * 150 + "1,2\n", "line 151 has 2 columns, line 1 has 3"),
        (
            "x.csv",
            "1,2,a\n" * 150 + "1,2,3,a\n",
            "line 151 has 4 columns, line 1",
        ),
        ("x.csv", "1\n2\n", "line 1 has one cell.*commas, semicolons, tabs or spaces"),
        ("x.csv", "1,2,a\n1,2,b\n1,z,b\n", "line 3 holds 'z' in column 1. Expected a"),
        ("x.csv", "t0,t1,c\n\n1,2,a\n1,2,a\n1,z,b\n", "line 5 holds 'z' in .*'t1'"),
        ("x.csv", "12 %,1 %,a\n13 %,2 %,b\n", "line 1 holds '12 %' in column 0"),
        ("x.csv", "1,5;2,5;a\n1,5;3,5;a\n1,5;#DIV/0!;b\n", "holds '#DIV/0!'"),
        ("x.csv", "1,nan,a\n2,-inf,b\n", "line 2 holds infinity"),
        ("x.csv", "a,1.5\nb,2.5\n", "2 signals of 1 values.*each line is a reading"),
        ("x.csv", "id,y\n7,a\n9,b\n", "no column of signals beside column 0 .'id'"),
        ("x.npz", {"X": [[1.0, 2], [3, np.inf]]}, "row 1 holds infinity"),
        ("x.npz", {"X": [["a"]], "y": [0]}, "dtype <U1"),
        ("x.npz", {"X": 1.0, "y": [0]}, r"X has shape \(\)"),
        ("x.npz", "nonsense", "x.npz.*numpy.savez"),
        ("x.npz", {"X": np.eye(2), "y": np.array(["a", 1], object)}, r"astype\(str\)"),
        ("x.npz", {"A": np.ones(3)}, "no array X, only .'A'"),
        ("x.npz", {"X": np.ones((3, 2)), "y": np.ones(4)}, r"but y has shape \(4,\)"),
        ("x.ts", "nonsense", "x.ts: "),
        ("x.parquet", "nonsense", "x.parquet: "),
        ("x.mat", "nonsense", "x.mat: "),
        ("x.arff", "nonsense", "x.arff: "),
        ("x.csv.gz", "nonsense", "x.csv.gz: "),
        (
            "x.csv.gz",
            gzip.compress(b"1,2,a\n" * 99, mtime=0)[:-9],
            "x.csv.gz: .gz is not read",
        ),
        ("x.csv.xz", b"1,2,a\n", "x.csv.xz: .xz is not read"),
        ("x.csv", 't0,t1,y\n1,2,a\n3,4,"b\n5,6,a\n', "quotation mark is not closed"),
        ("x.csv", "t0,t1,y\n", "no signals below the names of columns"),
        (
            "x.npz",
            {"X": np.eye(2), "y": np.eye(2)},
            r"y.argmax\(axis=1\)\. If .* several",
        ),
        ("x.npz", {"X_train": np.eye(2), "X_test": np.eye(2)}, "numpy.concatenate"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
    with pytest.raises(SystemExit, match=message):
        read(path)


ROWS = lines(*MANY.T.tolist(), KINDS).split("\n")
NAMES = ",".join([*(f"t{i}" for i in range(12)), "kind"])


@pytest.mark.parametrize("marks", [",", ",,", ", ,"])
@pytest.mark.parametrize("head", [[], [NAMES], [NAMES + ","]])
def test_marks_at_the_end_of_lines_are_no_column(head, marks, tmp_path, capsys):
    body = [row + marks for row in ROWS]
    check(save(tmp_path / "x.csv", "\n".join(head + body)))
    said = "labels in column 12 ('kind')" if head else "labels in column 12 ("
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u202f"])
def test_typographic_marks_are_as_plain_ones(space, tmp_path):
    W = (1100 + 300 * MANY).round(2) * np.where(Y, 1, -1)[:, None]
    text = "\n".join(
        ";".join([*(f"{v:,.2f}".replace(",", space) for v in w), kind])
        for w, kind in zip(W, KINDS, strict=True)
    )
    check(save(tmp_path / "x.csv", text.replace("-", "\u2212")), W)


@pytest.mark.parametrize(
    ("form", "cell"),
    [
        (lambda v: f"({-v:.3f})" if v < 0 else f"{v:.3f}", r"\(\d\.\d+\)"),
        (lambda v: f"{abs(v):.3f}-", r"\d\.\d+-"),
        (lambda v: f"{v:.2f}%", r"\S+%"),
        (lambda v: f"${abs(v):.2f}", r"\$\S+"),
        (lambda v: f"{v:.3e}".replace("e", "D"), r"\S+D[+-]\d+"),
    ],
)
def test_the_cell_that_is_no_number_is_named(form, cell, tmp_path):
    body = [
        ",".join(map(form, row)) + f",{k}" for row, k in zip(MANY, KINDS, strict=True)
    ]
    path = save(tmp_path / "x.csv", "\n".join([NAMES, *body]))
    with pytest.raises(SystemExit, match=rf"line \d+ holds '{cell}' in column"):
        read(path)


def test_units_below_the_names_are_named(tmp_path):
    path = save(tmp_path / "x.csv", "\n".join([NAMES, "mV," * 12, *ROWS]))
    with pytest.raises(SystemExit, match=r"line 2 holds 'mV' in column 0 \('t0'\)"):
        read(path)


def test_ramps_are_no_header(tmp_path):
    ramps = np.outer(RNG.uniform(1, 2, 40), np.arange(12)).round(4)
    np.savetxt(tmp_path / "x.csv", ramps, delimiter=",")
    check(tmp_path / "x.csv", ramps, None)


def test_three_decimals_after_a_comma(tmp_path):
    """And names that are whole numbers beside three decimals tell nothing."""
    W = RNG.uniform(10, 90, (40, 12)).round(3)
    frame = pd.DataFrame(W)
    for decimal in ".,":
        for header in (True, False):
            options = {"sep": ";", "decimal": decimal, "float_format": "%.3f"}
            frame.to_csv(tmp_path / "x.csv", header=header, index=False, **options)
            check(tmp_path / "x.csv", W, None)


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("names", [None, ["channel", "time"]])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_two_levels_of_names_are_channels(kind, names, index, tmp_path):
    columns = pd.MultiIndex.from_product([["ax", "ay"], range(12)], names=names)
    frame = pd.DataFrame(CHANNELS.reshape(40, -1), columns=columns)
    frame.index.name = "who" if names else None
    if kind == "csv":
        frame.to_csv(tmp_path / "x.csv", index=index)
    else:
        frame.to_parquet(tmp_path / "x.parquet", index=index)
    check(tmp_path / f"x.{kind}", CHANNELS, None)


def test_a_title_above_the_table(tmp_path):
    text = "\n".join(["Export of 2024" + "," * 12, "," * 12, NAMES, *ROWS])
    check(save(tmp_path / "x.csv", text))


def test_meters_by_their_names_are_no_labels(tmp_path, capsys):
    frame = pd.DataFrame(MANY, columns=[f"{h:02d}:00" for h in range(12)])
    for name in ("meter_id", "Sensor No", "customerid"):
        frame.assign(**{name: 100_000 + np.arange(40) // 8}).to_csv(
            tmp_path / "x.csv", index=False
        )
        check(tmp_path / "x.csv", y=None)
    frame.assign(which=KINDS).to_csv(tmp_path / "x.csv", index=False)
    capsys.readouterr()
    check(tmp_path / "x.csv")
    assert "(--label none if these are none)" in capsys.readouterr().out


def test_counts_alone_have_no_label_of_their_own(tmp_path):
    np.savetxt(tmp_path / "x.csv", RNG.poisson(0.5, (40, 12)), "%d", delimiter=",")
    with pytest.raises(SystemExit, match="or --label none if there are no labels"):
        read(tmp_path / "x.csv")


def test_a_file_of_one_reading_a_line_is_led_to_the_pivot(tmp_path):
    for time, more in (("12:00", ""), ("2024-01-01T12:00", ""), ("2024-01-01", ",2,3")):
        body = f"M1,{time},0.5{more}\nM2,{time},1.5{more}\n" * 9
        names = "meter,time,kWh" + ",a,b" * bool(more)
        path = save(tmp_path / "x.csv", f"{names}\n{body}")
        with pytest.raises(SystemExit, match=r"(?i)pivot"):
            read(path)


@pytest.mark.parametrize("classes", [["-1", "1"], ["-1", "0", "1"]])
def test_minus_one_among_texts_of_numbers_is_a_class(classes, tmp_path):
    y = np.array(classes)[np.arange(40) % len(classes)]
    np.savez(tmp_path / "x.npz", X=MANY, y=y)
    check(tmp_path / "x.npz", y=y)
    pd.DataFrame({"x": list(MANY), "y": y}).to_parquet(tmp_path / "x.parquet")
    check(tmp_path / "x.parquet", y=y)
    np.savez(tmp_path / "x.npz", X=MANY, y=np.where(Y, "a", "-1"))
    assert read(tmp_path / "x.npz").y.isna().tolist() == (Y == 0).tolist()


def test_labels_with_decimals_are_a_regression(tmp_path):
    """Few or many, as StratifiedKFold refuses them as classes."""
    for values in ([0.5, 1.0], [0, 0.5, 1, 1.5]):
        y = np.resize(values, 40)
        pd.DataFrame(MANY).assign(y=y).to_csv(tmp_path / "x.csv", index=False)
        assert load(tmp_path / "x.csv").task == "numbers"
    pd.DataFrame(MANY).assign(y=Y + 1.0).to_csv(tmp_path / "x.csv", index=False)
    assert load(tmp_path / "x.csv").task == "labels"


def test_cells_that_arrow_knows(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(CHANNELS)
    structs = pa.array([{"array": x.tolist(), "rate": 16_000} for x in MANY])
    for cells, expected in ((tensors, CHANNELS), (structs, MANY)):
        table = pa.table({"x": cells, "label": KINDS})
        parquet.write_table(table, tmp_path / "x.parquet")
        check(tmp_path / "x.parquet", expected)


def test_times_in_cells_are_no_channel(tmp_path, capsys):
    times = [np.arange(len(x)) / 10 for x in UNEQUAL]
    frame = pd.DataFrame({"time": times, "x": UNEQUAL, "label": KINDS})
    frame.to_parquet(tmp_path / "x.parquet")
    check(tmp_path / "x.parquet", PADDED)
    assert "('time') left out, the same rising values" in capsys.readouterr().out


def test_labels_in_a_stored_index(tmp_path):
    index = pd.MultiIndex.from_arrays([np.arange(40), KINDS], names=["who", "Label"])
    frame = pd.DataFrame(MANY, index=index).add_prefix("t")
    frame.to_parquet(tmp_path / "x.parquet")
    assert check(tmp_path / "x.parquet").index.name == "who"
    check(tmp_path / "x.parquet", label="label")


def test_arrays_of_other_shapes_are_told(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", X=MANY, y=KINDS, wavelengths=np.arange(12.0))
    check(tmp_path / "x.npz")
    assert "wavelengths of shape (12,) left out" in capsys.readouterr().out


def test_lists_in_messages_are_short(tmp_path, capsys):
    names = [f"remark{'x' * i}" for i in range(99)]
    frame = pd.DataFrame(MANY).add_prefix("t").assign(**dict.fromkeys(names, "so"))
    frame.assign(y=KINDS).to_csv(tmp_path / "x.csv", index=False)
    path = save(tmp_path / "z.csv", ",".join(names) + "\n" + ",".join(["a b"] * 99))
    check(tmp_path / "x.csv")
    assert len(capsys.readouterr().out) < 900
    with pytest.raises(SystemExit) as error:
        read(path)
    assert len(str(error.value)) < 500


def test_signals_without_a_value_are_left_out(tmp_path, capsys):
    path = save(tmp_path / "x.csv", "t0,t1,c\n1,2,a\n,NA,b\n3,4,b\n")
    X, y, *_ = read(path)
    assert X.tolist() == [[[1, 2]], [[3, 4]]]
    assert list(y) == ["a", "b"]
    said = "1 signals without a value left out, first line 3"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("x.parquet", "pyarrow", "pip install pyarrow"),
        ("x.ts", "aeon.datasets", "pip install aeon"),
    ],
)
def test_what_to_install_is_said(name, module, message, tmp_path, monkeypatch):
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("label", ["kind", "4", "-5"])
def test_a_label_that_is_no_column_is_refused(label, tmp_path):
    path = save(tmp_path / "x.csv", TABLES["plain"])
    with pytest.raises(SystemExit, match=f"no column '{label}' for --label"):
        read(path, label)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="No such file"):
        read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("meters", ["7 7 9", "M7 M7 M9"])
@pytest.mark.parametrize("stem", ["", "t", "Mon ", "kWh_Tue_"])
def test_columns_that_are_no_part_of_a_signal_are_told_by_names(
    meters, stem, tmp_path, capsys
):
    """As of a meter and its week, which come again, before columns of times."""
    path = tmp_path / "x.csv"
    times = [f"{stem}{hour}" for hour in ("00:00", "00:30", "01:00")]
    times += ["Sun 0:00", "Sun 0:30", "Sun 1:00", "Sun 1:30"]
    table = [",".join(["meter", "week", *times, "total", "remark", "class"])]
    for meter, week, kind in zip(meters.split(), (1, 2, 1), "aba", strict=True):
        table.append(f"{meter},{week},{week},5,6,7,8,9,1,99,-,{kind}")
    path.write_text("\n".join(table))
    X, y, *_ = read(path)
    assert X.shape == (3, 1, 7)
    np.testing.assert_array_equal(X[:, 0, 0], [1, 2, 1])
    np.testing.assert_array_equal(X[:, 0, -1], [1, 1, 1])
    assert list(y) == ["a", "b", "a"]
    said = capsys.readouterr().out
    for name in ("meter", "week", "total", "remark"):
        assert f"'{name}') left out, no number in its name, unlike most" in said


@pytest.mark.parametrize("groups", ["meter", "1"])
def test_groups_are_a_column_and_no_signal(groups, tmp_path, capsys):
    text = lines(LABELS, [7, 7, 9, 9], *SIGNALS.T, names=["kind", "meter", *"abc"])
    X, y, found, *_ = read(save(tmp_path / "x.csv", text), "kind", groups=groups)
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert (list(y), list(found)) == (LABELS, [7, 7, 9, 9])
    assert "groups in column 1 ('meter')" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"column 1 \('meter'\) for both --label and"):
        read(tmp_path / "x.csv", "1", groups="1")


def test_the_last_column_is_the_label_unless_it_is_the_group(tmp_path):
    text = lines(*SIGNALS.T, LABELS, [7, 7, 9, 9], names=["a", "b", "c", "kind", "m"])
    X, y, groups, *_ = read(save(tmp_path / "x.csv", text), groups="m")
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert (list(y), list(groups)) == (LABELS, [7, 7, 9, 9])


def test_a_name_of_the_group_is_one_of_line_1(tmp_path):
    """Whose names alone tell nothing: as texts above texts."""
    text = lines("ppqq", *SIGNALS.T, [0, 1, 0, 1], names=["m", 7, 1, 2, 9])
    X, *_ = read(save(tmp_path / "x.csv", text), "9", groups="m")
    np.testing.assert_array_equal(X[:, 0], SIGNALS)


@pytest.mark.parametrize(
    "names",
    [
        ["kWh", "kWh.1", "kWh.2", "kWh.3"],
        ["0.0", "5e-05", "0.0001", "0.00015"],
        ["11 AM", "12 PM", "1 PM", "2 PM"],
        ["1 min", "2 mins", "3 mins", "4 mins"],
        ["left", "right", "top", "low1"],
    ],
)
def test_columns_of_a_signal_are_not_left_out(names, tmp_path):
    text = lines(*SIGNALS.T, SIGNALS[:, 0] + 1, LABELS, names=[*names, "kind"])
    assert read(save(tmp_path / "x.csv", text))[0].shape == (4, 1, 4)


def test_texts_in_front_may_be_the_labels_unless_these_are_known(tmp_path):
    path = save(tmp_path / "x.csv", "a,1,2,0\nb,3,4,1\na,5,6,1\n")
    with pytest.raises(SystemExit, match="--label 3 or --label 0, or"):
        read(path)
    assert read(path, "3")[0].shape == (3, 1, 2)
    path.write_text("site,p,q,class\na,1,2,0\nb,3,4,1\na,5,6,1\n")
    assert read(path)[0].shape == (3, 1, 2)


def test_spectra_in_columns_are_told_to_be_transposed(tmp_path):
    """As spectrometers export them: wavelengths down the first column."""
    frame = pd.DataFrame(MANY.T[:, :9]).add_prefix("s")
    frame.insert(0, "wavelength", np.linspace(400.5, 700.5, len(frame)))
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(
        SystemExit, match=r"column is a signal, transpose the table first\."
    ):
        read(tmp_path / "x.csv")
