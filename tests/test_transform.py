"""`python -m skvae transform`: the same bits as `transform`, whole or not at all."""

import io
import os

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skvae import ConvVAETransformer
from skvae.__main__ import main
from skvae.command import transform
from skvae.saving import files

TINY = {
    "conv_channels": (4,),
    "hidden_dims": (8,),
    "max_epochs": 1,
    "device": "cpu",
    "random_state": 0,
}


def bytes_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_gaps(X):
    X = X.astype(np.float64)
    X[::3, 5:11] = np.nan
    return X


@pytest.fixture(scope="module")
def fitted(waves):
    return ConvVAETransformer(2, **TINY).fit(waves)


@pytest.fixture
def folder(waves, fitted, tmp_path, monkeypatch):
    """A folder with model, signals and older latents, in which one works."""
    monkeypatch.chdir(tmp_path)
    fitted.save("model")
    np.save("X.npy", waves)
    (tmp_path / "Z.npy").write_bytes(b"older")
    return tmp_path


@pytest.mark.parametrize("layout", ["2-D", "3-D", "gaps", "Fortran", "integers"])
@pytest.mark.parametrize("kind", ["save", "joblib", "compressed", "pipeline"])
def test_z_is_what_numpy_saves_of_transform(waves, folder, layout, kind):
    X = {
        "2-D": waves,
        "3-D": waves.reshape(200, 3, 16),
        "gaps": with_gaps(waves),
        "Fortran": np.asfortranarray(waves),
        "integers": np.rint(100 * waves).astype(np.int16),
    }[layout]
    model = ConvVAETransformer(3, **TINY)
    if kind == "pipeline":
        model = make_pipeline(FunctionTransformer(np.negative), model)
    model.fit(X[:100])
    if kind == "save":
        model.save("model")
    else:
        joblib.dump(model, "model", compress=3 * (kind == "compressed"))
    np.save("X.npy", X)
    main(["transform", "model", "X.npy", "Z.npy"])
    assert (folder / "Z.npy").read_bytes() == bytes_of(model.transform(X))
    assert sorted(os.listdir()) == ["X.npy", "Z.npy", "model"]


def test_names_of_columns_are_not_asked_of_numpy(waves, folder):
    """Of a model that was fitted on a DataFrame; warnings are errors here."""
    frame = pd.DataFrame(waves).add_prefix("t")
    model = ConvVAETransformer(2, **TINY).fit(frame)
    joblib.dump(model, "model")
    main(["transform", "model", "X.npy", "Z.npy"])
    assert (folder / "Z.npy").read_bytes() == bytes_of(model.transform(frame))


class Spy:
    """A transformer that keeps the X that it gets, or raises."""

    def __init__(self, error=None):
        self.error = error

    def transform(self, X):
        self.got = X
        if self.error:
            raise self.error
        return X[:, :2]


def run(spy, monkeypatch):
    monkeypatch.setattr(transform, "read_model", lambda path: spy)
    main(["transform", "model", "X.npy", "Z.npy"])


def test_signals_stay_in_their_file(waves, folder, monkeypatch):
    """The model gets a memory map, which the estimator reads batch by batch."""
    run(spy := Spy(), monkeypatch)
    assert isinstance(spy.got, np.memmap)
    np.testing.assert_array_equal(np.load("Z.npy"), waves[:, :2])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bad"), OSError(28)])
def test_an_error_leaves_the_older_latents_and_nothing_else(folder, monkeypatch, error):
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else SystemExit
    with pytest.raises(expected):
        run(Spy(error), monkeypatch)
    assert (folder / "Z.npy").read_bytes() == b"older"
    assert sorted(os.listdir()) == ["X.npy", "Z.npy", "model"]


def test_a_full_disk_leaves_the_older_latents_and_nothing_else(folder, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(SystemExit, match="No space left on device"):
        main(["transform", "model", "X.npy", "Z.npy"])
    assert (folder / "Z.npy").read_bytes() == b"older"
    assert sorted(os.listdir()) == ["X.npy", "Z.npy", "model"]


def test_what_a_killed_process_left_is_removed(folder):
    (folder / "Z.npy.0123abcd.tmp").touch()
    (folder / "Z.npy.mine.tmp").touch()
    main(["transform", "model", "X.npy", "Z.npy"])
    assert sorted(os.listdir()) == ["X.npy", "Z.npy", "Z.npy.mine.tmp", "model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none X.npy Z.npy", r"^none: No such file or directory\.$"),
        ("model none Z.npy", r"^none: No such file or directory\.$"),
        ("X.npy X.npy Z.npy", "X.npy was not written by `save` or joblib.dump"),
        ("damaged X.npy Z.npy", "damaged is damaged"),
        ("truncated X.npy Z.npy", "truncated is damaged"),
        ("array X.npy Z.npy", "array ends with a ndarray, which has no transform"),
        (
            "classifier X.npy Z.npy",
            r"ends with a LogisticRegression, which has no transform.*pipeline\[:-1\]",
        ),
        ("new X.npy Z.npy", "instance is not fitted yet"),
        ("model model Z.npy", "model is not an array of numbers from numpy.save"),
        ("model X.npz Z.npy", "X.npz is not an array of numbers from numpy.save"),
        ("model cut.npy Z.npy", "cut.npy is not an array of numbers from numpy.save"),
        ("model objects.npy Z.npy", "objects.npy is not an array of numbers"),
        ("model flat.npy Z.npy", r"flat.npy has shape \(48,\). Expected \(n, t\)"),
        ("model short.npy Z.npy", "short.npy: X has 47 features, but .* 48 features"),
        ("model empty.npy Z.npy", r"empty.npy: Found array with 0 sample"),
        ("model inf.npy Z.npy", "inf.npy: X contains inf"),
        (
            "model X.npy none/Z.npy",
            "none/Z.npy cannot hold the latents. Name a .npy file in a folder",
        ),
        ("model X.npy folder", "folder cannot hold the latents"),
        ("model X.npy Z.csv", "Z.csv cannot hold the latents. Name a .npy file"),
        ("model X.npy X.npy", "X.npy cannot hold the latents. .*other than X.npy"),
    ],
)
def test_what_is_no_use_is_refused_in_a_sentence(
    waves, fitted, folder, arguments, message
):
    data = (folder / "model").read_bytes()
    (folder / "damaged").write_bytes(data[:-1] + b"x")
    (folder / "truncated").write_bytes(data[: len(data) // 2])
    classifier = make_pipeline(fitted, LogisticRegression())
    for name, value in {
        "array": waves,
        "classifier": classifier,
        "new": ConvVAETransformer(),
    }.items():
        joblib.dump(value, name)
    infinite = waves.copy()
    infinite[190] = np.inf
    np.savez("X.npz", X=waves)
    (folder / "cut.npy").write_bytes((folder / "X.npy").read_bytes()[:-1])
    for name, value in {
        "objects": waves.astype(object),
        "flat": waves[0],
        "short": waves[:, 1:],
        "empty": waves[:0],
        "inf": infinite,
    }.items():
        np.save(name, value)
    (folder / "folder").mkdir()
    before = sorted(os.listdir())
    with pytest.raises(SystemExit, match=message):
        main(["transform", *arguments.split()])
    assert sorted(os.listdir()) == before
    assert (folder / "Z.npy").read_bytes() == b"older"


def test_what_was_written_is_printed(folder, capsys):
    main(["transform", "model", "X.npy", "Z.npy"])
    assert capsys.readouterr().out.startswith("Z.npy: (200, 2) in ")
