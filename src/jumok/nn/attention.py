"""Attention: scores, masked softmax, weighted sum. One vocabulary for every paper.

=========  ==========================  =====================  =======================
ours       Bahdanau 2015               Luong 2015             the book, chapter 8
=========  ==========================  =====================  =======================
query      s_{i-1}                     h_t                    h
keys       h_j (annotations)           h-bar_s                hs
values     h_j                         h-bar_s                hs
scores     e_ij (alignment model)      score(h_t, h-bar_s)    s
weights    alpha_ij                    a_t(s)                 a
context    c_i                         c_t                    c
=========  ==========================  =====================  =======================

A query is (B, D) inside a step or (B, T, D) for all steps at once; scores and weights are
(B, S) or (B, T, S) accordingly. Products are written so that a row's result does not depend
on the rows beside it (``bmm`` and multiply-and-sum, never a matrix-vector product).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from jumok import kernels
from jumok.errors import ConfigError, DataError
from jumok.nn.paths import took
from jumok.records import MapSpec

__all__ = [
    "Additive",
    "ContextNorm",
    "Dot",
    "General",
    "LearnedScale",
    "Location",
    "Normalize",
    "Score",
    "ScoreName",
    "attend",
    "build_score",
    "check_chosen",
    "context_norm",
    "dot_scores",
    "in_fours",
    "mix",
    "over_keys",
    "rms_scaled",
    "weigh",
    "weights_map",
]


ScoreName = Literal["dot", "general", "concat", "location", "scaled", "learned_scale"]
Normalize = Literal["softmax", "sparsemax", "entmax15", "rela"]
"""How scores become weights (``weigh``)."""


class Score(Protocol):
    """How well each key answers a query."""

    is_product: bool
    """True where the score is the dot product of the query with ``keys(states)``."""

    def keys(self, states_BSD: Tensor) -> Tensor:
        """What can be computed once per sentence: states_BSD -> keys."""
        ...

    def check(self, mask_BS: Tensor) -> None:
        """Raises DataError where a source cannot be attended to."""
        ...

    def __call__(self, query: Tensor, keys: Tensor) -> Tensor:
        """Scores before the softmax."""
        ...


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    score: str = "dot",
    normalize: Normalize = "softmax",
) -> tuple[Tensor, Tensor]:
    """Weighs ``values`` by how well their ``keys`` answer ``query``; (context, weights).

    query (B, D) or (B, T, D); keys (B, S, D); values (B, S, M); mask (B, S), True = may attend.
    ``score`` is "dot" (Luong 2015, eq. 8) or "scaled" (Vaswani 2017, eq. 1: dot / sqrt(D)).
    Self-attention is the same call with one sequence for query, keys and values. Weights are 0
    where the mask is False and sum to 1 elsewhere; where it is False everywhere, all are 0.
    ``normalize`` says how scores become weights (see ``weigh``); with "rela" weights are not
    shares, and the context is scaled to a root mean square of 1.
    """
    if score not in ("dot", "scaled"):
        raise ConfigError(f"`score` must be dot or scaled, not {score!r}.")
    if query.shape[-1] != keys.shape[-1]:
        raise _unequal(query.shape[-1], keys.shape[-1])
    scores = dot_scores(query, keys)
    if score == "scaled":
        scores = scores * query.shape[-1] ** -0.5
    if mask is None:
        mask = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)
    weights = weigh(scores, over_keys(mask, query), normalize)
    context = mix(weights, values)
    return rms_scaled(context) if normalize == "rela" else context, weights


def over_keys(mask_BS: Tensor, query: Tensor) -> Tensor:
    """``mask_BS`` with an axis for time where the query has one."""
    return mask_BS if query.dim() == 2 else mask_BS.unsqueeze(1)


def weigh(scores: Tensor, mask: Tensor, normalize: Normalize = "softmax") -> Tensor:
    """Weights over the keys that ``mask`` allows; exactly 0 elsewhere; float32 inside.

    softmax: exp(e_s) / sum exp(e). sparsemax: the point of the simplex nearest to e (Martins &
    Astudillo 2016). entmax15: argmax_p p . e + H(p), H Tsallis' entropy for alpha = 1.5 (Peters,
    Niculae & Martins 2019). Both give low scores exactly 0. rela: max(e_s, 0), which sums to
    anything; its context passes through ``ContextNorm`` (Zhang, Titov & Sennrich 2021).
    A row that may attend nowhere gets zeros, forward and backward, never NaN.
    """
    if scores.dtype != torch.float64:
        scores = scores.float()
    mask = mask.expand_as(scores)
    match normalize:
        case "softmax":
            somewhere = mask.any(dim=-1, keepdim=True)
            weights = torch.softmax(scores.masked_fill(~mask & somewhere, -torch.inf), dim=-1)
            return weights.masked_fill(~mask, 0.0)
        case "sparsemax":
            return kernels.sparsemax(scores, mask)
        case "entmax15":
            return kernels.entmax15(scores, mask)
        case "rela":
            return torch.relu(scores).masked_fill(~mask, 0.0)
    raise ConfigError(
        f"`normalize` must be softmax, sparsemax, entmax15 or rela, not {normalize!r}."
    )


def rms_scaled(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + 1e-6) over the last axis, in float32 at least (Zhang & Sennrich 2019,
    eq. 4, before its gains)."""
    z = x if x.dtype == torch.float64 else x.float()
    # Not the 1e-8 of ReLA's code: ONNX's optimiser takes that for 0, and an x of 0 becomes NaN.
    # A root and a quotient are exact to the last bit anywhere in an array; rsqrt need not be.
    return z / torch.sqrt((z * z).mean(dim=-1, keepdim=True) + 1e-6)


class ContextNorm(nn.Module):
    """ReLA-g's norm of the context: rms_scaled(c) g sigmoid(w c), g = 1 and w = 0 at first.

    As in the authors' code, over all heads together. It holds a context together whose weights
    need not sum to one; the gate w lets it stay small.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))
        self.gate = nn.Parameter(torch.zeros(size))

    def forward(self, context: Tensor) -> Tensor:
        scaled = rms_scaled(context)
        return scaled * self.gain * torch.sigmoid(self.gate * context.to(scaled.dtype))


def context_norm(normalize: Normalize, size: int) -> nn.Module:
    """What a context of ``size`` passes through: nothing, unless weights are ReLA's."""
    return ContextNorm(size) if normalize == "rela" else nn.Identity()


def weights_map(about: str, normalize: Normalize = "softmax", *, whole: bool = True) -> MapSpec:
    """What a model says of its ``weights``; ``whole`` = nothing is taken from them afterwards."""
    shares = normalize != "rela"
    return MapSpec("weights", "TS", "cross", about, True, whole and shares, shares)


def check_chosen(name: str, chosen: int | None, of: str, most: int) -> None:
    """ConfigError where option ``name`` chooses, counting from 1, none of the ``most`` there are;
    ``of`` is the option that says how many. None chooses nothing."""
    if chosen is not None and not 1 <= chosen <= most:
        raise ConfigError(f"`{name}` ({chosen}) must be between 1 and `{of}` ({most}).")


def mix(weights: Tensor, values_BSM: Tensor) -> Tensor:
    """context = sum_s weights_s values_s, (B, M) or (B, T, M)."""
    weights = weights.to(values_BSM.dtype)
    if weights.dim() == 3:
        return torch.bmm(weights, values_BSM)
    # This way round: a row vector times a matrix of odd width would sum by the padded length.
    return torch.bmm(values_BSM.transpose(1, 2), weights.unsqueeze(2)).squeeze(2)


def in_fours(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An elementwise ``function`` of (..., 1), each number beside three copies of itself.

    Alone in its row its last bit would depend on where the row stands (``search/padding.py``).
    """
    return function(x.expand(*x.shape[:-1], 4).contiguous())[..., :1]


def dot_scores(query: Tensor, keys_BSD: Tensor) -> Tensor:
    """query . key_s for every s."""
    query = query.to(keys_BSD.dtype)
    if query.dim() == 3:
        return torch.bmm(query, keys_BSD.transpose(1, 2))
    return torch.bmm(keys_BSD, query.unsqueeze(2)).squeeze(2)


class Dot(nn.Module):
    """score = q . h_s (Luong 2015, eq. 8); ``scale`` multiplies it (Vaswani: 1 / sqrt(D))."""

    is_product = True

    def __init__(self, query_size: int, key_size: int, scale: float = 1.0) -> None:
        super().__init__()
        if query_size != key_size:
            raise _unequal(query_size, key_size)
        self.scale = scale

    def keys(self, states_BSD: Tensor) -> Tensor:
        return states_BSD if self.scale == 1.0 else states_BSD * self.scale

    def check(self, mask_BS: Tensor) -> None:
        """Sources of any length will do."""

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return dot_scores(query, keys)


class General(nn.Module):
    """score = q^T W_a h_s (Luong 2015, eq. 8)."""

    is_product = True

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()
        self.W_a = nn.Linear(key_size, query_size, bias=False)

    def keys(self, states_BSD: Tensor) -> Tensor:
        return self.W_a(states_BSD)

    def check(self, mask_BS: Tensor) -> None:
        """Sources of any length will do."""

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return dot_scores(query, keys)


class LearnedScale(nn.Module):
    """score = g (W_k h_s) . q with one learned number g, 1 at first: tf-nmt's "scaled Luong"."""

    is_product = True

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()
        self.W_k = nn.Linear(key_size, query_size, bias=False)
        self.g = nn.Parameter(torch.ones(()))

    def keys(self, states_BSD: Tensor) -> Tensor:
        return self.g * self.W_k(states_BSD)

    def check(self, mask_BS: Tensor) -> None:
        """Sources of any length will do."""

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return dot_scores(query, keys)


class Additive(nn.Module):
    """score = v_a^T tanh(W_a q + U_a h_s) (Bahdanau 2015, A.1.2; Luong's concat, eq. 8).

    With ``bias``, + b inside the tanh. Without ``key_matrix`` the keys enter as they are, as in
    Luong's own code (the paper's footnote 15). It equals one hidden layer over [q; h_s].
    ``normed`` has g v_a / |v_a| for v_a, g = sqrt(1 / A) at first: tf-nmt's "normed Bahdanau".
    """

    is_product = False

    def __init__(
        self,
        query_size: int,
        key_size: int,
        attention_size: int,
        *,
        bias: bool = False,
        key_matrix: bool = True,
        normed: bool = False,
    ) -> None:
        super().__init__()
        if not key_matrix and key_size != attention_size:
            raise ConfigError(
                f"Without a matrix on the keys, `attention_size` ({attention_size}) must equal "
                f"the size of the keys ({key_size})."
            )
        self.W_a = nn.Linear(query_size, attention_size, bias=False)
        self.U_a = nn.Linear(key_size, attention_size, bias=bias) if key_matrix else None
        self.v_a = nn.Parameter(torch.zeros(attention_size))
        self.g = nn.Parameter(torch.tensor(attention_size**-0.5)) if normed else None

    def keys(self, states_BSD: Tensor) -> Tensor:
        return states_BSD if self.U_a is None else self.U_a(states_BSD)

    def check(self, mask_BS: Tensor) -> None:
        """Sources of any length will do."""

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        hidden = self.W_a(query)
        v = self.v_a if self.g is None else self.g * self.v_a / self.v_a.norm()
        if query.dim() == 3 and query.dtype != torch.float64:
            hidden, keys = hidden.float(), keys.float()
            refusal = kernels.serves("additive_scores", hidden, keys, v)
            took("additive", "native fp32" if refusal is None else f"torch: {refusal}")
            if refusal is None:  # nothing of size T S A
                return kernels.additive_scores(hidden, keys, v)
        if query.dim() == 3:
            hidden, keys = hidden.unsqueeze(2), keys.unsqueeze(1)
        else:
            hidden = hidden.unsqueeze(1)
        # Multiply and sum: a linear layer to one output would depend on the batch's size.
        return (torch.tanh(hidden + keys) * v).sum(dim=-1)


class Location(nn.Module):
    """scores = W_a q, one row of W_a per position (Luong 2015, eq. 9): the content is not read.

    ``maximum_length`` positions can be attended to; a longer source is refused by name.
    """

    is_product = False

    def __init__(self, query_size: int, maximum_length: int) -> None:
        super().__init__()
        self.maximum_length = maximum_length
        self.W_a = nn.Linear(query_size, maximum_length, bias=False)

    def keys(self, states_BSD: Tensor) -> Tensor:
        return states_BSD

    def check(self, mask_BS: Tensor) -> None:
        """Refuses a source with more symbols than there are rows in W_a."""
        longest = int(mask_BS.sum(dim=1).max()) if mask_BS.shape[1] > self.maximum_length else 0
        if longest > self.maximum_length:
            raise DataError(
                f"a source has {longest} symbols, but score = location attends to at most "
                f"`maximum_length` ({self.maximum_length}).",
                hint="train with a larger --model.maximum_length, or with another score.",
            )

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        # Only padding can reach beyond the maximum here: `check` has refused the rest.
        position_S = torch.arange(keys.shape[1], device=keys.device)
        return self.W_a(query)[..., position_S.clamp(max=self.maximum_length - 1)]


def build_score(
    name: ScoreName, size: int, key_matrix: bool = True, maximum_length: int = 50
) -> nn.Module:
    """The score called ``name`` for queries and keys of one ``size``."""
    match name:
        case "dot":
            return Dot(size, size)
        case "scaled":
            return Dot(size, size, scale=size**-0.5)
        case "general":
            return General(size, size)
        case "learned_scale":
            return LearnedScale(size, size)
        case "concat":
            return Additive(size, size, size, key_matrix=key_matrix)
        case "location":
            return Location(size, maximum_length)


def _unequal(query_size: int, key_size: int) -> ConfigError:
    return ConfigError(
        f"The dot score needs queries and keys of one size, but queries have {query_size} and "
        f"keys {key_size}.",
        hint="use score = general (it has a matrix between the two), merge = sum or mean for a "
        "bidirectional encoder, or equal sizes.",
    )
