"""Dropout masks are functions of (seed, step, site, example, time)."""

from __future__ import annotations

import torch

from jumok.nn.noise import Noise, dropped

B, T, D = 3, 7, 1009


def noise(seed: int = 1, step: int = 2, examples: tuple[int, ...] = (4, 9, 11)) -> Noise:
    return Noise(seed, step, torch.tensor(examples))


def test_no_noise_or_no_rate_is_no_change() -> None:
    x = torch.randn(B, D)
    assert dropped(x, 0.5, "site", None) is x
    assert dropped(x, 0.0, "site", noise()) is x


def test_a_mask_drops_its_share_and_keeps_the_mean() -> None:
    for rate in (0.1, 0.5, 0.9):
        mask = noise().mask("site", rate, torch.zeros(B, T, D))
        kept = mask != 0
        assert torch.allclose(mask[kept], torch.tensor(1 / (1 - rate)))
        assert abs(kept.double().mean() - (1 - rate)) < 0.01


def test_a_step_has_the_mask_of_its_position() -> None:
    whole = noise().mask("site", 0.3, torch.zeros(B, T, D))
    for t in range(T):
        here = noise().at(t).mask("site", 0.3, torch.zeros(B, D))
        assert torch.equal(here, whole[:, t])


def test_a_narrower_layer_has_the_beginning_of_the_mask() -> None:
    wide = noise().mask("site", 0.3, torch.zeros(B, D))
    assert torch.equal(noise().mask("site", 0.3, torch.zeros(B, 31)), wide[:, :31])


def test_an_example_keeps_its_mask_wherever_it_stands() -> None:
    mask = noise(examples=(4, 9, 11)).mask("site", 0.3, torch.zeros(B, T, D))
    turned = noise(examples=(11, 4, 9)).mask("site", 0.3, torch.zeros(B, T, D))
    assert torch.equal(turned, mask[[2, 0, 1]])


def test_everything_in_the_key_matters() -> None:
    like = torch.zeros(B, T, D)
    base = noise().mask("site", 0.5, like)
    others = [
        noise(seed=2).mask("site", 0.5, like),
        noise(step=3).mask("site", 0.5, like),
        noise(examples=(5, 10, 12)).mask("site", 0.5, like),
        noise().mask("other", 0.5, like),
        noise().at(1).mask("site", 0.5, like),
        noise().again().mask("site", 0.5, like),
        noise().again(2).mask("site", 0.5, like),
    ]
    for other in others:
        assert abs((other == base).double().mean() - 0.5) < 0.02, "they agree as strangers would"
    assert torch.equal(noise().mask("site", 0.5, like), base)
    again = noise().again()
    assert torch.equal(again.at(2).mask("site", 0.5, like)[:, 0], others[5][:, 2])
    assert torch.equal(again.again().mask("site", 0.5, like), others[6])
    assert torch.equal(noise().again(0).mask("site", 0.5, like), base)
    assert not torch.equal(base[:, 0], base[:, 1]) and not torch.equal(base[0], base[1])
