"""The latents of a signal depend on it alone, to the last bit."""

import numpy as np
import pytest
import torch

from skvae import batches
from skvae.batches import map_batches
from skvae.model.network import ConvVAE


@pytest.mark.parametrize("latent_dim", [1, 3, 8])
@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 3), (1, 7), (1, 101), (6, 50)])
def test_result_does_not_depend_on_place_or_company(shape, latent_dim, linear_path):
    torch.manual_seed(0)
    vae = ConvVAE(*shape, latent_dim, hidden_dims=(17,), linear_path=linear_path).eval()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    X = np.random.default_rng(0).standard_normal((203, *shape)).astype(np.float32)
    if linear_path:
        vae.encoder.features.fit(torch.from_numpy(X))

    def reconstruct(inputs):
        return vae.decode(vae.encode_read(inputs)[0])

    def apply(X):
        return map_batches(reconstruct, X.__getitem__, len(X), 1000, "cpu", vae.read)

    expected = apply(X)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(apply(X[order]), expected[order])
    for part in (slice(0, 1), slice(1, 18), slice(100, 177)):
        np.testing.assert_array_equal(apply(X[part]), expected[part])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_result_does_not_depend_on_threads(n_threads, monkeypatch):
    """Many small batches, dealt out to the threads, against one by one."""
    torch.manual_seed(0)
    vae = ConvVAE(1, 60, 3).eval()
    X = np.random.default_rng(0).standard_normal((500, 1, 60)).astype(np.float32)
    vae.encoder.features.fit(torch.from_numpy(X))
    expected = map_batches(vae.represent, X.__getitem__, len(X), 60, "cpu")
    monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cpu", 60 * 16)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        found = map_batches(vae.represent, X.__getitem__, len(X), 60, "cpu")
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found, expected)
