"""The same seed, data and number of threads give the same bits, anywhere."""

import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor

import conftest
import joblib
import numpy as np
import pytest
import torch

from skvae import ConvVAETransformer
from skvae.saving import files

TINY = conftest.TINY | {
    "conv_channels": (4, 4),
    "hidden_dims": (8, 8),
    "max_epochs": 2,
    "dropout": 0.2,
}
SETTINGS = {
    "plain": {},
    "signal alone": {"feature_weight": 0.0},
    "labels": {"label_weight": 1.0, "batch_norm": True},
    "stopping": {"early_stopping": True, "net_params": {"kl_warmup": 0.5}},
    "laplace": {
        "likelihood": "laplace",
        "reconstruction_weight": 10.0,
        "linear_path": False,
        "net_params": {"module__hidden_dropout": 0.2},
    },
}


def digest_of_fit(X, setting, n_threads):
    """SHA-256 of all that a fit and a second one from there leave behind."""
    torch.set_num_threads(n_threads)
    y = X.mean(axis=1) > 0
    estimator = ConvVAETransformer(**TINY | SETTINGS[setting]).fit(X, y)
    estimator.partial_fit(X, y)
    tensors = {}
    arrays = [estimator.transform(X), estimator.sample(3), estimator.score_samples(X)]
    arrays += [estimator.history_, dict(estimator.module_.state_dict())]
    digest = hashlib.sha256(str(files.encode(arrays, tensors)).encode())
    for array in tensors.values():
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def test_the_same_bits_in_this_process_and_in_a_worker(waves):
    X = waves[:60]
    arguments = [(X, setting, torch.get_num_threads()) for setting in SETTINGS]
    here = [digest_of_fit(*args) for args in arguments]
    assert len(set(here)) == len(SETTINGS), "the digest tells fits apart"
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    again = [digest_of_fit(*args) for args in arguments]
    there = joblib.Parallel(n_jobs=2)(
        joblib.delayed(digest_of_fit)(*args) for args in arguments
    )
    assert again == here
    assert there == here


def fit_with_checkpoint(X, seed, folder):
    path = os.path.join(folder, f"checkpoint-{seed}")
    params = TINY | {"random_state": seed, "checkpoint": path}
    return ConvVAETransformer(**params).fit(X).transform(X)


def test_two_processes_fit_at_once_in_one_folder(waves, tmp_path):
    X = waves[:60]
    results = joblib.Parallel(n_jobs=2)(
        joblib.delayed(fit_with_checkpoint)(X, seed, str(tmp_path)) for seed in (1, 2)
    )
    for seed, Z in zip((1, 2), results, strict=True):
        expected = ConvVAETransformer(**TINY | {"random_state": seed}).fit(X)
        np.testing.assert_allclose(Z, expected.transform(X), rtol=1e-3, atol=1e-4)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-1", "checkpoint-2"]


CALLS = {
    "fit": lambda e, X, path: e.fit(X),
    "fit unseeded": lambda e, X, path: e.set_params(random_state=None).fit(X),
    "fit, stopping": lambda e, X, path: e.set_params(early_stopping=True).fit(X),
    "fit, checkpoint": lambda e, X, path: e.set_params(checkpoint=path).fit(X),
    "fit_transform": lambda e, X, path: e.fit_transform(X),
    "partial_fit": lambda e, X, path: e.partial_fit(X),
    "warm start": lambda e, X, path: e.set_params(warm_start=True).fit(X),
    "transform": lambda e, X, path: e.transform(X),
    "inverse_transform": lambda e, X, path: e.inverse_transform(np.zeros((3, 2))),
    "reconstruct": lambda e, X, path: e.reconstruct(X),
    "posterior": lambda e, X, path: e.posterior(X),
    "sample": lambda e, X, path: e.sample(3, noise=True),
    "sample unseeded": lambda e, X, path: e.set_params(random_state=None).sample(),
    "score_samples": lambda e, X, path: e.score_samples(X, n_importance=3),
    "score": lambda e, X, path: e.score(X),
    "summary": lambda e, X, path: repr(e.summary()),
    "save and load": lambda e, X, path: e.save(path) or ConvVAETransformer.load(path),
}


@pytest.mark.parametrize("name", CALLS)
def test_global_random_states_are_unchanged(waves, tmp_path, name):
    X = waves[:40]
    estimator = ConvVAETransformer(**TINY).fit(X)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    CALLS[name](estimator, X, tmp_path / "file")
    assert random.getstate() == before[0]
    assert str(np.random.get_state()) == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_an_unseeded_fit_ignores_the_global_states(waves):
    results = []
    for _ in range(2):
        np.random.seed(5)
        torch.manual_seed(5)
        params = TINY | {"random_state": None, "linear_path": False}
        estimator = ConvVAETransformer(**params)
        results.append(estimator.fit_transform(waves[:40]))
    assert not np.array_equal(*results)


def test_the_number_of_threads_changes_rounding_only(waves):
    n_threads = torch.get_num_threads()
    estimator = ConvVAETransformer(8, max_epochs=1, random_state=0).fit(waves)
    try:
        results = []
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(estimator.transform(waves))
    finally:
        torch.set_num_threads(n_threads)
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_fits_in_threads_do_not_disturb_each_other(waves):
    before = torch.get_rng_state()

    def fit(_):
        vae = ConvVAETransformer(2, max_epochs=1, random_state=0)
        return vae.fit_transform(waves[:60])

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(fit, range(6))
    for other in others:
        np.testing.assert_array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
