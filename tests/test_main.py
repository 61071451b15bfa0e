"""The main job on small files: what it writes, and what it says of bad ones."""

import csv

import joblib
import numpy as np
import pytest

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
        ("x.csv", "1,2,a\n1,a\n", "signal 2 has 2 columns, the first has 3"),
        ("x.csv", "1,2,a\n1,z,b\n", "signal 2 holds 'z' in column 2. Expected numbers"),
        ("x.csv", "1,nan,a\n", "not finite"),
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
