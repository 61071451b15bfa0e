"""The thread's final script, P2, as one writes it in plain PyTorch: what to beat.

Nothing of skvae is in it. The loss is the thread's, mended: 100 * SSE + KL, summed over
time and latents, mean over signals.
"""

from itertools import pairwise

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
