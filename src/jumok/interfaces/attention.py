"""What one output attended to, with the ways to look at it: terminal, files, notebook, links."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from jumok.alignment import Links, from_trace
from jumok.records import AttentionTrace, Token
from jumok.views.api import repr_html, save
from jumok.views.terminal import render_terminal

__all__ = ["Attention"]


@dataclass(frozen=True)
class Attention:
    """The attention of one output; ``trace`` is the plain record under it."""

    trace: AttentionTrace

    @property
    def source(self) -> tuple[Token, ...]:
        """The S source symbols, with their places in the source text."""
        return self.trace.source

    @property
    def target(self) -> tuple[Token, ...]:
        """The T output symbols, the end symbol among them where it was written."""
        return self.trace.target

    @property
    def weights_TS(self) -> np.ndarray | None:
        """The main map, (T, S); None where the model has no attention."""
        return self.trace.weights_TS

    @property
    def alternatives(self) -> tuple[tuple[tuple[str, float], ...], ...]:
        """For each step the best symbols with their log-probabilities, if they were asked for."""
        return self.trace.alternatives

    def show(self, *, map_name: str | None = None, width: int | None = None) -> None:
        """Draws the map in the terminal."""
        print(render_terminal(self.trace, map_name=map_name, width=width), end="")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the map; the suffix chooses: .html .svg .png .pdf .npz .jumok.json."""
        save(self.trace, path)

    def links(self, method: str = "argmax", **options: Any) -> Links:
        """Hard links, (source, target) from 0; ``alignment.from_trace`` has the options."""
        return from_trace(self.trace, method, **options)

    def __str__(self) -> str:
        return render_terminal(self.trace, color=False)

    def _repr_html_(self) -> str:
        return repr_html(self.trace)
