"""Callbacks: the schedule, early stopping and progress by skorch; scikit-learn's."""

import logging
import math
import shutil
import sys
import time
from datetime import timedelta
from functools import partial

import numpy as np
import torch
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.utils import noop

from skvae.distributed import n_processes

LOGGER = logging.getLogger("skvae")


def schedule_callbacks(lr_schedule, n_steps, min_rise):
    """skorch callbacks that change the learning rate after each step."""
    if lr_schedule is None or not n_steps:
        return []
    scheduler = LRScheduler(
        torch.optim.lr_scheduler.LambdaLR,
        lr_lambda=partial(SCHEDULES[lr_schedule], n_steps=n_steps, min_rise=min_rise),
        step_every="batch",
        event_name=None,
    )
    return [("lr_schedule", scheduler)]


def one_cycle(step, n_steps, min_rise=1):
    """Factor of the learning rate: up within a tenth of the steps, down as a cosine.

    Up within `min_rise` steps at least.

    References
    ----------
    Smith & Topin (2019), https://arxiv.org/abs/1708.07120
    """
    progress = step / n_steps
    rise = min(1.0, 10 * progress + 0.02, (step + 1) / min_rise)
    return rise * 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - 0.1) / 0.9)))


# (step, n_steps, min_rise) to the factor of the rate; n_steps are those of all
# `max_epochs`.
SCHEDULES = {"one_cycle": one_cycle}


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


class WarmEarlyStopping(EarlyStopping):
    """skorch's early stopping, once the KL warm-up is over."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) / net.max_epochs >= net.kl_warmup:
            super().on_epoch_end(net, **kwargs)


def progress_callbacks(verbose):
    """skorch callbacks that print what `verbose` asks for, and log it."""
    is_heard = verbose or LOGGER.isEnabledFor(logging.INFO)
    return [("progress", Progress(verbose))] if is_heard else []


class Progress(Callback):
    """Print the ELBO and its terms, in nats per sample, and the time left.

    In a terminal one line that updates; in a pipe, a file or a notebook, where lines
    stay, one for each tenth of the epochs. Lines that stay are logged, at INFO.

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
        self.n_epochs_ = self.n_shown_ = 0

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
        cells = {name: f"{value:.2f}" for name, value in columns.items()}
        cells = {"epoch": f"{len(net.history)}/{net.max_epochs}", **cells}
        cells["time left"] = str(timedelta(seconds=round(seconds)))
        if stays:
            LOGGER.info(", ".join(f"{name} {cell}" for name, cell in cells.items()))
        if self.verbose:
            self.write(cells)
        self.n_shown_ = self.n_epochs_

    def write(self, cells):
        widths = [max(9, len(name)) for name in cells]
        if not self.n_shown_:
            print(*map(str.rjust, cells, widths))
        line = " ".join(map(str.rjust, cells.values(), widths))
        if self.updates_:  # longer than the terminal is wide, it would not update
            line = "\r" + line[: shutil.get_terminal_size().columns - 1]
        print(line, end="" if self.updates_ else "\n", flush=True)


class FitTasks:
    """What scikit-learn's callbacks, those of `sklearn.callback`, are told of a fit.

    Its task has one of each epoch below it.

    Parameters
    ----------
    context : CallbackContext
    estimator, X, y
        As `fit` got them. Without y its place is taken by -1, unlabelled, for a
        `ScoringMonitor` does not score without.
    attributes : callable
        Makes a dict of fitted attributes of what was `Fitted`.
    """

    def __init__(self, context, estimator, X, y, attributes):
        y = np.full(len(X), -1) if y is None else y
        self.context = context
        self.given = {"estimator": estimator, "X": X, "y": y}
        self.attributes = attributes
        self.finish = None  # makes what is `Fitted` if the fit stops here

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
        fitted = self._fitted_so_far if n_processes() == 1 else None
        return self.epoch.call_on_fit_task_end(
            **self.given, reconstruction_attributes=fitted
        )

    def _fitted_so_far(self):
        return self.attributes(self.finish())
