"""The written rule: which model, size and schedule a corpus gets when nobody says otherwise.

A thousand, ten thousand and a hundred thousand pairs are different worlds. The rule reads three
numbers (pairs, mean symbols of a source and of a target) and nothing else; each choice comes
with its reason in a sentence, printed before training. Any flag or file overrides any choice.

====================  ==============  ============  ===========  ===================
pairs                 hidden size     dropout       epochs       batch
====================  ==============  ============  ===========  ===================
under 3,000           128             0.5           100          32 pairs
under 6,000           192             0.3           40           64 pairs
under 15,000          192             0.3           16           64 pairs
under 50,000          256             0.2           20           64 pairs
under 300,000         256             0.2           10           64 pairs
more                  384             0.1           3            128 pairs
====================  ==============  ============  ===========  ===================

Sources of 25 words' pieces and more (subword units) get twice the hidden size, at most 512.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["DEFAULT_MODEL", "Choice", "Traits", "choose", "suited"]

DEFAULT_MODEL = "luong-fast"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What the rule reads of a training corpus."""

    pairs: int
    source_unit: str
    target_unit: str
    source_symbols: float
    """Mean symbols of a source."""
    target_symbols: float
    source_size: int | None = None
    """Subword pieces, where the unit is learnt."""
    target_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen and why."""

    model_name: str
    preset: Mapping[str, Any]
    """Nested, as a configuration file would say it."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _World:
    below: float
    hidden_size: int
    dropout: float
    epochs: float
    batch_size: int


WORLDS = (
    _World(3_000, 128, 0.5, 100.0, 32),
    _World(6_000, 192, 0.3, 40.0, 64),
    _World(15_000, 192, 0.3, 16.0, 64),
    _World(50_000, 256, 0.2, 20.0, 64),
    _World(300_000, 256, 0.2, 10.0, 64),
    _World(float("inf"), 384, 0.1, 3.0, 128),
)
SUBWORD = ("bpe", "unigram", "word")


def choose(traits: Traits, *, bf16: bool = False) -> Choice:
    """The preset for a corpus with these traits; ``bf16`` where the processor has it."""
    world = next(w for w in WORLDS if traits.pairs < w.below)
    subword = traits.source_unit in SUBWORD or traits.target_unit in SUBWORD
    hidden = min(2 * world.hidden_size, 512) if subword else world.hidden_size
    sentences = subword and traits.target_symbols > 3
    preset = {
        "model": {
            "hidden_size": hidden,
            "embedding_size": hidden // 2 if subword else 64,
            "dropout": world.dropout,
        },
        "data": {
            "source_unit": traits.source_unit,
            "target_unit": traits.target_unit,
            "source_size": traits.source_size,
            "target_size": traits.target_size,
            "batch_size": world.batch_size,
        },
        "optim": {
            "lr": 3e-3 if hidden <= 256 else 1e-3,
            "schedule": "cosine",
            "warmup_part": 0.02,
        },
        "training": {
            "max_epochs": world.epochs,
            "patience": max(5, round(world.epochs / 5)),
            "precision": "bf16" if bf16 else "fp32",
            "choose_by": "bleu" if sentences else "exact_match",
            "label_smoothing": 0.1,
        },
        "search": {"max_length": max(64, round(6 * traits.target_symbols))},
    }
    return Choice(model_name=DEFAULT_MODEL, preset=preset, reasons=_reasons(traits, preset))


def suited(preset: Mapping[str, Any], config: type) -> dict[str, Any]:
    """``preset`` without what it says of a model and this configuration does not have."""
    known = {field.name for field in fields(config)}
    model = {key: value for key, value in preset["model"].items() if key in known}
    return {**preset, "model": model}


def _reasons(traits: Traits, preset: Mapping[str, Any]) -> tuple[str, ...]:
    model, training = preset["model"], preset["training"]
    return (
        f"model {DEFAULT_MODEL}, hidden size {model['hidden_size']}, dropout {model['dropout']}: "
        f"the rule for {traits.pairs:,} pairs of about {traits.source_symbols:.0f} -> "
        f"{traits.target_symbols:.0f} symbols.",
        f"at most {training['max_epochs']:g} epochs in batches of "
        f"{preset['data']['batch_size']}; the model is chosen by {training['choose_by']} on dev.",
    )
