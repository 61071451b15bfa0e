"""The recordings and the made-up signals are what their docstrings say."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.neighbors import KNeighborsClassifier

import skvae.datasets
from skvae.datasets import load_watch, make_load_profiles

PACKAGE = Path(skvae.datasets.__file__).parent
BUILDER = Path(__file__).parents[1] / "benchmarks" / "make_watch.py"


def nearest_neighbour_accuracy(X, y, X_test, y_test):
    X, X_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
    return KNeighborsClassifier(1).fit(X, y).score(X_test, y_test)


# --- load_watch


@pytest.fixture(scope="module")
def watch():
    return load_watch(subset="all")


@pytest.mark.parametrize(
    ("subset", "n_windows", "subjects"),
    [("train", 448, range(1, 8)), ("test", 210, range(8, 11))],
)
def test_watch_subsets(subset, n_windows, subjects):
    watch = load_watch(subset=subset)
    assert watch.data.shape == (n_windows, 6, 336)
    assert watch.data.dtype == np.float32
    assert watch.target.shape == watch.subject.shape == (n_windows,)
    assert set(watch.subject) == set(subjects)
    assert set(watch.target) == set(range(len(watch.target_names))) == set(range(7))


def test_watch_all_is_train_and_test(watch):
    train, test = load_watch(), load_watch(subset="test")
    is_test = watch.subject > 7
    for key in ("data", "target", "subject"):
        np.testing.assert_array_equal(watch[key][~is_test], train[key])
        np.testing.assert_array_equal(watch[key][is_test], test[key])
    assert LeaveOneGroupOut().get_n_splits(groups=watch.subject) == 10


def test_watch_return_X_y(watch):
    X, y = load_watch(subset="all", return_X_y=True)
    np.testing.assert_array_equal(X, watch.data)
    np.testing.assert_array_equal(y, watch.target)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (None, [0, 1, 2, 3, 4, 5]),
        ("wx", [3]),
        (3, [3]),
        (np.int64(0), [0]),
        (["wz", "ax"], [5, 0]),
        (np.array([5, 0]), [5, 0]),
        ((1, "ay"), [1, 1]),
    ],
)
def test_watch_channels(watch, channels, expected):
    chosen = load_watch(subset="all", channels=channels)
    np.testing.assert_array_equal(chosen.data, watch.data[:, expected])
    assert chosen.channel_names == [watch.channel_names[c] for c in expected]


@pytest.mark.parametrize(
    "bad", [[], "a", 6, -1, True, 1.5, ["ax", "g"], [[0, 1]], b"ax"]
)
def test_watch_unknown_channel(bad):
    with pytest.raises(ValueError, match=r"channels=\[.* but the recordings have"):
        load_watch(channels=bad)


@pytest.mark.parametrize("bad", ["valid", "", None, 0, ["train"]])
def test_watch_unknown_subset(bad):
    with pytest.raises(ValueError, match=r"subset=.*'train', 'test', 'all'"):
        load_watch(subset=bad)


def test_watch_is_the_source_but_for_rounding(watch):
    """The spread of each channel, as measured in the source, before any rounding."""
    source_std = [0.89748, 0.49371, 0.53982, 0.97690, 2.50518, 1.05250]
    np.testing.assert_allclose(watch.data.std(axis=(0, 2)), source_std, rtol=1e-4)


def test_watch_units(watch):
    """A watch that hardly turns feels gravity, 1 g, and little else."""
    acceleration = np.linalg.norm(watch.data[:, :3], axis=1)
    turning = np.linalg.norm(watch.data[:, 3:], axis=1)
    still = turning < 0.2  # rad/s
    assert still.sum() > 1000
    assert np.median(acceleration[still]) == pytest.approx(1.0, abs=0.05)
    assert watch.sampling_rate == 50  # Hz


def test_watch_is_neither_trivial_nor_hopeless(watch):
    X, y = watch.data / watch.data.std(axis=(0, 2), keepdims=True), watch.target
    is_test = watch.subject > 7
    accuracy = nearest_neighbour_accuracy(
        X[~is_test], y[~is_test], X[is_test], y[is_test]
    )
    assert 0.6 < accuracy < 0.8


def test_watch_file_is_small_licensed_and_no_pickle(watch):
    assert (PACKAGE / "data" / "watch.npz").stat().st_size < 1_000_000
    notice = (PACKAGE / "data" / "watch-LICENSE.txt").read_text(encoding="utf-8")
    assert notice.startswith("Copyright (c) 2018, David M. Burns")
    assert "Redistributions in binary form must reproduce" in notice
    assert "watch-LICENSE.txt" in watch.DESCR
    with np.load(PACKAGE / "data" / "watch.npz", allow_pickle=False) as stored:
        assert {stored[name].dtype.kind for name in stored} <= set("iuf")


# --- make_load_profiles


@pytest.mark.parametrize("n_samples", [1, 2, 10])
@pytest.mark.parametrize("n_classes", [1, 2, 7, 20])
@pytest.mark.parametrize("n_timepoints", [1, 2, 7, 48, 101])
def test_load_profiles_shapes_and_range(n_samples, n_classes, n_timepoints):
    X, y = make_load_profiles(
        n_samples, n_classes=n_classes, n_timepoints=n_timepoints, random_state=0
    )
    assert X.shape == (n_samples, n_timepoints)
    assert X.dtype == np.float32
    assert X.min() >= 0
    assert X.max() <= 1
    assert y.shape == (n_samples,)
    assert y.dtype.kind == "i"
    counts = np.bincount(y, minlength=n_classes)
    assert len(counts) == n_classes
    assert np.ptp(counts) <= 1


def test_load_profiles_defaults():
    X, y = make_load_profiles()
    assert X.shape == (500, 336)
    assert set(y) == set(range(7))


def test_load_profiles_random_state():
    before = np.random.get_state()[1].copy()
    X, y = make_load_profiles(20, random_state=3)
    again = make_load_profiles(20, random_state=np.random.RandomState(3))
    other = make_load_profiles(20, random_state=4)
    np.testing.assert_array_equal(X, again[0])
    np.testing.assert_array_equal(y, again[1])
    assert not np.array_equal(X, other[0])
    np.testing.assert_array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(("n_classes", "low", "high"), [(7, 0.6, 0.8), (2, 0.7, 0.9)])
@pytest.mark.parametrize("seed", [0, 2])
def test_load_profiles_classes_overlap(n_classes, low, high, seed):
    train = make_load_profiles(n_classes=n_classes, random_state=seed)
    test = make_load_profiles(n_classes=n_classes, random_state=seed + 1)
    assert low < nearest_neighbour_accuracy(*train, *test) < high


def test_load_profiles_classes_that_come_again_differ():
    """The eighth class is the first, three hours later."""
    X, y = make_load_profiles(4000, n_classes=8, noise=0, random_state=0)
    first, eighth = X[y == 0].mean(axis=0), X[y == 7].mean(axis=0)
    weekdays = slice(0, 5 * 48)
    distances = [
        np.abs(np.roll(first, shift) - eighth)[weekdays].mean() for shift in range(48)
    ]
    assert np.argmin(distances) == pytest.approx(6, abs=1)  # half-hours


def test_load_profiles_know_the_week():
    """Offices (class 3) work on weekdays, by day."""
    X, y = make_load_profiles(700, random_state=0)
    office = X[y == 3].mean(axis=0).reshape(7, 24, 2).mean(axis=2)  # (day, hour)
    assert office[:5, 10:15].min() > 1.5 * office[5:].max()
    assert office[:5, 10:15].min() > 3 * office[:5, 0:4].max()


def test_load_profiles_noise():
    quiet, _ = make_load_profiles(200, noise=0, random_state=0)
    noisy, _ = make_load_profiles(200, noise=0.02, random_state=0)
    inside = (quiet > 0.1) & (quiet < 0.9)  # nothing is cut off there
    assert (noisy - quiet)[inside].std() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples == 0, must be >= 1"),
        ({"n_samples": 2.0}, TypeError, "n_samples must be an instance of"),
        ({"n_classes": -1}, ValueError, "n_classes == -1, must be >= 1"),
        ({"n_timepoints": 0}, ValueError, "n_timepoints == 0, must be >= 1"),
        ({"n_timepoints": "336"}, TypeError, "n_timepoints must be an instance of"),
        ({"noise": -0.1}, ValueError, "noise == -0.1, must be >= 0"),
        ({"noise": np.nan}, ValueError, "noise=nan, but it must be finite"),
        ({"noise": None}, TypeError, "noise must be an instance of"),
        ({"random_state": "seed"}, ValueError, "cannot be used to seed"),
    ],
)
def test_load_profiles_errors(bad, error, message):
    with pytest.raises(error, match=message):
        make_load_profiles(**bad)


# --- both


def test_datasets_need_nothing_heavy():
    """They work where none of this can be imported.

    `skvae` itself is stood in for: it imports torch for the estimator. What has been
    imported afterwards says nothing, as scikit-learn imports pandas where it finds it.
    """
    code = f"""
import sys, types
package = types.ModuleType("skvae")
package.__path__ = [{str(PACKAGE.parent)!r}]
sys.modules["skvae"] = package
class Missing:
    def find_spec(name, path=None, target=None):
        if name in ("torch", "skorch", "pandas", "matplotlib", "skvae.transformer"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing)
from skvae.datasets import load_watch, make_load_profiles
load_watch(), make_load_profiles(2)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
