"""Checkpoints: a fit that was killed goes on from its last finished epoch."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback

from skvae.saving import files
from skvae.training.callbacks import LOGGER, Progress
from skvae.training.net import load_optimizer


class Checkpoint(Callback):
    """Write the state of a fit to `path` after each epoch, and restore it.

    It is the last callback of a net, and so writes the state of the other callbacks.
    The file stays, and the same fit, started again, then trains no more. `run` is all
    that the fit depends on, besides the seed; it must equal that of the file. The seed
    of the file replaces `seed`.
    """

    def __init__(self, path, run, seed):
        self.path = Path(path)
        self.run = {name: describe(name, value) for name, value in run.items()}
        self.seed = seed
        self.state = None
        files.remove_temporary_files(self.path)
        if not self.path.exists():
            return
        content = files.read(self.path, "checkpoint")
        self.seed, self.state = content["seed"], content["state"]
        written = content["run"]
        differences = [
            f"{name}: {written.get(name)} there, {self.run.get(name)} here"
            for name in sorted(written.keys() | self.run.keys())
            if written.get(name) != self.run.get(name)
        ]
        if differences:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is of another fit, which differs in "
                f"{'; '.join(differences)}. Restore these to continue that fit. To "
                "start a new one, delete the file, or use another."
            )

    def on_train_begin(self, net, **kwargs):
        if self.state is not None:
            restore(net, self.state)
            self.state = None
            LOGGER.info("%d epochs are in checkpoint %s", len(net.history), self.path)

    def on_epoch_end(self, net, **kwargs):
        content = {"run": self.run, "seed": self.seed, "state": snapshot(net)}
        files.write(self.path, "checkpoint", content)


def snapshot(net):
    """All that the next epoch depends on, except the data and the parameters."""
    state = {
        "module": net.module_.state_dict(),
        "optimizer": net.optimizer_.state_dict(),
        "callbacks": {
            name: fitted_attributes(callback)
            for name, callback in net.callbacks_
            if not isinstance(callback, Progress)
        },
        "history": net.epoch_rows(),
        "stops": net.stops,
        "random_state": torch.get_rng_state(),
    }
    if torch.device(net.device).type == "cuda":
        state["cuda_random_state"] = torch.cuda.get_rng_state(net.device)
    return state


def fitted_attributes(callback):
    return {
        name: value.state_dict() if hasattr(value, "state_dict") else value
        for name, value in vars(callback).items()
        if name.endswith("_") and not isinstance(value, type)
    }


def restore(net, state):
    """Bring a net to the state of a `snapshot`, before it is trained."""
    net.module_.load_state_dict(state["module"])
    load_optimizer(net.optimizer_, state["optimizer"])
    callbacks = dict(net.callbacks_)
    for name, values in state["callbacks"].items():
        for key, value in values.items():
            attribute = getattr(callbacks[name], key)
            if hasattr(attribute, "load_state_dict"):
                attribute.load_state_dict(value)
            else:
                setattr(callbacks[name], key, value)
    net.history.extend(state["history"])
    net.stops = state["stops"]
    torch.set_rng_state(state["random_state"])
    if "cuda_random_state" in state:
        torch.cuda.set_rng_state(state["cuda_random_state"], net.device)


def describe(name, value):
    """A string, equal for equal values: JSON, or a fingerprint if there are arrays."""
    arrays = {}
    text = json.dumps(files.encode(value, arrays, name))
    if not arrays:
        return text
    digest = hashlib.sha256(text.encode())
    for array in arrays.values():
        digest.update(f"{array.dtype} {array.shape}".encode())
        for row in np.atleast_1d(array):  # a memory map is never copied whole
            digest.update(np.ascontiguousarray(row))
    return digest.hexdigest()[:16]


def describe_run(estimator, X, target, device, goes_on):
    """All that the bits of a fit depend on, besides the seed."""
    y = None if target is None else target.values
    run = estimator.get_params(deep=False) | {"device": str(device), "X": X, "y": y}
    for name in ("conv_channels", "hidden_dims"):
        run[name] = list(run[name])
    for name in ("checkpoint", "verbose", "warm_start"):
        del run[name]
    if goes_on:
        optimizer, memory = estimator.net_.optimizer_, estimator.net_.memory_
        run["fitted"] = {
            "module": dict(estimator.module_.state_dict()),
            "optimizer": optimizer and optimizer.state_dict(),
            "memory": memory and memory._asdict(),
        }
    return run
