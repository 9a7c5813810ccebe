"""Encoder and decoder stacks and bridges: order of layers and directions, skips, ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jumok.errors import ConfigError
from jumok.nn.noise import Noise
from jumok.nn.stacks import Bridge, DecoderStack, EncoderStack, direction_size
from models import by_hand

E, H, L = 7, 5, 3
LENGTHS = (6, 3, 1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return 0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def filled(part: torch.nn.Module) -> torch.nn.Module:
    part = part.double()
    for number, weight in enumerate(part.parameters()):
        weight.data = draw(*weight.shape, seed=number)
    return part


def padded() -> tuple[Tensor, Tensor]:
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return draw(len(LENGTHS), max(LENGTHS), E), mask


STACKS = [
    {"bidirectional": bidirectional, "merge": merge, "skip": skip, "num_layers": L}
    for bidirectional, merge in ((False, "concat"), (True, "concat"), (True, "sum"), (True, "mean"))
    for skip in (True, False)
]


@pytest.mark.parametrize("options", STACKS, ids=str)
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru-before"])
def test_a_padded_stack_is_each_sentence_alone_in_numpy(cell: str, options: dict) -> None:
    """Outputs, and last states in the order l0f, l0b, l1f, l1b, ...: h and c."""
    gates = {"reset": "before", "z_gates": "new"} if cell == "gru-before" else {}
    stack = filled(EncoderStack(cell.partition("-")[0], E, H, **options, **gates))
    x, mask = padded()
    found = stack(x, mask)
    for row, length in enumerate(LENGTHS):
        read = by_hand.encode(
            by_hand.Weights.of(stack),
            x[row, :length].numpy(),
            kind=cell,
            merge=options["merge"],
            skip=options["skip"],
        )
        states = found.states_BSD[row, :length].detach().numpy()
        np.testing.assert_allclose(states, read.states_SH, atol=1e-12)
        np.testing.assert_allclose(found.h_BLH[row].detach().numpy(), read.h, atol=1e-12)
        if cell == "lstm":
            np.testing.assert_allclose(found.c_BLH[row].detach().numpy(), read.c, atol=1e-12)


def test_layers_and_directions_are_in_their_order() -> None:
    """Each (layer, direction) silenced in turn zeroes its own place and no earlier one."""
    stack = filled(EncoderStack("lstm", E, H, L, bidirectional=True))
    x, mask = padded()
    for depth in range(L):
        for direction, layers in enumerate((stack.forward_layers, stack.backward_layers)):
            kept = [p.data.clone() for p in layers[depth].parameters()]
            for p in layers[depth].parameters():
                p.data.zero_()
            h = stack(x, mask).h_BLH
            place = 2 * depth + direction
            assert torch.all(h[:, place] == 0)
            assert all(torch.any(h[:, other] != 0) for other in range(2 * L) if other != place)
            for p, before in zip(layers[depth].parameters(), kept, strict=True):
                p.data.copy_(before)


def test_a_silent_layer_with_a_skip_is_the_identity() -> None:
    """A residual adds the layer's input."""
    stack = filled(EncoderStack("lstm", H, H, 2, skip=True))
    x = draw(2, 4, H)
    mask = torch.ones(2, 4, dtype=torch.bool)
    for p in stack.parameters():
        p.data.zero_()
    torch.testing.assert_close(stack(x, mask).states_BSD, x)
    decoder = filled(DecoderStack(H, H, 2, skip=True))
    for p in decoder.parameters():
        p.data.zero_()
    zeros = torch.zeros(2, 2, H, dtype=x.dtype)
    torch.testing.assert_close(decoder(x, zeros, zeros, None), x)
    torch.testing.assert_close(decoder.step(x[:, 0], zeros, zeros, None)[0], x[:, 0])


def test_no_skip_where_widths_differ() -> None:
    with_skip = filled(EncoderStack("lstm", E, H, 1, skip=True))
    without = filled(EncoderStack("lstm", E, H, 1))
    x, mask = padded()
    assert torch.equal(with_skip(x, mask).states_BSD, without(x, mask).states_BSD)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("noisy", [True, False])
def test_a_decoder_stack_over_a_sequence_is_its_steps(skip: bool, noisy: bool) -> None:
    stack = filled(DecoderStack(E, H, L, skip=skip, dropout=0.4))
    x, h, c = draw(2, 6, E), draw(2, L, H), draw(2, L, H, seed=3)
    noise = Noise(3, 7, torch.tensor([5, 9])) if noisy else None
    whole = stack(x, h, c, noise)
    for t in range(6):
        here = noise.at(t) if noise else None
        top, h, c = stack.step(x[:, t], h, c, here)
        torch.testing.assert_close(whole[:, t], top, rtol=0, atol=1e-12)


def test_dropout_falls_on_the_input_of_every_layer() -> None:
    """With a rate near one all inputs are 0, so only biases are left: equal at all positions
    of equal state; and no site is forgotten."""
    stack = filled(EncoderStack("lstm", E, H, L, dropout=0.999999))
    x, mask = padded()
    noise = Noise(1, 2, torch.arange(len(LENGTHS)))
    dropped = stack(x, mask, noise=noise)
    other = stack(draw(*x.shape, seed=9), mask, noise=noise)
    assert torch.equal(dropped.h_BLH, other.h_BLH)
    assert not torch.equal(stack(x, mask).h_BLH, other.h_BLH)


# --- bridges ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [s for s in STACKS if not s["skip"]], ids=str)
@pytest.mark.parametrize("kind", ["copy", "copy_h", "linear", "zero"])
def test_a_bridge_is_its_formula(kind: str, options: dict) -> None:
    stack = filled(EncoderStack("lstm", E, H, **options))
    size = stack.output_size
    bridge = filled(Bridge(kind, stack, L, size))
    h_last, c_last = draw(2, L * (1 + options["bidirectional"]), H), draw(2, L * 2, H, seed=1)
    c_last = c_last[:, : h_last.shape[1]]
    h_0, c_0 = (part.detach().numpy() for part in bridge(h_last, c_last))
    assert h_0.shape == c_0.shape == (2, L, size)
    for b in range(2):
        h = by_hand.copied(list(h_last[b].numpy()), options["merge"], options["bidirectional"])
        c = by_hand.copied(list(c_last[b].numpy()), options["merge"], options["bidirectional"])
        if kind == "linear":
            whole = bridge.W.weight.detach().numpy() @ np.concatenate(h)
            h = np.split(np.tanh(whole + bridge.W.bias.detach().numpy()), L)
        h = np.zeros((L, size)) if kind == "zero" else h
        c = c if kind == "copy" else np.zeros((L, size))
        np.testing.assert_allclose(h_0[b], h, atol=1e-13)
        np.testing.assert_allclose(c_0[b], c, atol=1e-13)


def test_a_copy_between_unequal_stacks_is_refused() -> None:
    stack = EncoderStack("lstm", E, H, 2, bidirectional=True)
    for layers, size in ((3, 2 * H), (2, H)):
        with pytest.raises(ConfigError) as caught:
            Bridge("copy", stack, layers, size)
        assert caught.value.message == (
            f"The encoder has 2 layers of {2 * H} and the decoder {layers} of {size}: states "
            "cannot be copied layer by layer."
        )
        assert caught.value.hint == "use equal depths and sizes, or bridge = linear or zero."
    h = torch.zeros(1, 4, H)
    assert Bridge("linear", stack, 3, 11)(h, None)[0].shape == (1, 3, 11)
    assert Bridge("zero", stack, 3, 11)(h, None)[0].shape == (1, 3, 11)


def test_half_a_state_cannot_be_odd() -> None:
    assert direction_size(10, True, "concat") == 5
    assert direction_size(7, True, "sum") == direction_size(7, False, "concat") == 7
    message = r"`hidden_size` \(7\) must be even: concat gives each direction half of it"
    with pytest.raises(ConfigError, match=message):
        direction_size(7, True, "concat")


def test_states_stay_float32_under_autocast() -> None:
    stack = EncoderStack("lstm", E, H, 2, bidirectional=True)
    x, mask = padded()
    with torch.autocast("cpu", torch.bfloat16):
        found = stack(x.float(), mask)
    assert found.h_BLH.dtype == torch.float32
