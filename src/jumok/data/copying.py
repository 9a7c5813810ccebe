"""Symbols that a source has and the target's vocabulary lacks: ids of their own, to be copied.

The first of them in a sentence is V, the next V + 1; a target of that sentence may hold them. In
another sentence the same id is another symbol. The end symbol stands for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from jumok.data.tags import is_tag
from jumok.data.vocabulary import Vocabulary
from jumok.records import EOS, SPECIALS, UNK

__all__ = ["copy_ids", "extra_width", "ids_with", "own_symbols", "symbols_with"]

STEP = 16


def own_symbols(symbols: Iterable[str], vocabulary: Vocabulary) -> tuple[str, ...]:
    """The distinct symbols that ``vocabulary`` lacks, in the order in which they come.

    A tag (``tags.py``) is not something to write, so none is copied.
    """
    lacking = (s for s in symbols if s not in vocabulary and not is_tag(s))
    return tuple(dict.fromkeys(lacking))


def ids_with(symbols: Iterable[str], vocabulary: Vocabulary, own: Sequence[str]) -> list[int]:
    """Ids in the vocabulary, V + k for the k-th of ``own``, UNK for what is in neither."""
    beyond = {symbol: len(vocabulary) + k for k, symbol in enumerate(own)}
    ids = vocabulary.ids_of(symbols := list(symbols))
    return [beyond.get(s, UNK) if i == UNK else i for s, i in zip(symbols, ids, strict=True)]


def copy_ids(symbols: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    """What copying each symbol of a source writes, its end symbol included."""
    return [*ids_with(symbols, vocabulary, own_symbols(symbols, vocabulary)), EOS]


def symbols_with(ids: Iterable[int], vocabulary: Vocabulary, own: Sequence[str]) -> list[str]:
    """The inverse of ``ids_with``; an id of no symbol here is shown as unknown."""
    known, shown = len(vocabulary), (*own, SPECIALS[UNK])
    return [
        vocabulary.symbols[i] if i < known else shown[min(i - known, len(own))]
        for i in map(int, ids)
    ]


def extra_width(copy_ids_BS: np.ndarray, vocabulary_size: int) -> int:
    """Ids beyond the vocabulary that a batch may need: a multiple of 16, and never none.

    Never none, so that a row's sums over V + extra numbers are grouped alike in any company.
    """
    need = max(int(copy_ids_BS.max(initial=0)) + 1 - vocabulary_size, 1)
    return -(-need // STEP) * STEP
