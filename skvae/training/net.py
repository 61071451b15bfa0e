"""The skorch net that trains a `ConvVAE`, whose target is its input."""

import copy
import inspect
import math

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, LRScheduler

from skvae.distributed import (
    average_batch_norm,
    average_gradients,
    from_all,
    n_processes,
    rank,
    shared_errors,
    sum_over_processes,
)
from skvae.threads import marked_interrupts, plain_torch

# Callbacks of skvae's own: what interrupts them is no wish to stop.
NEVER_STOP = {"lr_schedule", "progress", "checkpoint"}


class Adam(torch.optim.Adam):
    """PyTorch's, without what is around its methods for PyTorch's compiler.

    Nothing here is compiled, but the first call of each such method would load the
    compiler, which takes a fresh process a second or more. A method that has nothing
    around it, in another version of PyTorch, is the method itself.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class VAENet(NeuralNet):
    """skorch net whose target is its input.

    Parameters
    ----------
    kl_warmup : float
        Fraction of training over which beta ramps up from 0.
    **kwargs
        As for `skorch.NeuralNet`; the criterion is an `Objective`. `optimizer` may be
        None, of a net that is not trained.
    """

    memory_ = None  # `Memory` of the signals seen so far
    tasks = None  # `FitTasks`, while it trains
    stops = False  # whether a callback asked to

    def __init__(self, module, criterion, *, kl_warmup=0.0, **kwargs):
        super().__init__(module, criterion, **kwargs)
        self.kl_warmup = kl_warmup

    @property
    def _default_callbacks(self):
        return []

    def initialize_optimizer(self, *args, **kwargs):
        """skorch's, but there may be none, and PyTorch's Adam is ours."""
        if self.optimizer is None:
            self.optimizer_ = None
            return self
        if self.optimizer is not torch.optim.Adam:
            return super().initialize_optimizer(*args, **kwargs)
        parameters = self.get_all_learnable_params()
        groups, options = self.get_params_for_optimizer("optimizer", parameters)
        self.optimizer_ = Adam(*groups, **options)
        return self

    def get_split_datasets(self, X, y=None, **fit_params):
        """The pair (train, valid) that `X` is; without valid, skorch's split."""
        train, valid = X
        if valid is None and self.train_split:
            # torch's Subsets, whose samples would be read one by one.
            parts = super().get_split_datasets(train, y)
            if not all(hasattr(part, "indices") for part in parts):
                raise ValueError(
                    "net_params has a 'train_split' that gives signals of its own. "
                    "Expected one of X, such as skorch.dataset.ValidSplit."
                )
            train, valid = (train.subset(torch.as_tensor(p.indices)) for p in parts)
        return train, valid

    def _set_training(self, training=True):
        # skorch walks through all layers, before each batch.
        if self.module_.training != training:
            super()._set_training(training)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The `Objective` of the output, in nats per sample.

        `y_true` is (x,) or (x, y); `X`, what the encoder read, is not used.
        """
        terms = self.criterion_(y_pred, *y_true)
        if n_processes() > 1:  # labels may lie with some of them
            terms = terms.clone()
            terms[2] *= self.label_factor_
        self.terms_ = terms.detach()
        warmup = self.warmup_ if training and self.kl_warmup else 1.0
        return self.criterion_.loss(terms, warmup)

    def run_single_epoch(self, iterator, training, prefix, step_fn):
        """skorch's epoch, with the terms added up on the device and read once."""
        if iterator is None:
            return
        total, n_samples = 0.0, 0
        self.share_ = len(iterator.dataset) / iterator.dataset.n_all
        self.label_factor_ = iterator.dataset.label_factor
        for i, batch in enumerate(iterator):
            if training and self.kl_warmup:
                n_epochs = len(self.history) - 1 + i / len(iterator)
                progress = n_epochs / self.max_epochs
                self.warmup_.fill_(min(1.0, progress / self.kl_warmup))
            self.notify("on_batch_begin", batch=batch, training=training)
            if training and self.stops and n_processes() == 1:
                break  # a group stops together, after the epoch
            step = step_fn(batch)
            total = total + len(batch[0]) * self.terms_
            n_samples += len(batch[0])
            self.history.record_batch(prefix + "_batch_size", len(batch[0]))
            self.notify("on_batch_end", batch=batch, training=training, **step)
        if training:
            if self.stops and not n_samples:
                raise KeyboardInterrupt
            average_batch_norm(self.module_, self.share_)
        mean = total / n_samples if n_samples else torch.zeros_like(self.terms_)
        self.record_terms(prefix, sum_over_processes(self.share_ * mean).cpu())

    def record_terms(self, prefix, terms):
        """Write the terms of an epoch to the history, in nats per sample."""
        (distortion, n_measured, label), kl_per_dim = terms[:3], terms[3:]
        reconstruction = self.criterion_.reconstruction(distortion, n_measured)
        record = {
            "loss": float(self.criterion_.loss(terms)),
            "reconstruction": float(reconstruction),
            "kl": float(kl_per_dim.sum()),
            "label": float(label),
            "kl_per_dim": kl_per_dim.tolist(),
        }
        if not math.isfinite(record["loss"]):
            raise self.divergence(f"The loss became {record['loss']}")
        for name, value in record.items():
            self.history.record(f"{prefix}_{name}", value)

    def fit_loop(self, X, y=None, epochs=None, **kwargs):
        """skorch's, for the epochs that a restored history leaves to do."""
        self.interrupted_ = False
        # glibc then keeps what a step frees for the next one, up to 64 MB, instead of
        # returning it to the system (mallopt(3), M_MMAP_THRESHOLD): the thread's final
        # network at batch 256 takes 94 ms a step, 112 without. Never touched, it takes
        # no memory.
        torch.empty(31 * 2**20, dtype=torch.uint8)
        try:
            n_left = self.max_epochs - len(self.history)
            return super().fit_loop(X, y, n_left, **kwargs)
        except KeyboardInterrupt as error:
            self.interrupted_ = is_interruption(error) or not self.stops
            raise
        finally:
            self.tasks, self.stops = None, False

    def notify(self, method_name, **kwargs):
        """skorch's, but a callback that raises KeyboardInterrupt asks to stop.

        Then the epoch ends as it would have, after fewer steps.
        """
        is_training = method_name not in ("on_train_begin", "on_train_end")
        getattr(self, method_name)(self, **kwargs)
        for name, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as error:
                can_stop = is_training and name not in NEVER_STOP
                if is_interruption(error) or not can_stop:
                    raise
                self.stops = True

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """skorch's, but a Ctrl-C is not taken for early stopping: it is raised."""
        with marked_interrupts():
            super().partial_fit(X, y, classes, **fit_params)
        if self.interrupted_:
            raise KeyboardInterrupt(
                f"fit was interrupted in epoch {len(self.history)}; the estimator is "
                "as it was before."
            )
        if "train_loss" not in self.history[-1]:  # stopped before its first step
            del self.history[-1]
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

    def on_grad_computed(self, net, named_parameters, **kwargs):
        average_gradients((p for _, p in named_parameters), self.share_)

    def on_train_begin(self, net, **kwargs):
        if n_processes() > 1:  # not the same dropout in each
            torch.manual_seed(torch.initial_seed() + rank())
        self.warmup_ = torch.zeros((), dtype=torch.float32, device=self.device)

    def on_epoch_begin(self, net, **kwargs):
        if any(from_all(self.stops)):
            self.stops = True
            raise KeyboardInterrupt
        self.forget_batches()
        super().on_epoch_begin(net, **kwargs)
        with shared_errors():
            if self.tasks is not None:
                self.tasks.begin_epoch()

    def on_epoch_end(self, net, **kwargs):
        with shared_errors():
            if self.tasks is not None:
                self.stops = self.tasks.end_epoch()

    def on_train_end(self, net, **kwargs):
        """Let go of what only training needs and pickles would hold."""
        self.forget_batches()
        self.optimizer_.zero_grad()
        for _, callback in self.callbacks_:
            if isinstance(callback, LRScheduler):
                callback.lr_scheduler_ = None

    def forget_batches(self):
        """Drop the batches from the last row of the history; callbacks had them."""
        if self.history:
            self.history[-1]["batches"] = []

    def epoch_rows(self):
        """The history without its batches: a list of one dict an epoch."""
        return [
            {name: value for name, value in row.items() if name != "batches"}
            for row in self.history
        ]

    def epochs(self):
        """The history as a dict of arrays, one value an epoch, in nats per sample."""
        rows = self.epoch_rows()
        names = rows[0] if rows else ()
        return {name: np.array([row[name] for row in rows]) for name in names}

    def best_epoch(self):
        """The epoch, from 1, whose weights the module has."""
        for _, callback in self.callbacks_:
            is_stopping = isinstance(callback, EarlyStopping) and callback.load_best
            if is_stopping and getattr(callback, "best_epoch_", None):
                return callback.best_epoch_
        return len(self.history)

    def start_from(self, net):
        """Take over the weights and, of an equal optimizer, the state; not its lr.

        A net that was pickled or loaded may have no optimizer; the own starts anew.
        """
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
        # Without what only training needs: signals, and the optimizer's state, which is
        # twice the trained weights. Read onto the CPU, which every machine has; the
        # device is resolved when the net is used.
        only_training = ("memory_", "optimizer_", "warmup_", "terms_")
        other = self.__new__(type(self))
        vars(other).update(vars(self) | dict.fromkeys(only_training))
        return super(VAENet, other).__getstate__() | {"device": "cpu"}

    @plain_torch()
    def __setstate__(self, state):
        super().__setstate__(state)

    def as_it_is_now(self):
        """A net to be evaluated while this one trains on: what changes is its own."""
        own = {
            "module_": copy.deepcopy(self.module_),
            "history_": copy.copy(self.history_),
            "optimizer_": None,
            "callbacks_": [],
            "tasks": None,
        }
        other = self.__new__(type(self))
        vars(other).update(vars(self) | own)
        return other

    @plain_torch()
    def __deepcopy__(self, memo):
        # Of everything: what was pickled would be without the optimizer's state.
        memo[id(self)] = other = self.__new__(type(self))
        vars(other).update(copy.deepcopy(vars(self), memo))
        return other

    def to(self, device):
        """Move module and optimizer state to a device, and say so in `device`."""
        if torch.device(device) != torch.device(self.device):
            self._move(device)
        return self

    @plain_torch()
    def _move(self, device):
        self.module_.to(device)
        states = self.optimizer_.state if self.optimizer_ is not None else {}
        for state in states.values():
            for name, value in state.items():
                if torch.is_tensor(value) and value.ndim:
                    state[name] = value.to(device)
        self.device = str(device)


def is_interruption(error):
    """Whether a KeyboardInterrupt is of a signal, see `marked_interrupts`."""
    return getattr(error, "from_signal", False)


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
