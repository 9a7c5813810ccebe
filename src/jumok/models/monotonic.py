"""Wu & Cotterell 2019: hard attention, monotonic and exact: all alignments summed, none sampled.

"Exact Hard Monotonic Attention for Character-Level Transduction"; ``monotonic=False`` with
``order=0`` is Wu, Shapiro & Cotterell 2018, "Hard Non-Monotonic Attention". Each output symbol
comes from *one* source position a_t, which is latent. The numbers are this file's:

    e_ts = h_t^T T h-bar_s                                                               (1)
    p(a_t = s | a_{t-1} = r) = exp(e_ts) [s >= r] / sum_{s' >= r} exp(e_ts')   order 0   (2)
    p(a_t = r + k | a_{t-1} = r) = softmax_k(U [h_t; T h-bar_r]),  0 <= k <= w  order 1  (3)
    p(y_t | a_t = s) = softmax(W tanh(V [h_t; h-bar_s]))                                 (4)

With structural zeros where a source ends or a step would go back. Because the decoder's LSTM
reads target symbols only, the sum over all alignments is the forward algorithm, written here as
a filter, so that each factor is an exact conditional and their product is p(y | x):

    p(a_t = s | y_<t) = sum_r p(a_t = s | a_{t-1} = r) p(a_{t-1} = r | y_<t)    prior    (5)
    p(y_t = v, a_t = s | y_<t) = p(a_t = s | y_<t) p(v | a_t = s)               joint    (6)
    p(y_t = v | y_<t) = sum_s joint                                                      (7)
    p(a_t = s | y_<=t) = joint(y_t, s) / p(y_t | y_<t)                          posterior(8)

=========  ============  ============  =========================================================
paper      here          shape         note
=========  ============  ============  =========================================================
h_t        h             (B, H)        the LSTM's top state, from zero; nothing is fed back
h-bar_s    keys, values  (B, S, ...)   T h-bar_s, and the share of V that h-bar_s has in (4)
prior      weights_BS    (B, S)        where y_t will come from, before it is known
posterior  "posterior"   (B, S)        where y_{t-1} came from: one row later, a map of its own
=========  ============  ============  =========================================================

All of it is in log space, float32 at least. The first symbol starts from position 1, as in the
authors' code: free under (2), at most w further under (3). Where we depart: structural zeros are
exact (the code leaves 1e-7). Memory for training grows with B T S (S + V).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok.errors import ConfigError
from jumok.models.contract import Encoded, Output, State, Step, Want
from jumok.nn import readout
from jumok.nn.attention import dot_scores
from jumok.nn.noise import Noise, dropped
from jumok.nn.recurrent import reading
from jumok.nn.stacks import DecoderStack, EncoderStack
from jumok.records import Batch, MapSpec, Source


@dataclass(frozen=True, kw_only=True)
class MonotonicConfig:
    """The authors' small setting for grapheme-to-phoneme; their large one in brackets."""

    order: int = 0
    """What a step depends on: 0, only where it goes (2); 1, on where it comes from, too (3)."""
    monotonic: bool = True
    """Never go back."""
    window: int = 5
    """w: order 1 goes at most so far in one step (and as far back where it may)."""
    embedding_size: int = 100
    """[200]"""
    hidden_size: int = 200
    """[400] Of the decoder and of each direction of the encoder."""
    num_layers: int = 2
    """Of the encoder; the decoder has one."""
    dropout: float = 0.2
    """[0.4] On the input of each layer and on h_t."""

    def __post_init__(self) -> None:
        if self.order not in (0, 1):
            raise ConfigError(f"`order` must be 0 or 1, but is {self.order}.")
        if self.window < 1:
            raise ConfigError(f"`window` must be at least 1, but is {self.window}.")

    @property
    def offsets(self) -> range:
        """The k of (3)."""
        return range(0 if self.monotonic else -self.window, self.window + 1)


@dataclass(frozen=True, kw_only=True)
class MonotonicEncoded(Encoded):
    keys_BSH: Tensor
    """T h-bar_s"""
    values_BSO: Tensor
    """The share of V [h_t; h-bar_s] that does not change with t."""
    moves_BSK: Tensor
    """The share of U [h_t; T h-bar_r] that does not change with t; (B, S, 1) of no use: order 0."""


@dataclass(frozen=True, kw_only=True)
class MonotonicState(State):
    h_BLH: Tensor
    c_BLH: Tensor
    joint_BSV: Tensor
    """log p(y_t = v, a_t = s | y_<t) of the step before: its symbol is known one step later."""


class Monotonic(nn.Module):
    """An encoder-decoder whose attention is a hidden Markov chain over source positions."""

    paper = "step"
    maps = (
        MapSpec("weights", "TS", "cross", "p(a_t | y_<t), where y_t will come from", True),
        MapSpec("posterior", "TS", "cross", "p(a_{t-1} | y_<t), where y_{t-1} came from"),
    )

    def __init__(
        self, config: MonotonicConfig, source_size: int, target_size: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        E, H = config.embedding_size, config.hidden_size
        self.source_embedding = nn.Parameter(torch.zeros(source_size, E))
        self.target_embedding = nn.Parameter(torch.zeros(target_size, E))
        self.encoder = EncoderStack(
            "lstm",
            E,
            H,
            config.num_layers,
            bidirectional=True,
            dropout=config.dropout,
            cells=False,
        )
        D = self.encoder.output_size
        self.decoder = DecoderStack(E, H, 1, dropout=config.dropout)
        self.T = nn.Linear(D, H)
        self.V_h, self.V_s = nn.Linear(H, H + D, bias=False), nn.Linear(D, H + D)
        self.W = nn.Linear(H + D, target_size)
        if config.order == 1:
            K = len(config.offsets)
            self.U_h, self.U_r = nn.Linear(H, K, bias=False), nn.Linear(H, K)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """PyTorch's own rule, which the code leaves alone: N(0, 1) and U[-1/sqrt(n), 1/sqrt(n)]."""
        H = self.config.hidden_size
        for name, weight in self.named_parameters():
            if name.endswith("embedding"):
                init.normal_(weight, generator=generator)
                continue
            module = self.get_submodule(name.rpartition(".")[0])
            r = getattr(module, "in_features", H) ** -0.5
            init.uniform_(weight, -r, r, generator=generator)

    def encode(
        self, source: Source, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> MonotonicEncoded:
        read = reading(source, self.source_embedding, reverse=False)
        states = self.encoder(read.embedded_BSE, read.mask_BS, noise=noise).states_BSD
        keys = self.T(states)
        moves = self.U_r(keys) if self.config.order == 1 else torch.zeros_like(keys[..., :1])
        return MonotonicEncoded(
            mask_BS=read.mask_BS, keys_BSH=keys, values_BSO=self.V_s(states), moves_BSK=moves
        )

    def start(self, encoded: MonotonicEncoded) -> MonotonicState:
        """Whatever symbol comes first, it comes after position 1."""
        B, S = encoded.mask_BS.shape
        keys = encoded.keys_BSH
        zeros = torch.zeros_like(keys[:, :1], dtype=_exact(keys))
        first_S = torch.zeros(S, dtype=zeros.dtype, device=keys.device)
        first_S = first_S.masked_fill(torch.arange(S, device=keys.device) > 0, -torch.inf)
        joint = first_S[None, :, None].expand(B, S, self.W.out_features)
        return MonotonicState(h_BLH=zeros, c_BLH=zeros, joint_BSV=joint)

    def step(
        self,
        token_B: Tensor,
        state: MonotonicState,
        encoded: MonotonicEncoded,
        *,
        noise: Noise | None = None,
        want: Want = Want.WEIGHTS,
    ) -> Step:
        x = F.embedding(token_B, self.target_embedding)
        h, h_BLH, c_BLH = self.decoder.step(x, state.h_BLH, state.c_BLH, noise)
        h = dropped(h, self.config.dropout, "readout", noise)
        posterior = conditioned(state.joint_BSV, token_B)
        prior = self._prior(h, posterior, encoded)
        joint = self._joint(h, prior, encoded)
        return Step(
            log_total(joint, dim=1),  # (7)
            prior.exp() if want & Want.WEIGHTS else None,
            MonotonicState(h_BLH=h_BLH, c_BLH=c_BLH, joint_BSV=joint),
            {"posterior": posterior.exp()} if want & Want.MAPS else {},
        )

    def _prior(self, h: Tensor, posterior_BS: Tensor, encoded: MonotonicEncoded) -> Tensor:
        """log p(a_t = s | y_<t), -inf on padding, from the log of the posterior before it."""
        mask_BS, config = encoded.mask_BS, self.config
        if config.order == 1:
            scores_BSK = (self.U_h(h).unsqueeze(1) + encoded.moves_BSK).to(posterior_BS.dtype)
            inside = torch.stack([shifted(mask_BS, -k, False) for k in config.offsets], dim=2)
            # Padding stays where it is, with no mass: no row of (3) is empty.
            inside = inside | (~mask_BS.unsqueeze(2) & _standing(config.offsets, mask_BS.device))
            moves = torch.log_softmax(scores_BSK.masked_fill(~inside, -torch.inf), dim=2)  # (3)
            arriving = (posterior_BS.unsqueeze(2) + moves).unbind(dim=2)
            pairs = zip(arriving, config.offsets, strict=True)
            prior = log_total(torch.stack([shifted(x, k, -torch.inf) for x, k in pairs], 1), dim=1)
            return prior.masked_fill(~mask_BS, -torch.inf)
        e_BS = dot_scores(h, encoded.keys_BSH).to(posterior_BS.dtype)  # (1)
        if not config.monotonic:
            somewhere = mask_BS.any(dim=1, keepdim=True)
            return torch.log_softmax(e_BS.masked_fill(~mask_BS & somewhere, -torch.inf), dim=1)
        position_S = torch.arange(mask_BS.shape[1], device=mask_BS.device)
        ahead_SS = position_S >= position_S.unsqueeze(1)
        standing_SS = position_S == position_S.unsqueeze(1)
        open_BSS = (ahead_SS & mask_BS.unsqueeze(1)) | standing_SS
        e_BSS = e_BS.unsqueeze(1).masked_fill(~open_BSS, -torch.inf)
        moves_BSS = torch.log_softmax(e_BSS, dim=2)  # (2)
        return log_total(posterior_BS.unsqueeze(2) + moves_BSS, dim=1)  # (5)

    def _joint(self, h: Tensor, prior_BS: Tensor, encoded: MonotonicEncoded) -> Tensor:
        """log p(y_t = v, a_t = s | y_<t), (B, S, V)."""
        hidden_BSO = torch.tanh(self.V_h(h).unsqueeze(1) + encoded.values_BSO)
        logits_BSV = readout.logits(hidden_BSO, self.W.weight, self.W.bias)
        return prior_BS.unsqueeze(2) + torch.log_softmax(logits_BSV, dim=2)  # (4), (6)

    def forward(
        self, batch: Batch, *, noise: Noise | None = None, want: Want = Want.NOTHING
    ) -> Output:
        """The LSTM over all symbols at once, then the filter step by step."""
        encoded = self.encode(batch.source, noise=noise)
        state = self.start(encoded)
        x = F.embedding(batch.target_in_BT, self.target_embedding)
        h_BTH = self.decoder(x, state.h_BLH, state.c_BLH, noise)
        h_BTH = dropped(h_BTH, self.config.dropout, "readout", noise)
        joint, found = state.joint_BSV, []
        for h, token_B in zip(h_BTH.unbind(1), batch.target_in_BT.unbind(1), strict=True):
            posterior = conditioned(joint, token_B)
            prior = self._prior(h, posterior, encoded)
            joint = self._joint(h, prior, encoded)
            found.append((log_total(joint, dim=1), prior, posterior))  # (7)
        logits_BTV, prior_BTS, posterior_BTS = (torch.stack(x, 1) for x in zip(*found, strict=True))
        log_p_BTV = torch.log_softmax(logits_BTV, dim=2)
        return Output(
            log_probs_BT=log_p_BTV.gather(2, batch.target_out_BT.unsqueeze(2)).squeeze(2),
            uniform_BT=log_p_BTV.mean(dim=2),
            logits_BTV=logits_BTV if want & Want.LOGITS else None,
            weights_BTS=prior_BTS.exp() if want & Want.WEIGHTS else None,
            maps={"posterior": posterior_BTS.exp()} if want & Want.MAPS else {},
        )


def conditioned(joint_BSV: Tensor, token_B: Tensor) -> Tensor:
    """log p(a = s | y = token), (B, S): one symbol's column, made to sum to one (8)."""
    column_BS1 = joint_BSV.gather(2, token_B[:, None, None].expand(-1, joint_BSV.shape[1], 1))
    return torch.log_softmax(column_BS1.squeeze(2), dim=1)


def log_total(x: Tensor, dim: int) -> Tensor:
    """log sum exp over ``dim``; -inf, and no gradient, where there is nothing but -inf.

    torch.logsumexp has a gradient of NaN there, and another last bit at another padded length.
    """
    nothing = (x == -torch.inf).all(dim=dim, keepdim=True)
    x = x.masked_fill(nothing, 0.0)
    best = x.argmax(dim=dim, keepdim=True)
    total = x.gather(dim, best) - torch.log_softmax(x, dim=dim).gather(dim, best)
    return total.masked_fill(nothing, -torch.inf).squeeze(dim)


def shifted(x_BS: Tensor, k: int, empty: float | bool) -> Tensor:
    """``x`` moved k positions to the right (to the left where k < 0), ``empty`` behind it."""
    S = x_BS.shape[1]
    moved = F.pad(x_BS, (max(k, 0), max(-k, 0)), value=empty)
    return moved[:, :S] if k >= 0 else moved[:, -S:]


def _standing(offsets: range, device: torch.device) -> Tensor:
    return torch.tensor([k == 0 for k in offsets], device=device)


def _exact(x: Tensor) -> torch.dtype:
    """Log space is float32 whatever autocast makes of the network; float64 stays."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
