"""scikit-learn's callbacks: what they are told of a fit, and what they may do."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer

callback = pytest.importorskip(
    "sklearn.callback", reason="scikit-learn before 1.9 has no callbacks"
)

# Of scikit-learn, during a fit.
CONTEXT = "_callback_fit_ctx", "_skl_callbacks_to_teardown"
CONSTANT = {"net_params": {"lr_schedule": None}}


def elbo(estimator, X, y):
    return estimator.score(X)


class Recorder:
    """Keeps what it is told, and asks to stop after an epoch."""

    def __init__(self, stop_after=None, fail_after=None):
        self.stop_after, self.fail_after = stop_after, fail_after
        self.events, self.fitted, self.given = [], [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.events.append(f"begin {context.task_name}")
        self.given.append((X, y, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.fitted.append(fitted_estimator)
        n_epochs = self.events.count("end epoch")
        if n_epochs == self.fail_after:
            raise RuntimeError("no more")
        return n_epochs == self.stop_after


class Everywhere(Recorder):
    """One that a search hands down to what it searches."""

    max_propagation_depth = None


def test_a_fit_is_told_as_a_task_with_its_epochs(waves):
    recorder = Recorder()
    vae = ConvVAETransformer(2, max_epochs=3).set_callbacks(recorder).fit(waves)
    epochs = ["begin epoch", "end epoch"] * 3
    assert recorder.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    X, y, n_epochs = recorder.given[0]
    assert X is waves
    assert (y == -1).all(), "-1 is unlabelled"
    assert n_epochs == 3
    labels = np.arange(len(waves)) % 2
    vae.fit(waves, labels)
    assert recorder.given[-1][1] is labels


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({}, "fit"),
        ({"label_weight": 1.0}, "fit"),
        ({"linear_path": False, "batch_norm": True}, "fit"),
        ({"warm_start": True}, "fit"),
        ({"label_weight": 1.0}, "partial_fit"),
        ({"max_epochs": 0}, "fit"),
    ],
    ids=["default", "head", "thread", "warm", "partial", "closed form"],
)
def test_callbacks_change_no_bit_and_see_what_the_fit_will_give(
    waves, settings, method
):
    y = np.arange(len(waves)) % 5  # a head, for two latents
    parameters = {"max_epochs": 3, "random_state": 0, "dropout": 0.3} | settings
    alone = ConvVAETransformer(2, **parameters).fit(waves, y)
    watched = copy.deepcopy(alone) if method == "partial_fit" else clone(alone)
    if "warm_start" in settings:
        watched.fit(waves, y)
    if method == "partial_fit" or "warm_start" in settings:
        getattr(alone, method)(waves, y)
    recorder = Recorder()
    getattr(watched.set_callbacks(recorder), method)(waves, y)
    n_told = min(2, len(recorder.fitted))  # of the last epoch, and of the fit
    for vae in (watched, *recorder.fitted[-n_told:]):
        for name in ("transform", "score_samples"):
            expected = getattr(alone, name)(waves)
            np.testing.assert_array_equal(getattr(vae, name)(waves), expected)
        assert vars(vae).keys() - {"_skl_callbacks", *CONTEXT} == vars(alone).keys()
        np.testing.assert_array_equal(vae.kl_per_dim_, alone.kl_per_dim_)
    if method == "fit" and parameters["max_epochs"] > 1:
        early, late = recorder.fitted[0], recorder.fitted[1]
        assert (len(early.history_["epoch"]), early.n_epochs_) == (1, 1)
        assert (early.reconstruct(waves) != late.reconstruct(waves)).any()


def test_a_callback_ends_training_after_an_epoch(waves):
    settings = {"random_state": 0, **CONSTANT}
    vae = ConvVAETransformer(2, max_epochs=9, **settings)
    recorder = Recorder(stop_after=2)
    vae.set_callbacks(recorder).fit(waves)
    assert vae.n_epochs_ == 2
    assert recorder.events[-2:] == ["end fit", "teardown"]
    two = ConvVAETransformer(2, max_epochs=2, **settings).fit(waves)
    np.testing.assert_array_equal(vae.transform(waves), two.transform(waves))
    assert vae.set_callbacks().fit(waves).n_epochs_ == 9


class Saver(Recorder):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        fitted_estimator.save(self.path)
        return super().on_fit_task_end(
            estimator, context, fitted_estimator=fitted_estimator
        )


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_what_a_callback_is_given_is_its_own(waves, tmp_path):
    """Whatever is done with it, training goes on as before."""
    recorder = Saver(tmp_path / "vae")
    y = np.arange(len(waves)) % 2
    vae = ConvVAETransformer(2, label_weight=1.0, max_epochs=1).fit(waves, y)
    vae.set_params(label_weight=0.0, max_epochs=3, early_stopping=True)
    vae.set_callbacks(recorder).fit(waves)
    first, *_, last = recorder.fitted[:3]
    assert (first.best_epoch_, len(first.net_.history)) == (1, 1)
    assert (last.best_epoch_, len(last.net_.history)) == (3, 3)
    assert first.net_.optimizer_ is first.net_.tasks is None
    assert not hasattr(first, "classes_"), "those of the fit before"
    saved = ConvVAETransformer.load(recorder.path)
    np.testing.assert_array_equal(saved.transform(waves), vae.transform(waves))
    assert first.set_callbacks().partial_fit(waves[:50]).n_epochs_ == 1


def test_a_stop_that_is_asked_for_at_the_end_is_not_kept(waves):
    recorder = Recorder(stop_after=2)
    vae = ConvVAETransformer(2, max_epochs=2).set_callbacks(recorder).fit(waves)
    assert vae.net_.stops is False
    assert vae.set_callbacks().set_params(warm_start=True).fit(waves).n_epochs_ == 2


def test_a_checkpoint_remembers_the_stop(waves, tmp_path):
    settings = {"random_state": 0, "checkpoint": tmp_path / "fit", "max_epochs": 6}
    fits = [
        ConvVAETransformer(2, **settings)
        .set_callbacks(Recorder(stop_after=2))
        .fit(waves)
        for _ in range(2)
    ]
    assert [vae.n_epochs_ for vae in fits] == [2, 2]
    np.testing.assert_array_equal(*(vae.transform(waves) for vae in fits))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_that_goes_on_is_told_too(waves, method):
    recorder = Recorder()
    vae = ConvVAETransformer(2, max_epochs=1, warm_start=True).fit(waves)
    getattr(vae.set_callbacks(recorder), method)(waves)
    epoch = ["begin epoch", "end epoch"]
    assert recorder.events == ["setup", "begin fit", *epoch, "end fit", "teardown"]


@pytest.mark.parametrize("was_fitted", [False, True])
def test_an_error_in_a_callback_leaves_the_estimator_as_it_was(waves, was_fitted):
    recorder = Recorder(fail_after=2)
    vae = ConvVAETransformer(2, max_epochs=3, random_state=0)
    if was_fitted:
        vae.fit(waves)
    before = vars(vae.set_callbacks(recorder)).copy()
    with pytest.raises(RuntimeError, match="no more"):
        vae.fit(waves[:50])
    assert vars(vae) == before
    assert recorder.events[-1] == "teardown"


def test_bad_input_is_refused_with_callbacks_too(waves):
    recorder = Recorder()
    vae = ConvVAETransformer(2).set_callbacks(recorder)
    with pytest.raises(ValueError, match="0 sample"):
        vae.fit(waves[:0])
    assert recorder.events == ["setup", "teardown"]
    assert vars(vae).keys() == {*vae.get_params(), "_skl_callbacks"}


@pytest.mark.parametrize("labelled", [False, True])
def test_scoring_monitor_sees_each_epoch(waves, labelled):
    y = np.arange(len(waves)) % 2 if labelled else None
    monitor = callback.ScoringMonitor(scoring={"elbo": elbo})
    vae = ConvVAETransformer(2, max_epochs=4, random_state=0).set_callbacks(monitor)
    vae.fit(waves, y)
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit", *["epoch"] * 4]
    scores = [row["elbo"] for row in rows]
    assert scores[0] == scores[4] == vae.score(waves)
    assert scores[1] < scores[2] < scores[4]


def test_scoring_monitor_by_the_default_score(waves):
    """scikit-learn 1.9.1 fails with scoring=None; the estimator then is as before."""
    monitor = callback.ScoringMonitor(scoring=None)
    vae = ConvVAETransformer(2, max_epochs=1).set_callbacks(monitor)
    try:
        vae.fit(waves)
    except TypeError:
        assert "net_" not in vars(vae)
    else:
        assert monitor.get_logs().data[0]["score"] == vae.score(waves)


def test_a_search_hands_its_callbacks_down_to_the_epochs(waves):
    recorder = Everywhere()
    y = np.arange(len(waves)) % 2
    search = GridSearchCV(
        ConvVAETransformer(2, random_state=0), {"max_epochs": [1, 2]}, cv=2
    )
    search.set_callbacks(recorder).fit(waves, y)
    assert (
        recorder.events.count("begin epoch")
        == 2 * (1 + 2) + (search.best_params_["max_epochs"])
    )
    assert recorder.events.count("setup") == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_progress_bar_of_a_search_shows_epochs_and_warns_of_nothing(
    waves, capfd, monkeypatch, n_jobs
):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "120")
    search = GridSearchCV(
        ConvVAETransformer(2), {"max_epochs": [1, 2]}, cv=2, n_jobs=n_jobs
    )
    search.set_callbacks(callback.ProgressBar()).fit(waves)
    printed = capfd.readouterr().out
    assert "GridSearchCV" in printed
    assert printed.count("ConvVAETransformer - fit") > 4
    assert printed.count("100%") > 4


def test_the_progress_bar_of_a_pipeline(waves, capfd):
    pytest.importorskip("rich")
    y = np.arange(len(waves)) % 2
    steps = [("vae", ConvVAETransformer(2, max_epochs=2)), ("knn", None)]
    pipeline = Pipeline(steps).set_params(knn=KNeighborsClassifier())
    pipeline.set_callbacks(callback.ProgressBar(max_propagation_depth=0))
    assert len(pipeline.fit(waves, y).predict(waves)) == len(waves)
    assert "Pipeline - fit" in capfd.readouterr().out


def test_what_is_kept_after_the_fit(waves, tmp_path):
    monitor = callback.ScoringMonitor(scoring={"elbo": elbo})
    vae = ConvVAETransformer(2, max_epochs=1).set_callbacks(monitor).fit(waves)
    assert vae.net_.tasks is None
    assert vae.net_.stops is False
    other = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(other.transform(waves), vae.transform(waves))
    assert clone(vae)._skl_callbacks == [monitor], "as scikit-learn's clone does"
    vae.save(tmp_path / "vae")  # callbacks are objects: their place is the script
    assert not hasattr(ConvVAETransformer.load(tmp_path / "vae"), "_skl_callbacks")


def test_without_callbacks_in_scikit_learn():
    """As before 1.9: what asks for the module gets an ImportError."""
    code = """
import sys
import sklearn.callback
import skorch  # and of scikit-learn what needs callbacks itself
sys.modules["sklearn.callback"] = None
from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
X, _ = make_load_profiles(20, n_timepoints=12, random_state=0)
vae = ConvVAETransformer(2, max_epochs=1).fit(X)
assert not hasattr(vae, "set_callbacks")
print(vae.transform(X).shape)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "(20, 2)\n"
