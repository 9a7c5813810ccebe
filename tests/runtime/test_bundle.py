"""The torch-free engine over graphs written by hand: cursors, trimming, damage, no torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from jumok.errors import DataError, ModelFolderError
from jumok.records import BOS, EOS, PAD, Source
from jumok.runtime import OnnxEngine
from jumok.runtime.onnx_engine import FORMAT
from jumok.search import Ask, SearchOptions, score, search

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
VOCABULARY, WIDTH = 7, 3


def bigrams() -> np.ndarray:
    """log p(next | token), seven by seven."""
    logits_VV = np.random.default_rng(3).normal(size=(VOCABULARY, VOCABULARY)) * 2
    return (logits_VV - np.log(np.exp(logits_VV).sum(1, keepdims=True))).astype(np.float32)


def encoder_graph() -> bytes:
    """encoded.ids_BS = ids; state.sum_BX = how many tokens were fed, three times over."""
    h, t = onnx.helper, onnx.TensorProto
    nodes = [
        h.make_node("Identity", ["ids_BS"], ["encoded.ids_BS"]),
        h.make_node("Identity", ["ids_BS"], ["encoded.unread_BS"]),
        h.make_node("ReduceSum", ["ids_BS", "one"], ["sum_B1"], keepdims=1),
        h.make_node("Cast", ["sum_B1"], ["sum_float_B1"], to=t.FLOAT),
        h.make_node("Mul", ["sum_float_B1", "zeros"], ["state.fed_BX"]),
        h.make_node("Cast", ["mask_BS"], ["map.real"], to=t.FLOAT),
    ]
    graph = h.make_graph(
        nodes,
        "encoder",
        [
            h.make_tensor_value_info("ids_BS", t.INT64, ["B", "S"]),
            h.make_tensor_value_info("mask_BS", t.BOOL, ["B", "S"]),
        ],
        [
            h.make_tensor_value_info("encoded.ids_BS", t.INT64, ["B", "S"]),
            h.make_tensor_value_info("encoded.unread_BS", t.INT64, ["B", "S"]),
            h.make_tensor_value_info("state.fed_BX", t.FLOAT, ["B", WIDTH]),
            h.make_tensor_value_info("map.real", t.FLOAT, ["B", "S"]),
        ],
        [
            onnx.numpy_helper.from_array(np.array([1]), "one"),
            onnx.numpy_helper.from_array(np.zeros((1, WIDTH), np.float32), "zeros"),
        ],
    )
    return model_of(graph)


def step_graph() -> bytes:
    """A bigram model whose weights are ids * 10 + tokens fed: they tell row and time apart."""
    h, t = onnx.helper, onnx.TensorProto
    nodes = [
        h.make_node("Gather", ["bigrams", "token_B"], ["log_probs_BV"]),
        h.make_node("Add", ["state.fed_BX", "ones"], ["next.state.fed_BX"]),
        h.make_node("Cast", ["encoded.ids_BS"], ["ids_float_BS"], to=t.FLOAT),
        h.make_node("Mul", ["ids_float_BS", "ten"], ["tens_BS"]),
        h.make_node("ReduceMax", ["state.fed_BX", "one"], ["fed_B1"], keepdims=1),
        h.make_node("Add", ["tens_BS", "fed_B1"], ["weights_BS"]),
        h.make_node("Neg", ["weights_BS"], ["map.negative"]),
    ]
    graph = h.make_graph(
        nodes,
        "step",
        [
            h.make_tensor_value_info("token_B", t.INT64, ["B"]),
            h.make_tensor_value_info("state.fed_BX", t.FLOAT, ["B", WIDTH]),
            h.make_tensor_value_info("encoded.ids_BS", t.INT64, ["B", "S"]),
        ],
        [
            h.make_tensor_value_info("log_probs_BV", t.FLOAT, ["B", VOCABULARY]),
            h.make_tensor_value_info("weights_BS", t.FLOAT, ["B", "S"]),
            h.make_tensor_value_info("next.state.fed_BX", t.FLOAT, ["B", WIDTH]),
            h.make_tensor_value_info("map.negative", t.FLOAT, ["B", "S"]),
        ],
        [
            onnx.numpy_helper.from_array(bigrams(), "bigrams"),
            onnx.numpy_helper.from_array(np.ones((1, WIDTH), np.float32), "ones"),
            onnx.numpy_helper.from_array(np.array([10.0], np.float32), "ten"),
            onnx.numpy_helper.from_array(np.array([1]), "one"),
        ],
    )
    return model_of(graph)


def model_of(graph) -> bytes:
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    files = {"encoder.onnx": encoder_graph(), "step.onnx": step_graph()}
    weights = {"name": "weights", "axes": "TS", "kind": "cross", "about": "", "is_weights": True}
    negative = {"name": "negative", "axes": "TS", "kind": "cross", "about": "minus the weights"}
    manifest = {
        "format": FORMAT,
        "vocabulary_size": VOCABULARY,
        "maps": [weights, negative, {"name": "real", "axes": "S", "kind": "encoder", "about": ""}],
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    return tmp_path


def source_of(*sentences: list[int]) -> Source:
    width = max(map(len, sentences))
    ids_BS = np.full((len(sentences), width), PAD, np.int64)
    for b, sentence in enumerate(sentences):
        ids_BS[b, : len(sentence)] = sentence
    return Source(ids_BS=ids_BS, mask_BS=ids_BS != PAD)


SENTENCES = ([4, 5, EOS], [6, EOS], [5, 4, 6, 5, EOS])


@pytest.mark.parametrize("bits", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(max_length=6, maps=True),
        SearchOptions(beam=5, nbest=5, max_length=6, maps=True),
        SearchOptions(sample=True, nbest=3, max_length=6, maps=True),
    ],
)
def test_every_row_keeps_its_own_sentence_state_and_time(bundle, bits, options) -> None:
    engine = OnnxEngine(bundle, bits=bits, threads=1)
    found = search(engine, source_of(*SENTENCES), options)
    table_VV = bigrams()
    for sentence, hypotheses in zip(SENTENCES, found, strict=True):
        for h in hypotheses:
            before_T = [BOS, *h.ids_T[:-1].tolist()]
            np.testing.assert_array_equal(h.logprobs_T, table_VV[before_T, h.ids_T])
            expected_TS = np.array(sentence) * 10.0 + np.arange(len(h.ids_T))[:, None]
            np.testing.assert_array_equal(h.weights_TS, expected_TS)
            np.testing.assert_array_equal(h.maps["negative"], -expected_TS)
            np.testing.assert_array_equal(h.maps["real"], np.ones(len(sentence)))
        again = score(engine, source_of(sentence), [hypotheses[-1].ids_T])
        assert again[0].score == hypotheses[-1].score


def test_rows_are_padded_to_what_the_widths_need_and_cut_again(bundle) -> None:
    engine = OnnxEngine(bundle, bits=True, threads=1)
    cursor = engine.start(source_of(*SENTENCES), Ask()).cursor
    assert cursor.encoded["encoded.ids_BS"].shape == (32, 16)  # a row of three numbers
    assert "encoded.unread_BS" not in cursor.encoded
    advance = engine.step(cursor, np.array([BOS] * 3), Ask(top=2), np.array([4, 5, 6]))
    assert advance.ids_NK.shape == (3, 2) and advance.weights_NS.shape == (3, 5)
    np.testing.assert_array_equal(advance.given_N, bigrams()[BOS, [4, 5, 6]])


def test_nothing_is_returned_that_nobody_asked_for(bundle) -> None:
    engine = OnnxEngine(bundle)
    (found,) = search(engine, source_of([4, EOS]), SearchOptions(weights=False))
    assert found[0].weights_TS is None and not found[0].maps
    cursor = engine.start(source_of([4, EOS]), Ask()).cursor
    advance = engine.step(cursor, np.array([BOS]), Ask(weights=False))
    assert advance.weights_NS is None and not advance.maps


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lambda f: (f / "bundle.json").unlink(), "holds no exported model: bundle.json"),
        (lambda f: (f / "bundle.json").write_text("{"), "bundle.json is damaged"),
        (lambda f: (f / "bundle.json").write_text("[]"), "bundle.json is damaged"),
        (
            lambda f: (f / "bundle.json").write_text('{"format": "jumok-bundle/9"}'),
            "has format 'jumok-bundle/9', and this version reads 'jumok-bundle/1'",
        ),
        (lambda f: (f / "step.onnx").unlink(), "step.onnx cannot be read"),
        (
            lambda f: (f / "step.onnx").write_bytes((f / "encoder.onnx").read_bytes()),
            "step.onnx is damaged: its SHA-256 is not the one in bundle.json",
        ),
    ],
)
def test_a_damaged_bundle_is_refused_by_name(bundle, harm, text) -> None:
    harm(bundle)
    with pytest.raises(ModelFolderError) as refused:
        OnnxEngine(bundle)
    assert text in refused.value.message


def test_one_flipped_byte_anywhere_in_a_graph_is_refused(bundle) -> None:
    good = (bundle / "step.onnx").read_bytes()
    for place in range(0, len(good), 97):
        bad = bytearray(good)
        bad[place] ^= 1
        (bundle / "step.onnx").write_bytes(bytes(bad))
        with pytest.raises(ModelFolderError, match="is damaged"):
            OnnxEngine(bundle)


WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import numpy as np
from jumok.errors import MissingExtraError
from jumok.records import Source
from jumok.runtime import OnnxEngine
from jumok.search import SearchOptions, search
try:
    engine = OnnxEngine({folder!r}, threads=1)
except MissingExtraError as error:
    print(error)
    sys.exit(error.exit_code)
ids = np.array([[4, 5, 3]])
found = search(engine, Source(ids_BS=ids, mask_BS=ids > 0), SearchOptions(beam=3))
print(found[0][0].ids_T.tolist(), found[0][0].weights_TS.shape[1], "torch" in sys.modules)
"""


def run_without(absent: set[str], folder: Path) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(WITHOUT_TORCH).format(absent=absent, folder=str(folder))
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_bundle_decodes_where_torch_cannot_be_imported(bundle) -> None:
    done = run_without({"torch", "onnx", "onnxscript"}, bundle)
    (found,) = search(OnnxEngine(bundle), source_of([4, 5, EOS]), SearchOptions(beam=3))
    assert done.stdout.strip() == f"{found[0].ids_T.tolist()} 3 False", done.stderr


def test_without_onnxruntime_the_extra_is_named(bundle) -> None:
    done = run_without({"onnxruntime"}, bundle)
    assert done.returncode == 5 and "pip install 'jumok[export]'" in done.stdout, done.stderr


def test_a_source_longer_than_attention_reaches_is_refused_by_number(bundle: Path) -> None:
    """A graph cannot say it; padding to the length of others does not count."""
    path = bundle / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"longest_source": 3}))
    engine = OnnxEngine(bundle)
    assert search(engine, source_of([4, 5, EOS], [6, EOS]), SearchOptions(max_length=2))
    with pytest.raises(DataError, match="a source has 5 symbols with its end, but this exported"):
        search(engine, source_of(*SENTENCES), SearchOptions(max_length=2))
