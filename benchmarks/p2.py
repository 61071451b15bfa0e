"""The thread's final script, P2, as one writes it in plain PyTorch, and in Pythae.

Nothing of skvae is in it. The loss is the thread's, mended: 100 * SSE + KL, summed over
time and latents, mean over signals.
"""

import contextlib
import logging
import os
import tempfile
import time
from itertools import pairwise

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class P2(nn.Module):
    """The network, for signals (n, 1, t); of 336 points as in the thread."""

    def __init__(self, n_timepoints=336, latent_dim=2, dropout=0.3):
        super().__init__()
        lengths, layers = [n_timepoints], []
        for n_in, n_out in pairwise((1, 16, 16, 32, 32)):
            layers += [
                nn.Conv1d(n_in, n_out, 8, stride=2, padding=3),
                nn.ReLU(),
                nn.BatchNorm1d(n_out),
                nn.Dropout(dropout),
            ]
            lengths.append(lengths[-1] // 2)
        width = 32 * lengths[-1]
        self.encoder = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(width, 64),
            nn.ReLU(),
            nn.BatchNorm1d(64),
            nn.Dropout(0.5),
            nn.Linear(64, 16),
            nn.ReLU(),
        )
        self.z_mean = nn.Linear(16, latent_dim)
        self.z_log_var = nn.Linear(16, latent_dim)

        layers = []
        for (n_in, n_out), length in zip(
            pairwise((32, 32, 32, 16, 16)), lengths[-2::-1], strict=True
        ):
            odd = length % 2
            layers += [
                nn.ConvTranspose1d(n_in, n_out, 8, 2, padding=3, output_padding=odd),
                nn.ReLU(),
                nn.BatchNorm1d(n_out),
            ]
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

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        z_mean, z_log_var = self.encode(x)
        z = z_mean + torch.exp(0.5 * z_log_var) * torch.randn_like(z_mean)
        return self.decode(z), z_mean, z_log_var


def vae_loss(output, x, weight=100):
    x_hat, z_mean, z_log_var = output
    sse = ((x_hat - x) ** 2).sum(dim=(1, 2))
    kl = -0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp()).sum(dim=1)
    return (weight * sse + kl).mean()


def training(X, batch_size=32, weight=100, device="cpu", **options):
    """A network for X (n, t) in [0, 1], and a function that trains it for an epoch."""
    x = torch.as_tensor(X, dtype=torch.float32)[:, None]
    loader = DataLoader(TensorDataset(x), batch_size, shuffle=True)
    module = P2(x.shape[2], **options).to(device)
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


def clocked(train_epoch):
    """A function that trains for so many epochs, and returns when each ended."""

    def train(n_epochs):
        times = []
        for _ in range(n_epochs):
            train_epoch()
            times.append(time.perf_counter())
        return times

    return train


class P2Transformer(TransformerMixin, BaseEstimator):
    """What makes a grid search over it possible."""

    def __init__(
        self, latent_dim=2, reconstruction_weight=100, dropout=0.3, n_epochs=100
    ):
        self.latent_dim = latent_dim
        self.reconstruction_weight = reconstruction_weight
        self.dropout = dropout
        self.n_epochs = n_epochs

    def fit(self, X, y=None):
        torch.manual_seed(0)
        self.min_, self.max_ = X.min(), X.max()
        self.module_, train_epoch = training(
            self._scale(X),
            weight=self.reconstruction_weight,
            latent_dim=self.latent_dim,
            dropout=self.dropout,
        )
        for _ in range(self.n_epochs):
            train_epoch()
        return self

    @torch.no_grad()
    def transform(self, X):
        x = torch.as_tensor(self._scale(X), dtype=torch.float32)[:, None]
        return self.module_.eval().encode(x)[0].numpy()

    def _scale(self, X):
        return (X - self.min_) / (self.max_ - self.min_)


# --- Pythae, with the same network


def pythae_model(n_timepoints, latent_dim):
    """Pythae's VAE, whose loss is SSE / 2 + KL."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    network = P2(n_timepoints, latent_dim)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(
                [network.encoder, network.z_mean, network.z_log_var]
            )

        def forward(self, x):
            encoder, z_mean, z_log_var = self.layers
            h = encoder(x)
            return ModelOutput(embedding=z_mean(h), log_covariance=z_log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = network.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z))

    return VAE(
        VAEConfig((1, n_timepoints), latent_dim=latent_dim), Encoder(), Decoder()
    )


def train_pythae(model, X, n_epochs, folder, batch_size=32, callbacks=None):
    """Train on X (n, t) in [0, 1]; the trainer writes its models to the folder."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    config = BaseTrainerConfig(
        output_dir=folder,
        num_epochs=n_epochs,
        per_device_train_batch_size=batch_size,
        learning_rate=1e-3,
        no_cuda=True,
    )
    x = torch.as_tensor(X, dtype=torch.float32)[:, None]
    dataset = BaseDataset(x, torch.zeros(len(x)))
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
        logging.disable(logging.INFO)
        BaseTrainer(model, dataset, training_config=config, callbacks=callbacks).train()
        logging.disable(logging.NOTSET)


class PythaeVAE(TransformerMixin, BaseEstimator):
    """What the comparison of latents needs of it, for flat signals in any units."""

    def __init__(self, latent_dim=2, n_epochs=100, random_state=0):
        self.latent_dim = latent_dim
        self.n_epochs = n_epochs
        self.random_state = random_state

    def fit(self, X, y=None):
        torch.manual_seed(self.random_state)
        self.min_, self.range_ = X.min(), np.ptp(X)
        self.model_ = pythae_model(X.shape[1], self.latent_dim)
        with tempfile.TemporaryDirectory() as folder:
            train_pythae(self.model_, self._scale(X), self.n_epochs, folder)
        self.model_.eval()
        return self

    @torch.no_grad()
    def transform(self, X):
        """The posterior means; Pythae's own `embed` draws from the posterior."""
        x = torch.as_tensor(self._scale(X), dtype=torch.float32)[:, None]
        return self.model_.encoder(x).embedding.numpy()

    @torch.no_grad()
    def inverse_transform(self, Z):
        x_hat = self.model_.decoder(torch.as_tensor(Z)).reconstruction
        return x_hat[:, 0].numpy() * self.range_ + self.min_

    def _scale(self, X):
        return (X - self.min_) / self.range_
