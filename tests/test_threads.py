"""Threads: as many as the work is worth, and afterwards as many as before."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from conftest import TINY
from skorch.callbacks import Callback
from threadpoolctl import threadpool_info, threadpool_limits

from skvae import ConvVAETransformer, batches, threads
from skvae.model import moments

# Of which a training step is worth two threads.
LARGE = TINY | {"conv_channels": (64,), "batch_size": 400, "feature_weight": 0.0}


@pytest.fixture(params=[1, 2])
def n_threads(request):
    """PyTorch's number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fitted(waves):
    return ConvVAETransformer(**TINY).fit(waves)


class Seen(Callback):
    """Keeps the numbers of threads of each batch; raises in the first if asked to."""

    def __init__(self, raises=False):
        self.raises = raises

    def initialize(self):
        self.torch, self.blas = [], []
        return self

    def on_batch_end(self, net, **kwargs):
        self.torch.append(torch.get_num_threads())
        self.blas.append(blas_threads())
        if self.raises:
            raise RuntimeError("from a callback")


def blas_threads():
    """The largest number of threads of any BLAS."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max(pool["num_threads"] for pool in pools)


def seen_by(vae):
    (seen,) = (c for _, c in vae.net_.callbacks_ if isinstance(c, Seen))
    return seen


CALLS = {
    "fit": lambda vae, X: vae.fit(X),
    "fit, labels": lambda vae, X: vae.set_params(label_weight=1.0).fit(X, X[:, 0] > 0),
    "partial_fit": lambda vae, X: vae.partial_fit(X),
    "closed form": lambda vae, X: vae.set_params(max_epochs=0).fit(X),
    "transform": lambda vae, X: vae.transform(X),
    "posterior": lambda vae, X: vae.posterior(X),
    "score_samples": lambda vae, X: vae.score_samples(X),
    "inverse_transform": lambda vae, X: vae.inverse_transform(X[:, :2]),
    "reconstruct": lambda vae, X: vae.reconstruct(X),
    "sample": lambda vae, X: vae.sample(3),
}


# As before


@pytest.mark.parametrize("name", CALLS)
def test_the_number_of_threads_is_as_before(waves, fitted, name, n_threads):
    vae = copy.deepcopy(fitted)
    with threadpool_limits(2, user_api="blas"):
        CALLS[name](vae, waves[:60])
        assert torch.get_num_threads() == n_threads
        assert blas_threads() == 2


@pytest.mark.parametrize("name", CALLS)
def test_threads_to_come_have_the_number_of_before(waves, fitted, name, n_threads):
    vae = copy.deepcopy(fitted)
    CALLS[name](vae, waves[:40])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == n_threads


FAILING = {
    "fit, shape": lambda vae: vae.fit(np.zeros((2, 2, 2, 2))),
    "fit, NaN": lambda vae: vae.fit(np.full((5, 48), np.nan)),
    "fit, y": lambda vae: vae.set_params(label_weight=1.0).fit(np.eye(5)),
    "fit, callback": lambda vae: vae.set_params(callbacks=[Seen(True)]).fit(np.eye(5)),
    "fit, lr": lambda vae: vae.set_params(lr=1e30, max_epochs=50).fit(np.eye(5)),
    "fit, n_threads": lambda vae: vae.set_params(net_params={"n_threads": 0}).fit(
        np.eye(5)
    ),
    "transform, shape": lambda vae: vae.transform(np.eye(5)),
    "transform, size": lambda vae: vae.transform(np.full((5, 48), 1e34)),
    "score_samples, size": lambda vae: vae.score_samples(np.full((5, 48), 1e18)),
    "inverse_transform, shape": lambda vae: vae.inverse_transform(np.eye(5)),
    "inverse_transform, size": lambda vae: vae.inverse_transform(
        np.full((5, 2), 1e300)
    ),
}


# Of sizes that are refused only later.
@pytest.mark.filterwarnings("ignore:X has the value")
@pytest.mark.parametrize("name", FAILING)
def test_the_number_of_threads_is_as_before_where_a_call_raises(
    fitted, name, n_threads, monkeypatch
):
    vae = copy.deepcopy(fitted)
    # What one test leaves is not the next's.
    monkeypatch.setattr(threads, "THREADS_OUTSIDE", {})
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises((ValueError, FloatingPointError, RuntimeError)):
            FAILING[name](vae)
        assert torch.get_num_threads() == n_threads
        assert blas_threads() == 2
    assert threads.THREADS_OUTSIDE == {}


def test_a_setting_after_a_refused_one_is_kept(waves, two_threads, monkeypatch):
    """A number of threads that raises leaves no trace in later calls."""
    monkeypatch.setattr(threads, "THREADS_OUTSIDE", {})
    vae = ConvVAETransformer(**TINY).fit(waves)
    broken = ConvVAETransformer(**TINY, net_params={"n_threads": 0})
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        broken.fit(waves)
    torch.set_num_threads(1)
    vae.transform(waves)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("value", [0, -1, "two", 1.5])
def test_an_unusable_number_of_threads_is_refused_in_our_words(
    waves, value, monkeypatch
):
    monkeypatch.setattr(threads, "THREADS_OUTSIDE", {})
    vae = ConvVAETransformer(**TINY, net_params={"n_threads": value})
    with pytest.raises((ValueError, TypeError), match=r"n_threads.*int in .*\[1"):
        vae.fit(waves)


@pytest.mark.parametrize("asks_before", [True, False])
def test_calls_in_several_python_threads_leave_all_as_before(
    waves, asks_before, two_threads
):
    """Also in threads in which PyTorch was not used before."""
    vae = ConvVAETransformer(**TINY).fit(waves)
    torch.set_num_threads(2)
    start = threading.Barrier(3)
    asked, left = [], []

    def work(i):
        if asks_before:
            asked.append(torch.get_num_threads())
        start.wait()
        for _ in range(2):
            vae.transform(waves)
            vae.score_samples(waves)
            ConvVAETransformer(**TINY | {"random_state": i}).fit(waves[:40])
        left.append(torch.get_num_threads())

    with threadpool_limits(2, user_api="blas"):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert asked == [2] * 3 * asks_before
        assert left == [2] * 3
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:  # and in threads to come
            assert pool.submit(torch.get_num_threads).result() == 2
        assert blas_threads() == 2


def test_a_thread_that_only_fits_is_left_with_the_number_of_others(waves, two_threads):
    with threadpool_limits(1, user_api="openmp"), ThreadPoolExecutor(1) as pool:
        torch.set_num_threads(2)
        vae = pool.submit(ConvVAETransformer(**TINY).fit, waves[:40]).result()
        assert pool.submit(torch.get_num_threads).result() == 2
        pool.submit(vae.transform, waves[:40]).result()
        assert pool.submit(torch.get_num_threads).result() == 2


def use_in_worker(X, n_threads):
    torch.set_num_threads(n_threads)
    left = []
    vae = ConvVAETransformer(**TINY).fit(X)
    left.append(torch.get_num_threads())
    Z = vae.transform(X)
    left.append(torch.get_num_threads())
    vae.score_samples(X)
    left.append(torch.get_num_threads())
    vae.inverse_transform(Z)
    left.append(torch.get_num_threads())
    return left


@pytest.mark.slow
def test_workers_of_joblib_keep_their_number(waves):
    left = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(use_in_worker)(waves[:60], n) for n in (2, 2)
    )
    assert left == [[2] * 4] * 2


# Inside


def test_a_default_fit_takes_one_thread(waves, two_threads):
    vae = ConvVAETransformer(random_state=0, device="cpu", callbacks=[Seen()])
    with threadpool_limits(2, user_api="blas"):
        vae.fit(waves[:30])
    seen = seen_by(vae)
    assert len(seen.torch) > 5
    assert set(seen.torch) == {1}
    assert set(seen.blas) == {1}


def test_the_number_of_threads_may_be_asked_for(waves, two_threads):
    params = TINY | {"callbacks": [Seen()], "feature_weight": 0.0}
    with threadpool_limits(2, user_api="blas"):
        asked = ConvVAETransformer(**params, net_params={"n_threads": 2}).fit(waves)
        assert set(seen_by(asked).torch) == {2}
        assert set(seen_by(asked).blas) == {2}
        torch.set_num_threads(1)  # torch's own setting stays the limit
        asked = ConvVAETransformer(**params, net_params={"n_threads": 2}).fit(waves)
        assert set(seen_by(asked).torch) == {1}


def test_large_networks_take_more_threads(waves, two_threads):
    X = np.tile(waves, (2, 1))
    with threadpool_limits(2, user_api="blas"):
        vae = ConvVAETransformer(**LARGE, callbacks=[Seen()]).fit(X)
    assert set(seen_by(vae).torch) == {2}


def test_large_networks_take_no_more_threads_than_there_are(waves, two_threads):
    X = np.tile(waves, (2, 1))
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        vae = ConvVAETransformer(**LARGE, callbacks=[Seen()]).fit(X)
    assert set(seen_by(vae).torch) == {1}
    assert set(seen_by(vae).blas) == {1}


def test_a_few_batches_are_computed_by_one_thread(waves, fitted, two_threads):
    seen = []

    def function(x):
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return x

    batches.map_batches(function, torch.ones(60, 3).__getitem__, 60, 3, "cpu")
    assert seen == [(threading.get_ident(), 1)]


def test_many_batches_are_computed_by_several_threads(two_threads, monkeypatch):
    monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cpu", 16)
    seen = []
    meet = threading.Barrier(2)

    def function(x):
        seen.append((threading.get_ident(), torch.get_num_threads()))
        if len(seen) > 1:
            meet.wait(10)  # two threads are here at a time
        return 2 * x

    x = torch.arange(17.0 * 16)[:, None]
    result = batches.map_batches(function, x.__getitem__, len(x), 1, "cpu")
    np.testing.assert_array_equal(result, 2 * x)
    assert len(seen) == 17
    assert {n for _, n in seen} == {1}
    assert len({ident for ident, _ in seen[1:]}) == 2
    assert torch.get_num_threads() == 2


def test_an_error_in_one_of_many_batches_is_raised(two_threads, monkeypatch):
    monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cpu", 16)

    def function(x):
        if x[0] > 100:
            raise MemoryError("in a thread")
        return x

    x = torch.arange(20.0 * 16)[:, None]
    with pytest.raises(MemoryError, match="in a thread"):
        batches.map_batches(function, x.__getitem__, len(x), 1, "cpu")
    assert torch.get_num_threads() == 2


# The same bits


RESULTS = {
    "transform": lambda vae, X: vae.transform(X),
    "score_samples": lambda vae, X: vae.score_samples(X),
    "reconstruct": lambda vae, X: vae.reconstruct(X),
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("linear_path", [True, False])
def test_same_bits_with_one_and_two_threads(
    waves, name, linear_path, two_threads, monkeypatch
):
    vae = ConvVAETransformer(**TINY, linear_path=linear_path).fit(waves)
    X = np.tile(waves, (4, 1)) + np.arange(800)[:, None] / 800
    X = X.astype(np.float32)
    results = []
    for timepoints in (batches.INFERENCE_TIMEPOINTS["cpu"], 48 * 32):
        monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cpu", timepoints)
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            results.append(RESULTS[name](vae, X))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_a_default_fit_has_the_same_bits_with_one_and_two_threads(waves, two_threads):
    latents = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        with threadpool_limits(n_threads, user_api="blas"):
            latents.append(ConvVAETransformer(**TINY).fit_transform(waves))
    np.testing.assert_array_equal(*latents)


def test_sums_have_the_same_bits_with_any_number_of_threads(two_threads, monkeypatch):
    monkeypatch.setattr(moments, "MAX_VALUES", 2**12)
    monkeypatch.setattr(moments, "N_ADDED", 700)
    X = np.random.default_rng(0).standard_normal((3000, 30)).cumsum(axis=1)
    latents = []
    for n_threads in (1, 2, 16):
        torch.set_num_threads(n_threads)
        params = TINY | {"max_epochs": 0, "net_params": {"n_threads": n_threads}}
        # SciPy 1.15 crashes with many more threads of BLAS than it started with.
        with threadpool_limits(min(n_threads, 2), user_api="blas"):
            latents.append(ConvVAETransformer(**params).fit_transform(X))
    np.testing.assert_array_equal(latents[1], latents[0])
    np.testing.assert_array_equal(latents[2], latents[0])


def test_same_bits_in_several_python_threads(waves, fitted, two_threads, monkeypatch):
    monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cpu", 48 * 16)
    expected = fitted.transform(waves), fitted.score_samples(waves)
    start = threading.Barrier(4)

    def work(_):
        start.wait()
        return [(fitted.transform(waves), fitted.score_samples(waves)) for _ in "123"]

    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(work, range(4)):
            for latents, scores in results:
                np.testing.assert_array_equal(latents, expected[0])
                np.testing.assert_array_equal(scores, expected[1])
    assert torch.get_num_threads() == 2
