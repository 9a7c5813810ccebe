"""Shared by all tests: one thread for torch, the same examples on every run."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("every", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("nightly", deadline=None, max_examples=400)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "every"))

# Read by OpenMP and MKL when torch is first imported, here and in subprocesses of the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
