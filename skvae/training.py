"""Training: the skorch net, batches, seeds, schedules, stopping, devices."""

import contextlib
import copy
import inspect
import math
import shutil
import sys
import threading
import time
import warnings
from collections import Counter
from datetime import timedelta
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.utils import TeeGenerator, noop, to_tensor
from torch.utils.data import Dataset, Subset

LR_SCHEDULES = ("one_cycle",)

# Of torch's global generators; reentrant, since a fit evaluates with draws of its own.
RANDOM_STATE_LOCK = threading.RLock()

# Learning rate of the linear maps, which start at their optimum, as a share of `lr`.
LINEAR_LR = 0.1

# Steps of max_epochs="auto", for each root of the number of samples: classes take
# longer to learn than shapes.
AUTO_STEPS = 25
LABEL_STEPS = 75

# Share of a batch that is labelled, where less of the data is; and how often a labelled
# signal comes in an epoch for that, at most.
LABELLED_SHARE = 0.75
MAX_REPEATS = 10

# Signals up to this size are kept scaled for training on a CPU.
RESIDENT_BYTES = 2**27
# Values scaled at a time.
READ_VALUES = 2**20

# Smaller batches take other matrix kernels, whose last bit differs.
MIN_INFERENCE_BATCH = 16
# Values per inference batch: what stays in the cache of a core, or keeps a GPU busy.
INFERENCE_VALUES = {"cpu": 2**17, "cuda": 2**23}


class SignalDataset(Dataset):
    """Scaled signals on the device where they fit, else read and scaled in batches.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_channels, n_timepoints)
        In memory or on disk.
    scaler : ChannelScaler
    y : ndarray of shape (n_samples, n_classes), optional
        Class probabilities, a row of zeros for an unlabelled sample.
    device : str
    """

    def __init__(self, X, scaler, y=None, device="cpu"):
        self.X = X
        self.scaler = scaler
        self.device = torch.device(device)
        self.x = self._read_all() if self._fits() else None
        # Where the signals are read: rows on a GPU would have to be waited for.
        home = "cpu" if self.x is None else self.device
        self.rows = torch.arange(len(X), device=home)
        self.y = None if y is None else torch.from_numpy(y).to(home)

    def _fits(self):
        limit = RESIDENT_BYTES
        if self.device.type == "cuda":
            limit = free_cuda_memory(self.device) // 2
        return 4 * self.X.size <= limit

    def _read_all(self):
        x = torch.empty(self.X.shape, device=self.device)
        n_rows = max(1, READ_VALUES // self.X[0].size)
        for start in range(0, len(x), n_rows):
            rows = slice(start, start + n_rows)
            x[rows] = torch.from_numpy(self.scaler.transform(self.X[rows]))
        return x

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        """Scaled x, (c, t) or (b, c, t) as `index` is a number or a tensor, and y.

        Without labels y is x: the target of an autoencoder.
        """
        rows = self.rows[index]
        if self.x is None:
            x = torch.from_numpy(self.scaler.transform(self.X[rows.numpy()]))
            x = to_device(x, self.device)
            return x, x if self.y is None else to_device(self.y[rows], self.device)
        x = self.x[rows]
        return x, x if self.y is None else self.y[rows]

    def is_labelled(self):
        """Mask of the samples that have a label, a Tensor; None without labels."""
        return None if self.y is None else self.y[self.rows].any(dim=1).cpu()

    def split(self, n_first):
        """Two random parts of the dataset, the first of `n_first` samples."""
        order = torch.randperm(len(self)).to(self.rows.device)
        return self.subset(order[:n_first]), self.subset(order[n_first:])

    def subset(self, index):
        """The samples at `index`, a Tensor of int, of the same signals."""
        part = copy.copy(self)
        part.rows = self.rows[index]
        return part

    def sample(self, max_values):
        """Scaled signals (n, c, t), all or random ones of `max_values` values at most.

        At least 256 of them, however long they are. An ndarray of float32.
        """
        size = max(256, max_values // self.X[0].size)
        rows = self.rows.cpu()
        if size < len(self):
            rows = rows[torch.randperm(len(self))[:size]].sort().values
        return self.scaler.transform(self.X[rows.numpy()])


def to_device(values, device):
    """Tensor in main memory to a device; to a GPU while that computes."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def free_cuda_memory(device):
    """Bytes free on a GPU, with what PyTorch keeps there for its next tensors."""
    with torch.cuda.device(device):  # torch 2.4 takes no "cuda" without a number
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return torch.cuda.mem_get_info()[0] + kept


class Batches:
    """Iterate over a `SignalDataset` in batches that are sliced, not collated.

    No sample is dropped and no batch holds a single one, which BatchNorm refuses: a
    remainder of 1 joins the batch before it. But where only some samples are labelled,
    shuffled batches are `balanced_order`'s.

    Parameters
    ----------
    dataset : SignalDataset
    batch_size : int
    shuffle : bool
        By torch's global generator, as all that is random here.
    mixup : float
        Beta(mixup, mixup) weights of the random pairs that signals and labels are
        mixed of; 0 mixes nothing.
    shift : int
        Time steps that each signal is shifted at random, at most, either way.

    References
    ----------
    Zhang et al. (2018), mixup, https://arxiv.org/abs/1710.09412
    """

    def __init__(self, dataset, batch_size, shuffle=False, mixup=0.0, shift=0):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.mixup = mixup
        self.shift = shift

    def __len__(self):
        return n_batches(len(self.dataset), self.batch_size)

    def __iter__(self):
        n_samples = len(self.dataset)
        edges = [i * self.batch_size for i in range(len(self))] + [n_samples]
        # Drawn for the whole epoch, on the CPU: the same for each device.
        draws = self.draw()
        for start, stop in pairwise(edges):
            rows, steps, weights = (values[start:stop] for values in draws)
            x, y = self.dataset[rows]
            has_labels = y is not x
            if self.shift:
                x = shift_signals(x, steps)
            if self.mixup:
                x = mix_pairs(x, weights)
                if has_labels:
                    y = mix_pairs(y, weights)
            yield x, y if has_labels else x

    def draw(self):
        """Order of the samples, their shifts and the weights of their mixing."""
        n_samples, device = len(self.dataset), self.dataset.device
        order = torch.arange(n_samples)
        steps, weights = torch.zeros(2, n_samples)
        if self.shuffle:
            order = balanced_order(n_samples, self.dataset.is_labelled())
        if self.shift:
            steps = torch.randint(-self.shift, self.shift + 1, (n_samples,))
        if self.mixup:
            alpha = torch.tensor(float(self.mixup))
            weights = torch.distributions.Beta(alpha, alpha).sample((n_samples,))
        return order.to(self.dataset.rows.device), steps.to(device), weights.to(device)


class VAENet(NeuralNet):
    """skorch net whose target is its input.

    Parameters
    ----------
    input_noise : float
        Standard deviation of the noise on the encoder's input, in units of the root
        mean square error of the batch before.
    kl_warmup : float
        Fraction of training over which beta ramps up from 0.
    **kwargs
        As for `skorch.NeuralNet`; the criterion is an `Objective`.
    """

    def __init__(self, module, criterion, *, input_noise=0.0, kl_warmup=0.0, **kwargs):
        super().__init__(module, criterion, **kwargs)
        self.input_noise = input_noise
        self.kl_warmup = kl_warmup

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
        x, y = batch
        noisy = x
        if self.input_noise:
            noisy = torch.addcmul(x, self.noise_, torch.randn_like(x))
        output = self.infer(noisy, **fit_params)
        if self.input_noise:
            error = (output[0].detach() - x).square().mean().sqrt()
            self.noise_.copy_(self.input_noise * error)
        if y is not x:
            y = add_guesses(y, output[-1].detach(), self.guess_weight_)
        loss = self.get_loss(output, y, X=x, training=True)
        loss.backward()
        return {"loss": loss, "y_pred": output}

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """The `Objective` of the output for the target X, in nats per sample."""
        x = to_tensor(X, self.device)
        terms = self.criterion_(y_pred, x, to_tensor(y_true, self.device))
        self.terms_ = terms.detach()
        warmup = self.warmup_ if training and self.kl_warmup else 1.0
        return self.criterion_.loss(terms, x[0].numel(), warmup)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """skorch's epoch, with the terms added up on the device and read once."""
        if iterator is None:
            return
        total, n_samples = 0.0, 0
        self.noise_.zero_()  # an epoch depends on nothing but the weights
        graph = self.step_graph_ if training else None
        with graph.capturable_optimizer() if graph else contextlib.nullcontext():
            for i, batch in enumerate(iterator):
                if training:
                    n_epochs = len(self.history) - 1 + i / len(iterator)
                    self.set_progress(n_epochs / self.max_epochs)
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch, **fit_params)
                total = total + len(batch[0]) * self.terms_
                n_samples += len(batch[0])
                self.history.record_batch(prefix + "_batch_size", len(batch[0]))
                self.notify("on_batch_end", batch=batch, training=training, **step)
        self.record_terms(prefix, total / n_samples, batch[0][0].numel())

    def set_progress(self, progress):
        """Set what changes with the share of training that is done."""
        if self.kl_warmup:
            self.warmup_.fill_(min(1.0, progress / self.kl_warmup))
        if self.criterion_.label_weight:
            self.guess_weight_.fill_(progress)

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
            with side_stream(self.device):
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
        # Tensors, so that a CUDA graph reads them anew.
        self.noise_, self.guess_weight_, self.warmup_ = torch.zeros(
            3, device=self.device
        )
        self.step_graph_ = StepGraph(self) if StepGraph.suits(self) else None

    def on_epoch_begin(self, net, **kwargs):
        self.forget_batches()
        super().on_epoch_begin(net, **kwargs)

    def on_train_end(self, net, **kwargs):
        """Let go of what only training needs and pickles would hold."""
        self.forget_batches()
        self.optimizer_.zero_grad()
        self.terms_ = self.noise_ = self.guess_weight_ = self.warmup_ = None
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
        only_training = ("step_graph_", "noise_", "guess_weight_", "warmup_", "terms_")
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


class StepGraph:
    """Training steps on a GPU, captured as CUDA graphs and replayed.

    A network this small is bound by the launches of its kernels, of which a graph makes
    one. The first steps are plain ones, on which libraries set themselves up; so are
    those after a callback has changed what a graph keeps. Another size, as of the last
    batch of an epoch, gets a graph of its own once there were so many steps of it that
    it is worth the time. What a step returns is overwritten by the next one.

    References
    ----------
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    N_PLAIN = 3
    N_PLAIN_OTHER = 30

    def __init__(self, net):
        self.net = net
        self.n_plain = Counter()  # by size
        self.captured = {}
        self.kept = None
        self.may_capture = True
        # Read by the graph, written by schedules.
        n_groups = len(net.optimizer_.param_groups)
        self.rates = list(torch.zeros(n_groups, device=net.device))

    @staticmethod
    def suits(net):
        """Whether a step of the net is the same work each time, on a GPU."""
        return (
            torch.device(net.device).type == "cuda"
            and all(
                group.get("fused") and "capturable" in group
                for group in net.optimizer_.param_groups
            )
            and not any(
                type(callback).on_grad_computed is not Callback.on_grad_computed
                for _, callback in net.callbacks_
            )
        )

    @contextlib.contextmanager
    def capturable_optimizer(self):
        """Learning rates as tensors on the device inside, numbers again outside."""
        groups = self.net.optimizer_.param_groups
        for group, rate in zip(groups, self.rates, strict=True):
            group.update(lr=rate.fill_(group["lr"]), capturable=True)
        try:
            yield
        finally:
            for group in groups:
                group.update(lr=float(group["lr"]), capturable=False)

    def options(self):
        """What a graph keeps as it was when it was captured."""
        groups = self.net.optimizer_.param_groups
        # Parameters and rates are read anew, validation switches `training` and back.
        read = {"params", "lr", "capturable", "training"}
        criterion = vars(self.net.criterion_).items()
        return (
            [{k: v for k, v in group.items() if k not in read} for group in groups],
            {k: v for k, v in criterion if k[0] != "_" and k not in read},
            [p.requires_grad for group in groups for p in group["params"]],
        )

    def __call__(self, batch, **fit_params):
        net, (x, y) = self.net, batch
        size = len(x)
        options = self.options()
        if options != self.kept:
            self.kept = options
            self.captured.clear()
            self.n_plain.clear()
        n_plain = self.N_PLAIN_OTHER if self.captured else self.N_PLAIN
        is_due = self.n_plain[size] >= n_plain and size not in self.captured
        if is_due and self.may_capture:
            self.capture(x, y, fit_params)
        if size not in self.captured:
            self.n_plain[size] += 1
            return net.plain_train_step(batch, **fit_params)
        captured = self.captured[size]
        captured.x.copy_(x)
        if y is not x:
            captured.y.copy_(y)
        captured.graph.replay()
        net.terms_ = captured.terms
        return captured.step

    def capture(self, x, y, fit_params):
        """Record a step without running it."""
        own_x = x.clone()
        own_y = own_x if y is x else y.clone()
        graph = torch.cuda.CUDAGraph()
        self.net.optimizer_.zero_grad()  # gradients then belong to the graph
        try:
            with torch.cuda.graph(
                graph,
                stream=torch.cuda.current_stream(),
                capture_error_mode="thread_local",  # other threads may use the GPU
            ):
                step = self.net.plain_train_step((own_x, own_y), **fit_params)
        except RuntimeError as error:
            self.may_capture = False
            self.captured.clear()  # they draw from the generator as it was
            renew_cuda_generator()
            warnings.warn(
                f"A training step could not be captured as a CUDA graph ({error}). "
                "Training goes on without, several times slower.",
                RuntimeWarning,
                stacklevel=2,
            )
        else:
            self.captured[len(x)] = Captured(graph, own_x, own_y, step, self.net.terms_)


class Captured(NamedTuple):
    """A graph, the tensors it reads and those it writes."""

    graph: object
    x: torch.Tensor
    y: torch.Tensor
    step: dict
    terms: torch.Tensor


def renew_cuda_generator():
    """Let the current GPU's generator draw again after a capture that failed.

    It takes itself for still captured, and raises at the next draw:
    https://github.com/pytorch/pytorch/issues/171263. Its state is the same.
    """
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    generator.graphsafe_set_state(generator.clone_state())


class WarmEarlyStopping(EarlyStopping):
    """skorch's early stopping, once the KL warm-up is over."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) / net.max_epochs >= net.kl_warmup:
            super().on_epoch_end(net, **kwargs)


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


class Progress(Callback):
    """Print the ELBO and its terms, in nats per sample, and the time left.

    In a terminal one line that updates; in a pipe, a file or a notebook, where lines
    stay, one for each tenth of the epochs.

    Parameters
    ----------
    every_epoch : bool
        Print a line that stays for each epoch.
    title : str
        Head of the column of epochs: what the run is.
    """

    def __init__(self, every_epoch=False, title="epoch"):
        self.every_epoch = every_epoch
        self.title = title

    def on_train_begin(self, net, **kwargs):
        self.start_ = time.perf_counter()
        self.updates_ = sys.stdout.isatty() and not self.every_epoch
        self.n_epochs_ = self.n_shown_ = 0

    def on_epoch_begin(self, net, **kwargs):
        self.n_epochs_ += 1

    def on_epoch_end(self, net, **kwargs):
        epoch, n_epochs = len(net.history), net.max_epochs
        is_tenth = 10 * epoch // n_epochs > 10 * (epoch - 1) // n_epochs
        if self.every_epoch or self.updates_ or is_tenth:
            self.show(net, n_epochs - epoch)

    def on_train_end(self, net, **kwargs):
        # Early stopping ends the last epoch before it is shown, Ctrl-C before its end.
        if self.n_shown_ < self.n_epochs_ and "train_loss" in net.history[-1]:
            self.show(net, 0)
        if self.updates_ and self.n_shown_:
            print()

    def show(self, net, n_left):
        row = net.history[-1]
        values = {
            "ELBO": -(row["train_reconstruction"] + row["train_kl"]),
            "reconstruction": row["train_reconstruction"],
            "KL": row["train_kl"],
        }
        if net.criterion_.label_weight:
            values["label"] = row["train_label"]
        if "valid_kl" in row:
            values["valid ELBO"] = -(row["valid_reconstruction"] + row["valid_kl"])
        seconds = (time.perf_counter() - self.start_) / self.n_epochs_ * n_left
        cells = {
            self.title: f"{len(net.history)}/{net.max_epochs}",
            **{name: f"{value:.2f}" for name, value in values.items()},
            "time left": str(timedelta(seconds=round(seconds))),
        }
        widths = [max(9, len(name)) for name in cells]
        if not self.n_shown_:
            print(*map(str.rjust, cells, widths))
        line = " ".join(map(str.rjust, cells.values(), widths))
        if self.updates_:  # longer than the terminal is wide, it would not update
            line = "\r" + line[: shutil.get_terminal_size().columns - 1]
        print(line, end="" if self.updates_ else "\n", flush=True)
        self.n_shown_ = self.n_epochs_


def shift_signals(x, steps):
    """x (n, c, t), each shifted by its number of `steps` (n,), its edges repeated."""
    time = torch.arange(x.shape[2], device=x.device)
    sources = (time - steps[:, None, None]).clamp(0, x.shape[2] - 1)
    return x.gather(2, sources.expand_as(x))


def mix_pairs(values, weights):
    """Each of the values (n, ...) mixed with the one before, by weights (n,).

    In batches of random order that is a random one.
    """
    weights = weights.view(-1, *(1,) * (values.ndim - 1))
    return torch.lerp(values.roll(1, dims=0), values, weights)


def add_guesses(y, class_scores, weight):
    """y (n, n_classes) whose rows that lack probability take it from the scores.

    Unlabelled samples so pull the classes apart that the labelled ones suggest. The
    guesses are squared, which makes them bolder, and count `weight` times; in a batch
    without any label they count nothing.

    References
    ----------
    Lee (2013), Pseudo-Label, ICML workshop on challenges in representation learning
    Berthelot et al. (2019), MixMatch (sharpening), https://arxiv.org/abs/1905.02249
    """
    weight = weight * (y.sum() > 0)
    missing = 1 - y.sum(dim=1, keepdim=True)
    return y + weight * missing * (2 * class_scores).softmax(dim=1)


def balanced_order(n_samples, is_labelled=None):
    """`n_samples` samples in random order, by torch's global generator.

    Each of them once. But where fewer than `LABELLED_SHARE` are labelled, these are
    repeated to that share, `MAX_REPEATS` times at most, evenly spread, in the place of
    some of the others.
    """
    order = torch.randperm(n_samples)
    if is_labelled is None or not is_labelled.any():
        return order
    is_labelled = is_labelled[order]
    labelled, others = order[is_labelled], order[~is_labelled]
    n_labelled = min(int(LABELLED_SHARE * n_samples), MAX_REPEATS * len(labelled))
    if n_labelled <= len(labelled):
        return order
    n_rounds = -(-n_labelled // len(labelled))
    rounds = [labelled[torch.randperm(len(labelled))] for _ in range(n_rounds)]
    n_before = torch.arange(n_samples + 1) * n_labelled // n_samples
    takes_labelled = n_before.diff() > 0
    order[takes_labelled] = torch.cat(rounds)[:n_labelled]
    order[~takes_labelled] = others[: n_samples - n_labelled]
    return order


def n_batches(n_samples, batch_size):
    """Number of batches of an epoch; a remainder of 1 joins the batch before it."""
    n_full, remainder = divmod(n_samples, batch_size)
    return max(1, n_full + (remainder > 1 or remainder == batch_size == 1))


def auto_epochs(n_samples, batch_size, with_labels):
    """Epochs of a budget of steps that grows with the root of the data, at least 1."""
    n_steps = (LABEL_STEPS if with_labels else AUTO_STEPS) * math.sqrt(n_samples)
    return max(1, round(n_steps / n_batches(n_samples, batch_size)))


def decoder_gains(decode, z, step=0.1):
    """Squared norm of d decode / d z_k at each z, a Tensor of the shape of z.

    By central differences, exact for a linear decoder, over `step` standard
    deviations of the prior either way: the slope that a neighbour in latent space sees.
    """
    gains = []
    for offset in step * torch.eye(z.shape[1], dtype=z.dtype, device=z.device):
        slope = (decode(z + offset) - decode(z - offset)) / (2 * step)
        gains.append(slope.square().flatten(1).sum(dim=1))
    return torch.stack(gains, dim=1)


def progress_callbacks(verbose, title="epoch"):
    """skorch callbacks that print what `verbose` asks for."""
    return [("progress", Progress(verbose > 1, title))] if verbose else []


def schedule_callbacks(lr_schedule, n_steps):
    """skorch callbacks that change the learning rate after each step."""
    if lr_schedule is None or not n_steps:
        return []
    scheduler = LRScheduler(
        torch.optim.lr_scheduler.LambdaLR,
        lr_lambda=partial(one_cycle, n_steps=n_steps),
        step_every="batch",
        event_name=None,
    )
    return [("lr_schedule", scheduler)]


def one_cycle(step, n_steps):
    """Factor of the learning rate: up within a tenth of the steps, down as a cosine.

    References
    ----------
    Smith & Topin (2019), https://arxiv.org/abs/1708.07120
    """
    progress = step / n_steps
    rise = min(1.0, 10 * progress + 0.02)
    return rise * 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - 0.1) / 0.9)))


def stopping_callbacks(patience):
    """skorch callbacks that stop at the best validation loss and restore it."""
    # The absolute threshold: a relative one has the wrong sign below zero.
    stopping = WarmEarlyStopping(
        monitor="valid_loss",
        patience=patience,
        threshold_mode="abs",
        load_best=True,
        sink=noop,
    )
    return [("early_stopping", stopping)]


def optimizer_params(optimizer, lr, linear_path):
    """skorch's options for the optimizer: fused where it can be, slow linear maps."""
    params = {}
    if "fused" in inspect.signature(optimizer).parameters:
        params["optimizer__fused"] = True
    if linear_path:
        slow = {"lr": LINEAR_LR * lr}
        params["optimizer__param_groups"] = [
            ("encoder.linear.*", slow),
            ("decoder.linear.*", slow),
        ]
    return params


def resolve_device(device, *, training):
    """The torch device that `device` means now, on this machine.

    "auto" is CUDA where there is a GPU. Where there is none, a CUDA device raises in
    training; afterwards it gives the CPU, with a warning, so that what was fitted on
    a GPU works without one.
    """
    has_cuda = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_cuda else "cpu"
    try:
        is_cuda = torch.device(device).type == "cuda"
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not a device of PyTorch. Expected 'auto', 'cpu', "
            "'cuda' or 'cuda:0', for example."
        ) from error
    if is_cuda and not has_cuda:
        message = f"device={device!r}, but PyTorch sees no GPU on this machine."
        if training:
            raise ValueError(f"{message} Use device='auto' or device='cpu'.")
        warnings.warn(f"{message} The CPU is used.", stacklevel=3)
        return "cpu"
    return device


@contextlib.contextmanager
def side_stream(device):
    """On a GPU, a stream of its own inside, as capturing a CUDA graph requires."""
    if torch.device(device).type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        stream = stream_of_training(torch.cuda.current_device())
        outside = torch.cuda.current_stream()
        stream.wait_stream(outside)
        try:
            with torch.cuda.stream(stream):
                yield
        finally:  # memory is given away also where training is interrupted
            outside.wait_stream(stream)


@cache
def stream_of_training(index):
    """The one of a GPU: cuBLAS keeps up to 32 MB of workspace for each stream."""
    return torch.cuda.Stream(index)


def keep_freed_memory():
    """Let the C library keep what a step frees, for the next step, up to 64 MB.

    glibc returns large blocks to the system, which then costs a page fault every 4 kB,
    until it has seen a block as large as this one freed (mallopt(3), M_MMAP_THRESHOLD).
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)  # never touched, so it takes no memory


def draw_seed(random_state):
    """An integer seed; None takes it from the system, not from NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextlib.contextmanager
def forked_random_state(seed, device="cpu"):
    """Seed torch's generators inside, and leave them outside as they were.

    They are the process's: fits in several threads wait for each other.
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with RANDOM_STATE_LOCK, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@torch.inference_mode()
def map_batches(function, read, n_samples, n_values, device):
    """Apply a function of tensors to samples 0 to `n_samples`, a batch at a time.

    Each result depends on its own sample alone, to the last bit: a batch of fewer
    than `MIN_INFERENCE_BATCH` samples is filled up. Where the device runs out of
    memory, the batches are halved.

    Parameters
    ----------
    function : callable
        Tensor of shape (b, ...) on the device to Tensor of shape (b, ...).
    read : callable
        A slice to the samples there, ndarray of float32 of shape (b, ...).
    n_samples, n_values : int
        Number of samples, and of values per sample.
    device : str

    Returns
    -------
    ndarray of shape (n_samples, ...), of the dtype that the function returns
    """
    batch_values = INFERENCE_VALUES.get(
        torch.device(device).type, INFERENCE_VALUES["cpu"]
    )
    batch_size = max(MIN_INFERENCE_BATCH, batch_values // n_values)
    result, start = None, 0
    while start < n_samples:
        batch = read(slice(start, start + batch_size))
        n_read = len(batch)
        if n_read < MIN_INFERENCE_BATCH:
            filled = np.zeros((MIN_INFERENCE_BATCH, *batch.shape[1:]), np.float32)
            filled[:n_read] = batch
            batch = filled
        try:
            output = function(torch.from_numpy(batch).to(device))[:n_read].cpu()
        except torch.cuda.OutOfMemoryError:
            if batch_size <= MIN_INFERENCE_BATCH:
                raise
            batch_size = max(MIN_INFERENCE_BATCH, batch_size // 2)
            continue
        if result is None:
            result = np.empty((n_samples, *output.shape[1:]), output.numpy().dtype)
        result[start : start + n_read] = output.numpy()
        start += n_read
    return result
