"""The recurrences, fast: backward passes derived by hand over native code."""

from __future__ import annotations

from jumok.kernels.additive import AdditiveOutput, additive_lstm
from jumok.kernels.luong import LuongOutput, luong_feed
from jumok.kernels.gru import gru
from jumok.kernels.linear import linear
from jumok.kernels.lstm import lstm
from jumok.kernels.serving import OPERATIONS, Precision, auto_precision, serves

__all__ = [
    "OPERATIONS",
    "AdditiveOutput",
    "LuongOutput",
    "Precision",
    "additive_lstm",
    "auto_precision",
    "gru",
    "linear",
    "lstm",
    "luong_feed",
    "serves",
]
