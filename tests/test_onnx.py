"""Graphs of pipelines, run by onnxruntime, against the pipelines themselves."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer
from skvae.datasets import load_watch, make_load_profiles
from skvae.model.features import RandomConvolutions

# PyTorch's exporter warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_without_the_extra_the_error_names_it():
    code = "import sys; sys.modules['skl2onnx'] = None; import skvae.onnx"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert 'pip install "skvae[onnx]"' in result.stderr


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    from skvae import onnx

    return onnx


def runner(graph):
    """The graph as a function of an array."""
    from onnxruntime import InferenceSession

    session = InferenceSession(graph.SerializeToString())
    name = session.get_inputs()[0].name
    return lambda X: session.run(None, {name: X})[0]


def converted(model, X, opset=18):
    from skl2onnx import to_onnx

    # ONNX's ZipMap, of classes to probabilities, takes no float64.
    options = {"zipmap": False} if isinstance(model, Pipeline) else None
    return runner(to_onnx(model, X[:2], target_opset=opset, options=options))


def load(name):
    """Training signals and labels, and test signals, published apart."""
    if name.startswith("watch"):
        channels = [0] if name == "watch, 1 channel" else None
        train, test = (
            load_watch(subset=subset, channels=channels) for subset in ("train", "test")
        )
        return train.data, train.target, test.data
    datasets = pytest.importorskip("aeon.datasets")
    X, y = datasets.load_gunpoint(split="train")
    return X, y, datasets.load_gunpoint(split="test")[0]


SETS = ["watch, 1 channel", "watch, 6 channels", "GunPoint"]


@pytest.mark.extra
@pytest.mark.parametrize("name", SETS)
def test_labels_of_all_test_signals_are_the_pipelines(onnx, name):
    """In batches of 1, 2 and 1000, of two and three dimensions, float32 and float64."""
    X, y, X_test = load(name)
    for is_flat in (False, True):
        if is_flat:
            X, X_test = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
        vae = ConvVAETransformer(
            n_channels=6 if is_flat and "6" in name else None, random_state=0
        )
        pipeline = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())]).fit(X, y)
        for dtype in (np.float32, np.float64):
            signals = X_test.astype(dtype)
            predict = converted(pipeline, signals)
            expected = pipeline.predict(signals)
            many = np.resize(signals, (1000, *signals.shape[1:]))
            np.testing.assert_array_equal(predict(many), np.resize(expected, 1000))
            for size in (1, 2):
                ends = range(size, len(signals), size)
                found = np.concatenate([predict(x) for x in np.split(signals, ends)])
                np.testing.assert_array_equal(found, expected)


PROFILES, CLASSES = make_load_profiles(80, n_timepoints=48, random_state=0)
SETTINGS = {
    "defaults": ({}, PROFILES),
    "two channels": ({"n_channels": 2}, PROFILES),
    "whiten": ({"whiten": True, "latent_dim": 3}, PROFILES),
    "signal alone": ({"feature_weight": 0.0}, PROFILES),
    "labels": ({"label_weight": 2.0, "latent_dim": 2}, PROFILES),
    "minmax": ({"scale": "minmax", "likelihood": "bernoulli"}, PROFILES),
    "far from zero": ({}, 1e4 + PROFILES.astype(np.float64)),
    "thread": ({"linear_path": False, "batch_norm": True}, PROFILES),
    "one step": ({"n_channels": 48}, PROFILES),
}


@pytest.mark.extra
@pytest.mark.parametrize("name", SETTINGS)
def test_latents_and_signals_are_the_estimators(onnx, name):
    params, X = SETTINGS[name]
    vae = ConvVAETransformer(**{"max_epochs": 2, "random_state": 0, **params})
    Z = vae.fit(X, CLASSES).transform(X)
    found = converted(vae, X)(X)
    assert found.dtype == X.dtype
    np.testing.assert_allclose(found, Z, rtol=0, atol=1e-5 * Z.std())
    signals = runner(onnx.decoder_to_onnx(vae))(Z)
    expected = vae.inverse_transform(Z)
    assert signals.shape == expected.shape
    assert signals.dtype == expected.dtype
    np.testing.assert_allclose(signals, expected, rtol=0, atol=1e-5 * expected.std())


@pytest.mark.extra
@pytest.mark.parametrize("gains", ["equal", "unequal", "by channel"])
@pytest.mark.parametrize("n_channels", [1, 6])
def test_features_are_the_same_numbers_to_the_bit(onnx, n_channels, gains):
    x = torch.from_numpy(load_watch(subset="test").data[:, :n_channels]).float()
    if gains == "equal":
        x /= x.std(dim=(1, 2), keepdim=True)
    torch.manual_seed(0)
    if gains == "by channel":
        x *= torch.randn(len(x), n_channels, 1).exp()
    x[0] *= 1e6  # beyond the limit of the grid
    features = RandomConvolutions(n_channels, x.shape[2]).fit(x[1:])
    assert features.has_own_units == (gains != "equal")
    assert features.by_channel == (gains == "by channel" and n_channels > 1)
    graph = onnx.export(onnx.FeatureGraph(features), x[:2], "x", "features", 18)
    np.testing.assert_array_equal(runner(graph)(x.numpy()), features(x).numpy())


@pytest.mark.extra
def test_a_gap_is_not_filled_but_told(onnx):
    unread = {"kernel_size": 1, "stride": 4}  # the gap's time step, by convolutions
    for params in ({}, {"linear_path": False}, {"linear_path": False, **unread}):
        vae = ConvVAETransformer(2, max_epochs=1, **params).fit(PROFILES)
        gaps = PROFILES.copy()
        gaps[3, 7] = np.nan
        is_missing = np.isnan(converted(vae, gaps)(gaps)).all(axis=1)
        np.testing.assert_array_equal(np.flatnonzero(is_missing), [3])


@pytest.mark.extra
def test_what_cannot_be_exported_says_so(onnx):
    with pytest.raises(NotFittedError):
        onnx.decoder_to_onnx(ConvVAETransformer())
    with pytest.raises(NotFittedError):
        converted(ConvVAETransformer(), PROFILES)
    vae = ConvVAETransformer(2, max_epochs=0).fit(PROFILES)
    with pytest.raises(ValueError, match=r"opset=15.*at least 18.*target_opset=18"):
        converted(vae, PROFILES, opset=15)
    before = vae.transform(PROFILES)
    converted(vae, PROFILES)
    np.testing.assert_array_equal(vae.transform(PROFILES), before)


@pytest.mark.extra
def test_signals_of_another_shape_are_not_cut_into_some_of_the_fitted(onnx):
    vae = ConvVAETransformer(2, n_channels=2, max_epochs=0).fit(PROFILES)
    folded = PROFILES.reshape(-1, 2, 24)
    np.testing.assert_allclose(
        converted(vae, folded)(folded), vae.transform(folded), rtol=1e-4, atol=1e-4
    )
    for X in (PROFILES[:, :24], PROFILES[:, None], folded[:, :, :12]):
        with pytest.raises(ValueError, match=rf"{re.escape(str(X.shape[1:]))}.*\(48,"):
            converted(vae, X)
    frame = pd.DataFrame(PROFILES, columns=[f"t{i}" for i in range(48)])
    with pytest.raises(ValueError, match=r"to_numpy\(\)"):
        converted(vae, frame)


@pytest.mark.extra
def test_the_recipe_of_the_readme(onnx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    recipe = re.search(r"test_onnx.py -->\n```py\n(.*?)```", readme, re.DOTALL)[1]
    vae = ConvVAETransformer(8, max_epochs=1, random_state=0)
    pipeline = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())])
    names = {"X": PROFILES, "pipeline": pipeline.fit(PROFILES, CLASSES)}
    exec(recipe, names)
    np.testing.assert_array_equal(names["labels"], pipeline.predict(PROFILES))
    assert Path("decoder.onnx").exists()
