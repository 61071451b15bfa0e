"""Shared fixtures: small signals that a latent space can be seen in."""

import os

# Read when SciPy is imported: without it scikit-learn skips one of its checks.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # as many workers as cores, and the networks are small


@pytest.fixture(scope="session")
def waves():
    """200 sines of 48 points, of random frequency and phase, with noise."""
    rng = np.random.default_rng(0)
    frequency = rng.uniform(1.0, 2.0, (200, 1))
    phase = rng.uniform(0.0, 1.0, (200, 1))
    time = np.linspace(0.0, 1.0, 48)
    X = np.sin(2 * np.pi * (frequency * time + phase))
    return (X + 0.05 * rng.standard_normal(X.shape)).astype(np.float32)
