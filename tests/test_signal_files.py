"""Files of signals as people have them, and what is said of those of no use."""

import sys

import numpy as np
import pytest

from skvae.signal_files import read, to_number

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
    X, y, _ = read(save(tmp_path / "x.csv", TABLES[name]))
    np.testing.assert_array_equal(X, SIGNALS[:, None])
    expected = "0101" if name in ("numbers for all", "wavelengths") else LABELS
    assert list(y) == list(expected)
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
    X, y, _ = read(path, label)
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == LABELS


def test_labels_that_are_numbers_and_come_first(tmp_path):
    path = save(tmp_path / "x.txt", lines([1.0, 2.0, 1.0, 2.0], *SIGNALS.T, mark="  "))
    X, y, _ = read(path, "0")
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == ["1.0", "2.0", "1.0", "2.0"]


def test_a_name_that_is_a_number_is_a_name_first(tmp_path):
    """Column 3 of a frame is its fourth, though it is the fifth of the file."""
    frame = lines(range(4), *SIGNALS.T, LABELS, names=["", 0, 1, 2, 3])
    X, y, _ = read(save(tmp_path / "x.csv", frame), "3")
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == LABELS


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("names", [None, ["t,0", "t,1", "t,2", "kind"]])
def test_decimal_commas(mark, names, tmp_path):
    text = lines(*SIGNALS.T, LABELS, names=names, mark=mark).replace(".", ",")
    X, y, _ = read(save(tmp_path / "x.csv", text), decimal_comma=True)
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == LABELS


def test_a_text_among_decimal_commas_is_told_so(tmp_path):
    path = save(tmp_path / "x.csv", "1,5;2,5;a\n1,5;#DIV/0!;b\n")
    with pytest.raises(SystemExit, match="with a decimal comma"):
        read(path, decimal_comma=True)


def test_a_first_signal_that_counts_is_a_signal(tmp_path):
    """Its label comes again, as no name of a column does."""
    path = save(tmp_path / "x.CSV", "0,1,2,a\n5,5,5,a\n3,2,1,b\n")
    assert read(path)[0][:, 0].tolist() == [[0, 1, 2], [5, 5, 5], [3, 2, 1]]


def test_labels_may_be_texts_and_numbers(tmp_path):
    path = save(tmp_path / "x.csv", lines(*SIGNALS.T, ["walk", 1, 2, "walk"]))
    X, y, _ = read(path)
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert list(y) == ["walk", "1", "2", "walk"]


def test_parquet_is_read_as_the_csv_of_the_frame(tmp_path, monkeypatch, capsys):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(SIGNALS).assign(y=LABELS)
    frame.iloc[1, 0] = np.nan
    monkeypatch.setattr(pd, "read_parquet", lambda path: frame)
    X, y, _ = read(tmp_path / "x.parquet")
    np.testing.assert_array_equal(X[:, 0], frame.iloc[:, :3])
    assert list(y) == LABELS
    assert "left out" not in capsys.readouterr().out  # its index is no column


def test_ts_of_unequal_lengths_ends_in_gaps(tmp_path):
    pytest.importorskip("aeon")
    header = (
        "@problemName x\n@timeStamps false\n@missing true\n@univariate false\n"
        "@dimensions 2\n@equalLength false\n@classLabel true run walk\n@data\n"
    )
    path = save(tmp_path / "x.ts", header + "1,2,3:4,5,?:walk\n6,7:8,9:run\n")
    X, y, _ = read(path)
    nan = np.nan
    expected = [[[1, 2, 3], [4, 5, nan]], [[6, 7, nan], [8, 9, nan]]]
    np.testing.assert_array_equal(X, expected)
    assert list(y) == ["walk", "run"]


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("x.parquet", "pandas", "pip install pandas pyarrow"),
        ("x.ts", "aeon.datasets", "pip install aeon"),
    ],
)
def test_what_to_install_is_said(name, module, message, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("missing", ["", " ", "NaN", "nan", "NA", "na", "?"])
@pytest.mark.parametrize("names", ["", "t0,t1,t2,class\n", "t0,t1,NA,class\n"])
def test_cells_that_are_missing(tmp_path, missing, names):
    text = f"{names}{missing},1,2,a\n3,{missing},{missing},NA\n"
    X, y, _ = read(save(tmp_path / "x.csv", text))
    np.testing.assert_array_equal(X[:, 0], [[np.nan, 1, 2], [3, np.nan, np.nan]])
    assert list(y) == ["a", "NA"]


@pytest.mark.parametrize("cell", ["1,5", "1.5"])
def test_points_are_read_beside_decimal_commas(cell):
    assert to_number(cell, decimal_comma=True) == 1.5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xlsx", "", r"Expected \.csv, .*Save the signals as one of these"),
        ("x.csv", "", "no signals. Expected a signal a line"),
        ("x.csv", "0,1,2,kind\n", "no signals below the names of columns"),
        ("x.csv", "1,2,a\n1,a\n", "line 2 has 2 columns, line 1 has 3"),
        ("x.csv", "1\n2\n", "line 1 has one cell.*commas, tabs or spaces"),
        (
            "x.csv",
            "kind,0,1,2,3\na,1,2,3,4\nb,3,4,5,6\n",
            r"column 4 .'3'., the last, is named as signals are.*--label kind",
        ),
        ("x.csv", "1,5;2,5;a\n", "line 1 has semicolons.*add --decimal-comma"),
        ("x.csv", "1,2,a\n1,z,b\n", "line 2 holds 'z' in column 1. Expected a number"),
        # Lines as an editor counts them: names, an empty one, one within quotes.
        ("x.csv", "t0,t1,c\n\n1,2,a\n1,z,b\n", r"line 4 holds 'z' in column 1 \('t1'"),
        ("x.csv", 't0,t1,c\n1,2,"a\nb"\n1,inf,c\n', "line 4 holds infinity"),
        ("x.csv", "1,nan,a\n2,-inf,b\n", "line 2 holds infinity"),
        ("x.csv", "1,2,a\n,NaN,b\n", "line 2 has no measured value"),
        ("x.csv", "m,time,kWh\na,x,1\nb,x,2\n", "a line is a reading.*pivot"),
        ("x.csv", "1,a\n2,b\n", "2 signals of 1 values.*a line is a reading"),
        ("x.csv", "a,1,2\nb,3,4\na,5,6\n", "'a' in column 0.*labels, add --label 0"),
        ("x.csv", "1,p,a\n3,q,b\n", "'p' in column 1.*labels, add --label 1;"),
        ("x.csv", "id,y\n7,a\n9,b\n", "column 0 .'id'. left out.*No column of signals"),
        ("x.csv", b"1,2,\xe4\n", "no text in UTF-8"),
        (
            "x.npz",
            {"X": [[1.0, 2], [3, np.inf]], "y": [0, 1]},
            r"X\[1\] holds infinity",
        ),
        (
            "x.npz",
            {"X": [[1.0, 2], [np.nan] * 2], "y": [0, 1]},
            r"X\[1\] has no measured",
        ),
        ("x.npz", {"X": [["a"]], "y": [0]}, "dtype <U1"),
        ("x.npz", {"X": 1.0, "y": [0]}, r"X has shape \(\)"),
        ("x.npz", "nonsense", "x.npz.*numpy.savez"),
        (
            "x.npz",
            {"X": np.array([[1], None], object), "y": [0, 1]},
            "x.npz.*numpy.savez",
        ),
        (
            "x.npz",
            {"X": np.eye(2), "y": np.array(["a", "b"], object)},
            r"array 'y': Object.*Save y.astype\(float\) or .astype\(str\)",
        ),
        ("x.npz", {"A": np.ones(3)}, "no array X and no array y"),
        ("x.npz", {"X": np.ones((3, 2)), "y": np.ones(4)}, r"X has shape \(3, 2\)"),
        ("x.ts", "nonsense", "x.ts: "),
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


@pytest.mark.parametrize("label", ["kind", "4", "-5"])
def test_a_label_that_is_no_column_is_refused(label, tmp_path):
    path = save(tmp_path / "x.csv", TABLES["plain"])
    with pytest.raises(SystemExit, match=f"no column '{label}' for --label"):
        read(path, label)


def test_a_label_of_a_file_without_columns_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", X=SIGNALS, y=LABELS)
    with pytest.raises(SystemExit, match="Leave --label and --groups out"):
        read(tmp_path / "x.npz", "0")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="No such file"):
        read(tmp_path / "nowhere.csv")


def test_a_number_of_the_signal_in_front_is_told_by_its_name(tmp_path, capsys):
    """As of a meter, beside columns of times."""
    path = tmp_path / "x.csv"
    path.write_text("meter,00:00,00:30,01:00,kind\n7,1,2,3,a\n7,4,5,6,b\n9,7,8,9,a\n")
    X, *_ = read(path)
    np.testing.assert_array_equal(X[:, 0], [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert "'meter') left out, most others have a number in their name" in (
        capsys.readouterr().out
    )
    path.write_text("t0,t1,t2,t3,kind\n7,1,2,3,a\n7,4,5,6,b\n")
    assert read(path)[0].shape == (2, 1, 4)
    path.write_text("ax,ay,bx,by,kind\n7,1,2,3,a\n7,4,5,6,b\n")
    assert read(path)[0].shape == (2, 1, 4)


@pytest.mark.parametrize("meters", ["7 7 9", "M7 M7 M9"])
@pytest.mark.parametrize("stem", ["", "t", "Mon ", "kWh_Tue_"])
def test_columns_that_are_no_part_of_a_signal_are_told_by_names(
    meters, stem, tmp_path, capsys
):
    """As of a meter and its week, which come again, before columns of times."""
    path = tmp_path / "x.csv"
    times = [f"{stem}{hour}" for hour in ("00:00", "00:30", "01:00")]
    times += ["Sun 0:00", "Sun 0:30", "Sun 1:00", "Sun 1:30"]
    lines = [",".join(["meter", "week", *times, "total", "remark", "kind"])]
    for meter, week, kind in zip(meters.split(), (1, 2, 1), "aba", strict=True):
        lines.append(f"{meter},{week},{week},5,6,7,8,9,1,99,-,{kind}")
    path.write_text("\n".join(lines))
    X, y, _ = read(path)
    assert X.shape == (3, 1, 7)
    np.testing.assert_array_equal(X[:, 0, 0], [1, 2, 1])
    np.testing.assert_array_equal(X[:, 0, -1], [1, 1, 1])
    assert list(y) == ["a", "b", "a"]
    said = capsys.readouterr().out
    for name in ("meter", "week", "total", "remark"):
        assert f"'{name}') left out, most others have a number in their name" in said


@pytest.mark.parametrize("groups", ["meter", "1"])
def test_groups_are_a_column_and_no_signal(groups, tmp_path, capsys):
    text = lines(LABELS, [7, 7, 9, 9], *SIGNALS.T, names=["kind", "meter", *"abc"])
    X, y, found = read(save(tmp_path / "x.csv", text), "kind", groups=groups)
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert (list(y), list(found)) == (LABELS, list("7799"))
    assert "groups in column 1 ('meter')" in capsys.readouterr().out


def test_the_last_column_is_the_label_unless_it_is_the_group(tmp_path):
    text = lines(*SIGNALS.T, LABELS, [7, 7, 9, 9], names=["a", "b", "c", "kind", "m"])
    X, y, groups = read(save(tmp_path / "x.csv", text), groups="m")
    np.testing.assert_array_equal(X[:, 0], SIGNALS)
    assert (list(y), list(groups)) == (LABELS, list("7799"))
    text = text.partition("\n")[2]
    assert list(read(save(tmp_path / "x.csv", text), groups="-1")[1]) == LABELS
    with pytest.raises(SystemExit, match="column 4 for both --label and --groups"):
        read(tmp_path / "x.csv", "4", groups="-1")


def test_a_name_of_the_group_is_one_of_line_1(tmp_path):
    """Whose names alone tell nothing: as texts above texts."""
    text = lines("ppqq", *SIGNALS.T, [0, 1, 0, 1], names=["m", 7, 1, 2, 9])
    X, *_ = read(save(tmp_path / "x.csv", text), groups="m")
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


def test_groups_of_arrays(tmp_path):
    path, arrays = tmp_path / "x.npz", {"X": SIGNALS, "y": LABELS}
    np.savez(path, **arrays)
    assert read(path)[2] is None
    np.savez(path, **arrays, groups=[3, 3, 4, 4])
    assert read(path)[2].tolist() == [3, 3, 4, 4]
    np.savez(path, **arrays, groups=[3, 3, 4])
    with pytest.raises(SystemExit, match=r"groups has shape \(3,\). Expected \(4,\)"):
        read(path)
    with pytest.raises(SystemExit, match="Leave --label and --groups out"):
        read(path, groups="groups")


def test_groups_that_are_no_column_are_refused(tmp_path):
    path = save(tmp_path / "x.csv", TABLES["names"])
    with pytest.raises(SystemExit, match="no column 'meter' for --groups"):
        read(path, groups="meter")


def test_texts_in_front_may_be_the_labels_unless_these_are_known(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,1,2,0\nb,3,4,1\na,5,6,1\n")
    with pytest.raises(SystemExit, match="add --label 0"):
        read(path)
    assert read(path, "3")[0].shape == (3, 1, 2)
    path.write_text("site,p,q,class\na,1,2,0\nb,3,4,1\na,5,6,1\n")
    assert read(path)[0].shape == (3, 1, 2)


def test_text_beside_named_labels_is_to_be_removed(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2,p,a\n3,4,p,b\n")
    with pytest.raises(SystemExit, match=r"'p' in column 2. Remove the column"):
        read(path, "3")
