"""Unknown output words replaced by what the model was looking at (Luong 2015b, Jean 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jumok.errors import UsageError
from jumok.records import UNK

__all__ = ["replace_unknown"]


def replace_unknown(
    ids_T: Sequence[int] | np.ndarray,
    symbols_T: Sequence[str],
    source_symbols: Sequence[str],
    weights_TS: np.ndarray | None,
    dictionary: Mapping[str, str] | None = None,
) -> list[str]:
    """``symbols_T`` with each unknown one replaced through its attention row.

    The source symbol with the greatest weight (the first of equals) is looked up in
    ``dictionary`` and else copied. ``source_symbols`` are the S real words; a further column
    of ``weights_TS`` (the end symbol) is never a replacement. A row that gives no weight to
    any word leaves the unknown symbol as it is.
    """
    if UNK not in list(ids_T):
        return list(symbols_T)
    if weights_TS is None:
        raise UsageError("unknown words cannot be replaced: this model has no attention.")
    dictionary = dictionary or {}
    words = len(source_symbols)
    result = list(symbols_T)
    for t, token in enumerate(ids_T):
        row_S = weights_TS[t, :words]
        if token == UNK and words and row_S.max() > 0:
            word = source_symbols[int(row_S.argmax())]
            result[t] = dictionary.get(word, word)
    return result
