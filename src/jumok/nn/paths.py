"""Which path each layer took: a silent fall-back to slow code passes every parity test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["recorded_paths", "took"]

_paths: ContextVar[dict[str, str] | None] = ContextVar("jumok_paths", default=None)


@contextmanager
def recorded_paths() -> Iterator[dict[str, str]]:
    """Collects ``layer -> path`` for everything that runs inside the block."""
    paths: dict[str, str] = {}
    token = _paths.set(paths)
    try:
        yield paths
    finally:
        _paths.reset(token)


def took(layer: str, path: str) -> None:
    """Notes that ``layer`` ran by ``path`` (such as "native bf16", "torch", "loop: ...")."""
    paths = _paths.get()
    if paths is not None:
        paths[layer] = path
