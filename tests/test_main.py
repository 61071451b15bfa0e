"""The main job on small files: what it writes, and what it says of bad ones."""

import csv
import re
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.neighbors import KNeighborsClassifier

from skvae import __main__ as job
from skvae.command import tune, unlabelled
from skvae.command.load import Signals
from skvae.datasets import make_load_profiles


@pytest.fixture
def data():
    return make_load_profiles(80, n_classes=2, n_timepoints=12, random_state=0)


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    one_epoch = {"vae__max_epochs": [1]}
    grids = {
        "vae_knn": {"vae__latent_dim": [2, 3], **one_epoch},
        "supervised_vae_knn": {"vae__latent_dim": [2], **tune.SUPERVISED, **one_epoch},
    }
    monkeypatch.setattr(tune, "QUICK_GRIDS", grids)


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
        found = [float(row["accuracy"]) for row in csv.DictReader(file)]
    assert found == table["accuracy"].tolist()
    test = job.load(path)
    rows = table[2:].to_dict("records")
    for name, row in zip(("vae_knn", "supervised_vae_knn"), rows, strict=True):
        pipeline = joblib.load(output / f"{name}.joblib")
        assert row["method"] == tune.ROWS[name]
        assert row["accuracy"] == round(pipeline.score(test.X_test, test.y_test), 4)
        assert (pipeline["vae"].label_weight > 0) == (name == "supervised_vae_knn")
    printed, stages = capsys.readouterr()
    assert "Best parameters" in printed
    assert "tuned VAE + k-NN" in printed
    assert "a quarter, drawn at random" in printed
    assert stages == "tuned VAE + k-NN, 5 fits ...\nsupervised VAE + k-NN, 3 fits ...\n"


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_job_on_a_file_with_missing_values(data, suffix, tmp_path, capsys):
    """k-NN on the signals is as accurate as on those that pandas interpolates."""
    X, y = data
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    X[:, 0] = np.where(np.isnan(X).all(axis=1), 1.0, X[:, 0])
    path = tmp_path / f"signals{suffix}"
    if suffix == ".npz":
        np.savez(path, X=X, y=y)
    else:
        pd.DataFrame(X).assign(y=y).add_prefix("c").to_csv(path, index=False)
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
    monkeypatch.setattr(pd.DataFrame, "interpolate", None)
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
    np.testing.assert_allclose(tune.flatten(X), np.reshape(expected, (2, -1)))
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
        for name, row in tune.ROWS.items()
    }
    assert len(set(scores.values())) == 2
    best = max(scores, key=scores.get)
    load, predict = re.findall(r"^  (pipeline.*)", printed, re.M)
    assert f"{best}.joblib" in load
    assert predict.endswith("# X an array of shape (n, 12)")
    names = {"joblib": joblib, "X": X}
    exec(load, names)
    assert set(eval(predict, names)) <= {0, 1}


@pytest.mark.parametrize("grids", [tune.GRIDS, tune.QUICK_GRIDS])
def test_names_say_which_see_the_labels(grids):
    assert list(grids) == list(tune.ROWS)
    for name, grid in grids.items():
        assert ("vae__label_weight" in grid) == ("supervised" in name)


class Constant:
    """Predicts the same of all signals."""

    def __init__(self, predicted):
        self.predicted = predicted

    def predict(self, X):
        return np.full(len(X), self.predicted)


@pytest.mark.parametrize(("n_right", "n"), [(15, 15), (0, 15), (60, 100)])
def test_standard_error_is_that_of_two_right_and_two_wrong_more(n_right, n):
    """By scipy's Agresti-Coull interval in its form for 95 %, whose z is 2."""
    signals = Signals(*np.zeros((2, n, 1, 3)), [], np.arange(n) < n_right, "")
    row = tune.measure("", Constant(True), signals.X_test, signals, 0.0)
    assert row["accuracy"] == n_right / n
    p = (n_right + 2) / (n + 4)
    expected = proportion(p, n + 4)
    assert row["standard_error"] == pytest.approx(expected, rel=0.05)
    assert row["standard_error"] > 0.04


def proportion(p, n):
    """Standard deviation of a share, of draws."""
    draws = np.random.default_rng(0).binomial(n, p, 200_000) / n
    return draws.std()


def test_error_of_numbers_is_that_of_scikit_learn():
    y = np.random.default_rng(0).normal(size=40)
    signals = Signals(*np.zeros((2, 40, 1, 3)), [], y, "", task="numbers")
    row = tune.measure("", Constant(0.3), signals.X_test, signals, 0.0)
    predicted = np.full(40, 0.3)
    assert row["RMSE"] == pytest.approx(root_mean_squared_error(y, predicted), rel=1e-3)
    assert row["R2"] == pytest.approx(r2_score(y, predicted), rel=1e-3)
    samples = np.random.default_rng(0).choice(y, (20_000, 40)) - 0.3
    spread = np.sqrt((samples**2).mean(axis=1)).std()  # by the bootstrap
    assert row["standard_error"] == pytest.approx(spread, rel=0.1)


def test_the_largest_standard_error_is_printed(capsys):
    table = pd.DataFrame(
        {"method": "", "accuracy": 1.0, "standard_error": e} for e in (0.02, 0.07)
    )
    signals = Signals(*np.ones((2, 15, 1, 3)), [], [0] * 15, "old")
    tune.print_results(table, {}, signals)
    assert (
        "15 signals (old). Differences of accuracy below the standard error, 0.07"
        in capsys.readouterr().out
    )


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
    own = {tuple(x): g for x, g in zip(signals_of(X), groups, strict=True)}
    trained = [own[tuple(x)] for x in signals_of(signals.X_train)]
    assert trained == list(signals.groups)
    tested = {own[tuple(x)] for x in signals_of(signals.X_test)}
    assert tested.isdisjoint(trained)
    assert signals.test_kind == f"of {len(tested)} groups not trained on"


def signals_of(X):
    return np.reshape(X, (len(X), -1)).round(9)


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
    signals = Signals(*np.zeros((4, 3, 1, 5)), "a quarter")
    options = job.parse(["--data", "x.csv"])
    tune.print_next(options, signals)
    assert "--groups COLUMN" in capsys.readouterr().out
    signals.groups = np.zeros(3)
    tune.print_next(options, signals)
    assert "--groups COLUMN" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 0, 0, 0, 0], "5 signals of 1 classes: all labels are '0'.*--label"),
        (["No"] * 20, "all labels are 'No'.*--label none"),
        ([0, 0, 0, 0, 1], r"of 2 classes, but too few of 1 \(1\).*--label"),
        ([0] * 7 + [1] * 8, "15 signals of 2 classes. Expected 16 signals"),
        ([*"ab"] * 8 + [*"cdefghijklmnopqrst"], r"c \(1\), .*g \(1\), \.\.\..*--label"),
    ],
)
def test_too_few_signals_of_a_class_are_named(y, message, tmp_path):
    np.savez(tmp_path / "x.npz", X=np.ones((len(y), 3)), y=y)
    with pytest.raises(SystemExit, match=message):
        job.load(tmp_path / "x.npz")


@pytest.mark.parametrize("label", ["", "NA", "null"])
def test_signals_without_a_label_are_left_out(data, tmp_path, capsys, label):
    X, y = data
    y = y.astype(str).astype(object)
    y[::8] = label
    path = tmp_path / "x.csv"
    rows = [",".join(map(str, [*x, name])) for x, name in zip(X, y, strict=True)]
    path.write_text("\n".join(rows))
    signals = job.load(path)
    assert len(signals.X_train) + len(signals.X_test) == 70
    assert set(signals.y_train) == {0, 1}
    assert "Left out, 10 signals without a label" in capsys.readouterr().out


def labels_of(signals):
    return set(signals.y_train.tolist()) | set(signals.y_test.tolist())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([-1, 1], {-1, 1}),
        ([-1, 0, 1], {-1, 0, 1}),
        ([1.0, 2.0], {1, 2}),
        (["walk", "run", "-1"], {"walk", "run"}),
    ],
)
def test_minus_one_is_a_class_among_numbers(names, expected, tmp_path, capsys):
    X = np.random.default_rng(0).random((60, 5))
    lines = [",".join(map(str, [*x, names[i % len(names)]])) for i, x in enumerate(X)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    signals = job.load(tmp_path / "x.csv")
    assert labels_of(signals) == expected
    assert signals.task == "labels"
    said = capsys.readouterr().out
    assert ("-1 among texts marks a signal without a label" in said) == (
        "walk" in names
    )


@pytest.mark.parametrize("kind", ["decimals", "whole numbers of groups"])
def test_numbers_as_labels_make_a_regression(data, kind, tmp_path, capsys):
    """PLS is exact for a target that is linear in the signals."""
    X, _ = data
    arrays = {"X": X, "y": X.sum(axis=1)}
    if kind != "decimals":
        arrays |= {"y": np.round(1000 * X.sum(axis=1)), "groups": np.arange(80) % 8}
    np.savez(tmp_path / "x.npz", **arrays)
    output = tmp_path / "output"
    arguments = ["--data", tmp_path / "x.npz", "--output", output, "--n-jobs", 1]
    table = job.main([*map(str, arguments), "--quick"])
    methods = table["method"].str.replace(r"\d", "k", regex=True)
    found = dict(zip(methods, table["R2"], strict=True))
    assert list(found) == [
        "k-NN on the signals",
        "PCA(k) + k-NN",
        "PLS(k)",
        "tuned VAE + k-NN",
        "supervised VAE + k-NN",
    ]
    assert found["PLS(k)"] > 0.95 > found["k-NN on the signals"]
    pipeline = joblib.load(output / "supervised_vae_knn.joblib")
    signals = job.load(tmp_path / "x.npz")
    score = pipeline.score(signals.X_test, signals.y_test)
    assert found["supervised VAE + k-NN"] == pytest.approx(score, rel=1e-3)
    assert (output / "figure.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert f"Labels are {len(set(arrays['y']))} different numbers: a regression" in said
    assert "RMSE" in said


@pytest.mark.parametrize("asked", [True, False])
def test_signals_without_labels_give_latents_and_the_oddest(asked, tmp_path, capsys):
    """With the file's index; the spike is the oddest."""
    X, y = make_load_profiles(60, n_timepoints=24, random_state=0)
    X[17, 9] += 5
    meters = [f"m{i}" for i in range(60)]
    frame = pd.DataFrame(X).add_prefix("t").assign(kind=y)
    frame = frame if asked else frame.drop(columns="kind")  # it is a key besides
    frame.set_index(pd.Index(meters, name="meter")).to_csv(tmp_path / "x.csv")
    output = tmp_path / "output"
    arguments = ["--data", str(tmp_path / "x.csv"), "--output", str(output)]
    latents = job.main(arguments + ["--label", "none"] * asked)
    keys = ["meter", "kind"] if asked else ["meter"]
    written = pd.read_csv(output / "latents.csv", index_col=keys)
    assert written.index.get_level_values(0).tolist() == meters
    vae = joblib.load(output / "vae.joblib")
    np.testing.assert_allclose(written, vae.transform(X), atol=1e-4)
    np.testing.assert_allclose(latents, written, rtol=1e-6)
    assert (output / "figure.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert re.search(r"The oddest signals, by meter.*:\n  m17 ", said)


def test_oddness_is_that_of_the_readme():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    recipe = re.search(r"from scipy.stats import rankdata.*?# over", text, re.DOTALL)
    names = {"np": np}
    exec(recipe[0], names)
    rng = np.random.default_rng(0)
    X, reconstructed = rng.normal(size=(2, 40, 3, 20))
    X[::3, 1, 5:9] = np.nan
    parts = [names["oddness"](X[:, c], reconstructed[:, c]) for c in range(3)]
    found = unlabelled.oddness(X, reconstructed)
    np.testing.assert_allclose(found, np.mean(parts, axis=0))
    X[4, 1] = np.nan
    assert np.isfinite(unlabelled.oddness(X, reconstructed)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "file"], "--output file: .*Expected a folder"),
        (["--n-jobs", "0"], "2"),
        (["--data", "."], r"\.: Is a directory"),
    ],
)
def test_mistakes_end_in_a_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=message):
        job.main(arguments)


@pytest.mark.parametrize("decimals", [0, 3])
def test_a_model_that_is_no_better_than_chance_is_told(decimals, tmp_path, capsys):
    rng = np.random.default_rng(1)
    y = rng.normal(size=60).round(decimals) if decimals else rng.integers(0, 2, 60)
    np.savez(tmp_path / "x.npz", X=rng.normal(size=(60, 12)), y=y)
    arguments = ["--data", str(tmp_path / "x.npz"), "--output", str(tmp_path / "out")]
    job.main([*arguments, "--quick", "--n-jobs", "1"])
    baseline = "the mean" if decimals else "always '[01]'"
    said = capsys.readouterr().out
    assert re.search(f"No VAE is better than {baseline} in cross-validation", said)


def test_a_row_that_is_better_than_the_models_is_named(capsys):
    rows = {"PLS(2)": 0.8, "tuned VAE + k-NN": 5.0, "supervised VAE + k-NN": 1.0}
    table = pd.DataFrame({"method": [*rows], "RMSE": [*rows.values()]})
    table["standard_error"] = 0.1
    searches = dict.fromkeys(tune.ROWS, SimpleNamespace(best_score_=0.5))
    signals = SimpleNamespace(task="numbers")
    tune.print_doubts(table, searches, "supervised_vae_knn", signals)
    said = capsys.readouterr().out
    assert said == "\nPLS(2) is better on the test signals: RMSE 0.8 against 1.\n"
    table.loc[0, "RMSE"] = 0.95  # within the standard error
    tune.print_doubts(table, searches, "supervised_vae_knn", signals)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("labels", [True, False])
def test_pictures_have_the_wavelengths_of_the_file(labels, data, tmp_path):
    X, y = data
    frame = pd.DataFrame(X, columns=np.linspace(1200, 1100, 12).round(1))
    frame = frame.assign(kind=y) if labels else frame
    frame.to_csv(tmp_path / "x.csv", index=False)
    arguments = ["--data", str(tmp_path / "x.csv"), "--output", str(tmp_path)]
    job.main([*arguments, "--quick", "--n-jobs", "1"])
    path = tmp_path / ("vae_knn.joblib" if labels else "vae.joblib")
    vae = joblib.load(path)
    vae = vae["vae"] if labels else vae
    np.testing.assert_array_equal(vae.timepoints_in_, frame.columns[:12].astype(float))


def test_rows_that_are_times_are_warned_of(tmp_path):
    """A row for each hour, and a column for each meter."""
    hours = pd.date_range("2024-01-01", periods=90, freq="h", name="time")
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(90, 20)), index=hours)
    frame.add_prefix("M").to_csv(tmp_path / "x.csv")
    with pytest.warns(
        UserWarning, match="indexed by times .* as if each row were a time"
    ):
        job.load(tmp_path / "x.csv")
