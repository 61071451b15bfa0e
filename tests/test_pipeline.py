"""In pipelines, searches, caches and pickles."""

import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (as documented)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, Pipeline
from skorch.callbacks import Callback

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles


@pytest.fixture(scope="module")
def data():
    return make_load_profiles(90, n_classes=3, n_timepoints=24, random_state=0)


def make_pipeline(memory=None, **params):
    vae = ConvVAETransformer(**{"max_epochs": 2, "random_state": 0, **params})
    return Pipeline([("vae", vae), ("knn", KNeighborsClassifier())], memory=memory)


def test_default_pipeline_beats_chance(data):
    X, y = data
    pipeline = Pipeline(
        [("vae", ConvVAETransformer()), ("knn", KNeighborsClassifier())]
    )
    assert pipeline.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.5


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_is_the_same_for_any_number_of_jobs(data, n_jobs):
    grid = {
        "vae__latent_dim": [1, 3],
        "vae__reconstruction_weight": ["auto", 10.0],
        "vae__dropout": [0.0, 0.3],
    }
    search = GridSearchCV(make_pipeline(), grid, cv=2, n_jobs=n_jobs).fit(*data)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 8
    assert len(set(scores)) > 1
    sequential = [
        cross_val_score(make_pipeline().set_params(**params), *data, cv=2).mean()
        for params in search.cv_results_["params"][:2]
    ]
    np.testing.assert_array_equal(scores[:2], sequential)


def test_halving_search_over_epochs(data):
    search = HalvingGridSearchCV(
        make_pipeline(),
        {"vae__latent_dim": [1, 2, 4]},
        resource="vae__max_epochs",
        min_resources=1,
        max_resources=3,
        cv=2,
    ).fit(*data)
    assert search.best_estimator_["vae"].n_epochs_ == 3


def test_cached_pipeline_is_not_fitted_twice(data, tmp_path):
    log = tmp_path / "log"
    callback = [("log", LogFits(log))]
    first = make_pipeline(memory=str(tmp_path), callbacks=callback).fit(*data)
    again = make_pipeline(memory=str(tmp_path), callbacks=callback).fit(*data)
    assert log.read_text() == "fit"
    np.testing.assert_array_equal(
        first["vae"].transform(data[0]), again["vae"].transform(data[0])
    )


def test_dumped_pipeline_gives_the_same_bits_in_another_process(data, tmp_path):
    pipeline = make_pipeline().fit(*data)
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    np.save(tmp_path / "X.npy", data[0])
    code = (
        "import joblib, numpy as np, torch; torch.set_num_threads(1); "
        "X = np.load('X.npy'); pipeline = joblib.load('pipeline.joblib'); "
        "np.savez('out', Z=pipeline['vae'].transform(X), y=pipeline.predict(X))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["Z"], pipeline["vae"].transform(data[0]))
        np.testing.assert_array_equal(out["y"], pipeline.predict(data[0]))


# Containers of scikit-learn that hold the estimator beside others


CLOSED = {"max_epochs": 0, "random_state": 0}


@pytest.fixture(scope="module")
def frame(data):
    """The signals, of columns and rows with names."""
    names = [f"h{hour}" for hour in range(24)]
    return pd.DataFrame(data[0], index=[f"m{i}" for i in range(90)], columns=names)


@pytest.fixture(scope="module")
def latents(frame):
    return ConvVAETransformer(2, **CLOSED).fit_transform(frame)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output_reaches_the_estimator_in_a_pipeline(frame, latents, container):
    pipeline = Pipeline([("vae", ConvVAETransformer(2, **CLOSED)), ("pca", PCA(1))])
    got = pipeline.set_output(transform=container)[:1].fit_transform(frame)
    assert type(got).__module__.startswith(container)
    assert list(got.columns) == ["convvaetransformer0", "convvaetransformer1"]
    np.testing.assert_array_equal(got.to_numpy(), latents)
    if container == "pandas":
        assert got.index.equals(frame.index)


def test_feature_union_puts_latents_beside_other_features(frame, latents):
    parts = [("vae", ConvVAETransformer(2, **CLOSED)), ("pca", PCA(1))]
    got = FeatureUnion(parts).set_output(transform="pandas").fit_transform(frame)
    assert [*got.columns] == [
        "vae__convvaetransformer0",
        "vae__convvaetransformer1",
        "pca__pca0",
    ]
    assert got.index.equals(frame.index)
    np.testing.assert_array_equal(got.iloc[:, :2], latents)


def test_column_transformer_gives_it_the_columns_of_signals(frame, latents):
    mixed = frame.assign(area=np.arange(90.0)).iloc[:, ::-1]  # area first
    columns = ColumnTransformer(
        [("vae", ConvVAETransformer(2, **CLOSED), list(frame.columns))],
        remainder="passthrough",
    )
    got = columns.set_output(transform="pandas").fit_transform(mixed)
    assert [*got.columns] == [
        "vae__convvaetransformer0",
        "vae__convvaetransformer1",
        "remainder__area",
    ]
    np.testing.assert_array_equal(got.iloc[:, :2], latents)
    np.testing.assert_array_equal(got["remainder__area"], mixed["area"])
    np.testing.assert_array_equal(columns.transform(mixed.iloc[:, ::-1]), got)


def test_stacking_learns_from_predictions_out_of_fold(data):
    X, y = data
    members = [(f"{k}", make_pipeline(**CLOSED, latent_dim=k)) for k in (1, 3)]
    stack = StackingClassifier(members, LogisticRegression(), cv=3).fit(X, y)
    given = [
        cross_val_predict(pipeline, X, y, cv=3, method="predict_proba")
        for _, pipeline in members
    ]
    final = LogisticRegression().fit(np.hstack(given), y)
    np.testing.assert_array_equal(stack.final_estimator_.coef_, final.coef_)
    probabilities = [pipeline.fit(X, y).predict_proba(X) for _, pipeline in members]
    np.testing.assert_array_equal(
        stack.predict(X), final.predict(np.hstack(probabilities))
    )


def test_cross_validate_with_several_metrics(data):
    X, y = data
    metrics = {
        "accuracy": "accuracy",
        "f1": "f1_macro",
        "elbo": lambda pipeline, X, y: pipeline["vae"].score(X),
    }
    got = cross_validate(
        make_pipeline(**CLOSED), X, y, scoring=metrics, cv=3, return_train_score=True
    )
    for fold, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        pipeline = make_pipeline(**CLOSED).fit(X[train], y[train])
        for name, rows in (("train", train), ("test", test)):
            predicted = pipeline.predict(X[rows])
            assert got[f"{name}_accuracy"][fold] == accuracy_score(y[rows], predicted)
            expected = f1_score(y[rows], predicted, average="macro")
            assert got[f"{name}_f1"][fold] == expected
            assert got[f"{name}_elbo"][fold] == pipeline["vae"].score(X[rows])


def test_the_transformed_target_teaches_and_predictions_are_in_units_of_y(data):
    X, _ = data
    y = np.exp(X.mean(axis=1).astype(float))
    vae = ConvVAETransformer(2, label_weight=1.0, **CLOSED)
    pipeline = Pipeline([("vae", vae), ("knn", KNeighborsRegressor(3))])
    regressor = TransformedTargetRegressor(pipeline, func=np.log, inverse_func=np.exp)
    regressor.fit(X, y)
    assert regressor.regressor_["vae"].target_offset_ == pytest.approx(np.log(y).mean())
    expected = np.exp(pipeline.fit(X, np.log(y)).predict(X))
    np.testing.assert_allclose(regressor.predict(X), expected, rtol=1e-12)
    assert regressor.score(X, y) > 0.5


def test_metadata_is_routed_around_it_and_classes_to_partial_fit(data):
    X, y = data
    weights = np.where(y == 0, 100.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        steps = [("vae", ConvVAETransformer(2, **CLOSED)), ("last", last)]
        weighted = Pipeline(steps).fit(X, y, sample_weight=weights)
        vae = ConvVAETransformer().set_partial_fit_request(classes=True)
        routing = vae.get_metadata_routing()
    Z = ConvVAETransformer(2, **CLOSED).fit_transform(X)
    expected = LogisticRegression().fit(Z, y, weights).predict(Z)
    assert (expected != LogisticRegression().fit(Z, y).predict(Z)).any()
    np.testing.assert_array_equal(weighted.predict(X), expected)
    params = {"classes", "sample_weight"}
    assert routing.consumes("partial_fit", params) == {"classes"}
    assert not routing.consumes("fit", params)


# Pipelines of others


@pytest.mark.peer
def test_pipelines_of_aeon_take_it_as_scikit_learn_does(data):
    compose = pytest.importorskip("aeon.classification.compose")
    from aeon.pipeline import make_pipeline as aeon_pipeline

    X, y = data
    vae, knn = ConvVAETransformer(2, **CLOSED), KNeighborsClassifier()
    expected = Pipeline([("vae", vae), ("knn", knn)]).fit(X, y).predict_proba(X)
    for pipeline in (compose.ClassifierPipeline([vae], knn), aeon_pipeline(vae, knn)):
        for signals in (X, X[:, None]):
            got = pipeline.fit(signals, y).predict_proba(signals)
            np.testing.assert_array_equal(got, expected)


@pytest.mark.peer
def test_a_pipeline_of_scikit_learn_takes_what_aeon_has(data):
    """Its own refuses what is not univariate, unless all in it are aeon's."""
    collection = pytest.importorskip("aeon.transformations.collection")
    X, y = data
    cube = np.stack([X, 5 - X], axis=1).astype(float)
    steps = [
        ("norm", collection.Normalizer()),
        ("vae", ConvVAETransformer(2, **CLOSED)),
        ("knn", KNeighborsClassifier()),
    ]
    got = Pipeline(steps).fit(cube, y).predict_proba(cube)
    mean, std = cube.mean(axis=2, keepdims=True), cube.std(axis=2, keepdims=True)
    Z = ConvVAETransformer(2, **CLOSED).fit_transform((cube - mean) / std)
    np.testing.assert_array_equal(
        got, KNeighborsClassifier().fit(Z, y).predict_proba(Z)
    )
    unequal = [x[:, : 24 - i % 3] for i, x in enumerate(cube)]
    Z = ConvVAETransformer(2, **CLOSED).fit_transform(unequal)
    assert Pipeline(steps[1:]).fit(unequal, y).score(unequal, y) == (
        KNeighborsClassifier().fit(Z, y).score(Z, y)
    )


@pytest.mark.peer
# sktime's own warnings, of deprecations and of versions that it does not know.
@pytest.mark.filterwarnings("default")
def test_a_pipeline_of_sktime_takes_it_after_a_tabularizer(data):
    """Without one sktime fits it anew to the time steps of each signal."""
    pipeline = pytest.importorskip("sktime.pipeline", reason="needs sktime")
    from sktime.datatypes import convert
    from sktime.transformations.panel.reduce import Tabularizer

    X, y = data
    cube = np.stack([X, 5 - X], axis=1).astype(float)
    vae, knn = ConvVAETransformer(2, n_channels=2, **CLOSED), KNeighborsClassifier()
    expected = Pipeline([("vae", vae), ("knn", knn)]).fit(cube, y).predict_proba(cube)
    for kind in ("numpy3D", "pd-multiindex"):
        signals = convert(cube, "numpy3D", kind)
        got = pipeline.make_pipeline(Tabularizer(), vae, knn).fit(signals, y)
        np.testing.assert_array_equal(got.predict_proba(signals), expected)


class LogFits(Callback):
    """Writes a word for each training, also into files of other processes."""

    def __init__(self, path):
        self.path = path

    def on_train_begin(self, net, **kwargs):
        with open(self.path, "a") as file:
            file.write("fit")
