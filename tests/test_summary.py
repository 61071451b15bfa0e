"""Summary: totals against counts made elsewhere, shapes against the signal's."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skvae import ConvVAETransformer
from skvae.model.network import ConvVAE
from skvae.summary import summarize

KERAS = {
    "conv_channels": (16, 16, 32, 32),
    "stride": 2,
    "hidden_dims": (64, 16),
    "output_activation": "sigmoid",
    "linear_path": False,
}
SHARES = {"latents": 0.25, "reconstruction": 1.0}
PYTORCH = {**KERAS, "batch_norm": True, "dropout": 0.3, "hidden_dropout": 0.5}


def total(summary, part):
    return sum(n for name, _, n in summary if name.startswith(part))


@pytest.mark.parametrize(
    ("settings", "encoder", "decoder"),
    [
        ({**KERAS, "output_kernel_size": 8, "hidden_dropout": 0.3}, 58740, 24769),
        ({**KERAS, "hidden_dropout": 0.3}, 58740, 24753),
        (PYTORCH, 59060, 24945),
    ],
    ids=["K1", "P1", "P2"],
)
def test_totals_of_the_known_systems(settings, encoder, decoder):
    """The counts that Keras and PyTorch printed for these networks."""
    summary = summarize(ConvVAE(1, 336, 2, **settings).eval(), 1, 336, SHARES)
    assert total(summary, "encoder") == encoder
    assert total(summary, "decoder") == decoder
    lines = str(summary).splitlines()
    assert lines[-4].split() == ["encoder", f"{encoder:,}"]
    assert lines[-3].split() == ["decoder", f"{decoder:,}"]
    assert lines[-2].split() == ["total", f"{encoder + decoder:,}"]
    expected = "From networks: 25.0% of the latents, 100.0% of the reconstruction"
    assert lines[-1] == expected


@pytest.mark.parametrize("n_timepoints", [1, 7, 100])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {"linear_path": False},
        {"n_targets": 4},
        {"with_features": False, "n_components": 8},
        {"linear_path": False, "conv_channels": (), "hidden_dims": ()},
        {
            "linear_path": False,
            "stride": 3,
            "kernel_size": 5,
            "batch_norm": True,
            "dropout": 0.1,
            "n_targets": 4,
        },
    ],
    ids=["plain", "linear-classes", "no-features", "no-layers", "stride-3"],
)
def test_any_length_and_channels(n_channels, n_timepoints, settings):
    module = ConvVAE(n_channels, n_timepoints, 2, **settings).eval()
    summary = summarize(module, n_channels, n_timepoints, SHARES)
    assert total(summary, "") == sum(p.numel() for p in module.parameters())
    shapes = {name.split()[0]: shape for name, shape, _ in summary}
    assert shapes["decoder.output"] == (n_channels, n_timepoints)
    if settings.get("linear_path", True):
        is_corrected = settings.get("correct_mean", False)
        assert ("encoder.correction.z_mean" in shapes) is is_corrected
    else:
        assert shapes["encoder.z_mean"] == shapes["encoder.z_log_var"] == (2,)
    length = n_timepoints
    for name, shape, _ in summary:
        if name.startswith("encoder") and "(SameConv)" in name:
            length = math.ceil(length / settings.get("stride", 4))
            assert shape[1] == length
    if "n_targets" in settings:
        assert shapes["head"] == (4,)
    if settings.get("linear_path", True):
        n_components = settings.get("n_components", 32) if is_corrected else 2
        assert shapes["encoder.components"] == (n_components,)
        assert shapes["decoder.linear"] == (n_channels * n_timepoints,)
    for name in shapes:
        module.get_submodule(name)
    assert max(map(len, str(summary).splitlines())) <= 79


@pytest.mark.parametrize("linear_path", [False, True])
def test_summary_of_the_estimator(waves, linear_path):
    vae = ConvVAETransformer(3, linear_path=linear_path, max_epochs=1, random_state=0)
    vae.fit(waves)
    before, state = vae.transform(waves), torch.get_rng_state()
    summary = vae.summary()
    assert isinstance(summary, list)
    name, shape, n_parameters = summary[0]
    if linear_path:
        assert name == "encoder.features (RandomConvolutions)"
        assert shape == (vae.module_.encoder.features.n_features,)
        assert n_parameters == 0
    else:
        assert name == "encoder.convolutions.0 (SameConv)"
        assert shape[1] == 12
        layer = vae.module_.encoder.convolutions[0]
        assert n_parameters == sum(p.numel() for p in layer.parameters())
    # Looking changes nothing, and leaves nothing behind.
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(vae.transform(waves), before)
    assert len(summary) == len(vae.summary())
    assert not any(layer._forward_hooks for layer in vae.module_.modules())


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_share_of_the_networks_is_what_is_missing_without_them(waves, scale):
    """Of a copy whose networks are silenced, by their last layers."""
    vae = ConvVAETransformer(
        3,
        feature_weight=0.5,
        max_epochs=9,
        scale=scale,
        random_state=0,
        net_params={"module__correct_mean": True},
    ).fit(waves)
    linear = copy.deepcopy(vae)
    linear.module_.forget_training()
    Z, Z_linear = vae.transform(waves), linear.transform(waves)
    scaled = Z_linear / vae.latent_scale_, (Z - Z_linear) / vae.latent_scale_
    X_linear = linear.inverse_transform(Z)
    X_network = vae.inverse_transform(Z) - X_linear
    centred = X_linear - linear.inverse_transform(np.zeros((1, 3)))
    for name, (a, b) in {
        "latents": scaled,
        "reconstruction": (centred, X_network),
    }.items():
        expected = (b**2).sum() / ((a**2).sum() + (b**2).sum())
        assert 0.001 < expected < 0.9
        assert vae.network_share_[name] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "expected"), [({"max_epochs": 0}, 0.0), ({"linear_path": False}, 1.0)]
)
def test_share_of_the_networks_at_its_ends(waves, settings, expected):
    vae = ConvVAETransformer(3, **{"max_epochs": 1} | settings).fit(waves)
    assert vae.network_share_ == {"latents": expected, "reconstruction": expected}


def test_summary_needs_a_fit():
    with pytest.raises(NotFittedError):
        ConvVAETransformer().summary()
