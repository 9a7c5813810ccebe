"""The laws over every model and wiring."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from jumok import native
from jumok.checks.laws import LAWS, forward_equals_step, invented_batch
from jumok.checks.numerics import NUMERICS
from jumok.models import MODELS
from jumok.nn.noise import Noise
from jumok.nn.paths import recorded_paths
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


class Heard(Noise):
    """Noise that remembers which masks were drawn."""

    drawn: ClassVar[list[tuple[str, int]]] = []

    def mask(self, site: str, rate: float, like: torch.Tensor) -> torch.Tensor:
        Heard.drawn.append((site, self.time))
        return super().mask(site, rate, like)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("variant", NOISY, ids=str)
def test_every_place_draws_its_own_mask(variant: Variant, dtype: torch.dtype) -> None:
    """No site twice at one time, in any form: two layers never share a mask."""
    Heard.drawn.clear()
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, rows=3, target_length=3)
    model = variant.build(dtype)
    model.forward(batch, noise=Heard(seed=5, step=11, example_B=batch.example_B))
    assert Heard.drawn
    assert len(set(Heard.drawn)) == len(Heard.drawn)
    layers = variant.options.get("num_layers", 1)
    if variant.model in ("attention", "luong", "sutskever"):
        places = {site.split("/")[0] for site, _ in Heard.drawn}
        assert {"encoder", "decoder"} <= places
        for side in ("encoder", "decoder"):
            assert {f"{side}/{n}" for n in range(layers)} <= {site for site, _ in Heard.drawn}


@every_variant
def test_forward_equals_step_in_float32(variant: Variant) -> None:
    """float32 is what the fused kernels serve, so here the fast path itself is compared."""
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, rows=4, seed=3)
    finding = forward_equals_step(variant.build(torch.float32), batch, tolerance=5e-5)
    assert finding.holds, finding


def unrolled_by_nature(variant: Variant) -> bool:
    """What no fused kernel computes, though something of a step comes back; see `docs/log.md`."""
    options = {"feeding": variant.model == "luong", **variant.options}
    fused = options.get("score", "general") not in ("concat", "location")
    whole = options.get("window", "global") == "global" and options.get("num_layers", 1) == 1
    sparse = options.get("normalize", "softmax") != "softmax"
    fused = fused and not sparse
    luong = variant.model == "luong" and options["feeding"] and not (fused and whole)
    bahdanau = variant.model in ("rnnsearch", "cgru", "bahdanau") and (
        sparse or "coverage" in options
    )
    gnmt = variant.model == "gnmt" and options.get("wiring", "parallel") != "parallel"
    return luong or bahdanau or gnmt or variant.model == "pointer"


@pytest.mark.parametrize("variant", QUIET, ids=str)
def test_the_fast_path_runs_in_float32(variant: Variant) -> None:
    """A silent fall-back to slow code would pass every other law."""
    if not native.available():
        pytest.skip(f"no native library: {native.status()}")
    if MODELS[variant.model].model.paper == "forward":
        pytest.skip("the paper's form is the whole sequence: there is nothing to unroll")
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    with recorded_paths() as paths:
        variant.build(torch.float32).forward(batch)
    slow = [f"{k}: {v}" for k, v in paths.items() if "native" not in v]
    assert bool(slow) == unrolled_by_nature(variant), paths


@every_variant
def test_the_seed_alone_decides_the_first_weights(variant: Variant) -> None:
    torch.manual_seed(1)
    one = variant.build()
    torch.manual_seed(2)
    other = variant.build()
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a, b), name
