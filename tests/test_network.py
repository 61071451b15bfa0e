"""The architecture: sizes, lengths, initialisation, the linear path."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skvae.network import LOG_VAR_BOUNDS, ConvVAE, Dropout

K1 = {
    "hidden_dims": (64, 16),
    "hidden_dropout": 0.3,
    "output_kernel_size": 8,
    "output_activation": "sigmoid",
}
P1 = {**K1, "output_kernel_size": None}
P2 = {**P1, "dropout": 0.3, "hidden_dropout": 0.5, "batch_norm": True}


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("system", "n_encoder", "n_decoder"),
    [(K1, 58_740, 24_769), (P1, 58_740, 24_753), (P2, 59_060, 24_945)],
    ids=["K1", "P1", "P2"],
)
def test_the_systems_of_the_thread_have_their_sizes(system, n_encoder, n_decoder):
    vae = ConvVAE(1, 336, 2, **system)
    assert n_parameters(vae.encoder) == n_encoder
    assert n_parameters(vae.decoder) == n_decoder


@pytest.mark.parametrize("n_timepoints", [*range(1, 65), 97, 331, 337])
def test_any_length_comes_back(n_timepoints):
    vae = ConvVAE(2, n_timepoints, 3, linear_path=True).eval()
    x = torch.randn(2, 2, n_timepoints)
    x_hat, z_mean, z_log_var = vae(x)
    assert x_hat.shape == x.shape
    assert z_mean.shape == z_log_var.shape == (2, 3)


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel_size", [1, 2, 7])
@pytest.mark.parametrize("n_timepoints", [1, 2, 7, 30])
def test_any_stride_and_kernel_comes_back(n_timepoints, kernel_size, stride):
    vae = ConvVAE(1, n_timepoints, 1, kernel_size=kernel_size, stride=stride).eval()
    assert vae(torch.zeros(1, 1, n_timepoints))[0].shape == (1, 1, n_timepoints)


def test_layers_can_be_left_out():
    vae = ConvVAE(2, 9, 3, conv_channels=(), hidden_dims=()).eval()
    assert vae(torch.zeros(4, 2, 9))[0].shape == (4, 2, 9)


@pytest.mark.parametrize("p", [0.0, 0.013, 0.3, 0.5, 0.9, 1 - 1e-9])
def test_dropout_has_the_distribution_of_pytorchs(p):
    torch.manual_seed(0)
    dropout = Dropout(p)
    h = torch.ones(1000, 16, 1, 21).contiguous(memory_format=torch.channels_last)
    h.requires_grad_()
    dropped = dropout(h)
    assert dropped.is_contiguous(memory_format=torch.channels_last)
    kept = (dropped != 0).float()
    n, share = kept.numel(), 1 - round(p * 2**16) / 2**16
    share = max(share, 2**-16)
    assert abs(share - (1 - p)) <= 2**-16
    assert dropped[dropped != 0].allclose(torch.tensor(1 / share))
    assert abs(kept.mean() - share) < 4 * (share * (1 - share) / n) ** 0.5 + 1e-12
    # Values drop out alone, not with those that are drawn together.
    pairs = kept.permute(0, 2, 3, 1).flatten()[: 4 * (n // 4)].view(-1, 4)
    for other in range(1, 4):
        both = (pairs[:, 0] * pairs[:, other]).mean()
        assert abs(both - share**2) < 5 * (share**2 / len(pairs)) ** 0.5
    dropped.sum().backward()
    assert torch.equal(h.grad, dropped.detach())
    assert dropout.eval()(h) is h


def test_output_is_a_plain_tuple():
    """skorch cannot concatenate named ones."""
    assert type(ConvVAE(1, 8, 2)(torch.zeros(2, 1, 8))) is tuple


def test_dropout_is_off_in_evaluation():
    vae = ConvVAE(1, 40, 2, **P2)
    vae(torch.randn(8, 1, 40))  # so that BatchNorm has statistics
    x = torch.randn(8, 1, 40)
    assert not torch.equal(vae.encode(x)[0], vae.encode(x)[0])
    vae.eval()
    assert torch.equal(vae.encode(x)[0], vae.encode(x)[0])


def test_init_says_which():
    torch.manual_seed(0)
    glorot = ConvVAE(1, 336, 2, init="glorot").encoder.hidden[0]
    kaiming = ConvVAE(1, 336, 2, init="torch").encoder.hidden[0]
    fan_in, fan_out = 672, 64
    limit = (6 / (fan_in + fan_out)) ** 0.5
    assert float(glorot.weight.detach().abs().max()) == pytest.approx(limit, rel=1e-2)
    assert not glorot.bias.any()
    assert float(kaiming.weight.detach().abs().max()) == pytest.approx(
        fan_in**-0.5, rel=1e-2
    )
    assert kaiming.bias.any()


def test_log_variance_is_bounded():
    vae = ConvVAE(1, 8, 2).eval()
    with torch.no_grad():
        vae.encoder.z_log_var.bias.fill_(1e6)
    z_log_var = vae.encode(torch.zeros(1, 1, 8))[1]
    assert (z_log_var == LOG_VAR_BOUNDS[1]).all()


def test_linear_path_starts_at_probabilistic_pca():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 12)) + 3.0
    X += 0.2 * rng.standard_normal(X.shape)
    pca = PCA(4).fit(X)
    vae = ConvVAE(2, 6, 5, linear_path=True).double().eval()
    vae.start_linear_path(
        torch.from_numpy(pca.mean_),
        torch.from_numpy(pca.components_),
        torch.from_numpy(pca.explained_variance_),
        pca.noise_variance_,
    )
    z_mean, z_log_var = vae.encode(torch.from_numpy(X).unflatten(1, (2, 6)))

    # The exact posterior of the model x = W z + mean + noise, with PCA's covariance.
    W = pca.components_.T * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    precision = W.T @ np.linalg.inv(pca.get_covariance())
    mean = (X - pca.mean_) @ precision.T
    variance = 1 - np.diag(precision @ W)
    np.testing.assert_allclose(z_mean[:, :4].detach(), mean, atol=1e-10)
    np.testing.assert_allclose(z_log_var[0, :4].exp().detach(), variance)
    decoded = vae.decode(z_mean).flatten(1).detach()
    np.testing.assert_allclose(decoded, mean @ W.T + pca.mean_, atol=1e-10)

    # The latent dimension beyond the components is the prior.
    assert not z_mean[:, 4].any()
    assert not z_log_var[:, 4].any()


def test_linear_path_through_a_sigmoid_starts_at_the_mean_signal():
    vae = ConvVAE(1, 3, 1, linear_path=True, output_activation="sigmoid").eval()
    mean = torch.tensor([0.2, 0.5, 0.7])
    component = torch.tensor([[0.6, 0.0, 0.8]])
    vae.start_linear_path(mean, component, torch.tensor([0.04]), 0.0)
    step = 1e-3
    at_zero, nearby = vae.decode(torch.tensor([[0.0], [step]]))[:, 0].detach()
    torch.testing.assert_close(at_zero, mean)
    slope = (nearby - at_zero) / step
    torch.testing.assert_close(slope, 0.2 * component[0], atol=1e-3, rtol=0)
