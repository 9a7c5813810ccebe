"""Exported graphs give the hypotheses and the attention of the model they came from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_model import Planted, places

from jumok.engine import TorchEngine
from jumok.errors import MissingExtraError
from jumok.export import export_onnx
from jumok.export.onnx import longest_source
from jumok.export.scans import with_scans
from jumok.models import MODELS
from jumok.models.contract import Want
from jumok.models.ensemble import Ensemble
from jumok.records import EOS, PAD, Source
from jumok.runtime import OnnxEngine
from jumok.search import SearchOptions, score, search

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

VOCABULARY = 23
MODES = (
    SearchOptions(max_length=9, maps=True),
    SearchOptions(beam=4, nbest=4, max_length=9, maps=True),
    SearchOptions(sample=True, nbest=3, max_length=9, maps=True),
)
UNBOUNDED = ("sru", "convs2s")
"""No tanh and no norm stands between two layers."""


def model_of(name: str, **options: str) -> torch.nn.Module:
    entry = MODELS[name]
    sizes = {"embedding_size": 12, "hidden_size": 20, **options}
    model = entry.model(entry.config(**{**entry.preset, **sizes}), VOCABULARY, VOCABULARY, seed=0)
    if name in UNBOUNDED or any("norm" in key for key, _ in model.named_parameters()):
        return model  # sharp enough: each layer would double the rounding of the one below
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


def source_of(*sentences: list[int]) -> Source:
    width = max(map(len, sentences))
    ids_BS = np.full((len(sentences), width), PAD, np.int64)
    for b, sentence in enumerate(sentences):
        ids_BS[b, : len(sentence)] = sentence
    return Source(ids_BS=ids_BS, mask_BS=ids_BS != PAD)


def sources(seed: int, count: int) -> Source:
    """Other sizes than any that the exporter saw; one sentence is empty, one very long."""
    rng = np.random.default_rng(seed)
    lengths = [0, 1, 29, *rng.integers(2, 20, count).tolist()][:count]
    return source_of(*([*rng.integers(4, VOCABULARY, n).tolist(), EOS] for n in lengths))


def compare(model: torch.nn.Module, folder: Path) -> None:
    ours, theirs = TorchEngine(model), OnnxEngine(folder, threads=1)
    assert theirs.vocabulary_size == ours.vocabulary_size and theirs.maps == ours.maps
    for count in (1, 6):
        source = sources(count, count)
        for options in MODES:
            expected, found = (search(engine, source, options) for engine in (ours, theirs))
            for one, other in zip(expected, found, strict=True):
                for h, g in zip(one, other, strict=True):
                    assert h.ids_T.tolist() == g.ids_T.tolist()
                    np.testing.assert_allclose(g.logprobs_T, h.logprobs_T, atol=1e-5)
                    assert (g.weights_TS is None) == (h.weights_TS is None)
                    assert g.maps.keys() == h.maps.keys()
                    if h.weights_TS is not None:
                        np.testing.assert_allclose(g.weights_TS, h.weights_TS, atol=1e-5)
                    for name in h.maps:
                        np.testing.assert_allclose(g.maps[name], h.maps[name], atol=1e-5)
            again = score(theirs, source, [h[-1].ids_T for h in found])
            np.testing.assert_allclose(
                [h.score for h in again], [h[-1].score for h in found], atol=1e-5
            )


def same_attention_is_not_enough(folder: Path) -> None:
    """The negative control of ``compare``: another model's bundle must not pass."""
    with pytest.raises(AssertionError):
        compare(model_of("attention"), folder)


def test_an_exported_attention_model_decodes_as_the_model_does(tmp_path) -> None:
    model = model_of("bahdanau")
    folder = export_onnx(model, tmp_path / "bundle")
    compare(model, folder)
    same_attention_is_not_enough(folder)
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    encoder = onnx.load(str(folder / "encoder.onnx")).graph
    step = onnx.load(str(folder / "step.onnx")).graph
    leaves = [o.name for o in encoder.output]
    read = [i.name for i in step.input]
    assert [i.name for i in encoder.input] == ["ids_BS", "mask_BS"]
    assert read[0] == "token_B" and set(read[1:]) <= set(leaves)
    assert {o.name for o in step.output} == {
        "log_probs_BV",
        "weights_BS",
        *(f"next.{name}" for name in leaves if name.startswith("state.")),
    }
    for name in leaves + read:
        assert name in manifest["encoder"] or name in manifest["step"]
    state = manifest["step"]["log_probs_BV"]
    assert state == [-1, VOCABULARY] and manifest["encoder"]["encoded.mask_BS"] == [-1, -1]


def test_the_planted_alignment_survives_the_export_maps_included(tmp_path) -> None:
    folder = export_onnx(Planted(VOCABULARY), tmp_path / "bundle")
    rng = np.random.default_rng(5)
    sentences = [[*rng.integers(4, VOCABULARY, n).tolist(), EOS] for n in (7, 3, 0, 11)]
    for bits in (False, True):
        engine = OnnxEngine(folder, bits=bits, threads=1)
        for options in MODES:
            found = search(engine, source_of(*sentences), options)
            for words, hypotheses in zip(sentences, found, strict=True):
                for h in hypotheses:
                    truth_T = places(len(words) - 1, h.ids_T.tolist())
                    np.testing.assert_array_equal(h.weights_TS, np.eye(len(words))[truth_T])
                    np.testing.assert_array_equal(h.maps["mask"], np.ones((len(words),) * 2))
    leaves = {o.name for o in onnx.load(str(folder / "encoder.onnx")).graph.output}
    assert "map.mask" in leaves and not any(name.startswith("encoded.maps") for name in leaves)
    read = {i.name for i in onnx.load(str(folder / "step.onnx")).graph.input}
    assert "encoded.unread_BS" in leaves - read


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name in MODELS if name != "bahdanau"])
def test_every_exported_model_decodes_as_the_model_does(name, tmp_path) -> None:
    model = model_of(name)
    compare(model, export_onnx(model, tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("name", "normalize"),
    [
        ("luong-fast", "sparsemax"),
        pytest.param("luong", "entmax15", marks=pytest.mark.nightly),
        pytest.param("bahdanau", "rela", marks=pytest.mark.nightly),
        pytest.param("transformer", "sparsemax", marks=pytest.mark.nightly),
    ],
)
def test_every_way_of_attending_can_be_exported(name, normalize, tmp_path) -> None:
    model = model_of(name, normalize=normalize)
    compare(model, export_onnx(model, tmp_path / "bundle"))


@pytest.mark.parametrize("name", MODELS)
def test_scans_are_the_layers_they_stand_for(name) -> None:
    model = model_of(name)
    source = sources(3, 5).map(torch.from_numpy)
    with torch.no_grad():
        one = model.encode(source, want=Want.MAPS)
        other = with_scans(model).encode(source, want=Want.MAPS)
    encoded, scanned = one.arrays() | dict(one.maps), other.arrays() | dict(other.maps)
    assert encoded.keys() == scanned.keys()
    for leaf, values in encoded.items():
        # Sums in another order; of all models qrnn with doubled weights rounds most: 1.4e-6.
        bound = 2e-6 * max(1.0, float(values.double().abs().max()))
        torch.testing.assert_close(scanned[leaf], values, atol=bound, rtol=0)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra_it_is_named(package, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as missing:
        export_onnx(model_of("luong"), tmp_path)
    assert missing.value.message.startswith(f"exporting to ONNX needs the package {package}")
    assert missing.value.hint == "pip install 'jumok[export]'"


@pytest.mark.parametrize(("end", "longest"), [(True, 9), (False, 10)])
def test_a_bundle_says_how_far_attention_by_location_reaches(end: bool, longest: int) -> None:
    """The end symbol needs no row of W_a where it is not attended to."""
    entry = MODELS["luong"]
    config = entry.config(score="location", maximum_length=9, attend_end=end, hidden_size=6)
    assert longest_source(entry.model(config, VOCABULARY, VOCABULARY)) == longest
    assert longest_source(model_of("luong")) is None


def test_an_ensemble_is_exported_as_any_model(tmp_path: Path) -> None:
    """Its members' states and what they encoded are leaves as all others are."""
    model = Ensemble([model_of("luong"), model_of("plain")])
    runtime = OnnxEngine(export_onnx(model, tmp_path / "bundle"))
    given, options = sources(3, 6), MODES[1]
    for here, there in zip(
        search(TorchEngine(model), given, options), search(runtime, given, options), strict=True
    ):
        for one, other in zip(here, there, strict=True):
            assert one.ids_T.tolist() == other.ids_T.tolist()
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.weights_TS == pytest.approx(other.weights_TS, abs=1e-5)
            assert set(one.maps) == set(other.maps) == {"1/weights"}
