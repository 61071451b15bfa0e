"""Time on a GPU: an epoch, and a million signals. Without one, all runs on the CPU."""

# Each timed call ends by reading a loss or a result, which waits for the device.

import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import harness
import numpy as np
import peers
import torch
from harness import Part, each, interleave, median, seconds_of, tabulated
from speed import epoch_section

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TRAINERS = {
    "plain PyTorch loop": peers.plain_trainer,
    "skvae, P2": peers.skvae_trainer,
    "skvae, defaults": partial(peers.skvae_trainer, latent_dim=8, params={}),
}


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    n_signals: int = 2048  # in an epoch
    batch_sizes: tuple = (32, 256)
    n_large: tuple = (1_000_000,)
    large_rounds: int = 3


QUICK = Size(1, 64, (32,), (2000,), 1)


def time_epochs(size, batch_size):
    """Seconds per epoch, by trainer and round."""
    X, _ = make_load_profiles(size.n_signals, random_state=0)
    jobs = {
        name: partial(peers.seconds_per_epoch, make(X, batch_size, device=DEVICE))
        for name, make in TRAINERS.items()
    }
    return interleave(jobs, size.rounds, warm_up=1)


def time_large(size, n_signals):
    """Seconds of a fit of one epoch, from an array and a memory map, and of methods."""
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
        result = interleave(jobs, size.large_rounds)
        del jobs  # which closes the memory map before its folder goes
    return result


@tabulated("Large data", "job | signals:, | seconds:.2f | signals per second")
def large_section(results):
    for result in results:
        for name, values in result["seconds"].items():
            n, seconds = result["signals"], median(values)
            n //= 10 if "tenth" in name else 1
            yield name, n, seconds, result["errors"].get(name) or f"{n / seconds:,.0f}"


PARTS = {
    "epochs": Part(time_epochs, epoch_section, each("batch_size", "batch_sizes")),
    "large": Part(time_large, large_section, each("signals", "n_large")),
}
report = partial(harness.report, "Time on a GPU", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "gpu", PARTS, report, Size(), QUICK)
