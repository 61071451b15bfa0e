"""skorch callbacks: the learning rate's schedule, early stopping, progress."""

import math
import shutil
import sys
import time
from datetime import timedelta
from functools import partial

import torch
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.utils import noop


def schedule_callbacks(lr_schedule, n_steps):
    """skorch callbacks that change the learning rate after each step."""
    if lr_schedule is None or not n_steps:
        return []
    scheduler = LRScheduler(
        torch.optim.lr_scheduler.LambdaLR,
        lr_lambda=partial(SCHEDULES[lr_schedule], n_steps=n_steps),
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
    rise = min(1.0, 10 * progress + 0.02)  # the first step is not for nothing
    return rise * 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - 0.1) / 0.9)))


# (step, n_steps) to the factor of the rate; n_steps are those of all `max_epochs`.
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
    """skorch callbacks that print what `verbose` asks for."""
    return [("progress", Progress(verbose > 1))] if verbose else []


class Progress(Callback):
    """Print the ELBO and its terms, in nats per sample, and the time left.

    In a terminal one line that updates; in a pipe, a file or a notebook, where lines
    stay, one for each tenth of the epochs.

    Parameters
    ----------
    every_epoch : bool
        Print a line that stays for each epoch.
    """

    def __init__(self, every_epoch=False):
        self.every_epoch = every_epoch

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
        widths = [max(9, len(name)) for name in cells]
        if not self.n_shown_:
            print(*map(str.rjust, cells, widths))
        line = " ".join(map(str.rjust, cells.values(), widths))
        if self.updates_:  # longer than the terminal is wide, it would not update
            line = "\r" + line[: shutil.get_terminal_size().columns - 1]
        print(line, end="" if self.updates_ else "\n", flush=True)
        self.n_shown_ = self.n_epochs_
