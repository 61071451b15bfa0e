"""How long one waits on a GPU: epochs, large data."""

# What is timed ends by reading a loss or a result, for which the device must be ready.
# Without a GPU all runs on the CPU, which says nothing but that it runs.

import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import harness
import numpy as np
import peers
import torch
from harness import Part, each, interleave, median, seconds_of, tabulated

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    n_signals: int = 2048  # of an epoch
    batch_sizes: tuple = (32, 256)
    n_large: tuple = (1_000_000,)
    large_rounds: int = 3  # these take seconds each


QUICK = Size(1, 64, (32,), (2000,), 1)


# --- Epochs


def skvae_trainer(latent_dim, params, **net_params):
    params = params | {"net_params": params.get("net_params", {}) | net_params}
    options = {"device": DEVICE, "latent_dim": latent_dim, "params": params}
    return partial(peers.skvae_trainer, **options)


TRAINERS = {
    "plain loop": partial(peers.plain_trainer, device=DEVICE),
    "skvae, P2": skvae_trainer(2, peers.P2),
    "skvae, defaults": skvae_trainer(8, {}),
}


def time_epochs(size, batch_size):
    """Seconds an epoch, by peer and round."""
    X, _ = make_load_profiles(size.n_signals, random_state=0)
    jobs = {
        name: partial(peers.seconds_an_epoch, trainer(X, batch_size))
        for name, trainer in TRAINERS.items()
    }
    return interleave(jobs, size.rounds, warm_up=1)


@tabulated("Epochs", "peer | batch | ms an epoch:.1f | to the plain loop's")
def epoch_section(found):
    for result in found:
        for name, seconds, ratio in harness.turns(result, "plain loop"):
            yield name, result["batch_size"], seconds and 1e3 * seconds, ratio


# --- Large data


def time_large(size, n_signals):
    """A fit of one epoch, of an array and of a memory map, and what one does then."""
    few, _ = make_load_profiles(1000, random_state=0)
    X = np.tile(few, (n_signals // len(few), 1))
    params = {"batch_size": 1024, "max_epochs": 1, "random_state": 0, "device": DEVICE}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X.npy")
        np.save(path, X)
        vae = ConvVAETransformer(**params).fit(few)
        fit = ConvVAETransformer(**params).fit
        jobs = {
            "fit, array": (fit, X),
            "fit, memory map": (fit, np.load(path, mmap_mode="r")),
            "transform": (vae.transform, X),
            "inverse_transform": (vae.inverse_transform, vae.transform(X)),
            "score_samples of a tenth": (vae.score_samples, X[: len(X) // 10]),
        }
        jobs = {name: partial(seconds_of, *job) for name, job in jobs.items()}
        figures = interleave(jobs, size.large_rounds)
        del jobs  # the memory map goes before its folder
    return figures


@tabulated("Large data", "job | signals:, | seconds:.2f | signals a second")
def large_section(found):
    for result in found:
        for name, values in result["seconds"].items():
            n, seconds = result["signals"], median(values)
            n //= 10 if "tenth" in name else 1
            told = result["errors"].get(name) or f"{n / seconds:,.0f}"
            yield name, n, seconds, told


PARTS = {
    "epochs": Part(time_epochs, epoch_section, each("batch_size", "batch_sizes")),
    "large": Part(time_large, large_section, each("signals", "n_large")),
}
report = partial(harness.report, "How long one waits on a GPU", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "gpu", PARTS, report, Size(), QUICK)
