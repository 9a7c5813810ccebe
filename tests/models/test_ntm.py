"""The Neural Turing Machine: its addressing by hand, its edges, its gradients, a copied tape."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jumok.checks.laws import gap, with_gradients
from jumok.checks.numerics import bf16_is_finite, gradients_are_slopes
from jumok.data.order import Plan
from jumok.data.tasks.tape_data import TapeBatch
from jumok.errors import ConfigError
from jumok.models.contract import Output, Want
from jumok.models.ntm import NTM
from jumok.models.ntm_cell import (
    Heads,
    NTMConfig,
    address,
    cosine,
    rewritten,
    sharpened,
    shifted,
)
from jumok.models.ntm_tokens import NTMTokensConfig
from jumok.nn.attention import attend
from jumok.training.data import TrainingData
from jumok.training.options import Optim, Training
from jumok.training.trainer import fit

BITS = 3
SMALL = {"controller_size": 11, "slots": 7, "slot_size": 5}
KINDS: list[dict[str, Any]] = [
    {},
    {"controller": "feedforward"},
    {"reads": "before_write", "initial_memory": "learned"},
    {"read_heads": 2, "write_heads": 3, "shift": 2, "initial_memory": "learned"},
]
every_kind = pytest.mark.parametrize("options", KINDS, ids=str)


def copy_tapes(rows: int, length: int, seed: int, bits: int = BITS) -> TapeBatch:
    """``length`` random words, a mark on a channel of its own, then blanks: say them again."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, 2, (rows, length, bits), generator=generator)
    inputs = torch.zeros(rows, 2 * length + 1, bits + 1)
    inputs[:, :length, :bits] = words
    inputs[:, length, bits] = 1
    targets = torch.zeros(rows, 2 * length + 1, bits)
    targets[:, length + 1 :] = words
    mask = torch.zeros(rows, 2 * length + 1, dtype=torch.bool)
    mask[:, length + 1 :] = True
    return TapeBatch(
        inputs_BTI=inputs,
        targets_BTF=targets,
        target_mask_BT=mask,
        example_B=torch.arange(rows) + 1000 * seed,
    )


def model_of(options: dict[str, Any], dtype: torch.dtype = torch.float64) -> NTM:
    return NTM(NTMConfig(**{**SMALL, **options}), BITS + 1, BITS, seed=1).to(dtype)


def random_heads(rows: int, heads: int, width: int, shifts: int, seed: int = 0) -> Heads:
    g = torch.Generator().manual_seed(seed)

    def drawn(size: int) -> Tensor:
        return torch.randn(rows, heads, size, generator=g, dtype=torch.float64)

    return Heads(
        drawn(width),
        drawn(1).exp(),
        torch.sigmoid(drawn(1)),
        torch.softmax(drawn(shifts), dim=2),
        1 + drawn(1).exp(),
    )


# --- addressing by hand ---------------------------------------------------------------------


def test_addressing_in_numbers() -> None:
    """One head over three slots, each number of (5) to (9) worked out beside it."""
    memory = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]], dtype=torch.float64)
    key = torch.tensor([[[2.0, 0.0]]], dtype=torch.float64)
    # (6): cosines 1, 0 and 6 / (2 sqrt 18) = 1 / sqrt 2.
    torch.testing.assert_close(
        cosine(key, memory.mT)[0, 0],
        torch.tensor([1.0, 0.0, 0.5**0.5], dtype=torch.float64),
        atol=1e-11,
        rtol=0,
    )
    # (5) with strength ln 2: powers of two of the cosines.
    raw = [2.0, 1.0, 2.0 ** (0.5**0.5)]
    content = [x / sum(raw) for x in raw]
    # (7) with gate 1/4 and all of the weight on slot 2 before.
    gated = [0.25 * content[0], 0.25 * content[1] + 0.75, 0.25 * content[2]]
    # (8) with s(-1) = 0.1, s(0) = 0.2, s(1) = 0.7: slot i hears i + 1, i and i - 1.
    turned = [0.1 * gated[(i + 1) % 3] + 0.2 * gated[i] + 0.7 * gated[i - 1] for i in range(3)]
    # (9) with sharpness 3.
    cubes = [x**3 for x in turned]
    expected = [x / sum(cubes) for x in cubes]

    def one(*values: float) -> Tensor:
        return torch.tensor([[values]], dtype=torch.float64)

    heads = Heads(key, one(math.log(2)), one(0.25), one(0.1, 0.2, 0.7), one(3.0))
    found = address(heads, memory.mT, one(0.0, 1.0, 0.0))
    torch.testing.assert_close(found[0, 0].tolist(), expected, atol=1e-10, rtol=0)


def test_writing_in_numbers() -> None:
    """Two heads on one slot: both erase before either adds (3), (4)."""
    memory = torch.tensor([[[8.0, 8.0], [4.0, 4.0]]], dtype=torch.float64)
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]], dtype=torch.float64)
    erase = torch.tensor([[[0.5, 0.0], [1.0, 1.0]]], dtype=torch.float64)
    add = torch.tensor([[[10.0, 0.0], [2.0, 4.0]]], dtype=torch.float64)
    # slot 1: 8 (1 - .5) (1 - .5) + 10 + 1;  8 (1 - 0) (1 - .5) + 2
    # slot 2: 4 (1 - 0) (1 - .5) + 1;        4 (1 - .5) + 2
    expected = [[13.0, 6.0], [3.0, 4.0]]
    assert rewritten(memory.mT, weights, erase, add)[0].mT.tolist() == expected


def test_a_gate_of_one_and_no_shift_is_attention_by_cosine() -> None:
    memory, heads = torch.randn(3, 7, 5, dtype=torch.float64), random_heads(3, 2, 5, 3)
    still = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(3, 2, 3)
    ones = torch.ones(3, 2, 1, dtype=torch.float64)
    heads = heads._replace(gate_BR1=ones, shift_BRK=still, sharpness_BR1=ones)
    found = address(heads, memory.mT, torch.zeros(3, 2, 7, dtype=torch.float64))
    query = heads.strength_BR1 * torch.nn.functional.normalize(heads.key_BRM, dim=2)
    _, expected = attend(query, torch.nn.functional.normalize(memory, dim=2), memory)
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=0)


def test_a_gate_of_nothing_turns_the_weights_it_had() -> None:
    """Location alone: memory has no say, and s = 1 at +1 moves everything one slot on."""
    heads = random_heads(2, 1, 5, 3)
    ahead = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(2, 1, 3)
    nothing = torch.zeros(2, 1, 1, dtype=torch.float64)
    heads = heads._replace(gate_BR1=nothing, shift_BRK=ahead, sharpness_BR1=nothing + 1)
    before = torch.softmax(torch.randn(2, 1, 7, dtype=torch.float64), dim=2)
    for seed in (1, 2):
        g = torch.Generator().manual_seed(seed)
        memory = torch.randn(2, 7, 5, generator=g, dtype=torch.float64)
        found = address(heads, memory.mT, before)
        torch.testing.assert_close(found, before.roll(1, dims=2), atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_a_shift_is_circular_and_keeps_all_mass(n: int) -> None:
    heads = random_heads(3, 2, 5, 2 * n + 1)
    weights = torch.softmax(torch.randn(3, 2, 11, dtype=torch.float64), dim=2)
    found = shifted(weights, heads.shift_BRK)
    torch.testing.assert_close(found.sum(2), torch.ones(3, 2, dtype=torch.float64))
    for i in range(11):  # (8) as it is written, a sum over j
        by_hand = sum(
            weights[..., j] * heads.shift_BRK[..., d + n]
            for j in range(11)
            for d in range(-n, n + 1)
            if (i - j - d) % 11 == 0
        )
        torch.testing.assert_close(found[..., i], by_hand, atol=1e-12, rtol=0)


# --- edges ----------------------------------------------------------------------------------


def test_sharpening_has_a_gradient_where_weights_are_nothing() -> None:
    weights = torch.tensor([[[0.0, 0.0, 0.25, 0.75]]], dtype=torch.float64, requires_grad=True)
    sharpness = torch.tensor([[[2.0]]], dtype=torch.float64, requires_grad=True)
    found = sharpened(weights, sharpness)
    expected = torch.tensor([0.0, 0.0, 0.1, 0.9], dtype=torch.float64)
    torch.testing.assert_close(found[0, 0], expected, atol=1e-12, rtol=0)
    found[0, 0, 3].backward()
    assert torch.isfinite(weights.grad).all()
    # d/dc of w^c / sum w^c is w' (ln w - sum w' ln w'): here 0.9 * 0.1 * ln 3
    torch.testing.assert_close(float(sharpness.grad), 0.09 * math.log(3), atol=1e-12, rtol=0)


@pytest.mark.parametrize("sharpness", [1.0, 50.0, 1e4])
def test_sharpening_keeps_its_sum_whatever_its_power(sharpness: float) -> None:
    """In float32 w^c is 0 for every slot long before this, and 0 / 0 is no weight."""
    weights = torch.softmax(torch.randn(2, 1, 128), dim=2).requires_grad_()
    found = sharpened(weights, torch.full((2, 1, 1), sharpness))
    torch.testing.assert_close(found.sum(2), torch.ones(2, 1))
    found.square().sum().backward()
    assert torch.isfinite(weights.grad).all()


def test_a_memory_or_key_of_zeros_has_a_cosine_and_a_slope() -> None:
    memory = torch.zeros(1, 3, 5, requires_grad=True)
    key = torch.zeros(1, 1, 5, requires_grad=True)
    found = cosine(key, memory.mT)
    assert found.tolist() == [[[0.0, 0.0, 0.0]]]
    found.sum().backward()
    assert torch.isfinite(memory.grad).all() and torch.isfinite(key.grad).all()


@every_kind
def test_what_heads_emit_is_in_range(options: dict[str, Any]) -> None:
    model = model_of(options)
    h = 30 * torch.randn(5, 11, dtype=torch.float64)
    emitted = model.cell.addresses(h).unflatten(1, (-1, sum(model.cell.widths)))
    for heads in model.cell._heads(emitted):
        assert (heads.sharpness_BR1 >= 1).all() and (heads.strength_BR1 >= 0).all()
        assert ((heads.gate_BR1 >= 0) & (heads.gate_BR1 <= 1)).all()
        torch.testing.assert_close(heads.shift_BRK.sum(2), torch.ones_like(heads.gate_BR1[..., 0]))


# --- the machine ----------------------------------------------------------------------------


def run(model: NTM, batch: TapeBatch) -> Output:
    return model.forward(batch, want=~Want.NOTHING)


@every_kind
def test_gradients_are_slopes(options: dict[str, Any]) -> None:
    finding = gradients_are_slopes(model_of(options), copy_tapes(3, 2, seed=0))
    assert finding.holds, finding


@every_kind
def test_every_weight_has_a_share_in_the_likelihood(options: dict[str, Any]) -> None:
    model, batch = model_of(options), copy_tapes(5, 3, seed=0)
    _, gradients = with_gradients(model, batch, lambda: model.forward(batch))
    nothing = [name for name, g in gradients.items() if not g.abs().max() > 0]
    assert nothing == []


@every_kind
def test_bf16_stays_finite(options: dict[str, Any]) -> None:
    finding = bf16_is_finite(model_of(options, torch.float32), copy_tapes(5, 3, seed=0))
    assert finding.holds, finding


@every_kind
def test_weightings_are_shares_of_the_slots(options: dict[str, Any]) -> None:
    model = model_of(options)
    output = run(model, copy_tapes(5, 3, seed=0))
    assert output.weights_BTS is None and output.uniform_BT is None
    assert list(output.maps) == [spec.name for spec in model.maps]
    for spec in model.maps:
        values = output.maps[spec.name]
        assert values.shape == (5, 7, 7) and spec.kind == spec.name.split("/")[0]
        assert (values >= 0).all()
        torch.testing.assert_close(values.sum(2), torch.ones(5, 7, dtype=torch.float64))
    assert model.forward(copy_tapes(5, 3, seed=0)).maps == {}
    assert model.forward(copy_tapes(5, 3, seed=0)).logits_BTV is None


def test_the_likelihood_is_that_of_every_bit() -> None:
    model, batch = model_of({}), copy_tapes(5, 3, seed=0)
    output = run(model, batch)
    p = torch.sigmoid(output.logits_BTV)
    by_hand = torch.where(batch.targets_BTF > 0, p, 1 - p).log().sum(dim=2)
    torch.testing.assert_close(output.log_probs_BT, by_hand, atol=1e-12, rtol=0)


@every_kind
def test_tapes_do_not_see_each_other_nor_the_tape_before(options: dict[str, Any]) -> None:
    """State begins anew with every call, and a row alone says what it says in company."""
    model, batch = model_of(options), copy_tapes(5, 3, seed=0)
    together = run(model, batch).log_probs_BT
    assert torch.equal(run(model, batch).log_probs_BT, together)
    for row in range(5):
        alone = run(model, batch.select(torch.tensor([row]))).log_probs_BT
        assert gap(alone[0], together[row]) < 1e-12


@every_kind
def test_the_future_of_a_tape_is_not_read(options: dict[str, Any]) -> None:
    model, batch = model_of(options), copy_tapes(5, 3, seed=0)
    later = batch.inputs_BTI.clone()
    later[:, 4:] = 1 - later[:, 4:]
    one, other = run(model, batch), run(model, replace(batch, inputs_BTI=later))
    assert torch.equal(one.logits_BTV[:, :4], other.logits_BTV[:, :4])
    assert gap(one.logits_BTV[:, 4:], other.logits_BTV[:, 4:]) > 1e-6


@pytest.mark.parametrize("reads, sees", [("after_write", True), ("before_write", False)])
def test_a_read_sees_this_steps_write_or_not(reads: Any, sees: bool) -> None:
    model = model_of({"reads": reads})
    state = model.cell.start(2)
    x = torch.randn(2, BITS + 1, dtype=torch.float64)
    before = model.cell(x, state)[1].reads_BRM
    with torch.no_grad():
        model.cell.changes.bias.add_(1.0)  # another write, the same addresses
    after = model.cell(x, state)[1].reads_BRM
    assert (gap(after, before) > 1e-6) == sees


@pytest.mark.parametrize(
    "options, message",
    [
        ({"slots": 0}, "`slots` must be at least 1, but is 0."),
        (
            {"slots": 4, "shift": 2},
            "`shift` (2) must be at least 0 and less than half of `slots` (4): a head would meet "
            "itself on the way round.",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        NTMConfig(**options)
    assert caught.value.message == message
    with pytest.raises(ConfigError) as caught:
        NTMTokensConfig(**options)
    assert caught.value.message == message


def test_on_symbols_a_refusal_names_the_option_that_was_given() -> None:
    """The machine calls `hidden_size` its `controller_size`."""
    with pytest.raises(ConfigError) as caught:
        NTMTokensConfig(hidden_size=0)
    assert caught.value.message == "`hidden_size` must be at least 1, but is 0."


# --- what it learns -------------------------------------------------------------------------


def right_bits(model: NTM, length: int, bits: int) -> float:
    test = copy_tapes(50, length, seed=10_000, bits=bits)
    with torch.no_grad():
        said = model.forward(test, want=Want.LOGITS).logits_BTV > 0
    return float((said == (test.targets_BTF > 0))[test.target_mask_BT].float().mean())


def learnt(model: NTM, longest: int, bits: int, updates: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for update in range(updates):
        batch = copy_tapes(16, 1 + update % longest, seed=update, bits=bits)
        optimizer.zero_grad()
        log_probs = model.forward(batch).log_probs_BT[batch.target_mask_BT]
        (-log_probs.mean() / bits).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()


def test_copying_is_learnt_and_goes_on_beyond_what_was_seen() -> None:
    """Tapes of up to four words are copied without fault, and tapes of eight nearly so."""
    config = NTMConfig(controller="feedforward", controller_size=32, slots=12, slot_size=8)
    model = NTM(config, BITS + 1, BITS, seed=3)
    learnt(model, 4, BITS, updates=180)
    assert right_bits(model, 4, BITS) > 0.98
    assert right_bits(model, 8, BITS) > 0.85


@pytest.mark.nightly
def test_longer_tapes_are_copied_to_twice_their_length() -> None:
    config = NTMConfig(controller="feedforward", controller_size=64, slots=24, slot_size=12)
    model = NTM(config, 4 + 1, 4, seed=1)
    learnt(model, 8, 4, updates=400)
    assert right_bits(model, 8, 4) > 0.98
    assert right_bits(model, 16, 4) > 0.9


class Tapes:
    """Copy tapes as the trainer wants its data: an order, and rows as a NumPy batch."""

    def __init__(self, rows: int, length: int) -> None:
        self.batch = copy_tapes(rows, length, seed=5).map(lambda leaf: leaf.numpy())
        lengths = np.full(rows, length)
        plan = Plan(source_lengths=lengths, target_lengths=lengths, seed=0, batch_size=8)
        self.data = TrainingData(plan=plan, collate=self.batch.select, digest="copy tapes")


def test_the_trainer_trains_it_as_any_other_model(tmp_path: Path) -> None:
    """The trainable half of the contract is all that it asks for."""
    model, tapes = model_of({}, torch.float32), Tapes(32, 2)
    batch = tapes.batch.map(torch.from_numpy)

    def score(trained: Any) -> dict[str, float]:
        with torch.no_grad():
            likely = trained.forward(batch).log_probs_BT[batch.target_mask_BT]
        return {"likely": float(likely.mean())}

    before = score(model)["likely"]
    options = Training(max_epochs=None, max_steps=60, choose_by="likely", threads=1)
    fit(model, tapes.data, score, optim=Optim(lr=1e-2), options=options, folder=tmp_path / "run")
    assert score(model)["likely"] > before + 0.2
