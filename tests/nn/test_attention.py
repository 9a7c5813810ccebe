"""attend(), its mask and its scores: closed forms, invariances, edges, gradients."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jumok.errors import ConfigError, DataError
from jumok.nn.attention import (
    Additive,
    Dot,
    General,
    LearnedScale,
    Location,
    attend,
    build_score,
    dot_scores,
    mix,
    over_keys,
    weigh,
)

B, T, S, D, M, A = 3, 5, 7, 11, 13, 2


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=dtype)


def some_mask(seed: int = 0) -> Tensor:
    """Random, with a real position in every row but the last, which has none."""
    mask_BS = torch.rand(B, S, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask_BS[:, 3] = True
    mask_BS[-1] = False
    return mask_BS


# --- closed forms -------------------------------------------------------------------------


def test_two_keys_and_a_logarithm() -> None:
    """Scores 0 and ln 3 give the weights 1/4 and 3/4."""
    query = torch.tensor([[1.0, 0.0]])
    keys = torch.tensor([[[0.0, 5.0], [math.log(3.0), -2.0]]])
    values = torch.tensor([[[4.0], [8.0]]])
    context, weights = attend(query, keys, values)
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(context, torch.tensor([[7.0]]))


@pytest.mark.parametrize("score", ["dot", "scaled"])
@pytest.mark.parametrize("time", [True, False])
def test_attend_is_its_formula_in_loops(score: str, time: bool) -> None:
    query = draw(B, T, D) if time else draw(B, D)
    keys, values, mask = draw(B, S, D), draw(B, S, M), some_mask()
    context, weights = attend(query, keys, values, mask, score=score)
    queries = query.numpy() if time else query.numpy()[:, None]
    found_c = context.numpy() if time else context.numpy()[:, None]
    found_w = weights.numpy() if time else weights.numpy()[:, None]
    for b in range(B - 1):
        real = np.flatnonzero(mask[b].numpy())
        for t in range(queries.shape[1]):
            e = np.array([queries[b, t] @ keys[b, s].numpy() for s in real])
            e = e / np.sqrt(D) if score == "scaled" else e
            a = np.exp(e - e.max()) / np.exp(e - e.max()).sum()
            expected = np.zeros(S)
            expected[real] = a
            np.testing.assert_allclose(found_w[b, t], expected, atol=1e-14)
            np.testing.assert_allclose(
                found_c[b, t], sum(w * values[b, s].numpy() for s, w in zip(real, a, strict=True))
            )
    assert np.all(found_w[-1] == 0) and np.all(found_c[-1] == 0)


def test_self_attention_is_the_same_call() -> None:
    x = draw(B, S, D)
    context, weights = attend(x, x, x, score="scaled")
    assert context.shape == (B, S, D) and weights.shape == (B, S, S)
    alone, _ = attend(x[:, 4], x, x, score="scaled")
    torch.testing.assert_close(context[:, 4], alone)


def test_all_steps_at_once_is_step_by_step() -> None:
    query, keys, values, mask = draw(B, T, D), draw(B, S, D), draw(B, S, M), some_mask()
    context, weights = attend(query, keys, values, mask)
    for t in range(T):
        context_t, weights_t = attend(query[:, t], keys, values, mask)
        torch.testing.assert_close(context[:, t], context_t, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(weights[:, t], weights_t, rtol=1e-13, atol=1e-13)


def test_unequal_sizes_are_named() -> None:
    for call in (lambda: attend(draw(B, 5), draw(B, S, 7), draw(B, S, M)), lambda: Dot(5, 7)):
        with pytest.raises(ConfigError) as caught:
            call()
        assert caught.value.message == (
            "The dot score needs queries and keys of one size, but queries have 5 and keys 7."
        )
        assert re.search("general.*merge = sum or mean", caught.value.hint, re.DOTALL)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ConfigError, match="`score` must be dot or scaled, not 'cosine'"):
        attend(draw(B, D), draw(B, S, D), draw(B, S, M), score="cosine")


# --- the mask and the softmax -------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@given(seed=st.integers(0, 10_000), size=st.integers(1, 64))
def test_weights_are_shares_of_what_the_mask_allows(
    dtype: torch.dtype, seed: int, size: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = (10 * torch.randn(4, size, generator=generator)).to(dtype)
    mask = torch.rand(4, size, generator=generator) < 0.5
    weights = weigh(scores, mask)
    assert weights.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.all(weights[~mask] == 0) and torch.all(weights >= 0)
    sums, somewhere = weights.sum(-1), mask.any(-1)
    bound = 4 * torch.finfo(weights.dtype).eps * size
    assert torch.all((sums[somewhere] - 1).abs() <= bound)
    assert torch.all(sums[~somewhere] == 0)


@given(seed=st.integers(0, 10_000), constant=st.floats(-50, 50))
def test_a_constant_added_to_all_scores_changes_nothing(seed: int, constant: float) -> None:
    scores, mask = draw(B, S, seed=seed), some_mask(seed)
    torch.testing.assert_close(
        weigh(scores + constant, mask), weigh(scores, mask), rtol=0, atol=1e-12
    )


@given(seed=st.integers(0, 10_000))
def test_keys_and_values_may_change_places_together(seed: int) -> None:
    query, keys, values = draw(B, D, seed=seed), draw(B, S, D, seed=seed), draw(B, S, M, seed=seed)
    mask = some_mask(seed)
    order = torch.randperm(S, generator=torch.Generator().manual_seed(seed))
    context, weights = attend(query, keys, values, mask)
    moved, turned = attend(query, keys[:, order], values[:, order], mask[:, order])
    torch.testing.assert_close(turned, weights[:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(moved, context, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("large", [1e4, -1e4])
def test_scores_of_ten_thousand_stay_finite(dtype: torch.dtype, large: float) -> None:
    """Also where all that is allowed is very low: a mask of -10,000 would lose here."""
    scores = torch.full((2, S), large, dtype=dtype)
    scores[:, 2] = -large
    scores = scores.requires_grad_()
    mask = torch.ones(2, S, dtype=torch.bool)
    mask[0, 2] = False
    weights = weigh(scores, mask)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, dtype=weights.dtype))
    assert weights[0, 2] == 0
    (weights * torch.arange(S)).sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_a_row_that_may_attend_nowhere_is_zero_forward_and_backward() -> None:
    query, keys, values = (draw(*s).requires_grad_() for s in ((B, D), (B, S, D), (B, S, M)))
    with torch.autograd.set_detect_anomaly(True):  # not even inside may there be a NaN
        context, weights = attend(query, keys, values, some_mask())
        assert torch.all(weights[-1] == 0) and torch.all(context[-1] == 0)
        (context.sum() + (weights * torch.arange(S)).sum()).backward()
    for leaf in (query, keys, values):
        assert torch.isfinite(leaf.grad).all()
        assert torch.all(leaf.grad[-1] == 0)
        assert torch.any(leaf.grad[0] != 0)


def test_nothing_flows_to_or_from_masked_keys() -> None:
    query, keys, values, mask = draw(B, T, D), draw(B, S, D), draw(B, S, M), some_mask()
    plain = attend(query, keys, values, mask)
    spoilt_keys = keys.masked_fill(~mask[..., None], 1e4).requires_grad_()
    spoilt_values = values.masked_fill(~mask[..., None], -1e4).requires_grad_()
    spoilt = attend(query, spoilt_keys, spoilt_values, mask)
    for one, other in zip(spoilt, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    (spoilt[0].sum() + spoilt[1].square().sum()).backward()
    assert torch.all(spoilt_keys.grad[~mask] == 0) and torch.all(spoilt_values.grad[~mask] == 0)


def test_the_mask_gets_a_time_axis_where_the_query_has_one() -> None:
    mask = some_mask()
    assert over_keys(mask, draw(B, D)) is mask
    assert over_keys(mask, draw(B, T, D)).shape == (B, 1, S)


def test_rows_do_not_see_each_other() -> None:
    """Permutation over the batch; and the last bit, as bit-exact decoding needs it."""
    query, keys, values = (draw(8, *s, dtype=torch.float32) for s in ((D,), (16, D), (16, M)))
    context, _ = attend(query, keys, values)
    order = torch.tensor([5, 0, 7, 2, 2, 6, 1, 3])
    moved, _ = attend(query[order], keys[order], values[order])
    assert torch.equal(moved, context[order])


# --- scores -------------------------------------------------------------------------------


def with_values(score: Any, seed: int = 1) -> Any:
    for number, weight in enumerate(score.parameters()):
        weight.data = draw(*weight.shape, seed=seed + number)
    return score


def by_loops(score: Any, query: np.ndarray, states: np.ndarray) -> np.ndarray:
    """score(q, h_s) for each s, one pair at a time."""
    W = {name: p.detach().numpy() for name, p in score.named_parameters()}
    match score:
        case Dot():
            return np.array([score.scale * (query @ h) for h in states])
        case General():
            return np.array([query @ W["W_a.weight"] @ h for h in states])
        case LearnedScale():
            return np.array([W["g"] * (W["W_k.weight"] @ h) @ query for h in states])
        case Location():
            return np.array([W["W_a.weight"][s] @ query for s in range(len(states))])
        case Additive():
            U_a, b = W.get("U_a.weight", np.eye(states.shape[1])), W.get("U_a.bias", 0.0)
            both = np.concatenate([W["W_a.weight"], U_a], axis=1)
            rows = [np.concatenate([query, h]) for h in states]
            return np.array([W["v_a"] @ np.tanh(both @ one + b) for one in rows])
    raise AssertionError(score)


SCORES: dict[str, Any] = {
    "dot": lambda: Dot(D, D),
    "scaled": lambda: build_score("scaled", D),
    "general": lambda: General(D, M),
    "learned scale": lambda: LearnedScale(D, M),
    "additive": lambda: Additive(D, M, A),
    "additive with bias": lambda: Additive(D, M, A, bias=True),
    "additive without keys": lambda: Additive(D, M, M, key_matrix=False),
    "location": lambda: Location(D, S + 2),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("time", [True, False])
def test_a_score_is_its_formula_pair_by_pair(name: str, time: bool) -> None:
    score = with_values(SCORES[name]().double())
    states = draw(B, S, D if isinstance(score, Dot) else M)
    query = draw(B, T, D) if time else draw(B, D)
    scores = score(query, score.keys(states)).detach()
    assert scores.shape == ((B, T, S) if time else (B, S))
    queries = query if time else query[:, None]
    for b in range(B):
        for t in range(queries.shape[1]):
            expected = by_loops(score, queries[b, t].numpy(), states[b].numpy())
            found = scores[b, t] if time else scores[b]
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_a_product_score_says_that_it_is_one(name: str) -> None:
    """What the fused kernels rely on: score = q . keys."""
    score = with_values(SCORES[name]().double())
    states, query = draw(B, S, D if isinstance(score, Dot) else M), draw(B, D)
    keys = score.keys(states)
    if keys.shape[-1] != D:
        assert not score.is_product
        return
    equal = torch.allclose(score(query, keys), dot_scores(query, keys))
    assert score.is_product == equal


def test_every_score_is_built_by_its_name() -> None:
    kinds = {
        "dot": Dot,
        "scaled": Dot,
        "general": General,
        "learned_scale": LearnedScale,
        "concat": Additive,
        "location": Location,
    }
    for name, kind in kinds.items():
        assert type(build_score(name, 7)) is kind  # type: ignore[arg-type]
    assert build_score("scaled", 49).scale == 1 / 7
    assert build_score("dot", 49).scale == 1
    assert build_score("concat", 7, key_matrix=False).U_a is None
    assert build_score("location", 7, maximum_length=5).maximum_length == 5
    assert LearnedScale(3, 5).g.item() == 1


def test_keys_without_a_matrix_must_fit() -> None:
    with pytest.raises(ConfigError) as caught:
        Additive(5, 7, 11, key_matrix=False)
    assert caught.value.message == (
        "Without a matrix on the keys, `attention_size` (11) must equal the size of the keys (7)."
    )


def test_location_names_its_maximum_and_the_source_that_is_longer() -> None:
    score = Location(D, 5)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 3:] = False
    with pytest.raises(DataError) as caught:
        score.check(mask)
    assert caught.value.message == (
        "a source has 7 symbols, but score = location attends to at most `maximum_length` (5)."
    )
    assert "--model.maximum_length" in caught.value.hint
    mask[0, 5:] = False
    score.check(mask)  # padding may reach beyond


def test_location_gives_padding_beyond_its_maximum_no_weight() -> None:
    score = with_values(Location(D, 5).double())
    query, states = draw(B, D), draw(B, S, M)
    mask = torch.arange(S).expand(B, S) < 5
    weights = weigh(score(query, score.keys(states)), mask)
    torch.testing.assert_close(weights[:, :5], torch.softmax(query @ score.W_a.weight.T, dim=-1))
    assert torch.all(weights[:, 5:] == 0)


# --- gradients ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("time", [True, False])
def test_gradients_of_every_score_are_slopes(name: str, time: bool) -> None:
    """Finite differences through score, mask, softmax and weighted sum, in float64."""
    score = with_values(SCORES[name]().double())
    b, t, s = 2, 3, 5
    width = D if isinstance(score, Dot) else M
    query = (draw(b, t, D) if time else draw(b, D)).requires_grad_()
    states = draw(b, s, width).requires_grad_()
    mask = torch.ones(b, s, dtype=torch.bool)
    mask[1, 3:] = False
    names = [name for name, _ in score.named_parameters()]

    def run(query: Tensor, states: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(names, weights, strict=True))

        class Whole(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.score = score

            def forward(self) -> tuple[Tensor, Tensor]:
                weights = weigh(self.score(query, self.score.keys(states)), over_keys(mask, query))
                return mix(weights, states), weights

        prefixed = {f"score.{k}": v for k, v in given.items()}
        return torch.func.functional_call(Whole(), prefixed, ())

    inputs = (query, states, *score.parameters())
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-8, rtol=1e-6)
