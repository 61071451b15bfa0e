"""The variational autoencoder: an encoder, and a convolutional decoder."""

import itertools

import torch
from torch import nn

from skvae.model.features import RandomConvolutions
from skvae.model.layers import (
    AlignedLinear,
    Dropout,
    SameConv,
    SameConvTranspose,
    first_weights,
    lengths_after,
    relu,
    zero_init,
)

# exp(z_log_var) and its inverse stay finite in float32 within these bounds.
LOG_VAR_BOUNDS = (-30.0, 20.0)

OUTPUT_ACTIVATIONS = {None: nn.Identity, "sigmoid": nn.Sigmoid}


class ConvVAE(nn.Module):
    """Variational autoencoder for signals of any length and number of channels.

    An encoder works in two steps: `represent` is fixed and computed once for a
    training signal, the rest is trained.

    Parameters
    ----------
    n_channels, n_timepoints, latent_dim : int
    conv_channels : sequence of int
        Output channels of each convolution from the signal inwards; the decoder
        mirrors them.
    kernel_size, stride : int
        Of every convolution but the decoder's last, which has stride 1 and
        `output_kernel_size`.
    hidden_dims : sequence of int
        Widths of the encoder's dense layers; the decoder has none.
    dropout : float
        After each convolution of a `ConvEncoder`, each dense layer of a
        `LinearEncoder`.
    hidden_dropout : float
        After each dense layer of a `ConvEncoder` but the last.
    batch_norm : bool
        After each convolution, and each dense layer of a `ConvEncoder` but the last.
    output_kernel_size : int or None
        None: `kernel_size` if it is odd, else ``kernel_size - 1``.
    output_activation : {None, "sigmoid"}
    init : {"he", "glorot", "torch"}
        See `first_weights`.
    linear_path : bool
        A `LinearEncoder`, and a linear map beside the decoder's convolutions; else a
        `ConvEncoder`.
    with_features : bool
        Whether a `LinearEncoder` reads the features of the signal besides itself.
    n_components : int
        That a `LinearEncoder` passes to its trained part, at least `latent_dim`.
    n_targets : int
        If not 0, a linear head on the latent mean predicts so many numbers.
    correct_mean : bool
        Whether the trained part of a `LinearEncoder` moves the latent mean.

    References
    ----------
    Kingma & Welling (2014), https://arxiv.org/abs/1312.6114
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
        correct_mean=True,
    ):
        super().__init__()
        self.latent_dim = latent_dim
        if linear_path:
            self.encoder = LinearEncoder(
                n_channels,
                n_timepoints,
                latent_dim,
                hidden_dims=hidden_dims,
                dropout=dropout,
                with_features=with_features,
                n_components=max(latent_dim, n_components),
                correct_mean=correct_mean,
            )
        else:
            self.encoder = ConvEncoder(
                n_channels,
                n_timepoints,
                latent_dim,
                conv_channels=conv_channels,
                kernel_size=kernel_size,
                stride=stride,
                hidden_dims=hidden_dims,
                dropout=dropout,
                hidden_dropout=hidden_dropout,
                batch_norm=batch_norm,
            )
        self.decoder = Decoder(
            n_channels,
            n_timepoints,
            latent_dim,
            conv_channels=conv_channels,
            kernel_size=kernel_size,
            stride=stride,
            batch_norm=batch_norm,
            output_kernel_size=output_kernel_size or kernel_size - 1 + kernel_size % 2,
            output_activation=output_activation,
            linear_path=linear_path,
        )
        self.head = nn.Linear(latent_dim, n_targets) if n_targets else None
        self.apply(first_weights(init))
        if linear_path:
            self.encoder.z_mean.apply(zero_init)
            self.encoder.z_log_var.apply(zero_init)
            self.decoder.output.apply(zero_init)
        self.to(memory_format=torch.channels_last)

    def represent(self, x):
        """What the trained part of the encoder reads of signals x (n, c, t)."""
        return self.encoder.represent(x)

    def posterior(self, h):
        """Mean and log-variance of q(z|x), (n, latent_dim), of ``represent(x)``."""
        return self.encoder(h)

    def encode(self, x):
        """Mean and log-variance of q(z|x), both (n, latent_dim), of x (n, c, t)."""
        return self.posterior(self.represent(x))

    def reparameterize(self, z_mean, z_log_var):
        """A draw from q(z|x), (n, latent_dim), from torch's global generator."""
        return z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)

    def decode(self, z):
        """Mean of p(x|z), (n, c, t), of z (n, latent_dim)."""
        return self.decoder(z)

    def forward(self, h):
        """x_hat, z_mean, z_log_var and, with a head, its output; of ``represent(x)``.

        A plain tuple: skorch cannot concatenate a named one.
        """
        z_mean, z_log_var = self.posterior(h)
        x_hat = self.decode(self.reparameterize(z_mean, z_log_var))
        if self.head is None:
            return x_hat, z_mean, z_log_var
        return x_hat, z_mean, z_log_var, self.head(z_mean)

    @torch.no_grad()
    def start_from(self, start):
        """Set the linear maps to a closed form, whose networks add nothing yet.

        Parameters
        ----------
        start : LinearStart
        """
        self.encoder.start_from(start)
        self.decoder.start_from(start)

    def trusted_parameters(self):
        """The parameters that tell a trained network from its start.

        Those of the linear maps, and of the last layers of the networks beside them,
        which start at zero. None without linear path.
        """
        if self.decoder.linear is None:
            return []
        parts = (
            self.encoder.z_mean,
            self.encoder.z_log_var,
            self.decoder.linear,
            self.decoder.output,
        )
        return [parameter for part in parts for parameter in part.parameters()]


class LinearEncoder(nn.Module):
    """q(z|x) by a linear map of a signal and its features, and a small correction.

    ``represent`` gives standardised components of signal and features, of which the
    first, shrunk, are the latent mean; a network that sees all of them, zero at the
    start, adds to mean and log-variance.
    """

    def __init__(
        self,
        n_channels,
        n_timepoints,
        latent_dim,
        *,
        hidden_dims,
        dropout,
        with_features,
        n_components,
        correct_mean,
    ):
        super().__init__()
        self.features = (
            RandomConvolutions(n_channels, n_timepoints) if with_features else None
        )
        n_inputs = n_channels * n_timepoints
        if with_features:
            n_inputs += self.features.n_features
        self.components = AlignedLinear(n_inputs, n_components).requires_grad_(False)
        self.register_buffer("shrinkage", torch.ones(latent_dim))
        layers = []
        for n_in, n_out in itertools.pairwise((n_components, *hidden_dims)):
            layers += [AlignedLinear(n_in, n_out), relu()]
            if dropout:
                layers.append(Dropout(dropout))
        self.hidden = nn.Sequential(*layers)
        n_hidden = (n_components, *hidden_dims)[-1]
        self.z_mean = AlignedLinear(n_hidden, latent_dim)
        self.z_log_var = AlignedLinear(n_hidden, latent_dim)
        self.z_mean.requires_grad_(correct_mean)

    def train(self, mode=True):
        super().train(mode)
        self.components.eval()  # never trained: the same bits in any mode
        return self

    def represent(self, x):
        rows = x.flatten(1)
        if self.features is not None:
            rows = torch.cat([rows, self.features(x)], dim=1)
        return self.components(rows)  # (n, n_components)

    def forward(self, h):
        linear = self.shrinkage * h[:, : len(self.shrinkage)]
        h = self.hidden(h)
        return linear + self.z_mean(h), self.z_log_var(h).clamp(*LOG_VAR_BOUNDS)

    def start_from(self, start):
        """Take the components, the shrinkage and the log-variances of a closed form."""
        self.components.weight.copy_(start.components)
        self.components.bias.copy_(start.offset)
        self.shrinkage.copy_(start.shrinkage)
        self.z_log_var.bias.copy_(start.variances.log())


class ConvEncoder(nn.Module):
    """q(z|x) by convolutions and dense layers; its representation is x (n, c, t)."""

    def __init__(
        self,
        n_channels,
        n_timepoints,
        latent_dim,
        *,
        conv_channels,
        kernel_size,
        stride,
        hidden_dims,
        dropout,
        hidden_dropout,
        batch_norm,
    ):
        super().__init__()
        lengths = lengths_after(n_timepoints, len(conv_channels), stride)
        layers = []
        for length, (n_in, n_out) in zip(
            lengths, itertools.pairwise((n_channels, *conv_channels)), strict=False
        ):
            layers += [SameConv(n_in, n_out, kernel_size, stride, length), relu()]
            if batch_norm:
                layers.append(nn.BatchNorm2d(n_out))
            if dropout:
                layers.append(Dropout(dropout))
        self.convolutions = nn.Sequential(*layers)

        widths = (lengths[-1] * (n_channels, *conv_channels)[-1], *hidden_dims)
        layers = []
        for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            layers += [AlignedLinear(n_in, n_out), relu()]
            is_last = i == len(hidden_dims) - 1
            if batch_norm and not is_last:
                layers.append(nn.BatchNorm1d(n_out))
            if hidden_dropout and not is_last:
                layers.append(Dropout(hidden_dropout))
        self.hidden = nn.Sequential(*layers)
        self.z_mean = AlignedLinear(widths[-1], latent_dim)
        self.z_log_var = AlignedLinear(widths[-1], latent_dim)

    def represent(self, x):
        return x

    def forward(self, x):
        h = x.unsqueeze(2)  # (n, c, 1, t): oneDNN is fastest on images, channels last
        h = self.convolutions(h.contiguous(memory_format=torch.channels_last))
        h = h.permute(0, 2, 3, 1).flatten(1)  # (n, t' * c'): time first, as Keras
        h = self.hidden(h)
        return self.z_mean(h), self.z_log_var(h).clamp(*LOG_VAR_BOUNDS)


class Decoder(nn.Module):
    """Latents (n, latent_dim) to the mean of p(x|z), (n, c, t)."""

    def __init__(
        self,
        n_channels,
        n_timepoints,
        latent_dim,
        *,
        conv_channels,
        kernel_size,
        stride,
        batch_norm,
        output_kernel_size,
        output_activation,
        linear_path,
    ):
        super().__init__()
        lengths = lengths_after(n_timepoints, len(conv_channels), stride)
        self.shape = (n_channels, n_timepoints)
        self.start = (lengths[-1], conv_channels[-1] if conv_channels else n_channels)
        self.hidden = nn.Sequential(
            AlignedLinear(latent_dim, self.start[0] * self.start[1]), relu()
        )
        layers = []
        n_in = self.start[1]
        for n_out, length in zip(
            reversed(conv_channels), reversed(lengths[:-1]), strict=True
        ):
            layers.append(SameConvTranspose(n_in, n_out, kernel_size, stride, length))
            layers.append(relu())
            if batch_norm:
                layers.append(nn.BatchNorm2d(n_out))
            n_in = n_out
        self.convolutions = nn.Sequential(*layers)
        self.output = SameConvTranspose(
            n_in, n_channels, output_kernel_size, 1, n_timepoints
        )
        self.activation = OUTPUT_ACTIVATIONS[output_activation]()
        n_values = n_channels * n_timepoints
        self.linear = AlignedLinear(latent_dim, n_values) if linear_path else None

    def forward(self, z):
        h = self.hidden(z).unflatten(1, (1, *self.start))  # (n, 1, t', c')
        h = self.convolutions(h.permute(0, 3, 1, 2))
        x_hat = self.output(h).squeeze(2)  # (n, c, t)
        if self.linear is not None:
            x_hat = x_hat + self.linear(z).unflatten(1, self.shape)
        return self.activation(x_hat)

    def start_from(self, start):
        """Take the linear map of a closed form; a sigmoid is linearised at the mean."""
        mean, loadings = start.mean, start.loadings
        if isinstance(self.activation, nn.Sigmoid):
            mean = mean.clamp(0.01, 0.99)
            loadings = loadings / (mean * (1 - mean))[:, None]
            mean = torch.logit(mean)
        self.linear.weight.copy_(loadings)
        self.linear.bias.copy_(mean)
