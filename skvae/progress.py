"""One bar over many fits, those in other processes included."""

import os
import shutil
import sys
import tempfile
import threading
from functools import partial

from tqdm import tqdm  # skorch needs it too


class Progress:
    """A bar that says what is done and how long it takes; in a pipe, a line a stage.

    Steps done are bytes of a temporary file, which other processes can append to: a
    `GridSearchCV` with ``scoring=progress.scoring`` appends one for each fit.
    """

    def __init__(self, n_steps):
        self.n_steps = n_steps

    def __enter__(self):
        handle, self.path = tempfile.mkstemp(prefix="skvae-")
        os.close(handle)
        self.scoring = partial(score_and_count, self.path)
        self.bar = tqdm(
            total=self.n_steps,
            disable=None,  # where stderr is no terminal
            leave=False,
            smoothing=0,
            ncols=min(100, shutil.get_terminal_size().columns),
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left",
        )
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        self.watcher.join()
        self.bar.close()
        os.remove(self.path)

    def stage(self, text):
        """Say what comes now."""
        if self.bar.disable:
            print(f"{text} ...", file=sys.stderr, flush=True)
        else:
            self.bar.set_description_str(text)

    def step(self):
        count(self.path)

    def watch(self):
        """Also when no step ends, for the clock."""
        while not self.ended.wait(0.2):
            self.bar.n = os.path.getsize(self.path)
            self.bar.refresh()


def score_and_count(path, estimator, X, y):
    """The score of an estimator that was fitted just now: one step more is done."""
    score = estimator.score(X, y)
    count(path)
    return score


def count(path):
    with open(path, "ab") as file:
        file.write(b".")
