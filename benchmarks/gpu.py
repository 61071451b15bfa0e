"""How long one waits on a GPU: epochs, large data, precisions.

    pip install -e .                # torch must be a build with CUDA
    python benchmarks/gpu.py epochs large precision report   # results/gpu.md

It needs skvae's own requirements and no others. Results are lines of results/gpu.jsonl;
to do one again, delete its line. Nothing else should run. Without a GPU everything runs
on the CPU, which says nothing but that it runs; `--quick` is for that. What is right or
wrong on a GPU, and not fast or slow, is in tests/test_gpu.py.

- epochs: of P2 (`peers.py`), 2048 signals of 336 points: the plain loop, the same loop
  captured by hand as a CUDA graph, skvae without graphs and with them; its defaults.
  The mean of two epochs after a first, in rounds in which the peers take turns.
- large: of a million signals a fit of one epoch, from an array and from a memory map,
  and `transform` and `inverse_transform`; `score_samples` of a tenth.
- precision: TF32, autotuning and bfloat16 in training; the ELBO of test signals always
  in float32.

What is timed ends by reading a loss or a result, for which the device must be ready.
"""

import contextlib
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import harness
import numpy as np
import peers
import torch
from harness import interleave, median, ratios, seconds_of, spread

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    n_signals: int = 2048  # of an epoch
    batch_sizes: tuple = (32, 256)
    n_large: int = 1_000_000
    large_rounds: int = 3  # these take seconds each
    n_train: int = 2000
    n_test: int = 1000


QUICK = Size(1, 64, (32,), 2000, 1, 40, 20)


# --- Epochs


def captured_trainer(X, batch_size):
    """The plain loop, its data on the device and its step captured by hand."""
    x = torch.from_numpy(X)[:, None].to(DEVICE)
    module = peers.P2Module(X.shape[1]).to(DEVICE).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, capturable=True)
    batch = x[:batch_size].clone()
    total = torch.zeros((), device=DEVICE)

    def step():
        optimizer.zero_grad()
        loss = peers.vae_loss(module(batch), batch)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach(), alpha=len(batch))

    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries set themselves up
            step()
        optimizer.zero_grad()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph, stream=stream):
        step()

    def train(n_epochs):
        times = []
        for _ in range(n_epochs):
            total.zero_()
            order = torch.randperm(len(x), device=DEVICE)
            for rows in order.split(batch_size):
                torch.index_select(x, 0, rows, out=batch)
                graph.replay()
            total.item()
            times.append(time.perf_counter())
        return times

    return train


def skvae_trainer(latent_dim, params, **net_params):
    params = params | {"net_params": params.get("net_params", {}) | net_params}
    options = {"device": DEVICE, "latent_dim": latent_dim, "params": params}
    return partial(peers.skvae_trainer, **options)


TRAINERS = {
    "plain loop": partial(peers.plain_trainer, device=DEVICE),
    "captured by hand": captured_trainer,
    "skvae, P2": skvae_trainer(2, peers.P2),
    "skvae, P2, graphs": skvae_trainer(2, peers.P2, cuda_graphs=True),
    "skvae, defaults": skvae_trainer(8, {}),
    "skvae, defaults, graphs": skvae_trainer(8, {}, cuda_graphs=True),
}


def epoch_tasks(size):
    for batch_size in size.batch_sizes:
        yield {"batch_size": batch_size}, partial(time_epochs, batch_size, size)


def time_epochs(batch_size, size):
    X, _ = make_load_profiles(size.n_signals, random_state=0)
    trains = {}

    def seconds(name):
        if name not in trains:
            trains[name] = TRAINERS[name](X, batch_size)
        return harness.seconds_an_epoch(trains[name](3))

    jobs = {name: partial(seconds, name) for name in TRAINERS}
    found, errors = interleave(jobs, size.rounds, warm_up=1)
    return {"n_steps": -(-len(X) // batch_size), "seconds": found, "errors": errors}


def epoch_section(found):
    rows = [
        (name, r["batch_size"], seconds and 1e6 * seconds / r["n_steps"], ratio)
        for r in found
        for name, seconds, ratio in harness.turns(r, "plain loop")
    ]
    header = "peer | batch | µs a step | epoch to the plain loop's"
    return harness.section("Epochs", harness.table(header, "s d .0f s", rows))


# --- Large data


def large_tasks(size):
    yield {"signals": size.n_large}, partial(time_large, size)


def time_large(size):
    few, _ = make_load_profiles(1000, random_state=0)
    X = np.tile(few, (size.n_large // len(few), 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X.npy")
        np.save(path, X)
        data = {"array": X, "memory map": np.load(path, mmap_mode="r")}
        params = {"batch_size": 1024, "max_epochs": 1, "random_state": 0}
        vae = ConvVAETransformer(device=DEVICE, **params).fit(few)
        Z = vae.transform(X)
        jobs = {
            f"fit, {name}": partial(ConvVAETransformer(device=DEVICE, **params).fit, X)
            for name, X in data.items()
        }
        jobs["transform"] = partial(vae.transform, X)
        jobs["inverse_transform"] = partial(vae.inverse_transform, Z)
        jobs["score_samples of a tenth"] = partial(vae.score_samples, X[: len(X) // 10])
        jobs = {name: partial(seconds_of, job) for name, job in jobs.items()}
        seconds, errors = interleave(jobs, size.large_rounds)
        del data, jobs  # the memory map goes before its folder
    return {"seconds": seconds, "errors": errors}


def large_section(found):
    rows = []
    for result in found:
        for name, values in result["seconds"].items():
            n, seconds = (
                result["signals"] // (10 if "tenth" in name else 1),
                median(values),
            )
            told = result.get("errors", {}).get(name) or f"{n / seconds:,.0f}"
            rows.append((name, n, seconds, told))
    header = "job | signals | seconds | signals a second"
    return harness.section("Large data", harness.table(header, "s , .2f s", rows))


# --- Precision


@contextlib.contextmanager
def switched(convolutions=False, products=False, autotune=False):
    """Inside, TF32 is allowed there; and cuDNN tries its algorithms."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
    settings = convolutions, products, autotune
    try:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = settings
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before


@contextlib.contextmanager
def bfloat16():
    """Inside, training runs the network in bfloat16, its loss in float32."""
    from skvae.model.network import ConvVAE

    forward = ConvVAE.forward

    def autocast_forward(self, x, *args):
        with torch.autocast(x.device.type, torch.bfloat16):
            output = forward(self, x, *args)
        return tuple(value.float() for value in output)

    with mock.patch.object(ConvVAE, "forward", autocast_forward), switched():
        yield


PRECISIONS = {
    "float32": switched,
    "TF32 in convolutions, torch's default": partial(switched, True),
    "TF32, matmul precision 'high'": partial(switched, True, True),
    "torch's default, cuDNN autotuned": partial(switched, True, False, True),
    "bfloat16 autocast": bfloat16,
}


def precision_tasks(size):
    yield {}, partial(time_precisions, size)


def time_precisions(size):
    X, _ = make_load_profiles(size.n_train, random_state=0)
    X_test, _ = make_load_profiles(size.n_test, random_state=1)

    def fit(name):
        times = []
        params = {"random_state": 0, "callbacks": [peers.clock(times)]}
        with PRECISIONS[name]():
            vae = ConvVAETransformer(device=DEVICE, **params).fit(X)
        with switched():
            return harness.seconds_an_epoch(times), float(vae.score(X_test))

    jobs = {name: partial(fit, name) for name in PRECISIONS}
    found, errors = interleave(jobs, size.large_rounds, warm_up=1)
    return {"found": found, "errors": errors}


def precision_section(results):
    rows = []
    for result in results:
        float32 = result["found"]["float32"]
        for name, pairs in result["found"].items():
            if pairs:
                epochs, elbos = zip(*pairs, strict=True)
                against = ratios(epochs, [epoch for epoch, _ in float32])
                loss = median([elbo for _, elbo in float32]) - median(elbos)
                rows.append((name, 1e3 * median(epochs), spread(against), loss))
            else:
                rows.append((name, None, result["errors"][name], None))
    header = "precision | ms an epoch | to float32's | ELBO less than float32's, nats"
    return harness.section("Precision", harness.table(header, "s .1f s .2f", rows))


SECTIONS = {
    "epochs": epoch_section,
    "large": large_section,
    "precision": precision_section,
}


def report(results, folder):
    return harness.report_parts(results, "How long one waits on a GPU", SECTIONS)


if __name__ == "__main__":
    parts = {"epochs": epoch_tasks, "large": large_tasks, "precision": precision_tasks}
    harness.main(__doc__, "gpu", parts, report, Size(), QUICK)
