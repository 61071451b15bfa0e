"""The forum thread, reproduced: a Keras VAE, its port, and the effect of mistakes."""

import inspect
import math
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import figures
import harness
import numpy as np
import peers
import torch
import torch.nn.functional as F
from harness import Part, each, tabulated
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.model.network import ConvVAE

N_TRAIN, N_TEST, N_TIMEPOINTS = 1000, 500, 336
WEIGHT = 10.0  # of the squared error; the decoder's variance is 1 / (2 * WEIGHT)
N_DRAWS = 16  # from q(z|x), per ELBO
BATCH_SIZE, LR = 32, 1e-3
KINDS = ("commuters", "family at home", "night storage heating", "office", "shop")
KINDS += ("restaurant", "two shifts")  # of load profiles
CORRECTED = "P1, corrected"  # the reference of each mistake


class Size(NamedTuple):
    n_epochs: int = 50
    seeds: tuple = (0, 1, 2)
    lengths: tuple = (336, 100, 151)


QUICK = Size(2, (0,), (100,))


def make_module(system, **options):
    """The untrained network of one of the systems in `peers`, with two latents."""
    params = system | system["net_params"] | options
    params = {name.removeprefix("module__"): value for name, value in params.items()}
    known = inspect.signature(ConvVAE).parameters
    sizes = {"n_channels": 1, "n_timepoints": N_TIMEPOINTS, "latent_dim": 2}
    return ConvVAE(**(sizes | {k: params[k] for k in params if k in known}))


def kl_divergence(z_mean, z_log_var):
    """KL(q(z|x) || N(0, I)) by latent, (n, latent_dim)."""
    return -0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp())


def draw(z_mean, z_log_var):
    return z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)


# --- The Keras model


def copy_weights(vae, module):
    """Copy the weights of a Keras model, layer by layer, to a `ConvVAE`."""
    for part, model in ((module.encoder, vae.encoder), (module.decoder, vae.decoder)):
        pairs = zip(part.parameters(), model.get_weights(), strict=True)
        for parameter, weight in pairs:
            # Keras has (k, in, out), or (k, out, in) if transposed, and does not flip.
            weight = torch.from_numpy(weight.T)
            if parameter.ndim == 4:
                weight = weight.unsqueeze(2)
            assert parameter.shape == weight.shape
            parameter.data.copy_(weight)
    return module.eval()


@torch.no_grad()
def equality(size, n_timepoints, n_signals=64):
    """Largest differences of Keras and skvae with equal weights, and the mean loss.

    Weights and biases are random, and both decode the same z.
    """
    X, _ = make_load_profiles(n_signals, n_timepoints=n_timepoints, random_state=0)
    vae = peers.keras_vae(n_timepoints)
    rng = np.random.default_rng(0)
    for model in (vae.encoder, vae.decoder):
        weights = model.get_weights()
        model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in weights])
    module = copy_weights(vae, make_module(peers.K1, n_timepoints=n_timepoints))

    x = torch.from_numpy(X)[:, None]  # (n, 1, t)
    noise = torch.from_numpy(rng.normal(size=(n_signals, 2)).astype(np.float32))
    z_mean, z_log_var = module.encode(x)
    x_hat = module.decode(z_mean + (0.5 * z_log_var).exp() * noise)
    kl = kl_divergence(z_mean, z_log_var).sum(dim=1)
    sse = (x_hat - x).square().sum(dim=(1, 2))
    actual = z_mean, z_log_var, x_hat, WEIGHT * sse + kl

    x = x.mT  # (n, t, 1)
    z_mean, z_log_var = vae.encoder(x, training=False)
    x_hat = vae.decoder(z_mean + (0.5 * z_log_var).exp() * noise, training=False)
    loss = vae.loss(x, x_hat) + vae.kl(z_mean, z_log_var)
    expected = z_mean, z_log_var, x_hat.mT, loss
    names = ("z_mean", "z_log_var", "x_hat", "loss")
    pairs = zip(names, actual, expected, strict=True)
    differences = {name: float((a - b).abs().max()) for name, a, b in pairs}
    return differences | {"mean loss": float(loss.mean())}


@tabulated(
    "Largest difference of Keras and skvae with equal weights",
    "points | z_mean:.1e | z_log_var:.1e | x_hat:.1e | loss:.1e | mean loss:.0f",
)
def equality_section(results):
    keys = ("points", "z_mean", "z_log_var", "x_hat", "loss", "mean loss")
    return map(itemgetter(*keys), results)


# --- The correct loss and mistakes; squares are (n, 1, t), kl is (n, latent_dim)


def corrected(squares, kl):
    return WEIGHT * squares.sum(dim=2).mean() + kl.sum(dim=1).mean()


def kl_mean_latents(squares, kl):
    return WEIGHT * squares.sum(dim=2).mean() + kl.mean(dim=1).mean()


def sse_sum_kl_mean(squares, kl):
    return WEIGHT * squares.sum() + kl.mean()


def all_means(squares, kl):
    return WEIGHT * squares.mean() + kl.mean()


class FunctionalDropout(nn.Module):
    """Dropout by ``F.dropout(x, 0.3)``, which is active at evaluation too."""

    def forward(self, h):
        return F.dropout(h, 0.3)


def keep_dropout_on(module):
    for parent in list(module.encoder.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Dropout) and layer.p > 0:
                setattr(parent, name, FunctionalDropout())


# --- Training. Each function returns a ConvVAE and the loss that its user saw.


def train_keras(X, seed, n_epochs):
    vae = peers.keras_vae(N_TIMEPOINTS, seed)
    x = X[:, :, None]
    history = vae.fit(x, x, batch_size=BATCH_SIZE, epochs=n_epochs, verbose=0).history
    return copy_weights(vae, make_module(peers.K1)), history["loss"][-1]


def train_skvae(X, seed, n_epochs):
    run = {"max_epochs": n_epochs, "device": "cpu", "random_state": seed}
    vae = ConvVAETransformer(2, **(peers.K1 | {"scale": None} | run)).fit(X)
    return vae.module_, vae.history_["train_loss"][-1] + log_normalizer()


def log_normalizer():
    """The constant in the log-density of a signal, -WEIGHT * SSE + constant."""
    return 0.5 * N_TIMEPOINTS * math.log(WEIGHT / math.pi)


def train_torch(
    X, seed, n_epochs, loss=corrected, broadcast=False, dropout_on=False, **options
):
    module = make_module(peers.P1, **options)
    if dropout_on:
        keep_dropout_on(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    X = torch.from_numpy(X)
    for _ in range(n_epochs):
        mean_loss = 0.0
        for rows in torch.randperm(len(X)).split(BATCH_SIZE):
            x = X[rows]  # (n, t)
            posterior = module.encode(x[:, None])
            x_hat = module.decode(draw(*posterior))  # (n, 1, t)
            # Broadcast to (n, n, t), every signal is compared with every other.
            squares = ((x if broadcast else x[:, None]) - x_hat).square()
            value = loss(squares, kl_divergence(*posterior))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            mean_loss += len(x) / len(X) * float(value.detach())
    return module.eval(), mean_loss


SYSTEMS = {
    "Keras, K1": train_keras,
    "skvae, K1": train_skvae,
    CORRECTED: train_torch,
    "loss broadcast to (n, n, t)": partial(train_torch, broadcast=True),
    "KL averaged over latents": partial(train_torch, loss=kl_mean_latents),
    "SSE summed, KL averaged": partial(train_torch, loss=sse_sum_kl_mean),
    "everything averaged": partial(train_torch, loss=all_means),
    "dropout left on": partial(train_torch, dropout_on=True),
    "PyTorch's initialisation": partial(train_torch, init="torch"),
}


# --- Evaluation


def load():
    return (
        *make_load_profiles(N_TRAIN, n_timepoints=N_TIMEPOINTS, random_state=0),
        *make_load_profiles(N_TEST, n_timepoints=N_TIMEPOINTS, random_state=1),
    )


def evaluate(size, name, seed):
    """Figures of one system and seed on test signals, trained on one thread.

    The latents, and the reconstruction of one signal, are for the picture.
    """
    torch.set_num_threads(1)
    X, y, X_test, y_test = load()
    torch.manual_seed(seed)
    module, seen = SYSTEMS[name](X, seed, size.n_epochs)
    torch.manual_seed(seed)
    x = torch.from_numpy(X_test)[:, None]
    elbo = 0.0
    with torch.no_grad():
        posterior = module.encode(x)
        kl = kl_divergence(*posterior).sum(dim=1)
        for _ in range(N_DRAWS):
            x_hat = module.decode(draw(*posterior))
            sse = (x_hat - x).square().sum(dim=(1, 2))
            elbo += float((log_normalizer() - WEIGHT * sse - kl).mean())
        Z, X_hat = posterior[0].numpy(), module.decode(posterior[0])[:, 0].numpy()
        Z_train = module.encode(torch.from_numpy(X)[:, None])[0].numpy()
    errors = ((X_hat - X_test) ** 2).sum(), ((X_test - X.mean(axis=0)) ** 2).sum()
    x_hat = X_hat[row_shown(X_test, y_test)]
    return {
        "seen": float(seen),
        "elbo": elbo / N_DRAWS,
        "squared_error": float(errors[0] / errors[1]),  # over the mean signal's
        "accuracy": KNeighborsClassifier(5).fit(Z_train, y).score(Z, y_test),
        "latents": Z.astype(float).round(3).tolist(),
        "reconstruction": x_hat.astype(float).round(4).tolist(),
    }


def row_shown(X_test, y_test):
    """The most typical signal of night storage heating, unlike the mean of all."""
    distances = ((X_test - X_test[y_test == 2].mean(axis=0)) ** 2).sum(axis=1)
    return np.argmin(np.where(y_test == 2, distances, np.inf))


def by_system(results):
    """The figures of each system, as lists over seeds."""
    systems = {name: {} for name in SYSTEMS}
    for result in results:
        for key, value in result.items():
            systems[result["system"]].setdefault(key, []).append(value)
    return {name: values for name, values in systems.items() if values}


@tabulated(
    "The port and its mistakes",
    "system | loss seen:.4g | ELBO | error | 5-NN",
    f"Trained on {N_TRAIN} load profiles of 7 classes; means and standard deviations "
    "over seeds. The loss is that of the last epoch, as its user saw it. The other "
    f"figures are of {N_TEST} test signals: ELBO in nats per signal at a decoder "
    "variance of 1/20, squared error of the reconstruction over that of the mean "
    "signal, and 5-NN accuracy on the two latent means.",
)
def story_section(results):
    forms = {"elbo": ".1f", "squared_error": ".2f", "accuracy": ".2f"}
    for name, result in by_system(results).items():
        cells = [
            f"{np.mean(values):{form}} ± {np.std(values, ddof=len(values) > 1):{form}}"
            for values, form in ((result[key], forms[key]) for key in forms)
        ]
        yield (name, np.mean(result["seen"]), *cells)


def draw_systems(results, path):
    """Draw latent means by class (in units of the prior) and one signal per system."""
    from matplotlib import pyplot as plt

    _, _, X_test, y_test = load()
    systems = {k: v for k, v in by_system(results).items() if k != CORRECTED}
    fig, axes = plt.subplots(
        4, 4, figsize=(9, 8.8), height_ratios=(2, 1, 2, 1), layout="constrained"
    )
    for i, (name, result) in enumerate(systems.items()):
        scatter, signal = axes[2 * (i // 4) : 2 * (i // 4) + 2, i % 4]
        latents = np.array(result["latents"][0])
        points = scatter.scatter(*latents.T, s=7, c=y_test, cmap="Dark2", lw=0)
        limit = max(3, np.ceil(np.abs(latents).max()))
        scatter.set(xlim=(-limit, limit), ylim=(-limit, limit))
        corner = {"transform": scatter.transAxes, "ha": "right"}
        scatter.text(0.97, 0.03, f"±{limit:.0f}", **corner)
        accuracy = np.mean(result["accuracy"])
        scatter.set_title(f"{name}\n5-NN accuracy {accuracy:.2f}", fontsize=10)
        signal.plot(X_test[row_shown(X_test, y_test)], color="0.7", linewidth=0.8)
        signal.plot(result["reconstruction"][0], color="black")
        signal.set_ylim(0, 1)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    handles = points.legend_elements()[0]
    fig.legend(handles, KINDS, loc="outside lower center", ncols=4, fontsize=10)
    figures.save(fig, path)


PARTS = {
    "equality": Part(equality, equality_section, each("points", "lengths")),
    "story": Part(
        evaluate,
        story_section,
        lambda size: [
            {"system": name, "seed": seed} for seed in size.seeds for name in SYSTEMS
        ],
    ),
}


def report(results, folder):
    story = [r for r in results if r["part"] == "story" and "error" not in r]
    if story:
        draw_systems(story, folder / "figures" / "port.png")
    return harness.report("The forum thread", PARTS, results, folder)


if __name__ == "__main__":
    harness.main(__doc__, "port", PARTS, report, Size(), QUICK)
