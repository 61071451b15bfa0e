"""Learning that goes on: no `partial_fit` or `warm_start` ends below its start."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA
from skorch import NeuralNet

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.model.moments import Rows, gather, merge
from skvae.saving import estimator
from skvae.scaling import ChannelScaler
from skvae.training import memory
from skvae.training.data import ScaledSignals, SignalDataset
from skvae.training.memory import fingerprints_of
from skvae.training.net import VAENet


@pytest.fixture(scope="module")
def profiles():
    """Four hundred to learn from, and three hundred others."""
    options = {"n_timepoints": 48}
    X, _ = make_load_profiles(400, random_state=0, **options)
    others, _ = make_load_profiles(300, random_state=1, **options)
    return X, others


pytestmark = pytest.mark.filterwarnings("ignore:The first call of partial_fit got")


def make_vae(**params):
    return ConvVAETransformer(**{"latent_dim": 8, "random_state": 0, **params})


def maps(vae):
    """The linear maps of encoder and decoder."""
    state = vae.module_.state_dict()
    return {
        name: state[f"encoder.{name}"].numpy()
        for name in ("components.weight", "components.bias", "shrinkage")
    }


# No step is worse than its start


@pytest.mark.parametrize("feature_weight", [0.0, 1.0])
def test_more_of_the_same_never_ends_below_the_closed_form(profiles, feature_weight):
    X, others = profiles
    vae = make_vae(feature_weight=feature_weight, warm_start=True)
    closed = make_vae(feature_weight=feature_weight, max_epochs=0).fit(X).score(others)
    first = vae.fit(X).score(others)
    assert first > closed - 0.1
    for _ in range(3):
        assert vae.fit(X).score(others) > first - 0.5
    vae = make_vae(feature_weight=feature_weight)
    for _ in range(20):
        vae.partial_fit(X)
    assert vae.score(others) > closed - 0.1
    assert vae.n_samples_seen_ == 400
    vae = make_vae(feature_weight=feature_weight)
    for part in np.array_split(X, 8):
        vae.partial_fit(part)
    assert vae.score(others) > closed - 0.3
    assert vae.n_samples_seen_ == 400


def test_quiet_signals_do_not_set_the_noise_of_all(profiles):
    X, _ = profiles
    quiet = 0.02 + 0.002 * np.random.default_rng(0).standard_normal((30, 48))
    vae = make_vae().fit(X)
    both = make_vae().fit(np.concatenate([X, quiet]))
    vae.partial_fit(quiet)
    assert vae.score(X) > both.score(X) - 1.0
    assert vae.n_samples_seen_ == both.n_samples_seen_ == 430
    assert vae.kl_per_dim_.sum() == pytest.approx(both.kl_per_dim_.sum(), rel=0.1)


# The closed form of parts is that of the whole


@pytest.mark.parametrize("remembered", [2**20, 64 * 48])
@pytest.mark.parametrize("n_first", [50, 7])
def test_parts_end_with_the_components_of_the_whole(
    profiles, monkeypatch, remembered, n_first
):
    """Signals that are remembered, and more: of a fit with the first part's scaling."""
    monkeypatch.setattr(memory, "REMEMBERED_VALUES", remembered)
    X, others = profiles
    parts = [X[:n_first], *np.array_split(X[n_first:], 5), others[:1]]
    vae = make_vae().partial_fit(parts[0])
    for part in parts[1:]:
        vae.partial_fit(part)
    assert vae.n_samples_seen_ == 401
    whole = make_vae().partial_fit(parts[0])
    whole.partial_fit(np.concatenate(parts[1:]))
    weight, expected = (maps(each)["components.weight"] for each in (vae, whole))
    correlations = np.corrcoef(vae.transform(X).T, whole.transform(X).T)[:8, 8:]
    order = np.abs(correlations).argmax(axis=1)  # on whichever axes they were before
    signs = np.sign(correlations[np.arange(8), order])
    assert len(set(order)) == 8
    tolerance = 1e-6 * np.abs(expected).max()
    expected = signs[:, None] * expected[order]
    np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=tolerance)


def test_merged_rows_have_the_sums_of_products_of_all():
    values = np.random.default_rng(0).standard_normal((50, 7))
    values[:, 0] = 1
    parts = [Rows(part, 3, (False,)) for part in np.split(values, 5)]
    merged = parts[:1]
    for part in parts[1:]:
        merged = merge(merged, [part])
    [block] = merged
    assert block.values.shape == (7, 7)
    np.testing.assert_allclose(block.values.T @ block.values, values.T @ values)
    kinds = [(0, (True,)), (0, (False,)), (1, (True,)), (0, (True,))]
    merged = merge([Rows(values, *kind) for kind in kinds], [])
    assert [(block.fold, block.known) for block in merged] == kinds[:3]


def test_axes_keep_order_and_sign(profiles):
    X, others = profiles
    vae = make_vae().fit(X)
    before = vae.transform(others)
    vae.partial_fit(others[:100])
    after = vae.transform(others)
    correlations = np.corrcoef(before.T, after.T)[:8, 8:]
    assert (correlations.diagonal() > 0.7).all()


def test_without_features_and_training_parts_are_pca(profiles):
    """Of signals as they are, with scikit-learn's PCA of all as the source."""
    X, _ = profiles
    vae = make_vae(feature_weight=0.0, scale=None, latent_dim=3)
    for part in np.array_split(X, 3):
        vae.partial_fit(part)
    pca = PCA(3).fit(X)
    directions = maps(vae)["components.weight"][:3]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    overlap = np.abs(directions @ pca.components_.T)
    np.testing.assert_allclose(overlap.max(axis=1), 1.0, rtol=1e-5)


# What is seen, and what is random


def test_a_signal_that_comes_again_counts_once(profiles):
    X, _ = profiles
    vae = make_vae().fit(X[:100])
    vae.partial_fit(X[50:120])
    assert vae.n_samples_seen_ == 120
    vae.partial_fit(X[:1].astype(np.float32).astype(np.float64))
    assert vae.n_samples_seen_ in (120, 121)  # float32 rounds it
    vae.partial_fit(X[:120])
    assert vae.n_samples_seen_ <= 121


def test_fingerprints_tell_signals_and_targets_apart():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(2000, 1, 8)).astype(np.float32)
    y = rng.integers(0, 2, size=(2000, 1)).astype(np.float32)
    X[0, 0, 0], y[:5] = np.nan, np.nan
    signals = ScaledSignals(X, ChannelScaler(None).fit(X), "cpu")
    found = fingerprints_of(SignalDataset(signals), y)
    rows = np.nan_to_num(np.concatenate([X[:, 0], y], axis=1), nan=-1)
    assert len(np.unique(found)) == len(np.unique(rows, axis=0))
    again = fingerprints_of(
        SignalDataset(ScaledSignals(X.astype(float), signals.scaler, "cpu")), y
    )
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_each_call_draws_other_numbers(profiles, method):
    """Also with an int: or the network would learn order and noise by heart."""
    X, _ = profiles
    vae = make_vae(max_epochs=1, warm_start=True).fit(X[:64])
    steps = []
    for _ in range(2):
        before = copy.deepcopy(vae)
        getattr(vae, method)(X[:64])
        steps.append(vae.history_["train_loss"][0])
        again = getattr(before, method)(X[:64])
        assert again.history_["train_loss"][0] == steps[-1]
    assert vae.n_epochs_total_ == 3
    assert steps[0] != steps[1]


@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_a_part_may_be_of_few_signals(profiles, n_samples):
    X, others = profiles
    vae = make_vae().fit(X[:100])
    score = vae.score(others)
    vae.partial_fit(X[100 : 100 + n_samples])
    assert vae.n_samples_seen_ == 100 + n_samples
    assert vae.score(others) > score - 0.5


def test_what_tests_training_is_never_trained_on(profiles):
    """Over all calls, though it comes again."""
    X, _ = profiles
    vae = make_vae().fit(X[:200])
    tests = vae.net_.memory_.X[vae.net_.memory_.is_test]
    assert len(tests) == 40
    vae.partial_fit(X[:300])
    is_test = {x.tobytes() for x in vae.net_.memory_.X[vae.net_.memory_.is_test]}
    assert len(is_test) == 60
    assert {x.tobytes() for x in tests} <= is_test


# What goes on from what


CHANGES = {
    "latent_dim": 3,
    "likelihood": "laplace",
    "feature_weight": 3.0,
    "label_weight": 1.0,
    "target_type": "labels",
    "conv_channels": (8, 8),
    "kernel_size": 5,
    "stride": 2,
    "hidden_dims": (32,),
    "batch_norm": True,
    "linear_path": False,
    "whiten": True,
    "scale": "minmax",
    "n_channels": 2,
    "net_params": {"module__correct_mean": True},
}


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_only_the_first_fit_reads_may_not_change(profiles, name, method):
    X, y = profiles[0], np.arange(400) % 2
    vae = make_vae(max_epochs=0, warm_start=True).fit(X, y)
    latents = vae.transform(X)
    vae.set_params(**{name: CHANGES[name]})
    with pytest.raises(ValueError, match=rf"{name}.* is .*, but was .* in the first"):
        getattr(vae, method)(X, y)
    np.testing.assert_array_equal(vae.transform(X), latents)


def test_what_says_the_same_is_no_change(profiles):
    vae = make_vae(max_epochs=0, warm_start=True).fit(profiles[0])
    same = {"n_channels": 1, "conv_channels": [16, 32], "lr": 1e-4, "dropout": 0.5}
    vae.set_params(**same).fit(profiles[0])


def test_a_pickle_holds_no_signals_and_its_latents_stay(profiles):
    X, others = profiles
    vae = make_vae().fit(X)
    other = pickle.loads(pickle.dumps(vae))
    assert vae.net_.memory_ is not None
    assert other.net_.memory_ is None
    vae.net_.memory_ = None
    assert len(pickle.dumps(vae)) == pytest.approx(len(pickle.dumps(other)), abs=200)
    latents, score = other.transform(others), other.score(X)
    quiet = 0.02 + 0.002 * np.random.default_rng(0).standard_normal((30, 48))
    with pytest.warns(UserWarning, match="save.path, training=True"):
        other.partial_fit(quiet)
    np.testing.assert_array_equal(other.transform(others), latents)
    assert other.n_samples_seen_ == 430
    assert other.score(X) > score - 3.0


def test_a_file_for_training_goes_on_with_the_closed_form(profiles, tmp_path):
    X, others = profiles
    vae = make_vae().fit(X)
    vae.save(tmp_path / "vae", training=True)
    other = ConvVAETransformer.load(tmp_path / "vae")
    for each in (vae, other):
        each.partial_fit(others[:50])
    np.testing.assert_array_equal(vae.transform(X), other.transform(X))
    assert other.n_samples_seen_ == 450


# Few of them, and many


def test_single_signals_fill_all_folds():
    """Of a memory that is full: the closed form is judged by folds of one size."""
    found = []
    for seed in range(40):
        [block] = gather(lambda index: np.ones((len(index), 2)), 2, ONE_UNKNOWN, seed)
        found.append(block.fold)
    assert sorted(set(found)) == [0, 1, 2, 3, 4]


ONE_UNKNOWN = np.zeros((1, 0), dtype=bool)


@pytest.mark.filterwarnings("ignore:X has")
def test_short_signals_by_the_hundred_thousand():
    X = np.random.default_rng(0).standard_normal((140_000, 4))
    vae = ConvVAETransformer(1, conv_channels=(), max_epochs=0, random_state=0).fit(X)
    assert vae.partial_fit(X[:3] + 1).n_samples_seen_ == 140_003


def test_a_decoder_that_training_makes_worse_is_not_kept():
    """Of white noise nothing is to be learned."""
    rng = np.random.default_rng(0)
    X, others = rng.standard_normal((100, 30)), rng.standard_normal((500, 30))
    closed = ConvVAETransformer(3, max_epochs=0, random_state=0).fit(X)
    vae = ConvVAETransformer(3, random_state=0).fit(X)
    assert vae.score(others) > closed.score(others) - 0.1


def test_what_is_held_back_again_was_not_trained_on(profiles):
    vae = make_vae(early_stopping=True, warm_start=True, max_epochs=2)
    for _ in range(3):
        vae.fit(profiles[0][:100])
        assert vae.n_samples_seen_ == 90


def test_a_pickle_of_an_older_format_is_read_or_refused(profiles, monkeypatch):
    vae = make_vae(max_epochs=0).fit(profiles[0])
    state = vae.__getstate__() | {"_format": 1, "_versions": {"skvae": "0.1.0"}}
    with pytest.raises(ValueError, match=r"by skvae 0.1.0.*fit anew"):
        ConvVAETransformer().__setstate__(state)
    with monkeypatch.context() as older:  # of 2, whose net has the state of skorch
        older.setattr(estimator, "PICKLE_FORMATS", (2,))
        older.setattr(VAENet, "__getstate__", NeuralNet.__getstate__)
        written = pickle.dumps(vae)
    read = pickle.loads(written)
    np.testing.assert_array_equal(
        read.transform(profiles[0]), vae.transform(profiles[0])
    )
    read.partial_fit(profiles[0])
