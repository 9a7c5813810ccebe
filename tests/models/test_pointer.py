"""The pointer-generator by hand, under every law with batches that copy, and its coverage loss."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jumok.checks.laws import LAWS, gap, invented_batch
from jumok.checks.numerics import NUMERICS
from jumok.data.copying import extra_width
from jumok.engine import TorchEngine
from jumok.errors import ConfigError
from jumok.models.contract import Output, Want
from jumok.models.pointer import PointerConfig, PointerGenerator
from jumok.records import EOS, PAD, UNK, Batch, Source
from jumok.search import SearchOptions, score, search
from jumok.training.losses import weigh
from laws.variants import stirred

SOURCE_SIZE, TARGET_SIZE = 17, 13
KINDS: list[dict[str, Any]] = [
    {},
    {"coverage": False},
    {"share": True},
    {"dropout": 0.3},
]
every_kind = pytest.mark.parametrize("options", KINDS, ids=str)


def model_of(
    options: dict[str, Any], dtype: torch.dtype = torch.float64, sizes: tuple[int, ...] = (5, 7, 11)
) -> PointerGenerator:
    E, H, A = sizes
    config = PointerConfig(embedding_size=E, hidden_size=H, attention_size=A, **options)
    source_size = TARGET_SIZE if config.share else SOURCE_SIZE
    return stirred(PointerGenerator(config, source_size, TARGET_SIZE, seed=1)).to(dtype)


def copying(batch: Batch, seed: int = 0) -> Batch:
    """Every source has symbols of its own and of the vocabulary; most of the targets are copied."""
    g = torch.Generator().manual_seed(seed)
    ids, mask = batch.source.ids_BS, batch.source.mask_BS
    copies = torch.full_like(ids, PAD)
    out = batch.target_out_BT.clone()
    for b in range(len(ids)):
        length = int(mask[b].sum())
        own, row = {}, []
        for symbol in ids[b, : length - 1].tolist():  # odd symbols lack in the target's vocabulary
            odd = TARGET_SIZE + own.setdefault(symbol, len(own)) if symbol % 2 else None
            row.append(4 + symbol % 9 if odd is None else odd)
        copies[b, :length] = torch.tensor([*row, EOS])
        for t in range(int(batch.target_mask_BT[b].sum()) - 1):
            if row and torch.rand((), generator=g) < 0.8:
                out[b, t] = row[int(torch.randint(len(row), (), generator=g))]
    target_in = torch.cat([batch.target_in_BT[:, :1], out[:, :-1]], dim=1)
    target_in = target_in.masked_fill(~batch.target_mask_BT, PAD)
    source = replace(batch.source, copy_ids_BS=copies, extra=16)
    return replace(batch, source=source, target_in_BT=target_in, target_out_BT=out)


def batch_for(model: PointerGenerator, **sizes: Any) -> Batch:
    source_size = TARGET_SIZE if model.config.share else SOURCE_SIZE
    return copying(invented_batch(source_size, TARGET_SIZE, **sizes))


def test_the_batch_does_copy() -> None:
    batch = batch_for(model_of({}))
    copied = (batch.target_out_BT >= TARGET_SIZE).sum(dim=1)
    assert (copied > 0).sum() >= 2
    assert (batch.source.copy_ids_BS >= TARGET_SIZE).sum(dim=1).max() < 16
    assert (batch.target_in_BT >= TARGET_SIZE).any()


@pytest.mark.parametrize("law", LAWS)
@every_kind
def test_law_holds_where_symbols_are_copied(options: dict[str, Any], law: str) -> None:
    model = model_of(options)
    finding = LAWS[law](model, batch_for(model))
    assert finding.holds, finding


@pytest.mark.parametrize("law", NUMERICS)
@every_kind
def test_numbers_are_right_where_symbols_are_copied(options: dict[str, Any], law: str) -> None:
    model = model_of(options)
    batch = batch_for(model, rows=3, source_length=5, target_length=3)
    finding = NUMERICS[law](model, batch)
    assert finding.holds, finding


# --- by hand --------------------------------------------------------------------------------


def by_hand(model: PointerGenerator, source: list[int], copies: list[int], read: list[int]) -> Any:
    """(P(w) of every step as lists over V + 16, attention, coverage) of one sentence, in loops."""
    states = model.encode(
        Source(ids_BS=torch.tensor([source]), mask_BS=torch.ones(1, len(source), dtype=torch.bool))
    )
    h_s, h, c = states.states_BSD[0], states.h_BH[0], states.c_BH[0]
    context, coverage = torch.zeros_like(h_s[0]), torch.zeros(len(source), dtype=h.dtype)
    found = []
    for token in read:
        y = model.target_embedding[token if token < TARGET_SIZE else UNK]
        x = model.join(torch.cat([y, context]))
        gates = model.decoder.W_x @ x + model.decoder.W_h @ h + model.decoder.b
        i, f, g, o = gates.chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        s = torch.cat([c, h])
        e = []
        for k in range(len(source)):  # (11)
            inner = model.W_h.weight @ h_s[k] + model.W_s.weight @ s + model.W_h.bias
            if model.w_c is not None:
                inner = inner + model.w_c * coverage[k]
            e.append(model.v @ torch.tanh(inner))
        a = torch.softmax(torch.stack(e), dim=0)  # (2)
        context = sum(a[k] * h_s[k] for k in range(len(source)))  # (3)
        P_vocab = torch.softmax(model.V_out(model.V(torch.cat([h, context]))), dim=0)  # (4)
        gate = model.w_gen @ torch.cat([context, s, x]) + model.b_ptr
        p_gen = torch.sigmoid(gate)[0]  # (8)
        P = [float(p_gen * p) for p in P_vocab] + [0.0] * 16
        for k, copy in enumerate(copies):
            P[copy] += float((1 - p_gen) * a[k])  # (9)
        found.append((P, a, float(p_gen), coverage))
        coverage = coverage + a  # (10)
    return found


@pytest.mark.parametrize("coverage", [True, False])
def test_the_distribution_is_the_papers(coverage: bool) -> None:
    model = model_of({"coverage": coverage})
    source, copies = [5, 9, 6, 5, EOS], [13, 7, 14, 13, EOS]
    read = [2, 14, 7, 13]
    # Beside a longer sentence, with more of its own.
    batch = Batch(
        source=Source(
            ids_BS=torch.tensor([[*source, PAD, PAD], [5, 7, 9, 11, 13, 15, EOS]]),
            mask_BS=torch.tensor([[True] * 5 + [False] * 2, [True] * 7]),
            copy_ids_BS=torch.tensor([[*copies, PAD, PAD], [13, 14, 15, 16, 17, 18, EOS]]),
            extra=16,
        ),
        target_in_BT=torch.tensor([read, read]),
        target_out_BT=torch.tensor([[14, 7, 13, EOS]] * 2),
        target_mask_BT=torch.ones(2, 4, dtype=torch.bool),
        example_B=torch.arange(2),
    )
    with torch.no_grad():
        output = model.forward(batch, want=~Want.NOTHING)
        expected = by_hand(model, source, copies, read)
    P_TV = torch.log_softmax(output.logits_BTV, dim=2).exp()[0]
    for t, (P, a, p_gen, before) in enumerate(expected):
        assert sum(P) == pytest.approx(1, abs=1e-12)
        assert P[15:] == [0.0] * 14 and (P_TV[t, 15:] == 0).all()
        torch.testing.assert_close(P_TV[t].tolist(), P, atol=1e-10, rtol=0)
        torch.testing.assert_close(output.weights_BTS[0, t, :5], a, atol=1e-10, rtol=0)
        copied = (1 - p_gen) * a
        torch.testing.assert_close(output.maps["copied"][0, t, :5], copied, atol=1e-10, rtol=0)
        torch.testing.assert_close(output.maps["coverage"][0, t, :5], before, atol=1e-10, rtol=0)
    # A symbol read or not yet known moves what follows only as the unknown symbol does.
    other = replace(batch, target_in_BT=torch.tensor([[2, 13, UNK, 14]] * 2))
    unread = replace(batch, target_in_BT=torch.tensor([[2, UNK, UNK, UNK]] * 2))
    one, same = model.forward(other).log_probs_BT, model.forward(unread).log_probs_BT
    assert torch.equal(one, same)


def test_without_a_source_to_copy_from_it_is_an_attention_model() -> None:
    """p_gen = 1: V wide, and the gate's weights have no say."""
    model = model_of({})
    batch = invented_batch(SOURCE_SIZE, TARGET_SIZE)
    one = model.forward(batch, want=Want.LOGITS)
    with torch.no_grad():
        model.w_gen.fill_(5.0)
        model.b_ptr.fill_(-5.0)
    assert one.logits_BTV.shape[2] == TARGET_SIZE
    assert torch.equal(model.forward(batch).log_probs_BT, one.log_probs_BT)
    # And a gate that is shut for copying gives the same through the mixture.
    with torch.no_grad():
        model.w_gen.zero_()
        model.b_ptr.fill_(1e3)
    mixed = model.forward(
        replace(copying(batch), target_in_BT=batch.target_in_BT), want=Want.LOGITS
    )
    shut = torch.log_softmax(mixed.logits_BTV, dim=2)[..., :TARGET_SIZE]
    torch.testing.assert_close(shut, one.logits_BTV, atol=1e-10, rtol=0)


def test_how_many_ids_the_batch_has_to_copy_changes_nothing() -> None:
    """Batch-mates with more symbols of their own make logits wider, and no number other."""
    model = model_of({})
    batch = batch_for(model)
    wide = replace(batch, source=replace(batch.source, extra=48))
    one, other = (model.forward(b, want=Want.LOGITS) for b in (batch, wide))
    assert torch.equal(one.logits_BTV, other.logits_BTV[..., : TARGET_SIZE + 16])
    assert (other.logits_BTV[..., TARGET_SIZE + 16 :] == -torch.inf).all()
    assert gap(other.uniform_BT, one.uniform_BT) < 1e-12


def test_sharp_weights_have_finite_gradients() -> None:
    """Attention of exactly 0 on what must be copied, vocabulary entries below 1e-38, float32."""
    model = model_of({}, torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(30)
    batch = batch_for(model, source_length=31)
    real = batch.target_mask_BT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that detecting takes time
        with torch.autograd.detect_anomaly():
            output = model.forward(batch, want=Want.WEIGHTS)
            (output.log_probs_BT[real].sum() + output.uniform_BT[real].sum()).backward()
    assert torch.isfinite(output.log_probs_BT[real]).all()
    for name, weight in model.named_parameters():
        assert torch.isfinite(weight.grad).all(), name


def test_one_embedding_needs_one_vocabulary() -> None:
    with pytest.raises(ConfigError) as caught:
        PointerGenerator(PointerConfig(share=True), 11, 13)
    assert caught.value.message == (
        "`share` needs one vocabulary, but the source has 11 symbols and the target 13."
    )


# --- coverage loss --------------------------------------------------------------------------


def test_the_coverage_loss_is_equation_12() -> None:
    model = model_of({})
    batch = batch_for(model)
    output = model.forward(batch, want=Want.WEIGHTS)
    by_hand = 0.0
    for b in range(len(batch.example_B)):
        coverage = torch.zeros(7, dtype=torch.float64)
        for t in range(int(batch.target_mask_BT[b].sum())):
            a = output.weights_BTS[b, t].detach()
            by_hand += float(torch.minimum(a, coverage).sum())
            coverage = coverage + a
    plain, covered = (weigh(output, batch, coverage_weight=w) for w in (0.0, 0.7))
    found = float(covered.total.detach() - plain.total.detach())
    assert found == pytest.approx(0.7 * by_hand, abs=1e-10) and by_hand > 1
    assert torch.equal(plain.nll_B, covered.nll_B)
    covered.total.backward()
    assert float(model.v.grad.abs().max()) > 0


def test_a_coverage_loss_without_attention_is_refused() -> None:
    batch = batch_for(model_of({}))
    output = Output(log_probs_BT=torch.zeros(5, 6), uniform_BT=None)
    with pytest.raises(ConfigError, match="`coverage_weight` needs attention weights"):
        weigh(output, batch, coverage_weight=1.0)


# --- search ---------------------------------------------------------------------------------

MODES = (
    SearchOptions(max_length=9, maps=True),
    SearchOptions(beam=5, nbest=5, max_length=9, coverage_penalty=0.3, length_penalty="gnmt"),
    SearchOptions(sample=True, nbest=3, temperature=2.0, max_length=9, alternatives=4),
)


def sentences(count: int, seed: int, longest: int = 30) -> list[tuple[list[int], list[int]]]:
    """(ids, copy ids): symbols above 12 are the sentence's own, numbered as they come."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ids = rng.integers(4, SOURCE_SIZE, rng.integers(0, longest)).tolist()
        words = rng.integers(0, 40, len(ids)).tolist()
        own: dict[int, int] = {}
        copies = [4 + w if w < 9 else TARGET_SIZE + own.setdefault(w, len(own)) for w in words]
        found.append(([*ids, EOS], [*copies, EOS]))
    return found


def source_of(rows: list[tuple[list[int], list[int]]]) -> Source:
    width = max(len(ids) for ids, _ in rows)
    ids, copies = (
        np.array([row[side] + [PAD] * (width - len(row[side])) for row in rows]) for side in (0, 1)
    )
    extra = extra_width(copies, TARGET_SIZE)
    return Source(ids_BS=ids, mask_BS=ids != PAD, copy_ids_BS=copies, extra=extra)


@pytest.mark.parametrize("sizes", [(5, 7, 11), (8, 12, 16)])
@pytest.mark.parametrize("options", MODES)
def test_company_with_other_symbols_changes_no_bit(
    options: SearchOptions, sizes: tuple[int, ...]
) -> None:
    """Rows with other symbols, and other numbers of them, side by side."""
    model = model_of({}, torch.float32, sizes)
    with torch.no_grad():
        model.b_ptr.sub_(3)  # rather copy than write
    engine = TorchEngine(model, bits=True)
    rows = sentences(23, seed=3)
    assert engine.vocabulary_size == TARGET_SIZE
    assert {source_of([row]).extra for row in rows} == {16, 32}
    together = search(engine, source_of(rows), options)
    beyond = 0
    for n, row in enumerate(rows):
        [alone] = search(engine, source_of([row]), options, numbers_B=np.array([n]))
        assert len(alone) == len(together[n])
        for one, other in zip(alone, together[n], strict=True):
            assert one.ids_T.tolist() == other.ids_T.tolist()
            assert one.logprobs_T.tobytes() == other.logprobs_T.tobytes()
            assert one.weights_TS.tobytes() == other.weights_TS.tobytes()
            assert set(one.ids_T.tolist()) <= {*range(TARGET_SIZE), *row[1]}
            beyond += int((one.ids_T >= TARGET_SIZE).sum())
    assert beyond > 10


def test_the_mixture_of_a_row_has_the_same_bits_among_any_rows() -> None:
    """Every id in use, up to the last of the row: eight rows alone and after sixteen others."""
    model, g = model_of({}, torch.float32), torch.Generator().manual_seed(0)
    width, late = TARGET_SIZE + 16, slice(16, 24)
    for _ in range(80):
        copies = torch.stack([torch.randperm(width, generator=g) for _ in range(24)])
        mask = torch.ones_like(copies, dtype=torch.bool)
        source = Source(ids_BS=copies % SOURCE_SIZE, mask_BS=mask, copy_ids_BS=copies, extra=16)
        scores, gate = torch.randn(24, TARGET_SIZE, generator=g), torch.randn(24, 1, generator=g)
        a = torch.softmax(torch.randn(24, width, generator=g), dim=1)
        with torch.no_grad():
            encoded = model.encode(source)
            among = model._mixture(scores, gate, a, encoded)[late]
            rows = encoded.select(torch.arange(16, 24))
            assert torch.equal(among, model._mixture(scores[late], gate[late], a[late], rows))


@pytest.mark.parametrize("options", MODES)
def test_what_is_found_is_scored_alike(options: SearchOptions) -> None:
    engine = TorchEngine(model_of({}, torch.float32))
    source = source_of(sentences(11, seed=5))
    found = [hypotheses[-1] for hypotheses in search(engine, source, options)]
    again = score(engine, source, [h.ids_T for h in found])
    for one, other in zip(found, again, strict=True):
        np.testing.assert_allclose(one.logprobs_T, other.logprobs_T, atol=1e-5)
        np.testing.assert_allclose(one.weights_TS, other.weights_TS, atol=1e-5)


def test_tensors_of_a_batch_reach_the_model() -> None:
    """``select`` and ``map`` carry the ids to copy along, and the width beside them."""
    source = source_of(sentences(5, seed=7)).select(np.array([3, 0]))
    moved = source.map(torch.from_numpy)
    assert isinstance(moved.copy_ids_BS, Tensor) and moved.extra == source.extra
    assert moved.copy_ids_BS.tolist() == source.copy_ids_BS.tolist()
