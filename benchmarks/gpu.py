"""How long one waits on a GPU: epochs, large data, precisions."""

# What is timed ends by reading a loss or a result, for which the device must be ready.
# Without a GPU all runs on the CPU, which says nothing but that it runs.

import contextlib
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import harness
import numpy as np
import peers
import torch
from harness import Part, interleave, median, seconds_of

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

    def train_epoch():
        total.zero_()
        order = torch.randperm(len(x), device=DEVICE)
        for rows in order.split(batch_size):
            torch.index_select(x, 0, rows, out=batch)
            graph.replay()
        total.item()

    return peers.by_epoch(train_epoch)


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


def time_epochs(size, batch_size):
    """Seconds an epoch by peer and round, in which they take turns: the mean of two."""
    X, _ = make_load_profiles(size.n_signals, random_state=0)
    trainer = cache(lambda name: TRAINERS[name](X, batch_size))

    def seconds(name):
        return harness.seconds_an_epoch(trainer(name)(3))

    jobs = {name: partial(seconds, name) for name in TRAINERS}
    figures = {"n_steps": -(-len(X) // batch_size)}
    return figures | interleave(jobs, size.rounds, warm_up=1)


def epoch_section(found):
    rows = [
        (name, r["batch_size"], seconds and 1e6 * seconds / r["n_steps"], ratio)
        for r in found
        for name, seconds, ratio in harness.turns(r, "plain loop")
    ]
    columns = "peer | batch | µs a step:.0f | epoch to the plain loop's"
    return harness.section("Epochs", harness.table(columns, rows))


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
        jobs = {
            "fit, array": (ConvVAETransformer(**params).fit, X),
            "fit, memory map": (
                ConvVAETransformer(**params).fit,
                np.load(path, mmap_mode="r"),
            ),
            "transform": (vae.transform, X),
            "inverse_transform": (vae.inverse_transform, vae.transform(X)),
            "score_samples of a tenth": (vae.score_samples, X[: len(X) // 10]),
        }
        jobs = {name: partial(seconds_of, *job) for name, job in jobs.items()}
        figures = interleave(jobs, size.large_rounds)
        del jobs  # the memory map goes before its folder
    return figures


def large_section(found):
    rows = []
    for result in found:
        for name, values in result["seconds"].items():
            n, seconds = result["signals"], median(values)
            n //= 10 if "tenth" in name else 1
            told = result.get("errors", {}).get(name) or f"{n / seconds:,.0f}"
            rows.append((name, n, seconds, told))
    columns = "job | signals:, | seconds:.2f | signals a second"
    return harness.section("Large data", harness.table(columns, rows))


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


def time_precisions(size):
    """Training in each, in turn; the ELBO of test signals always in float32."""
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
    return interleave(jobs, size.large_rounds, warm_up=1, figure="found")


def precision_section(results):
    rows = []
    for result in results:
        float32 = result["found"]["float32"]
        for name, pairs in result["found"].items():
            if pairs:
                epochs, elbos = zip(*pairs, strict=True)
                against = harness.ratio(epochs, [epoch for epoch, _ in float32])
                loss = median([elbo for _, elbo in float32]) - median(elbos)
                rows.append((name, 1e3 * median(epochs), against, loss))
            else:
                rows.append((name, None, result["errors"][name], None))
    columns = "precision | ms an epoch:.1f | to float32's | "
    columns += "ELBO less than float32's, nats:.2f"
    return harness.section("Precision", harness.table(columns, rows))


PARTS = {
    "epochs": Part(
        time_epochs,
        epoch_section,
        lambda size: [{"batch_size": batch_size} for batch_size in size.batch_sizes],
    ),
    "large": Part(time_large, large_section, lambda size: [{"signals": size.n_large}]),
    "precision": Part(time_precisions, precision_section),
}
report = partial(harness.report, "How long one waits on a GPU", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "gpu", PARTS, report, Size(), QUICK)
