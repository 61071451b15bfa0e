"""X walks through the input rooms once: it is read, folded, checked, warned about."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skvae import ConvVAETransformer
from skvae.inputs import as_given, columns, containers, long_frames, signals, suspicions

STEPS = ["read", "fold", "check", "warn_of_mistakes"]
ROOMS = [containers, signals, suspicions]
# A room is entered from the rooms on its right alone.
ORDER = [long_frames, columns, suspicions, containers, as_given, signals]

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 2, 24)).cumsum(axis=2)
X[::3, 1, 5:9] = np.nan
PAIRS = pd.MultiIndex.from_product([["heat", "bar"], range(24)])
CONTAINERS = {
    "array": X,
    "list": [*X],
    "frame": pd.DataFrame(X.reshape(40, -1), columns=PAIRS),
    "cells": pd.DataFrame({"heat": [*X[:, 0]], "bar": [*X[:, 1]]}),
}


def walk(call):
    """Names of the functions of a room that another calls, until X has been read.

    And after that, the steps alone: they would be a second walk.
    """
    names = {room.__file__: room for room in ROOMS}
    entered, is_read = [], False

    def record(frame, event, arg):
        nonlocal is_read
        code = frame.f_code
        if event not in ("call", "return") or code.co_filename not in names:
            return
        if event == "return":
            is_read = is_read or code.co_name == "read_signals"
            return
        caller = frame.f_back
        while is_errstate(caller.f_code.co_filename):
            caller = caller.f_back
        is_entry = caller.f_code.co_filename != code.co_filename
        if code.co_name in STEPS or (is_entry and not is_read):
            entered.append(code.co_name)

    sys.setprofile(record)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered


def is_errstate(filename):
    """Whether a file runs functions that `numpy.errstate` decorates."""
    path = Path(filename)
    return "numpy" in path.parts or path.name == "contextlib.py"  # until NumPy 1


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("method", ["fit", "transform", "impute", "score_samples"])
def test_each_room_is_entered_once_and_in_order(method, container):
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0, device="cpu")
    given = CONTAINERS[container]
    if method != "fit":
        vae.fit(given)
    entered = walk(lambda: getattr(vae, method)(given))
    front = "read_signals" if method == "impute" else "check_signals"
    assert entered == [front, *STEPS]


def test_a_second_walk_is_noticed(monkeypatch):
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0, device="cpu").fit(X)
    fill_in = as_given.fill_in

    def read_again(X, values, *arrays):
        return fill_in(X, containers.read(X)[0], *arrays)

    monkeypatch.setattr(as_given, "fill_in", read_again)
    assert walk(lambda: vae.impute(X)) == ["read_signals", *STEPS, "read"]


@pytest.mark.parametrize("room", ORDER)
def test_imports_among_the_rooms_point_one_way(room):
    later = ORDER[ORDER.index(room) :]
    origins = {getattr(value, "__module__", None) for value in vars(room).values()}
    assert not origins & {other.__name__ for other in later if other is not room}
