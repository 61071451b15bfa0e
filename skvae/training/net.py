"""The skorch net that trains a `ConvVAE`, whose target is its input."""

import contextlib
import math

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.utils import TeeGenerator, to_tensor
from torch.utils.data import Subset

from skvae.training.callbacks import WarmEarlyStopping
from skvae.training.cuda_graph import StepGraph, side_stream


class VAENet(NeuralNet):
    """skorch net whose target is its input.

    Parameters
    ----------
    kl_warmup : float
        Fraction of training over which beta ramps up from 0.
    cuda_graphs : bool
        Capture training steps on a GPU, see `StepGraph`.
    **kwargs
        As for `skorch.NeuralNet`; the criterion is an `Objective`.
    """

    def __init__(
        self, module, criterion, *, kl_warmup=0.0, cuda_graphs=False, **kwargs
    ):
        super().__init__(module, criterion, **kwargs)
        self.kl_warmup = kl_warmup
        self.cuda_graphs = cuda_graphs

    @property
    def _default_callbacks(self):
        return []

    def get_split_datasets(self, X, y=None, **fit_params):
        """The pair (train, valid) that `X` is; without valid, skorch's split."""
        train, valid = X
        if valid is not None:
            return train, valid
        # skorch's splits are torch's Subsets, whose samples are read one by one.
        return [
            part.dataset.subset(torch.as_tensor(part.indices))
            if isinstance(part, Subset)
            else part
            for part in super().get_split_datasets(train, y, **fit_params)
        ]

    def _set_training(self, training=True):
        # skorch walks through all layers, before each batch.
        if self.module_.training != training:
            super()._set_training(training)

    def train_step(self, batch, **fit_params):
        """A step, on a GPU replayed where it can be."""
        self._set_training(True)
        step = self.step_graph_ or self.plain_train_step
        return step(batch, **fit_params)

    def plain_train_step(self, batch, **fit_params):
        """skorch's step, but without the closure, which only LBFGS needs."""
        self._zero_grad_optimizer()
        step = self.train_step_single(batch, **fit_params)
        self.notify(
            "on_grad_computed",
            named_parameters=TeeGenerator(self.get_all_learnable_params()),
            batch=batch,
            training=True,
        )
        self.optimizer_.step()
        return step

    def train_step_single(self, batch, **fit_params):
        h, target = batch
        output = self.infer(h, **fit_params)
        loss = self.get_loss(output, target, X=h, training=True)
        loss.backward()
        return {"loss": loss, "y_pred": output}

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The `Objective` of the output, in nats per sample.

        `y_true` is x, or with labels (x, y); `X`, what the encoder read, is not used.
        """
        target = y_true if isinstance(y_true, (tuple, list)) else [y_true]
        x, *y = (to_tensor(part, self.device) for part in target)
        terms = self.criterion_(y_pred, x, *y)
        self.terms_ = terms.detach()
        warmup = self.warmup_ if training and self.kl_warmup else 1.0
        return self.criterion_.loss(terms, x[0].numel(), warmup)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """skorch's epoch, with the terms added up on the device and read once."""
        if iterator is None:
            return
        total, n_samples = 0.0, 0
        graph = self.step_graph_ if training else None
        with graph.capturable_optimizer() if graph else contextlib.nullcontext():
            for i, batch in enumerate(iterator):
                if training and self.kl_warmup:
                    n_epochs = len(self.history) - 1 + i / len(iterator)
                    progress = n_epochs / self.max_epochs
                    self.warmup_.fill_(min(1.0, progress / self.kl_warmup))
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch, **fit_params)
                total = total + len(batch[0]) * self.terms_
                n_samples += len(batch[0])
                self.history.record_batch(prefix + "_batch_size", len(batch[0]))
                self.notify("on_batch_end", batch=batch, training=training, **step)
        self.record_terms(prefix, total / n_samples, self.n_values)

    @property
    def n_values(self):
        """Values of a signal, channels times timepoints."""
        return math.prod(self.module_.decoder.shape)

    def record_terms(self, prefix, terms, n_values):
        """Write the terms of an epoch to the history, in nats per sample."""
        terms = terms.cpu()
        record = {
            "loss": float(self.criterion_.loss(terms, n_values)),
            "reconstruction": float(self.criterion_.reconstruction(terms[0], n_values)),
            "kl": float(terms[2:].sum()),
            "label": float(terms[1]),
            "kl_per_dim": terms[2:].tolist(),
        }
        if not math.isfinite(record["loss"]):
            raise self.divergence(f"The loss became {record['loss']}")
        for name, value in record.items():
            self.history.record(f"{prefix}_{name}", value)

    def notify(self, method_name, **kwargs):
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt:
            # skorch's early stopping ends training so: not to be taken for a Ctrl-C.
            self.stopped_early_ = method_name == "on_epoch_end" and any(
                isinstance(callback, EarlyStopping)
                and callback.misses_ == callback.patience
                for _, callback in self.callbacks_
            )
            raise

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """skorch's; without `epochs`, those that a restored history leaves to do."""
        if epochs is None:
            epochs = max(0, self.max_epochs - len(self.history))
        self.interrupted_ = self.stopped_early_ = False
        keep_freed_memory()
        try:
            with side_stream(self):
                return super().fit_loop(X, y, epochs, **fit_params)
        except KeyboardInterrupt:
            self.interrupted_ = not self.stopped_early_
            raise
        finally:  # it holds memory of the GPU
            self.step_graph_ = None

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """skorch's, but a Ctrl-C is not taken for early stopping: it is raised."""
        super().partial_fit(X, y, classes, **fit_params)
        if self.interrupted_:
            raise KeyboardInterrupt(
                f"fit was interrupted in epoch {len(self.history)}; the estimator is "
                "as it was before."
            )
        # The loss of an epoch says nothing about the weights after its last step.
        if not all(w.isfinite().all() for w in self.module_.state_dict().values()):
            raise self.divergence("A weight became infinite or NaN")
        return self

    def divergence(self, what):
        """The error to raise when training diverged."""
        return FloatingPointError(
            f"{what} in epoch {len(self.history)}. Lower lr (now {self.lr}), or scale "
            "X: scale='standard' suits most data."
        )

    def on_train_begin(self, net, **kwargs):
        # A tensor, so that a CUDA graph reads it anew.
        self.warmup_ = torch.zeros((), device=self.device)
        self.step_graph_ = StepGraph(self) if StepGraph.suits(self) else None

    def on_epoch_begin(self, net, **kwargs):
        self.forget_batches()
        super().on_epoch_begin(net, **kwargs)

    def on_train_end(self, net, **kwargs):
        """Let go of what only training needs and pickles would hold."""
        self.forget_batches()
        self.optimizer_.zero_grad()
        self.terms_ = self.warmup_ = None
        for _, callback in self.callbacks_:
            if isinstance(callback, LRScheduler):
                callback.lr_scheduler_ = None

    def forget_batches(self):
        """Drop the batches from the last row of the history; callbacks had them."""
        if self.history:
            self.history[-1]["batches"] = []

    def epochs(self):
        """The history as a dict of arrays, one value an epoch, in nats per sample."""
        rows = self.epoch_rows()
        return {
            name: np.array([row[name] for row in rows])
            for name in (rows[0] if rows else [])
        }

    def epoch_rows(self):
        """The history without its batches: a list of one dict an epoch."""
        return [
            {name: value for name, value in row.items() if name != "batches"}
            for row in self.history
        ]

    def best_epoch(self):
        """The epoch, from 1, whose weights the module has."""
        for _, callback in self.callbacks_:
            if isinstance(callback, WarmEarlyStopping) and callback.best_epoch_:
                return callback.best_epoch_
        return len(self.history)

    def start_from(self, net):
        """Take over the weights and, of an equal optimizer, the state; not its lr."""
        try:
            self.module_.load_state_dict(net.module_.state_dict())
        except RuntimeError as error:
            raise ValueError(
                "The parameters describe another network than the fitted one, which "
                "training should go on from. Restore them, or fit with "
                "warm_start=False."
            ) from error
        if type(self.optimizer_) is type(net.optimizer_):
            own_options = self.optimizer_.state_dict()["param_groups"]
            state = net.optimizer_.state_dict() | {"param_groups": own_options}
            load_optimizer(self.optimizer_, state)
        return self

    def __getstate__(self):
        # Weights are read onto the CPU, which every machine has; the device is
        # resolved when the net is used.
        # What only training needs stays behind, also where it is pickled meanwhile.
        only_training = ("step_graph_", "warmup_", "terms_")
        state = super().__getstate__() | dict.fromkeys(only_training)
        return {**state, "device": "cpu"}

    def to(self, device):
        """Move module and optimizer state to a device, and say so in `device`."""
        if torch.device(device) != torch.device(self.device):
            self.module_.to(device)
            for state in self.optimizer_.state.values():
                for name, value in state.items():
                    if torch.is_tensor(value) and value.ndim:
                        state[name] = value.to(device)
            self.device = str(device)
        return self


def load_optimizer(optimizer, state):
    """Give the optimizer a copy of a state, each tensor laid out as its parameter.

    PyTorch's own loading shares the tensors, and keeps their memory format, which the
    fused implementations expect to be that of the parameter.
    """
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if torch.is_tensor(value):
                like = parameter if value.shape == parameter.shape else value
                own = torch.empty_like(like, dtype=value.dtype, device=value.device)
                values[name] = own.copy_(value)


def keep_freed_memory():
    """Let the C library keep what a step frees, for the next step, up to 64 MB.

    glibc returns large blocks to the system, which then costs a page fault every 4 kB,
    until it has seen a block as large as this one freed (mallopt(3), M_MMAP_THRESHOLD).
    A step of the thread's final network at batch 256 had 6000 to 20 000 page faults
    without, a few hundred with it.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)  # never touched, so it takes no memory
