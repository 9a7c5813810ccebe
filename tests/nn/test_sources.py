"""A source in reading order and back."""

from __future__ import annotations

import torch

from jumok.nn.recurrent import reading
from jumok.records import Source

IDS = torch.tensor([[4, 5, 6, 3, 0], [7, 3, 0, 0, 0], [3, 0, 0, 0, 0]])
SOURCE = Source(ids_BS=IDS, mask_BS=IDS != 0)
EMBEDDING = torch.arange(8.0)[:, None]


def test_words_are_read_backwards_and_the_end_symbol_last() -> None:
    read = reading(SOURCE, EMBEDDING, reverse=True)
    assert read.embedded_BSE[..., 0].tolist() == [
        [6, 5, 4, 3, 0],
        [7, 3, 0, 0, 0],
        [3, 0, 0, 0, 0],
    ]
    assert torch.equal(read.in_readers_order(read.embedded_BSE)[..., 0].long(), IDS)
    assert torch.equal(read.mask_BS, SOURCE.mask_BS)


def test_without_reversing_nothing_moves() -> None:
    read = reading(SOURCE, EMBEDDING, reverse=False)
    assert read.index_BS is None
    states = torch.randn(3, 5, 2)
    assert read.in_readers_order(states) is states
    assert torch.equal(read.embedded_BSE[..., 0].long(), IDS)


def test_without_a_mask_padding_is_real() -> None:
    read = reading(SOURCE, EMBEDDING, reverse=True, mask=False)
    assert bool(read.mask_BS.all())
    assert read.embedded_BSE[0, :, 0].tolist() == [3, 6, 5, 4, 0]
