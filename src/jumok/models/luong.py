"""Luong, Pham & Manning 2015: global and local attention, the attentional state, input feeding.

"Effective Approaches to Attention-based Neural Machine Translation", sections 3.1 to 3.3.

    h~_t = tanh(W_c [c_t; h_t])                                                   (5)
    p(y_t | y_<t, x) = softmax(W_s h~_t)                                          (6)
    a_t(s) = exp(score(h_t, h-bar_s)) / sum_s' exp(score(h_t, h-bar_s'))          (7)
    score = h_t . h-bar_s | h_t^T W_a h-bar_s | v_a^T tanh(W_a [h_t; h-bar_s])    (8)
    a_t = softmax(W_a h_t)                                          location      (-)
    p_t = S sigmoid(v_p^T tanh(W_p h_t))                            local-p       (9)
    a_t(s) = align(h_t, h-bar_s) exp(-(s - p_t)^2 / (2 sigma^2)),  sigma = D / 2  (10)

and with input feeding (3.3) the next step reads [E y_t; h~_t], h~_0 = 0.

========  ==============  ========  ==============================================
paper     here            shape     note
========  ==============  ========  ==============================================
h_t       h               (B, H)    top layer, *current* state: it is the query
h-bar_s   states_BSD      (B, S, H)
a_t, c_t  weights, context          the Gaussian of (10) is not renormalised
h~_t      feed_BH         (B, H)
========  ==============  ========  ==============================================

From the authors' code: no biases anywhere (``bias``), the end symbol is not attended to
(``attend_end``), U[-0.1, 0.1], windows centred on floor(p_t), ``centre="code"`` for
p_t = (S - 1) sigmoid(.) + 1, ``concat_keys=False`` for a concat without a matrix on h-bar.
Positions s = 1 .. S count in the reader's order, also where the source is read backwards.
``scaled`` (Vaswani's 1 / sqrt(H)) and ``learned_scale`` (tf-nmt) are not in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok import kernels
from jumok.errors import ConfigError
from jumok.models.contract import Encoded, Output, State, Step, Want, read_out, unroll
from jumok.nn import attention, readout
from jumok.nn.attention import Normalize, ScoreName, build_score, in_fours, mix, over_keys, weigh
from jumok.nn.noise import Noise, dropped
from jumok.nn.paths import took
from jumok.nn.recurrent import reading
from jumok.nn.stacks import Bridge, BridgeKind, DecoderStack, EncoderStack, Merge, direction_size
from jumok.records import Batch, Source


@dataclass(frozen=True, kw_only=True)
class LuongConfig:
    """The paper's choices are the defaults, sizes apart; its sizes in brackets."""

    embedding_size: int = 128
    """[1000]"""
    hidden_size: int = 256
    """[1000]"""
    num_layers: int = 1
    """[4], on both sides; the top one attends."""
    score: ScoreName = "general"
    window: Literal["global", "local-m", "local-p"] = "global"
    window_size: int = 10
    """D: positions on either side of the centre; sigma = D / 2."""
    centre: Literal["paper", "code"] = "paper"
    renormalise: bool = False
    """Make the weights of local-p sum to one again after the Gaussian."""
    normalize: Normalize = "softmax"
    """How scores become weights [softmax]; the others with the global window only."""
    feeding: bool = True
    """Input feeding."""
    attend_end: bool = False
    """Attend to the end-of-sentence symbol as well."""
    concat_keys: bool = True
    maximum_length: int = 50
    """Positions that `location` can attend to."""
    bias: bool = False
    """Biases in the LSTMs, W_c and W_s."""
    reverse_source: bool = True
    bidirectional: bool = False
    merge: Merge = "concat"
    """How the encoder's two directions become one; concat halves each direction."""
    bridge: BridgeKind = "copy"
    skip: bool = False
    dropout: float = 0.2
    """[0.2] On the input of each layer, the softmax included; not on recurrent connections."""
    initial_range: float = 0.1
    """Weights are drawn from U[-r, r]."""
    embedding_std: float | None = None
    """[none] Draw embeddings from N(0, this^2) instead."""

    def __post_init__(self) -> None:
        direction_size(self.hidden_size, self.bidirectional, self.merge)
        if self.window_size < 1:
            raise ConfigError(f"`window_size` must be at least 1, but is {self.window_size}.")
        if self.normalize != "softmax" and self.window != "global":
            why = "a local window stands over softmax weights (10)"
            raise ConfigError(f"`normalize` = {self.normalize} needs `window` = global: {why}.")


@dataclass(frozen=True, kw_only=True)
class LuongEncoded(Encoded):
    """``mask_BS`` is True where the decoder may attend."""

    states_BSD: Tensor
    keys_BSK: Tensor
    h_BLH: Tensor
    c_BLH: Tensor


@dataclass(frozen=True, kw_only=True)
class LuongState(State):
    h_BLH: Tensor
    c_BLH: Tensor
    feed_BH: Tensor
    """h~_{t-1}"""
    position_B: Tensor
    """t - 1"""


class Luong(nn.Module):
    """Global or local attention with the attentional state."""

    paper = "step"

    def __init__(
        self, config: LuongConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        whole = config.window != "local-p" or config.renormalise
        self.maps = (attention.weights_map("a_t, (7) or (10)", config.normalize, whole=whole),)
        E, H, L = config.embedding_size, config.hidden_size, config.num_layers
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.encoder = EncoderStack(
            "lstm",
            E,
            direction_size(H, config.bidirectional, config.merge),
            L,
            bidirectional=config.bidirectional,
            merge=config.merge,
            skip=config.skip,
            bias=config.bias,
            dropout=config.dropout,
            cells=config.bridge == "copy",
        )
        self.bridge = Bridge(config.bridge, self.encoder, L, H)
        first, both = (E + H if config.feeding else E), {"skip": config.skip, "bias": config.bias}
        self.decoder = DecoderStack(first, H, L, dropout=config.dropout, **both)
        self.score = build_score(config.score, H, config.concat_keys, config.maximum_length)  # (8)
        if config.window == "local-p":
            self.W_p = nn.Linear(H, H, bias=False)
            self.v_p = nn.Parameter(torch.zeros(H))
        self.W_c = nn.Linear(2 * H, H, bias=config.bias)
        self.W_s = nn.Linear(H, target_size, bias=config.bias)
        generator = torch.Generator().manual_seed(seed)
        r = config.initial_range
        for name, weight in self.named_parameters():
            if config.embedding_std is not None and name.endswith("embedding"):
                init.normal_(weight, std=config.embedding_std, generator=generator)
            elif weight.dim() > 0:
                init.uniform_(weight, -r, r, generator=generator)
        self.norm = attention.context_norm(config.normalize, H)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> LuongEncoded:
        read = reading(source, self.source_embedding, reverse=self.config.reverse_source)
        top = self.encoder(read.embedded_BSE, read.mask_BS, noise=noise)
        states = read.in_readers_order(top.states_BSD)
        mask_BS = read.mask_BS
        if not self.config.attend_end:
            mask_BS = mask_BS & F.pad(mask_BS, (0, 1))[:, 1:]
        self.score.check(mask_BS)
        h_0, c_0 = self.bridge(top.h_BLH, top.c_BLH)
        keys = self.score.keys(states)
        return LuongEncoded(mask_BS=mask_BS, states_BSD=states, keys_BSK=keys, h_BLH=h_0, c_BLH=c_0)

    def start(self, encoded: LuongEncoded) -> LuongState:
        h_0 = encoded.h_BLH
        return LuongState(
            h_BLH=h_0,
            c_BLH=encoded.c_BLH,
            feed_BH=torch.zeros_like(h_0[:, 0]),
            position_B=torch.zeros_like(encoded.mask_BS[:, 0], dtype=torch.long),
        )

    def step(
        self,
        token_B: Tensor,
        state: LuongState,
        encoded: LuongEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        x = F.embedding(token_B, self.target_embedding)
        if self.config.feeding:  # [E y_{t-1}; h~_{t-1}]
            x = torch.cat([x, state.feed_BH.to(x.dtype)], dim=-1)
        h, h_BLH, c_BLH = self.decoder.step(x, state.h_BLH, state.c_BLH, noise)
        h_tilde, weights = self._attentional(h, encoded, state.position_B)
        position_B = state.position_B + 1
        after = LuongState(h_BLH=h_BLH, c_BLH=c_BLH, feed_BH=h_tilde, position_B=position_B)
        out = dropped(h_tilde, self.config.dropout, "readout", noise)
        logits = readout.logits(out, self.W_s.weight, self.W_s.bias)  # (6), before the softmax
        return Step(logits, weights if want & Want.WEIGHTS else None, after)

    def _attentional(
        self, h: Tensor, encoded: LuongEncoded, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(h~_t, a_t) for queries (B, H) at position_B, or (B, T, H) at position_BT."""
        mask = over_keys(encoded.mask_BS, h)
        scores = self.score(h, encoded.keys_BSK)  # (8)
        gaussian = None
        if self.config.window != "global":
            p = self._centre(h, encoded, position)
            s = torch.arange(1.0, mask.shape[-1] + 1, device=p.device)
            near = (s - p.floor()).abs() <= self.config.window_size
            gaussian = torch.exp(-((s - p) ** 2) / (2 * (self.config.window_size / 2) ** 2))
            mask = mask & near
        weights = weigh(scores, mask, self.config.normalize)  # (7)
        if gaussian is not None and self.config.window == "local-p":
            weights = weights * gaussian.to(weights.dtype)  # (10)
            if self.config.renormalise:
                weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-30)
        context = self.norm(mix(weights, encoded.states_BSD))
        h_tilde = torch.tanh(self.W_c(torch.cat([context, h], dim=-1)))  # (5)
        return h_tilde.to(weights.dtype), weights

    def _centre(self, h: Tensor, encoded: LuongEncoded, position: Tensor) -> Tensor:
        """p_t (..., 1), 1-based; uses each row's own length, never the padded one."""
        S = encoded.mask_BS.sum(dim=1).view([-1] + [1] * (h.dim() - 1)).to(torch.float32)
        if self.config.window == "local-m":
            return torch.minimum(position.unsqueeze(-1) + 1.0, S)
        inner = (torch.tanh(self.W_p(h)) * self.v_p).sum(dim=-1, keepdim=True)
        share = in_fours(torch.sigmoid, inner if inner.dtype == torch.float64 else inner.float())
        return share * (S - 1) + 1 if self.config.centre == "code" else share * S  # (9)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        if self.config.feeding:
            refusal = self._fused_refusal()
            if refusal is not None:
                took("luong", f"unrolled: {refusal}")
                return unroll(self, batch, noise=noise, want=want)
        encoded = self.encode(batch.source, noise=noise)
        state = self.start(encoded)
        x = F.embedding(batch.target_in_BT, self.target_embedding)
        if self.config.feeding:
            h_tilde, weights = self._fused(x, state, encoded, noise)
        else:
            # Nothing of attention comes back: all steps at once.
            h = self.decoder(x, state.h_BLH, state.c_BLH, noise)
            position_BT = state.position_B[:, None] + torch.arange(x.shape[1], device=x.device)
            h_tilde, weights = self._attentional(h, encoded, position_BT)
        out = dropped(h_tilde, self.config.dropout, "readout", noise)
        return read_out(out, self.W_s.weight, self.W_s.bias, batch, want=want, weights_BTS=weights)

    def _fused_refusal(self) -> str | None:
        """Why the fused decoder with input feeding cannot serve this wiring; None = it can."""
        config = self.config
        if config.num_layers > 1:
            return "input feeding through several layers"
        if config.window != "global" or not self.score.is_product or config.normalize != "softmax":
            return f"input feeding with {config.window} {config.score} {config.normalize}"
        return kernels.serves("luong_feed", self.decoder.layers[0].W_x, self.decoder.layers[0].W_h)

    def _fused(
        self, x: Tensor, state: LuongState, encoded: LuongEncoded, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """The whole loop with input feeding in one kernel; h~ (B, T, H) and weights."""
        E, H = self.config.embedding_size, self.config.hidden_size
        feed_mask = None
        if noise is not None and self.config.dropout > 0:
            like = x.new_zeros(x.shape[0], x.shape[1], E + H)
            mask = noise.mask("decoder/0", self.config.dropout, like)
            x, feed_mask = x * mask[..., :E], mask[..., E:].contiguous()
        took("luong", f"native {kernels.operand_precision(x)}")
        layer = self.decoder.layers[0]
        found = kernels.luong_feed(
            x,
            encoded.keys_BSK.float(),
            encoded.states_BSD,
            encoded.mask_BS,
            weight_x_GI=layer.W_x,
            weight_h_GH=layer.W_h,
            bias_G=layer.b,
            weight_c_FJ=self.W_c.weight,
            bias_c_F=self.W_c.bias,
            h0_BH=state.h_BLH[:, 0],
            c0_BH=state.c_BLH[:, 0],
            feed_mask_BTF=feed_mask,
            precision=kernels.operand_precision(x),
        )
        return found.attentional_BTF, found.weights_BTS
