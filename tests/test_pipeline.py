"""In pipelines, searches, caches and pickles."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (as documented)
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
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


class LogFits(Callback):
    """Writes a word for each training, also into files of other processes."""

    def __init__(self, path):
        self.path = path

    def on_train_begin(self, net, **kwargs):
        with open(self.path, "a") as file:
            file.write("fit")
