"""Graphs of pipelines, run by onnxruntime, against the pipelines themselves."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from skvae import ConvVAETransformer
from skvae.datasets import load_watch, make_load_profiles
from skvae.model.features import RandomConvolutions

README = (Path(__file__).parents[1] / "README.md").read_text()

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


def outputs(graph, X):
    """Outputs of a graph by name."""
    from onnxruntime import InferenceSession

    session = InferenceSession(graph.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def with_gaps(X):
    """A copy in which every fifth signal has one NaN, somewhere."""
    X = X.copy()
    rows = np.arange(0, len(X), 5)
    places = np.random.default_rng(0).integers(X[0].size, size=len(rows))
    X.reshape(len(X), -1)[rows, places] = np.nan
    return X


def closed_form(*steps):
    """A pipeline that starts with an estimator whose fit takes a moment."""
    return make_pipeline(ConvVAETransformer(3, max_epochs=0, random_state=0), *steps)


@pytest.mark.extra
@pytest.mark.parametrize(
    ("opset", "dtype", "shape"),
    [
        (18, np.float32, (48,)),
        (19, np.float64, (1, 48)),
        (20, np.float32, (2, 24)),
        (21, np.float64, (48,)),
        (22, np.float32, (1, 48)),
    ],
)
def test_a_graph_marks_the_signals_with_gaps(onnx, opset, dtype, shape):
    X = with_gaps(PROFILES.reshape(-1, *shape)).astype(dtype)
    is_complete = ~np.isnan(X).reshape(len(X), -1).any(axis=1)
    pipeline = closed_form(KNeighborsClassifier()).fit(
        X[is_complete], CLASSES[is_complete]
    )
    graph = onnx.pipeline_to_onnx(pipeline, X, opset)
    assert opset in [each.version for each in graph.opset_import if not each.domain]
    found = outputs(graph, X)
    assert list(found) == ["label", "probabilities", "has_gaps"]
    assert found["has_gaps"].dtype == bool
    np.testing.assert_array_equal(found["has_gaps"], ~is_complete)
    labels = pipeline.predict(X[is_complete])
    np.testing.assert_array_equal(found["label"][is_complete], labels)
    np.testing.assert_array_equal(outputs(graph, X[:1])["has_gaps"], [True])
    onnx.check_graph(graph, pipeline, X)


@pytest.mark.extra
def test_a_graph_has_valid_and_different_names(onnx):
    from onnx import checker

    pipeline = closed_form(StandardScaler(), KNeighborsClassifier())
    graph = onnx.pipeline_to_onnx(pipeline.fit(PROFILES, CLASSES), PROFILES)
    checker.check_model(graph, full_check=True)
    values = [name for node in graph.graph.node for name in node.output]
    values += [each.name for each in (*graph.graph.initializer, *graph.graph.input)]
    assert len(set(values)) == len(values)
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.extra
@pytest.mark.parametrize("last", [LinearRegression(), KMeans(3, random_state=0), None])
def test_a_pipeline_may_end_in_any_step(onnx, last):
    model = closed_form(last) if last else closed_form()[0]
    model.fit(PROFILES, CLASSES + 0.5)
    X = with_gaps(PROFILES)
    graph = onnx.pipeline_to_onnx(model, X)
    onnx.check_graph(graph, model, X)
    np.testing.assert_array_equal(
        outputs(graph, X)["has_gaps"], np.isnan(X).any(axis=1)
    )


@pytest.mark.extra
def test_outliers_and_several_targets_are_exported_and_checked(onnx, monkeypatch):
    monkeypatch.setattr(onnx, "BATCH_SIZE", 32)  # several batches
    two = np.c_[CLASSES, CLASSES > 2].astype(int)  # of 7 and of 2 classes
    several = MultiOutputClassifier(LogisticRegression(max_iter=1000))
    forest = RandomForestClassifier(5, random_state=0)
    for last, y in (
        (IsolationForest(n_estimators=5, random_state=0), None),
        (forest, np.minimum(two, 1)),  # skl2onnx takes equal numbers of classes
        (several, two),
    ):
        pipeline = make_pipeline(StandardScaler(), last).fit(PROFILES, y)
        graph = onnx.pipeline_to_onnx(pipeline, PROFILES)
        onnx.check_graph(graph, pipeline, PROFILES)
    other = clone(pipeline).fit(PROFILES, two[::-1])
    with pytest.raises(ValueError, match=r"graph is off: \d+ of 80 labels differ"):
        onnx.check_graph(onnx.pipeline_to_onnx(other, PROFILES), pipeline, PROFILES)


@pytest.mark.extra
def test_scores_of_two_classes(onnx):
    """skl2onnx 1.20 gives those of SVC in the wrong order, and doubles those of LDA."""
    y = CLASSES > 2
    for last in (RidgeClassifier(), Perceptron(), LogisticRegression()):
        pipeline = make_pipeline(StandardScaler(), last).fit(PROFILES, y)
        onnx.check_graph(onnx.pipeline_to_onnx(pipeline, PROFILES), pipeline, PROFILES)
    for last in (SVC(), LinearDiscriminantAnalysis()):
        pipeline = make_pipeline(StandardScaler(), last).fit(PROFILES, y)
        graph = onnx.pipeline_to_onnx(pipeline, PROFILES)
        with pytest.raises(ValueError, match="exported wrongly: probabilities differ"):
            onnx.check_graph(graph, pipeline, PROFILES)


@pytest.mark.extra
def test_float32_of_many_signals_is_no_difference(onnx):
    """Noise has the largest: 4e-5 of the spread among 3000 signals."""
    X = np.random.default_rng(0).normal(size=(3000, 200)).astype(np.float32)
    vae = ConvVAETransformer(8, max_epochs=0, random_state=0).fit(X[:500])
    graph = onnx.pipeline_to_onnx(vae, X)
    onnx.check_graph(graph, vae, X)
    error = np.abs(outputs(graph, X)["variable"] - vae.transform(X)).max()
    assert error < 5e-5 * vae.transform(X).std()


@pytest.mark.extra
@pytest.mark.parametrize("kind", ["int16", "float16", "frame", "list", "float64 frame"])
def test_the_input_is_float64_or_float32(onnx, kind):
    numbers = (100 * PROFILES).round()
    X = {
        "int16": numbers.astype(np.int16),
        "float16": numbers.astype(np.float16),
        "frame": pd.DataFrame(PROFILES, columns=[f"t{i}" for i in range(48)]),
        "list": PROFILES.astype(float).tolist(),
        "float64 frame": pd.DataFrame(PROFILES.astype(float)),
    }[kind]
    pipeline = closed_form(KNeighborsClassifier()).fit(X, CLASSES)
    graph = onnx.pipeline_to_onnx(pipeline, X)
    dtype = np.float64 if kind in ("list", "float64 frame") else np.float32
    labels = outputs(graph, np.asarray(X, dtype))["label"]
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    onnx.check_graph(graph, pipeline, X)


@pytest.mark.extra
def test_signals_in_cells_are_refused_with_the_remedy(onnx):
    cells = pd.Series(list(PROFILES))
    pipeline = closed_form(KNeighborsClassifier()).fit(cells, CLASSES)
    with pytest.raises(ValueError, match=r"dtype object.*numpy.stack"):
        onnx.pipeline_to_onnx(pipeline, cells)
    onnx.pipeline_to_onnx(pipeline, np.stack(cells))


class Resampler:
    """As a sampler of imbalanced-learn, which a pipeline passes over in `predict`."""

    def fit_resample(self, X, y):
        raise NotImplementedError


@pytest.mark.extra
def test_steps_that_do_nothing_and_pipelines_in_a_pipeline_are_exported(onnx):
    X = PROFILES.astype(np.float64)
    first = make_pipeline(StandardScaler(), "passthrough", FunctionTransformer())
    last = Pipeline([("none", None), ("scale", StandardScaler()), ("svc", SVC())])
    pipeline = Pipeline([("first", first), ("all", closed_form()), ("last", last)])
    pipeline.fit(X, CLASSES)
    pipeline.steps.insert(2, ("resample", Resampler()))
    names = [name for name, _ in onnx.steps_of(pipeline, "pipeline")]
    assert names == [
        "pipeline['first']['standardscaler']",
        "pipeline['first']['functiontransformer']",
        "pipeline['all']['convvaetransformer']",
        "pipeline['last']['scale']",
        "pipeline['last']['svc']",
    ]
    del pipeline.steps[2]
    onnx.check_graph(onnx.pipeline_to_onnx(pipeline, X), pipeline, X)


@pytest.mark.extra
def test_a_check_names_the_step_that_is_exported_wrongly(onnx):
    """skl2onnx 1.20 exports weights by distance as equal weights."""
    X = with_gaps(PROFILES)
    knn = KNeighborsClassifier(15, weights="distance")
    for last, name in (
        (
            knn,
            r"pipeline\['kneighborsclassifier'\], KNeighborsClassifier\(.*'distance'\)",
        ),
        (
            make_pipeline(StandardScaler(), knn),
            r"\['pipeline'\]\['kneighborsclassifier'\]",
        ),
    ):
        pipeline = closed_form(last).fit(PROFILES, CLASSES)
        graph = onnx.pipeline_to_onnx(pipeline, PROFILES)
        with pytest.raises(ValueError, match=f"{name}.* is exported wrongly.* differ"):
            onnx.check_graph(graph, pipeline, X)


@pytest.mark.extra
def test_a_check_compares_latents_and_numbers(onnx, monkeypatch):
    pipeline = closed_form(LogisticRegression(max_iter=1000)).fit(PROFILES, CLASSES)
    graph = onnx.pipeline_to_onnx(pipeline, PROFILES)
    onnx.check_graph(graph, pipeline, PROFILES)
    again = closed_form(LogisticRegression(max_iter=1000)).fit(PROFILES, CLASSES)
    again[-1].coef_[0] *= 1 + 1e-3  # of a later fit
    with pytest.raises(
        ValueError, match=r"graph is off: probabil.*no step alone.*again"
    ):
        onnx.check_graph(graph, again, PROFILES)
    again[-1].coef_[0] *= 1e3
    with pytest.raises(ValueError, match=r"graph is off: \d+ of 80 labels differ"):
        onnx.check_graph(graph, again, PROFILES)
    forward = onnx.EncoderGraph.forward
    off = lambda self, X: forward(self, X) * (1 + 1e-4)  # noqa: E731
    monkeypatch.setattr(onnx.EncoderGraph, "forward", off)
    with pytest.raises(ValueError, match=r"\['convvae.*variable differ by .*spread of"):
        onnx.check_graph(graph, pipeline, PROFILES)


@pytest.mark.extra
def test_a_check_gives_both_the_signals_in_the_dtype_of_the_graph(onnx):
    X = 1e4 + PROFILES.astype(np.float64)  # which float32 rounds to thousandths
    pipeline = closed_form(KNeighborsClassifier()).fit(X, CLASSES)
    onnx.check_graph(onnx.pipeline_to_onnx(pipeline, X.astype("f4")), pipeline, X)


@pytest.mark.extra
def test_a_check_compares_has_gaps_and_needs_signals_without(onnx):
    pipeline = closed_form(KNeighborsClassifier()).fit(PROFILES, CLASSES)
    graph = onnx.pipeline_to_onnx(pipeline, PROFILES)
    X = with_gaps(PROFILES)
    with pytest.raises(ValueError, match=r"All signals of X have NaN.*without"):
        onnx.check_graph(graph, pipeline, X[::5])
    for node in graph.graph.node:
        if node.name == "gaps/is_nan":
            node.op_type = "IsInf"
    with pytest.raises(ValueError, match=r"has_gaps is wrong for 16 signals.*signal 0"):
        onnx.check_graph(graph, pipeline, X)


@pytest.mark.extra
def test_the_recipe_of_the_readme(onnx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = re.search(r"test_onnx.py -->\n```py\n(.*?)```", README, re.DOTALL)[1]
    vae = ConvVAETransformer(8, max_epochs=1, random_state=0)
    pipeline = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())])
    names = {"X": PROFILES, "pipeline": pipeline.fit(PROFILES, CLASSES)}
    exec(recipe, names)
    np.testing.assert_array_equal(names["labels"], pipeline.predict(PROFILES))
    assert not names["has_gaps"].any()
    assert Path("decoder.onnx").exists()


def by_openvino(path, X):
    openvino = pytest.importorskip("openvino")
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(path, "CPU", hint)({"X": X})[0]


def by_tract(path, X):
    tract = pytest.importorskip("tract")
    model = tract.onnx().load(path)
    model.set_input_fact(0, f"B,{X.shape[1]},f32")
    return model.into_model().into_runnable().run([X])[0].to_numpy()


def by_opencv(path, X):
    cv2 = pytest.importorskip("cv2")
    network = cv2.dnn.readNetFromONNX(path)
    network.setInput(X)
    return network.forward("variable")


def by_reference(path, X):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(path).run(None, {"X": X})[0]


@pytest.mark.extra
@pytest.mark.parametrize("run", [by_reference, by_openvino, by_tract, by_opencv])
def test_other_runtimes_give_latents_of_signals_alone(onnx, tmp_path, run):
    """OpenVINO 2026.4.1, tract 0.23.9 and OpenCV 5.0.0, where they are installed."""
    from onnx import save

    vae = ConvVAETransformer(3, max_epochs=0, feature_weight=0.0).fit(PROFILES)
    Z, X = vae.transform(PROFILES), with_gaps(PROFILES)
    has_gaps = np.isnan(X).any(axis=1)
    save(onnx.pipeline_to_onnx(vae, X), tmp_path / "latents.onnx")
    found = run(str(tmp_path / "latents.onnx"), X)
    assert np.isnan(found[has_gaps]).all()
    error = np.abs(found - Z)[~has_gaps].max()
    assert error < 1e-5 * Z.std()


# Runs README's function and two other graphs, and prints what they give.
SCRIPT = """
import { readFileSync } from "node:fs";
import * as ort from "PACKAGE";
import { classify } from "./readme.mjs";

const signals = JSON.parse(readFileSync("signals.json"));
const results = {
  all: await classify(signals),
  each: (await Promise.all(signals.map((signal) => classify([signal])))).flat(),
};
const values = Float32Array.from(signals.flat(), (value) => value ?? NaN);
const X = new ort.Tensor("float32", values, [signals.length, signals[0].length]);
for (const name of ["pipeline", "latents", "names"]) {
  const session = await ort.InferenceSession.create(`${name}.onnx`);
  for (const [key, { data }] of Object.entries(await session.run({ X }))) {
    const plain = (value) => (typeof value === "bigint" ? Number(value) : value);
    results[`${name} ${key}`] = [data.constructor.name, Array.from(data, plain)];
  }
}
console.log(JSON.stringify(results));
"""


@pytest.fixture(params=["onnxruntime-node", "onnxruntime-web"])
def node(request, tmp_path):
    """The package, and a folder in which Node finds it."""
    name = request.param
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Node's npm is not installed")
    if subprocess.run([npm, "view", name, "version"], capture_output=True).returncode:
        pytest.skip(f"npm's registry has no {name}, or cannot be reached")
    command = re.search(r"`npm (install onnxruntime-node .*?)`", README)[1]
    command = command.replace("onnxruntime-node ", f"{name} ").split()
    subprocess.run([npm, *command], cwd=tmp_path, check=True, capture_output=True)
    yield name, tmp_path
    shutil.rmtree(tmp_path / "node_modules")  # of some 100 MB


@pytest.mark.extra
def test_graphs_in_node_and_in_a_browsers_runtime_give_the_pipelines_results(
    onnx, node
):
    from onnx import save

    package, folder = node
    X, y, X_test = load("watch, 1 channel")
    X, X_test = X.reshape(len(X), -1), X_test[:200].reshape(200, -1)
    gaps = with_gaps(X_test)
    has_gaps = np.isnan(gaps).any(axis=1)
    pipeline = make_pipeline(ConvVAETransformer(random_state=0), KNeighborsClassifier())
    vae, knn = pipeline.fit(X, y)
    Z = vae.transform(X_test)
    named = KNeighborsClassifier().fit(vae.transform(X), y.astype(str))
    models = {"pipeline": pipeline, "latents": vae, "names": make_pipeline(vae, named)}
    for name, model in models.items():
        save(onnx.pipeline_to_onnx(model, X), folder / f"{name}.onnx")
    signals = np.where(has_gaps[:, None] & np.isnan(gaps), None, gaps.astype(float))
    (folder / "signals.json").write_text(json.dumps(signals.tolist()))
    recipe = re.search(r"^```js\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
    (folder / "readme.mjs").write_text(recipe.replace("onnxruntime-node", package))
    (folder / "script.mjs").write_text(SCRIPT.replace("PACKAGE", package))
    command = [shutil.which("node"), "script.mjs"]
    run = subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = json.loads(run.stdout)

    labels = pipeline.predict(X_test)
    expected = [
        None if gap else label for gap, label in zip(has_gaps, labels, strict=True)
    ]
    assert found["all"] == expected
    assert found["each"] == expected
    kind, values = found["pipeline label"]
    assert kind == "BigInt64Array"
    np.testing.assert_array_equal(np.array(values)[~has_gaps], labels[~has_gaps])
    np.testing.assert_array_equal(found["pipeline has_gaps"][1], has_gaps)
    values = np.array(found["names label"][1])
    np.testing.assert_array_equal(values[~has_gaps], named.predict(Z)[~has_gaps])
    for name, expected in {
        "pipeline probabilities": knn.predict_proba(Z),
        "latents variable": Z,
    }.items():
        values = np.array(found[name][1], dtype=float).reshape(expected.shape)[
            ~has_gaps
        ]
        tolerance = 1e-5 * expected.std()
        np.testing.assert_allclose(values, expected[~has_gaps], rtol=0, atol=tolerance)
