"""Graves, Wayne & Danihelka 2014: one step of the Neural Turing Machine.

"Neural Turing Machines", section 3. A controller reads and writes a memory of N slots through
attention over the slots; nothing it attends to is a source position.

    r_t = sum_i w_t(i) M_t(i)                                            reading        (2)
    M~_t(i) = M_{t-1}(i) [1 - w_t(i) e_t]                                erasing        (3)
    M_t(i) = M~_t(i) + w_t(i) a_t                                        adding         (4)
    w^c_t(i) = exp(b_t K[k_t, M_t(i)]) / sum_j exp(b_t K[k_t, M_t(j)])   by content     (5)
    K[u, v] = u . v / (|u| |v|)                                          cosine         (6)
    w^g_t = g_t w^c_t + (1 - g_t) w_{t-1}                                interpolating  (7)
    w~_t(i) = sum_j w^g_t(j) s_t(i - j)                                  shifting       (8)
    w_t(i) = w~_t(i)^c_t / sum_j w~_t(j)^c_t                             sharpening     (9)

===========  ======================  ==========  =============================================
paper        here                    shape       note
===========  ======================  ==========  =============================================
M_t          memory_BMN              (B, M, N)   N slots, M numbers wide; slots lie side by side
w_t          weights                 (B, R, N)   one row per head, R heads of a kind
k, b, g      key, strength, gate     (B, R, .)   b = softplus, g = sigmoid
s, c         shift, sharpness        (B, R, .)   s = softmax over -n .. n, c = 1 + softplus
e, a         erase, add              (B, R, M)   e = sigmoid; all heads erase before any adds
===========  ======================  ==========  =============================================

Each sequence starts from the same learned weights and reads. Where the paper is silent: k and a
pass through tanh; the output layer reads [h_t; r_t]; a write head addresses M_{t-1}, and a read
head M_t, as (2) has it (``reads="before_write"``: M_{t-1}, as some codes do); memory starts at
1e-6 (``initial_memory="learned"`` is the paper's learned bias, slower to converge).

``NTMCell`` is shared by ``models/ntm.py`` (tapes of bits) and ``models/ntm_tokens.py`` (symbols).
Asked to be ``fused``, it leaves all but the controller to ``kernels.ntm_step``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import init

from jumok import kernels
from jumok.errors import ConfigError, at_least_one
from jumok.models.contract import State
from jumok.nn.recurrent import LSTM
from jumok.records import MapKind, MapSpec

TINY = 1e-16
"""What a weight of nothing counts in (9), where log 0 would have no slope."""
NEARLY_NOTHING = 1e-12
"""Added to squared lengths in (6): a slot of zeros has a cosine, and a slope, of its own."""
CONSTANT = 1e-6
"""Memory before the first write."""


@dataclass(frozen=True, kw_only=True)
class NTMConfig:
    """The paper's sizes for the copy task."""

    controller: Literal["lstm", "feedforward"] = "lstm"
    """[both] What reads the tape and drives the heads."""
    controller_size: int = 100
    """[100; 256 feed-forward for associative recall, 512 for sorting]"""
    slots: int = 128
    """[128] N"""
    slot_size: int = 20
    """[20] M"""
    read_heads: int = 1
    """[1; 4 feed-forward for associative recall, 8 for sorting]"""
    write_heads: int = 1
    """[as many as read]"""
    shift: int = 1
    """[1] n: a head moves at most so far in one step."""
    reads: Literal["after_write", "before_write"] = "after_write"
    """Whether read heads see the memory as this step leaves it or as it found it."""
    initial_memory: Literal["constant", "learned"] = "constant"
    """[learned] What the memory holds before the first write."""

    def __post_init__(self) -> None:
        at_least_one(
            controller_size=self.controller_size,
            slots=self.slots,
            slot_size=self.slot_size,
            read_heads=self.read_heads,
            write_heads=self.write_heads,
        )
        if not 0 <= 2 * self.shift < self.slots:
            raise ConfigError(
                f"`shift` ({self.shift}) must be at least 0 and less than half of `slots` "
                f"({self.slots}): a head would meet itself on the way round."
            )


@dataclass(frozen=True, kw_only=True)
class NTMState(State):
    memory_BMN: Tensor
    read_weights_BRN: Tensor
    write_weights_BRN: Tensor
    reads_BRM: Tensor
    """r_{t-1} of every read head: the controller sees them beside its input."""
    h_BH: Tensor
    c_BH: Tensor
    """The LSTM's; zeros beside a feed-forward controller."""


class Heads(NamedTuple):
    """What heads of one kind emit for addressing."""

    key_BRM: Tensor
    strength_BR1: Tensor
    gate_BR1: Tensor
    shift_BRK: Tensor
    sharpness_BR1: Tensor


class NTMCell(nn.Module):
    """Controller, heads and memory: one step of the machine."""

    def __init__(self, config: NTMConfig, input_size: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        H, N, M = config.controller_size, config.slots, config.slot_size
        R, W = config.read_heads, config.write_heads
        self.output_size = H + R * M
        joined = input_size + R * M
        lstm = config.controller == "lstm"
        self.controller = LSTM(joined, H) if lstm else nn.Linear(joined, H)
        self.widths = [M, 1, 1, 2 * config.shift + 1, 1]
        self.addresses = nn.Linear(H, (R + W) * sum(self.widths))
        self.changes = nn.Linear(H, W * 2 * M)
        self.first_weights = nn.Parameter(torch.zeros(R + W, N))
        self.first_reads = nn.Parameter(torch.zeros(R, M))
        learned = config.initial_memory == "learned"
        self.first_memory = nn.Parameter(torch.zeros(M, N)) if learned else None
        for name, weight in self.named_parameters():
            if name.startswith("first"):
                init.normal_(weight, generator=generator)
            else:
                r = (weight.shape[1] if weight.dim() == 2 else H) ** -0.5
                init.uniform_(weight, -r, r, generator=generator)

    def start(self, rows: int) -> NTMState:
        """The state before the first step: the same for every sequence."""
        R, weights = self.config.read_heads, torch.softmax(self.first_weights, dim=-1)
        memory = self.first_memory
        if memory is None:
            memory = weights.new_full((self.config.slot_size, self.config.slots), CONSTANT)
        zeros = weights.new_zeros(rows, self.config.controller_size)
        return NTMState(
            memory_BMN=memory.expand(rows, -1, -1),
            read_weights_BRN=weights[:R].expand(rows, -1, -1),
            write_weights_BRN=weights[R:].expand(rows, -1, -1),
            reads_BRM=torch.tanh(self.first_reads).expand(rows, -1, -1),
            h_BH=zeros,
            c_BH=zeros,
        )

    def forward(
        self, x_BI: Tensor, state: NTMState, *, fused: bool = False
    ) -> tuple[Tensor, NTMState]:
        """([h_t; r_t], the next state); ``fused`` is for whom ``refusal`` refuses nothing."""
        h, c = self._control(torch.cat([x_BI, state.reads_BRM.flatten(1)], dim=1), state)
        heads, dtype = self.config.read_heads + self.config.write_heads, state.memory_BMN.dtype
        addresses = self.addresses(h).to(dtype).unflatten(1, (heads, -1))
        changes = self.changes(h).to(dtype).unflatten(1, (self.config.write_heads, -1))
        moved = (self._fused if fused else self._moved)(addresses, changes, state)
        after = NTMState(
            memory_BMN=moved.memory_BMN,
            read_weights_BRN=moved.read_weights_BRN,
            write_weights_BRN=moved.write_weights_BWN,
            reads_BRM=moved.reads_BRM,
            h_BH=h,
            c_BH=c,
        )
        return torch.cat([h, moved.reads_BRM.flatten(1)], dim=1), after

    def _moved(self, addresses: Tensor, changes: Tensor, state: NTMState) -> kernels.MemoryStep:
        """Write heads first, on M_{t-1}; then read heads."""
        memory = state.memory_BMN
        reading, writing = self._heads(addresses)
        erase, add = changes.chunk(2, dim=2)
        write_weights = address(writing, memory, state.write_weights_BRN)
        written = rewritten(memory, write_weights, torch.sigmoid(erase), torch.tanh(add))
        seen = written if self.config.reads == "after_write" else memory
        read_weights = address(reading, seen, state.read_weights_BRN)
        reads = torch.bmm(read_weights, seen.transpose(1, 2))  # (2)
        return kernels.MemoryStep(written, read_weights, write_weights, reads)

    def _fused(self, addresses: Tensor, changes: Tensor, state: NTMState) -> kernels.MemoryStep:
        return kernels.ntm_step(
            addresses,
            changes,
            state.memory_BMN,
            state.read_weights_BRN,
            state.write_weights_BRN,
            after_write=self.config.reads == "after_write",
        )

    def adds(self, h_BH: Tensor) -> Tensor:
        """a_t of every write head, (B, W, M), from the controller's state."""
        changes = self.changes(h_BH).unflatten(1, (self.config.write_heads, -1))
        return torch.tanh(changes.chunk(2, dim=2)[1])

    def refusal(self) -> str | None:
        """Why a step cannot be ``fused`` here; None = it can."""
        return kernels.serves("ntm_step", self.first_weights)

    def _control(self, joined: Tensor, state: NTMState) -> tuple[Tensor, Tensor]:
        if self.config.controller == "feedforward":
            return torch.tanh(self.controller(joined)), state.c_BH
        return self.controller.step(joined, state.h_BH, state.c_BH)

    def _heads(self, addresses_BRX: Tensor) -> tuple[Heads, Heads]:
        """What the read heads and the write heads emit, each number in its range."""
        R = self.config.read_heads
        key, strength, gate, shift, sharpness = addresses_BRX.split(self.widths, dim=2)
        both = (
            torch.tanh(key),
            F.softplus(strength),
            torch.sigmoid(gate),
            torch.softmax(shift, dim=2),
            1 + F.softplus(sharpness),
        )
        return Heads(*(x[:, :R] for x in both)), Heads(*(x[:, R:] for x in both))


def address(heads: Heads, memory_BMN: Tensor, previous_BRN: Tensor) -> Tensor:
    """Where heads attend, (B, R, N): (5) to (9)."""
    similar_BRN = cosine(heads.key_BRM, memory_BMN)
    content = torch.softmax(heads.strength_BR1 * similar_BRN, dim=2)  # (5)
    gated = heads.gate_BR1 * content + (1 - heads.gate_BR1) * previous_BRN  # (7)
    return sharpened(shifted(gated, heads.shift_BRK), heads.sharpness_BR1)


def cosine(key_BRM: Tensor, memory_BMN: Tensor) -> Tensor:
    """K[k, M(i)] for every head and slot (6)."""
    keys_BR1 = key_BRM.square().sum(dim=2, keepdim=True) + NEARLY_NOTHING
    slots_B1N = (memory_BMN.square().sum(dim=1) + NEARLY_NOTHING).unsqueeze(1)
    product_BRN = torch.bmm(key_BRM, memory_BMN)
    return product_BRN * (keys_BR1.rsqrt() * slots_B1N.rsqrt())


def shifted(weights_BRN: Tensor, shift_BRK: Tensor) -> Tensor:
    """Circular convolution (8); ``shift`` holds s(-n) .. s(n) and sums to one, so mass stays."""
    n = shift_BRK.shape[2] // 2
    turned = [weights_BRN.roll(k, dims=2) for k in range(-n, n + 1)]  # turned(i) = w(i - k)
    return (torch.stack(turned, dim=3) * shift_BRK.unsqueeze(2)).sum(dim=3)


def sharpened(weights_BRN: Tensor, sharpness_BR1: Tensor) -> Tensor:
    """w^c / sum w^c (9) as a softmax of c log w: no power of nothing, no division by nothing."""
    return torch.softmax(sharpness_BR1 * weights_BRN.clamp(min=TINY).log(), dim=2)


def rewritten(memory_BMN: Tensor, weights_BRN: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Every head erases (3), then every head adds (4); ``erase`` and ``add`` are (B, R, M)."""
    kept_BRMN = 1 - weights_BRN.unsqueeze(2) * erase.unsqueeze(3)
    return memory_BMN * kept_BRMN.prod(dim=1) + torch.bmm(add.transpose(1, 2), weights_BRN)


def head_specs(config: NTMConfig, place: Literal["", "source/"] = "") -> tuple[MapSpec, ...]:
    """The weightings as maps: every read head, then every write head."""
    axes, while_ = ("SN", " while it read the source") if place else ("TN", "")
    kinds: tuple[MapKind, MapKind] = ("source_read", "source_write") if place else ("read", "write")

    def specs(own: str, kind: MapKind, heads: int) -> list[MapSpec]:
        names = [f"{place}{own}/head{r + 1}" for r in range(heads)] if heads > 1 else [place + own]
        return [MapSpec(name, axes, kind, f"w_t of a {own} head{while_}") for name in names]

    return (
        *specs("read", kinds[0], config.read_heads),
        *specs("write", kinds[1], config.write_heads),
    )
