"""scikit-learn's own checks, for several settings: nothing skipped, nothing excused."""

import copy

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from skvae import ConvVAETransformer, transformer
from skvae.inputs.signals import check_signals
from skvae.scaling import ChannelScaler

SETTINGS = {
    "default": {},
    "signal alone": {"feature_weight": 0.0},
    "latent_dim=1": {"latent_dim": 1},
    "3 channels": {"n_channels": 3},
    "BatchNorm and dropout, no linear path": {
        "batch_norm": True,
        "dropout": 0.3,
        "hidden_dims": (64, 16),
        "linear_path": False,
        "net_params": {"module__hidden_dropout": 0.5},
    },
    "no linear path": {"linear_path": False},
    "early stopping": {"early_stopping": True},
    "labels": {"label_weight": 2.0},
    "labels, no linear path": {"label_weight": 2.0, "linear_path": False},
    "numbers": {"label_weight": 1.0, "target_type": "numbers"},
    "labels, -1 among them": {"label_weight": 2.0, "target_type": "labels"},
    "Bernoulli, whitened": {
        "likelihood": "bernoulli",
        "scale": "minmax",
        "whiten": True,
    },
}


def check_signals_in_threes(estimator, X, *, reset, min_samples=1):
    """Every column of X as three channels.

    The checks draw X of 1 to 10 columns, most of which three channels do not divide.
    """
    plain = copy.copy(estimator).set_params(n_channels=None)
    plain.n_channels_in_ = 1
    if not reset:
        plain.scaler_ = ChannelScaler(None)  # that of three channels compares no units
    signals = check_signals(plain, X, reset=reset, min_samples=min_samples)
    if reset:
        vars(estimator).update(vars(plain))
        estimator.set_params(n_channels=3).n_channels_in_ = 3
    return np.concatenate([signals, -signals, 2 * signals], axis=1)


# The networks that start from random weights collapse in two epochs, the checks begin
# `partial_fit` with few signals, and draw `y` by chance, and each says so.
@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.filterwarnings("ignore:The first call of partial_fit")
@pytest.mark.filterwarnings("ignore:No latent dimension is active")
@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_check_estimator(setting, monkeypatch):
    params = SETTINGS[setting]
    if "n_channels" in params:
        monkeypatch.setattr(transformer, "check_signals", check_signals_in_threes)
    if setting != "default":
        params = {"max_epochs": 2, **params}
    results = check_estimator(ConvVAETransformer(**params), on_fail=None, on_skip=None)
    assert len(results) > 40
    assert [r for r in results if r["status"] != "passed"] == []
