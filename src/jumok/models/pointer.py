"""See, Liu & Manning 2017: the pointer-generator, which writes symbols or copies them.

"Get To The Point: Summarization with Pointer-Generator Networks", section 2.

    e_ts = v^T tanh(W_h h_s + W_s s_t + w_c c_ts + b_attn)                (1), with coverage (11)
    a_t = softmax(e_t);   h*_t = sum_s a_ts h_s                           (2), (3)
    P_vocab = softmax(V' (V [s_t; h*_t] + b) + b')                        (4)
    p_gen = sigmoid(w_h* . h*_t + w_s . s_t + w_x . x_t + b_ptr)          (8)
    P(w) = p_gen P_vocab(w) + (1 - p_gen) sum_{s: x_s = w} a_ts           (9)
    c_t = sum_{t' < t} a_t'                                               (10)

A symbol of the source that the vocabulary lacks has an id of its own, V + k, in its sentence:
``Source.copy_ids_BS`` says which. Log P(w) is what the model returns as logits, V + extra wide; an
id that this sentence does not have is impossible there. An id beyond V is *read* as unknown.

==========  ===================  ==========  ==================================================
paper       here                 shape       note
==========  ===================  ==========  ==================================================
h_s         states_BSD           (B, S, D)   bidirectional, D = 2 H
s_t         [c; h]               (B, 2 H)    in (1) and (8) the code takes both states of the LSTM
x_t         x                    (B, E)      the code's: W [E y_{t-1}; h*_{t-1}] + b
a_t, c_t    weights, coverage    (B, S)
==========  ===================  ==========  ==================================================

From the code, too: (4) reads [h; h*], h_0 and c_0 are ReLU(W [forward; backward] + b), LSTM
weights U[-0.02, 0.02] and all others N(0, 1e-4^2). The coverage loss, lambda sum_s min(a_ts, c_ts)
(12), is a term of training (``training.coverage_weight``; the paper's lambda is 1, in the last
3,000 of 233,000 updates). Where we depart: the source's end symbol can be attended to, and
copying it ends the output; the two sides have their own embeddings unless ``share``. An exported
graph is given no ids to copy, so it only writes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import ConfigError
from jumok.models.contract import Encoded, Output, State, Step, Want, unroll
from jumok.nn import readout
from jumok.nn.attention import in_fours, mix, weigh
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.recurrent import LSTM, reading
from jumok.nn.stacks import EncoderStack
from jumok.records import NO_MAPS, UNK, Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class PointerConfig:
    """The paper's sizes; its vocabulary, 50,000 words for both sides, is the data's affair."""

    embedding_size: int = 128
    hidden_size: int = 256
    """H: of the decoder and of each direction of the encoder."""
    attention_size: int = 512
    coverage: bool = True
    """Let attention know where it has been (11)."""
    share: bool = False
    """[true] One embedding for both sides, whose vocabularies must then be one."""
    dropout: float = 0.0
    """[0] On embeddings and before V'."""
    initial_range: float = 0.02
    """LSTM weights are drawn from U[-r, r]."""
    initial_std: float = 1e-4
    """Other weights are drawn from N(0, this^2)."""


@dataclass(frozen=True, kw_only=True)
class PointerEncoded(Encoded):
    states_BSD: Tensor
    keys_BSA: Tensor
    """W_h h_s + b_attn"""
    h_BH: Tensor
    c_BH: Tensor
    copy_ids_BS: Tensor | None
    extra: int


@dataclass(frozen=True, kw_only=True)
class PointerState(State):
    h_BH: Tensor
    c_BH: Tensor
    context_BD: Tensor
    """h*_{t-1}"""
    coverage_BS: Tensor
    """c_t: the sum of all attention so far."""


class PointerGenerator(nn.Module):
    """The pointer-generator, with or without coverage."""

    paper = "step"
    maps = (
        MapSpec("weights", "TS", "cross", "a_t, equation 2", is_weights=True),
        MapSpec("copied", "TS", "cross", "(1 - p_gen) a_t: what was copied", sums_to_one=False),
        MapSpec("coverage", "TS", "cross", "c_t, equation 10", sums_to_one=False),
    )

    def __init__(
        self, config: PointerConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config, self.target_size = config, target_size
        E, H, A = config.embedding_size, config.hidden_size, config.attention_size
        if config.share and source_size != target_size:
            raise ConfigError(
                f"`share` needs one vocabulary, but the source has {source_size} symbols and the "
                f"target {target_size}.",
                hint="give both sides one: --data.shared true.",
            )
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        if not config.share:
            self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.encoder = EncoderStack("lstm", E, H, bidirectional=True)
        D = self.encoder.output_size
        self.bridge_h, self.bridge_c = nn.Linear(D, H), nn.Linear(D, H)
        self.join = nn.Linear(E + D, E)
        self.decoder = LSTM(E, H)
        self.W_h, self.W_s = nn.Linear(D, A), nn.Linear(2 * H, A, bias=False)
        self.w_c = nn.Parameter(torch.zeros(A)) if config.coverage else None
        self.v = nn.Parameter(torch.zeros(A))
        self.V = nn.Linear(H + D, H)
        self.V_out = nn.Linear(H, target_size)
        self.w_gen = nn.Parameter(torch.zeros(D + 2 * H + E))
        self.b_ptr = nn.Parameter(torch.zeros(1))
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        r, std = self.config.initial_range, self.config.initial_std
        for name, weight in self.named_parameters():
            if name.endswith(("W_x", "W_h")):
                init.uniform_(weight, -r, r, generator=generator)
            elif name.endswith((".b", ".bias")) or name == "b_ptr":
                init.zeros_(weight)
            else:
                init.normal_(weight, std=std, generator=generator)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> PointerEncoded:
        table = self.target_embedding if self.config.share else self.source_embedding
        read = reading(source, table, reverse=False)
        x = dropped(read.embedded_BSE, self.config.dropout, "source", noise)
        found = self.encoder(x, read.mask_BS, noise=noise)
        h_BD, c_BD = found.h_BLH.flatten(1), found.c_BLH.flatten(1)
        return PointerEncoded(
            mask_BS=read.mask_BS,
            states_BSD=found.states_BSD,
            keys_BSA=self.W_h(found.states_BSD),
            h_BH=torch.relu(self.bridge_h(h_BD)).to(found.h_BLH.dtype),
            c_BH=torch.relu(self.bridge_c(c_BD)).to(found.h_BLH.dtype),
            copy_ids_BS=source.copy_ids_BS,
            extra=source.extra,
        )

    def start(self, encoded: PointerEncoded) -> PointerState:
        h_0 = encoded.h_BH
        return PointerState(
            h_BH=h_0,
            c_BH=encoded.c_BH,
            context_BD=torch.zeros_like(encoded.states_BSD[:, 0], dtype=h_0.dtype),
            coverage_BS=torch.zeros_like(encoded.mask_BS, dtype=h_0.dtype),
        )

    def step(
        self,
        token_B: Tensor,
        state: PointerState,
        encoded: PointerEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        known_B = token_B.masked_fill(token_B >= self.target_size, UNK)
        y = F.embedding(known_B, self.target_embedding)
        y = dropped(y, self.config.dropout, "target", noise)
        x = self.join(torch.cat([y, state.context_BD.to(y.dtype)], dim=1))
        h, c = self.decoder.step(x, state.h_BH, state.c_BH)
        s = torch.cat([c, h], dim=1)
        a = weigh(self._scores(s, state.coverage_BS, encoded), encoded.mask_BS)  # (2)
        context = mix(a, encoded.states_BSD)  # (3)
        hidden = self.V(torch.cat([h, context.to(h.dtype)], dim=1))
        hidden = dropped(hidden, self.config.dropout, "readout", noise)
        scores_BV = readout.logits(hidden, self.V_out.weight, self.V_out.bias)  # (4)
        gate_B1 = self._gate(torch.cat([context.to(h.dtype), s, x.to(h.dtype)], dim=1))
        after = PointerState(
            h_BH=h,
            c_BH=c,
            context_BD=context.to(h.dtype),
            coverage_BS=state.coverage_BS + a,  # (10)
        )
        maps = NO_MAPS
        if want & Want.MAPS:
            maps = {"copied": copied_share(gate_B1, a, encoded), "coverage": state.coverage_BS}
        return Step(
            self._mixture(scores_BV, gate_B1, a, encoded),
            a if want & Want.WEIGHTS else None,
            after,
            maps,
        )

    def _scores(self, s: Tensor, coverage_BS: Tensor, encoded: PointerEncoded) -> Tensor:
        inner_BSA = encoded.keys_BSA + self.W_s(s).unsqueeze(1)
        if self.w_c is not None:
            inner_BSA = inner_BSA + coverage_BS.unsqueeze(2) * self.w_c  # (11)
        return (torch.tanh(inner_BSA) * self.v).sum(dim=2)  # (1)

    def _gate(self, seen: Tensor) -> Tensor:
        """What p_gen is the sigmoid of, (B, 1) (8)."""
        return (seen * self.w_gen).sum(dim=1, keepdim=True) + self.b_ptr

    def _mixture(
        self, scores_BV: Tensor, gate_B1: Tensor, a: Tensor, encoded: PointerEncoded
    ) -> Tensor:
        """log P(w) (9), V + extra wide, -inf for an id that the sentence does not have.

        Without ``copy_ids_BS`` there is nothing to copy, and p_gen is 1.
        """
        written = torch.log_softmax(scores_BV, dim=1)
        ids_BS = encoded.copy_ids_BS
        if ids_BS is None:
            return written
        width = written.shape[1] + encoded.extra
        # Up to a multiple of 4: logaddexp rounds the last (n mod 32) of n numbers otherwise.
        spare = encoded.extra + -width % 4
        written = F.pad(written + in_fours(F.logsigmoid, gate_B1), (0, spare), value=-torch.inf)
        nothing = torch.zeros_like(written)
        there = nothing.scatter_add(1, ids_BS, encoded.mask_BS.to(nothing.dtype)) > 0
        copied = nothing.scatter_add(1, ids_BS, a.to(nothing.dtype))
        # Never quite 0: log (0 + 0) has a slope of NaN.
        copied = copied.clamp(min=torch.finfo(copied.dtype).tiny).log() + in_fours(
            F.logsigmoid, -gate_B1
        )
        nowhere = (written == -torch.inf) & ~there
        return torch.logaddexp(written, copied).masked_fill(nowhere, -torch.inf)[:, :width]

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        took("pointer", "unrolled: attention and its coverage come back into every step")
        return unroll(self, batch, noise=noise, want=want)


def copied_share(gate_B1: Tensor, a: Tensor, encoded: PointerEncoded) -> Tensor:
    """(1 - p_gen) a_t."""
    if encoded.copy_ids_BS is None:
        return torch.zeros_like(a)
    return a * in_fours(F.logsigmoid, -gate_B1).exp()
