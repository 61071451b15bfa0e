"""The forum thread's systems, and what skvae is compared with, each of them once."""

# K1, P1 and P2 are parameters of `ConvVAETransformer`. P2, the thread's final script,
# is here too as one writes it in plain PyTorch, in skorch, in Pythae and in Keras, and
# K1 in Keras. In these nothing is skvae's. The loss is the thread's, mended:
# weight * SSE + KL, summed over time and latents, mean over signals.

import contextlib
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skvae import ConvVAETransformer

# --- The systems, for ConvVAETransformer


def system(net_params, **params):
    """What K1, P1 and P2 share, and what sets one apart; 100 epochs, of up to 1000."""
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
    """A layer, and what P2 has after it."""
    return [layer, nn.ReLU(), nn.BatchNorm1d(n_out), *dropout]


class P2Module(nn.Module):
    """The network, for signals (n, 1, t); of 336 points as in the thread."""

    def __init__(self, n_timepoints=336, latent_dim=2, dropout=0.3):
        super().__init__()
        lengths, layers = [n_timepoints], []
        for n_in, n_out in pairwise((1, 16, 16, 32, 32)):
            convolution = nn.Conv1d(n_in, n_out, 8, stride=2, padding=3)
            layers += block(convolution, n_out, nn.Dropout(dropout))
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


def vae_loss(output, x, weight=100):
    x_hat, z_mean, z_log_var = output
    sse = ((x_hat - x) ** 2).sum(dim=(1, 2))
    kl = -0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp()).sum(dim=1)
    return (weight * sse + kl).mean()


def training(X, batch_size=32, weight=100, device="cpu", module=None):
    """A network for X (n, t) in [0, 1], and a function that trains it for an epoch."""
    x = torch.as_tensor(X, dtype=torch.float32)[:, None]
    loader = DataLoader(TensorDataset(x), batch_size, shuffle=True)
    module = (module or P2Module(x.shape[2])).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def train_epoch():
        module.train()
        total = 0.0
        for (x,) in loader:
            x = x.to(device)
            loss = vae_loss(module(x), x, weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        return total / len(X)

    return module, train_epoch


@dataclass(eq=False, repr=False)
class P2Transformer(TransformerMixin, BaseEstimator):
    """P2 in plain PyTorch, as a grid search takes it; signals (n, t) in any units."""

    latent_dim: int = 2
    reconstruction_weight: float = 100
    dropout: float = 0.3
    n_epochs: int = 100
    random_state: int = 0

    def start(self, X):
        """The signals in [0, 1], and a network in `module_`."""
        torch.manual_seed(self.random_state)
        self.min_, self.range_ = X.min(), np.ptp(X)
        self.module_ = P2Module(X.shape[1], self.latent_dim, self.dropout)
        return self.scale(X)

    def scale(self, X):
        return (X - self.min_) / self.range_

    def start_training(self, X):
        """A function that trains for an epoch."""
        X, weight = self.start(X), self.reconstruction_weight
        return training(X, weight=weight, module=self.module_)[1]

    def fit(self, X, y=None):
        train_epoch = self.start_training(X)
        for _ in range(self.n_epochs):
            train_epoch()
        return self

    @torch.no_grad()
    def posterior(self, X):
        """Mean and standard deviation of q(z|x), as arrays."""
        x = torch.as_tensor(self.scale(X), dtype=torch.float32)[:, None]
        z_mean, z_log_var = self.module_.eval().encode(x)
        return z_mean.numpy(), (0.5 * z_log_var).exp().numpy()

    def transform(self, X):
        return self.posterior(X)[0]

    @torch.no_grad()
    def inverse_transform(self, Z):
        z = torch.as_tensor(Z, dtype=torch.float32)
        x_hat = self.module_.eval().decoder(z)[:, 0].numpy()
        return x_hat * self.range_ + self.min_


# --- Pythae, with the same network


def train_pythae(network, X, n_epochs, batch_size=32):
    """Train a `P2Module` on X (n, t) in [0, 1]: the times at which the epochs ended.

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


class PythaeVAE(P2Transformer):
    """P2's network trained by Pythae, its weights the last; for flat signals.

    Not transformed by Pythae's own `embed`, which draws from the posterior.
    """

    def fit(self, X, y=None):
        X = self.start(X)
        train_pythae(self.module_, X, self.n_epochs)
        return self


# --- Keras


def keras_vae(n_timepoints, seed=0, p2=False):
    """K1 or P2 as a Keras user writes it, compiled; its input is (n, t, 1)."""
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


# --- Trainers of P2: each takes signals (n, t) in [0, 1] and a batch size, and gives a
# --- function of a number of epochs that trains and returns when each of them ended


def plain_trainer(X, batch_size, device="cpu"):
    _, train_epoch = training(X, batch_size, device=device)

    def train(n_epochs):
        times = []
        for _ in range(n_epochs):
            train_epoch()
            times.append(time.perf_counter())
        return times

    return train


class Look(Callback):
    """Call ``look(net)`` when training begins and at the end of each epoch."""

    def __init__(self, look):
        self.look = look

    def on_train_begin(self, net, **kwargs):
        self.look(net)

    def on_epoch_end(self, net, **kwargs):
        self.look(net)


def clock(times):
    """A callback that notes when training begins and when each epoch ends."""
    return Look(lambda net: times.append(time.perf_counter()))


def skorch_trainer(X, batch_size):
    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            return vae_loss(y_pred, X)

    times = []
    net = Net(
        P2Module,
        torch.nn.MSELoss,  # not used
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[clock(times)],
        verbose=0,
    ).initialize()

    def train(n_epochs):
        times.clear()
        net.partial_fit(X[:, None], epochs=n_epochs)
        return times[1:]

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
        run = {"batch_size": batch_size, "max_epochs": n_epochs, "device": device}
        run["callbacks"] = [clock(times)]
        ConvVAETransformer(latent_dim, **{**params, **run}).fit(X)
        return times[1:]

    return train


def seconds_an_epoch(train):
    """By a trainer's function: the mean of two epochs after one."""
    first, _, last = train(3)
    return (last - first) / 2


TRAINERS = {
    "plain PyTorch loop": plain_trainer,
    "skvae": skvae_trainer,
    "skorch, default loader": skorch_trainer,
    "Pythae": pythae_trainer,
    "Keras, TensorFlow": partial(keras_trainer, "tensorflow"),
    "Keras, JAX": partial(keras_trainer, "jax"),
    "Keras, torch": partial(keras_trainer, "torch"),
}
