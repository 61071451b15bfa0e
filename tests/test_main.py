"""The main job on small files: what it writes, and what it says of bad ones."""

import csv

import joblib
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from skvae import __main__ as job
from skvae.datasets import make_load_profiles


@pytest.fixture
def data():
    return make_load_profiles(80, n_classes=2, n_timepoints=12, random_state=0)


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    grid = {"vae__max_epochs": [1], "vae__latent_dim": [2, 3]}
    monkeypatch.setattr(job, "QUICK_GRID", grid)


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_job_on_a_file_writes_pipeline_table_and_figure(data, suffix, tmp_path, capsys):
    X, y = data
    path = tmp_path / f"signals{suffix}"
    if suffix == ".npz":
        np.savez(path, X=X, y=y)
    else:
        names = [*(f"t{i}" for i in range(12)), "class"]
        rows = [
            ",".join(map(str, [*x, f"c{label}"])) for x, label in zip(X, y, strict=True)
        ]
        path.write_text("\n".join([",".join(names), *rows]))
    output = tmp_path / "output"
    table = job.main(
        ["--data", str(path), "--output", str(output), "--quick", "--n-jobs", "1"]
    )
    assert len(table) == 4
    assert (output / "figure.png").stat().st_size > 10_000
    with (output / "table.csv").open() as file:
        assert [float(r["accuracy"]) for r in csv.DictReader(file)] == [
            row["accuracy"] for row in table
        ]
    pipeline = joblib.load(output / "pipeline.joblib")
    assert set(pipeline.predict(X[:, None])) <= (
        {0, 1} if suffix == ".npz" else {"c0", "c1"}
    )
    printed = capsys.readouterr().out
    assert "Best parameters" in printed
    assert "tuned VAE + k-NN" in printed


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_job_on_a_file_with_missing_values(data, suffix, tmp_path, capsys):
    """k-NN on the signals is as accurate as on those that pandas interpolates."""
    pd = pytest.importorskip("pandas")
    X, y = data
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    X[:, 0] = np.where(np.isnan(X).all(axis=1), 1.0, X[:, 0])
    path = tmp_path / f"signals{suffix}"
    if suffix == ".npz":
        np.savez(path, X=X, y=y)
    else:
        pd.DataFrame(X).assign(y=y).add_prefix("c").to_csv(path, index=False)
        y = y.astype(str)
    output = tmp_path / "output"
    job.main(["--data", str(path), "--output", str(output), "--quick", "--n-jobs", "1"])
    assert (output / "figure.png").stat().st_size > 10_000
    assert "interpolated" in capsys.readouterr().out
    with (output / "table.csv").open() as file:
        rows = {row["method"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    X_train, X_test, y_train, y_test, _ = job.load(path)
    np.testing.assert_allclose(
        np.sort(np.concatenate([X_train, X_test]).ravel()), np.sort(X.ravel())
    )
    filled = [
        pd.DataFrame(part[:, 0]).interpolate(axis=1, limit_direction="both")
        for part in (X_train, X_test)
    ]
    knn = KNeighborsClassifier().fit(filled[0], y_train)
    assert rows["k-NN on the signals"] == pytest.approx(knn.score(filled[1], y_test))


def test_whole_signals_are_not_interpolated(data, tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "signals.npz", X=data[0], y=data[1])
    monkeypatch.delattr(job, "interpolate")
    monkeypatch.chdir(tmp_path)
    job.main(["--data", "signals.npz", "--quick", "--n-jobs", "1"])
    assert "interpolated" not in capsys.readouterr().out


def test_gaps_are_interpolated_within_a_channel():
    nan = np.nan
    X = np.array([[[0, nan, nan, 3], [nan, 5, nan, nan]], [[nan] * 4, [1, 2, 3, 4]]])
    expected = [[[0, 1, 2, 3], [5, 5, 5, 5]], [[0, 0, 0, 0], [1, 2, 3, 4]]]
    np.testing.assert_allclose(job.interpolate(X), expected)
    assert np.isnan(X).any()  # it is a copy


@pytest.mark.parametrize("missing", ["", " ", "NaN", "nan", "NA", "na"])
@pytest.mark.parametrize("names", ["", "t0,t1,t2,class\n", ",t1,NA,class\n"])
def test_cells_of_a_csv_that_are_missing(tmp_path, missing, names):
    path = tmp_path / "x.csv"
    path.write_text(f"{names}{missing},1,2,a\n3,{missing},{missing},NA\n")
    X, y = job.read(path)
    np.testing.assert_array_equal(X[:, 0], [[np.nan, 1, 2], [3, np.nan, np.nan]])
    assert list(y) == ["a", "NA"]


def test_job_loads_the_recordings_by_subject():
    X_train, X_test, y_train, y_test, subjects = job.load(None)
    assert X_train.shape[1:] == X_test.shape[1:] == (6, 336)
    assert len(X_train) == len(y_train) == len(subjects)
    assert set(y_test) == set(y_train)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", "", "expected a .npz or a .csv"),
        ("x.csv", "", "no signals"),
        ("x.csv", "1,2,a\n1,a\n", "line 2 has 2 columns, the first signal has 3"),
        ("x.csv", "1,2,a\n1,z,b\n", "line 2 holds 'z' in column 2. Expected numbers"),
        # Lines as an editor counts them: names, an empty one, one within quotes.
        ("x.csv", "t0,t1,c\n\n1,2,a\n1,z,b\n", "line 4 holds 'z'"),
        ("x.csv", 't0,t1,c\n1,2,"a\nb"\n1,inf,c\n', "line 4 holds infinity"),
        ("x.csv", "1,nan,a\n2,-inf,b\n", "line 2 holds infinity"),
        ("x.csv", "1,2,a\n,NaN,b\n", "line 2 has no measured value"),
        ("x.csv", "1,2,a\n3,4,\n", "line 2 has no y"),
        ("x.npz", {"X": [[1.0], [np.inf]], "y": [0, 1]}, r"X\[1\] holds infinity"),
        ("x.npz", {"X": [[1.0], [np.nan]], "y": [0, 1]}, r"X\[1\] has no measured"),
        ("x.npz", {"X": [["a"]], "y": [0]}, "dtype <U1"),
        ("x.npz", {"X": 1.0, "y": [0]}, r"X has shape \(\)"),
        ("x.csv", "1,2,a\n3,4,b\n", "2 signals of 2 classes, the smallest of 1"),
        ("x.npz", "nonsense", "x.npz"),
        ("x.npz", {"A": np.ones(3)}, "no array X and no array y"),
        ("x.npz", {"X": np.ones((3, 2)), "y": np.ones(4)}, r"X has shape \(3, 2\)"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_text(content)
    with pytest.raises(SystemExit, match=message):
        job.load(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="No such file"):
        job.load(tmp_path / "nowhere.csv")
