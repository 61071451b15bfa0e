"""Parameters and fixtures that several test modules share."""

import os

# Read when SciPy is imported: without it scikit-learn skips one of its checks.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # as many workers as cores, and the networks are small

TINY = {  # of an estimator, for a fit that takes a moment
    "latent_dim": 2,
    "conv_channels": (4,),
    "hidden_dims": (8,),
    "max_epochs": 1,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def waves():
    """200 sines of 48 points, of random frequency and phase, with noise."""
    rng = np.random.default_rng(0)
    frequency = rng.uniform(1.0, 2.0, (200, 1))
    phase = rng.uniform(0.0, 1.0, (200, 1))
    time = np.linspace(0.0, 1.0, 48)
    X = np.sin(2 * np.pi * (frequency * time + phase))
    return (X + 0.05 * rng.standard_normal(X.shape)).astype(np.float32)
