"""ONE PAPER, ONE FILE; ``contract.py`` says what a model is to everyone else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, TypeAlias

from jumok.errors import ConfigError, UsageError, did_you_mean
from jumok.models.bahdanau import Bahdanau, BahdanauConfig
from jumok.models.convs2s import ConvConfig, ConvS2S
from jumok.models.gnmt import GNMT, GNMTConfig
from jumok.models.hybrid import Hybrid, HybridConfig
from jumok.models.luong import Luong, LuongConfig
from jumok.models.modern import Modern, ModernConfig
from jumok.models.monotonic import Monotonic, MonotonicConfig
from jumok.models.ntm_tokens import NTMTokens, NTMTokensConfig
from jumok.models.parallel_rnn import ParallelConfig, ParallelRNN
from jumok.models.pointer import PointerConfig, PointerGenerator
from jumok.models.scratch import BookConfig, Seq2seq
from jumok.models.scratch_attention import AttentionSeq2seq, BookAttentionConfig
from jumok.models.sutskever import Sutskever, SutskeverConfig
from jumok.models.transformer import Transformer, TransformerConfig

__all__ = ["MODELS", "Entry", "Own", "entry", "with_own"]


@dataclass(frozen=True)
class Entry:
    """A name on the command line: a configuration class, a model class, what is preset."""

    config: type
    model: Callable[..., Any]
    about: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    experimental: bool = False
    """Until its preset reaches, on real data, nine tenths of a published figure: of the words that
    the task's own baseline has right (``benchmarks/README.md``)."""
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


def _vaswani(
    *, hidden_size: int, num_heads: int, dropout: float, updates: int, averaged: int
) -> Mapping[str, Mapping[str, Any]]:
    """Vaswani 2017, 5 and 6.1, in full; only the units of text and their number are the user's
    (the paper's: 37,000 pieces for both sides)."""
    return {
        "data": {"shared": True, "batch_size": None, "batch_tokens": 50_000},
        "model": {
            "hidden_size": hidden_size,
            "embedding_size": None,
            "num_heads": num_heads,
            "num_layers": 6,
            "feedforward_size": 4 * hidden_size,
            "dropout": dropout,
            "tie": "all",
        },
        "optim": {
            "name": "adamw",
            "lr": (hidden_size * 4000) ** -0.5,  # the peak of equation 3
            "betas": (0.9, 0.98),
            "eps": 1e-9,
            "weight_decay": 0.0,
            "clip_norm": 0.0,
            "schedule": "inverse_sqrt",
            "warmup_steps": 4000,
        },
        "training": {
            "label_smoothing": 0.1,
            "max_epochs": None,
            "max_steps": updates,
            "patience": None,
            "average_last": averaged,
        },
        "search": {
            "beam": 4,
            "length_penalty": "gnmt",
            "length_alpha": 0.6,
            "length_factor": 1.0,
            "length_constant": 50,
            "max_length": 1000,
        },
    }


PRE_NORM: Mapping[str, Mapping[str, Any]] = {
    "model": {"embedding_size": None, "dropout": 0.2},
    "optim": {"lr": 2e-3, "schedule": "cosine", "warmup_part": 0.1},
}
"""What came out best of few trials on 800 words of Icelandic (``docs/log.md``)."""


MODELS: dict[str, Entry] = {
    "plain": Entry(BookConfig, Seq2seq, "the book's encoder-decoder (one fixed vector)"),
    "peeky": Entry(BookConfig, Seq2seq, "the book's peeky decoder", {"peeky": True}),
    "attention": Entry(
        BookAttentionConfig, AttentionSeq2seq, "the book's attention model, shallow or deep"
    ),
    "sutskever": Entry(
        SutskeverConfig,
        Sutskever,
        "Sutskever 2014: deep LSTM, no attention",
        experimental=True,
    ),
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
    "gnmt": Entry(
        GNMTConfig,
        GNMT,
        "Wu 2016: deep residual LSTMs, attention from the decoder's bottom layer to all; wired so "
        "that training runs in parallel over the target",
        {"embedding_std": 1.0, "bridge": "copy"},
        over_rule={
            "model": {"dropout": 0.2},  # the paper's
            "search": {"length_penalty": "gnmt", "length_alpha": 0.6, "coverage_penalty": 0.1},
        },
    ),
    "transformer": Entry(
        TransformerConfig,
        Transformer,
        "Vaswani 2017: self-attention in place of recurrence",
        over_rule={
            "model": {"embedding_size": None, "dropout": 0.1},
            "optim": {"lr": 1e-3, "schedule": "cosine", "warmup_part": 0.1},
        },
    ),
    "transformer-base": Entry(
        TransformerConfig,
        Transformer,
        "Vaswani 2017 in the paper's sizes, schedule and search: a GPU's work",
        experimental=True,
        over_rule=_vaswani(hidden_size=512, num_heads=8, dropout=0.1, updates=100_000, averaged=5),
    ),
    "transformer-big": Entry(
        TransformerConfig,
        Transformer,
        "the same twice as wide: the paper's big model",
        experimental=True,
        over_rule=_vaswani(
            hidden_size=1024, num_heads=16, dropout=0.3, updates=300_000, averaged=20
        ),
    ),
    "modern": Entry(
        ModernConfig,
        Modern,
        "the Transformer as it is built today: pre-norm RMSNorm, rotary positions, SwiGLU",
        over_rule=PRE_NORM,
    ),
    "hybrid": Entry(
        HybridConfig,
        Hybrid,
        "the fast one: a deep Transformer encoder, one LSTM layer that attends (Chen 2018)",
        over_rule=PRE_NORM,
    ),
    "hybrid-ssru": Entry(
        HybridConfig,
        Hybrid,
        "the same with a decoder of simpler simple recurrent units (Kim 2019)",
        {"cell": "ssru"},
        over_rule=PRE_NORM,
    ),
    "monotonic": Entry(
        MonotonicConfig,
        Monotonic,
        "Wu & Cotterell 2019: exact hard monotonic attention, every alignment summed",
    ),
    "ntm": Entry(
        NTMTokensConfig,
        NTMTokens,
        "Graves 2014: the Neural Turing Machine, which reads the source into a memory",
    ),
    "pointer": Entry(
        PointerConfig,
        PointerGenerator,
        "See 2017: the pointer-generator, which copies what the vocabulary lacks; coverage",
        # The paper's 1e-4 and 0.02 are for 230,000 updates: a small corpus never leaves them.
        {"initial_std": 0.1, "initial_range": 0.1},
        copies=True,
    ),
    "convs2s": Entry(
        ConvConfig,
        ConvS2S,
        "Gehring 2017: convolutions alone, attention in every layer",
        # AdamW's steps do not depend on a gradient's scale.
        {"scale_gradient": False},
        over_rule=LESS_DROPOUT,
    ),
    "qrnn": Entry(
        ParallelConfig,
        ParallelRNN,
        "Bradbury 2017: convolutional gates, pooling, gated attention",
        over_rule=LESS_DROPOUT,
    ),
    "sru": Entry(
        ParallelConfig,
        ParallelRNN,
        "Lei 2018: gates that see their own cell alone, highway",
        # Layer norm is not in the paper: without it 36% of the Korean dev words, with it 75%.
        {"cell": "sru", **ALONE, "norm": True},
        over_rule=LESS_DROPOUT,
    ),
    "ssru": Entry(
        ParallelConfig,
        ParallelRNN,
        "Kim 2019: SRU with one gate, residuals and layer norm",
        {"cell": "ssru", **ALONE, "skip": True, "norm": True},
        over_rule=LESS_DROPOUT,
    ),
    "mingru": Entry(
        ParallelConfig,
        ParallelRNN,
        "Feng 2024: a GRU whose gate reads the input alone, three layers",
        {"cell": "mingru", **ALONE, **DEEP},
        over_rule=LESS_DROPOUT,
    ),
    "minlstm": Entry(
        ParallelConfig,
        ParallelRNN,
        "Feng 2024: an LSTM whose gates read the input alone, three layers",
        {"cell": "minlstm", **ALONE, **DEEP},
        over_rule=LESS_DROPOUT,
    ),
}


Own: TypeAlias = tuple[type, Callable[..., Any]] | Entry
"""A model of the user's: its configuration class and its class, or a whole entry."""


def entry(name: str, models: Mapping[str, Entry] = MODELS) -> Entry:
    """The entry called ``name``, or a ConfigError with the nearest one."""
    if name not in models:
        raise ConfigError(
            f"there is no model called {name!r}.{did_you_mean(name, models)}",
            hint=f"models: {', '.join(models)}.",
        )
    return models[name]


def with_own(models: Mapping[str, Own]) -> dict[str, Entry]:
    """``MODELS`` and the user's own beside them: ``{"mine": (Config, Class)}``.

    Raises:
        UsageError: a name that jumok uses, or something that is no configuration and class.
    """
    own = {name: _own_entry(name, model) for name, model in models.items()}
    taken = [name for name in own if name in MODELS and MODELS[name] != own[name]]
    if taken:
        raise UsageError(
            f"{taken[0]!r} is a model of jumok's own.",
            hint="call yours otherwise; a model folder says its model by this name.",
        )
    return {**MODELS, **own}


def _own_entry(name: str, model: Own) -> Entry:
    match model:
        case Entry():
            found = model
        case (type() as config, made) if callable(made):
            found = Entry(config, made, f"a model of your own: {made.__name__}")
        case _:
            raise UsageError(
                f"the model {name!r} must be a configuration class and a model class, not "
                f"{model!r}.",
                hint='such as {"mine": (MineConfig, Mine)}.',
            )
    if not is_dataclass(found.config):
        raise UsageError(
            f"the configuration {found.config.__name__} of the model {name!r} is no dataclass.",
            hint="@dataclass(frozen=True, kw_only=True) above it; its fields are --model.FIELD.",
        )
    return found
