"""What a configuration may say, what it may not and why; the papers' first weights."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from jumok.errors import ConfigError, DataError
from jumok.models import MODELS, entry
from jumok.models.bahdanau import READOUT, BahdanauConfig
from jumok.models.luong import LuongConfig
from jumok.models.scratch_attention import BookAttentionConfig
from jumok.records import EOS, Source
from laws.variants import wirings

PLACES = ("output", "next_step", "upper_layers")
SUBSETS = [c for n in range(4) for c in itertools.combinations(PLACES, n)]


def refusal(query: str, to: tuple[str, ...], layers: int) -> str | None:
    """Why a wiring is illegal; None where it is legal."""
    if not to:
        return "`attention_to` is empty: nothing would read the context."
    if "upper_layers" in to and layers < 2:
        return (
            f"`attention_to` has upper_layers, but `num_layers` is {layers}: "
            "no layer stands above the one that asks."
        )
    if "upper_layers" in to and query == "top":
        return (
            "`attention_to` has upper_layers, but `query_from` is top: no layer stands above "
            "the one that asks."
        )
    return None


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("query", ["bottom", "top"])
@pytest.mark.parametrize("to", SUBSETS, ids=str)
def test_every_wiring_is_legal_or_says_why_not(
    query: Any, to: tuple[Any, ...], layers: int
) -> None:
    reason = refusal(query, to, layers)

    def make() -> BookAttentionConfig:
        return BookAttentionConfig(query_from=query, attention_to=to, num_layers=layers)

    if reason is None:
        assert make().attention_to == to
        if layers == 3:
            assert {"query_from": query, "attention_to": to} in wirings()
    else:
        with pytest.raises(ConfigError) as caught:
            make()
        assert caught.value.message == reason


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: LuongConfig(hidden_size=7, bidirectional=True),
            "`hidden_size` (7) must be even: concat gives each direction half of it.",
        ),
        (
            lambda: BookAttentionConfig(hidden_size=7, bidirectional=True),
            "`hidden_size` (7) must be even: concat gives each direction half of it.",
        ),
        (
            lambda: BahdanauConfig(hidden_size=7, preset="notes"),
            "`hidden_size` (7) must be even: concat gives each direction half of it.",
        ),
        (
            lambda: LuongConfig(window_size=0),
            "`window_size` must be at least 1, but is 0.",
        ),
    ],
)
def test_a_size_that_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.message == message


def test_odd_sizes_are_fine_where_nothing_is_halved() -> None:
    LuongConfig(hidden_size=7, bidirectional=True, merge="sum")
    LuongConfig(hidden_size=7)
    BahdanauConfig(hidden_size=7)


def test_an_unknown_model_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        entry("loung")
    assert caught.value.message == "there is no model called 'loung'. Did you mean luong?"
    assert caught.value.hint == f"models: {', '.join(MODELS)}."
    assert entry("luong") is MODELS["luong"]


def test_location_refuses_a_longer_source_by_name() -> None:
    config = LuongConfig(score="location", maximum_length=5, hidden_size=6, embedding_size=4)
    model = MODELS["luong"].model(config, 11, 7)
    for words, fits in ((5, True), (6, False)):
        ids = torch.tensor([[*range(4, 4 + words), EOS]])
        source = Source(ids_BS=ids, mask_BS=ids > 0)
        if fits:  # the end symbol is not attended to, so it needs no row
            assert model.encode(source).mask_BS.sum() == 5
        else:
            with pytest.raises(DataError, match=r"6 symbols.*at most `maximum_length` \(5\)"):
                model.encode(source)


# --- first weights ------------------------------------------------------------------------

BIG = {"embedding_size": 211, "hidden_size": 128}


def built(name: str, **options: Any) -> Any:
    found = MODELS[name]
    return found.model(found.config(**{**BIG, **found.preset, **options}), 307, 401)


def spread(weight: torch.Tensor) -> float:
    return float(weight.detach().std())


@pytest.mark.parametrize("name", ["plain", "peeky", "attention"])
def test_the_books_first_weights(name: str) -> None:
    """Embeddings N(0, 0.01^2), matrices N(0, 1 / inputs), biases 0."""
    for key, weight in built(name).named_parameters():
        if weight.dim() == 1:
            assert torch.all(weight == 0), key
        else:
            expected = 0.01 if "embedding" in key else weight.shape[1] ** -0.5
            assert abs(spread(weight) / expected - 1) < 0.05, key


@pytest.mark.parametrize("name, r", [("luong", 0.1), ("sutskever", 0.08)])
def test_first_weights_from_a_range(name: str, r: float) -> None:
    for key, weight in built(name, initial_range=r).named_parameters():
        assert weight.abs().max() <= r, key
        assert abs(spread(weight) / (r / 3**0.5) - 1) < 0.1, key


def test_the_learned_scale_starts_at_one() -> None:
    assert built("luong", score="learned_scale").score.g.item() == 1


def square(weight: torch.Tensor) -> bool:
    return weight.dim() == 2 and weight.shape[0] == weight.shape[1]


def assert_orthogonal(block: torch.Tensor) -> None:
    torch.testing.assert_close(block @ block.T, torch.eye(len(block)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["rnnsearch", "cgru", "bahdanau"])
def test_bahdanaus_first_weights(name: str) -> None:
    """Recurrent orthogonal, W_a and U_a N(0, 0.001^2), v_a 0, biases 0; the notes' own rule; of
    the conditional GRU what is square is orthogonal, the rest and v_a N(0, 0.01^2)."""
    model = built(name)
    for key, weight in model.named_parameters():
        if key.endswith("W_h"):
            for block in weight.detach().split(weight.shape[1]):
                assert_orthogonal(block)
        elif weight.dim() == 1 and not (name != "rnnsearch" and key == "align.v_a"):
            assert torch.all(weight == 0), key
        elif name == "cgru" and square(weight) and not key.startswith(READOUT):
            assert_orthogonal(weight.detach())
        elif weight.dim() > 1:
            tiny = name == "rnnsearch" and key.startswith("align")
            expected = weight.shape[1] ** -0.5 if name == "bahdanau" else (0.001 if tiny else 0.01)
            assert abs(spread(weight) / expected - 1) < 0.05, key
    if name != "rnnsearch":
        v_a = model.align.v_a
        expected = 0.01 if name == "cgru" else len(v_a) ** -0.5
        assert abs(spread(v_a) / expected - 1) < 0.2


def test_the_conditional_grus_readout_is_never_orthogonal() -> None:
    """Square or not: the code says so of these three, and of no other."""
    model = built("cgru", readout_size=64, hidden_size=64, embedding_size=64, attention_size=128)
    for name in ("W_1", "W_2"):
        assert abs(spread(getattr(model.decoder, name).weight) / 0.01 - 1) < 0.05
    assert_orthogonal(model.align.U_a.weight.detach())
    assert_orthogonal(model.decoder.gru_1.W_x.detach()[:64])


def test_luong_has_no_biases_unless_asked() -> None:
    """The paper: none in the LSTMs, the attention, W_c or W_s."""
    for bias in (False, True):
        names = [n for n, p in built("luong", bias=bias).named_parameters() if p.dim() == 1]
        assert bool(names) == bias


@pytest.mark.parametrize("window", ["local-m", "local-p"])
@pytest.mark.parametrize("normalize", ["sparsemax", "entmax15", "rela"])
def test_a_local_window_is_softmax_only(window: Any, normalize: Any) -> None:
    assert LuongConfig(normalize=normalize).normalize == normalize
    with pytest.raises(ConfigError) as caught:
        LuongConfig(window=window, normalize=normalize)
    assert caught.value.message == (
        f"`normalize` = {normalize} needs `window` = global: a local window stands over softmax "
        "weights (10)."
    )
