"""All checks and timings of skvae on a GPU, in one call of at most 8 minutes.

    pip install -e .                # torch must be a build with CUDA
    python benchmarks/gpu.py        # results/gpu.md and results/gpu.json
    python benchmarks/gpu.py checks counts epochs     # some of the parts

It needs skvae's own requirements, torch, scikit-learn and skorch, and no others. The
results go to the folder that the environment variable OUT names, by default results.
Nothing else should run. Without a GPU, or with --device cpu, everything is tiny: what
does not need a GPU runs, to see that it does, and its timings are left empty.

- checks: training in CUDA graphs against plain steps and against the CPU; the fitted
  model on both; data too large for the device; memory; seeds. One line each.
- counts: operations and bytes of a training step, from the shapes of its layers; what
  the device reaches in each, measured; its launches. A step cannot be faster than the
  largest of operations, bytes and launches at these rates: the bound that applies.
- epochs: of P2 (`p2.py`), 2048 signals of 336 points: the plain loop, the same loop
  captured by hand as a CUDA graph, skvae with and without graphs; skvae's defaults.
- fits: one epoch of a million signals, on the device and streamed.
- inference: of a million signals, at several sizes of a batch.
- precision: TF32, autotuning and bfloat16 in training; the ELBO of test signals always
  in float32.

Epochs are timed as in `speed.py`: the mean of two after a first, in rounds in which the
peers take turns; medians, a ratio is the median of the rounds' ratios. All of them end
by reading a loss, for which the device must have finished.
"""

import argparse
import contextlib
import gc
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import joblib
import numpy as np
import p2
import quality
import speed
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback
from torch import nn
from torch.profiler import ProfilerActivity, profile

from skvae import ConvVAETransformer, training
from skvae.checkpoint import Checkpoint
from skvae.datasets import make_load_profiles
from skvae.network import ConvVAE

RESULTS = Path(__file__).parent / "results"
NOT_MEASURED = "not measured"
FLOAT_BYTES = 4
# Reads of parameter, gradient and two moments, writes of all but the gradient.
ADAM_TRAFFIC = 7


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    n_signals: int = 2048  # of an epoch
    batch_sizes: tuple = (32, 256)
    n_checked: int = 512
    n_large: int = 1_000_000
    large_rounds: int = 3  # these take seconds each
    n_scored: int = 100_000
    inference_values: tuple = (2**18, 2**20, 2**22, 2**23, 2**24, 2**26)
    n_train: int = 2000
    n_test: int = 1000
    n_seeds: int = 3
    matrix: int = 8192  # rows and columns, for the rates of the device
    copied_values: int = 2**29


TINY = Size(
    rounds=1,
    n_signals=64,
    n_checked=48,
    batch_sizes=(32,),
    n_large=200,
    large_rounds=1,
    n_scored=50,
    inference_values=(2**14,),
    n_train=40,
    n_test=20,
    n_seeds=1,
    matrix=64,
    copied_values=2**10,
)


class NeedsGPU(Exception):
    """What was asked for cannot be measured on a CPU."""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--device", help="default: a GPU where there is one")
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    device = args.device or training.resolve_device("auto", training=True)
    folder = Path(os.environ.get("OUT", RESULTS))
    run(device, TINY if device == "cpu" else Size(), folder, args.parts or PARTS)


def run(device, size, folder, parts):
    """Write what the parts find; after each of them, lest a later one be cut off."""
    started = time.perf_counter()
    results = {"machine": describe_machine(device)}
    for part in parts:
        rows = results[part] = []
        for task, measure in PARTS[part](device, size):
            rows.append(task | attempt(measure, device))
            print(part, *rows[-1].values(), sep=" | ", flush=True)
        results["seconds"] = round(time.perf_counter() - started)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
        (folder / "gpu.md").write_text(report(results))


def attempt(measure, device):
    """The figures of a measurement, or in their place why there are none."""
    try:
        figures = measure()
    except NeedsGPU:
        return {"result": NOT_MEASURED}
    except Exception as error:  # a failure is a result
        return {"result": f"FAILED: {type(error).__name__}: {error}".splitlines()[0]}
    if device == "cpu":  # the clock of a CPU says nothing of a GPU
        is_time = {name for name in figures if isinstance(figures[name], float)}
        figures |= dict.fromkeys(is_time, NOT_MEASURED)
    return figures


def describe_machine(device):
    found = quality.environment()
    name = "no GPU: what needs one is not measured, and no timing is kept"
    if device != "cpu":
        name = torch.cuda.get_device_name(device)
        found["versions"] |= {
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }
    return {"device": name, **found}


def report(results):
    """The results as Markdown: a table of each part, its columns those of its rows."""
    machine = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    sections = [
        "# skvae on a GPU",
        f"{machine['device']}; skvae at {machine['commit']}; {versions}; "
        f"{machine['threads']} threads; {results['seconds']} s in all.",
    ]
    for part in PARTS:
        rows = results.get(part, [])
        header = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[show(row.get(name, "")) for name in header] for row in rows]
        if rows:
            sections.append(f"## {part.capitalize()}\n\n{speed.table(header, cells)}")
    return "\n\n".join(sections) + "\n"


def show(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def need_gpu(device):
    if torch.device(device).type != "cuda":
        raise NeedsGPU


# --- Switches


def plain_steps():
    """Inside, no training step is captured."""
    return mock.patch.object(training.StepGraph, "suits", return_value=False)


def streamed():
    """Inside, no data fit on the device."""
    return mock.patch.object(training.SignalDataset, "_fits", return_value=False)


def inference_values(device, values):
    kind = torch.device(device).type
    return mock.patch.dict(training.INFERENCE_VALUES, {kind: values})


@contextlib.contextmanager
def switched(*switches):
    """Inside, each (owner, name, value) holds; `mock` cannot set those of torch."""
    before = [getattr(owner, name) for owner, name, _ in switches]
    for owner, name, value in switches:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def tf32(convolutions, products):
    """Inside, TF32 is allowed there; torch's default is in convolutions alone."""
    return switched(
        (torch.backends.cudnn, "allow_tf32", convolutions),
        (torch.backends.cuda.matmul, "allow_tf32", products),
    )


def autotuned():
    """Inside, cuDNN tries its algorithms; by default it chooses by rules."""
    return switched((torch.backends.cudnn, "benchmark", True))


@contextlib.contextmanager
def bfloat16():
    """Inside, training runs the network in bfloat16, its loss in float32."""
    forward = ConvVAE.forward

    def autocast_forward(self, x):
        # Casts are not cached: a graph would keep those of the weights it saw.
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            output = forward(self, x)
        return tuple(value.float() for value in output)

    with mock.patch.object(ConvVAE, "forward", autocast_forward):
        yield


@contextlib.contextmanager
def counted_replays():
    """A list that gets an item for each replay of a CUDA graph inside."""
    replays, replay = [], torch.cuda.CUDAGraph.replay

    def counting(graph):
        replays.append(graph)
        replay(graph)

    with mock.patch.object(torch.cuda.CUDAGraph, "replay", counting):
        yield replays


# --- Checks: each gives whether it holds, and the number that tells


SETTINGS = {
    "P2": {"latent_dim": 2, **quality.P2, "max_epochs": 2},
    "defaults": {"max_epochs": 2, "batch_size": 32},
    "labels": {"max_epochs": 2, "batch_size": 32, "label_weight": 1.0},
}


def check_tasks(device, size):
    X, y = make_load_profiles(size.n_checked + 7, random_state=0)  # 7: a last batch
    for name, check in CHECKS.items():
        yield {"check": name}, partial(run_check, check, device, X, y)


def run_check(check, device, X, y):
    if check not in ON_CPU:
        need_gpu(device)
    with warnings.catch_warnings():
        # Without graphs the checks would compare plain steps with plain steps.
        warnings.filterwarnings("error", message="A training step could not be capt")
        with tf32(False, False):
            holds, number = check(device, X, y)
    return {"result": "ok" if holds else "FAILED", "number": number}


def make(device, setting="defaults", **params):
    params = SETTINGS[setting] | {"random_state": 0, "device": device} | params
    return ConvVAETransformer(**params)


class Losses(Callback):
    """Keeps the loss of each training step."""

    def on_train_begin(self, net, **kwargs):
        self.losses_ = []

    def on_batch_end(self, net, training, loss, **kwargs):
        if training:
            self.losses_.append(loss.detach().clone())

    def on_train_end(self, net, **kwargs):
        self.losses_ = torch.stack(self.losses_).cpu().numpy()


def step_losses(device, X, y, setting, **params):
    vae = make(device, setting, callbacks=[("losses", Losses())], **params)
    vae.fit(X, y)
    return dict(vae.net_.callbacks_)["losses"].losses_


def distance(a, b):
    """Largest difference, in units of the root mean square of b."""
    return float(np.abs(a - b).max() / np.sqrt(np.mean(np.square(b))))


def graphed_equals_plain(setting, device, X, y):
    with counted_replays() as replays:
        graphed = step_losses(device, X, y, setting)
    with plain_steps():
        plain = step_losses(device, X, y, setting)
    found = distance(graphed, plain)
    return found < 1e-3 and len(replays) > len(plain) / 2, (
        f"{found:.1e} over {len(plain)} steps, {len(replays)} replays with rehearsal"
    )


def trained_as_on_cpu(device, X, y):
    """Without the draws that differ by device: noise and reparameterization."""
    with mock.patch.object(ConvVAE, "reparameterize", lambda self, mean, _: mean):
        ours, expected = (
            step_losses(where, X, y, "defaults", input_noise=0)
            for where in (device, "cpu")
        )
    found = distance(ours, expected)
    return found < 1e-2, f"{found:.1e} over {len(ours)} steps"


def outputs(vae, X):
    Z = vae.transform(X)
    return {
        "encode": Z,
        "decode": vae.inverse_transform(Z),
        "score": vae.score_samples(X),
    }


def inference_as_on_cpu(allowed, limit, device, X, y):
    vae = make(device).fit(X)
    with tf32(allowed, allowed):
        ours = outputs(vae, X)
    expected = outputs(vae.set_params(device="cpu"), X)
    found = {name: distance(ours[name], expected[name]) for name in ours}
    return max(found.values()) < limit, ", ".join(
        f"{name} {value:.1e}" for name, value in found.items()
    )


def rows_alone(device, X, y):
    vae = make(device).fit(X)
    alone = np.concatenate([vae.transform(row[None]) for row in X[:50]])
    together = vae.transform(X)[:50]
    found = distance(alone, together)
    return found < 1e-5, "bitwise" if (alone == together).all() else f"{found:.1e}"


OPEN_PIPELINE = """
import sys, joblib, numpy, torch
assert not torch.cuda.is_available()
model = joblib.load(sys.argv[1] + "/model.joblib")
X = numpy.load(sys.argv[1] + "/X.npy")
numpy.save(sys.argv[1] + "/Z.npy", model[:-1].transform(X))
assert len(model.predict(X)) == len(X)
"""


def opens_without_gpu(device, X, y):
    vae = make(device, early_stopping=True)
    model = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())]).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(model, Path(folder, "model.joblib"))
        np.save(Path(folder, "X.npy"), X)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", OPEN_PIPELINE, folder],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return False, done.stderr.splitlines()[-1]
        found = distance(np.load(Path(folder, "Z.npy")), model[:-1].transform(X))
    return found < 1e-4, f"{found:.1e}"


def streamed_equals_resident(device, X, y):
    resident = make(device, "labels").fit(X, y).transform(X)
    with streamed():
        found = distance(make(device, "labels").fit(X, y).transform(X), resident)
    return found < 1e-3, f"{found:.1e}"


def small_memory(device, X, y):
    vae = make(device).fit(X)
    X = np.tile(X, (200_000 // len(X), 1))
    expected = vae.transform(X)
    torch.cuda.empty_cache()
    n_before = torch.cuda.memory_stats(device)["num_ooms"]
    allowed = torch.cuda.memory_reserved(device) + 2**29
    fraction = allowed / torch.cuda.get_device_properties(device).total_memory
    index = torch.device(device).index
    torch.cuda.set_per_process_memory_fraction(fraction, index)
    try:
        with inference_values(device, X.size):
            found = distance(vae.transform(X), expected)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
    n_ooms = torch.cuda.memory_stats(device)["num_ooms"] - n_before
    return found < 1e-4 and n_ooms > 0, f"{found:.1e}, out of memory {n_ooms} times"


def same_seed(device, X, y):
    first, second = (make(device, "P2").fit(X).transform(X) for _ in range(2))
    found = distance(first, second)
    return found < 1e-2, "bitwise" if (first == second).all() else f"{found:.1e}"


def memory_held(device, X, y):
    """After a first fit, which leaves the libraries' workspaces."""
    held = []
    for _ in range(6):
        vae = None  # the one before is let go
        vae = make(device).fit(X)
        gc.collect()
        held.append(torch.cuda.memory_allocated(device))
    del vae
    gc.collect()
    grown, own = held[-1] - held[0], held[-1] - torch.cuda.memory_allocated(device)
    return grown < 2**20 and own < 2**24, (
        f"{grown / 1e6:.2f} MB more after 5 other fits; {own / 1e6:.2f} MB of them the "
        f"estimator's, {held[0] / 1e6:.0f} MB in all after the first"
    )


def random_states(device):
    states = [torch.get_rng_state().numpy(), np.random.get_state()[1].copy()]
    if device != "cpu":
        states.append(torch.cuda.get_rng_state(device).numpy())
    return [state.tobytes() for state in states] + [random.getstate()]


def global_states_unchanged(device, X, y):
    before = random_states(device)
    outputs(make(device, "P2").fit(X), X)
    after = random_states(device)
    changed = sum(a != b for a, b in zip(after, before, strict=True))
    return not changed, f"{changed} of {len(before)} changed"


class Killed(Exception):
    """As if the process had been killed."""


def resumed_equals_uninterrupted(device, X, y):
    on_epoch_end = Checkpoint.on_epoch_end

    def kill(self, net, **kwargs):
        on_epoch_end(self, net, **kwargs)
        if len(net.history) == 2:
            raise Killed

    with tempfile.TemporaryDirectory() as folder:
        params = {"max_epochs": 4, "lr_schedule": "one_cycle"}
        expected = make(device, "P2", **params).fit(X).transform(X)
        vae = make(device, "P2", **params, checkpoint=str(Path(folder, "fit")))
        killed = mock.patch.object(Checkpoint, "on_epoch_end", kill)
        with killed, contextlib.suppress(Killed):
            vae.fit(X)
        found = distance(vae.fit(X).transform(X), expected)
    return found < 1e-2, f"{found:.1e}"


def fit_without_capture(device, X):
    """What a fit says whose step waits for the device, which no graph can."""
    get_loss = training.VAENet.get_loss

    def waiting(self, *args, **kwargs):
        loss = get_loss(self, *args, **kwargs)
        loss.item()
        return loss

    with (
        tf32(False, False),
        mock.patch.object(training.VAENet, "get_loss", waiting),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        losses = step_losses(device, X, None, "P2")
    return losses, [str(w.message) for w in caught if "captured" in str(w.message)]


def goes_on_without_capture(device, X, y):
    """In a process of its own: what a failed capture leaves is torch's affair."""
    losses, said = speed.in_fresh_process(fit_without_capture, device, X)
    with plain_steps():
        found = distance(losses, step_losses(device, X, y, "P2"))
    return found < 1e-2 and bool(said), f"{found:.1e}, {len(said)} warnings"


CHECKS = {
    **{
        f"losses of graphed against plain steps, {setting}": partial(
            graphed_equals_plain, setting
        )
        for setting in SETTINGS
    },
    "losses against the CPU's, no draws on the device": trained_as_on_cpu,
    "a fitted model against itself on the CPU, float32": partial(
        inference_as_on_cpu, False, 1e-3
    ),
    "a fitted model against itself on the CPU, TF32": partial(
        inference_as_on_cpu, True, 3e-2
    ),
    "transform of a row alone against all": rows_alone,
    "a dumped pipeline, opened without a GPU": opens_without_gpu,
    "streamed against resident data": streamed_equals_resident,
    "out of memory in transform: smaller batches": small_memory,
    "two fits of one seed": same_seed,
    "memory held after fit": memory_held,
    "global random states unchanged": global_states_unchanged,
    "resumed from a checkpoint against uninterrupted": resumed_equals_uninterrupted,
    "training goes on where capture fails": goes_on_without_capture,
}
ON_CPU = (
    rows_alone,
    opens_without_gpu,
    streamed_equals_resident,
    same_seed,
    global_states_unchanged,
    resumed_equals_uninterrupted,
)


# --- Counts


def count_step(module, x):
    """Operations and bytes of a training step, from the shapes of the layers.

    Operations are those of convolutions and linear layers, a multiplication and an
    addition counting 2: once forward and once each for the gradients of weights and
    inputs, if the inputs have one. Bytes are what goes to memory and back where each
    layer is a kernel of its own: forward it reads input and weights and writes its
    output, backward it reads these and the gradient of the output and writes the
    others'; then Adam's. Loss and views are left out.

    Parameters
    ----------
    module : nn.Module
        In training mode.
    x : Tensor
        A batch.

    Returns
    -------
    n_operations, n_bytes : int
    """
    n_operations = n_values = 0

    def count(layer, inputs, output):
        nonlocal n_operations, n_values
        (h,) = inputs
        n_weights = sum(p.numel() for p in layer.parameters(recurse=False))
        n_passes = 3 if h.requires_grad else 2
        if hasattr(layer, "weight") and layer.weight.ndim > 1:  # not BatchNorm
            is_transpose = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
            ends = h if is_transpose else output
            n_uses = ends.numel() // ends.shape[1]  # of each weight
            n_operations += 2 * n_passes * n_uses * layer.weight.numel()
        n_values += n_passes * h.numel() + 2 * output.numel() + 3 * n_weights

    views = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Sequential)
    hooks = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if not isinstance(layer, views)
        and (hasattr(layer, "weight") or not any(True for _ in layer.children()))
    ]
    module(x)
    for hook in hooks:
        hook.remove()
    n_values += ADAM_TRAFFIC * sum(p.numel() for p in module.parameters())
    return n_operations, FLOAT_BYTES * n_values


def count_tasks(device, size):
    rates = {}
    yield {"what": "rates of the device"}, partial(measure_rates, device, size, rates)
    for name, batch_size in product(("plain loop", "skvae"), size.batch_sizes):
        task = {"what": f"P2, {name}", "batch": batch_size}
        yield task, partial(count_p2, name, batch_size, device, rates)
    yield (
        {"what": "skvae's defaults", "batch": 16},
        partial(count_p2, "defaults", 16, device, rates),
    )


def measure_rates(device, size, rates):
    """What the device reaches: in each second, and in a graph of many tiny kernels."""
    need_gpu(device)
    a, b = torch.randn(2, size.matrix, size.matrix, device=device)
    values = torch.zeros(size.copied_values, device=device)
    copy, one = torch.empty_like(values), torch.zeros(1, device=device)
    n_kernels = 1000

    def launch():
        for _ in range(n_kernels):
            one.add_(1)

    launch()  # its kernel is loaded before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launch()
    for name, allowed in (("float32", False), ("TF32", True)):
        with tf32(allowed, allowed):
            seconds = seconds_each(lambda: a @ b, device)
            rates[name] = 2 * size.matrix**3 / seconds
    seconds = seconds_each(lambda: copy.copy_(values), device)
    rates["bytes"] = 2 * FLOAT_BYTES * len(values) / seconds
    rates["kernel"] = seconds_each(graph.replay, device) / n_kernels
    rates["launch"] = seconds_each(launch, device) / n_kernels
    return {
        "TFLOP/s float32": rates["float32"] / 1e12,
        "TFLOP/s TF32": rates["TF32"] / 1e12,
        "GB/s": rates["bytes"] / 1e9,
        "us a kernel in a graph": 1e6 * rates["kernel"],
        "us a launch": 1e6 * rates["launch"],
    }


def seconds_each(function, device, n_calls=20):
    for _ in range(3):
        function()
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(n_calls):
        function()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / n_calls


def count_p2(name, batch_size, device, rates):
    """Counts of a step, and what each alone would take, in microseconds."""
    X, _ = make_load_profiles(4 * batch_size, random_state=0)
    params = {"device": device, "batch_size": batch_size}

    def fit_plain_loop(n_epochs):
        repeat(train_epoch, n_epochs)
        return module

    def fit_skvae(n_epochs):
        setting = "defaults" if name == "defaults" else "P2"
        vae = make(setting=setting, **params, max_epochs=n_epochs)
        with mock.patch("skvae.transformer.MAX_REHEARSAL", 0), plain_steps():
            return vae.fit(X).module_

    fit = fit_skvae
    if name == "plain loop":
        module, train_epoch = p2.training(X, **params)
        fit = fit_plain_loop
    module = fit(1)
    x = torch.zeros(batch_size, 1, X.shape[1], device=device)
    n_operations, n_bytes = count_step(module.train(), x)
    counts = {"MFLOP": round(n_operations / 1e6), "kB": round(n_bytes / 1e3)}
    if not rates:
        return counts | {"kernels": NOT_MEASURED, "bound": NOT_MEASURED}
    n_kernels = (n_kernel_events(fit, 2) - n_kernel_events(fit, 1)) // 4
    bounds = {
        "operations": 1e6 * n_operations / rates["float32"],
        "bytes": 1e6 * n_bytes / rates["bytes"],
        "kernels": 1e6 * n_kernels * rates["kernel"],
    }
    return (
        counts
        | {"kernels": n_kernels}
        | {f"us for {kind}": value for kind, value in bounds.items()}
        | {"bound": max(bounds, key=bounds.get)}
        | {"us to launch": 1e6 * n_kernels * rates["launch"]}
    )


def repeat(function, n_times):
    for _ in range(n_times):
        function()


def n_kernel_events(fit, n_epochs):
    """Kernels and copies that run on the device."""
    with profile(activities=[ProfilerActivity.CUDA]) as events:
        fit(n_epochs)
        torch.cuda.synchronize()
    on_device = torch.autograd.DeviceType.CUDA
    return sum(event.device_type == on_device for event in events.events())


# --- Epochs: as in speed.py, a peer gives a function of a number of epochs that trains
# --- for so many and returns the times at which they ended


def plain_peer(X, batch_size, device):
    return p2.clocked(p2.training(X, batch_size, device=device)[1])


def captured_peer(X, batch_size, device):
    """The plain loop, its data on the device and its step captured by hand."""
    need_gpu(device)
    x = torch.from_numpy(X)[:, None].to(device)
    module = p2.P2(X.shape[1]).to(device).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, capturable=True)
    batch = x[:batch_size].clone()
    total = torch.zeros((), device=device)

    def step():
        optimizer.zero_grad()
        loss = p2.vae_loss(module(batch), batch)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach(), alpha=len(batch))

    stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        repeat(step, 3)  # libraries set themselves up
        optimizer.zero_grad()
    torch.cuda.current_stream(device).wait_stream(stream)
    with torch.cuda.graph(graph, stream=stream):
        step()

    def train(n_epochs):
        times = []
        for _ in range(n_epochs):
            total.zero_()
            order = torch.randperm(len(x), device=device)
            for rows in order.split(batch_size):
                torch.index_select(x, 0, rows, out=batch)
                graph.replay()
            total.item()
            times.append(time.perf_counter())
        return times

    return train


def skvae_peer(X, batch_size, device, setting="P2", context=contextlib.nullcontext):
    def train(n_epochs):
        params = {"batch_size": batch_size, "max_epochs": n_epochs}
        with context():
            return fit_and_look(device, X, setting, **params)[1]

    return train


PEERS = {
    "plain loop": plain_peer,
    "captured by hand": captured_peer,
    "skvae": skvae_peer,
    "skvae, plain steps": partial(skvae_peer, context=plain_steps),
}
DEFAULT_PEERS = {
    "skvae's defaults": partial(skvae_peer, setting="defaults"),
    "skvae's defaults, plain steps": partial(
        skvae_peer, setting="defaults", context=plain_steps
    ),
}


def epoch_tasks(device, size):
    X, _ = make_load_profiles(size.n_signals, random_state=0)
    for batch_size in size.batch_sizes:
        yield from peer_tasks(PEERS, X, batch_size, device, size)
    yield from peer_tasks(DEFAULT_PEERS, X, 16, device, size)


def peer_tasks(peers, X, batch_size, device, size):
    """A task for each peer; the first runs them all, in turn."""
    trains, found = {}, {}

    def run_all():
        for i, (name, make_peer) in product(range(1 + size.rounds), peers.items()):
            if isinstance(found.get(name), Exception):
                continue
            try:
                if not i:
                    trains[name] = make_peer(X, batch_size, device)
                times = trains[name](3)
            except Exception as error:
                found[name] = error
                continue
            if i:  # the first warms up
                found.setdefault(name, []).append((times[-1] - times[-3]) / 2)

    def figures(name):
        if not found:
            run_all()
        if isinstance(found[name], Exception):
            raise found[name]
        first = found[next(iter(peers))]
        ratios = speed.ratios(found[name], first)
        n_steps = math.ceil(len(X) / batch_size)
        seconds = statistics.median(found[name])
        return {
            "s an epoch": seconds,
            "us a step": 1e6 * seconds / n_steps,
            "to the first": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }

    for name in peers:
        yield {"peer": name, "batch": batch_size}, partial(figures, name)


# --- Large data


def large_data(n_signals):
    X, _ = make_load_profiles(min(1000, n_signals), random_state=0)
    return np.tile(X, (n_signals // len(X), 1))


def fit_tasks(device, size):
    X = large_data(size.n_large)
    params = {"batch_size": 1024, "max_epochs": 1}
    contexts = {"resident": contextlib.nullcontext, "streamed": streamed}
    seconds = {name: [] for name in contexts}

    def fit_all():
        for _, name in product(range(size.large_rounds), contexts):
            with contexts[name]():
                start = time.perf_counter()
                _, times = fit_and_look(device, X, **params)
            seconds[name].append((time.perf_counter() - start, times[-1] - times[0]))

    def figures(name):
        if not seconds[name]:
            fit_all()
        fit, epoch = np.median(seconds[name], axis=0)
        return {
            "s a fit": float(fit),
            "s of it the epoch": float(epoch),
            "signals/s of the epoch": len(X) / float(epoch),
            "rounds": size.large_rounds,
        }

    for name in contexts:
        yield {"data": name, "signals": len(X)}, partial(figures, name)


def fit_and_look(device, X, setting="defaults", **params):
    """A fitted estimator, and when its training began and each epoch ended."""
    times = []
    look = speed.Look(lambda net: times.append(time.perf_counter()))
    return make(device, setting, callbacks=[look], **params).fit(X), times


def inference_tasks(device, size):
    X = large_data(size.n_large)
    vae = make(device).fit(X[:500])
    Z = vae.transform(X)
    jobs = {
        "transform": (partial(vae.transform, X), len(X)),
        "inverse_transform": (partial(vae.inverse_transform, Z), len(X)),
        "score_samples": (
            partial(vae.score_samples, X[: size.n_scored]),
            min(size.n_scored, len(X)),
        ),
    }
    seconds = {}

    def figures(name, values):
        if not seconds:
            for _ in range(size.large_rounds):
                for other, key in product(size.inference_values, jobs):
                    with inference_values(device, other):
                        taken = speed.seconds_of(jobs[key][0])
                    seconds.setdefault((key, other), []).append(taken)
        found = statistics.median(seconds[name, values])
        return {"s": found, "signals/s": jobs[name][1] / found}

    for name, values in product(jobs, size.inference_values):
        task = {"method": name, "signals": jobs[name][1], "values a batch": values}
        yield task, partial(figures, name, values)


# --- Precision


PRECISIONS = {
    "float32": partial(tf32, False, False),
    "TF32 in convolutions, torch's default": partial(tf32, True, False),
    "TF32, matmul precision 'high'": partial(tf32, True, True),
    "torch's default, cuDNN autotuned": autotuned,
    "bfloat16 autocast": bfloat16,
}


def precision_tasks(device, size):
    X, _ = make_load_profiles(size.n_train, random_state=0)
    X_test, _ = make_load_profiles(size.n_test, random_state=1)
    found = {name: [] for name in PRECISIONS}

    def fit_all():
        params = {"max_epochs": "auto", "batch_size": 16}
        for seed, name in product(range(-1, size.n_seeds), PRECISIONS):
            with PRECISIONS[name]():
                vae, times = fit_and_look(
                    device, X, **params, random_state=max(seed, 0)
                )
            with tf32(False, False):
                elbo = vae.score(X_test)
            epoch = statistics.median(np.diff(times)[1:]) if len(times) > 2 else 0.0
            n_steps = training.n_batches(len(X), 16)
            if seed >= 0:  # the first warms up
                found[name].append((1e6 * float(epoch) / n_steps, elbo))

    def figures(name):
        if not found[name]:
            fit_all()
        steps, elbos = np.transpose(found[name])
        first = np.array(found["float32"])
        return {
            "us a step": float(np.median(steps)),
            "to float32": float(np.median(steps / np.maximum(first[:, 0], 1e-9))),
            "ELBO": float(elbos.mean()),
            "less than float32's": float((first[:, 1] - elbos).mean()),
            "spread over seeds": float(elbos.std()),
        }

    for name in PRECISIONS:
        yield {"precision": name}, partial(figures, name)


PARTS = {
    "checks": check_tasks,
    "counts": count_tasks,
    "epochs": epoch_tasks,
    "fits": fit_tasks,
    "inference": inference_tasks,
    "precision": precision_tasks,
}


if __name__ == "__main__":
    main()
