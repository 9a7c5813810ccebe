"""What flows through the house: rows, sources, batches, hypotheses, attention traces.

Arrays only, NumPy or torch alike; nothing here imports torch. Letters (``docs/shapes.md``):
B batch, S source length, T target length, V vocabulary, N rows in general, K alternatives.
Masks are boolean and True where a position is real and may be attended to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np

__all__ = [
    "BOS",
    "EOS",
    "NO_MAPS",
    "PAD",
    "SPECIALS",
    "UNK",
    "AttentionMap",
    "AttentionTrace",
    "Batch",
    "Hypothesis",
    "MapKind",
    "MapSpec",
    "Rows",
    "Source",
    "Token",
]

Array = Any
"""A NumPy array or a torch tensor; the house above the torch line cannot tell them apart."""

NO_MAPS: Mapping[str, Array] = MappingProxyType({})

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""The first four ids of every vocabulary."""
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")

MapKind = Literal["cross", "encoder", "decoder", "read", "write", "source_read", "source_write"]
"""Target to source, source to itself, target to what was read before (column 0 is the start
symbol, column t the t-th symbol written), target to the slots of a memory, and source to them."""


def _rebuild(value: Any, name: str, function: Callable[[str, Array], Array]) -> Any:
    """``value`` with ``function(dotted name, leaf)`` in place of every array leaf."""
    match value:
        case Rows():
            prefix = f"{name}." if name else ""
            changed = {
                f.name: _rebuild(getattr(value, f.name), prefix + f.name, function)
                for f in fields(value)
            }
            return replace(value, **changed)
        case Mapping():
            return {k: _rebuild(v, f"{name}.{k}", function) for k, v in value.items()}
        case tuple():
            return tuple(_rebuild(v, f"{name}.{i}", function) for i, v in enumerate(value))
        case _:
            return function(name, value) if hasattr(value, "shape") else value


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A record whose every array leaf (nested too) has rows on axis 0; NumPy or torch.

    Leaves may sit in nested ``Rows``, tuples and mappings. Anything without a shape (a plain
    int, a string, None) is not a leaf and is carried along unchanged.
    """

    def select(self, rows_N: Array) -> Self:
        """``leaf[rows_N]`` for every leaf: tile, re-order or drop rows."""
        return self.map(lambda leaf: leaf[rows_N])

    def map(self, function: Callable[[Array], Array]) -> Self:
        """The same record with ``function`` applied to every leaf."""
        rebuilt: Self = _rebuild(self, "", lambda _name, leaf: function(leaf))
        return rebuilt

    def arrays(self) -> dict[str, Array]:
        """Dotted name -> leaf, in field order; the names an exported graph uses."""
        found: dict[str, Array] = {}

        def note(name: str, leaf: Array) -> Array:
            found[name] = leaf
            return leaf

        _rebuild(self, "", note)
        return found

    def with_arrays(self, arrays: Mapping[str, Array]) -> Self:
        """The inverse of ``arrays``: the same record with the named leaves replaced."""
        rebuilt: Self = _rebuild(self, "", lambda name, leaf: arrays.get(name, leaf))
        return rebuilt


@dataclass(frozen=True, kw_only=True)
class Source(Rows):
    """Source sentences as a model meets them."""

    ids_BS: Array
    """End-of-sentence included, reader's order, always; PAD after it."""
    mask_BS: Array
    """True = real (the end-of-sentence symbol is real)."""
    copy_ids_BS: Array | None = None
    """Ids in V plus the sentence's own symbols; None = no copying."""
    extra: int = 0
    """Width beyond V that ``copy_ids_BS`` needs, a multiple of 16 above 0; not a leaf."""


@dataclass(frozen=True, kw_only=True)
class Batch(Rows):
    """Pairs for teacher forcing: in = [BOS, y1 .. yn], out = [y1 .. yn, EOS]."""

    source: Source
    target_in_BT: Array
    target_out_BT: Array
    """May be >= V where the model copies."""
    target_mask_BT: Array
    """True on y1 .. yn and EOS."""
    example_B: Array
    """Global example numbers: the key of dropout, so that grouping cannot change a mask."""
    links_BTS: Array | None = None
    """Gold or guiding alignment."""


@dataclass(frozen=True)
class MapSpec:
    """One map a model can return: its name, its axes (such as ``"TS"``) and what it is."""

    name: str
    axes: str
    kind: MapKind
    about: str
    is_weights: bool = False
    """True for the one map returned as ``weights`` and drawn by default."""
    sums_to_one: bool = True
    """False where a row may sum to less (Luong's local-p, whose Gaussian is not renormalised)."""
    at_most_one: bool = True
    """False where a row may sum to more (ReLA's rectified scores)."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One returned output sequence; T counts its symbols and, if ``finished``, its EOS."""

    ids_T: np.ndarray
    logprobs_T: np.ndarray
    """Log-probability of each token given those before it."""
    score: float
    """Sum of ``logprobs_T``: the log-probability of the sequence."""
    rank_score: float
    """What the search ranked by (length and coverage penalties applied)."""
    finished: bool
    """False where the length limit was hit before the end symbol."""
    weights_TS: np.ndarray | None = None
    """Attention of this very hypothesis, trimmed to the source's real length."""
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    alternatives_TK: np.ndarray | None = None
    """Ids of the best K symbols at each step, best first."""
    alternative_logprobs_TK: np.ndarray | None = None


@dataclass(frozen=True)
class Token:
    """A symbol and the characters ``[start, end)`` of the raw text that it stands for.

    The end-of-sentence symbol is ``special`` and has the empty span at the end of the text.
    """

    text: str
    start: int
    end: int
    special: bool = False


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """One T x S matrix of weights; rows are what attends, columns what is attended to."""

    name: str
    kind: MapKind
    values_TS: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AttentionTrace:
    """All that can be shown of one hypothesis: tokens with spans, maps, probabilities.

    ``target`` holds one token per emitted symbol and the end symbol where it was emitted;
    ``source`` holds the end symbol where the model attends to it. Every ``cross`` map has
    ``len(target)`` rows and ``len(source)`` columns; ``main`` names the one drawn by default,
    None where the model has no attention.
    """

    source_text: str
    target_text: str
    source: tuple[Token, ...]
    target: tuple[Token, ...]
    maps: tuple[AttentionMap, ...] = ()
    main: str | None = None
    logprobs_T: np.ndarray | None = None
    alternatives: tuple[tuple[tuple[str, float], ...], ...] = ()
    """Per step the best symbols with their log-probabilities, best first."""
    score: float | None = None
    finished: bool = True
    card: Mapping[str, str] = field(default_factory=dict)
    """What produced it: model, data, direction; free text for captions."""

    def __post_init__(self) -> None:
        expected = (len(self.target), len(self.source))
        for m in self.maps:
            if m.kind == "cross" and m.values_TS.shape != expected:
                raise ValueError(
                    f"the map {m.name!r} has shape {m.values_TS.shape}, but the trace has "
                    f"{expected[0]} target and {expected[1]} source tokens."
                )

    @property
    def weights_TS(self) -> np.ndarray | None:
        """The main map, or None where the model has no attention."""
        return next((m.values_TS for m in self.maps if m.name == self.main), None)
