"""The convolutional variational autoencoder and its linear path."""

import functools
import itertools

import torch
from torch import nn

# exp(z_log_var) and its inverse stay finite in float32 within these bounds.
LOG_VAR_BOUNDS = (-30.0, 20.0)

INITS = ("he", "glorot", "torch")
OUTPUT_ACTIVATIONS = {None: nn.Identity, "sigmoid": nn.Sigmoid}


class ConvVAE(nn.Module):
    """Variational autoencoder for signals of any length and number of channels.

    Every convolution has ``same`` padding: layer i of the encoder turns length t into
    ``ceil(t / stride)``, the matching layer of the decoder turns it back.

    Parameters
    ----------
    n_channels, n_timepoints, latent_dim : int
    conv_channels : sequence of int
        Output channels of each convolution of the encoder; the decoder mirrors them.
    kernel_size, stride : int
        Of every convolution but the decoder's last, which has stride 1 and
        `output_kernel_size`.
    hidden_dims : sequence of int
        Widths of the encoder's dense layers; the decoder has none.
    dropout, hidden_dropout : float
        After each convolution of the encoder; after each dense layer but the last.
    batch_norm : bool
        After each convolution, and each dense layer but the last.
    output_kernel_size : int or None
        None: `kernel_size` if it is odd, else ``kernel_size - 1``.
    output_activation : {None, "sigmoid"}
    init : {"he", "glorot", "torch"}
        He-normal weights and zero biases, which keep the variance through ReLU layers;
        Glorot-uniform weights and zero biases, as in Keras; or PyTorch's own.
    linear_path : bool
        Add a linear encoder and decoder, see `start_linear_path`; the encoder's dense
        layers then see mean and maximum over time of the last convolution, instead of
        all of it.
    n_classes : int
        If not 0, a linear head on the latent mean gives class scores.

    References
    ----------
    Kingma & Welling (2014), https://arxiv.org/abs/1312.6114
    Glorot & Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.html
    He et al. (2015), https://arxiv.org/abs/1502.01852
    """

    def __init__(
        self,
        n_channels,
        n_timepoints,
        latent_dim,
        *,
        conv_channels=(16, 16, 32, 32),
        kernel_size=8,
        stride=2,
        hidden_dims=(64, 16),
        dropout=0.0,
        hidden_dropout=0.0,
        batch_norm=False,
        output_kernel_size=None,
        output_activation=None,
        init="glorot",
        linear_path=False,
        n_classes=0,
    ):
        super().__init__()
        self.latent_dim = latent_dim
        lengths = [n_timepoints]
        for _ in conv_channels:
            lengths.append(-(-lengths[-1] // stride))
        shared = {
            "conv_channels": conv_channels,
            "kernel_size": kernel_size,
            "stride": stride,
            "batch_norm": batch_norm,
            "linear_path": linear_path,
        }
        self.encoder = Encoder(
            n_channels,
            lengths,
            latent_dim,
            hidden_dims=hidden_dims,
            dropout=dropout,
            hidden_dropout=hidden_dropout,
            **shared,
        )
        self.decoder = Decoder(
            n_channels,
            lengths,
            latent_dim,
            output_kernel_size=output_kernel_size or kernel_size - 1 + kernel_size % 2,
            output_activation=output_activation,
            **shared,
        )
        self.classifier = nn.Linear(latent_dim, n_classes) if n_classes else None
        if init != "torch":
            self.apply(glorot_init if init == "glorot" else he_init)
        if linear_path:
            self.encoder.z_mean.apply(zero_init)
            self.encoder.z_log_var.apply(zero_init)
            self.decoder.output.apply(zero_init)
        self.to(memory_format=torch.channels_last)

    def encode(self, x):
        """Mean and log-variance of q(z|x), both (n, latent_dim), of x (n, c, t)."""
        return self.encoder(x)

    def reparameterize(self, z_mean, z_log_var):
        """A draw from q(z|x), (n, latent_dim), from torch's global generator."""
        return z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)

    def decode(self, z):
        """Mean of p(x|z), (n, c, t), of z (n, latent_dim)."""
        return self.decoder(z)

    def forward(self, x):
        """x_hat, z_mean, z_log_var and, with classes, their scores; all of x (n, c, t).

        A plain tuple: skorch cannot concatenate a named one.
        """
        z_mean, z_log_var = self.encode(x)
        x_hat = self.decode(self.reparameterize(z_mean, z_log_var))
        if self.classifier is None:
            return x_hat, z_mean, z_log_var
        return x_hat, z_mean, z_log_var, self.class_scores(x, z_mean)

    def class_scores(self, x, z_mean):
        """Class scores (n, n_classes), whose gradient passes the linear map by.

        That map has a weight for every point in time: taught by labels, it would learn
        the training signals by heart.
        """
        if self.encoder.linear is not None:
            linear = self.encoder.linear(x.flatten(1))
            z_mean = z_mean - linear + linear.detach()
        return self.classifier(z_mean)

    @torch.no_grad()
    def start_linear_path(
        self, mean, components, variances, noise_variance, held_out_noise=None
    ):
        """Set the linear maps to the optimum of probabilistic PCA.

        With eigenvalues l_k and noise variance s2: encoder rows
        ``sqrt(l_k - s2) / l_k * component_k``, decoder columns g_k * component_k with
        the gain ``g_k = sqrt(l_k - s2)``, posterior variances ``s2 / (g_k**2 + s2)``,
        that is ``s2 / l_k``. Latent dimensions beyond the given components start at
        the prior. A sigmoid output is linearised at the mean signal.

        Parameters
        ----------
        mean : Tensor of shape (n_channels * n_timepoints,)
        components : Tensor of shape (n_components, n_channels * n_timepoints)
        variances : Tensor of shape (n_components,)
        noise_variance : float
            As in `sklearn.decomposition.PCA`, of the scaled signals.
        held_out_noise : float, optional
            The noise variance of signals that PCA was not fitted on, which the
            posterior variances take for s2.

        References
        ----------
        Tipping & Bishop (1999), https://doi.org/10.1111/1467-9868.00196
        Lucas et al. (2019), https://arxiv.org/abs/1911.02469
        """
        variances = variances.clamp(min=noise_variance)
        gains = (variances - noise_variance).sqrt()
        rows = (gains / variances)[:, None] * components
        n_components = len(components)
        for parameter in (
            self.encoder.linear.weight,
            self.encoder.linear.bias,
            self.encoder.z_log_var.bias,
            self.decoder.linear.weight,
        ):
            parameter.zero_()
        self.encoder.linear.weight[:n_components] = rows
        self.encoder.linear.bias[:n_components] = -rows @ mean
        s2 = noise_variance if held_out_noise is None else held_out_noise
        self.encoder.z_log_var.bias[:n_components] = (s2 / (gains.square() + s2)).log()
        columns = (gains[:, None] * components).T
        if isinstance(self.decoder.activation, nn.Sigmoid):
            mean = mean.clamp(0.01, 0.99)
            columns = columns / (mean * (1 - mean))[:, None]
            mean = torch.logit(mean)
        self.decoder.linear.weight[:, :n_components] = columns
        self.decoder.linear.bias.copy_(mean)

    def blended_parameters(self):
        """The parameters that tell the network from the linear path's start.

        The linear maps, and the last layers of the convolutional parts, which start
        at zero.
        """
        if self.encoder.linear is None:
            return []
        parts = (
            self.encoder.linear,
            self.encoder.z_mean,
            self.encoder.z_log_var,
            self.decoder.linear,
            self.decoder.output,
        )
        return [parameter for part in parts for parameter in part.parameters()]

    @torch.no_grad()
    def blend(self, start, end, share):
        """Set the `blended_parameters` to ``start + share * (end - start)``."""
        for parameter, a, b in zip(self.blended_parameters(), start, end, strict=True):
            parameter.copy_(torch.lerp(a, b, share))


class Encoder(nn.Module):
    """Signals (n, c, t) to mean and log-variance of q(z|x), both (n, latent_dim)."""

    def __init__(
        self,
        n_channels,
        lengths,
        latent_dim,
        *,
        conv_channels,
        kernel_size,
        stride,
        hidden_dims,
        dropout,
        hidden_dropout,
        batch_norm,
        linear_path,
    ):
        super().__init__()
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

        # The linear path sees where in time things happen; beside it the convolutions
        # need only see what happens, and pooled over time they overfit less.
        self.pool = linear_path
        n_steps = 2 if self.pool else lengths[-1]
        widths = (n_steps * (n_channels, *conv_channels)[-1], *hidden_dims)
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
        n_values = n_channels * lengths[0]
        self.linear = AlignedLinear(n_values, latent_dim) if linear_path else None

    def forward(self, x):
        h = x.unsqueeze(2)  # (n, c, 1, t): oneDNN is fastest on images, channels last
        h = self.convolutions(h.contiguous(memory_format=torch.channels_last))
        if self.pool:
            h = torch.cat([h.mean(dim=3), h.amax(dim=3)], dim=1).flatten(1)  # (n, 2 c')
        else:
            h = h.permute(0, 2, 3, 1).flatten(1)  # (n, t' * c'): time first, as Keras
        h = self.hidden(h)
        z_mean = self.z_mean(h)
        if self.linear is not None:
            z_mean = z_mean + self.linear(x.flatten(1))
        return z_mean, self.z_log_var(h).clamp(*LOG_VAR_BOUNDS)


class Decoder(nn.Module):
    """Latents (n, latent_dim) to the mean of p(x|z), (n, c, t)."""

    def __init__(
        self,
        n_channels,
        lengths,
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
        self.shape = (n_channels, lengths[0])
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
            n_in, n_channels, output_kernel_size, 1, lengths[0]
        )
        self.activation = OUTPUT_ACTIVATIONS[output_activation]()
        n_values = n_channels * lengths[0]
        self.linear = AlignedLinear(latent_dim, n_values) if linear_path else None

    def forward(self, z):
        h = self.hidden(z).unflatten(1, (1, *self.start))  # (n, 1, t', c')
        h = self.convolutions(h.permute(0, 3, 1, 2))
        x_hat = self.output(h).squeeze(2)  # (n, c, t)
        if self.linear is not None:
            x_hat = x_hat + self.linear(z).unflatten(1, self.shape)
        return self.activation(x_hat)


class AlignedLinear(nn.Linear):
    """Linear layer whose result for a sample does not depend on its place in the batch.

    Matrix kernels add up a row in an order that depends on where in memory it starts,
    and take another way for a single output. In evaluation, inputs and outputs are
    filled up with zeros to multiples of 16, 64 bytes.
    """

    def forward(self, h):
        n_in, n_out = -self.in_features % 16, -self.out_features % 16
        if self.training or not (n_in or n_out):
            return super().forward(h)
        weight = nn.functional.pad(self.weight, (0, n_in, 0, n_out))
        h = nn.functional.linear(nn.functional.pad(h, (0, n_in)), weight)
        return h[:, : self.out_features] + self.bias


class SameConv(nn.Conv2d):
    """Convolution of (n, c, 1, t) to length ``ceil(t / stride)``.

    The padding is that of TensorFlow's ``same``: half before, the odd one after.
    """

    def __init__(self, n_in, n_out, kernel_size, stride, n_timepoints):
        left, right = same_padding(n_timepoints, kernel_size, stride)
        symmetric = left == right
        super().__init__(
            n_in,
            n_out,
            (1, kernel_size),
            stride=(1, stride),
            padding=(0, left) if symmetric else 0,
        )
        self.pad = nn.Identity() if symmetric else nn.ZeroPad2d((left, right, 0, 0))

    def forward(self, h):
        return super().forward(self.pad(h))


class SameConvTranspose(nn.ConvTranspose2d):
    """Transposed convolution of (n, c, 1, ceil(t / stride)) to length t.

    It is the transpose of `SameConv` at length t, padding included.
    """

    def __init__(self, n_in, n_out, kernel_size, stride, n_timepoints):
        left, _ = same_padding(n_timepoints, kernel_size, stride)
        n_steps = -(-n_timepoints // stride)
        shortfall = n_timepoints + 2 * left - (n_steps - 1) * stride - kernel_size
        super().__init__(
            n_in,
            n_out,
            (1, kernel_size),
            stride=(1, stride),
            padding=(0, left),
            output_padding=(0, max(0, shortfall)),
        )
        self.n_timepoints = n_timepoints

    def forward(self, h):
        h = super().forward(h)
        return h if h.shape[-1] == self.n_timepoints else h[..., : self.n_timepoints]


class Dropout(nn.Dropout):
    """Dropout whose mask on a CPU takes 16 random bits a value.

    PyTorch's own draws a double for each, which took an eighth of a training step. The
    probability is rounded to a multiple of 1 / 65536, the scale is exact for it.
    """

    def forward(self, h):
        if not self.training or h.device.type != "cpu":
            return super().forward(h)
        n_dropped = min(round(self.p * 2**16), 2**16 - 1)
        bits = torch.empty(-(-h.numel() // 4), dtype=torch.int64)
        bits = bits.random_(-(2**63), None).view(torch.int16)[: h.numel()]
        kept = (bits >= n_dropped - 2**15).view(torch.int8)
        # In the memory format of h, which came dense out of a layer.
        kept = kept.as_strided(h.shape, h.stride())
        return (h * kept).mul_(2**16 / (2**16 - n_dropped))


def relu():
    """In place: the layers before it do not need their output for the gradient."""
    return nn.ReLU(inplace=True)


def same_padding(n_timepoints, kernel_size, stride):
    """Zeros before and after a signal whose convolution has length ceil(t / stride)."""
    n_steps = -(-n_timepoints // stride)
    total = max(0, (n_steps - 1) * stride + kernel_size - n_timepoints)
    return total // 2, total - total // 2


def glorot_init(module):
    """Glorot-uniform weights and zero biases, for `Module.apply`."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def he_init(module):
    """He-normal weights and zero biases, for `Module.apply`.

    An output of a transposed convolution sees one in `stride` of its inputs' weights.
    """
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        fan_in = module.weight[0].numel()
        if isinstance(module, nn.ConvTranspose2d):
            fan_in = module.weight[:, 0].numel() / module.stride[1]
        nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
        nn.init.zeros_(module.bias)


def zero_init(module):
    """Zero weights and biases, for `Module.apply`."""
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)


class Summary(list):
    """Layers of a network: tuples ``(name, output_shape, n_parameters)``.

    Prints as a table, with the totals of the parts.
    """

    def __repr__(self):
        totals = {}
        for name, _, n_parameters in self:
            part = name.split(".")[0].split()[0]
            totals[part] = totals.get(part, 0) + n_parameters
        table = [
            ["Layer", "Output shape", "Parameters"],
            *([name, str(shape), f"{n:,}"] for name, shape, n in self),
            *([part, "", f"{n:,}"] for part, n in totals.items()),
            ["total", "", f"{sum(totals.values()):,}"],
        ]
        a, b, c = (max(map(len, column)) for column in zip(*table, strict=True))
        lines = [f"{row[0]:<{a}}  {row[1]:<{b}}  {row[2]:>{c}}" for row in table]
        rule = "-" * len(lines[0])
        n_rows = len(self) + 1
        return "\n".join([lines[0], rule, *lines[1:n_rows], rule, *lines[n_rows:]])


@torch.no_grad()
def summarize(module, n_channels, n_timepoints):
    """Layers of a `ConvVAE` in the order of use, for a signal of the given shape.

    Parameters
    ----------
    module : ConvVAE
        In evaluation mode.
    n_channels, n_timepoints : int

    Returns
    -------
    Summary
        A list of tuples ``(name, output_shape, n_parameters)``: the name in the module
        and the type; the shape of a sample's output, (channels, timepoints) after a
        convolution; the number of weights and biases.
    """
    rows = Summary()

    def add(name, layer, inputs, output):
        n_outputs, *lengths = output.shape[1:]  # a convolution's is (c, 1, t)
        n_parameters = sum(parameter.numel() for parameter in layer.parameters())
        name = f"{name} ({type(layer).__name__})"
        rows.append((name, (n_outputs, *lengths[-1:]), n_parameters))

    hooks = [
        layer.register_forward_hook(functools.partial(add, name))
        for name, layer in named_layers(module)
    ]
    device = next(module.parameters()).device
    z_mean, _ = module.encode(torch.zeros(1, n_channels, n_timepoints, device=device))
    module.decode(z_mean)
    if module.classifier is not None:
        module.classifier(z_mean)
    for hook in hooks:
        hook.remove()
    return rows


def named_layers(module, prefix=""):
    """Yield the layers in a module, with their names: what has weights or no parts."""
    for name, child in module.named_children():
        has_weights = any(True for _ in child.parameters(recurse=False))
        if len(list(child.children())) and not has_weights:
            yield from named_layers(child, f"{prefix}{name}.")
        elif not isinstance(child, (nn.Identity, nn.Sequential)):  # nothing to do
            yield prefix + name, child
