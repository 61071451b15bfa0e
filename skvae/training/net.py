"""The skorch net that trains a `ConvVAE`."""

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
from skvae.model.network import ConvVAE
from skvae.model.objective import Objective, Terms
from skvae.threads import forked_random_state, marked_interrupts, plain_torch


class Adam(torch.optim.Adam):
    """PyTorch's Adam without compiler wrappers, which take a second to load."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class VAENet(NeuralNet):
    """skorch net whose target is its input, and whose criterion is an `Objective`.

    `kl_warmup` is the fraction of training in which beta rises from 0. A net that is
    not to train may have ``optimizer=None``.
    """

    memory_ = None  # `Memory` of the signals seen so far
    tasks = None  # `FitTasks` during training
    stops = False  # whether a callback asked to stop

    def __init__(self, module, criterion, *, kl_warmup=0.0, **kwargs):
        super().__init__(module, criterion, **kwargs)
        self.kl_warmup = kl_warmup

    @property
    def _default_callbacks(self):
        return []

    def initialize_optimizer(self, *args, **kwargs):
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
        return X  # (train, valid)

    def train(self, parts):
        """skorch's `partial_fit` on the pair (train, valid), but Ctrl-C raises."""
        interruption = None
        # Afterwards glibc keeps the memory of a step for the next one (mallopt(3),
        # M_MMAP_THRESHOLD). This tensor is never touched, and takes no memory.
        torch.empty(31 * 2**20, dtype=torch.uint8)
        with marked_interrupts():
            self.notify("on_train_begin", X=parts, y=None)
            try:
                self.fit_loop(parts, epochs=self.max_epochs - len(self.history))
            except KeyboardInterrupt as error:
                if hasattr(error, "from_signal") or not self.stops:
                    interruption = error
            finally:
                self.tasks, self.stops = None, False
            self.notify("on_train_end", X=parts, y=None)
        if interruption is not None:
            raise KeyboardInterrupt(
                f"fit was interrupted in epoch {len(self.history)}; the estimator is "
                "as it was before."
            ) from interruption
        if "train_loss" not in self.history[-1]:  # stopped before its first step
            del self.history[-1]
        # The loss of an epoch does not depend on its last step.
        if not all(w.isfinite().all() for w in self.module_.state_dict().values()):
            raise self.divergence("A weight became infinite or NaN")

    def run_single_epoch(self, iterator, training, prefix, step_fn):
        """skorch's epoch, but terms are summed on the device and read once."""
        if iterator is None:
            return
        dataset, n_samples = iterator.dataset, 0
        options = {"share": dataset.share, "label_factor": dataset.label_factor}
        n_terms = 3 + self.module__latent_dim
        total = torch.zeros(n_terms, dtype=torch.float32, device=self.device)
        for i, batch in enumerate(iterator):
            if training:
                options["warmup"] = self.warmup(i / len(iterator))
            self.notify("on_batch_begin", batch=batch, training=training)
            if training and self.stops and n_processes() == 1:
                break  # a group stops together, after the epoch
            step = step_fn(batch, **options)
            total = total + len(batch[0]) * torch.hstack(step.pop("terms")).detach()
            n_samples += len(batch[0])
            self.history.record_batch(prefix + "_batch_size", len(batch[0]))
            self.notify("on_batch_end", batch=batch, training=training, **step)
        if training:
            if self.stops and not n_samples:
                raise KeyboardInterrupt
            average_batch_norm(self.module_, dataset.share)
        mean = sum_over_processes(dataset.share * (total / max(1, n_samples))).cpu()
        self.record_terms(prefix, Terms(*mean[:3], mean[3:]))

    def warmup(self, share_of_epoch):
        """Factor of beta, from 0 to 1, after a share of the epoch."""
        if not self.kl_warmup:
            return 1.0
        progress = (len(self.history) - 1 + share_of_epoch) / self.max_epochs
        return torch.tensor(min(1.0, progress / self.kl_warmup), dtype=torch.float32)

    def train_step_single(self, batch, share, **options):
        """skorch's step, with mean gradients over processes."""
        if not self.module_.training:  # each call walks through all layers
            self.module_.train()
        step = self.evaluate(batch, **options)
        step["loss"].backward()
        average_gradients(self.module_.parameters(), share)
        return step

    @torch.no_grad()
    def validation_step(self, batch, share, **options):
        self.module_.eval()
        return self.evaluate(batch, **options)

    def evaluate(self, batch, label_factor, warmup=1.0):
        """Loss in nats per sample, network output and `Terms` of a batch."""
        h, targets = batch
        output = self.module_(h)
        terms = self.criterion_(output, *targets)
        if n_processes() > 1:
            terms = terms._replace(label=label_factor * terms.label)
        loss = self.criterion_.loss(terms, warmup)
        return {"loss": loss, "y_pred": output, "terms": terms}

    def record_terms(self, prefix, terms):
        """Write the `Terms` of an epoch to the history, in nats per sample."""
        reconstruction = self.criterion_.reconstruction(*terms[:2])
        record = {
            "loss": float(self.criterion_.loss(terms)),
            "reconstruction": float(reconstruction),
            "kl": float(terms.kl_per_dim.sum()),
            "label": float(terms.label),
            "kl_per_dim": terms.kl_per_dim.tolist(),
        }
        if not math.isfinite(record["loss"]):
            raise self.divergence(f"The loss became {record['loss']}")
        for name, value in record.items():
            self.history.record(f"{prefix}_{name}", value)

    def divergence(self, what):
        return FloatingPointError(
            f"{what} in epoch {len(self.history)}. Lower lr (now {self.lr}), or scale "
            "X: scale='standard' suits most data."
        )

    def notify(self, method_name, **kwargs):
        """skorch's, but a KeyboardInterrupt in a callback ends the epoch in order."""
        is_training = method_name not in ("on_train_begin", "on_train_end")
        getattr(self, method_name)(self, **kwargs)
        for name, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as error:
                is_stopping = isinstance(callback, EarlyStopping)
                can_stop = is_stopping or not is_own(name, callback)
                if hasattr(error, "from_signal") or not (is_training and can_stop):
                    raise
                self.stops = True

    def on_train_begin(self, net, **kwargs):
        if n_processes() > 1:  # each has its own dropout
            torch.manual_seed(torch.initial_seed() + rank())

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
                self.stops = self.tasks.end_epoch() or self.stops

    def on_train_end(self, net, **kwargs):
        # Only training needs these, and pickles would hold them.
        self.forget_batches()
        self.optimizer_.zero_grad()
        for _, callback in self.callbacks_:
            if isinstance(callback, LRScheduler):
                callback.lr_scheduler_ = None

    def forget_batches(self):
        if self.history:
            self.history[-1]["batches"] = []

    def epoch_rows(self):
        """The history without batches, a list with one dict for each epoch."""
        return [
            {name: value for name, value in row.items() if name != "batches"}
            for row in self.history
        ]

    def epochs(self):
        """The history as a dict of arrays with one value for each epoch."""
        rows = self.epoch_rows()
        names = rows[0] if rows else ()
        return {name: np.array([row[name] for row in rows]) for name in names}

    def best_epoch(self):
        """Number, from 1, of the epoch whose weights the module has."""
        for _, callback in self.callbacks_:
            is_stopping = isinstance(callback, EarlyStopping) and callback.load_best
            if is_stopping and getattr(callback, "best_epoch_", None):
                return callback.best_epoch_
        return len(self.history)

    def start_from(self, net):
        """Copy the weights of a net, and the state, not lr, of an equal optimizer."""
        self.module_.load_state_dict(net.module_.state_dict())
        if type(self.optimizer_) is type(net.optimizer_):
            own_options = self.optimizer_.state_dict()["param_groups"]
            state = net.optimizer_.state_dict() | {"param_groups": own_options}
            load_optimizer(self.optimizer_, state)

    def params_of(self, *prefixes):
        """Parameters whose names start with one of the prefixes."""
        params = self.get_params(deep=False).items()
        return {name: value for name, value in params if name.startswith(prefixes)}

    @classmethod
    def restored(cls, params, weights, history):
        """A net to evaluate, with these parameters, weights and rows of a history."""
        options = {"train_split": None, "verbose": 0, "optimizer": None}
        net = cls(ConvVAE, Objective, **options | params)
        with forked_random_state(0):  # of weights that are then replaced
            net.initialize()
        net.module_.load_state_dict(weights)
        net.module_.eval()
        net.history.extend(history)
        return net

    def __getstate__(self):
        # Plain values, which skops can check: skorch's state has a pickle inside.
        # Without signals, and without the optimizer's state, twice the weights.
        weights = self.module_.state_dict()
        return {
            "params": self.params_of("module__", "criterion__"),
            "weights": {name: w.numpy(force=True) for name, w in weights.items()},
            "history": self.epoch_rows(),
            "callbacks": [pair for pair in self.callbacks_ if not is_own(*pair)],
        }

    @plain_torch()
    def __setstate__(self, state):
        if "weights" not in state:  # of skorch, in pickles of older versions
            return super().__setstate__(state)
        # An array may be a memory map that cannot be written to: hence a copy.
        weights = {name: torch.tensor(w) for name, w in state["weights"].items()}
        other = self.restored(state["params"], weights, state["history"])
        vars(self).update(vars(other) | {"callbacks_": state["callbacks"]})

    @plain_torch()
    def __deepcopy__(self, memo):
        # A pickle would be without the optimizer's state.
        memo[id(self)] = other = self.copy_with()
        vars(other).update(copy.deepcopy(vars(self), memo))
        return other

    def as_it_is_now(self):
        """A copy to evaluate while this net trains on."""
        return self.copy_with(
            module_=copy.deepcopy(self.module_),
            history_=copy.copy(self.history_),
            optimizer_=None,
            callbacks_=[],
            tasks=None,
        )

    def copy_with(self, **attributes):
        other = self.__new__(type(self))
        vars(other).update(vars(self) | attributes)
        return other

    def to(self, device):
        """Move the module to a device. The optimizer's state moves in the next fit."""
        if torch.device(device) != torch.device(self.device):
            with plain_torch():
                self.module_.to(device)
            self.device = str(device)
        return self


def is_own(name, callback):
    """Whether a fitted callback is a default one, which only training needs."""
    return name == "lr_schedule" or type(callback).__module__.startswith("skvae.")


def load_optimizer(optimizer, state):
    """Give the optimizer a copy of a state in the memory formats of its parameters."""
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if torch.is_tensor(value):
                # A fused optimizer expects the memory format of the parameter.
                like = parameter if value.shape == parameter.shape else value
                own = torch.empty_like(like, dtype=value.dtype, device=value.device)
                values[name] = own.copy_(value)
