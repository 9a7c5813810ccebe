"""The laws in one call, for a model of your own: ``assert_lawful(Mine, MineConfig())``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jumok.checks.laws import LAWS, Finding, invented_batch
from jumok.checks.numerics import NUMERICS

__all__ = ["assert_lawful", "findings"]

SIZES = (23, 29)
"""Symbols of the two vocabularies."""


def findings(
    model: Callable[..., Any], config: Any, *, rows: int = 5, seed: int = 0
) -> list[Finding]:
    """What every law finds of ``model(config, source_size, target_size, seed=seed)``.

    In float64, on a batch of random pairs; nothing is raised for a law that is broken.
    """
    network = model(config, *SIZES, seed=seed).double()
    batch = invented_batch(*SIZES, rows=rows, seed=seed)
    return [law(network, batch) for law in (LAWS | NUMERICS).values()]


def assert_lawful(model: Callable[..., Any], config: Any, *, rows: int = 5, seed: int = 0) -> None:
    """AssertionError with every law that the model breaks, by how much and where."""
    broken = [f for f in findings(model, config, rows=rows, seed=seed) if not f.holds]
    if broken:
        said = "\n".join(f"{b.law}: largest difference {b.worst:.2g}; {b.detail}" for b in broken)
        raise AssertionError(f"{len(broken)} laws are broken:\n{said}")
