"""The variational autoencoder: encoder and decoder."""

import math
from collections import OrderedDict
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from skvae.model.features import RandomConvolutions
from skvae.model.gaps import (
    GapFiller,
    conditioned_on_measured,
    with_more_gaps,
    without_blocks,
)
from skvae.model.layers import (
    AlignedLinear,
    SameConv,
    SameConvTranspose,
    draw_weights,
    stack,
)

# exp(z_log_var) and its inverse stay finite in float32 within these bounds.
LOG_VAR_BOUNDS = (-30.0, 20.0)


def check_tensor(name, values, n_dims, shape):
    if not isinstance(values, torch.Tensor) or values.ndim != n_dims:
        raise ValueError(
            f"{name} is a {type(values).__name__} of shape "
            f"{getattr(values, 'shape', None)}. Expected a Tensor of shape {shape}."
        )


class ConvVAE(nn.Module):
    """Variational autoencoder for signals of any length and number of channels.

    The encoder has two steps. `represent` is fixed, and runs once for a training
    signal. `posterior` may be trained.

    With `linear_path` the encoder is a `LinearEncoder`, and the decoder has a linear
    map beside its convolutions. Without it the encoder is a `ConvEncoder`. A correction
    in the `LinearEncoder` reads `n_components` components. A linear head on the latent
    mean has `n_targets` outputs. `ConvVAETransformer` and its `net_params` describe the
    other parameters.
    """

    def __init__(
        self,
        n_channels,
        n_timepoints,
        latent_dim,
        *,
        conv_channels=(16, 32),
        kernel_size=8,
        stride=4,
        hidden_dims=(64,),
        dropout=0.0,
        hidden_dropout=0.0,
        batch_norm=False,
        output_kernel_size=None,
        output_activation=None,
        init="he",
        linear_path=True,
        with_features=True,
        n_components=32,
        n_targets=0,
        correct_mean=False,
    ):
        super().__init__()
        shape, channels = (n_channels, n_timepoints), (n_channels, *conv_channels)
        # Of the signal, and after each convolution, as the channels are.
        lengths = [-(-n_timepoints // stride**i) for i in range(len(channels))]
        convs = channels, lengths, kernel_size, stride, batch_norm
        self.gaps = GapFiller(*shape)
        if linear_path:
            features = RandomConvolutions(*shape) if with_features else None
            n_read, correction = latent_dim, None
            if correct_mean:
                n_read = max(latent_dim, n_components)
                widths = pairwise((n_read, *hidden_dims, latent_dim))
                *hidden, last = (AlignedLinear(*sizes) for sizes in widths)
                layers = OrderedDict(hidden=stack(hidden, dropout=dropout), z_mean=last)
                correction = Correction(layers)
            sizes = math.prod(shape), n_read, latent_dim
            self.encoder = LinearEncoder(*sizes, features, correction)
        else:
            dropouts = dropout, hidden_dropout
            self.encoder = ConvEncoder(convs, hidden_dims, latent_dim, *dropouts)
        last_size = output_kernel_size or kernel_size - 1 + kernel_size % 2
        activation = nn.Sigmoid() if output_activation else nn.Identity()
        self.decoder = Decoder(convs, latent_dim, last_size, activation, linear_path)
        self.head = None
        if n_targets:
            self.head = nn.Linear(latent_dim, n_targets, dtype=torch.float32)
        draw_weights(self, init)
        if linear_path:
            self.forget_training()
        self.to(memory_format=torch.channels_last)

    def read(self, x):
        """Input of the encoder: filled signals x (n, c, t), and their features."""
        return self.encoder.read(self.gaps(x))

    def represent(self, x):
        """Input of the trained part of the encoder."""
        return self.encoder.represent(self.read(x))

    def posterior(self, h):
        """Mean and log-variance (n, latent_dim) of q(z|x), from ``represent(x)``."""
        return self.encoder(h)

    def encode_read(self, inputs):
        """Mean and log-variance (n, latent_dim) of q(z|x), from ``read(x)``."""
        return self.posterior(self.encoder.represent(inputs))

    def encode(self, x):
        """Mean and log-variance (n, latent_dim) of q(z|x), for signals x (n, c, t)."""
        check_tensor("x", x, 3, "(n, c, t), of scaled signals")
        return self.encode_read(self.read(x))

    @property
    def is_linear_at_start(self):
        """Whether the decoder starts as a linear map."""
        has_activation = isinstance(self.decoder.activation, nn.Sigmoid)
        return self.decoder.linear is not None and not has_activation

    def posterior_given_measured(self, x, z_mean, z_log_var, noise):
        """As `conditioned_on_measured`, for signals x (n, c, t) with gaps."""
        filled, x_hat = self.gaps(x), self.decode(z_mean)
        linear = self.decoder.linear.weight, noise
        return conditioned_on_measured(z_mean, z_log_var, x, filled, x_hat, *linear)

    def impute(self, x, decoder_std, return_std=False):
        """Signals x (n, c, t) with gaps filled, (n, 2, c, t) with `return_std`.

        `GapFiller` fills a gap, with a share of the reconstruction where it is unsure.
        `decoder_std` maps the mean of p(x|z) to its standard deviation.
        """
        filled, std, change = self.fill(x, decoder_std)
        filled = filled + self.gaps.blend * change
        return torch.stack([filled, std], dim=1) if return_std else filled

    def fill(self, x, decoder_std):
        """Filled x, its standard deviations, and the change by a `gaps.blend` of 1."""
        filled, std = self.gaps(x, return_std=True).unbind(1)
        z_mean, _ = self.encode_read(self.encoder.read(filled))
        x_hat = self.decode(z_mean)
        share = (std / decoder_std(x_hat)).square().clamp(max=1)
        return filled, std, torch.where(x.isnan(), share * (x_hat - filled), 0.0)

    @torch.no_grad()
    def blend_errors(self, x, decoder_std, seed):
        """Two sums whose ratio is the best `gaps.blend`, by hiding measured values."""
        x_cpu = x.cpu()
        has_gaps = x_cpu.isnan().any()
        rng = np.random.default_rng(seed)
        less = with_more_gaps(x_cpu, rng) if has_gaps else without_blocks(x_cpu)
        is_hidden = less.isnan() & ~x_cpu.isnan()
        filled, _, change = self.fill(less.to(x.device), decoder_std)
        change = change.cpu()[is_hidden].double()
        errors = (x - filled).cpu()[is_hidden].double()
        return np.array([float(errors @ change), float(change @ change)])

    def reparameterize(self, z_mean, z_log_var):
        """Draw (n, latent_dim) from q(z|x) by torch's global generator."""
        return z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)

    def decode(self, z):
        """Mean (n, c, t) of p(x|z), for latents z (n, latent_dim)."""
        check_tensor("z", z, 2, "(n, latent_dim)")
        return self.decoder(z)

    def forward(self, h):
        """x_hat, z_mean, z_log_var and the output of a head.

        `h` is ``represent(x)``, or the signals x (n, c, t) themselves.
        """
        if h.ndim == 3 and self.decoder.linear is not None:
            h = self.represent(h)
        z_mean, z_log_var = self.posterior(h)
        x_hat = self.decode(self.reparameterize(z_mean, z_log_var))
        heads = () if self.head is None else (self.head(z_mean),)
        # Plain, because skorch cannot concatenate named tuples.
        return x_hat, z_mean, z_log_var, *heads

    @torch.no_grad()
    def start_from(self, start):
        """Set the linear maps to a `LinearStart`, linearise a sigmoid at the mean."""
        encoder, decoder = self.encoder, self.decoder
        encoder.components.weight.copy_(start.components)
        encoder.components.bias.copy_(start.offset)
        encoder.shrinkage.copy_(start.shrinkage)
        encoder.set_variances(start.variances)
        mean, loadings = start.mean, start.loadings
        if isinstance(decoder.activation, nn.Sigmoid):
            mean = mean.clamp(0.01, 0.99)
            loadings = loadings / (mean * (1 - mean))[:, None]
            mean = torch.logit(mean)
        decoder.linear.weight.copy_(loadings)
        decoder.linear.bias.copy_(mean)

    @torch.no_grad()
    def forget_training(self):
        """Make the networks beside the linear maps add 0."""
        for parameter in self.trusted_parameters()[2:]:
            nn.init.zeros_(parameter)

    def trusted_parameters(self):
        """Parameters of the linear decoder, then of last layers beside linear maps."""
        if self.decoder.linear is None:
            return []
        correction = self.encoder.correction
        layers = [] if correction is None else [correction.z_mean]
        layers = [self.decoder.linear, *layers, self.decoder.output]
        return [parameter for layer in layers for parameter in layer.parameters()]


class LinearEncoder(nn.Module):
    """q(z|x) by a linear map of a signal and its features, and an optional correction.

    All signals have the same latent variances.
    """

    def __init__(self, n_values, n_components, latent_dim, features, correction):
        super().__init__()
        self.features = features
        n_inputs = n_values + (features.n_features if features else 0)
        self.components = AlignedLinear(n_inputs, n_components).requires_grad_(False)
        self.register_buffer("shrinkage", torch.ones(latent_dim, dtype=torch.float32))
        self.register_buffer("z_log_var", torch.zeros(latent_dim, dtype=torch.float32))
        self.correction = correction

    def train(self, mode=True):
        super().train(mode)
        self.components.eval()  # the same bits in training
        return self

    def read(self, x):
        rows = x.flatten(1)
        if self.features is not None:
            rows = torch.cat([rows, self.features(x)], dim=1)
        return rows  # (n, n_inputs)

    def represent(self, inputs):
        return self.components(inputs)  # (n, n_components)

    def set_variances(self, variances):
        self.z_log_var.copy_(variances.log().clamp(*LOG_VAR_BOUNDS))

    def linear(self, h):
        return self.shrinkage * h[:, : len(self.shrinkage)]

    def forward(self, h):
        z_mean = self.linear(h)
        if self.correction is not None:
            z_mean = z_mean + self.correction(h)
        return z_mean, self.z_log_var.expand_as(z_mean)


class Correction(nn.Sequential):
    """Network whose output a `LinearEncoder` adds to the latent mean.

    Pickles of earlier versions name this class.
    """


class ConvEncoder(nn.Module):
    """q(z|x) by convolutions and dense layers of x (n, c, t)."""

    def __init__(self, convolutions, hidden_dims, latent_dim, dropout, hidden_dropout):
        super().__init__()
        channels, lengths, kernel_size, stride, batch_norm = convolutions
        layers = [
            SameConv(*sizes, kernel_size, stride, length)
            for sizes, length in zip(pairwise(channels), lengths, strict=False)
        ]
        self.convolutions = stack(layers, batch_norm, dropout)
        widths = (lengths[-1] * channels[-1], *hidden_dims)
        layers = [AlignedLinear(*sizes) for sizes in pairwise(widths)]
        self.hidden = stack(layers[:-1], batch_norm, hidden_dropout)
        self.hidden.extend(stack(layers[-1:]))
        self.z_mean = AlignedLinear(widths[-1], latent_dim)
        self.z_log_var = AlignedLinear(widths[-1], latent_dim)

    def read(self, x):
        return x

    def represent(self, inputs):
        return inputs

    def forward(self, x):
        h = x.unsqueeze(2)  # (n, c, 1, t): oneDNN is fastest for channels-last images
        h = self.convolutions(h.contiguous(memory_format=torch.channels_last))
        h = h.permute(0, 2, 3, 1).flatten(1)  # (n, t' * c'): time first, as Keras
        h = self.hidden(h)
        return self.z_mean(h), self.z_log_var(h).clamp(*LOG_VAR_BOUNDS)


class Decoder(nn.Module):
    """Mean (n, c, t) of p(x|z), from latents (n, latent_dim)."""

    def __init__(self, convolutions, latent_dim, last_size, activation, linear_path):
        super().__init__()
        channels, lengths, kernel_size, stride, batch_norm = convolutions
        self.shape = (channels[0], lengths[0])
        self.start = (lengths[-1], channels[-1])
        self.hidden = stack([AlignedLinear(latent_dim, math.prod(self.start))])
        channels = (channels[-1], *channels[:0:-1])
        layers = [
            SameConvTranspose(*sizes, kernel_size, stride, length)
            for sizes, length in zip(pairwise(channels), lengths[-2::-1], strict=True)
        ]
        self.convolutions = stack(layers, batch_norm)
        ends = channels[-1], self.shape[0]
        self.output = SameConvTranspose(*ends, last_size, 1, lengths[0])
        self.activation = activation
        n_values = math.prod(self.shape)
        self.linear = AlignedLinear(latent_dim, n_values) if linear_path else None

    def convolve(self, z):
        """Output (n, c, t) of the convolutions."""
        h = self.hidden(z).unflatten(1, (1, *self.start))  # (n, 1, t', c')
        h = self.convolutions(h.permute(0, 3, 1, 2))
        return self.output(h).squeeze(2)  # (n, c, t)

    def forward(self, z):
        x_hat = self.convolve(z)
        if self.linear is not None:
            x_hat = x_hat + self.linear(z).unflatten(1, self.shape)
        return self.activation(x_hat)
