"""The network: sizes, lengths, where it starts, what it can be asked for."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skvae.model.closed_form import LinearStart
from skvae.model.network import LOG_VAR_BOUNDS, ConvVAE

K1 = {
    "conv_channels": (16, 16, 32, 32),
    "stride": 2,
    "hidden_dims": (64, 16),
    "hidden_dropout": 0.3,
    "output_kernel_size": 8,
    "output_activation": "sigmoid",
    "linear_path": False,
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


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("n_timepoints", [*range(1, 65), 97, 331, 337])
def test_any_length_comes_back(n_timepoints, linear_path):
    vae = ConvVAE(2, n_timepoints, 3, linear_path=linear_path).eval()
    x = torch.randn(2, 2, n_timepoints)
    x_hat, z_mean, z_log_var = vae(vae.represent(x))
    assert x_hat.shape == x.shape
    assert z_mean.shape == z_log_var.shape == (2, 3)


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel_size", [1, 2, 7])
@pytest.mark.parametrize("n_timepoints", [1, 2, 7, 30])
def test_any_stride_and_kernel_comes_back(n_timepoints, kernel_size, stride):
    settings = {"kernel_size": kernel_size, "stride": stride, "linear_path": False}
    vae = ConvVAE(1, n_timepoints, 1, **settings).eval()
    assert vae(torch.zeros(1, 1, n_timepoints))[0].shape == (1, 1, n_timepoints)


@pytest.mark.parametrize("linear_path", [False, True])
def test_layers_can_be_left_out(linear_path):
    vae = ConvVAE(2, 9, 3, conv_channels=(), hidden_dims=(), linear_path=linear_path)
    x = torch.zeros(4, 2, 9)
    assert vae.eval()(vae.represent(x))[0].shape == (4, 2, 9)


@pytest.mark.parametrize("n_targets", [0, 3])
def test_output_is_a_plain_tuple(n_targets):
    """skorch cannot concatenate named ones."""
    vae = ConvVAE(1, 8, 2, n_targets=n_targets).eval()
    output = vae(vae.represent(torch.randn(5, 1, 8)))
    assert type(output) is tuple
    assert len(output) == 3 + bool(n_targets)
    if n_targets:  # of the mean, not of a draw
        weight, bias = vae.head.weight, vae.head.bias
        torch.testing.assert_close(output[3], output[1] @ weight.T + bias)


@pytest.mark.parametrize("linear_path", [False, True])
def test_encode_is_the_posterior_of_the_representation(linear_path):
    vae = ConvVAE(1, 40, 2, linear_path=linear_path).eval()
    x = torch.randn(5, 1, 40)
    for ours, theirs in zip(
        vae.encode(x), vae.posterior(vae.represent(x)), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_draw_has_the_mean_and_variance_of_the_posterior():
    torch.manual_seed(0)
    z_mean = torch.tensor([[1.0, -2.0]]).expand(100_000, 2)
    z_log_var = torch.tensor([[0.5, -3.0]]).expand(100_000, 2)
    z = ConvVAE(1, 8, 2).reparameterize(z_mean, z_log_var)
    torch.testing.assert_close(z.mean(dim=0), z_mean[0], rtol=0, atol=0.02)
    torch.testing.assert_close(z.var(dim=0).log(), z_log_var[0], rtol=0, atol=0.03)


@pytest.mark.parametrize(
    "settings", [P2, {"dropout": 0.3, "correct_mean": True}], ids=["P2", "linear path"]
)
def test_dropout_is_off_in_evaluation(settings):
    vae = ConvVAE(1, 40, 2, **settings)
    x = torch.randn(8, 1, 40)
    with torch.no_grad():
        for parameter in vae.parameters():  # where it starts, some of them are zero
            parameter.add_(0.1 * torch.randn_like(parameter))
        vae(vae.represent(x))  # so that BatchNorm has statistics
        h = vae.represent(x)
        assert not torch.equal(vae.posterior(h)[0], vae.posterior(h)[0])
        vae.eval()
        h = vae.represent(x)
        assert torch.equal(vae.posterior(h)[0], vae.posterior(h)[0])


def test_init_says_which():
    torch.manual_seed(0)
    glorot = ConvVAE(1, 336, 2, **{**K1, "init": "glorot"}).encoder.hidden[0]
    kaiming = ConvVAE(1, 336, 2, **{**K1, "init": "torch"}).encoder.hidden[0]
    he = ConvVAE(1, 336, 2, **K1).encoder.hidden[0]
    fan_in, fan_out = 672, 64
    limit = (6 / (fan_in + fan_out)) ** 0.5
    assert float(glorot.weight.detach().abs().max()) == pytest.approx(limit, rel=1e-2)
    assert not glorot.bias.any()
    assert float(kaiming.weight.detach().abs().max()) == pytest.approx(
        fan_in**-0.5, rel=1e-2
    )
    assert kaiming.bias.any()
    assert float(he.weight.detach().std()) == pytest.approx(
        (2 / fan_in) ** 0.5, rel=0.02
    )
    assert not he.bias.any()


@torch.no_grad()
@pytest.mark.parametrize("stride", [2, 4])
def test_the_first_decoder_passes_the_variance_on(stride):
    """From latents of variance 1 to signals: not fading, not growing, by a layer."""
    squares = []
    for seed in range(8):
        torch.manual_seed(seed)
        vae = ConvVAE(
            1, 512, 8, conv_channels=(32, 32, 32), stride=stride, linear_path=False
        ).eval()
        x_hat = vae.decode(torch.randn(200, 8))[..., 100:-100]
        squares.append(float(x_hat.square().mean()))
    # 2, since He's factor of 2 is for the next ReLU, and there is none after the last
    # layer; with a factor of the stride amiss in each layer it would be eight times
    # as large, or as small, at least.
    assert 1 < np.exp(np.mean(np.log(squares))) < 4


def test_log_variance_is_bounded():
    for linear_path in (False, True):
        vae = ConvVAE(1, 8, 2, linear_path=linear_path).eval()
        with torch.no_grad():
            if linear_path:
                vae.encoder.set_variances(torch.tensor([1e30, torch.inf]))
            else:
                vae.encoder.z_log_var.bias.fill_(1e6)
        z_log_var = vae.encode(torch.zeros(1, 1, 8))[1]
        assert (z_log_var == LOG_VAR_BOUNDS[1]).all()


# The linear path


def pca_start(pca, n_latents, n_components):
    """`LinearStart` of scikit-learn's PCA; what is beyond it is the prior."""
    k, n_values = pca.components_.shape
    start = LinearStart(
        components=np.zeros((n_components, n_values)),
        offset=np.zeros(n_components),
        shrinkage=np.zeros(n_latents),
        variances=np.ones(n_latents),
        loadings=np.zeros((n_values, n_latents)),
        mean=pca.mean_,
    )
    start.components[:k] = pca.components_ / np.sqrt(pca.explained_variance_)[:, None]
    start.offset[:k] = -start.components[:k] @ pca.mean_
    start.shrinkage[:k] = np.sqrt(1 - pca.noise_variance_ / pca.explained_variance_)
    start.variances[:k] = pca.noise_variance_ / pca.explained_variance_
    start.loadings[:, :k] = pca.components_.T * np.sqrt(
        pca.explained_variance_ - pca.noise_variance_
    )
    return LinearStart(*map(torch.from_numpy, start))


@torch.no_grad()
def test_linear_path_starts_at_probabilistic_pca():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 12)) + 3.0
    X += 0.2 * rng.standard_normal(X.shape)
    pca = PCA(4).fit(X)
    options = {"with_features": False, "n_components": 7, "correct_mean": True}
    vae = ConvVAE(2, 6, 5, **options).double().eval()
    vae.start_from(pca_start(pca, 5, 7))
    z_mean, z_log_var = vae.encode(torch.from_numpy(X).unflatten(1, (2, 6)))

    # The exact posterior of the model x = W z + mean + noise, with PCA's covariance.
    W = pca.components_.T * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    precision = W.T @ np.linalg.inv(pca.get_covariance())
    mean = (X - pca.mean_) @ precision.T
    variance = 1 - np.diag(precision @ W)
    np.testing.assert_allclose(z_mean[:, :4], mean, atol=1e-10)
    np.testing.assert_allclose(z_log_var[0, :4].exp(), variance)
    decoded = vae.decode(z_mean).flatten(1)
    np.testing.assert_allclose(decoded, mean @ W.T + pca.mean_, atol=1e-10)

    # The latent dimension beyond the components is the prior.
    assert not z_mean[:, 4].any()
    assert not z_log_var[:, 4].any()


@torch.no_grad()
def test_linear_path_through_a_sigmoid_starts_at_the_mean_signal():
    vae = ConvVAE(1, 3, 1, output_activation="sigmoid", with_features=False).eval()
    mean = torch.tensor([0.2, 0.5, 0.7])
    loadings = torch.tensor([[0.12], [0.0], [0.16]])
    start = LinearStart(
        components=torch.zeros(1, 3),
        offset=torch.zeros(1),
        shrinkage=torch.ones(1),
        variances=torch.ones(1),
        loadings=loadings,
        mean=mean,
    )
    vae.start_from(start)
    step = 1e-3
    at_zero, nearby = vae.decode(torch.tensor([[0.0], [step]]))[:, 0]
    torch.testing.assert_close(at_zero, mean)
    slope = (nearby - at_zero) / step
    torch.testing.assert_close(slope, loadings[:, 0], atol=1e-3, rtol=0)


@torch.no_grad()
def test_a_new_network_adds_nothing_to_the_linear_maps():
    torch.manual_seed(0)
    vae = ConvVAE(2, 20, 3, with_features=False, correct_mean=True).eval()
    h = torch.randn(50, 32)
    z_mean, z_log_var = vae.posterior(h)
    torch.testing.assert_close(z_mean, h[:, :3])
    assert not z_log_var.any()
    linear = vae.decoder.linear
    expected = (z_mean @ linear.weight.T + linear.bias).unflatten(1, (2, 20))
    torch.testing.assert_close(vae.decode(z_mean), expected)
    vae.decoder.output.weight.fill_(0.1)
    assert not torch.equal(vae.decode(z_mean), expected)


def test_the_components_are_not_trained():
    vae = ConvVAE(1, 20, 2, correct_mean=True)
    x_hat, z_mean, _ = vae(vae.represent(torch.randn(5, 1, 20)))
    (x_hat.square().sum() + z_mean.square().sum()).backward()
    untrained = {n for n, p in vae.named_parameters() if p.grad is None}
    assert untrained == {"encoder.components.weight", "encoder.components.bias"}


@pytest.mark.parametrize("x", [np.zeros((5, 1, 12)), torch.zeros(5, 12), [[1.0]]])
def test_what_is_no_batch_of_signals_is_not_encoded(x):
    with pytest.raises(ValueError, match=r"Expected a Tensor of shape \(n, c, t\)"):
        ConvVAE(1, 12, 2).encode(x)
    with pytest.raises(ValueError, match=r"Expected a Tensor of shape \(n, latent_dim"):
        ConvVAE(1, 12, 2).decode(x if isinstance(x, list) else x[..., None, None])


@pytest.mark.parametrize("linear_path", [True, False])
def test_a_network_takes_signals_too(linear_path):
    vae = ConvVAE(2, 20, 3, linear_path=linear_path).eval()
    x = torch.randn(16, 2, 20)
    torch.manual_seed(0)
    expected = vae(vae.represent(x))
    torch.manual_seed(0)
    for output, other in zip(vae(x), expected, strict=True):
        torch.testing.assert_close(output, other, rtol=0, atol=0)
