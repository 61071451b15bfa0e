"""Beside libraries of spectra, recordings and time series, each as it is used."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from test_beside import ROWS

from skvae import ConvVAETransformer, plotting

pytestmark = pytest.mark.extra

# Forty signals of two channels and 60 time steps, whose second channel has a class.
rng = np.random.default_rng(0)
Y = np.repeat(["a", "b"], 20)
X = rng.normal(size=(40, 2, 60)).cumsum(axis=2)
X[Y == "b", 1] += 5 * np.sin(np.arange(60) / 4)
RAGGED = [x[:, : 60 - i % 8] for i, x in enumerate(X)]

AXIS = np.arange(900.0, 1020.0, 2.0)
PEAKS = np.exp(-(((AXIS - rng.uniform(930, 990, (40, 1))) / 15) ** 2))
SPECTRA = PEAKS + rng.uniform(0, 1, (40, 1)) + 0.01 * rng.normal(size=(40, 60))


def make_vae(latent_dim=4, **params):
    params = {"max_epochs": 0, "random_state": 0, "device": "cpu", **params}
    return ConvVAETransformer(latent_dim, **params)


def of(library, *names):
    """Names of a library, which is needed."""
    module = pytest.importorskip(library)
    return [getattr(module, name) for name in names]


def run_line(library, **names):
    """The model of a library's line of the README."""
    names |= {library: __import__(library), "make_pipeline": make_pipeline}
    names |= {"KNeighborsClassifier": KNeighborsClassifier}
    exec(ROWS[library], names)
    return names["model"]


# chemotools


def preprocessing():
    (SNV,) = of("chemotools.scatter", "StandardNormalVariate")
    (SavitzkyGolay,) = of("chemotools.derivative", "SavitzkyGolay")
    (RangeCut,) = of("chemotools.feature_selection", "RangeCut")
    smooth = SavitzkyGolay(window_length=5, polyorder=2)
    return SNV(), smooth, RangeCut(920, 1000, x_axis=AXIS)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_wavelengths_pass_chemotools(container):
    library = pytest.importorskip(container)
    names = [f"{wavelength:g} nm" for wavelength in AXIS]
    frame = library.DataFrame(dict(zip(names, SPECTRA.T, strict=True)))
    pipeline = make_pipeline(*preprocessing(), make_vae())
    pipeline.set_output(transform=container)
    latents = pipeline.fit_transform(frame)
    signals = pipeline[-1].inverse_transform(latents)
    kept = [name for name in names if 920 <= float(name[:-3]) < 1000]
    assert list(latents.columns) == [f"convvaetransformer{i}" for i in range(4)]
    assert list(signals.columns) == kept
    values = SPECTRA
    for step in preprocessing():
        values = step.fit_transform(values)
    plain = make_vae().fit(values)
    np.testing.assert_array_equal(latents.to_numpy(), plain.transform(values))
    np.testing.assert_array_equal(signals.to_numpy(), plain.reconstruct(values))
    display = plotting.ReconstructionDisplay.from_estimator(pipeline, frame)
    drawn = display.figure_.axes[0].lines[0].get_xdata()
    np.testing.assert_array_equal(drawn, AXIS[(AXIS >= 920) & (AXIS < 1000)])
    grid = {"convvaetransformer__latent_dim": [2, 4]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(frame)
    assert list(search.best_estimator_[-1].feature_names_in_) == kept


def test_line_of_chemotools():
    pd = pytest.importorskip("pandas")
    snv, _, _ = preprocessing()
    (SavitzkyGolay,) = of("chemotools.derivative", "SavitzkyGolay")
    frame = pd.DataFrame(SPECTRA, columns=AXIS).rename(columns=str)
    model = run_line("chemotools", vae=make_vae())
    latents = model.fit_transform(frame)
    changed = SavitzkyGolay().fit_transform(snv.fit_transform(SPECTRA))
    np.testing.assert_array_equal(latents, make_vae().fit_transform(changed))
    assert model[-1].inverse_transform(latents).columns.equals(frame.columns)


def test_numbers_as_names_do_not_pass_chemotools_unless_they_are_text():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(SPECTRA, columns=AXIS)
    pipeline = make_pipeline(preprocessing()[0], make_vae())
    pipeline.set_output(transform="pandas").fit(frame)
    np.testing.assert_array_equal(pipeline[-1].timepoints_in_, np.arange(60))
    pipeline.fit(frame.rename(columns=str))
    np.testing.assert_array_equal(pipeline[-1].timepoints_in_, AXIS)


def test_the_way_back_through_chemotools():
    snv, _, cut = preprocessing()
    pipeline = make_pipeline(cut, make_vae()).fit(SPECTRA)
    latents = pipeline.transform(SPECTRA)
    signals = pipeline.inverse_transform(latents)  # scikit-learn's, with zeros outside
    is_kept = (AXIS >= 920) & (AXIS < 1000)
    assert not signals[:, ~is_kept].any()
    np.testing.assert_array_equal(
        signals[:, is_kept], pipeline[-1].inverse_transform(latents)
    )
    assert not hasattr(make_pipeline(snv, make_vae()), "inverse_transform")


def test_augmentation_of_chemotools_goes_on_after_the_fit():
    (AddNoise,) = of("chemotools.augmentation", "AddNoise")
    noise = AddNoise(scale=0.1, random_state=0)
    pipeline = make_pipeline(noise, make_vae()).fit(SPECTRA)
    first, second = (pipeline.transform(SPECTRA) for _ in range(2))
    assert np.abs(first - second).max() > 0.1 * first.std()
    np.testing.assert_array_equal(
        pipeline[-1].transform(SPECTRA), pipeline[1:].transform(SPECTRA)
    )


# mne


@pytest.fixture
def decoding():
    mne = pytest.importorskip("mne")
    mne.set_log_level("ERROR")
    return pytest.importorskip("mne.decoding")


@pytest.fixture
def epochs(decoding):
    import mne

    events = np.c_[np.arange(40), np.zeros(40, int), Y == "b"]
    info = mne.create_info(2, 100.0, "eeg")
    return mne.EpochsArray(1e-6 * X, info, events=events)


def test_epochs_of_mne_are_signals(decoding, epochs):
    volts = epochs.get_data()
    vae = make_vae().fit(epochs)
    np.testing.assert_array_equal(
        vae.transform(epochs), make_vae().fit_transform(volts)
    )
    np.testing.assert_array_equal(vae.reconstruct(epochs), vae.reconstruct(volts))
    model = make_pipeline(make_vae(whiten=True), LogisticRegression())
    scores = cross_val_score(model, volts, Y, cv=3)
    assert scores.mean() > 0.8
    np.testing.assert_array_equal(cross_val_score(model, epochs, Y, cv=3), scores)
    several = decoding.cross_val_multiscore(model, epochs, Y, cv=3)
    np.testing.assert_array_equal(several, scores)


def test_latents_in_volts_need_whiten_for_a_linear_classifier(epochs):
    model = make_pipeline(make_vae(), LogisticRegression()).fit(epochs, Y)
    assert np.abs(model.predict_proba(epochs) - 0.5).max() < 1e-6
    model.set_params(convvaetransformer__whiten=True).fit(epochs, Y)
    assert model.score(epochs, Y) > 0.8


def test_windows_in_a_sliding_estimator(decoding, epochs):
    model = make_pipeline(make_vae(whiten=True), LogisticRegression())
    windows = sliding_window_view(epochs.get_data(), 20, axis=2)
    windows = windows[:, :, ::10].swapaxes(2, 3)  # (n, c, 20, n_windows)
    sliding = decoding.SlidingEstimator(model).fit(windows, Y)
    assert windows.shape == (40, 2, 20, 5)
    for k in range(5):
        part = epochs.get_data()[:, :, 10 * k : 10 * k + 20]
        expected = model.fit(part, Y).predict_proba(part)
        np.testing.assert_array_equal(sliding.predict_proba(windows)[:, k], expected)
    scores = decoding.cross_val_multiscore(sliding, windows, Y, cv=2)
    assert scores.shape == (2, 5)
    general = decoding.GeneralizingEstimator(model).fit(windows, Y)
    scores = general.score(windows, Y)
    np.testing.assert_array_equal(np.diag(scores), sliding.score(windows, Y))


def test_line_of_mne(epochs):
    vae = make_vae(whiten=True)
    names = {"sliding_window_view": sliding_window_view, "epochs": epochs, "y": Y}
    names |= {"LogisticRegression": LogisticRegression, "vae": vae}
    sliding = run_line("mne", **names)
    part = epochs.get_data()[:, :, 7:27]
    expected = make_pipeline(vae, LogisticRegression()).fit(part, Y)
    np.testing.assert_array_equal(
        sliding.estimators_[7].predict_proba(part), expected.predict_proba(part)
    )
    assert len(sliding.estimators_) == 41


STEPS_OF_MNE = {
    "Vectorizer": {},
    "Scaler": {"scalings": "mean"},
    "CSP": {"n_components": 2, "transform_into": "csp_space"},
    "UnsupervisedSpatialFilter": {"estimator": PCA(2)},
    "XdawnTransformer": {"n_components": 2},
    "TemporalFilter": {"h_freq": 30.0, "sfreq": 100.0},
}


@pytest.mark.parametrize("name", STEPS_OF_MNE)
def test_steps_of_mne_before_the_model(decoding, name):
    step = getattr(decoding, name)(**STEPS_OF_MNE[name])
    changed = step.fit_transform(X.copy(), Y)  # a TemporalFilter writes to its input
    expected = make_vae().fit_transform(changed.reshape(40, -1, 60))
    pipeline = make_pipeline(step, make_vae(n_channels=changed[0].size // 60))
    np.testing.assert_array_equal(pipeline.fit_transform(X.copy(), Y), expected)
    if name in ("Vectorizer", "Scaler"):
        signals = pipeline[-1].inverse_transform(expected)
        back = pipeline.inverse_transform(expected)
        np.testing.assert_array_equal(back, step.inverse_transform(signals))
        assert back.shape == X.shape


def test_patterns_of_mne_are_signals(decoding, epochs):
    linear = decoding.LinearModel(LogisticRegression())
    model = make_pipeline(make_vae(whiten=True), linear).fit(epochs.get_data(), Y)
    pattern = decoding.get_coef(model, "patterns_", inverse_transform=True)
    expected = model[0].inverse_transform(linear.patterns_[None])[0]
    np.testing.assert_array_equal(pattern, expected)
    mean = model[0].inverse_transform(np.zeros((1, 4)))[0]  # which a pattern contains
    difference = epochs.get_data()[Y == "b"].mean(0) - epochs.get_data()[Y == "a"].mean(
        0
    )
    assert np.corrcoef((pattern - mean)[1], difference[1])[0, 1] > 0.9


# aeon

# Numba's, of a distance of aeon.
IGNORE_CASTS = pytest.mark.filterwarnings("ignore:unsafe cast from uint64")


def test_steps_of_aeon_before_the_model():
    names = "Normalizer", "Tabularizer"
    Normalizer, Tabularizer = of("aeon.transformations.collection", *names)
    for signals in (X, RAGGED):
        model = make_pipeline(Normalizer(), make_vae(), KNeighborsClassifier())
        changed = Normalizer().fit_transform(signals)
        expected = make_pipeline(make_vae(), KNeighborsClassifier()).fit(changed, Y)
        probabilities = model.fit(signals, Y).predict_proba(signals)
        np.testing.assert_array_equal(probabilities, expected.predict_proba(changed))
    flat = make_pipeline(Tabularizer(), make_vae(n_channels=2))
    np.testing.assert_array_equal(flat.fit_transform(X), make_vae().fit_transform(X))


def test_line_of_aeon():
    (Normalizer,) = of("aeon.transformations.collection", "Normalizer")
    model = run_line("aeon", vae=make_vae())
    changed = Normalizer().fit_transform(RAGGED)
    expected = make_pipeline(make_vae(), KNeighborsClassifier()).fit(changed, Y)
    probabilities = model.fit(RAGGED, Y).predict_proba(RAGGED)
    np.testing.assert_array_equal(probabilities, expected.predict_proba(changed))


@IGNORE_CASTS
def test_pipelines_of_aeon_take_one_channel():
    (make_aeon_pipeline,) = of("aeon.pipeline", "make_pipeline")
    (Nearest,) = of(
        "aeon.classification.distance_based", "KNeighborsTimeSeriesClassifier"
    )
    (ClustererPipeline,) = of("aeon.clustering.compose", "ClustererPipeline")
    one = X[:, 1:]
    latents = make_vae().fit_transform(one)
    model = make_aeon_pipeline(make_vae(), KNeighborsClassifier()).fit(one, Y)
    expected = KNeighborsClassifier().fit(latents, Y).predict_proba(latents)
    np.testing.assert_array_equal(model.predict_proba(one), expected)
    model = make_aeon_pipeline(make_vae(), Nearest(distance="euclidean")).fit(one, Y)
    expected = KNeighborsClassifier(1).fit(latents, Y).predict(latents)
    np.testing.assert_array_equal(model.predict(one), expected)
    means = KMeans(2, random_state=0)
    clusters = ClustererPipeline(make_vae(), means).fit_predict(one)
    np.testing.assert_array_equal(clusters, means.fit_predict(latents))
    with pytest.raises(ValueError, match="multivariate series"):
        model.fit(X, Y)


@pytest.mark.parametrize("name", ["VotingClassifier", "StackingClassifier"])
def test_a_classifier_of_aeon_beside_the_model(name):
    from sklearn import ensemble

    ours = make_pipeline(make_vae(), KNeighborsClassifier())
    (Rocket,) = of("aeon.classification.convolution_based", "RocketClassifier")
    rocket = Rocket(500, random_state=0)
    both = getattr(ensemble, name)([("ours", ours), ("rocket", rocket)])
    both.fit(X[::2], Y[::2])
    assert both.score(X[1::2], Y[1::2]) > 0.7
    alone = ours.fit(X[::2], Y[::2]).predict_proba(X)
    np.testing.assert_array_equal(both.estimators_[0].predict_proba(X), alone)


# sktime

SKTIME_CLASSIFIERS = "sktime.classification.compose"
SKTIME_TABLES = "sktime.transformations.panel.reduce"


def test_line_of_sktime():
    (Tabularizer,) = of(SKTIME_TABLES, "Tabularizer")
    of("sktime.pipeline", "make_pipeline")
    model = run_line("sktime", vae=make_vae(n_channels=2), Tabularizer=Tabularizer)
    expected = make_pipeline(make_vae(), KNeighborsClassifier()).fit(X, Y)
    probabilities = model.fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(probabilities, expected.predict_proba(X))


def test_pipelines_of_sktime_take_a_table_first():
    expected = make_pipeline(make_vae(), KNeighborsClassifier()).fit(X, Y)
    (make_sktime_pipeline,) = of("sktime.pipeline", "make_pipeline")
    (ClassifierPipeline,) = of(SKTIME_CLASSIFIERS, "SklearnClassifierPipeline")
    (Tabularizer,) = of(SKTIME_TABLES, "Tabularizer")
    (FeatureUnion,) = of("sktime.transformations.compose", "FeatureUnion")
    (Summary,) = of("sktime.transformations.series.summarize", "SummaryTransformer")
    (evaluate,) = of("sktime.classification.model_evaluation", "evaluate")
    vae, tabularizer = make_vae(n_channels=2), Tabularizer()
    of_sktime = make_sktime_pipeline(tabularizer, vae, KNeighborsClassifier())
    inside = ClassifierPipeline(
        make_pipeline(vae, KNeighborsClassifier()), [tabularizer]
    )
    for model in (of_sktime, inside):
        model.fit(X, Y)
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    union = FeatureUnion([("ours", tabularizer * vae), ("summary", Summary())])
    features = union.fit_transform(X)
    np.testing.assert_array_equal(features.iloc[:, :4], expected[0].transform(X))
    scores = evaluate(inside, X=X, y=Y, cv=2)
    assert scores["test_accuracy_score"].mean() > 0.6


def test_panels_of_sktime():
    (convert,) = of("sktime.datatypes", "convert")
    expected = make_vae().fit_transform(X)
    nested = convert(X, "numpy3D", "nested_univ")
    np.testing.assert_array_equal(make_vae().fit_transform(nested), expected)
    rows = convert(X, "numpy3D", "pd-multiindex")
    with pytest.raises(ValueError, match=r"X = X.unstack\(-1\)"):
        make_vae().fit(rows)
    np.testing.assert_array_equal(make_vae().fit_transform(rows.unstack(-1)), expected)


def test_a_model_for_each_channel_of_sktime():
    names = "ColumnEnsembleClassifier", "SklearnClassifierPipeline"
    ColumnEnsemble, ClassifierPipeline = of(SKTIME_CLASSIFIERS, *names)
    (Tabularizer,) = of(SKTIME_TABLES, "Tabularizer")
    model = make_pipeline(make_vae(), KNeighborsClassifier())
    for_one = ClassifierPipeline(model, [Tabularizer()])
    parts = [("first", for_one, [0]), ("second", for_one, [1])]
    both = ColumnEnsemble(parts).fit(X, Y)
    expected = [model.fit(x, Y).predict_proba(x) for x in X.swapaxes(0, 1)]
    np.testing.assert_allclose(both.predict_proba(X), np.mean(expected, axis=0))


# sktime's own: a setting whose default changes in its version 1.3.
@pytest.mark.filterwarnings("ignore:The default of config ``remember_data``")
@pytest.mark.parametrize("regressor", [Ridge(), KNeighborsRegressor()])
def test_forecasts_of_sktime_from_latents(regressor):
    pd = pytest.importorskip("pandas")
    (make_reduction,) = of("sktime.forecasting.compose", "make_reduction")
    hours = np.arange(200)
    load = 10 + np.sin(hours / 24 * 2 * np.pi) + 0.1 * rng.normal(size=200)
    model = make_pipeline(make_vae(), regressor)
    forecaster = make_reduction(model, window_length=48, strategy="multioutput")
    got = forecaster.fit(pd.Series(load), fh=np.arange(1, 25)).predict()
    windows = sliding_window_view(load, 48 + 24)
    model.fit(windows[:, :48], windows[:, 48:])
    np.testing.assert_allclose(got, model.predict(load[None, -48:])[0], 1e-5)
    assert np.abs(got - 10 - np.sin((200 + np.arange(24)) / 12 * np.pi)).max() < 0.3
