"""What every encoder does with a source first: its mask, its reading order, its embedding."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from jumok.nn.recurrent import reversed_within, reversing_index
from jumok.records import Source

__all__ = ["Reading", "reading"]


class Reading(NamedTuple):
    """A source in the order in which the encoder reads it."""

    embedded_BSE: Tensor
    mask_BS: Tensor
    index_BS: Tensor | None
    """Reader's order -> reading order (its own inverse); None = the same."""

    def in_readers_order(self, states_BSD: Tensor) -> Tensor:
        """States back in the reader's order, so that weights never come out mirrored."""
        return states_BSD if self.index_BS is None else reversed_within(states_BSD, self.index_BS)


def reading(source: Source, embedding_VE: Tensor, *, reverse: bool, mask: bool = True) -> Reading:
    """``source`` embedded in reading order.

    ``reverse`` reverses the words and leaves the end-of-sentence symbol last (Sutskever 2014).
    ``mask=False`` takes padding for real, as the book does.
    """
    mask_BS = source.mask_BS if mask else torch.ones_like(source.mask_BS)
    index_BS = reversing_index(mask_BS, keep_last=True) if reverse else None
    ids_BS = source.ids_BS if index_BS is None else source.ids_BS.gather(1, index_BS)
    return Reading(F.embedding(ids_BS, embedding_VE), mask_BS, index_BS)
