"""The forum thread, reproduced: a Keras VAE, its port, and what each mistake does.

    pip install keras matplotlib
    python benchmarks/port.py equality story report

First, weights copied from Keras to `ConvVAE`: both compute the same. Second, both
trained from their own random weights on the same made-up load profiles. Third, the
network trained by a plain PyTorch loop with one mistake of the thread at a time.
Results are lines of results/port.jsonl; to do one again, delete its line. `report`
writes results/port.md and figures/port.png.
"""

import math
from functools import partial
from itertools import product
from typing import NamedTuple

import harness
import numpy as np
import peers
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.model.network import ConvVAE

N_TRAIN, N_TEST, N_TIMEPOINTS = 1000, 500, 336
WEIGHT = 10.0  # of the squared error: the decoder's variance is 1 / (2 * 10)
N_DRAWS = 16  # from q(z|x), behind each ELBO
BATCH_SIZE, LR = 32, 1e-3


class Size(NamedTuple):
    n_epochs: int = 50
    seeds: tuple = (0, 1, 2)
    lengths: tuple = (336, 100, 151)


QUICK = Size(2, (0,), (100,))


def make_module(system, n_timepoints=N_TIMEPOINTS, **options):
    """The untrained network of one of the systems in `peers`, with two latents."""
    names = ("conv_channels", "kernel_size", "stride", "hidden_dims", "linear_path")
    names += ("dropout", "batch_norm")
    params = {name: system[name] for name in names if name in system}
    for name, value in system["net_params"].items():
        if name.startswith("module__"):
            params[name.removeprefix("module__")] = value
    return ConvVAE(1, n_timepoints, 2, **(params | options))


def terms(x, x_hat, z_mean, z_log_var):
    """SSE of each signal (n, 1, t), and KL of each latent, (n, latent_dim)."""
    assert x.shape == x_hat.shape
    kl = -0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp())
    return (x_hat - x).square().sum(dim=(1, 2)), kl


def draw(z_mean, z_log_var):
    return z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)


# --- The Keras model


def copy_weights(vae, module):
    """Give a `ConvVAE` the weights of a Keras model; both list them layer by layer.

    Kernels are (k, in, out) in Keras, (k, out, in) where transposed, and not flipped.
    """
    for part, model in ((module.encoder, vae.encoder), (module.decoder, vae.decoder)):
        pairs = zip(part.parameters(), model.get_weights(), strict=True)
        for parameter, weight in pairs:
            weight = torch.from_numpy(weight.T)
            if parameter.ndim == 4:
                weight = weight.unsqueeze(2)
            assert parameter.shape == weight.shape
            parameter.data.copy_(weight)
    return module.eval()


@torch.no_grad()
def equality(n_timepoints, n_signals=64):
    """Largest differences of Keras and skvae with equal weights, by name.

    Biases, which start at zero, are made random too; z is drawn once, for both. With
    the mean loss, in float32 as all else, and the parameter counts of both parts.
    """
    X, _ = make_load_profiles(n_signals, n_timepoints=n_timepoints, random_state=0)
    vae = peers.keras_vae(n_timepoints, 0, WEIGHT)
    rng = np.random.default_rng(0)
    for model in (vae.encoder, vae.decoder):
        weights = model.get_weights()
        model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in weights])
    module = copy_weights(vae, make_module(peers.K1, n_timepoints))

    x = torch.from_numpy(X)[:, None]  # (n, 1, t)
    noise = torch.from_numpy(rng.normal(size=(n_signals, 2)).astype(np.float32))
    z_mean, z_log_var = module.encode(x)
    x_hat = module.decode(z_mean + (0.5 * z_log_var).exp() * noise)
    sse, kl = terms(x, x_hat, z_mean, z_log_var)
    found = z_mean, z_log_var, x_hat, WEIGHT * sse + kl.sum(dim=1)

    x = x.mT  # (n, t, 1)
    z_mean, z_log_var = vae.encoder(x, training=False)
    x_hat = vae.decoder(z_mean + (0.5 * z_log_var).exp() * noise, training=False)
    loss = vae.loss(x, x_hat) + vae.kl(z_mean, z_log_var)
    expected = z_mean, z_log_var, x_hat.mT, loss
    pairs = zip(("z_mean", "z_log_var", "x_hat", "loss"), found, expected, strict=True)
    differences = {name: float((a - b).abs().max()) for name, a, b in pairs}
    n_parameters = [
        sum(p.numel() for p in part.parameters())
        for part in (module.encoder, module.decoder)
    ]
    assert n_parameters == [vae.encoder.count_params(), vae.decoder.count_params()]
    return differences | {"mean loss": float(loss.mean()), "parameters": n_parameters}


def equality_tasks(size):
    for n_timepoints in size.lengths:
        yield {"points": n_timepoints}, partial(equality, n_timepoints)


def equality_section(found):
    rows = [
        (
            r["points"],
            *(r[key] for key in ("z_mean", "z_log_var", "x_hat", "loss", "mean loss")),
            " / ".join(map(str, r["parameters"])),
        )
        for r in found
    ]
    header = "points | z_mean | z_log_var | x_hat | loss | mean loss | parameters"
    return harness.section(
        "Largest difference of Keras and skvae with equal weights",
        harness.table(header, "d .1e .1e .1e .1e .0f s", rows),
    )


# --- The mistakes: losses of x (n, t), x_hat (n, 1, t) and the posterior


def mended(x, x_hat, *posterior):
    sse, kl = terms(x[:, None], x_hat, *posterior)
    return WEIGHT * sse.mean() + kl.sum(dim=1).mean()


def broadcast(x, x_hat, *posterior):
    _, kl = terms(x[:, None], x_hat, *posterior)
    squared = (x - x_hat).square()  # (n, n, t): every signal against every other
    return WEIGHT * squared.sum(dim=2).mean() + kl.sum(dim=1).mean()


def kl_mean_latents(x, x_hat, *posterior):
    sse, kl = terms(x[:, None], x_hat, *posterior)
    return WEIGHT * sse.mean() + kl.mean(dim=1).mean()


def sse_sum_kl_mean(x, x_hat, *posterior):
    sse, kl = terms(x[:, None], x_hat, *posterior)
    return WEIGHT * sse.sum() + kl.mean()


def all_means(x, x_hat, *posterior):
    _, kl = terms(x[:, None], x_hat, *posterior)
    return WEIGHT * F.mse_loss(x_hat, x[:, None]) + kl.mean()


class FunctionalDropout(nn.Module):
    """Dropout as ``F.dropout(x, 0.3)`` does it: at evaluation too."""

    def forward(self, h):
        return F.dropout(h, 0.3)


def keep_dropout_on(module):
    for parent in list(module.encoder.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Dropout) and layer.p > 0:
                setattr(parent, name, FunctionalDropout())


# --- Training: each returns a ConvVAE and the loss that its user saw


def train_keras(X, seed, n_epochs):
    vae = peers.keras_vae(N_TIMEPOINTS, seed, WEIGHT)
    x = X[:, :, None]
    history = vae.fit(x, x, batch_size=BATCH_SIZE, epochs=n_epochs, verbose=0).history
    return copy_weights(vae, make_module(peers.K1)), history["loss"][-1]


def train_skvae(X, seed, n_epochs):
    run = {"max_epochs": n_epochs, "device": "cpu", "random_state": seed}
    vae = ConvVAETransformer(2, **(peers.K1 | {"scale": None} | run)).fit(X)
    return vae.module_, vae.history_["train_loss"][-1] + log_normalizer()


def log_normalizer():
    """What the log-density of a signal has besides ``-WEIGHT * SSE``."""
    return 0.5 * N_TIMEPOINTS * math.log(WEIGHT / math.pi)


def train_torch(X, seed, n_epochs, loss=mended, prepare=None, **options):
    module = make_module(peers.P1, **options)
    if prepare is not None:
        prepare(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    X = torch.from_numpy(X)
    for _ in range(n_epochs):
        seen = 0.0
        for rows in torch.randperm(len(X)).split(BATCH_SIZE):
            x = X[rows]
            posterior = module.encode(x[:, None])
            value = loss(x, module.decode(draw(*posterior)), *posterior)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            seen += len(x) / len(X) * float(value.detach())
    return module.eval(), seen


MISTAKES = {
    "loss broadcast to (n, n, t)": partial(train_torch, loss=broadcast),
    "KL averaged over latents": partial(train_torch, loss=kl_mean_latents),
    "SSE summed, KL averaged": partial(train_torch, loss=sse_sum_kl_mean),
    "everything averaged": partial(train_torch, loss=all_means),
    "dropout left on": partial(train_torch, prepare=keep_dropout_on),
    "PyTorch's initialisation": partial(train_torch, init="torch"),
}
REFERENCE = "P1, mended"  # what the mistakes are compared with
SYSTEMS = {
    "Keras, K1": train_keras,
    "skvae, K1": train_skvae,
    REFERENCE: train_torch,
    **MISTAKES,
}


# --- What came of it


def load():
    return (
        *make_load_profiles(N_TRAIN, n_timepoints=N_TIMEPOINTS, random_state=0),
        *make_load_profiles(N_TEST, n_timepoints=N_TIMEPOINTS, random_state=1),
    )


def story_tasks(size):
    for seed, name in product(size.seeds, SYSTEMS):
        task = {"system": name, "seed": seed}
        yield task, partial(tell_story, name, seed, size.n_epochs)


def tell_story(name, seed, n_epochs):
    """Train one system from one seed, on one thread, and judge it."""
    torch.set_num_threads(1)
    X, y, X_test, y_test = load()
    torch.manual_seed(seed)
    module, seen = SYSTEMS[name](X, seed, n_epochs)
    torch.manual_seed(seed)
    return {"seen": float(seen), **assess(module, X, y, X_test, y_test)}


@torch.no_grad()
def assess(module, X, y, X_test, y_test):
    """ELBO, relative reconstruction error and 5-NN accuracy on the test signals.

    With the latents, and the reconstruction of one signal, for the figure.
    """
    x = torch.from_numpy(X_test)[:, None]
    posterior = module.encode(x)
    elbo = 0.0
    for _ in range(N_DRAWS):
        sse, kl = terms(x, module.decode(draw(*posterior)), *posterior)
        elbo += float((log_normalizer() - WEIGHT * sse - kl.sum(dim=1)).mean())
    Z, X_hat = posterior[0].numpy(), module.decode(posterior[0])[:, 0].numpy()
    Z_train = module.encode(torch.from_numpy(X)[:, None])[0].numpy()
    return {
        "elbo": elbo / N_DRAWS,
        "squared_error": relative_error(X_hat, X_test, X),
        "accuracy": KNeighborsClassifier(5).fit(Z_train, y).score(Z, y_test),
        "latents": Z.astype(float).round(3).tolist(),
        "reconstruction": X_hat[shown(X_test, y_test)].astype(float).round(4).tolist(),
    }


def relative_error(X_hat, X_test, X):
    """Squared error over that of the mean signal."""
    errors = ((X_hat - X_test) ** 2).sum(), ((X_test - X.mean(axis=0)) ** 2).sum()
    return float(errors[0] / errors[1])


def shown(X_test, y_test):
    """Of a class unlike the mean signal, night storage heating, the most typical."""
    distances = ((X_test - X_test[y_test == 2].mean(axis=0)) ** 2).sum(axis=1)
    return np.argmin(np.where(y_test == 2, distances, np.inf))


def gather(found):
    """The figures of each system, by seed."""
    systems = {name: {} for name in SYSTEMS}
    for result in found:
        for key, value in result.items():
            systems[result["system"]].setdefault(key, []).append(value)
    return {name: values for name, values in systems.items() if values}


def story_section(found):
    systems = gather(found)
    reference, rows, deceived = systems.get(REFERENCE), [], []
    for name, result in systems.items():
        against = None
        if name in MISTAKES and reference:
            n = min(len(result["seen"]), len(reference["seen"]))  # seed by seed
            ratios = np.divide(result["seen"][:n], reference["seen"][:n])
            changes = np.subtract(result["accuracy"][:n], reference["accuracy"][:n])
            against = f"{ratios.mean():.3g} x, {changes.mean():+.2f}"
            if (ratios < 1).all() and (changes < 0).all():
                deceived.append(name)
        figures = zip(
            ("elbo", "squared_error", "accuracy"), (".1f", ".2f", ".2f"), strict=True
        )
        cells = [mean_and_deviation(result[key], form) for key, form in figures]
        rows.append((name, np.mean(result["seen"]), *cells, against))
    header = "system | loss seen | ELBO | error | 5-NN | loss, 5-NN against P1, mended"
    return harness.section(
        "The port and its mistakes",
        f"Trained on {N_TRAIN} load profiles of 7 classes, tested on {N_TEST}; mean "
        "and standard deviation over seeds. The loss is what the user saw in the last "
        "epoch; the rest is on test signals: ELBO in nats per signal at a decoder "
        "variance of 1/20, squared error of the reconstruction over that of the mean "
        "signal, 5-NN accuracy of the two latent means.",
        harness.table(header, "s .4g s s s s", rows),
        "Lower loss but a worse latent space, with every seed: "
        f"{', '.join(deceived) or 'none'}.",
        without_vae(),
    )


def mean_and_deviation(values, form):
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):{form}} ± {deviation:{form}}"


def without_vae():
    """What needs no VAE, on the same signals."""
    X, y, X_test, y_test = load()
    pca = PCA(2).fit(X)
    Z = pca.transform(X_test)
    raw = KNeighborsClassifier(5).fit(X, y).score(X_test, y_test)
    accuracy = KNeighborsClassifier(5).fit(pca.transform(X), y).score(Z, y_test)
    error = relative_error(pca.inverse_transform(Z), X_test, X)
    return (
        f"For comparison, 5-NN on the raw signals: {raw:.2f}; on `PCA(2)`: "
        f"{accuracy:.2f}, at an error of {error:.2f}."
    )


def draw_systems(found, path):
    """Latent means of the test signals by class, and one signal, for each system.

    Latents are in units of the prior; the axes end at 3 or further out.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    from skvae.datasets._load_profiles import BUILDINGS

    _, _, X_test, y_test = load()
    systems = {k: v for k, v in gather(found).items() if k != REFERENCE}
    fig, axes = plt.subplots(
        4, 4, figsize=(9, 8.8), height_ratios=(2, 1, 2, 1), layout="constrained"
    )
    for i, (name, result) in enumerate(systems.items()):
        scatter, signal = axes[2 * (i // 4) : 2 * (i // 4) + 2, i % 4]
        latents = np.array(result["latents"][0])
        points = scatter.scatter(*latents.T, s=7, c=y_test, cmap="Dark2", lw=0)
        limit = max(3, np.ceil(np.abs(latents).max()))
        scatter.set(xlim=(-limit, limit), ylim=(-limit, limit))
        scatter.text(
            0.97, 0.03, f"±{limit:.0f}", transform=scatter.transAxes, ha="right"
        )
        accuracy = np.mean(result["accuracy"])
        scatter.set_title(f"{name}\n5-NN accuracy {accuracy:.2f}", fontsize=10)
        signal.plot(X_test[shown(X_test, y_test)], color="0.7", linewidth=0.8)
        signal.plot(result["reconstruction"][0], color="black")
        signal.set_ylim(0, 1)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    handles = points.legend_elements()[0]
    fig.legend(handles, BUILDINGS, loc="outside lower center", ncols=4, fontsize=10)
    fig.canvas.draw()
    image = Image.fromarray(np.asarray(fig.canvas.buffer_rgba())).convert("RGB")
    plt.close(fig)
    path.parent.mkdir(exist_ok=True)
    image.quantize(256).save(path, optimize=True)  # a third of the size


SECTIONS = {"equality": equality_section, "story": story_section}


def report(results, folder):
    found = [r for r in results if r["part"] == "story" and "error" not in r]
    if found:
        draw_systems(found, folder / "figures" / "port.png")
    return harness.report_parts(results, "The forum thread", SECTIONS)


if __name__ == "__main__":
    parts = {"equality": equality_tasks, "story": story_tasks}
    harness.main(__doc__, "port", parts, report, Size(), QUICK)
