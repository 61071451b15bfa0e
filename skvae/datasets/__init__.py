"""Signals to learn on: recorded ones and made-up ones."""

from skvae.datasets._load_profiles import make_load_profiles
from skvae.datasets._watch import load_watch

__all__ = ["load_watch", "make_load_profiles"]
