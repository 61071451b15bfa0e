"""Random convolutions against loops in NumPy: the same bits anywhere."""

import copy
import io
import math
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from conftest import TINY
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skvae import ConvVAETransformer
from skvae.model.features import LIMIT, RandomConvolutions


def draw(n_channels, n_timepoints, seed=0):
    """RandomConvolutions of a seed; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RandomConvolutions(n_channels, n_timepoints)


def noise(n_samples, n_channels, n_timepoints, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_samples, n_channels, n_timepoints))
    return torch.from_numpy(x.astype(np.float32))


@pytest.fixture(scope="module")
def fitted():
    """Features of two channels of 100 points, and signals that they were fitted on."""
    x = noise(500, 2, 100).cumsum(2)
    return draw(2, 100).fit(x), x


GAINS = ["equal", "unequal", "by channel"]


@pytest.fixture(scope="module", params=GAINS)
def fitted_of_gains(request):
    """Features of signals of equal gains, of unequal ones, or with each channel's."""
    x = noise(500, 2, 100).cumsum(2)
    x /= x.std(dim=(1, 2), keepdim=True)
    n_gains = {"equal": 0, "unequal": 1, "by channel": 2}[request.param]
    if n_gains:
        x *= noise(500, n_gains, 1, seed=1).exp()
    features = draw(2, 100).fit(x)
    assert features.has_own_units == bool(n_gains)
    assert features.by_channel == (n_gains == 2)
    return features, x


def read_whole_numbers(features, seed=0):
    """Let features read signals as they are, with thresholds drawn at random.

    Whole numbers up to a thousand, summed over k channels and divided by the root of
    k, are never so close to a half that float32 could round them the other way.
    """
    rng = np.random.default_rng(seed)
    thresholds = rng.integers(-1500, 1500, tuple(features.thresholds.shape))
    features.thresholds.copy_(torch.from_numpy(thresholds))
    features.offset.zero_()
    features.scale.fill_(1.0)
    return features


def naive_responses(features, x):
    """(n_kernels, n_dilations, n, t) of whole numbers x (n, c, t), in int64."""
    x = np.asarray(x, dtype=np.float64)
    n_samples, _, n_timepoints = x.shape
    differences = np.zeros_like(x)
    differences[:, :, 1:] = x[:, :, 1:] - x[:, :, :-1]
    inputs = np.concatenate([x, differences], axis=1)
    dilations = [1]
    while 16 * dilations[-1] <= n_timepoints - 1:
        dilations.append(2 * dilations[-1])
    shape = (len(features.taps), len(dilations), n_samples, n_timepoints)
    responses = np.zeros(shape, dtype=np.int64)
    for kernel, (taps, read) in enumerate(
        zip(features.taps.tolist(), features.inputs.tolist(), strict=True)
    ):
        weights = [2 if tap in taps else -1 for tap in range(9)]
        channels = [c for c in range(len(read)) if read[c]]
        q = np.rint(inputs[:, channels].sum(axis=1) / math.sqrt(len(channels)))
        q = np.clip(q, -LIMIT, LIMIT).astype(np.int64)
        for i, dilation in enumerate(dilations):
            for step in range(n_timepoints):
                for tap, weight in enumerate(weights):
                    source = step + (tap - 4) * dilation
                    if 0 <= source < n_timepoints:
                        responses[kernel, i, :, step] += weight * q[:, source]
    return responses


def naive_features(features, x):
    responses = naive_responses(features, x)  # (k, d, n, t)
    thresholds = features.thresholds.numpy().astype(np.int64)  # (k, d, 4)
    above = responses[:, :, None] > thresholds[..., None, None]  # (k, d, 4, n, t)
    counts = above.sum(axis=-1)
    return counts.reshape(-1, counts.shape[-1]).T, above.shape[-1]


def assert_counts_are(features, x, expected):
    shares = features(torch.as_tensor(x, dtype=torch.float32))
    counts, n_timepoints = expected
    assert shares.dtype == torch.float32
    assert shares.shape == counts.shape == (len(x), features.n_features)
    np.testing.assert_array_equal(np.rint(shares.numpy() * n_timepoints), counts)
    np.testing.assert_allclose(shares, counts / n_timepoints, rtol=1e-6)


# What is computed


@pytest.mark.parametrize("n_channels", [1, 2, 6, 12])
@pytest.mark.parametrize("n_timepoints", [1, 2, 8, 9, 10, 17, 100])
def test_features_are_those_of_loops_in_numpy(n_channels, n_timepoints):
    features = read_whole_numbers(draw(n_channels, n_timepoints))
    rng = np.random.default_rng(n_timepoints)
    x = rng.integers(-100, 101, (3, n_channels, n_timepoints))
    x[2] *= 10**4  # beyond the limit
    assert_counts_are(features, x, naive_features(features, x))
    assert_counts_are(features, x[2:], naive_features(features, x[2:]))  # one alone


def test_features_of_another_number_of_kernels_stay_what_they_are(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("skvae.model.features.N_KERNELS", 11)
        features = read_whole_numbers(draw(2, 40))
    assert features.n_features == 11 * 3 * 4
    x = np.random.default_rng(0).integers(-100, 101, (3, 2, 40))
    expected = naive_features(features, x)
    assert_counts_are(features, x, expected)
    assert_counts_are(features, x[:1], (expected[0][:1], 40))


def test_features_of_long_signals_are_those_of_loops_in_numpy():
    features = read_whole_numbers(draw(2, 336))
    assert features.dilations == [1, 2, 4, 8, 16, 32]
    x = np.random.default_rng(0).integers(-150, 151, (2, 2, 336))
    expected = naive_features(features, x)
    assert_counts_are(features, x, expected)
    x[0, 0, 100] += 400
    with pytest.raises(AssertionError):
        assert_counts_are(features, x, expected)


def test_kernels_sum_to_zero_and_read_few_channels():
    features = draw(12, 50)
    assert len({tuple(taps) for taps in features.taps.tolist()}) == 32
    n_read = features.inputs.sum(dim=1)
    assert n_read.min() >= 1
    assert n_read.max() <= 9
    assert n_read.float().mean() > 1.5
    responses = naive_responses(features, np.full((1, 12, 50), 7))
    assert (responses[:, 0, :, 5:-5] == 0).all()


def test_sums_of_the_largest_inputs_fit_16_bits():
    features = draw(1, 9)
    weights = np.full((32, 9), -1)
    np.put_along_axis(weights, features.taps.numpy(), 2, axis=1)
    x = 10**6 * np.concatenate([weights, -weights])[:, None]
    responses = naive_responses(features, x)
    assert responses.max() == 12 * LIMIT
    assert responses.min() == -12 * LIMIT
    for threshold in (12 * LIMIT - 1, 12 * LIMIT, -12 * LIMIT - 1, -12 * LIMIT, 0):
        features = read_whole_numbers(features)
        features.thresholds.fill_(threshold)
        assert_counts_are(features, x, naive_features(features, x))


@pytest.mark.parametrize("n_samples", [1, 2])
@pytest.mark.parametrize("n_timepoints", [2040, 2048, 2**15 - 1, 2**15, 40_000])
def test_counts_of_long_signals_do_not_overflow(n_timepoints, n_samples):
    features = draw(1, n_timepoints)
    features.thresholds.fill_(-1)  # a constant signal's response, 0, is above it
    shares = features(torch.zeros(n_samples, 1, n_timepoints))
    assert (shares == 1).all()


# Thresholds and units


@pytest.mark.parametrize("n_channels", [1, 6])
def test_thresholds_are_quantiles_of_the_training_signals(n_channels):
    x = noise(100, n_channels, 120)
    shares = draw(n_channels, 120).fit(x)(x).mean(dim=0).reshape(-1, 4)
    expected = np.broadcast_to([7 / 8, 5 / 8, 3 / 8, 1 / 8], shares.shape)
    np.testing.assert_allclose(shares, expected, atol=0.005)


@pytest.mark.parametrize("power", [-20, 20])
def test_features_do_not_depend_on_the_unit(fitted, power):
    features, x = fitted
    other = draw(2, 100).fit(x * 2.0**power)
    assert torch.equal(other.thresholds, features.thresholds)
    assert torch.equal(other(x * 2.0**power), features(x))


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_features_hardly_depend_on_a_unit_that_rounds(fitted, unit):
    features, x = fitted
    changed = draw(2, 100).fit(x * unit)(x * unit) - features(x)
    assert changed.abs().max() <= 9.5 / 100  # the responses that read one value
    assert (changed != 0).float().mean() < 0.01


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_latents_of_any_unit_agree(waves, unit, scale):
    params = TINY | {"max_epochs": 0, "scale": scale, "whiten": True}
    Z = ConvVAETransformer(**params).fit_transform(waves)
    other = ConvVAETransformer(**params).fit_transform(waves.astype(float) * unit)
    signs = np.sign((Z * other).sum(axis=0))
    np.testing.assert_allclose(other * signs, Z, atol=0.02)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -1e6])
def test_a_constant_channel_says_nothing_and_stays_silent(value):
    x = noise(40, 3, 30)
    x[:, 1] = value
    features = draw(3, 30).fit(x)
    before = features(x)
    assert torch.isfinite(before).all()
    reads_it_alone = ~features.inputs[:, [0, 2, 3, 5]].any(dim=1)
    silent = before.reshape(40, 32, -1)[:, reads_it_alone]
    assert reads_it_alone.any()
    assert (silent == 0).all()
    x[:, 1] = noise(40, 1, 30, seed=1)[:, 0] + value
    assert torch.equal(features(x), before)


def test_a_spike_moves_only_the_responses_that_read_it(fitted):
    features, x = fitted
    spiked = x[:20].clone()
    spiked[:, 0, 50] += 1e6 * float(x.std())
    changed = features(spiked) - features(x[:20])
    assert changed.any()
    # Nine taps read the spike, and nine more the second of its differences.
    assert changed.abs().max() <= 18.5 / 100


# Of the spike.
@pytest.mark.filterwarnings("ignore:X has values far")
def test_a_spike_in_training_leaves_all_finite(waves):
    X = waves.copy()
    X[3, 20] = 1e6 * X.std()
    vae = ConvVAETransformer(**TINY).fit(X)
    for values in (vae.transform(X), vae.score_samples(X), vae.reconstruct(waves)):
        assert np.isfinite(values).all()


# Signals of unequal gain


def whole_measures(features, x):
    """Spreads and levels of x (n, c, t), (n, c) in Python's whole numbers."""
    steps = 4096 / features.typical.numpy()
    whole = np.rint(x.numpy().astype(float) * steps).astype(int).astype(object)
    n_timepoints = x.shape[2]
    levels = [[round(row.sum() / n_timepoints) for row in signal] for signal in whole]
    levels = np.array(levels, dtype=object)
    spreads = abs(whole - levels[:, :, None]).sum(axis=2)
    if not features.by_channel:
        spreads = np.tile(spreads.sum(axis=1, keepdims=True), x.shape[1])
    return spreads.astype(float), levels.astype(float)


def test_signals_of_unequal_gain_are_read_in_units_of_their_own(fitted_of_gains):
    features, x = fitted_of_gains
    shares = features(x[:50]).reshape(50, 4, 8, -1)
    if not features.has_own_units:
        assert (shares[:, :, 0] % 1).count_nonzero() > 0
        return
    spreads, levels = whole_measures(features, x[:50])
    n_summed = 100 if features.by_channel else 200
    own = x[:50].numpy() * (4096 / features.typical.numpy()) - levels[:, :, None]
    own = torch.from_numpy(own * (n_summed / spreads[:, :, None])).float()
    plain = copy.deepcopy(features)
    plain.typical.zero_()
    expected = plain(own).reshape(50, 4, 8, -1)
    differs = shares[:, :, 1:] != expected[:, :, 1:]
    assert differs.float().mean() < 1e-3
    n_each = len(features.bounds) // 2
    columns = [m[:, np.arange(n_each) % 2] for m in (spreads, levels)]
    above = np.hstack(columns) > features.bounds.numpy()
    np.testing.assert_array_equal(shares[:, :, 0].reshape(50, -1), above)


def test_bounds_of_spread_and_level_are_quantiles(fitted_of_gains):
    features, x = fitted_of_gains
    if features.has_own_units:
        above = features(x).reshape(500, 4, 8, -1)[:, :, 0].reshape(500, 2, -1)
        n_each = above.shape[2]
        expected = 1 - (np.arange(n_each) + 0.5) / n_each
        np.testing.assert_allclose(above.mean(dim=0), [expected] * 2, atol=0.005)


def test_a_gain_changes_what_the_spread_says_alone(fitted_of_gains):
    features, x = fitted_of_gains
    changed = features(4 * x) - features(x)
    changed = (changed.reshape(500, 4, 8, -1) != 0).float().mean(dim=(0, 1, 3))
    if features.has_own_units:
        assert changed[1:].max() < 0.02
    assert changed[0] > 0.1


def test_constant_signals_have_no_gain():
    x = noise(200, 1, 60)
    x[::3] = 0.1
    assert not draw(1, 60).fit(x).has_own_units
    x[1::3] *= noise(67, 1, 1).exp()
    x[2] = 0.1 + 1e-6 * noise(1, 1, 60)[0]  # no more than rounding
    features = draw(1, 60).fit(x)
    assert features.has_own_units
    shares = features(x).reshape(200, 4, 8, -1)
    assert torch.isfinite(shares).all()
    assert (shares[::3] == shares[0]).all()
    assert not draw(1, 60).fit(x[::3]).has_own_units


def accuracy(transformer, X, y):
    pipeline = make_pipeline(transformer, KNeighborsClassifier())
    return cross_val_score(pipeline, X, y, cv=3).mean()


CLOSED = {"max_epochs": 0, "random_state": 0}


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_signals_of_unequal_gain_classify_as_well_as_by_pca(n_channels, spread):
    """Waves of one to three periods; by features in one unit .7 at a spread of 2."""
    rng = np.random.default_rng(0)
    y, shape = np.arange(150) % 3, (150, n_channels, 1)
    phase = 2 * np.pi * (1 + y[:, None, None]) * np.arange(64) / 64
    X = np.sin(phase + rng.normal(0, 0.3, shape)) + 0.3 * rng.normal(
        size=(150, n_channels, 64)
    )
    X *= np.exp(spread * rng.normal(size=shape))
    expected = accuracy(PCA(8), X.reshape(150, -1), y)
    assert accuracy(ConvVAETransformer(8, **CLOSED), X, y) > expected - 0.02


def test_bursts_of_unequal_gain_classify_as_well_as_in_their_own_units():
    rng = np.random.default_rng(0)
    y, k = np.arange(120) % 3, np.arange(16)
    shapes = np.sin(np.pi * k / 8), np.sin(np.pi * k / 4), np.sign(7.5 - k)
    X = 0.3 * rng.normal(size=(120, 120))
    for x, label in zip(X, y, strict=True):
        for start in rng.integers(0, 104, 3):
            x[start : start + 16] += 2 * shapes[label]
    gained = X * np.exp(0.5 * rng.normal(size=(120, 1)))
    own = gained / gained.std(axis=1, keepdims=True)
    expected = accuracy(ConvVAETransformer(8, **CLOSED), own, y)
    assert accuracy(ConvVAETransformer(8, **CLOSED), gained, y) > expected - 0.03
    assert accuracy(PCA(8), gained, y) < expected - 0.1


# The same bits


@pytest.mark.parametrize("batch_size", [1, 3, 16, 499])
def test_same_bits_in_any_batch_and_order(fitted_of_gains, batch_size):
    features, x = fitted_of_gains
    whole = features(x)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    some = order[: 20 * batch_size]
    batches = [features(batch) for batch in x[some].split(batch_size)]
    assert torch.equal(torch.cat(batches), whole[some])


@pytest.mark.parametrize("block_steps", [100, 1000, 3000])
def test_same_bits_in_blocks_of_any_size(fitted_of_gains, block_steps, monkeypatch):
    features, x = fitted_of_gains
    whole = features(x[:45])
    monkeypatch.setattr("skvae.model.features.BLOCK_STEPS", block_steps)
    assert torch.equal(features(x[:45]), whole)


def test_same_bits_of_any_layout_in_memory(fitted_of_gains):
    features, x = fitted_of_gains
    by_time = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not by_time.is_contiguous()
    assert torch.equal(features(by_time), features(x))
    assert torch.equal(features(x[::7]), features(x)[::7])


def test_same_bits_with_one_and_two_threads(fitted_of_gains):
    features, x = fitted_of_gains
    x = x[:350]  # work enough for torch to share it out
    before = torch.get_num_threads()
    shares, thresholds = [], []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            shares.append(features(x))
            thresholds.append(draw(2, 16).fit(x[:, :, :16]).thresholds)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*shares)
    assert torch.equal(*thresholds)


def test_same_bits_in_python_threads(fitted_of_gains):
    features, x = fitted_of_gains
    expected = features(x)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(features, [x] * 8):
            assert torch.equal(result, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("n_channels", [1, 6])
def test_same_bits_on_a_gpu(n_channels, spread):
    x = noise(500, n_channels, 336) * (spread * noise(500, 1, 1, seed=1)).exp()
    features = draw(n_channels, 336).fit(x)
    assert features.has_own_units == bool(spread)
    expected = features(x)
    assert torch.equal(features.to("cuda")(x.to("cuda")).cpu(), expected)


def test_features_are_drawn_from_the_seed(waves):
    def features_of(seed):
        return ConvVAETransformer(**TINY | {"random_state": seed}).fit(waves)

    first, again, other = (
        features_of(seed).module_.encoder.features for seed in (0, 0, 1)
    )
    for name, buffer in first.named_buffers():
        assert torch.equal(buffer, again.get_buffer(name)), name
    assert not torch.equal(first.taps, other.taps)
    assert not torch.equal(first.thresholds, other.thresholds)


def test_same_bits_after_a_state_dict(fitted_of_gains):
    features, x = fitted_of_gains
    other = draw(2, 100, seed=1)
    assert not torch.equal(other(x), features(x))
    other.load_state_dict(features.state_dict())
    assert torch.equal(other(x), features(x))


def through_joblib(vae, path):
    joblib.dump(vae, path)
    return joblib.load(path)


def through_save(vae, path):
    vae.save(path)
    return ConvVAETransformer.load(path)


def through_torch(vae, path):
    stream = io.BytesIO()
    torch.save(vae.module_.state_dict(), stream)
    stream.seek(0)
    other = ConvVAETransformer(**TINY | {"random_state": 1})
    other.fit(np.random.default_rng(0).standard_normal((20, 48)))
    other.scaler_, other.latent_scale_ = vae.scaler_, vae.latent_scale_
    other.module_.load_state_dict(torch.load(stream))
    return other


@pytest.mark.parametrize(
    "copy",
    [
        lambda vae, path: pickle.loads(pickle.dumps(vae)),
        through_joblib,
        through_save,
        through_torch,
    ],
    ids=["pickle", "joblib", "save", "state_dict"],
)
def test_same_bits_from_a_file(waves, tmp_path, copy):
    vae = ConvVAETransformer(**TINY).fit(waves)
    other = copy(vae, tmp_path / "file")
    x = torch.from_numpy(waves[:, None])
    features, same = (each.module_.encoder.features for each in (vae, other))
    assert torch.equal(same(x), features(x))
    np.testing.assert_array_equal(other.transform(waves), vae.transform(waves))


# Memory

LONG = """
import torch
from skvae.model.features import RandomConvolutions

def peak():
    with open("/proc/self/status") as status:
        return next(int(l.split()[1]) for l in status if l.startswith("VmHWM")) / 1024

torch.set_num_threads(1)
RandomConvolutions(1, 1000).fit(torch.randn(4, 1, 1000))(torch.randn(4, 1, 1000))
before = peak()
x = torch.randn(4, 1, 200_000)
features = RandomConvolutions(1, 200_000)
features.fit(x[:1, :, :20_000])
shares = features(x)
assert shares.shape == (4, 32 * 15 * 4)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_long_signals_is_bounded():
    """All 1920 convolutions of 3 MB of signals at once would take 6 GB."""
    run = subprocess.run(
        [sys.executable, "-c", LONG], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 250  # MiB
