"""Beside other libraries: each line of the README's table, and what users do."""

import pickle
import re
import warnings
from pathlib import Path

import conftest
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

README = (Path(__file__).parents[1] / "README.md").read_text()
TABLE = README.split("### Beside other libraries")[1].split("\n## ")[0]
ROWS = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", TABLE, re.MULTILINE))

X, Y = make_load_profiles(120, n_timepoints=48, random_state=0)
RARE = np.minimum(Y, 2)  # of these classes, the first two are rare
GAPS = X.copy()
GAPS[::3, :5] = np.nan
SPECTRA = pd.DataFrame(X, columns=[f"{400 + 2 * k} nm" for k in range(48)])
CHANNELS = X.reshape(-1, 2, 24)
UNEQUAL = [signal[: 48 - i % 5] for i, signal in enumerate(X)]
CELLS = pd.DataFrame({"a": list(CHANNELS[:, 0]), "b": list(CHANNELS[:, 1])})
ALL = {
    "array": X,
    "gaps": GAPS,
    "frame": SPECTRA,
    "channels": CHANNELS,
    "unequal": UNEQUAL,
    "cells": CELLS,
}
TYPES = [
    "skvae.transformer.ConvVAETransformer",
    "skvae.training.net.VAENet",
    "skvae.scaling.ChannelScaler",
]

pytestmark = pytest.mark.extra


def make_pipeline(last=None, **params):
    last = LogisticRegression(max_iter=2000) if last is None else last
    vae = ConvVAETransformer(**conftest.TINY | params)
    return Pipeline([("vae", vae), ("last", last)])


def run_line(library, **names):
    """The names after the library's line of the README."""
    exec(ROWS[library], names)
    return names


# imbalanced-learn, whose pipeline resamples in `fit` alone


@pytest.fixture
def smote():
    over_sampling = pytest.importorskip("imblearn.over_sampling")
    return over_sampling.SMOTE(random_state=0)


@pytest.fixture
def resampling(smote):
    """imbalanced-learn's pipeline of steps."""
    from imblearn.pipeline import Pipeline

    def make(*steps):
        return Pipeline([(type(step).__name__, step) for step in steps])

    return make


def test_smote_on_latents_finds_more_of_the_rare_classes(smote):
    """And its line is what the steps give one by one."""
    import imblearn.pipeline

    vae = ConvVAETransformer(max_epochs=0, random_state=0)
    names = {"imblearn": imblearn, "vae": vae, "X": X[:80], "y": RARE[:80]}
    names |= {"KNeighborsClassifier": KNeighborsClassifier}
    model = run_line("imblearn", **names)["model"].set_params(smote__random_state=0)
    latents, classes = smote.fit_resample(vae.fit_transform(X[:80]), RARE[:80])
    expected = KNeighborsClassifier().fit(latents, classes).predict(vae.transform(X))
    labels = model.fit(X[:80], RARE[:80]).predict(X)
    np.testing.assert_array_equal(labels, expected)
    plain = KNeighborsClassifier().fit(vae.transform(X[:80]), RARE[:80])
    without = plain.predict(vae.transform(X[80:]))
    with_smote, without = (
        balanced_accuracy_score(RARE[80:], predicted)
        for predicted in (labels[80:], without)
    )
    assert with_smote > without


@pytest.mark.parametrize("kind", ALL)
def test_smote_takes_the_latents_of_any_signals(kind, smote, resampling):
    model = resampling(make_pipeline()["vae"], smote, KNeighborsClassifier())
    model.set_output(transform="pandas").fit(ALL[kind], RARE)
    names = [f"convvaetransformer{k}" for k in range(2)]
    assert model[-1].feature_names_in_.tolist() == names
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict(ALL[kind]), model.predict(ALL[kind]))


def test_samplers_before_the_signals_are_learned(smote, resampling):
    """SMOTE mixes flat signals; channels come back with `n_channels`."""
    from imblearn.under_sampling import RandomUnderSampler

    vae = make_pipeline(n_channels=2, label_weight=2.0)["vae"]
    model = resampling(smote, vae, KNeighborsClassifier()).fit(X, RARE)
    assert model[1].n_samples_seen_ == 3 * (RARE == 2).sum()
    assert model[1].classes_.tolist() == [0, 1, 2]
    under = resampling(RandomUnderSampler(random_state=0), vae).fit(GAPS, RARE)
    assert under[1].n_samples_seen_ == 3 * min(np.bincount(RARE))
    with pytest.raises(ValueError, match="dim 3"):
        resampling(smote, vae).fit(CHANNELS, RARE)
    with pytest.raises(ValueError, match="contains NaN"):
        resampling(smote, vae).fit(GAPS, RARE)


def test_smote_takes_unlabelled_signals_for_a_class(smote, resampling):
    half = np.where(np.arange(len(X)) % 3, RARE, -1)
    vae = make_pipeline(label_weight=2.0)["vae"]
    model = resampling(vae, smote, KNeighborsClassifier()).fit(X, half)
    assert model[0].classes_.tolist() == [0, 1, 2]
    assert model[-1].classes_.tolist() == [-1, 0, 1, 2]


def test_a_search_over_a_pipeline_that_resamples(smote, resampling):
    model = resampling(make_pipeline()["vae"], smote, KNeighborsClassifier())
    grid = {"ConvVAETransformer__latent_dim": [2, 4], "SMOTE__k_neighbors": [2, 3]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X, RARE)
    model.set_params(**search.best_params_)
    scores = cross_val_score(model, X, RARE, cv=3)
    assert scores.mean() == pytest.approx(search.best_score_)


# MAPIE


@pytest.fixture
def mapie():
    pytest.importorskip("mapie")
    import mapie.classification
    import mapie.regression

    return mapie


def rows(signals, which):
    return signals.iloc[which] if hasattr(signals, "iloc") else signals[which]


FIRST, LAST = slice(0, 60), slice(60, None)


@pytest.mark.parametrize("kind", ALL)
def test_conformal_sets_of_a_fitted_pipeline(mapie, kind):
    """They cover the labels, and are what a threshold on probabilities gives."""
    signals = ALL[kind]
    pipeline = make_pipeline().fit(rows(signals, FIRST), Y[FIRST])
    held_out = rows(signals, LAST)
    if kind in ("channels", "cells"):
        with pytest.raises(ValueError, match="n_features_in_"):
            run_line("mapie", mapie=mapie, pipeline=pipeline, X=held_out, y=Y[LAST])
        held_out = X[LAST]  # the same signals, one channel after the other
    names = {"mapie": mapie, "pipeline": pipeline, "X": held_out, "y": Y[LAST]}
    sets = run_line("mapie", **names)["sets"][:, :, 0]
    probabilities = pipeline.predict_proba(held_out)
    true = probabilities[np.arange(60), Y[LAST]]
    assert sets.shape == (60, 7)
    assert np.mean(sets[np.arange(60), Y[LAST]]) >= 0.9
    # Without a fit of MAPIE's: a set holds all classes above one probability.
    threshold = np.sort(true)[int(60 - np.ceil(61 * 0.9))]
    np.testing.assert_array_equal(sets, probabilities >= threshold)


@pytest.mark.parametrize("kind", ALL)
def test_the_other_conformal_methods_take_any_signals(mapie, kind):
    signals, numbers = ALL[kind], X.sum(axis=1)
    pipeline = make_pipeline(LinearRegression(), label_weight=2.0)
    regressor = mapie.regression.SplitConformalRegressor(pipeline, prefit=False)
    regressor.fit(rows(signals, FIRST), numbers[FIRST])
    regressor.conformalize(rows(signals, LAST), numbers[LAST])
    predicted, interval = regressor.predict_interval(rows(signals, LAST))
    fitted = pipeline.fit(rows(signals, FIRST), numbers[FIRST])
    expected = fitted.predict(rows(signals, LAST))
    np.testing.assert_allclose(predicted, expected)
    inside = (interval[:, 0, 0] <= numbers[LAST]) & (numbers[LAST] <= interval[:, 1, 0])
    assert inside.mean() >= 0.9
    crossed = mapie.classification.CrossConformalClassifier(make_pipeline(), cv=3)
    _, sets = crossed.fit_conformalize(signals, Y).predict_set(signals)
    assert np.mean(sets[np.arange(len(Y)), Y, 0]) >= 0.8


# skops


@pytest.fixture
def skops():
    pytest.importorskip("skops")
    import skops.card
    import skops.io

    return skops


def test_skops_needs_three_types_of_ours(skops, tmp_path):
    for params in (
        {},
        {"label_weight": 2.0, "random_state": np.random.RandomState(0)},
        {"early_stopping": True, "net_params": {"kl_warmup": 0.5}},
        {"linear_path": False, "batch_norm": True, "likelihood": "laplace"},
    ):
        pipeline = make_pipeline(**params).fit(SPECTRA, Y)
        names = {"pipeline": pipeline, "types": TYPES, "path": tmp_path / "x"}
        names = run_line("skops", skops=skops, **names)
        assert set(skops.io.get_untrusted_types(file=tmp_path / "x")) == set(TYPES)
        vae, other = pipeline["vae"], names["pipeline"]["vae"]
        for method in ("transform", "reconstruct", "impute", "score_samples"):
            expected = getattr(vae, method)(SPECTRA)
            np.testing.assert_array_equal(getattr(other, method)(SPECTRA), expected)
        labels = names["pipeline"].predict(SPECTRA)
        np.testing.assert_array_equal(labels, pipeline.predict(SPECTRA))


def test_a_card_of_skops(skops):
    card = skops.card.Card(make_pipeline().fit(X, Y)).render()
    assert re.search(r"vae__latent_dim *\| *2 *\|", card)


# mlflow


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    pytest.importorskip("skops")
    pytest.importorskip("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own type hints
        import mlflow.pyfunc
        import mlflow.sklearn
    monkeypatch.chdir(tmp_path)
    # It would load each model in a process of its own, to see what that imports.
    monkeypatch.setattr(mlflow.models, "infer_pip_requirements", lambda *_, **__: [])
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow
    mlflow.sklearn.autolog(disable=True)
    mlflow.set_tracking_uri(before)


# mlflow's own: a folder that it leaves to the collector.
ignore_scandir = pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*Scandir:pytest.PytestUnraisableExceptionWarning"
)


@ignore_scandir
@pytest.mark.parametrize("kind", ["array", "gaps", "frame", "channels"])
def test_mlflow_loads_the_pipeline_with_and_without_a_signature(mlflow, kind):
    signals = ALL[kind]
    pipeline = make_pipeline().fit(signals, Y)
    run_line("mlflow", mlflow=mlflow, pipeline=pipeline, types=TYPES, path="plain")
    signature = mlflow.models.infer_signature(signals, pipeline.predict(signals))
    options = {"skops_trusted_types": TYPES, "signature": signature}
    mlflow.sklearn.save_model(pipeline, "signed", **options)
    labels = pipeline.predict(signals)
    for path in ("plain", "signed"):
        for load_model in (mlflow.sklearn.load_model, mlflow.pyfunc.load_model):
            np.testing.assert_array_equal(load_model(path).predict(signals), labels)


@ignore_scandir
def test_mlflow_without_trusted_types_names_ours(mlflow):
    pipeline = make_pipeline().fit(X, Y)
    with pytest.raises(mlflow.MlflowException, match="untrusted") as error:
        mlflow.sklearn.save_model(pipeline, "refused")
    assert all(name in str(error.value) for name in TYPES)
    mlflow.sklearn.save_model(pipeline, "other", serialization_format="cloudpickle")
    other = mlflow.sklearn.load_model("other")
    np.testing.assert_array_equal(other.predict(X), pipeline.predict(X))


# mlflow's own, of SQLAlchemy 2.1 and scikit-learn 1.9, which end its run unseen.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader")
@pytest.mark.filterwarnings("ignore:`y_pred` was renamed:FutureWarning")
def test_mlflow_logs_a_search_by_itself(mlflow):
    mlflow.sklearn.autolog()
    grid = {"vae__latent_dim": [2, 3]}
    search = GridSearchCV(make_pipeline(), grid, cv=3).fit(X, Y)
    run = mlflow.last_active_run().data
    latent_dim = search.best_params_["vae__latent_dim"]
    assert run.params["best_vae__latent_dim"] == str(latent_dim)
    assert run.metrics["best_cv_score"] == pytest.approx(search.best_score_)
    models = mlflow.search_logged_models(output_format="list")
    assert models
    for model in models:
        other = mlflow.sklearn.load_model(model.model_uri)
        np.testing.assert_array_equal(other.predict(X), search.predict(X))


# Optuna


@pytest.fixture
def optuna():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def test_optuna_finds_in_two_threads_what_a_loop_finds(optuna):
    """Fits in threads share the generators of PyTorch, but no random number."""
    pipeline = make_pipeline(max_epochs=2)
    grid = {"latent_dim": [2, 3, 4, 6, 8]}
    sampler = optuna.samplers.GridSampler(grid, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    names = {"study": study, "pipeline": pipeline, "X": X, "y": Y}
    run_line("optuna", clone=clone, cross_val_score=cross_val_score, **names)
    found = {trial.params["latent_dim"]: trial.value for trial in study.trials}
    assert sorted(found) == grid["latent_dim"]
    for latent_dim, score in found.items():
        pipeline.set_params(vae__latent_dim=latent_dim)
        assert cross_val_score(pipeline, X, Y).mean() == score
    assert study.best_value == max(found.values())


# OptunaSearchCV is experimental, and itself imports a deprecated module of Optuna.
@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental")
@pytest.mark.filterwarnings("ignore:`optuna.terminator` module:FutureWarning")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_search_of_optuna_integration(optuna, n_jobs):
    integration = pytest.importorskip("optuna_integration")
    spaces = {"vae__latent_dim": optuna.distributions.IntDistribution(2, 6)}
    options = {"cv": 3, "n_trials": 4, "random_state": 0, "n_jobs": n_jobs}
    search = integration.OptunaSearchCV(make_pipeline(), spaces, **options).fit(X, Y)
    pipeline = make_pipeline().set_params(**search.best_params_)
    scores = cross_val_score(pipeline, X, Y, cv=3)
    assert search.best_score_ == pytest.approx(scores.mean())
    np.testing.assert_array_equal(search.predict(X), pipeline.fit(X, Y).predict(X))


# Ours: a first call should have more signals than this small set.
@pytest.mark.filterwarnings("ignore:The first call of partial_fit got")
def test_optuna_prunes_between_epochs(optuna):
    def objective(trial):
        vae = make_pipeline(latent_dim=8 if trial.number < 2 else 1)["vae"]
        for epoch in range(2):
            score = vae.partial_fit(X[:80]).score(X[80:])
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(objective, n_trials=3)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED"]
