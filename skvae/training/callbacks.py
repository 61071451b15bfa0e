"""Callbacks of skorch for schedule, stopping and progress; tasks for scikit-learn's."""

import logging
import math
import time
from datetime import timedelta

import numpy as np
from skorch.callbacks import Callback, EarlyStopping

from skvae.distributed import n_processes

LOGGER = logging.getLogger("skvae")


def one_cycle(step, n_steps, min_rise=1):
    """Factor of the learning rate: a rise in a tenth of the steps, then a cosine.

    See Smith and Topin (2019), https://arxiv.org/abs/1708.07120.
    """
    progress = step / n_steps
    rise = min(1.0, 10 * progress + 0.02, (step + 1) / min_rise)
    return rise * 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - 0.1) / 0.9)))


class WarmEarlyStopping(EarlyStopping):
    """skorch's early stopping, after the KL warm-up."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) / net.max_epochs >= net.kl_warmup:
            super().on_epoch_end(net, **kwargs)


class Progress(Callback):
    """Log the ELBO and its terms, in nats per sample, and the time left.

    With `verbose` of 1 or 2 it also prints a line for each tenth, or each epoch.
    """

    def __init__(self, verbose=1):
        self.verbose = verbose

    def on_train_begin(self, net, **kwargs):
        self.start_ = time.perf_counter()
        self.n_epochs_ = 0  # without those of a checkpoint

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs_ += 1
        row, epoch, n_epochs = net.history[-1], len(net.history), net.max_epochs
        is_tenth = 10 * epoch // n_epochs > 10 * (epoch - 1) // n_epochs
        if not (is_tenth or self.verbose > 1 or net.stops):
            return
        reconstruction, kl = row["train_reconstruction"], row["train_kl"]
        terms = {"ELBO": -reconstruction - kl, "reconstruction": reconstruction}
        terms["KL"] = kl
        if net.criterion_.label_weight:
            terms["label"] = row["train_label"]
        if "valid_kl" in row:
            terms["valid ELBO"] = -(row["valid_reconstruction"] + row["valid_kl"])
        n_left = 0 if net.stops else n_epochs - epoch
        seconds = (time.perf_counter() - self.start_) / self.n_epochs_ * n_left
        terms = ", ".join(f"{name} {value:.2f}" for name, value in terms.items())
        line = f"epoch {epoch}/{n_epochs}, {terms}, "
        line += f"time left {timedelta(seconds=round(seconds))}"
        LOGGER.info(line)
        if self.verbose:
            print(line, flush=True)


class FitTasks:
    """A fit, and each of its epochs, as tasks of scikit-learn's callbacks.

    `ScoringMonitor` needs a y, so -1, unlabelled, stands for none.
    """

    finish = None  # returns the fitted attributes of the net as it is now

    def __init__(self, context, estimator, X, y):
        y = np.full(len(X), -1) if y is None else y
        self.context = context
        self.given = {"estimator": estimator, "X": X, "y": y}

    def begin(self, n_epochs):
        self.context.max_subtasks = n_epochs
        self.context.call_on_fit_task_begin(**self.given)

    def end(self):
        self.context.call_on_fit_task_end(**self.given, reconstruction_attributes={})
        self.finish = None  # it holds the signals

    def begin_epoch(self):
        self.epoch = self.context.subcontext("epoch")
        self.epoch.call_on_fit_task_begin(**self.given)

    def end_epoch(self):
        """End the task, and return whether a callback asks to stop."""
        # All processes of a group would have to join to finish the fit.
        finish = self.finish if n_processes() == 1 else None
        return self.epoch.call_on_fit_task_end(
            **self.given, reconstruction_attributes=finish
        )
