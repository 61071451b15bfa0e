"""The forum thread's VAEs: as parameters of skvae, in PyTorch, Pythae and Keras.

K1 is the thread's Keras model, P1 its first port to PyTorch, P2 its final script. The
loss is the thread's, corrected: weight * SSE + KL, summed over time and latent axes,
averaged over signals.
"""

import contextlib
import logging
import os
import tempfile
import time
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skvae import ConvVAETransformer

# --- Parameters of ConvVAETransformer


def system(net_params, **params):
    """The parameters of one system; its 100 epochs replace the thread's up to 1000."""
    return {
        "feature_weight": 0.0,
        "conv_channels": (16, 16, 32, 32),
        "kernel_size": 8,
        "stride": 2,
        "hidden_dims": (64, 16),
        "dropout": 0.0,
        "linear_path": False,
        "whiten": True,
        "scale": "minmax",
        "lr": 1e-3,
        "batch_size": 32,
        "max_epochs": 100,
        **params,
        "net_params": {
            "module__output_activation": "sigmoid",
            "module__output_kernel_size": 7,
            "optimizer": torch.optim.Adam,
            "lr_schedule": None,
            **net_params,
        },
    }


K1_NET = {"module__hidden_dropout": 0.3, "module__init": "glorot"}
K1 = system({**K1_NET, "module__output_kernel_size": 8}, reconstruction_weight=10.0)
P1 = system(K1_NET, reconstruction_weight=10.0)
P2 = system(
    {"module__hidden_dropout": 0.5, "module__init": "torch"},
    reconstruction_weight=100.0,
    dropout=0.3,
    batch_norm=True,
)


# --- P2 in plain PyTorch


def block(layer, n_out, *dropout):
    """A layer, and the layers that follow it in P2."""
    return [layer, nn.ReLU(), nn.BatchNorm1d(n_out), *dropout]


class P2Module(nn.Module):
    """The network, for signals (n, 1, t)."""

    def __init__(self, n_timepoints=336, latent_dim=2):
        super().__init__()
        lengths, layers = [n_timepoints], []
        for n_in, n_out in pairwise((1, 16, 16, 32, 32)):
            convolution = nn.Conv1d(n_in, n_out, 8, stride=2, padding=3)
            layers += block(convolution, n_out, nn.Dropout(0.3))
            lengths.append(lengths[-1] // 2)
        width = 32 * lengths[-1]
        self.encoder = nn.Sequential(
            *layers,
            nn.Flatten(),
            *block(nn.Linear(width, 64), 64, nn.Dropout(0.5)),
            nn.Linear(64, 16),
            nn.ReLU(),
        )
        self.z_mean = nn.Linear(16, latent_dim)
        self.z_log_var = nn.Linear(16, latent_dim)

        channels, layers = pairwise((32, 32, 32, 16, 16)), []
        for (n_in, n_out), length in zip(channels, lengths[-2::-1], strict=True):
            odd = {"output_padding": length % 2}
            convolution = nn.ConvTranspose1d(n_in, n_out, 8, 2, padding=3, **odd)
            layers += block(convolution, n_out)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, width),
            nn.ReLU(),
            nn.Unflatten(1, (32, lengths[-1])),
            *layers,
            nn.ConvTranspose1d(16, 1, 7, padding=3),
            nn.Sigmoid(),
        )

    def encode(self, x):
        h = self.encoder(x)
        return self.z_mean(h), self.z_log_var(h)

    def forward(self, x):
        z_mean, z_log_var = self.encode(x)
        z = z_mean + torch.exp(0.5 * z_log_var) * torch.randn_like(z_mean)
        return self.decoder(z), z_mean, z_log_var


def vae_loss(output, x):
    x_hat, z_mean, z_log_var = output
    sse = ((x_hat - x) ** 2).sum(dim=(1, 2))
    kl = -0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp()).sum(dim=1)
    return (100 * sse + kl).mean()


def epoch_trainer(X, batch_size=32, device="cpu"):
    """A function that trains P2 on X (n, t) in [0, 1] for an epoch: its mean loss."""
    x = torch.as_tensor(X, dtype=torch.float32)[:, None]
    loader = DataLoader(TensorDataset(x), batch_size, shuffle=True)
    module = P2Module(x.shape[2]).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def train_epoch():
        module.train()
        total = 0.0
        for (x,) in loader:
            x = x.to(device)
            loss = vae_loss(module(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        return total / len(X)

    return train_epoch


# --- Pythae, with the same network


def train_pythae(network, X, n_epochs, batch_size=32):
    """Train a `P2Module` on X (n, t) in [0, 1], and return the end time of each epoch.

    Pythae's loss is SSE / 2 + KL; its trainer writes models to a folder.
    """
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            z_mean, z_log_var = self.network.encode(x)
            return ModelOutput(embedding=z_mean, log_covariance=z_log_var)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = network.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z))

    times = []

    class Clock(TrainingCallback):
        def on_epoch_end(self, training_config, **kwargs):
            times.append(time.perf_counter())

    latent_dim = network.z_mean.out_features
    model = VAE(VAEConfig((1, X.shape[1]), latent_dim), Encoder(), Decoder())
    x = torch.as_tensor(X, dtype=torch.float32)[:, None]
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as null,
        contextlib.redirect_stderr(null),
    ):
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=n_epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=1e-3,
            no_cuda=True,
        )
        logging.disable(logging.INFO)
        dataset = BaseDataset(x, torch.zeros(len(x)))
        BaseTrainer(model, dataset, training_config=config, callbacks=[Clock()]).train()
        logging.disable(logging.NOTSET)
    return times


class PythaeVAE(TransformerMixin, BaseEstimator):
    """P2's network trained by Pythae for 100 epochs, on flat signals in any units.

    `transform` gives posterior means; Pythae's own `embed` draws from the posterior.
    """

    def __init__(self, latent_dim=2, random_state=0):
        self.latent_dim = latent_dim
        self.random_state = random_state

    def fit(self, X, y=None):
        torch.manual_seed(self.random_state)
        self.min_, self.range_ = X.min(), np.ptp(X)
        self.module_ = P2Module(X.shape[1], self.latent_dim)
        train_pythae(self.module_, self.scale(X), n_epochs=100)
        self.module_.eval()
        return self

    def scale(self, X):
        return (X - self.min_) / self.range_

    @torch.no_grad()
    def transform(self, X):
        x = torch.as_tensor(self.scale(X), dtype=torch.float32)[:, None]
        return self.module_.encode(x)[0].numpy()

    @torch.no_grad()
    def inverse_transform(self, Z):
        x_hat = self.module_.decoder(torch.as_tensor(Z, dtype=torch.float32))
        return x_hat[:, 0].numpy() * self.range_ + self.min_


# --- Keras


def keras_vae(n_timepoints, seed=0, p2=False):
    """K1 or P2 as a Keras user writes it, compiled, for signals (n, t, 1)."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    from keras import layers, ops

    keras.utils.set_random_seed(seed)

    def regularise(h, k1_rate, p2_rate):
        h = layers.BatchNormalization()(h) if p2 else h
        rate = p2_rate if p2 else k1_rate
        return layers.Dropout(rate)(h) if rate else h

    x = h = keras.Input((n_timepoints, 1))
    lengths = []
    for filters in (16, 16, 32, 32):
        lengths.append(h.shape[1])
        h = layers.Conv1D(filters, 8, strides=2, padding="same", activation="relu")(h)
        h = regularise(h, 0.0, 0.3)
    start = h.shape[1:]
    h = layers.Dense(64, activation="relu")(layers.Flatten()(h))
    h = layers.Dense(16, activation="relu")(regularise(h, 0.3, 0.5))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])

    transposed = partial(layers.Conv1DTranspose, padding="same")
    z = keras.Input((2,))
    h = layers.Dense(start[0] * start[1], activation="relu")(z)
    h = layers.Reshape(start)(h)
    for filters, length in zip((32, 32, 16, 16), reversed(lengths), strict=True):
        h = transposed(filters, 8, strides=2, activation="relu")(h)
        h = layers.Cropping1D((0, h.shape[1] - length))(h)
        h = regularise(h, 0.0, 0.0)
    x_hat = transposed(1, 7 if p2 else 8, activation="sigmoid")(h)
    decoder = keras.Model(z, x_hat)

    def reconstruction_loss(x, x_hat):
        return (100.0 if p2 else 10.0) * ops.sum(ops.square(x - x_hat), axis=(1, 2))

    class VAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.seed_generator = keras.random.SeedGenerator()

        def call(self, x):
            z_mean, z_log_var = self.encoder(x)
            self.add_loss(ops.mean(self.kl(z_mean, z_log_var)))
            noise = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
            return self.decoder(z_mean + ops.exp(0.5 * z_log_var) * noise)

        @staticmethod
        def kl(z_mean, z_log_var):
            terms = 1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var)
            return -0.5 * ops.sum(terms, axis=1)

    vae = VAE()
    vae.compile(keras.optimizers.Adam(1e-3), reconstruction_loss)
    return vae


# --- Trainers of P2. Each takes signals (n, t) in [0, 1] and a batch size. It returns a
# --- function that trains for a number of epochs and returns the end time of each.


def plain_trainer(X, batch_size, device="cpu"):
    train_epoch = epoch_trainer(X, batch_size, device)

    def train(n_epochs):
        times = []
        for _ in range(n_epochs):
            train_epoch()
            times.append(time.perf_counter())
        return times

    return train


def pythae_trainer(X, batch_size):
    network = P2Module(X.shape[1])
    return lambda n_epochs: train_pythae(network, X, n_epochs, batch_size)


def keras_trainer(backend, X, batch_size):
    """In a process that has not imported Keras yet."""
    os.environ["KERAS_BACKEND"] = backend
    vae = keras_vae(X.shape[1], p2=True)
    from keras.callbacks import LambdaCallback

    def train(n_epochs):
        times = []
        look = LambdaCallback(on_epoch_end=lambda *_: times.append(time.perf_counter()))
        x = X[:, :, None]
        vae.fit(x, x, batch_size, n_epochs, verbose=0, callbacks=[look])
        return times

    return train


def skvae_trainer(X, batch_size, device="cpu", latent_dim=2, params=P2):
    def train(n_epochs):
        times = []

        class Clock(Callback):  # skvae copies it, and the copies share `times`
            def on_epoch_end(self, net, **kwargs):
                times.append(time.perf_counter())

        run = {"batch_size": batch_size, "max_epochs": n_epochs, "device": device}
        run["callbacks"] = [Clock()]
        ConvVAETransformer(latent_dim, **{**params, **run}).fit(X)
        return times

    return train


def seconds_per_epoch(train):
    """The mean of two epochs after a first, which is not timed."""
    first, _, last = train(3)
    return (last - first) / 2


TRAINERS = {
    "plain PyTorch loop": plain_trainer,
    "skvae": skvae_trainer,
    "Pythae": pythae_trainer,
    "Keras, TensorFlow": partial(keras_trainer, "tensorflow"),
    "Keras, JAX": partial(keras_trainer, "jax"),
    "Keras, torch": partial(keras_trainer, "torch"),
}
