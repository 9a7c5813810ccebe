"""A model whose alignment is known: it reads where the last word it wrote sends it.

p_0 = 0 and p_t = (p_{t-1} + 1 + y_{t-1}) mod (length - 1): far from monotonic, and different
for every hypothesis. It writes the word it looks at (or, less likely, the next id), and ends
after as many words as the source has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jumok.models.contract import Encoded, State, Step, Want
from jumok.records import BOS, EOS, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class PlantedEncoded(Encoded):
    ids_BS: Tensor
    words_B: Tensor
    unread_BS: Tensor
    """What no step looks at: an export should not carry it from step to step."""


@dataclass(frozen=True, kw_only=True)
class PlantedState(State):
    place_B: Tensor
    written_B: Tensor


class Planted(nn.Module):
    paper = "step"
    maps = (
        MapSpec("weights", "TS", "cross", "where it reads", True),
        MapSpec("next", "TS", "cross", "where it would read after writing what it reads"),
        MapSpec("mask", "SS", "encoder", "what is real"),
    )

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.size = vocabulary_size

    def encode(self, source: Source, *, noise=None, want=Want.NOTHING) -> PlantedEncoded:
        mask_BS = source.mask_BS
        square = (mask_BS[:, :, None] & mask_BS[:, None, :]).float()
        return PlantedEncoded(
            mask_BS=mask_BS,
            ids_BS=source.ids_BS,
            words_B=mask_BS.sum(dim=1) - 1,
            unread_BS=source.ids_BS,
            maps={"mask": square} if want & Want.MAPS else {},
        )

    def start(self, encoded: PlantedEncoded) -> PlantedState:
        zeros_B = torch.zeros_like(encoded.words_B)
        return PlantedState(place_B=zeros_B, written_B=zeros_B)

    def step(self, token_B, state, encoded, *, noise=None, want=Want.WEIGHTS) -> Step:
        words_B = encoded.words_B.clamp(min=1)
        moved_B = (state.place_B + 1 + token_B) % words_B
        place_B = torch.where(token_B == BOS, torch.zeros_like(moved_B), moved_B)
        width = encoded.mask_BS.shape[1]
        position_S = torch.arange(width, device=token_B.device)
        weights_BS = (position_S == place_B[:, None]).float()
        word_B = encoded.ids_BS.gather(1, place_B[:, None])[:, 0]
        done_B = state.written_B >= encoded.words_B
        best_B = torch.where(done_B, torch.full_like(word_B, EOS), word_B)
        second_B = torch.where(done_B, word_B, (word_B + 1).clamp(max=self.size - 1))
        logits_BV = 4.0 * F.one_hot(best_B, self.size) + 2.5 * F.one_hot(second_B, self.size)
        logits_BV = logits_BV + 0.01 * torch.arange(self.size)  # no two alike
        after = PlantedState(place_B=place_B, written_B=state.written_B + 1)
        next_BS = (position_S == ((place_B + 1 + word_B) % words_B)[:, None]).float()
        maps = {"next": next_BS} if want & Want.MAPS else {}
        return Step(logits_BV, weights_BS if want & Want.WEIGHTS else None, after, maps)


def places(words: int, ids_T: list[int]) -> list[int]:
    """The truth: where a hypothesis with these tokens looked at each step."""
    found = [0]
    for token in ids_T[:-1]:
        found.append((found[-1] + 1 + token) % max(words, 1))
    return found
