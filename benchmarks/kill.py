"""Kill fits with SIGKILL at random moments, resume them, and compare the bits.

    python benchmarks/kill.py [--kills 100]

Each fit has a checkpoint and is killed again and again until it ends. The writer is
slowed down in the processes that are killed, so that many die while they write.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from skvae import ConvVAETransformer, files

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
    {"batch_norm": True, "lr_schedule": None},
]
MIN_IN_WRITING = 20


class SlowFile:
    """A file that takes 10 ms to write, with half of it written in between."""

    def __init__(self, path, mode):
        self.file = open(path, mode)  # noqa: SIM115 (its __exit__ closes it)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        half = len(data) // 2
        self.file.write(data[:half])
        self.file.flush()
        time.sleep(0.01)
        self.file.write(data[half:])


def signals():
    return np.random.default_rng(0).standard_normal((80, 48)).cumsum(axis=1)


def fit(params, path, digest_path):
    """Fit and write a digest of the bits; runs in a process that may be killed."""
    files.open = SlowFile
    X = signals()
    estimator = ConvVAETransformer(**params, checkpoint=path).fit(X)
    tensors = {}
    state = [dict(estimator.module_.state_dict()), estimator.history_]
    state += [estimator.net_.optimizer_.state_dict(), estimator.score_samples(X)]
    digest = hashlib.sha256(str(files.encode(state, tensors)).encode())
    for array in tensors.values():
        digest.update(array)
    digest_path.write_text(digest.hexdigest())


def run(params, folder, kill_after=None):
    """Fit in another process; None if it was killed, or the digest of the bits."""
    path, digest_path = folder / "checkpoint", folder / "digest"
    # Forked, so that PyTorch is not imported a hundred times.
    process = multiprocessing.get_context("fork").Process(
        target=fit, args=(params, path, digest_path)
    )
    process.start()
    process.join(kill_after)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    if process.exitcode == -signal.SIGKILL:
        return None
    if process.exitcode:
        raise RuntimeError(f"The fit ended with exit code {process.exitcode}.")
    digest = digest_path.read_text()
    digest_path.unlink()
    path.unlink()
    return digest


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    n_kills = parser.parse_args().kills
    random.seed(0)
    # What PyTorch imports when it is first used, it shall not import in each process.
    torch.set_num_threads(1)
    ConvVAETransformer(**PARAMS).fit(signals())
    start = time.perf_counter()
    kills = in_writing = corrupt = same = different = n_fits = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        expected, seconds = [], []
        for setting in SETTINGS:
            begin = time.perf_counter()
            expected.append(run(PARAMS | setting, folder))
            seconds.append(time.perf_counter() - begin)
        while kills < n_kills or in_writing < min(n_kills, MIN_IN_WRITING):
            i = n_fits % len(SETTINGS)
            params, n_fits, kills_of_fit, digest = (
                PARAMS | SETTINGS[i],
                n_fits + 1,
                0,
                None,
            )
            while digest is None:
                digest = run(params, folder, random.uniform(0, 1.2 * seconds[i]))
                if digest is None:
                    kills_of_fit += 1
                    in_writing += any(folder.glob("*.tmp"))
                    if (folder / "checkpoint").exists():
                        try:
                            files.read(folder / "checkpoint", "checkpoint")
                        except ValueError:
                            corrupt += 1
            kills += kills_of_fit
            same += kills_of_fit * (digest == expected[i])
            different += kills_of_fit * (digest != expected[i])
        leftovers = os.listdir(folder)
    print(
        f"{kills} kills of {n_fits} fits, {in_writing} of them while a checkpoint was "
        f"written: {same} resumed to the same bits, {different} to others; {corrupt} "
        f"corrupt files, {len(leftovers)} left over; "
        f"{time.perf_counter() - start:.0f} s"
    )
    print({**files.versions(), "threads": 1, "device": "cpu"})
    return different + corrupt


if __name__ == "__main__":
    raise SystemExit(main())
