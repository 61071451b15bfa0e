"""On a GPU everything is as on a CPU; what only a GPU has does no harm.

Nothing here runs without one. TF32 is off, which rounds products to 10 bits.
"""

import contextlib
import gc
import os
import random
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

THREAD = {  # the forum thread's kind of VAE
    "latent_dim": 2,
    "linear_path": False,
    "conv_channels": (16, 16, 32, 32),
    "stride": 2,
    "hidden_dims": (64, 16),
    "dropout": 0.3,
    "batch_norm": True,
    "scale": "minmax",
}
SETTINGS = {"defaults": {}, "labels": {"label_weight": 2.0}, "thread": THREAD}


@pytest.fixture(autouse=True)
def no_tf32(monkeypatch):
    # monkeypatch cannot undo what torch keeps in C.
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield
    for backend, value in zip(backends, before, strict=True):
        backend.allow_tf32 = value


@pytest.fixture(scope="module")
def profiles():
    """Of a number that leaves a smaller batch at the end of an epoch."""
    return make_load_profiles(519, random_state=0)


def make(setting="defaults", **params):
    params = {"max_epochs": 2, "batch_size": 32, "random_state": 0} | params
    return ConvVAETransformer(**{"device": DEVICE, **SETTINGS[setting], **params})


def distance(a, b):
    """Largest difference, in units of the root mean square of b."""
    return float(np.abs(a - b).max() / np.sqrt(np.mean(np.square(b))))


class Losses(Callback):
    """Calls ``keep(loss)`` after each training step; a list would be copied."""

    def __init__(self, keep):
        self.keep = keep

    def on_batch_end(self, net, training, loss, **kwargs):
        if training:
            self.keep(loss.detach().clone())


def step_losses(X, y, *args, **params):
    losses = []
    make(*args, callbacks=[Losses(losses.append)], **params).fit(X, y)
    return torch.stack(losses).cpu().numpy()


# --- Features


@pytest.mark.parametrize("shape", [(30, 1, 1), (100, 1, 336), (50, 6, 77)])
def test_features_are_the_same_bits(shape):
    from skvae.model.features import RandomConvolutions

    torch.manual_seed(0)
    x = torch.randn(shape).cumsum(dim=2)
    features = RandomConvolutions(*shape[1:]).fit(x)
    expected = features(x)
    assert torch.equal(features.to(DEVICE)(x.to(DEVICE)).cpu(), expected)
    assert torch.equal(features(x[:3].to(DEVICE)).cpu(), expected[:3])


def test_gaps_are_filled_as_on_a_cpu():
    from skvae.model.gaps import GapFiller

    torch.manual_seed(0)
    x = torch.randn(70, 2, 60).cumsum(dim=2)
    x[torch.rand(x.shape) < 0.3] = torch.nan
    filler = GapFiller(2, 60).fit(x)
    expected = filler(x)
    filler = filler.to(DEVICE)
    torch.testing.assert_close(filler(x.to(DEVICE)).cpu(), expected)
    again = GapFiller(2, 60).to(DEVICE).fit(x.to(DEVICE))
    torch.testing.assert_close(again(x.to(DEVICE)).cpu(), expected)


# --- Fits


@pytest.mark.parametrize("setting", SETTINGS)
def test_signals_with_gaps(profiles, setting):
    X, y = profiles[0].copy(), profiles[1]
    X[::2, 5:40] = np.nan
    vae = make(setting).fit(X, y)
    latents, scores = vae.transform(X), vae.score_samples(X)
    vae.set_params(device="cpu")
    assert distance(latents, vae.transform(X)) < 1e-4
    assert distance(scores, vae.score_samples(X)) < 1e-4


@pytest.mark.parametrize("setting", SETTINGS)
def test_loss_falls(profiles, setting):
    losses = make(setting, max_epochs=5).fit(*profiles).history_["train_loss"]
    assert losses[-1] < losses[0]


def test_trains_as_on_a_cpu(profiles, monkeypatch):
    """Without the draws that differ by device, those of the reparameterization."""
    from skvae.model.network import ConvVAE

    monkeypatch.setattr(ConvVAE, "reparameterize", lambda self, mean, log_var: mean)
    expected = step_losses(*profiles, device="cpu")
    assert distance(step_losses(*profiles), expected) < 1e-2


def test_two_fits_of_one_seed(profiles):
    first, second = (make("thread").fit_transform(profiles[0]) for _ in range(2))
    assert distance(first, second) < 1e-2


def test_global_random_states_are_unchanged(profiles):
    def states():
        found = [torch.get_rng_state(), torch.cuda.get_rng_state()]
        found = [state.numpy().tobytes() for state in found]
        return [*found, np.random.get_state()[1].tobytes(), random.getstate()]

    before = states()
    vae = make("thread").fit(profiles[0])
    vae.score_samples(profiles[0])
    assert states() == before


def test_streamed_signals_as_resident_ones(profiles, monkeypatch):
    from skvae.training import data

    resident = make("labels").fit(*profiles).transform(profiles[0])
    monkeypatch.setattr(data, "free_cuda_memory", lambda device: 0)
    streamed = make("labels").fit(*profiles).transform(profiles[0])
    assert distance(streamed, resident) < 1e-3


def test_resumed_as_uninterrupted(profiles, monkeypatch, tmp_path):
    from skvae.saving.checkpoint import Checkpoint

    pytest.importorskip("safetensors")
    X, on_epoch_end = profiles[0], Checkpoint.on_epoch_end
    expected = make("thread", max_epochs=4).fit_transform(X)

    class Killed(Exception):
        pass

    def kill(self, net, **kwargs):
        on_epoch_end(self, net, **kwargs)
        if len(net.history) == 2:
            raise Killed

    vae = make("thread", max_epochs=4, checkpoint=str(tmp_path / "fit"))
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(Checkpoint, "on_epoch_end", kill)
        vae.fit(X)
    assert not hasattr(vae, "history_")
    assert distance(vae.fit(X).transform(X), expected) < 1e-2


def test_memory_is_given_back(profiles):
    """After a first fit, which leaves the libraries' workspaces."""
    held = []
    for _ in range(4):
        vae = None  # the one before is let go
        vae = make().fit(profiles[0])
        gc.collect()
        held.append(torch.cuda.memory_allocated())
    del vae
    gc.collect()
    assert held[-1] - held[0] < 2**20
    assert held[-1] - torch.cuda.memory_allocated() < 2**24


# --- Fitted models


@pytest.mark.parametrize(("tf32", "limit"), [(False, 1e-3), (True, 3e-2)])
@pytest.mark.parametrize("setting", ["defaults", "thread"])
def test_fitted_model_as_on_a_cpu(profiles, setting, tf32, limit):
    def outputs():
        Z = vae.transform(X)
        return Z, vae.inverse_transform(Z), vae.score_samples(X)

    X = profiles[0]
    vae = make(setting).fit(X)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    found = outputs()
    vae.set_params(device="cpu")
    for ours, expected in zip(found, outputs(), strict=True):
        assert distance(ours, expected) < limit


def test_a_row_alone_as_among_others(profiles):
    X = profiles[0]
    vae = make().fit(X)
    alone = np.concatenate([vae.transform(row[None]) for row in X[:50]])
    assert distance(alone, vae.transform(X)[:50]) < 1e-5


def test_dumped_pipeline_opens_without_a_gpu(profiles, tmp_path):
    X, y = profiles
    vae = make(early_stopping=True)
    model = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())]).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    np.save(tmp_path / "X.npy", X)
    code = """
import joblib, numpy, torch
assert not torch.cuda.is_available()
model, X = joblib.load("model.joblib"), numpy.load("X.npy")
numpy.save("Z.npy", model[:-1].transform(X))
assert len(model.predict(X)) == len(X)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, cwd=tmp_path, env=hidden, check=True)
    assert distance(np.load(tmp_path / "Z.npy"), model[:-1].transform(X)) < 1e-4


def test_out_of_memory_means_smaller_batches(profiles, monkeypatch):
    from skvae import batches

    vae = make().fit(profiles[0])
    X = np.tile(profiles[0], (400, 1))
    expected = vae.transform(X)
    torch.cuda.empty_cache()
    n_before = torch.cuda.memory_stats()["num_ooms"]
    allowed = torch.cuda.memory_reserved() + 2**29
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    # All signals in one batch.
    monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cuda", X.size)
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        found = vae.transform(X)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_stats()["num_ooms"] > n_before
    assert distance(found, expected) < 1e-4
