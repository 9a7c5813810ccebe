"""`transformer-base` and `transformer-big` are the paper's, number by number."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jumok.models import MODELS
from jumok.models.transformer import Transformer
from jumok.recipes.options import run_config
from jumok.recipes.rule import Traits, choose
from jumok.training.schedules import Progress, noam_peak, rate

LITTLE = Traits(
    pairs=900, source_unit="character", target_unit="space", source_symbols=7, target_symbols=7
)
"""A corpus for which the rule would choose another size of everything."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("transformer-base", {"D": 512, "h": 8, "ff": 2048, "P": 0.1, "n": 100_000, "mean": 5}),
        ("transformer-big", {"D": 1024, "h": 16, "ff": 4096, "P": 0.3, "n": 300_000, "mean": 20}),
    ],
)
def test_the_presets_are_table_3_and_sections_5_and_6(name: str, expected: dict[str, Any]) -> None:
    run = run_config(name, preset=choose(LITTLE).preset)
    model, optim, training, search = run.model, run.optim, run.training, run.search
    assert (model.hidden_size, model.heads, model.num_layers) == (expected["D"], expected["h"], 6)
    assert (model.feedforward_size, model.dropout) == (expected["ff"], expected["P"])
    assert (model.tie, model.embedding_size, run.data.shared) == ("all", None, True)
    assert (optim.name, optim.betas, optim.eps) == ("adamw", (0.9, 0.98), 1e-9)
    assert (optim.weight_decay, optim.clip_norm, optim.warmup_steps) == (0.0, 0.0, 4000)
    assert (training.label_smoothing, training.average_last) == (0.1, expected["mean"])
    assert (training.max_steps, training.max_epochs) == (expected["n"], None)
    assert (run.data.batch_size, run.data.batch_tokens) == (None, 2 * 25_000)
    assert (search.beam, search.length_penalty, search.length_alpha) == (4, "gnmt", 0.6)
    assert (search.limits(torch.tensor([7]).numpy())[0], search.max_length) == (57, 1000)
    assert MODELS[name].model is Transformer


@pytest.mark.parametrize("name", ["transformer-base", "transformer-big"])
@pytest.mark.parametrize("n", [1, 100, 3999, 4000, 4001, 16_000, 100_000])
def test_the_rate_is_equation_3(name: str, n: int) -> None:
    """lrate = d_model^-0.5 min(step^-0.5, step warmup^-1.5)"""
    run = run_config(name)
    found = rate(run.optim, Progress(step=n, epoch=0.0, fraction=0.0))
    expected = run.model.hidden_size**-0.5 * min(n**-0.5, n * 4000**-1.5)
    assert found == pytest.approx(expected, rel=1e-12)
    assert run.optim.lr == noam_peak(run.model.hidden_size, 4000)


def test_the_papers_peak_by_number() -> None:
    """0.000699 for the base model at update 4,000, half of it at 16,000."""
    optim = run_config("transformer-base").optim
    rates = [rate(optim, Progress(step=n, epoch=0, fraction=0)) for n in (1, 4000, 16_000)]
    assert rates == pytest.approx([1.746928e-7, 6.987712e-4, 3.493856e-4], rel=1e-6)


@pytest.mark.parametrize(("name", "millions"), [("transformer-base", 63), ("transformer-big", 214)])
def test_table_3_counts_as_many_weights(name: str, millions: int) -> None:
    """65 and 213 million in the paper, whose vocabulary has about 37,000 pieces."""
    with torch.device("meta"):
        model = Transformer(run_config(name).model, 37_000, 37_000)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions


def test_a_flag_goes_over_the_preset() -> None:
    run = run_config("transformer-base", flags={"model.num_layers": "2", "optim.lr": "1e-3"})
    assert (run.model.num_layers, run.optim.lr, run.model.hidden_size) == (2, 1e-3, 512)
