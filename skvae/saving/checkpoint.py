"""Checkpoints: a fit that was killed goes on from its last finished epoch."""

import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback, PrintLog

from skvae.saving import files
from skvae.training.net import load_optimizer


class Checkpoint(Callback):
    """Writes the state of a fit after each epoch, and restores it at the start.

    A fit may train several nets, one after the other, with the same checkpoint: each
    goes on where its own training was. It comes last of the callbacks of a net, whose
    state it holds too. The file stays when the fit is finished; the same fit started
    again then returns after one epoch at most.

    Parameters
    ----------
    path : str or os.PathLike
    run : dict of str to value
        What a fit must have in common with the one in the file, to go on from it.
    seed : int
        Of this fit.

    Attributes
    ----------
    seed : int
        Of the fit in the file, if there is one.

    Raises
    ------
    ValueError
        If the file is damaged, or of another run; the message says what differs.
    TypeError
        If a value of `run` is not plain data, as the objects in `callbacks` are.
    """

    def __init__(self, path, run, seed):
        self.path = Path(path)
        self.run = {name: describe(name, value) for name, value in run.items()}
        self.seed = seed
        self.stages = []
        self.stage = -1
        files.remove_temporary_files(self.path)
        if self.path.exists():
            content = files.read(self.path, "checkpoint")
            self._check_same_run(content["run"])
            self.seed = content["seed"]
            self.stages = content["stages"]

    def _check_same_run(self, run):
        differences = [
            f"{name}: {run.get(name)} there, {self.run.get(name)} here"
            for name in sorted(run.keys() | self.run.keys())
            if run.get(name) != self.run.get(name)
        ]
        if differences:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is of another fit, which differs in "
                f"{'; '.join(differences)}. Restore these to continue it, or delete "
                "the file, or use another, to start anew."
            )

    def on_train_begin(self, net, **kwargs):
        self.stage += 1
        if self.stage < len(self.stages):
            restore(net, self.stages[self.stage])

    def on_epoch_end(self, net, **kwargs):
        self.stages[self.stage :] = [snapshot(net)]
        content = {"run": self.run, "seed": self.seed, "stages": self.stages}
        try:
            files.write(self.path, "checkpoint", content)
        except KeyboardInterrupt:
            # With a message: a bare one is how skorch's callbacks end training.
            raise KeyboardInterrupt("while the checkpoint was written") from None

    def __getstate__(self):
        return {**vars(self), "stages": []}


def snapshot(net):
    """All that the next epoch depends on, besides the data and the parameters."""
    state = {
        "module": net.module_.state_dict(),
        "optimizer": net.optimizer_.state_dict(),
        "callbacks": {
            name: callback_state(callback)
            for name, callback in net.callbacks_
            if not isinstance(callback, PrintLog)
        },
        "history": net.epoch_rows(),
        "random_state": torch.get_rng_state(),
    }
    if torch.device(net.device).type == "cuda":
        state["cuda_random_state"] = torch.cuda.get_rng_state(net.device)
    return copy.deepcopy(state)


def restore(net, state):
    """Bring a net that is about to be trained to the state of a `snapshot`."""
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
    torch.set_rng_state(state["random_state"])
    if "cuda_random_state" in state:
        torch.cuda.set_rng_state(state["cuda_random_state"], net.device)


def callback_state(callback):
    """What a callback learned: attributes whose name ends in an underscore."""
    return {
        name: value.state_dict() if hasattr(value, "state_dict") else value
        for name, value in vars(callback).items()
        if name.endswith("_") and not isinstance(value, type)
    }


def describe(name, value):
    """A string that is equal for equal values: JSON, or for arrays a fingerprint."""
    if isinstance(value, np.ndarray):
        arrays, text = [value], f"{value.dtype} {list(value.shape)}"
    else:
        tensors = {}
        text = json.dumps(files.encode(value, tensors, name))
        if not tensors:
            return text
        arrays = tensors.values()
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        for row in np.atleast_1d(array):  # large or memory-mapped: never copied whole
            digest.update(np.ascontiguousarray(row))
    return digest.hexdigest()[:16]
