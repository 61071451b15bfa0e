"""Displays: what they hold is right, what they draw is what they hold."""

import dataclasses
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import ConvVAETransformer
from skvae.plotting import (
    LatentSpaceDisplay,
    LatentTraversalDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    TrainingCurveDisplay,
    latent_space,
)
from skvae.plotting.shared import COLORS, MODEL_COLOR, SIGNAL_COLOR, SignalDisplay

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")

DISPLAYS = [
    LatentSpaceDisplay,
    LatentTraversalDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    TrainingCurveDisplay,
]
SIZES = [(1, 1), (8, 1), (2, 6)]  # latent_dim, n_channels
# Of an estimator, as its docstring lists them, and what says that it is a fitted one.
# No parameter: they may have been set since. Of `net_` the likelihood alone.
PUBLIC = {
    *("transform", "reconstruct", "inverse_transform", "sample", "impute"),
    *("n_channels_in_", "n_timepoints_in_", "scaler_", "kl_per_dim_", "n_active_dims_"),
    *("feature_names_in_", "channel_names_in_", "timepoints_in_", "score"),
    *("latent_scale_", "reconstruction_weight_", "history_", "best_epoch_"),
    *("fit", "__sklearn_tags__", "__sklearn_is_fitted__"),
}


@pytest.fixture(autouse=True)
def closed_figures(monkeypatch):
    """Figures without a window, closed after each test."""
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def channels(waves):
    """60 signals of three channels."""
    return np.stack([waves[:60], 10 * waves[60:120], waves[120:180] + 5], axis=1)


@pytest.fixture(scope="module")
def vae(channels):
    vae = ConvVAETransformer(4, max_epochs=2, random_state=0).fit(channels)
    vae.kl_per_dim_ = np.array([0.5, 3.0, 0.001, 2.0])  # any order but the columns'
    return vae


@pytest.fixture(scope="module")
def fits(waves):
    """Estimators and their signals by number of latents and channels."""
    signals = {1: waves[:40], 6: waves[:96].reshape(16, 6, 48)}
    fits = {}
    for latent_dim, n_channels in SIZES:
        X = signals[n_channels]
        vae = ConvVAETransformer(latent_dim, max_epochs=1, random_state=0).fit(X)
        fits[latent_dim, n_channels] = vae, X
    return fits


class PublicFace:
    """An estimator of which only what is public can be reached."""

    __class__ = ConvVAETransformer  # for isinstance

    def __init__(self, estimator):
        self._estimator = estimator
        criterion = SimpleNamespace(likelihood=estimator.net_.criterion_.likelihood)
        self.net_ = SimpleNamespace(criterion_=criterion)

    def __getattr__(self, name):
        assert name in PUBLIC or not hasattr(self._estimator, name)
        return getattr(self._estimator, name)


def draw(display, vae, X, **kwargs):
    if display in (LatentTraversalDisplay, TrainingCurveDisplay):
        return display.from_estimator(vae, **kwargs)
    if display is ReconstructionDisplay:
        kwargs["n_samples"] = 2  # quicker
    return display.from_estimator(vae, X, **kwargs)


def visible_texts(figure):
    """Texts of a drawn figure."""
    texts = [
        text
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_visible() and text.get_text().strip()
    ]
    for ax in figure.axes:  # ticks beyond the limits are found, but not drawn
        for axis in (ax.xaxis, ax.yaxis):
            shown = axis._update_ticks()
            hidden = [t for t in [*axis.majorTicks, *axis.minorTicks] if t not in shown]
            unseen = {id(label) for t in hidden for label in (t.label1, t.label2)}
            texts = [text for text in texts if id(text) not in unseen]
    return texts


def overlapping_texts(figure):
    """Pairs of texts of the figure that lie on one another."""
    figure.draw_without_rendering()
    # A pixel of tolerance: a box is a little larger than the letters in it.
    boxes = [
        (text, text.get_window_extent().padded(-1)) for text in visible_texts(figure)
    ]
    return [
        (a.get_text(), b.get_text())
        for (a, box_a), (b, box_b) in itertools.combinations(boxes, 2)
        if box_a.overlaps(box_b)
    ]


def test_overlapping_texts_sees_an_overlap():
    figure, ax = plt.subplots()
    ax.text(0.50, 0.5, "one")
    ax.text(0.51, 0.5, "two")
    assert overlapping_texts(figure) == [("one", "two")]


@pytest.mark.parametrize(("latent_dim", "n_channels"), SIZES)
@pytest.mark.parametrize("display", DISPLAYS)
def test_labels_do_not_overlap(fits, display, latent_dim, n_channels):
    drawn = draw(display, *fits[latent_dim, n_channels])
    assert isinstance(drawn, display)
    assert drawn.ax_ is drawn.axes_.flat[0]
    assert drawn.ax_.figure is drawn.figure_
    assert overlapping_texts(drawn.figure_) == []


def texts_outside(figure):
    """Texts of the figure that are cut at its edge; as `overlapping_texts` left it."""
    page = figure.bbox.padded(1)
    boxes = [(text, text.get_window_extent()) for text in visible_texts(figure)]
    return [
        text.get_text()
        for text, box in boxes
        if not (page.contains(*box.min) and page.contains(*box.max))
    ]


@pytest.mark.parametrize("n_classes", [2, 7, 15, 50])
@pytest.mark.parametrize(("latent_dim", "compare"), [(1, None), (8, None), (1, "pca")])
def test_class_names_are_whole_and_leave_room_for_points(
    fits, latent_dim, n_classes, compare
):
    vae, X = fits[latent_dim, 1]
    X = np.tile(X, (2, 1))
    name = "restaurant with a terrace, in the old town {:02}"
    y = [name.format(i % n_classes) for i in range(len(X))]
    display = LatentSpaceDisplay.from_estimator(vae, X, y, compare=compare)
    figure = display.figure_
    assert overlapping_texts(figure) == []
    assert texts_outside(figure) == []
    texts = [text.get_text() for text in visible_texts(figure)]
    assert len({*y} & {*texts}) == (n_classes if n_classes <= 20 else 17)
    for ax in display.axes_.flat:
        assert ax.get_window_extent().width > 3.5 * figure.dpi


@pytest.mark.parametrize("display", DISPLAYS)
def test_displays_know_what_is_public(vae, channels, display):
    draw(display, PublicFace(vae), channels)
    with pytest.raises(AssertionError):
        _ = PublicFace(vae).module_


@pytest.mark.parametrize(
    "display", [d for d in DISPLAYS if d is not LatentSpaceDisplay]
)
def test_keywords_of_lines_go_by_any_name(vae, channels, display):
    for kwargs in ({"lw": 3.0}, {"linewidth": 3.0}):
        lines = draw(display, vae, channels, **kwargs).ax_.lines
        assert lines
        assert all(line.get_linewidth() == 3.0 for line in lines)


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib(vae, channels, display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install skvae\[plot\]"):
        draw(display, vae, channels)


@pytest.mark.parametrize("display", DISPLAYS)
def test_given_axes_are_as_many_as_panels(vae, channels, display):
    shape = draw(display, vae, channels).axes_.shape
    figure, axes = plt.subplots(*shape, squeeze=False)
    drawn = draw(display, vae, channels, ax=axes)
    assert drawn.figure_ is figure
    assert drawn.axes_.tolist() == axes.tolist()
    too_many = plt.subplots(1, drawn.axes_.size + 1)[1]
    message = f"ax has {too_many.size} axes, but {shape[0]} x {shape[1]} panels .* Pass"
    with pytest.raises(ValueError, match=message):
        draw(display, vae, channels, ax=too_many)


def test_a_given_axes_may_be_part_of_a_subfigure(vae, channels):
    figure = plt.figure(layout="constrained")
    ax = figure.subfigures(1, 2)[1].subplots()
    drawn = LatentSpaceDisplay.from_estimator(vae, channels, np.arange(60) % 3, ax=ax)
    assert drawn.figure_ is figure
    assert drawn.ax_ is ax
    assert len(ax.get_legend().legend_handles) == 3


def test_latent_space_takes_the_most_active_dimensions(vae, channels):
    display = LatentSpaceDisplay.from_estimator(vae, channels)
    Z = vae.transform(channels)[:, [1, 3]]
    np.testing.assert_array_equal(display.points, Z)
    assert display.ax_.get_xlabel() == "latent 1 (KL 3.0 nats)"
    assert display.ax_.get_ylabel() == "latent 3 (KL 2.0 nats)"
    (points,) = display.ax_.collections
    np.testing.assert_allclose(points.get_offsets(), Z)


def test_latent_space_by_pca_and_beside_the_signals(vae, channels):
    display = LatentSpaceDisplay.from_estimator(vae, channels, compare="pca")
    assert display.ax_.get_xlabel() == "PCA 1 of the latents"
    latents = PCA(2).fit_transform(vae.transform(channels))
    np.testing.assert_allclose(display.points, latents, atol=1e-3)
    # One channel is ten times as large; as the estimator sees them, they are alike.
    scaled = (channels - channels.mean((0, 2))[:, None]) / channels.std((0, 2))[:, None]
    expected = PCA(2).fit_transform(scaled.reshape(len(channels), -1))
    np.testing.assert_allclose(np.abs(display.other), np.abs(expected), atol=1e-3)
    assert [ax.get_title() for ax in display.axes_[0]] == [
        "latents",
        "PCA of the signals",
    ]


def test_latent_space_by_tsne_keeps_the_random_state(vae, channels):
    def points(seed):
        display = LatentSpaceDisplay.from_estimator(
            vae, channels, method="tsne", random_state=seed
        )
        return display.points

    assert points(0).shape == (60, 2)
    np.testing.assert_array_equal(points(0), points(0))


def test_tsne_takes_some_of_many_signals(vae, channels, monkeypatch):
    """The same on both sides, with their classes, and says so."""
    monkeypatch.setattr(latent_space, "MAX_TSNE", 20)
    order = channels[:, 0].mean(axis=1)
    options = {"method": "pca", "compare": "tsne", "random_state": 0}
    display = LatentSpaceDisplay.from_estimator(vae, channels, order, **options)
    assert display.points.shape == display.other.shape == (20, 2)
    rows = [list(order).index(value) for value in display.y]
    latents = PCA(2).fit_transform(vae.transform(channels[rows]))
    np.testing.assert_allclose(np.abs(display.points), np.abs(latents), atol=1e-3)
    label = "PCA 1 of the latents\n(20 of 60 signals)"
    assert display.ax_.get_xlabel() == label
    options = {"method": "pca", "compare": "pca"}
    display = LatentSpaceDisplay.from_estimator(vae, channels, **options)
    assert display.points.shape == (60, 2)
    assert "of 60" not in display.ax_.get_xlabel()


def test_latent_space_classes_have_their_own_points(vae, channels):
    y = np.array(["b", "a", "c"])[np.arange(60) % 3]
    display = LatentSpaceDisplay.from_estimator(vae, channels, y)
    (legend,) = display.figure_.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["a", "b", "c"]
    colors = set()
    for name, dots in zip("abc", display.ax_.collections, strict=True):
        np.testing.assert_allclose(dots.get_offsets(), display.points[y == name])
        colors.add(tuple(dots.get_facecolor()[0]))
    assert len(colors) == 3


@pytest.mark.parametrize("kind", ["numbers", "names"])
def test_latent_space_of_many_classes_has_a_colour_bar(vae, channels, kind):
    y = (
        np.arange(60) % 50
        if kind == "numbers"
        else [f"n{i % 50:02}" for i in range(60)]
    )
    display = LatentSpaceDisplay.from_estimator(vae, channels, y)
    (bar,) = set(display.figure_.axes) - {display.ax_}
    assert not display.figure_.legends
    labels = [label.get_text() for label in bar.get_yticklabels()]
    assert 5 < len(labels) <= 20
    if kind == "names":
        assert labels[:2] == ["n00", "n03"]


def test_latent_space_refuses(vae, channels):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LatentSpaceDisplay.from_estimator(vae, channels, np.zeros(3))
    with pytest.raises(ValueError, match="'umap' is no embedding"):
        LatentSpaceDisplay.from_estimator(vae, channels, method="umap")
    with pytest.raises(ValueError, match=r"y has shape \(60, 2\).*pass one column"):
        LatentSpaceDisplay.from_estimator(vae, channels, np.zeros((60, 2)))


def test_reconstructions_are_those_of_the_estimator(vae, channels):
    display = ReconstructionDisplay.from_estimator(vae, channels, samples=[7, 3])
    expected = vae.reconstruct(channels)
    for column, i in enumerate([7, 3]):
        for channel in range(3):
            signal, reconstruction = display.axes_[channel, column].lines
            np.testing.assert_array_equal(signal.get_ydata(), channels[i, channel])
            np.testing.assert_array_equal(
                reconstruction.get_ydata(), expected[i, channel]
            )


def test_worst_best_and_random_reconstructions(vae, channels):
    residuals = vae.reconstruct(channels) - channels
    residuals /= channels.std((0, 2))[:, None]
    errors = np.sqrt((residuals**2).mean((1, 2)))

    def indices(samples, **kwargs):
        display = ReconstructionDisplay.from_estimator(
            vae, channels, samples=samples, n_samples=1, **kwargs
        )
        np.testing.assert_allclose(display.errors, errors[display.indices], rtol=1e-5)
        return display.indices

    worst = indices("worst")
    assert worst[0] == errors.argmax()
    assert worst[-1] == errors.argmin()
    np.testing.assert_array_equal(indices("best"), worst[::-1])
    shuffled = indices("random", random_state=0)
    assert sorted(shuffled) == list(range(60))
    np.testing.assert_array_equal(shuffled, indices("random", random_state=0))
    with pytest.raises(ValueError, match="samples='middle'"):
        indices("middle")


def test_titles_of_reconstructions_say_which_and_in_what_unit(waves):
    for scale in ("standard", "minmax", None):
        vae = ConvVAETransformer(1, scale=scale, max_epochs=1, random_state=0)
        vae.fit(waves[:40])
        for samples in ("worst", [3]):
            display = ReconstructionDisplay.from_estimator(
                vae, waves[:40], samples=samples, n_samples=1
            )
            number = f"signal {display.indices[0]}, RMSE {display.errors[0]:.3g}"
            unit = {"standard": " sd", "minmax": " of range", None: ""}[scale]
            place = "worst first, 1 of 40\n" if samples == "worst" else ""
            assert display.ax_.get_title() == place + number + unit
    index = pd.MultiIndex.from_product([["uk2"], range(40)])
    frame = pd.DataFrame(waves[:40], index=index)
    display = ReconstructionDisplay.from_estimator(vae, frame, samples=[3])
    assert display.ax_.get_title().startswith("signal uk2 3, RMSE")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.arange(60) >= 57, [57, 58, 59]),
        (list(np.arange(60) == 5), [5]),
        ([-1, 2], [59, 2]),
        ((4, 2), [4, 2]),
        (7, [7]),
    ],
)
def test_reconstructions_of_a_mask_or_of_indices(vae, channels, samples, expected):
    display = ReconstructionDisplay.from_estimator(vae, channels, samples=samples)
    np.testing.assert_array_equal(display.indices, expected)
    np.testing.assert_array_equal(display.signals, channels[expected])
    titles = [ax.get_title().split(",")[0] for ax in display.axes_[0]]
    assert titles == [f"signal {i}" for i in expected]


@pytest.mark.parametrize("samples", [[60], [1.5], [True, False], []])
def test_reconstructions_of_no_such_samples_are_refused(vae, channels, samples):
    with pytest.raises(ValueError, match=r"samples: .*Expected positions of 60"):
        ReconstructionDisplay.from_estimator(vae, channels, samples=samples)
    with pytest.raises(ValueError, match="samples selects no signals"):
        ReconstructionDisplay.from_estimator(vae, channels, samples=np.zeros(60, bool))


def test_reconstructions_know_what_was_fitted_not_what_was_set_since(channels):
    vae = ConvVAETransformer(2, likelihood="laplace", max_epochs=1, random_state=0)
    vae.fit(channels)
    before = ReconstructionDisplay.from_estimator(vae, channels)
    vae.set_params(likelihood="bernoulli", scale="minmax")
    after = ReconstructionDisplay.from_estimator(vae, channels)
    np.testing.assert_array_equal(after.noise_std, before.noise_std)
    assert after.error_unit == before.error_unit == " sd"


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_band_is_the_noise_of_samples(channels, likelihood):
    vae = ConvVAETransformer(2, likelihood=likelihood, max_epochs=1, random_state=0)
    display = ReconstructionDisplay.from_estimator(vae.fit(channels), channels)
    means = vae.sample(400, random_state=0)
    noise = vae.sample(400, noise=True, random_state=0) - means
    np.testing.assert_allclose(display.noise_std, noise.std(axis=(0, 2)), rtol=0.03)
    # The band around the first signal is 2 standard deviations each way.
    (band,) = display.ax_.collections
    low, high = band.get_datalim(display.ax_.transData).intervaly
    x_hat = display.reconstructions[0, 0]
    np.testing.assert_allclose(
        high - low, np.ptp(x_hat) + 4 * display.noise_std[0], rtol=0.01
    )


def test_no_band_and_no_level_of_pca_for_the_bernoulli_likelihood(channels):
    vae = ConvVAETransformer(
        2, likelihood="bernoulli", scale="minmax", max_epochs=1, random_state=0
    ).fit(channels)
    display = ReconstructionDisplay.from_estimator(vae, channels)
    assert display.noise_std is None
    TrainingCurveDisplay.from_estimator(vae)
    with pytest.raises(ValueError, match=r"zeros and ones.*Leave X out"):
        TrainingCurveDisplay.from_estimator(vae, channels)
    assert overlapping_texts(display.figure_) == []


def test_browse_steps_with_the_arrow_keys(vae, channels):
    from matplotlib.backend_bases import KeyEvent

    display = ReconstructionDisplay.from_estimator(
        vae, channels, samples="best", n_samples=1
    )
    assert display.browse() is display
    canvas = display.figure_.canvas

    def shown():
        for channel, ax in enumerate(display.axes_[:, 0]):
            signal, reconstruction = ax.lines
            i = display.position_
            np.testing.assert_array_equal(
                signal.get_ydata(), display.signals[i, channel]
            )
            np.testing.assert_array_equal(
                reconstruction.get_ydata(), display.reconstructions[i, channel]
            )
            low, high = ax.get_ylim()  # fits what is shown, not what was
            x_hat, band = reconstruction.get_ydata(), 2 * display.noise_std[channel]
            drawn = np.concatenate([signal.get_ydata(), x_hat - band, x_hat + band])
            assert low < drawn.min() < drawn.max() < high
            assert high - low < 1.2 * np.ptp(drawn)
        assert f"signal {display.indices[i]}," in display.ax_.get_title()
        assert f"← best first, {i + 1} of 60 →" in display.ax_.get_title()
        return i

    def press(key):
        canvas.callbacks.process("key_press_event", KeyEvent("key", canvas, key))
        return shown()

    assert shown() == 0
    assert [press(key) for key in ("right", "right", "left")] == [1, 2, 1]
    assert press("x") == 1
    assert [press("left"), press("left")] == [0, 59]
    assert press("right") == 0
    assert overlapping_texts(display.figure_) == []


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_training_curves_are_the_history(waves):
    vae = ConvVAETransformer(
        2, max_epochs=3, early_stopping=True, label_weight=1.0, random_state=0
    ).fit(waves, np.arange(200) % 4)  # more than a plane keeps apart
    display = TrainingCurveDisplay.from_estimator(vae)
    terms = ("loss", "reconstruction", "kl", "label")
    for term, ax in zip(terms, display.axes_[0], strict=True):
        train, valid, best = ax.lines
        np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(train.get_ydata(), vae.history_[f"train_{term}"])
        np.testing.assert_array_equal(valid.get_ydata(), vae.history_[f"valid_{term}"])
        assert best.get_xdata()[0] == vae.best_epoch_
    assert display.ax_.get_ylabel() == "nats per sample"
    assert overlapping_texts(display.figure_) == []


def test_few_numbers_with_decimals_have_a_colour_bar():
    display = LatentSpaceDisplay(np.eye(6, 2), y=np.arange(6) / 4).plot()
    assert display.ax_.get_legend() is None
    np.testing.assert_array_equal(
        display.ax_.collections[0].get_array(), np.arange(6) / 4
    )


def test_training_curves_without_labels_or_validation(vae):
    display = TrainingCurveDisplay.from_estimator(vae)
    assert [len(ax.lines) for ax in display.axes_[0]] == [1, 1, 1]
    (legend,) = display.figure_.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training"]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_training_curves_have_the_loss_of_pca(waves, early_stopping):
    X = waves.reshape(100, 2, 48).copy()
    X[:, 1] *= 100
    vae = ConvVAETransformer(3, max_epochs=2, early_stopping=early_stopping).fit(X)
    display = TrainingCurveDisplay.from_estimator(vae, X)
    scaled = (X - X.mean(axis=(0, 2), keepdims=True)) / X.std(
        axis=(0, 2), keepdims=True
    )
    scaled = scaled.reshape(100, -1)
    expected = -PCA(3).fit(scaled).score(scaled)
    loss, *others = display.axes_[0]
    np.testing.assert_allclose(loss.lines[-1].get_ydata(), expected, rtol=1e-4)
    assert len(loss.lines) == len(others[0].lines) + 1
    (legend,) = display.figure_.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert (names[0], names[-1]) == ("training", "PCA")
    assert len(names) == len(loss.lines)
    colors = [line.get_color() for line in legend.get_lines()]
    assert colors == [line.get_color() for line in loss.lines]


def test_the_level_of_pca_is_beside_the_bound_and_not_the_loss(waves):
    """With beta=2 the loss is another quantity. What is missing counts not."""
    X = waves[:100] * 100
    vae = ConvVAETransformer(3, max_epochs=2, beta=2.0, random_state=0).fit(X)
    display = TrainingCurveDisplay.from_estimator(vae, X)
    rows = (X - X.mean()) / X.std()
    assert display.pca_level == pytest.approx(-PCA(3).fit(rows).score(rows), rel=1e-4)
    curve, level = display.ax_.lines
    assert level.get_ydata()[0] == display.pca_level
    bound = vae.history_["train_reconstruction"] + vae.history_["train_kl"]
    np.testing.assert_array_equal(curve.get_ydata(), bound)
    assert display.ax_.get_title() == "reconstruction + KL"
    X[10:, 24:] = np.nan
    gaps = TrainingCurveDisplay.from_estimator(vae, X)
    assert gaps.pca_level < 0.9 * display.pca_level


@pytest.mark.parametrize("n_epochs", [39, 40])
def test_many_epochs_have_a_running_median(n_epochs):
    """And the first of them do not set the limits."""
    values = 5 + np.arange(n_epochs) % 2 * 0.1
    values[0], values[20] = 1000.0, 6.0
    terms = ("loss", "reconstruction", "kl")
    history = {f"train_{term}": values for term in terms}
    display = TrainingCurveDisplay(history).plot()
    for ax in display.axes_[0]:
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), values)
        low, high = ax.get_ylim()
        if n_epochs < 40:
            assert len(ax.lines) == 1
            assert high > 1000
        else:
            light, smooth = ax.lines
            assert light.get_alpha() < 1
            assert smooth.get_alpha() is None
            assert np.ptp(smooth.get_ydata()[3:]) < 0.11
            assert low < 5
            assert 6 < high < 7
    (legend,) = display.figure_.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training"]


@pytest.mark.parametrize("display", [LatentTraversalDisplay, TrainingCurveDisplay])
def test_displays_of_the_model_alone_need_it_fitted(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(ConvVAETransformer())


def test_training_curves_need_an_epoch(waves):
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0).fit(waves)
    with pytest.raises(ValueError, match="max_epochs > 0"):
        TrainingCurveDisplay.from_estimator(vae)


def test_traversal_draws_differences_from_the_mean_signal(vae):
    display = LatentTraversalDisplay.from_estimator(vae, n_steps=4, limit=2.0)
    assert display.axis_labels == ["latent 1", "latent 3", "latent 0"]  # 2 is inactive
    assert display.decoded.shape == (3, 4, 3, 48)
    z = np.zeros((2, 4))
    z[1, 3] = -2.0 * vae.latent_scale_[3]
    mean, low = vae.inverse_transform(z)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(display.mean, mean, **close)
    np.testing.assert_allclose(display.decoded[1, 0], low, **close)
    (line,) = display.axes_[0, 2].lines
    np.testing.assert_array_equal(line.get_ydata(), display.mean[2])
    drawn = {tuple(line.get_ydata()) for line in display.axes_[2, 2].lines}
    differences = display.decoded[1, :, 2] - display.mean[2]
    assert drawn == {tuple(difference) for difference in differences}
    names = [panel.get_ylabel() for panel in display.axes_[:, 0]]
    assert names == ["mean\nsignal", *display.axis_labels]


def test_curves_of_a_traversal_are_named_and_none_hides_the_others(vae):
    """The larger ones lie below, within limits that are the same for all latents."""
    display = LatentTraversalDisplay.from_estimator(vae)
    (legend,) = display.figure_.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["-2 sd", "-1 sd", "0", "+1 sd", "+2 sd"]
    colors = [line.get_color() for line in legend.get_lines()]
    differences = display.decoded - display.mean
    highest = 1.05 * np.abs(differences).max(axis=(0, 1, 3))
    for k, panels in enumerate(display.axes_[1:]):
        for c, panel in enumerate(panels):
            for step, line in zip([0, 4, 1, 3, 2], panel.lines, strict=True):
                np.testing.assert_array_equal(line.get_ydata(), differences[k, step, c])
                np.testing.assert_array_equal(line.get_color(), colors[step])
            limits = -highest[c], highest[c]
            np.testing.assert_allclose(panel.get_ylim(), limits, rtol=1e-5)


@pytest.mark.parametrize("height", [0.0, 2.0])
def test_rounding_errors_in_the_mean_are_not_magnified(height):
    """A scaler before leaves 0, to rounding; a channel may be constant, too."""
    mean = 1e-8 * height * np.random.default_rng(0).standard_normal((1, 9))
    decoded = mean + height * np.array([-1, 1])[:, None, None] * np.ones((1, 2, 1, 9))
    style = {"axis_labels": ["latent 0"], "mean": mean}
    display = LatentTraversalDisplay(decoded, np.array([-2, 2]), **style).plot()
    low, high = display.ax_.get_ylim()
    assert high - low == pytest.approx(0.21 * height or 0.2, rel=1e-3)


@pytest.mark.parametrize("n_dims", [1, 4])
def test_traversal_of_any_number_of_axes(fits, n_dims):
    display = LatentTraversalDisplay.from_estimator(fits[8, 1][0], n_dims=n_dims)
    assert display.axes_.shape == (1 + n_dims, 1)
    assert display.axes_[-1, 0].get_xlabel() == "time step"


def test_plane_of_two_latents(waves):
    vae = ConvVAETransformer(2, max_epochs=1, random_state=0).fit(waves)
    vae.kl_per_dim_ = np.array([1.0, 2.0])  # the axes are those of a latent space
    display = LatentTraversalDisplay.from_estimator(vae, n_steps=3, limit=1.5)
    assert display.axis_labels == ["latent 0", "latent 1"]
    z = np.array([[1.5, -1.5]])
    expected = vae.inverse_transform(z * vae.latent_scale_)
    np.testing.assert_allclose(display.decoded[0, 2], expected, rtol=1e-4, atol=1e-4)
    (lines,) = display.ax_.collections
    paths = [path.vertices for path in lines.get_paths()]
    # Drawn around its place, and with nothing of its neighbours' cells.
    assert paths[2].mean(axis=0) == pytest.approx([1.5, -1.5], abs=0.75)
    assert np.abs(paths[2] - [1.5, -1.5]).max() < 0.75
    correlation = np.corrcoef(paths[2][:, 1], expected[0])[0, 1]
    assert correlation == pytest.approx(1.0)


def test_a_plane_is_drawn_only_where_its_signals_can_be_read(fits):
    """Of one channel, and of so few time steps that a cell shows them."""
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0)
    vae.fit(np.random.default_rng(0).standard_normal((9, 401)))
    display = LatentTraversalDisplay.from_estimator
    assert display(vae, n_steps=4).mean is None
    assert display(vae).mean is not None
    with pytest.raises(ValueError, match=r"5 times 401 time steps .* fewer n_steps"):
        display(vae, plane=True)
    several, _ = fits[2, 6]
    with pytest.raises(ValueError, match=r"6 channels .*plane=False"):
        display(several, plane=True)
    with pytest.raises(ValueError, match=r"1 latents.*plane=False"):
        display(fits[1, 1][0], plane=True)


def test_traversals_that_cannot_be_are_refused(fits):
    vae, _ = fits[8, 1]
    display = LatentTraversalDisplay.from_estimator
    for name, value in (("n_steps", 1), ("n_dims", 0)):
        for plane in (True, False):
            with pytest.raises(ValueError, match=f"{name} == {value}, must be >="):
                display(vae, plane=plane, **{name: value})
    with pytest.raises(ValueError, match="n_steps == 6, must be <= 5"):
        display(vae, n_steps=6)
    assert len(display(vae, n_steps=6, plane=True).steps) == 6


def test_samples_beside_signals(vae, channels):
    display = SamplesDisplay.from_estimator(
        vae, channels, n_samples=3, random_state=np.random.RandomState(0)
    )
    assert display.signals.shape == display.generated.shape == (3, 3, 48)
    known = {signal.tobytes() for signal in channels}
    assert {signal.tobytes() for signal in display.signals} <= known
    for column, drawn in enumerate([display.signals, display.generated]):
        lines = display.axes_[1, column].lines
        np.testing.assert_array_equal([line.get_ydata() for line in lines], drawn[:, 1])
    for panel, color in zip(display.axes_[0], (SIGNAL_COLOR, MODEL_COLOR), strict=True):
        assert [line.get_color() for line in panel.lines] == 3 * [color]
        assert [line.get_alpha() for line in panel.lines] == [1, 2 / 3, 1 / 3]


@pytest.mark.parametrize(("noise", "word"), [(True, "with"), (False, "without")])
def test_samples_say_whether_they_have_noise(vae, channels, noise, word):
    rng = np.random.RandomState(0)
    display = SamplesDisplay.from_estimator(
        vae, channels, noise=noise, random_state=np.random.RandomState(0)
    )
    title = display.axes_[0, 1].get_title()
    assert title == f"samples of the model\n{word} its noise"
    rng.permutation(60)  # of the signals
    expected = vae.sample(4, noise=noise, random_state=rng)
    np.testing.assert_array_equal(display.generated, expected)


def test_samples_refuse_signals_of_another_length(vae, channels):
    with pytest.raises(ValueError, match=r"\(3, 24\), but .* fitted on \(3, 48\)"):
        SamplesDisplay.from_estimator(vae, channels[:, :, :24])


def test_two_dimensional_input_of_channels(vae, channels):
    """Signals that came as (n, c * t) are drawn by channel."""
    flat = channels.reshape(60, -1)
    vae = ConvVAETransformer(2, n_channels=3, max_epochs=1, random_state=0).fit(flat)
    display = ReconstructionDisplay.from_estimator(
        vae, flat, samples=[0], channel_names=["ax", "ay", "az"]
    )
    np.testing.assert_array_equal(display.signals[0], channels[0])
    assert [ax.get_ylabel() for ax in display.axes_[:, 0]] == ["ax", "ay", "az"]


OF_SIGNALS = [LatentTraversalDisplay, ReconstructionDisplay, SamplesDisplay]


def name_texts(display):
    """Texts that name channels: titles of columns, or labels of rows."""
    if isinstance(display, LatentTraversalDisplay):
        return [ax.get_title() for ax in display.axes_[0]]
    return [ax.get_ylabel() for ax in display.axes_[:, 0]]


@pytest.mark.parametrize("display", OF_SIGNALS)
def test_channels_go_by_their_names(vae, channels, display):
    names = ["ax", "ay", "az"]
    assert name_texts(draw(display, vae, channels, channel_names=names)) == names
    numbers = ["channel 0", "channel 1", "channel 2"]
    assert name_texts(draw(display, vae, channels)) == numbers
    with pytest.raises(ValueError, match="has 2 names, but the signals have 3"):
        draw(display, vae, channels, channel_names=names[:2])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("{name}_{t}", ["ax", "b 2", "c1"]),
        ("{name}{t:03}", ["ax", "b", "c"]),
        ("{name} {t}.5", ["ax", "b 2", "c1"]),
        ("{t}_{name}", ["channel 0", "channel 1", "channel 2"]),
    ],
)
def test_channels_are_named_by_the_columns_of_a_frame(channels, columns, expected):
    """By what its columns share besides a number, if that tells them apart."""
    names = [
        columns.format(name=name, t=t)
        for name in ("ax", "b 2", "c1")
        for t in range(48)
    ]
    X = pytest.importorskip("pandas").DataFrame(channels.reshape(60, -1), columns=names)
    vae = ConvVAETransformer(3, n_channels=3, max_epochs=0, random_state=0).fit(X)
    for display in OF_SIGNALS:
        assert name_texts(draw(display, vae, X)) == expected
    given = draw(SamplesDisplay, vae, X, channel_names=["1", "2", "3"])
    assert name_texts(given) == ["1", "2", "3"]


# Gaps


@pytest.fixture(scope="module")
def gaps(channels):
    """`channels` with a gap at either end and in the middle, and single points."""
    gaps = channels.copy()
    gaps[np.random.default_rng(0).random(gaps.shape) < 0.2] = np.nan
    gaps[1::2, :, :6], gaps[::3, :, 40:], gaps[:, 1, 20:30] = np.nan, np.nan, np.nan
    gaps[:, 1, 24] = channels[:, 1, 24]  # alone
    gaps[5, 2] = np.nan  # a whole channel
    return gaps


def runs(values):
    """Lengths of the runs that are not NaN by the time step each starts at."""
    runs, start = {}, None
    for t, value in enumerate([*values, np.nan]):
        if np.isnan(value):
            start = None
        else:
            start = t if start is None else start
            runs[start] = t - start + 1
    return runs


def assert_drawn_with_gaps(line, x):
    """A line through x, broken at its NaN, with markers at the runs of one point."""
    np.testing.assert_array_equal(line.get_ydata(), x)
    alone = [t for t, length in runs(x).items() if length == 1]
    if alone:
        assert line.get_marker() == "."
        np.testing.assert_array_equal(line.get_markevery(), alone)
    else:
        assert line.get_marker() == "None"


@pytest.mark.parametrize("display", DISPLAYS)
def test_gaps_leave_limits_finite_and_labels_apart(vae, gaps, display):
    drawn = draw(display, vae, gaps)
    assert overlapping_texts(drawn.figure_) == []
    for ax in drawn.axes_.flat:
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
        assert "nan" not in ax.get_title()


def test_reconstructions_are_drawn_through_gaps(vae, gaps):
    display = ReconstructionDisplay.from_estimator(vae, gaps, samples=[5, 3, 0])
    expected = vae.reconstruct(gaps)
    for column, i in enumerate([5, 3, 0]):
        for channel in range(3):
            signal, reconstruction = display.axes_[channel, column].lines
            assert_drawn_with_gaps(signal, gaps[i, channel])
            assert_drawn_with_gaps(reconstruction, expected[i, channel])
            assert runs(reconstruction.get_ydata()) == {0: 48}


def test_errors_are_over_what_was_measured(vae, gaps):
    display = ReconstructionDisplay.from_estimator(vae, gaps, samples="worst")
    residuals = (vae.reconstruct(gaps) - gaps) / vae.scaler_.scale_
    measured = np.ma.masked_invalid(residuals)
    errors = np.sqrt((measured**2).mean(axis=(1, 2))).filled()
    np.testing.assert_allclose(display.errors, errors[display.indices], rtol=1e-5)
    assert display.indices[0] == errors.argmax()
    assert display.indices[-1] == errors.argmin()
    assert f"RMSE {errors.max():.3g} sd" in display.ax_.get_title()


def test_samples_are_whole_beside_signals_with_gaps(vae, gaps):
    display = SamplesDisplay.from_estimator(vae, gaps, random_state=0)
    known = {signal.tobytes(): signal for signal in gaps}
    for channel, (left, right) in enumerate(display.axes_):
        for line, x in zip(left.lines, display.signals, strict=True):
            assert_drawn_with_gaps(line, known[x.tobytes()][channel])
        assert all(runs(line.get_ydata()) == {0: 48} for line in right.lines)


def test_a_point_between_gaps_is_seen():
    """It blackens pixels, which a line of it alone does not; so with any style."""

    def n_dark(x, **kwargs):
        figure = plt.figure(figsize=(2, 2))
        ax = figure.add_axes((0, 0, 1, 1))
        ax.axis("off")
        SignalDisplay().draw_signal([ax], np.array([x]), kwargs, "black")
        ax.set(xlim=(-1, 5), ylim=(-1, 1))
        figure.canvas.draw()
        return (np.asarray(figure.canvas.buffer_rgba())[..., 0] < 128).sum()

    nan = np.nan
    assert n_dark([nan, nan, nan, nan, nan]) == 0
    one = n_dark([nan, nan, 0.5, nan, nan])
    assert one > 4
    assert n_dark([0.5, nan, nan, nan, 0.5]) == 2 * one
    assert n_dark([nan, nan, 0.5, nan, nan], marker="o") > one
    assert n_dark([0.5, 0.5, 0.5, 0.5, nan], marker="o") > n_dark([0.5] * 4 + [nan])
    assert n_dark([nan, nan, 0.5, nan, nan], lw=5) > 4


def test_embedding_beside_the_latents_is_of_filled_signals(vae, gaps):
    display = LatentSpaceDisplay.from_estimator(vae, gaps, compare="pca")
    filled = vae.impute(gaps) / vae.scaler_.scale_
    expected = PCA(2).fit_transform(filled.reshape(len(gaps), -1))
    np.testing.assert_allclose(np.abs(display.other), np.abs(expected), atol=1e-3)
    assert display.axes_[0, 1].get_title() == "PCA of the signals,\ngaps filled"
    display = LatentSpaceDisplay.from_estimator(vae, gaps, compare="tsne")
    assert np.isfinite(display.other).all()
    assert np.isfinite(display.points).all()


@pytest.mark.parametrize("container", ["list", "DataFrame", "tensor"])
def test_displays_read_any_container_as_the_estimator_does(waves, container):
    X = waves[:40].astype(np.float64)
    X[::2, 10:20] = np.nan
    if container == "list":
        given = X.tolist()
    elif container == "tensor":
        given = torch.from_numpy(X)
    else:
        names = [f"t{t}" for t in range(48)]
        given = pytest.importorskip("pandas").DataFrame(X, columns=names)
    vae = ConvVAETransformer(2, max_epochs=1, random_state=0)
    vae.set_output(transform="default" if container == "list" else "pandas")
    vae.fit(given)
    display = ReconstructionDisplay.from_estimator(vae, given, samples=[0, 1])
    np.testing.assert_array_equal(display.signals[:, 0], X[:2])
    for display in (LatentSpaceDisplay, SamplesDisplay):
        draw(display, vae, given)
    LatentTraversalDisplay.from_estimator(vae)


def test_displays_refuse_what_the_estimator_refuses(vae, channels):
    unfitted = ConvVAETransformer(2)
    infinite = channels.copy()
    infinite[3, 1, 4] = np.inf
    for display in (LatentSpaceDisplay, ReconstructionDisplay, SamplesDisplay):
        with pytest.raises(NotFittedError):
            draw(display, unfitted, channels)
        with pytest.raises(ValueError, match="infinity, first in sample 3"):
            draw(display, vae, infinite)


def test_colours_are_told_apart_by_the_colour_blind():
    """Colours of classes stay apart in lightness or hue without the red cones.

    The simulation is that of Viénot, Brettel & Mollon (1999),
    https://doi.org/10.1002/(SICI)1520-6378(199908)24:4<243::AID-COL5>3.0.CO;2-3
    """
    rgb = np.array([matplotlib.colors.to_rgb(color) for color in COLORS]) ** 2.2
    to_lms = np.array(
        [
            [17.8824, 43.5161, 4.11935],
            [3.45565, 27.1554, 3.86714],
            [0.0299566, 0.184309, 1.46709],
        ]
    )
    protanope = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
    seen = rgb @ (np.linalg.inv(to_lms) @ protanope @ to_lms).T
    seen = np.clip(seen, 0, 1) ** (1 / 2.2)
    for a, b in itertools.combinations(seen[:7], 2):
        assert np.linalg.norm(a - b) > 0.1


def test_names_that_are_missing_are_a_class_of_their_own(vae, channels):
    y = np.array(["a", None, "b", np.nan, pd.NA, "a"] * 10, dtype=object)
    display = LatentSpaceDisplay.from_estimator(vae, channels, y)
    (legend,) = display.figure_.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["a", "b", "unlabelled"]
    assert len(display.ax_.collections[2].get_offsets()) == 30


@pytest.mark.parametrize("kl", [[3.0, 1.0, 2.0, 0.0], [1.0, 0.0, 2.0, 3.0]])
def test_axes_are_in_the_order_of_the_latents(vae, channels, monkeypatch, kl):
    monkeypatch.setattr(vae, "kl_per_dim_", np.array(kl))
    ax = LatentSpaceDisplay.from_estimator(vae, channels).ax_
    dims = [int(label().split()[1]) for label in (ax.get_xlabel, ax.get_ylabel)]
    assert dims == sorted(np.argsort(kl)[2:])


# Positions of time steps


FALLING = np.geomspace(4000.0, 400.0, 48)  # wavenumbers, of unequal steps


@pytest.fixture
def spectra(waves):
    """An estimator whose columns were wavenumbers, and its signals, with gaps."""
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0).fit(waves[:40])
    X = waves[:40].copy()
    X[:, 10:20] = np.nan
    X[:, 14] = 0.5  # a single value
    vae.timepoints_in_ = FALLING
    return vae, X


def lines_of(display):
    return [line for panel in display.axes_.flat for line in panel.lines]


@pytest.mark.parametrize("name", ["reconstruction", "samples", "traversal"])
def test_time_steps_are_drawn_where_the_columns_say(spectra, name):
    vae, X = spectra

    def draw(**kwargs):
        if name == "reconstruction":
            return ReconstructionDisplay.from_estimator(vae, X, **kwargs)
        if name == "samples":
            return SamplesDisplay.from_estimator(vae, X, random_state=0, **kwargs)
        return LatentTraversalDisplay.from_estimator(vae, plane=False, **kwargs)

    display = draw(xlabel="wavenumber (1/cm)")
    lines = lines_of(display)
    assert lines
    for line in lines:
        np.testing.assert_array_equal(line.get_xdata(), FALLING)
    for panel in display.axes_.flat:  # as read: the first column is left
        assert panel.get_xlim() == (4000.0, 400.0)
    assert display.axes_[-1, 0].get_xlabel() == "wavenumber (1/cm)"
    assert draw().axes_[-1, 0].get_xlabel() == ""

    vae.timepoints_in_ = FALLING[::-1]
    assert draw().ax_.get_xlim() == (400.0, 4000.0)
    shuffled = np.random.default_rng(0).permutation(FALLING)
    for says_nothing in (None, np.arange(48.0), shuffled):
        vae.timepoints_in_ = says_nothing
        display = draw()
        assert display.axes_[-1, 0].get_xlabel() == "time step"
        np.testing.assert_array_equal(lines_of(display)[0].get_xdata(), np.arange(48))
    assert draw(xlabel="step").axes_[-1, 0].get_xlabel() == "step"


def test_the_noise_and_single_values_lie_where_the_columns_say(spectra):
    vae, X = spectra
    display = ReconstructionDisplay.from_estimator(vae, X)
    band = display.ax_.collections[0].get_paths()[0].vertices[:, 0]
    assert set(band) == set(FALLING)
    line = display.ax_.lines[0]
    assert line.get_xdata()[line.get_markevery()] == FALLING[14]


@pytest.mark.parametrize("timepoints", [None, FALLING, FALLING[::-1]])
def test_small_signals_of_the_plane_have_the_spacing_of_the_columns(
    spectra, timepoints
):
    vae, _ = spectra
    vae.timepoints_in_ = timepoints
    display = LatentTraversalDisplay.from_estimator(vae, n_steps=3)
    x = display.ax_.collections[0].get_segments()[4][:, 0]  # in the middle
    time = np.arange(48) if timepoints is None else timepoints
    shares = (time - time[0]) / (time[-1] - time[0])
    np.testing.assert_allclose((x - x[0]) / (x[-1] - x[0]), shares, atol=1e-12)
    assert x[-1] == -x[0] > 0


def test_names_of_channels_come_from_the_fit(channels, vae, monkeypatch):
    names = ["left", "right", "both"]
    monkeypatch.setattr(vae, "channel_names_in_", names, raising=False)
    display = SamplesDisplay.from_estimator(vae, channels)
    assert [panel.get_ylabel() for panel in display.axes_[:, 0]] == names
    display = SamplesDisplay.from_estimator(vae, channels, channel_names="abc")
    assert [panel.get_ylabel() for panel in display.axes_[:, 0]] == list("abc")


def test_browsing_shows_positions_of_time_steps_and_gaps(spectra):
    from matplotlib.backend_bases import KeyEvent

    vae, X = spectra
    display = ReconstructionDisplay.from_estimator(vae, X, samples=np.arange(40))
    display.browse(start=np.uint8(0))
    canvas = display.figure_.canvas
    press = KeyEvent("key_press_event", canvas, "left")
    canvas.callbacks.process("key_press_event", press)
    assert display.position_ == 39  # which a small type of NumPy does not reach
    assert display.ax_.get_xlim() == (4000.0, 400.0)
    assert_drawn_with_gaps(display.ax_.lines[0], X[39])
    assert np.isfinite(display.ax_.get_ylim()).all()


# Pipelines


@pytest.fixture
def pipeline(waves):
    """Spectra whose columns are wavenumbers, scaled before, classified behind."""
    X = pd.DataFrame(waves[:60], columns=FALLING.astype(str))
    vae = ConvVAETransformer(3, max_epochs=1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), vae, KNeighborsClassifier())
    return pipeline.fit(X, np.arange(60) % 2), X


def arrays(display):
    """All that a display holds."""
    fields = {f.name: getattr(display, f.name) for f in dataclasses.fields(display)}
    names = {"timepoints", "channel_names"}
    return {name: value for name, value in fields.items() if name not in names}


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_pipeline_is_drawn_as_its_autoencoder_on_transformed_signals(
    pipeline, display
):
    pipeline, X = pipeline
    scaled = StandardScaler().fit_transform(X)
    seed = {"random_state": 0} if display is SamplesDisplay else {}
    drawn = arrays(draw(display, pipeline, X, **seed))
    expected = arrays(draw(display, pipeline[1], scaled, **seed))
    assert drawn.keys() == expected.keys()
    for name in expected.keys() - {"names"}:  # those of rows are lost on the way
        np.testing.assert_equal(drawn[name], expected[name])
    head = draw(display, pipeline[:2], X, **seed)  # it ends with the autoencoder
    np.testing.assert_equal(arrays(head), drawn)


def test_training_curves_of_a_pipeline_have_the_level_of_its_signals(pipeline):
    pipeline, X = pipeline
    display = TrainingCurveDisplay.from_estimator(pipeline, X)
    scaled = StandardScaler().fit_transform(X).astype(np.float32)
    expected = TrainingCurveDisplay.from_estimator(pipeline[1], scaled)
    assert display.pca_level == pytest.approx(expected.pca_level)


@pytest.mark.parametrize("display", OF_SIGNALS)
def test_the_steps_before_name_the_time_steps(pipeline, display):
    pipeline, X = pipeline
    drawn = draw(display, pipeline, X)
    np.testing.assert_allclose(drawn.timepoints, FALLING)
    assert drawn.ax_.get_xlim() == (4000.0, 400.0)
    assert draw(display, pipeline[1], X.to_numpy()).timepoints is None
    own = draw(display, pipeline[1], X.to_numpy(), timepoints=FALLING[::-1])
    assert own.ax_.get_xlim() == (400.0, 4000.0)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (StandardScaler().set_output(transform="pandas"), FALLING[:40]),
        (FunctionTransformer(lambda X: np.asarray(X)), None),  # it has no names
        (FunctionTransformer(), FALLING[:40]),  # nor here, but it gives DataFrames
        (PCA(40), None),
        (ColumnTransformer([("keep", "passthrough", slice(30))]), FALLING[:30]),
        ("passthrough", FALLING[:40]),
    ],
)
def test_time_steps_are_named_by_what_the_autoencoder_got(waves, before, expected):
    X = pd.DataFrame(waves[:50, :40], columns=FALLING[:40].astype(str))
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0)
    pipeline = Pipeline([("before", before), ("vae", vae)]).fit(X)
    display = ReconstructionDisplay.from_estimator(pipeline, X)
    if expected is None:
        assert display.timepoints is None
    else:
        np.testing.assert_allclose(display.timepoints, expected)


def test_numbers_as_names_pass_through_a_scaler(waves):
    """scikit-learn keeps none of them, but those of X are the same."""
    X = pd.DataFrame(waves[:50], columns=FALLING)
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0)
    pipeline = make_pipeline(StandardScaler(), vae).fit(X)
    display = SamplesDisplay.from_estimator(pipeline, X)
    np.testing.assert_array_equal(display.timepoints, FALLING)


def test_the_steps_before_name_the_channels(channels):
    names = [f"{name}_{t}" for name in ("ax", "ay", "az") for t in range(48)]
    X = pd.DataFrame(channels.reshape(60, -1), columns=names)
    vae = ConvVAETransformer(3, n_channels=3, max_epochs=0, random_state=0)
    pipeline = make_pipeline(StandardScaler(), vae).fit(X)
    for display in OF_SIGNALS:
        assert name_texts(draw(display, pipeline, X)) == ["ax", "ay", "az"]


@pytest.mark.parametrize("display", DISPLAYS)
def test_estimators_without_an_autoencoder_are_refused(channels, display):
    for estimator in (
        PCA(2),
        make_pipeline(StandardScaler(), PCA(2)),
        GridSearchCV(ConvVAETransformer(), {"latent_dim": [2]}),
    ):
        name = type(estimator).__name__
        with pytest.raises(TypeError, match=f"is a {name} without .*best_estimator_"):
            draw(display, estimator, channels)
    with pytest.raises(NotFittedError):
        draw(display, make_pipeline(ConvVAETransformer()), channels)
