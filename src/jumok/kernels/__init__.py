"""The recurrences, fast: backward passes derived by hand over native code; sparse shares."""

from __future__ import annotations

from jumok.kernels.additive import (
    AdditiveOutput,
    additive_gru,
    additive_lstm,
    additive_scores,
    conditional_gru,
)
from jumok.kernels.gru import gru
from jumok.kernels.linear import linear
from jumok.kernels.lstm import lstm
from jumok.kernels.luong import LuongOutput, luong_feed
from jumok.kernels.ntm import MemoryStep, ntm_step
from jumok.kernels.pool import forget_pool
from jumok.kernels.serving import OPERATIONS, Precision, auto_precision, operand_precision, serves
from jumok.kernels.simplex import entmax15, sparsemax

__all__ = [
    "OPERATIONS",
    "AdditiveOutput",
    "LuongOutput",
    "MemoryStep",
    "Precision",
    "additive_gru",
    "additive_lstm",
    "additive_scores",
    "auto_precision",
    "conditional_gru",
    "forget_pool",
    "entmax15",
    "gru",
    "linear",
    "lstm",
    "luong_feed",
    "operand_precision",
    "ntm_step",
    "serves",
    "sparsemax",
]
