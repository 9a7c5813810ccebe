"""The laws over every model and wiring."""

from __future__ import annotations

import pytest
import torch

from jumok.checks.laws import LAWS, forward_equals_step, invented_batch
from jumok.checks.numerics import NUMERICS
from jumok.nn.noise import Noise
from laws.variants import SOURCE_SIZE, TARGET_SIZE, VARIANTS, Variant

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)
QUIET = [v for v in VARIANTS if "dropout" not in v.options]


@pytest.mark.parametrize("law", LAWS)
@every_variant
def test_law_holds(variant: Variant, law: str) -> None:
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    finding = LAWS[law](variant.build(), batch)
    assert finding.holds, finding


@pytest.mark.parametrize("law", NUMERICS)
@pytest.mark.parametrize("variant", QUIET, ids=str)
def test_numbers_are_right(variant: Variant, law: str) -> None:
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, rows=3, source_length=5, target_length=3)
    finding = NUMERICS[law](variant.build(), batch)
    assert finding.holds, finding


NOISY = [
    *(v for v in VARIANTS if "dropout" in v.options),
    *(v._replace(options={**v.options, "dropout": 0.3}) for v in QUIET),
]
NOISY = list({str(v): v for v in NOISY}.values())


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 5e-5)])
@pytest.mark.parametrize("variant", NOISY, ids=str)
def test_forward_equals_step_under_noise(
    variant: Variant, dtype: torch.dtype, tolerance: float
) -> None:
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, seed=2)
    noise = Noise(seed=5, step=11, example_B=batch.example_B)
    finding = forward_equals_step(variant.build(dtype), batch, noise=noise, tolerance=tolerance)
    assert finding.holds, finding


@every_variant
def test_forward_equals_step_in_float32(variant: Variant) -> None:
    """float32 is what the fused kernels serve, so here the fast path itself is compared."""
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, rows=4, seed=3)
    finding = forward_equals_step(variant.build(torch.float32), batch, tolerance=5e-5)
    assert finding.holds, finding


@every_variant
def test_the_seed_alone_decides_the_first_weights(variant: Variant) -> None:
    torch.manual_seed(1)
    one = variant.build()
    torch.manual_seed(2)
    other = variant.build()
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name
