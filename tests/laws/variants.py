"""Every model in every wiring that the laws run over, small and in float64."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch

from jumok.models import MODELS

SOURCE_SIZE, TARGET_SIZE = 17, 13
SMALL = {"embedding_size": 6, "hidden_size": 10}


class Variant(NamedTuple):
    model: str
    options: dict[str, Any]

    def __str__(self) -> str:
        shown = (f"{k}={v}" for k, v in self.options.items())
        return "-".join([self.model, *shown]).replace(" ", "")

    def build(self, dtype: torch.dtype = torch.float64) -> Any:
        entry = MODELS[self.model]
        config = entry.config(**{**SMALL, **entry.preset, **self.options})
        model = entry.model(config, SOURCE_SIZE, TARGET_SIZE, seed=1).to(dtype)
        return stirred(model)


def stirred(model: Any) -> Any:
    """Weights large enough for every term to matter (papers start theirs near zero)."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.add_(0.3 * noise.to(weight.dtype))
    return model


def wirings() -> list[dict[str, Any]]:
    """Every legal (query_from, attention_to) of a deep decoder."""
    places = ("output", "next_step", "upper_layers")
    subsets = [c for n in (1, 2, 3) for c in itertools.combinations(places, n)]
    return [
        {"query_from": query, "attention_to": to}
        for query, to in itertools.product(("bottom", "top"), subsets)
        if not (query == "top" and "upper_layers" in to)
    ]


DEEP = {"num_layers": 3, "skip": True, "bidirectional": True}
SPARSE = ("sparsemax", "entmax15", "rela")
SCORES = ("dot", "general", "concat", "location", "scaled", "learned_scale")

VARIANTS: list[Variant] = [
    *(Variant(name, {}) for name in MODELS),
    *(Variant(name, {"dropout": 0.3}) for name in MODELS),
    Variant("plain", {"reverse_source": False}),
    Variant("sutskever", {"num_layers": 3, "skip": True}),
    *(Variant("attention", {**DEEP, **wiring}) for wiring in wirings()),
    *(Variant("attention", {"bidirectional": True, "merge": m}) for m in ("sum", "mean")),
    *(
        Variant("luong", {"score": score, "feeding": feeding})
        for score in SCORES
        for feeding in (True, False)
    ),
    *(
        Variant("luong", {"window": window, "window_size": 2, "feeding": feeding, **more})
        for window, more in (
            ("local-m", {}),
            ("local-p", {}),
            ("local-p", {"centre": "code", "renormalise": True}),
        )
        for feeding in (True, False)
    ),
    Variant("luong", {"score": "concat", "concat_keys": False, "attend_end": True}),
    Variant("luong", {"bias": True}),
    Variant("luong", {"num_layers": 2, "skip": True, "bias": True, "bidirectional": True}),
    *(
        Variant("luong", {"bridge": b, "bidirectional": True, "merge": m, "num_layers": 2})
        for b, m in (("copy_h", "sum"), ("linear", "mean"), ("zero", "concat"))
    ),
    Variant("transformer", {"num_heads": 5, "num_layers": 1, "tie": "nothing"}),
    Variant("transformer", {"num_layers": 3, "embedding_size": None, "alignment_head": 2}),
    Variant("modern", {"hidden_size": 12, "num_heads": 3, "num_layers": 1, "tie": "nothing"}),
    Variant("modern", {"hidden_size": 12, "num_heads": 3, "rotate_source": False}),
    Variant(
        "modern",
        {"hidden_size": 12, "num_heads": 6, "num_kv_heads": 2, "qk_norm": True, "num_layers": 3},
    ),
    Variant("hybrid", {"num_layers": 2, "decoder_layers": 3, "attention_heads": 5}),
    Variant(
        "hybrid", {"hidden_size": 12, "tie": "nothing", "attention_heads": 2, "alignment_head": 2}
    ),
    Variant("hybrid", {"num_layers": 1, "attention_heads": 2, "rotate_source": False}),
    Variant("hybrid-ssru", {"num_layers": 1, "decoder_layers": 3, "attention_heads": 5}),
    *(
        Variant("monotonic", {"order": order, "monotonic": monotonic, "window": 2})
        for order, monotonic in ((0, False), (1, True), (1, False))
    ),
    Variant("pointer", {"coverage": False}),
    *(
        Variant("gnmt", {"wiring": wiring, "num_layers": layers, "bridge": first})
        for wiring in ("parallel", "paper", "tf_gnmt_v2", "tf_gnmt")
        for layers, first in ((2, "zero"), (4, "copy"))
    ),
    Variant("gnmt", {"score": "additive", "context_to_output": True, "attention_size": 7}),
    Variant("gnmt", {"wiring": "paper", "context_to_output": True, "normalize": "sparsemax"}),
    *(
        Variant(name, {"normalize": normalize})
        for name, ways in (
            ("luong", SPARSE),
            ("luong-fast", SPARSE),
            ("gnmt", SPARSE),
            ("rnnsearch", ("entmax15",)),
            ("cgru", ("sparsemax",)),
            ("bahdanau", ("rela",)),
            ("transformer", ("sparsemax", "rela")),
        )
        for normalize in ways
    ),
    *(
        Variant(name, {"coverage": coverage, "coverage_size": 3})
        for name in ("rnnsearch", "cgru", "bahdanau")
        for coverage in ("linguistic", "neural")
    ),
    # One layer: below a second one bfloat16's digits of a sharp weight do not last.
    Variant("transformer", {"normalize": "entmax15", "num_layers": 1}),
]
VARIANTS += [
    Variant("qrnn", {"window": 3, "first_window": 5, "bidirectional": False, "num_layers": 3}),
    Variant("qrnn", {"window": 1, "num_layers": 1, "skip": True, "norm": True}),
    Variant("qrnn", {"output": "attentional", "bridge": "zero", "score": "concat"}),
    Variant("sru", {"embedding_size": 10, "bidirectional": False, "bridge": "gates"}),
    Variant("ssru", {"window": 2, "skip": False, "norm": False, "score": "scaled"}),
    Variant("mingru", {"bidirectional": False, "num_layers": 2, "norm": False}),
    Variant("minlstm", {"bridge": "gates", "num_layers": 1}),
    Variant("convs2s", {"scale_gradient": True}),
    Variant("convs2s", {"window": 5, "num_layers": 2, "alignment_layer": 1}),
    Variant("convs2s", {"window": 1, "num_layers": 1, "embedding_size": 7}),
    Variant("ntm", {"controller": "feedforward", "reads": "before_write", "slots": 11}),
    Variant(
        "ntm",
        {"slots": 13, "slot_size": 4, "read_heads": 2, "write_heads": 3, "shift": 2}
        | {"initial_memory": "learned", "reverse_source": True},
    ),
]
VARIANTS = list({str(v): v for v in VARIANTS}.values())
"""Named by their options, without doubles."""
