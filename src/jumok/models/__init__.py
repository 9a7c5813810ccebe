"""ONE PAPER, ONE FILE; ``contract.py`` says what a model is to everyone else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jumok.errors import ConfigError, did_you_mean
from jumok.models.bahdanau import Bahdanau, BahdanauConfig
from jumok.models.convs2s import ConvConfig, ConvS2S
from jumok.models.luong import Luong, LuongConfig
from jumok.models.monotonic import Monotonic, MonotonicConfig
from jumok.models.parallel_rnn import ParallelConfig, ParallelRNN
from jumok.models.pointer import PointerConfig, PointerGenerator
from jumok.models.scratch import BookConfig, Seq2seq
from jumok.models.scratch_attention import AttentionSeq2seq, BookAttentionConfig
from jumok.models.sutskever import Sutskever, SutskeverConfig
from jumok.models.transformer import Transformer, TransformerConfig

__all__ = ["MODELS", "Entry", "entry"]


@dataclass(frozen=True)
class Entry:
    """A name on the command line: a configuration class, a model class, what is preset."""

    config: type
    model: Callable[..., Any]
    about: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    experimental: bool = False
    """Until its preset has reached a published or peer's figure on real data."""
    over_rule: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys by section that go over the written rule (``recipes/rule.py``), where what suits a
    recurrent model does not suit this one; flags and files go over them."""
    copies: bool = False
    """It writes symbols of the source that the target's vocabulary lacks."""


ALONE = {"window": 1, "bridge": "linear", "output": "attentional", "score": "general"}
"""What the cells share that bring no translation model of their own (``parallel_rnn.py``)."""
LESS_DROPOUT = {"model": {"dropout": 0.2}}
"""The rule's dropout is for LSTMs: where states are not squashed at every step it is too much."""
DEEP = {"num_layers": 3, "skip": True, "norm": True}
"""minGRU and minLSTM: gates that do not see the state need layers above each other."""

MODELS: dict[str, Entry] = {
    "plain": Entry(BookConfig, Seq2seq, "the book's encoder-decoder (one fixed vector)"),
    "peeky": Entry(BookConfig, Seq2seq, "the book's peeky decoder", {"peeky": True}),
    "attention": Entry(
        BookAttentionConfig, AttentionSeq2seq, "the book's attention model, shallow or deep"
    ),
    "sutskever": Entry(SutskeverConfig, Sutskever, "Sutskever 2014: deep LSTM, no attention"),
    "rnnsearch": Entry(BahdanauConfig, Bahdanau, "Bahdanau 2015, the authors' code"),
    "cgru": Entry(
        BahdanauConfig,
        Bahdanau,
        "Bahdanau's successor with the conditional GRU",
        {"preset": "cgru"},
    ),
    "bahdanau": Entry(
        BahdanauConfig,
        Bahdanau,
        "the notes' Bahdanau: scoring network, previous state, LSTM",
        {"preset": "notes"},
    ),
    "luong-fast": Entry(
        LuongConfig,
        Luong,
        "the house default: Luong's general score without input feeding, so that training runs "
        "in parallel over the target; bidirectional encoder",
        {
            "feeding": False,
            "bidirectional": True,
            "reverse_source": False,
            "attend_end": True,
            "bias": True,
            "bridge": "linear",
            "embedding_std": 1.0,
        },
    ),
    "luong": Entry(LuongConfig, Luong, "Luong 2015: every score and window, input feeding"),
    "transformer": Entry(
        TransformerConfig,
        Transformer,
        "Vaswani 2017: self-attention in place of recurrence",
        experimental=True,
        over_rule={
            "model": {"embedding_size": None, "dropout": 0.1},
            "optim": {"lr": 1e-3, "schedule": "cosine", "warmup_part": 0.1},
        },
    ),
    "monotonic": Entry(
        MonotonicConfig,
        Monotonic,
        "Wu & Cotterell 2019: exact hard monotonic attention, every alignment summed",
        experimental=True,
    ),
    "pointer": Entry(
        PointerConfig,
        PointerGenerator,
        "See 2017: the pointer-generator, which copies what the vocabulary lacks; coverage",
        # The paper's 1e-4 and 0.02 are for 230,000 updates: a small corpus never leaves them.
        {"initial_std": 0.1, "initial_range": 0.1},
        experimental=True,
        copies=True,
    ),
    "convs2s": Entry(
        ConvConfig,
        ConvS2S,
        "Gehring 2017: convolutions alone, attention in every layer",
        # AdamW's steps do not depend on a gradient's scale.
        {"scale_gradient": False},
        experimental=True,
        over_rule=LESS_DROPOUT,
    ),
    "qrnn": Entry(
        ParallelConfig,
        ParallelRNN,
        "Bradbury 2017: convolutional gates, pooling, gated attention",
        experimental=True,
        over_rule=LESS_DROPOUT,
    ),
    "sru": Entry(
        ParallelConfig,
        ParallelRNN,
        "Lei 2018: gates that see their own cell alone, highway",
        {"cell": "sru", **ALONE},
        experimental=True,
        over_rule=LESS_DROPOUT,
    ),
    "ssru": Entry(
        ParallelConfig,
        ParallelRNN,
        "Kim 2019: SRU with one gate, residuals and layer norm",
        {"cell": "ssru", **ALONE, "skip": True, "norm": True},
        experimental=True,
        over_rule=LESS_DROPOUT,
    ),
    "mingru": Entry(
        ParallelConfig,
        ParallelRNN,
        "Feng 2024: a GRU whose gate reads the input alone, three layers",
        {"cell": "mingru", **ALONE, **DEEP},
        experimental=True,
        over_rule=LESS_DROPOUT,
    ),
    "minlstm": Entry(
        ParallelConfig,
        ParallelRNN,
        "Feng 2024: an LSTM whose gates read the input alone, three layers",
        {"cell": "minlstm", **ALONE, **DEEP},
        experimental=True,
        over_rule=LESS_DROPOUT,
    ),
}


def entry(name: str) -> Entry:
    """The entry called ``name``, or a ConfigError with the nearest one."""
    if name not in MODELS:
        raise ConfigError(
            f"there is no model called {name!r}.{did_you_mean(name, MODELS)}",
            hint=f"models: {', '.join(MODELS)}.",
        )
    return MODELS[name]
