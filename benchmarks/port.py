"""The forum thread, reproduced: a Keras VAE, its port, and what each mistake does.

    pip install keras matplotlib
    python benchmarks/port.py                   # 7 minutes on 2 cores
    python benchmarks/port.py --cache FOLDER    # keep each run there, to go on later
    python benchmarks/port.py --quick           # 2 epochs, 1 seed, nothing written

First, weights copied from Keras to `skvae.network.ConvVAE`: both compute the same.
Second, both trained from their own random weights on the same made-up load profiles.
Third, the network trained by a plain PyTorch loop with one mistake of the thread at a
time. Writes results/port.md and figures/port.png beside this file.
"""

import argparse
import os
import platform
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import sklearn
import torch
import torch.nn.functional as F
from keras_vae import keras_vae
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.losses import distortion, kl_divergence, kl_per_dim, log_normalizer
from skvae.network import ConvVAE

HERE = Path(__file__).parent
N_TRAIN, N_TEST, N_TIMEPOINTS = 1000, 500, 336
N_EPOCHS, BATCH_SIZE, LR, N_SEEDS = 50, 32, 1e-3, 3
WEIGHT = 10.0  # of the squared error: the decoder's variance is 1 / (2 * 10)
N_DRAWS = 16  # from q(z|x), behind each ELBO

K1 = {
    "conv_channels": (16, 16, 32, 32),
    "kernel_size": 8,
    "stride": 2,
    "hidden_dims": (64, 16),
    "hidden_dropout": 0.3,
    "output_kernel_size": 8,
    "output_activation": "sigmoid",
    "init": "glorot",
    "linear_path": False,
}
P1 = K1 | {"output_kernel_size": 7}


# --- The Keras model


def copy_weights(vae, module):
    """Give a `ConvVAE` the weights of a Keras model; both list them layer by layer.

    Kernels are (k, in, out) in Keras, (k, out, in) where transposed, and not flipped.
    """
    for part, model in ((module.encoder, vae.encoder), (module.decoder, vae.decoder)):
        for parameter, weight in zip(
            part.parameters(), model.get_weights(), strict=True
        ):
            weight = torch.from_numpy(weight.T)
            if weight.ndim == 3:
                weight = weight.unsqueeze(2)
            assert parameter.shape == weight.shape
            parameter.data.copy_(weight)
    return module.eval()


def equality(n_timepoints, n_signals=64):
    """Largest differences of Keras and skvae with equal weights, by name.

    Biases, which start at zero, are made random too; z is drawn once, for both. With
    the mean loss, in float32 as all else, and the parameter counts of both parts.
    """
    X, _ = make_load_profiles(n_signals, n_timepoints=n_timepoints, random_state=0)
    vae = keras_vae(n_timepoints, 0, WEIGHT)
    rng = np.random.default_rng(0)
    for model in (vae.encoder, vae.decoder):
        weights = model.get_weights()
        model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in weights])
    module = copy_weights(vae, ConvVAE(1, n_timepoints, 2, **K1))

    x = torch.from_numpy(X)[:, None]  # (n, 1, t)
    noise = torch.from_numpy(rng.normal(size=(n_signals, 2)).astype(np.float32))
    with torch.no_grad():
        z_mean, z_log_var = module.encode(x)
        z = z_mean + (0.5 * z_log_var).exp() * noise
        x_hat = module.decode(z)
        loss = WEIGHT * distortion(x_hat, x, "gaussian")
        loss = loss + kl_divergence(z_mean, z_log_var)
        found = {"z_mean": z_mean, "z_log_var": z_log_var, "x_hat": x_hat, "loss": loss}

        x = x.mT  # (n, t, 1)
        z_mean, z_log_var = vae.encoder(x, training=False)
        x_hat = vae.decoder(z_mean + (0.5 * z_log_var).exp() * noise, training=False)
        loss = vae.loss(x, x_hat) + vae.kl(z_mean, z_log_var)
    expected = z_mean, z_log_var, x_hat.mT, loss
    differences = {
        name: float((value - other).abs().max())
        for (name, value), other in zip(found.items(), expected, strict=True)
    }
    n_parameters = [
        sum(p.numel() for p in part.parameters())
        for part in (module.encoder, module.decoder)
    ]
    assert n_parameters == [vae.encoder.count_params(), vae.decoder.count_params()]
    return differences, float(loss.mean()), n_parameters


# --- The mistakes: losses of x (n, t), x_hat (n, 1, t) and kl (n, latent_dim)


def mended(x, x_hat, kl):
    sse = distortion(x_hat, x[:, None], "gaussian")
    return WEIGHT * sse.mean() + kl.sum(dim=1).mean()


def broadcast(x, x_hat, kl):
    squared = (x - x_hat).square()  # (n, n, t): every signal against every other
    return WEIGHT * squared.sum(dim=2).mean() + kl.sum(dim=1).mean()


def kl_mean_latents(x, x_hat, kl):
    sse = distortion(x_hat, x[:, None], "gaussian")
    return WEIGHT * sse.mean() + kl.mean(dim=1).mean()


def sse_sum_kl_mean(x, x_hat, kl):
    return WEIGHT * (x[:, None] - x_hat).square().sum() + kl.mean()


def all_means(x, x_hat, kl):
    return WEIGHT * F.mse_loss(x_hat, x[:, None]) + kl.mean()


class FunctionalDropout(nn.Module):
    """Dropout as ``F.dropout(x, 0.3)`` does it: at evaluation too."""

    def forward(self, h):
        return F.dropout(h, 0.3)


def keep_dropout_on(module):
    """Replace each `nn.Dropout` of the encoder's dense layers."""
    for i, layer in enumerate(module.encoder.hidden):
        if isinstance(layer, nn.Dropout):
            module.encoder.hidden[i] = FunctionalDropout()


# --- Training: each returns a ConvVAE and the loss that its user saw


def train_keras(X, seed, n_epochs):
    vae = keras_vae(N_TIMEPOINTS, seed, WEIGHT)
    x = X[:, :, None]
    history = vae.fit(x, x, batch_size=BATCH_SIZE, epochs=n_epochs, verbose=0).history
    return copy_weights(vae, ConvVAE(1, N_TIMEPOINTS, 2, **K1)), history["loss"][-1]


def train_skvae(X, seed, n_epochs):
    vae = ConvVAETransformer(
        2,
        **K1,
        reconstruction_weight=WEIGHT,
        scale=None,
        whiten=True,
        mixup=0,
        input_noise=0,
        lr=LR,
        lr_schedule=None,
        batch_size=BATCH_SIZE,
        max_epochs=n_epochs,
        device="cpu",
        random_state=seed,
    ).fit(X)
    constant = log_normalizer(WEIGHT, N_TIMEPOINTS, "gaussian")
    return vae.module_, vae.history_["train_loss"][-1] + constant


def train_torch(X, seed, n_epochs, loss=mended, init="glorot", prepare=None):
    module = ConvVAE(1, N_TIMEPOINTS, 2, **P1 | {"init": init})
    if prepare is not None:
        prepare(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    X = torch.from_numpy(X)
    for _ in range(n_epochs):
        seen = 0.0
        for rows in torch.randperm(len(X)).split(BATCH_SIZE):
            x = X[rows]
            x_hat, z_mean, z_log_var = module(x[:, None])
            value = loss(x, x_hat, kl_per_dim(z_mean, z_log_var))
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
COLOURS = (  # of the classes: Okabe and Ito's, without the yellow
    "#000000",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
)


# --- What came of it


@torch.no_grad()
def assess(module, X, y, X_test, y_test):
    """ELBO, relative reconstruction error and 5-NN accuracy on the test signals."""
    x = torch.from_numpy(X_test)[:, None]
    z_mean, z_log_var = module.encode(x)
    log_px_given_z = log_normalizer(WEIGHT, N_TIMEPOINTS, "gaussian")
    for _ in range(N_DRAWS):
        x_hat = module.decode(module.reparameterize(z_mean, z_log_var))
        log_px_given_z -= WEIGHT / N_DRAWS * distortion(x_hat, x, "gaussian")
    x_hat = module.decode(z_mean)
    z_train, _ = module.encode(torch.from_numpy(X)[:, None])
    knn = KNeighborsClassifier(5).fit(z_train.numpy(), y)
    return {
        "elbo": float((log_px_given_z - kl_divergence(z_mean, z_log_var)).mean()),
        "error": float(
            ((x_hat - x) ** 2).sum() / ((X_test - X.mean(axis=0)) ** 2).sum()
        ),
        "accuracy": knn.score(z_mean.numpy(), y_test),
        "latents": z_mean.numpy(),
        "reconstructions": x_hat[:, 0].numpy(),
    }


def load():
    return (
        *make_load_profiles(N_TRAIN, n_timepoints=N_TIMEPOINTS, random_state=0),
        *make_load_profiles(N_TEST, n_timepoints=N_TIMEPOINTS, random_state=1),
    )


def run(name, seed, n_epochs):
    """Train one system from one seed; a process of its own, on one thread."""
    torch.set_num_threads(1)
    data = load()
    torch.manual_seed(seed)
    start = time.perf_counter()
    module, seen = SYSTEMS[name](data[0], seed, n_epochs)
    seconds = time.perf_counter() - start
    torch.manual_seed(seed)
    return {"seen": seen, "seconds": seconds, **assess(module, *data)}


def versions():
    import keras

    found = (
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("Keras", f"{keras.__version__} on {keras.backend.backend()}"),
        ("scikit-learn", sklearn.__version__),
    )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, 1 thread a run"
    return ", ".join(" ".join(pair) for pair in found) + f"; {machine}"


def equality_table():
    rows = [
        "| points | z_mean | z_log_var | x_hat | loss | mean loss | parameters |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for n_timepoints in (336, 100, 151):
        differences, loss, n_parameters = equality(n_timepoints)
        cells = [f"{difference:.1e}" for difference in differences.values()]
        cells += [f"{loss:.0f}", " / ".join(map(str, n_parameters))]
        rows.append(f"| {n_timepoints} | {' | '.join(cells)} |")
    return rows


def story_table(results):
    rows = [
        "| system | loss seen | ELBO | error | 5-NN | loss, 5-NN against P1, mended |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    reference, deceived = results[REFERENCE], []
    for name, result in results.items():
        cells = [
            f"{np.mean(result['seen']):.4g}",
            spread(result["elbo"], ".1f"),
            spread(result["error"], ".2f"),
            spread(result["accuracy"], ".2f"),
            "",
        ]
        if name in MISTAKES:
            ratios = np.divide(result["seen"], reference["seen"])  # seed by seed
            changes = np.subtract(result["accuracy"], reference["accuracy"])
            cells[-1] = f"{ratios.mean():.3g} x, {changes.mean():+.2f}"
            if (ratios < 1).all() and (changes < 0).all():
                deceived.append(name)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    told = "Lower loss but a worse latent space, with every seed: "
    return [*rows, "", told + (", ".join(deceived) or "none") + "."]


def spread(values, form):
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):{form}} ± {deviation:{form}}"


def peers():
    """What needs no VAE, on the same signals."""
    X, y, X_test, y_test = load()
    pca = PCA(2).fit(X)
    raw = KNeighborsClassifier(5).fit(X, y).score(X_test, y_test)
    knn = KNeighborsClassifier(5).fit(pca.transform(X), y)
    accuracy = knn.score(pca.transform(X_test), y_test)
    x_hat = pca.inverse_transform(pca.transform(X_test))
    error = ((x_hat - X_test) ** 2).sum() / ((X_test - X.mean(axis=0)) ** 2).sum()
    return (
        f"For comparison, 5-NN on the raw signals: {raw:.2f}; on `PCA(2)`: "
        f"{accuracy:.2f}, at an error of {error:.2f}."
    )


def draw(results, path):
    """Latent means of the test signals by class, and one signal, for each system.

    Latents are in units of the prior; the axes end at 3 or further out. The signal is
    of a class unlike the mean signal, that of them which the reference describes best.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    from skvae.datasets._load_profiles import BUILDINGS

    _, _, X_test, y_test = load()
    errors = (results[REFERENCE]["reconstructions"][0] - X_test) ** 2
    is_heating = y_test == list(BUILDINGS).index("night storage heating")
    shown = np.argmin(np.where(is_heating, errors.sum(axis=1), np.inf))
    names = [name for name in results if name != REFERENCE]
    fig, axes = plt.subplots(
        4, 4, figsize=(9, 8.8), height_ratios=(2, 1, 2, 1), layout="constrained"
    )
    for i, name in enumerate(names):
        scatter, signal = axes[2 * (i // 4) : 2 * (i // 4) + 2, i % 4]
        latents = results[name]["latents"][0]
        for label, colour in enumerate(COLOURS):
            scatter.scatter(
                *latents[y_test == label].T, s=7, color=colour, linewidths=0
            )
        limit = max(3, np.ceil(np.abs(latents).max()))
        scatter.set(xlim=(-limit, limit), ylim=(-limit, limit))
        scatter.text(
            0.97, 0.03, f"±{limit:.0f}", transform=scatter.transAxes, ha="right"
        )
        accuracy = np.mean(results[name]["accuracy"])
        scatter.set_title(f"{name}\n5-NN accuracy {accuracy:.2f}", fontsize=10)
        signal.plot(X_test[shown], color="0.7", linewidth=0.8)
        signal.plot(results[name]["reconstructions"][0][shown], color="black")
        signal.set_ylim(0, 1)
        for axis in (scatter, signal):
            axis.set(xticks=[], yticks=[])
    handles = [
        plt.Line2D([], [], marker="o", linestyle="", color=colour) for colour in COLOURS
    ]
    fig.legend(handles, BUILDINGS, loc="outside lower center", ncols=4, fontsize=10)
    fig.canvas.draw()
    image = Image.fromarray(np.asarray(fig.canvas.buffer_rgba())).convert("RGB")
    path.parent.mkdir(exist_ok=True)
    image.quantize(48).save(path, optimize=True)  # a third of the size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--cache", metavar="FOLDER", help="where runs are kept")
    args = parser.parse_args()
    n_epochs, n_seeds = (2, 1) if args.quick else (N_EPOCHS, N_SEEDS)

    lines = ["Largest difference of Keras and skvae with equal weights:", ""]
    lines += equality_table()
    print("\n".join(lines), flush=True)

    tasks = [(name, seed) for seed in range(n_seeds) for name in SYSTEMS]
    one = joblib.delayed(joblib.Memory(args.cache, verbose=0).cache(run))
    runs = joblib.Parallel(n_jobs=2, verbose=10)(one(*task, n_epochs) for task in tasks)
    results = {name: {} for name in SYSTEMS}
    for (name, _), values in zip(tasks, runs, strict=True):
        for key, value in values.items():
            results[name].setdefault(key, []).append(value)
    lines += [
        "",
        f"Trained for {n_epochs} epochs on {N_TRAIN} load profiles of 7 classes, "
        f"tested on {N_TEST}; mean and standard deviation over {n_seeds} seeds. The "
        "loss is what the user saw in the last epoch; the rest is on test signals: "
        "ELBO in nats per signal at a decoder variance of 1/20, squared error of the "
        "reconstruction over that of the mean signal, 5-NN accuracy of the two latent "
        "means.",
        "",
        *story_table(results),
        "",
        peers(),
        "",
        versions(),
    ]
    print("\n".join(lines))
    if not args.quick:
        path = HERE / "results" / "port.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draw(results, HERE / "figures" / "port.png")


if __name__ == "__main__":
    main()
