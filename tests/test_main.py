"""The main job on small files: what it writes, and what it says of bad ones."""

import csv
import io
import os
import re
import time

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier

from skvae import __main__ as job
from skvae.datasets import make_load_profiles
from skvae.progress import Progress


@pytest.fixture
def data():
    return make_load_profiles(80, n_classes=2, n_timepoints=12, random_state=0)


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    one_epoch = {"vae__max_epochs": [1]}
    grids = {
        "vae_knn": {"vae__latent_dim": [2, 3], **one_epoch},
        "taught_vae_knn": {"vae__latent_dim": [2], **job.TAUGHT, **one_epoch},
    }
    monkeypatch.setattr(job, "QUICK_GRIDS", grids)


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
    test = job.load(path)
    for name, row in zip(("vae_knn", "taught_vae_knn"), table[2:], strict=True):
        pipeline = joblib.load(output / f"{name}.joblib")
        assert row["method"] == job.ROWS[name]
        assert row["accuracy"] == round(pipeline.score(test.X_test, test.y_test), 4)
        assert (pipeline["vae"].label_weight > 0) == (name == "taught_vae_knn")
    printed = capsys.readouterr().out
    assert "Best parameters" in printed
    assert "tuned VAE + k-NN" in printed
    assert "a quarter, drawn at random" in printed


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
    signals = job.load(path)
    X_train, X_test = signals.X_train, signals.X_test
    np.testing.assert_allclose(
        np.sort(np.concatenate([X_train, X_test]).ravel()), np.sort(X.ravel())
    )
    filled = [
        pd.DataFrame(part[:, 0]).interpolate(axis=1, limit_direction="both")
        for part in (X_train, X_test)
    ]
    knn = KNeighborsClassifier().fit(filled[0], signals.y_train)
    assert rows["k-NN on the signals"] == pytest.approx(
        knn.score(filled[1], signals.y_test), abs=1e-4
    )


def test_whole_signals_are_not_interpolated_and_far_values_told_once(
    data, tmp_path, monkeypatch, capsys
):
    X = data[0].copy()
    X[:, ..., 0] = -999
    np.savez(tmp_path / "signals.npz", X=X, y=data[1])
    monkeypatch.delattr(job, "interpolate")
    monkeypatch.chdir(tmp_path)
    job.main(["--data", "signals.npz", "--quick", "--n-jobs", "2"])
    said, warned = capsys.readouterr()
    assert "interpolated" not in said
    assert said.count("X has values far from all others: -999") == 1
    assert "-999" not in warned


def test_gaps_are_interpolated_within_a_channel():
    nan = np.nan
    X = np.array([[[0, nan, nan, 3], [nan, 5, nan, nan]], [[nan] * 4, [1, 2, 3, 4]]])
    expected = [[[0, 1, 2, 3], [5, 5, 5, 5]], [[0, 0, 0, 0], [1, 2, 3, 4]]]
    np.testing.assert_allclose(job.interpolate(X), expected)
    assert np.isnan(X).any()  # it is a copy


def test_job_loads_the_recordings_by_subject():
    signals = job.load(None)
    assert signals.X_train.shape[1:] == signals.X_test.shape[1:] == (6, 336)
    assert len(signals.X_train) == len(signals.y_train) == len(signals.groups)
    assert set(signals.y_test) == set(signals.y_train)
    assert signals.test_kind == "of 3 people not trained on"


def test_the_instructions_that_are_printed_work(data, tmp_path, monkeypatch, capsys):
    """For the better in cross-validation."""
    X, y = data[0], (data[0][:, 3] > np.median(data[0][:, 3])).astype(int)
    np.savez(tmp_path / "signals.npz", X=X, y=y)
    monkeypatch.chdir(tmp_path)
    job.main(["--data", "signals.npz", "--quick", "--n-jobs", "1"])
    printed = capsys.readouterr().out
    scores = {
        name: float(
            re.search(rf"^{re.escape(row)} +(0.\d+|1.0+)  vae", printed, re.M)[1]
        )
        for name, row in job.ROWS.items()
    }
    assert len(set(scores.values())) == 2
    best = max(scores, key=scores.get)
    load, predict = re.findall(r"^  (pipeline.*)", printed, re.M)
    assert f"{best}.joblib" in load
    assert predict.endswith("# an array of shape (n, 12), no DataFrame")
    names = {"joblib": joblib, "X": X}
    exec(load, names)
    assert set(eval(predict, names)) <= {0, 1}


@pytest.mark.parametrize("grids", [job.GRIDS, job.QUICK_GRIDS])
def test_names_say_which_are_taught(grids):
    assert list(grids) == list(job.ROWS)
    for name, grid in grids.items():
        assert ("vae__label_weight" in grid) == ("taught" in name)


def test_standard_error_of_the_least_certain_row(capsys):
    """sqrt(p (1 - p) / n) is largest for p = 0.6 of these."""
    table = [
        {"method": "", "accuracy": p, "fit_seconds": 0, "score_seconds": 0}
        for p in (0.9, 0.6, 1.0)
    ]
    signals = job.Signals(np.ones((2, 1, 3)), np.ones((2, 1, 3)), [], [0] * 96, "old")
    job.print_results(table, {}, signals)
    assert "all 96, old. Differences below 0.05" in capsys.readouterr().out


def test_progress_counts_fits_of_other_processes(data):
    X, y = data
    knn = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 2, 3]}, cv=2)
    expected = knn.fit(X, y).cv_results_["mean_test_score"]
    with Progress(7) as progress:
        knn.set_params(scoring=progress.scoring, n_jobs=2).fit(X, y)
        progress.step()
        assert os.path.getsize(progress.path) == 7
    assert not os.path.exists(progress.path)
    np.testing.assert_array_equal(knn.cv_results_["mean_test_score"], expected)


def test_progress_says_a_line_a_stage_in_a_pipe(capfd):
    with Progress(2) as progress:
        progress.stage("search")
        time.sleep(0.5)
    assert capfd.readouterr() == ("search ...\n", "")


def test_progress_is_a_bar_in_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(2) as progress:
        progress.stage("search")
        progress.step()
        time.sleep(0.5)
    assert re.search(r"search +50%\|.*\| 00:0\d, 00:0\d left", terminal.getvalue())


def test_rare_classes_are_left_out_by_name(tmp_path, capsys):
    y = ["a"] * 4 + ["b"] * 3 + ["c"] * 12
    np.savez(tmp_path / "x.npz", X=np.random.default_rng(0).random((19, 5)), y=y)
    signals = job.load(tmp_path / "x.npz")
    assert set(signals.y_train) | set(signals.y_test) == {"a", "c"}
    assert len(signals.y_train) + len(signals.y_test) == 16
    assert "classes of fewer than 4 signals: b (3)." in capsys.readouterr().out


class Loaded(Exception):
    """Signals that are read; no search of them is to begin."""


def test_groups_that_are_trained_on_are_not_tested_on(data, tmp_path, monkeypatch):
    X, y = data[0].astype(float), data[1].astype(object)
    y[::9] = ""
    groups = np.random.default_rng(0).integers(8, size=len(y)).astype(object)
    groups[::10] = "NA"
    y[5:8] = "rare"
    path = tmp_path / "x.csv"
    cells = zip(X, groups, y, strict=True)
    path.write_text("\n".join(",".join(map(str, [*x, g, v])) for x, g, v in cells))
    load = job.load

    def loaded(*given):
        raise Loaded(load(*given))

    monkeypatch.setattr(job, "load", loaded)
    with pytest.raises(Loaded) as found:
        job.main(["--data", str(path), "--groups=-2", "--output", str(tmp_path)])
    (signals,) = found.value.args
    assert signals.X_train.shape[1:] == (1, X[0].size)
    kept = (y != "") & (groups != "NA") & (y != "rare")
    assert len(signals.y_train) + len(signals.y_test) == kept.sum()
    assert 0.1 < len(signals.y_test) / kept.sum() < 0.4
    own = {tuple(x): str(g) for x, g in zip(signals_of(X), groups, strict=True)}
    trained = [own[tuple(x)] for x in signals_of(signals.X_train)]
    assert trained == list(signals.groups)
    tested = {own[tuple(x)] for x in signals_of(signals.X_test)}
    assert tested.isdisjoint(trained)
    assert signals.test_kind == f"of {len(tested)} groups not trained on"


def signals_of(X):
    return np.reshape(X, (len(X), -1))


@pytest.mark.parametrize(
    "groups",
    [
        np.arange(80) % 3,
        np.repeat([0, 1, 2, 3], [74, 2, 2, 2]),
        np.repeat([0, np.nan, 1, 2], 20),
    ],
    ids=["three", "unequal", "missing"],
)
def test_groups_of_no_use_are_refused(data, tmp_path, groups):
    np.savez(tmp_path / "x.npz", X=data[0], y=data[1], groups=groups)
    with pytest.raises(SystemExit, match=r"groups.*at least 4.*two classes"):
        job.load(tmp_path / "x.npz")


def test_groups_of_one_class_each_are_refused(data, tmp_path):
    y = np.arange(80) % 2
    np.savez(tmp_path / "x.npz", X=data[0], y=y, groups=y + 2 * (np.arange(80) > 40))
    with pytest.raises(SystemExit, match=r"4 groups.*two classes"):
        job.load(tmp_path / "x.npz")


def test_what_to_do_next_depends_on_the_groups(capsys):
    signals = job.Signals(*np.zeros((4, 3, 1, 5)), "a quarter")
    options = job.parse(["--data", "x.csv"])
    job.print_next(options, "vae_knn", signals)
    assert "--groups COLUMN" in capsys.readouterr().out
    signals.groups = np.zeros(3)
    job.print_next(options, "vae_knn", signals)
    assert "--groups COLUMN" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 0, 0, 0, 0], "5 signals of 1 classes.*too few: none.*--label"),
        ([0, 0, 0, 0, 1], r"5 signals of 2 classes.*too few: 1 \(1\).*--label"),
        ([0] * 7 + [1] * 8, "15 signals of 2 classes.*none. Expected 16 signals"),
        ([0] * 8 + [1] * 8 + list(range(2, 20)), r"6 \(1\), \.\.\..*--label"),
        ([0.5, 1.5, 3, 4, 5], r"0.5 \(1\), 1.5 \(1\).*--label"),
    ],
)
def test_too_few_signals_of_a_class_are_named(y, message, tmp_path):
    np.savez(tmp_path / "x.npz", X=np.ones((len(y), 3)), y=y)
    with pytest.raises(SystemExit, match=message):
        job.load(tmp_path / "x.npz")


@pytest.mark.parametrize("label", ["", "-1"])
def test_signals_without_a_label_are_left_out(data, tmp_path, capsys, label):
    X, y = data
    y = y.astype(str).astype(object)
    y[::8] = label
    path = tmp_path / "x.csv"
    rows = [",".join(map(str, [*x, name])) for x, name in zip(X, y, strict=True)]
    path.write_text("\n".join(rows))
    signals = job.load(path)
    assert len(signals.X_train) + len(signals.X_test) == 70
    assert set(signals.y_train) == {"0", "1"}
    assert "Left out, 10 signals without a label" in capsys.readouterr().out
