"""Kill fits with SIGKILL at random times, resume them, and compare the bits."""

import io
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import harness
import joblib
import numpy as np
import torch

from skvae import ConvVAETransformer
from skvae.saving import files

PARAMS = {
    "latent_dim": 2,
    "conv_channels": (4, 4),
    "hidden_dims": (8,),
    "dropout": 0.2,
    "max_epochs": 8,
    "random_state": 0,
    "device": "cpu",
}
SETTINGS = [
    {},
    {"early_stopping": True, "patience": 4},
    {"batch_norm": True, "net_params": {"lr_schedule": None}},
]
MIN_IN_WRITING = 20


class SlowFile(io.FileIO):
    """A file that pauses for 10 ms half-way, so that kills hit many writes."""

    def write(self, data):
        half = len(data) // 2
        n_written = super().write(data[:half])
        time.sleep(0.01)
        return n_written + super().write(data[half:])


def signals():
    return np.random.default_rng(0).standard_normal((80, 48)).cumsum(axis=1)


def fit(params, folder):
    """Fit, and write a digest of all bits of the result."""
    files.open = SlowFile
    X = signals()
    vae = ConvVAETransformer(**params, checkpoint=str(folder / "checkpoint")).fit(X)
    optimizer = vae.net_.optimizer_.state_dict()["state"]
    tensors = [*vae.module_.state_dict().values()]
    tensors += [v for state in optimizer.values() for v in state.values()]
    bits = [np.asarray(tensor) for tensor in tensors]
    digest = joblib.hash([bits, vae.history_, vae.score_samples(X)])
    (folder / "digest").write_text(digest)


def run(params, folder, kill_after=None):
    """The digest of a fit in another process, or None if that was killed."""
    # A fork does not import PyTorch again.
    context = multiprocessing.get_context("fork")
    process = context.Process(target=fit, args=(params, folder))
    process.start()
    process.join(kill_after)
    process.kill()  # no effect on a process that has ended
    process.join()
    if process.exitcode == -signal.SIGKILL:
        return None
    if process.exitcode:
        raise RuntimeError(f"The fit ended with exit code {process.exitcode}.")
    digest = (folder / "digest").read_text()
    for path in folder.iterdir():
        path.unlink()
    return digest


def kill_and_resume(setting, expected, seconds, folder):
    """Kill and resume one fit until it ends; count kills and outcomes."""
    counts, digest = Counter(fits=1), None
    checkpoint = folder / "checkpoint"
    while digest is None:
        digest = run(PARAMS | setting, folder, random.uniform(0, 1.2 * seconds))
        if digest is None:
            counts["kills"] += 1
            counts["in writing"] += any(path != checkpoint for path in folder.iterdir())
            if checkpoint.exists():
                try:
                    files.read(checkpoint, "checkpoint")
                except ValueError:
                    counts["corrupt"] += 1
    counts["same" if digest == expected else "different"] += counts["kills"]
    return counts


def main(n_kills=100):
    random.seed(0)
    # The first fit imports modules of PyTorch, which the forks then share.
    torch.set_num_threads(1)
    ConvVAETransformer(**PARAMS).fit(signals())
    counts = Counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        expected, seconds = [], []
        for setting in SETTINGS:
            start = time.perf_counter()
            expected.append(run(PARAMS | setting, folder))
            seconds.append(time.perf_counter() - start)
        while counts["kills"] < n_kills or counts["in writing"] < MIN_IN_WRITING:
            i = counts["fits"] % len(SETTINGS)
            counts += kill_and_resume(SETTINGS[i], expected[i], seconds[i], folder)
    print(
        "{kills} kills of {fits} fits, {in writing} of them while a checkpoint was "
        "written. After {same} kills the bits are the same, after {different} they "
        "differ; {corrupt} files are corrupt.".format_map(counts)
    )
    print(harness.environment())
    return counts["different"] + counts["corrupt"]


if __name__ == "__main__":
    sys.exit(main())
