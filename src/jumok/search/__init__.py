"""Greedy, beam, sampling, forced: NumPy; sees an Engine, never a model."""

from jumok.search.batches import decode_in_batches
from jumok.search.dispatch import search
from jumok.search.engine import Advance, Ask, Engine, Started, best_candidates
from jumok.search.forced import score
from jumok.search.options import SearchOptions
from jumok.search.unknown import replace_unknown

__all__ = [
    "Advance",
    "Ask",
    "Engine",
    "SearchOptions",
    "Started",
    "best_candidates",
    "decode_in_batches",
    "replace_unknown",
    "score",
    "search",
]
