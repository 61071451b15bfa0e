"""Callbacks: the schedule, early stopping and progress by skorch; scikit-learn's."""

import logging
import math
import shutil
import sys
import time
from datetime import timedelta

import numpy as np
from skorch.callbacks import Callback, EarlyStopping

from skvae.distributed import n_processes

LOGGER = logging.getLogger("skvae")


def one_cycle(step, n_steps, min_rise=1):
    """Factor of the learning rate: up within a tenth of the steps, down as a cosine.

    It rises within `min_rise` steps at least.

    References
    ----------
    Smith & Topin (2019), https://arxiv.org/abs/1708.07120
    """
    progress = step / n_steps
    rise = min(1.0, 10 * progress + 0.02, (step + 1) / min_rise)
    return rise * 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - 0.1) / 0.9)))


class WarmEarlyStopping(EarlyStopping):
    """skorch's early stopping, once the KL warm-up is over."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) / net.max_epochs >= net.kl_warmup:
            super().on_epoch_end(net, **kwargs)


class Progress(Callback):
    """Print the ELBO and its terms, in nats per sample, and the time left.

    A terminal has one line that updates; a pipe, a file or a notebook, where lines
    stay, has one for each tenth of the epochs. Lines that stay are logged, at INFO.

    Parameters
    ----------
    verbose : int
        0: log only; 2: a line that stays for each epoch.
    """

    def __init__(self, verbose=1):
        self.verbose = verbose

    def on_train_begin(self, net, **kwargs):
        self.start_ = time.perf_counter()
        self.updates_ = self.verbose == 1 and sys.stdout.isatty()
        self.n_epochs_ = self.n_shown_ = 0  # of this run, not of a checkpoint's

    def on_epoch_begin(self, net, **kwargs):
        self.n_epochs_ += 1

    def on_epoch_end(self, net, **kwargs):
        epoch, n_epochs = len(net.history), net.max_epochs
        is_tenth = 10 * epoch // n_epochs > 10 * (epoch - 1) // n_epochs
        stays = self.verbose > 1 or is_tenth
        if (stays or self.updates_) and not net.stops:
            self.show(net, n_epochs - epoch, stays)

    def on_train_end(self, net, **kwargs):
        # A callback makes an epoch the last, of which Ctrl-C leaves no row.
        if self.n_shown_ < self.n_epochs_ and "train_loss" in net.history[-1]:
            self.show(net, 0, True)
        if self.updates_ and self.n_shown_:
            print()

    def show(self, net, n_left, stays):
        row = net.history[-1]
        columns = {
            "ELBO": -(row["train_reconstruction"] + row["train_kl"]),
            "reconstruction": row["train_reconstruction"],
            "KL": row["train_kl"],
        }
        if net.criterion_.label_weight:
            columns["label"] = row["train_label"]
        if "valid_kl" in row:
            columns["valid ELBO"] = -(row["valid_reconstruction"] + row["valid_kl"])
        seconds = (time.perf_counter() - self.start_) / self.n_epochs_ * n_left
        cells = {
            "epoch": f"{len(net.history)}/{net.max_epochs}",
            **{name: f"{value:.2f}" for name, value in columns.items()},
            "time left": str(timedelta(seconds=round(seconds))),
        }
        if stays:
            LOGGER.info(", ".join(f"{name} {cell}" for name, cell in cells.items()))
        if self.verbose:
            widths = [max(9, len(name)) for name in cells]
            line = " ".join(map(str.rjust, cells.values(), widths))
            if not self.n_shown_:
                print(*map(str.rjust, cells, widths))
            if self.updates_:  # longer than the terminal is wide, it would not update
                line = "\r" + line[: shutil.get_terminal_size().columns - 1]
            print(line, end="" if self.updates_ else "\n", flush=True)
        self.n_shown_ = self.n_epochs_


class FitTasks:
    """A fit, and each of its epochs, as tasks of scikit-learn's callbacks.

    Parameters
    ----------
    context : CallbackContext
    estimator, X, y
        As `fit` got them. Without y its place is taken by -1, unlabelled: a
        `ScoringMonitor` does not score without.
    """

    finish = None  # gives the fitted attributes, were the fit to stop here

    def __init__(self, context, estimator, X, y):
        y = np.full(len(X), -1) if y is None else y
        self.context = context
        self.given = {"estimator": estimator, "X": X, "y": y}

    def begin(self, n_epochs):
        self.context.max_subtasks = n_epochs
        self.context.call_on_fit_task_begin(**self.given)

    def end(self):
        self.context.call_on_fit_task_end(**self.given, reconstruction_attributes={})

    def begin_epoch(self):
        self.epoch = self.context.subcontext("epoch")
        self.epoch.call_on_fit_task_begin(**self.given)

    def end_epoch(self):
        """Whether a callback asks to stop."""
        # To finish the fit, all processes of a group would have to join in.
        finish = self.finish if n_processes() == 1 else None
        return self.epoch.call_on_fit_task_end(
            **self.given, reconstruction_attributes=finish
        )
