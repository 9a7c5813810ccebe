"""Exact hard attention against the sum over every path, written out; edges; what it learns."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from jumok.checks.laws import invented_batch, loss_of
from jumok.errors import ConfigError
from jumok.models.contract import Want, unroll
from jumok.models.monotonic import Monotonic, MonotonicConfig, log_total, shifted
from jumok.records import BOS, EOS, PAD, Batch, Source
from laws.variants import stirred

SOURCE_SIZE, TARGET_SIZE = 11, 7
KINDS = [(order, monotonic) for order in (0, 1) for monotonic in (True, False)]
every_kind = pytest.mark.parametrize("order, monotonic", KINDS)


def model_of(order: int, monotonic: bool, *, window: int = 2, seed: int = 1) -> Monotonic:
    config = MonotonicConfig(
        order=order, monotonic=monotonic, window=window, embedding_size=5, hidden_size=3
    )
    return stirred(Monotonic(config, SOURCE_SIZE, TARGET_SIZE, seed=seed).double())


def source_of(*rows: list[int]) -> Source:
    width = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    return Source(ids_BS=ids, mask_BS=ids != PAD)


def batch_of(source: Source, out_BT: Tensor) -> Batch:
    first = torch.full((len(out_BT), 1), BOS)
    return Batch(
        source=source,
        target_in_BT=torch.cat([first, out_BT[:, :-1]], dim=1),
        target_out_BT=out_BT,
        target_mask_BT=torch.ones_like(out_BT, dtype=torch.bool),
        example_B=torch.arange(len(out_BT)),
    )


# --- all paths, one by one ------------------------------------------------------------------


class ByHand:
    """p(a, y | x) of one pair from (1) to (4) with sums over explicit paths, not a filter."""

    def __init__(self, model: Monotonic, source: list[int], target: list[int]) -> None:
        self.model, self.S, self.target = model, len(source), target
        with torch.no_grad():
            one = source_of(source)
            embedded = model.source_embedding[one.ids_BS]
            self.states = model.encoder(embedded, one.mask_BS).states_BSD[0]
            read = torch.tensor([[BOS, *target[:-1]]])
            zeros = torch.zeros(1, 1, 3, dtype=torch.float64)
            self.h = model.decoder(model.target_embedding[read], zeros, zeros, None)[0]

    def come(self, t: int, r: int, s: int) -> float:
        """p(a_t = s | a_{t-1} = r)."""
        config, keys, h = self.model.config, self.model.T(self.states), self.h[t]
        if config.order == 0:
            e = torch.exp(keys @ h)
            if not config.monotonic:
                return float(e[s] / e.sum())
            return float(e[s] / e[r:].sum()) if s >= r else 0.0
        back = 0 if config.monotonic else config.window
        scores = torch.exp(self.model.U_h(h) + self.model.U_r(keys[r]))
        share = {
            r + k: float(scores[k + back])
            for k in range(-back, config.window + 1)
            if 0 <= r + k < self.S
        }
        return share.get(s, 0.0) / sum(share.values())

    def speak(self, t: int, s: int) -> float:
        """p(y_t | a_t = s)."""
        model = self.model
        joined = torch.cat([self.h[t], self.states[s]])
        V = torch.cat([model.V_h.weight, model.V_s.weight], dim=1)
        logits = model.W(torch.tanh(V @ joined + model.V_s.bias))
        return float(torch.softmax(logits, dim=0)[self.target[t]])

    def paths(self, length: int) -> dict[tuple[int, ...], float]:
        """Path -> p(a_1 .. a_length, y_1 .. y_length), every path there is."""
        found = {}
        with torch.no_grad():
            for path in itertools.product(range(self.S), repeat=length):
                p, before = 1.0, 0
                for t, s in enumerate(path):
                    p *= self.come(t, before, s) * self.speak(t, s)
                    before = s
                found[path] = p
        return found


@every_kind
def test_the_likelihood_is_the_sum_over_every_path(order: int, monotonic: bool) -> None:
    model = model_of(order, monotonic)
    source, target = [5, 9, 4, EOS], [4, 6, 5, EOS]
    hand = ByHand(model, source, target)
    # Beside a longer sentence, so that padding takes part.
    both = source_of(source, [6, 6, 7, 8, 9, EOS])
    batch = batch_of(both, torch.tensor([target, target]))
    with torch.no_grad():
        output = model.forward(batch, want=Want.WEIGHTS | Want.MAPS)
    before = 1.0
    for t in range(len(target)):
        paths = hand.paths(t + 1)
        total = sum(paths.values())
        found = output.log_probs_BT[0, t].exp()
        torch.testing.assert_close(float(found), total / before, atol=1e-10, rtol=0)
        for s in range(len(source)):
            ends = sum(p for path, p in paths.items() if path[-1] == s)
            with torch.no_grad():
                prior = ends / before / hand.speak(t, s)
            assert float(output.weights_BTS[0, t, s]) == pytest.approx(prior, abs=1e-10)
            if t + 1 < len(target):
                posterior = output.maps["posterior"][0, t + 1, s]
                assert float(posterior) == pytest.approx(ends / total, abs=1e-10)
        before = total
    assert torch.equal(output.maps["posterior"][0, 0], torch.eye(6, dtype=torch.float64)[0])
    if monotonic:
        backward = [p for path, p in hand.paths(3).items() if list(path) != sorted(path)]
        assert backward and not any(backward)


@every_kind
def test_all_strings_together_have_probability_one(order: int, monotonic: bool) -> None:
    """Every string that ends within three symbols, and every beginning that does not."""
    model, length = model_of(order, monotonic), 3
    strings = set()
    for row in itertools.product(range(TARGET_SIZE), repeat=length):
        end = row.index(EOS) + 1 if EOS in row else length
        strings.add(row[:end])
    rows = sorted(strings)
    padded = torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows])
    real = torch.tensor([[t < len(row) for t in range(length)] for row in rows])
    source = source_of([5, 9, 4, 8, EOS]).select(torch.zeros(len(rows), dtype=torch.long))
    with torch.no_grad():
        log_probs = model.forward(batch_of(source, padded)).log_probs_BT
    total = (log_probs * real).sum(dim=1).exp().sum()
    torch.testing.assert_close(float(total), 1.0, atol=1e-12, rtol=0)


# --- edges ----------------------------------------------------------------------------------


@every_kind
def test_sharp_weights_and_long_sources_have_finite_gradients(order: int, monotonic: bool) -> None:
    """float32, scores in the hundreds, 61 positions of which a window of 2 reaches few."""
    model = model_of(order, monotonic).float()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(20)
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, source_length=61, target_length=7)
    output = model.forward(batch, want=Want.WEIGHTS)
    loss_of(batch, output).backward()
    assert torch.isfinite(output.log_probs_BT).all()
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            assert torch.isfinite(weight.grad).all(), name
    sums = output.weights_BTS.sum(dim=2)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)


def test_a_window_is_not_overstepped() -> None:
    """Order 1, w = 2: after t steps nothing lies beyond position 2 (t + 1), exactly."""
    model = model_of(1, True)
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE, source_length=13, target_length=5)
    weights = model.forward(batch, want=Want.WEIGHTS).weights_BTS
    for t in range(5):
        reach = 2 * (t + 1)
        assert (weights[0, t, reach + 1 :] == 0).all()
        assert (weights[0, t, : reach + 1] > 0).all()


def test_the_step_goes_on_from_the_symbol_it_is_given() -> None:
    """Another symbol moves the next prior: the filter is conditioned on what was emitted."""
    model = model_of(0, True)
    source = source_of([5, 9, 4, 8, EOS])
    encoded = model.encode(source)
    begun = model.step(torch.tensor([BOS]), model.start(encoded), encoded).state
    priors = []
    for token in (4, 5):
        # The LSTM is told the same; only the filter hears another symbol.
        joint = begun.joint_BSV.clone()
        joint[:, :, 4] = begun.joint_BSV[:, :, token]
        state = replace(begun, joint_BSV=joint)
        priors.append(model.step(torch.tensor([4]), state, encoded).weights_BS)
    assert (priors[0] - priors[1]).abs().max() > 1e-3


def test_log_total_is_logsumexp_without_its_nan() -> None:
    x = torch.tensor([[1.0, -torch.inf, 2.5], [-torch.inf] * 3], dtype=torch.float64)
    x.requires_grad_()
    total = log_total(x, dim=1)
    torch.testing.assert_close(total[0], torch.logsumexp(x[0], 0))
    assert total[1] == -torch.inf
    total[0].backward()
    expected = torch.tensor([[1.0, 0.0, 2.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    share = torch.exp(expected[0] - torch.logsumexp(x[0].detach(), 0)) * (x[0] > -torch.inf)
    torch.testing.assert_close(x.grad, torch.stack([share, torch.zeros(3, dtype=share.dtype)]))


@pytest.mark.parametrize("k", [-7, -5, -2, 0, 2, 5, 7])
def test_shifted_moves_and_fills(k: int) -> None:
    x = torch.arange(1.0, 6.0)[None]
    expected = [float(s - k + 1) if 0 <= s - k < 5 else 0.0 for s in range(5)]
    assert shifted(x, k, 0.0).tolist() == [expected]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"order": 2}, "`order` must be 0 or 1, but is 2."),
        ({"window": 0}, "`window` must be at least 1, but is 0."),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MonotonicConfig(**options)
    assert caught.value.message == message


# --- what it learns -------------------------------------------------------------------------


def spelling(rows: int, seed: int) -> Batch:
    """Letters 4 .. 9 are spelt with one symbol each, 10 with two: 4 -> 4, ..., 10 -> 5 6."""
    g = torch.Generator().manual_seed(seed)
    sources, targets = [], []
    for _ in range(rows):
        word = torch.randint(4, SOURCE_SIZE, (5,), generator=g).tolist()
        sources.append([*word, EOS])
        said = [symbol for n in word for symbol in ((5, 6) if n == 10 else (4 + n % 3,))]
        targets.append([*said, EOS])
    width = max(map(len, targets))
    out = torch.tensor([row + [PAD] * (width - len(row)) for row in targets])
    batch = batch_of(source_of(*sources), out)
    return replace(batch, target_mask_BT=out != PAD)


@pytest.mark.parametrize("order", [0, 1])
def test_spelling_is_learnt_with_its_alignment(order: int) -> None:
    config = MonotonicConfig(order=order, embedding_size=16, hidden_size=24, num_layers=1)
    model = Monotonic(config, SOURCE_SIZE, TARGET_SIZE, seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for update in range(120):
        batch = spelling(32, update)
        optimizer.zero_grad()
        log_probs = model.forward(batch).log_probs_BT
        (-(log_probs * batch.target_mask_BT).sum() / batch.target_mask_BT.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    test = spelling(100, 10_000)
    with torch.no_grad():
        output = unroll(model, test, want=Want.LOGITS | Want.WEIGHTS)
    right = (output.logits_BTV.argmax(2) == test.target_out_BT) | ~test.target_mask_BT
    assert right.float().mean() > 0.99
    assert right.all(dim=1).float().mean() > 0.95
    plain = [b for b in range(100) if 10 not in test.source.ids_BS[b].tolist()]
    assert len(plain) > 30
    looks = output.weights_BTS[plain][:, :5].argmax(dim=2)
    beside = (looks - torch.arange(5)).abs()  # a neighbour's state knows the letter, too
    assert (beside <= 1).float().mean() > 0.95
    assert (beside == 0).float().mean() > 0.6
