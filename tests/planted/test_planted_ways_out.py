"""Every way out of the house returns the planted alignment: text, JSON, pictures, links, ONNX."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jumok.alignment import from_trace
from jumok.interfaces.cli.frame import run
from jumok.interfaces.translator import Translator
from jumok.recipes.options import RunConfig
from jumok.records import AttentionTrace
from jumok.search import SearchOptions, search
from jumok.views.fonts import MissingGlyphs
from jumok.views.trace_file import load_traces
from planted.mechanisms import MECHANISMS, book, luong
from planted.plant import (
    RAW,
    Mechanism,
    best,
    codec,
    greedy,
    places,
    raw,
    weights,
)
from planted.planting import Planted, plant
from planted.reading import check, hypotheses_of, source_of, text_of

END = "</s>"
LATE = next(m for m in MECHANISMS if m.model == "bahdanau")
SHOWN = [book(), luong(), luong("output", window="local-p", feeding=False), LATE]
"""A reversed encoder with and without its end symbol's column, weights that sum to less than
one, and both directions."""


@dataclass(frozen=True)
class Case:
    """A planted translator, in memory and in a folder."""

    mechanism: Mechanism
    planted: Planted
    model: Translator
    folder: Path

    def check_map(self, sentence: str, text: str, found: Any, *, tolerance: float = 1e-4) -> None:
        """``found`` (T, S) belongs to the output ``text`` of ``sentence``."""
        ids_T = np.array([*codec().target_vocabulary.encode(list(text)), 3])
        found = np.asarray(found, dtype=np.float64)
        check(
            self.mechanism, sentence, found, self.planted.scores, ids_T=ids_T, tolerance=tolerance
        )

    def columns(self, sentence: str) -> int:
        return len(sentence) + self.mechanism.attends_end


def translator(mechanism: Mechanism) -> tuple[Planted, Translator]:
    planted = plant(mechanism)
    settings = RunConfig(model=planted.network.config)
    name = mechanism.model
    return planted, Translator(network=planted.network, codec=codec(), name=name, run=settings)


@pytest.fixture(scope="module", params=SHOWN, ids=str)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    planted, model = translator(request.param)
    folder = tmp_path_factory.mktemp("planted") / "model"
    model.save(folder)
    return Case(request.param, planted, model, folder)


@pytest.fixture
def jumok(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Runs a command line in this process and returns its standard output."""

    def call(*arguments: object) -> str:
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissingGlyphs)
            assert run([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    yield call


def test_spans_cut_exactly_what_was_typed(case: Case) -> None:
    """Marks that compose, letters that join, marks that change places: none moves a span."""
    sentences = case.mechanism.sentences
    for sentence, found in zip(
        sentences, case.model.translate([raw(s) for s in sentences]), strict=True
    ):
        trace = found.attention.trace
        assert trace.source_text == raw(sentence)
        cut = [trace.source_text[token.start : token.end] for token in trace.source]
        expected = [RAW[idea] for idea in sentence] + [""] * case.mechanism.attends_end
        assert cut == expected
        assert [token.special for token in trace.source] == [not part for part in expected]
        written = [trace.target_text[token.start : token.end] for token in trace.target]
        assert written == [*found.text, ""]


def test_every_trace_of_an_n_best_list(case: Case) -> None:
    sentences = case.mechanism.sentences
    found = case.model.translate([raw(s) for s in sentences], beam=4, nbest=3)
    for sentence, one in zip(sentences, found, strict=True):
        assert one.text == best(case.mechanism, sentence)
        for other in one.nbest:
            if other.score > -8:
                trace = other.attention.trace
                case.check_map(sentence, other.text, trace.weights_TS)
                assert [t.text for t in trace.target] == [*other.text, END]


def test_translate_json(case: Case, jumok: Callable[..., str], tmp_path: Path) -> None:
    lines = tmp_path / "in.txt"
    sentences = case.mechanism.sentences
    lines.write_text("".join(raw(s) + "\n" for s in sentences), "utf-8")
    out = jumok("translate", case.folder, lines, "--json", "--beam", 4, "--nbest", 3)
    for sentence, line in zip(sentences, out.splitlines(), strict=True):
        found = json.loads(line)
        assert found["text"] == best(case.mechanism, sentence)
        assert found["source"] == raw(sentence)
        for one in [found, *found["nbest"]]:
            assert len(one["attention"]) == len(one["tokens"])
            assert {len(row) for row in one["attention"]} == {len(one["source_tokens"])}
            if one["score"] > -8:
                case.check_map(sentence, one["text"], one["attention"])


def test_translate_with_a_prefix(case: Case, jumok: Callable[..., str], tmp_path: Path) -> None:
    lines = tmp_path / "in.txt"
    sentence = case.mechanism.sentences[1]
    prefix = best(case.mechanism, sentence)[:2]
    lines.write_text(raw(sentence) + "\n", "utf-8")
    found = json.loads(jumok("translate", case.folder, lines, "--json", "--prefix", prefix))
    assert found["text"].startswith(prefix)
    case.check_map(sentence, found["text"], found["attention"])


def longest(mechanism: Mechanism) -> str:
    return max(mechanism.sentences, key=len)


def test_inspect_draws_the_map_in_the_terminal(case: Case, jumok: Callable[..., str]) -> None:
    """Without colours a cell is three columns wide and brackets stand around the strongest."""
    sentence = longest(case.mechanism)
    text = greedy(case.mechanism, sentence)
    out = jumok("inspect", case.folder, raw(sentence))
    rows = [line for line in out.splitlines() if re.search(r"\[.\]", line)]
    rows = rows[: len(text) + 1]  # the legend below has brackets too
    labels = [line.split(maxsplit=1)[0] for line in rows]
    assert labels[:-1] == list(text)
    start = min(line.index("[") % 3 for line in rows)
    first = next(i for i in range(start, 99, 3) if i > 1)
    strongest = [(line.index("[") - first) // 3 for line in rows]
    outputs = [*text, END]
    expected = places(case.mechanism, sentence, outputs)
    lowest = min(expected)
    assert [s - min(strongest) + lowest for s in strongest] == expected


def drawn_values(colors: np.ndarray) -> np.ndarray:
    """The weight each grey stands for: the nearest of the scale's 256."""
    from matplotlib import colormaps

    scale = colormaps["Greys"](np.linspace(0, 1, 256))[:, :3]
    return np.abs(colors[:, None, :] - scale[None]).sum(-1).argmin(1) / 255


def from_png(path: Path, trace: AttentionTrace) -> np.ndarray:
    """The middle of every cell; where cells lie is what ``save_figure`` says of the trace."""
    from matplotlib.image import imread

    from jumok.views.figure import save_figure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingGlyphs)
        layout = save_figure(trace, out := io.BytesIO(), "png")
    assert out.getvalue() == path.read_bytes()
    picture, facet = np.asarray(imread(path))[:, :, :3], layout.facets[0]
    boxes = [facet.cell_box(t, s) for t in range(facet.rows) for s in range(facet.columns)]
    colors = np.array([picture[(y0 + y1) // 2, (x0 + x1) // 2] for x0, y0, x1, y1 in boxes])
    return drawn_values(colors).reshape(facet.rows, facet.columns)


def from_svg(path: Path, trace: AttentionTrace) -> np.ndarray:
    group = next(g for g in ET.fromstring(path.read_bytes()).iter() if g.get("id") == "map-0")
    paths = [p for p in group.iter() if p.tag.endswith("path")]
    styles = [re.search(r"fill: #(\w{6})", p.get("style", "")) for p in paths]
    fills = [found[1] if found else "000000" for found in styles]  # black is SVG's default
    colors = np.array([[int(f[i : i + 2], 16) / 255 for i in (0, 2, 4)] for f in fills])
    return drawn_values(colors).reshape(trace.weights_TS.shape)


def from_html(path: Path, trace: AttentionTrace) -> np.ndarray:
    found = re.findall(
        r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text("utf-8"), re.DOTALL
    )
    copy = path.with_suffix(".jumok.json")
    copy.write_text(json.dumps(json.loads(found[0])), "utf-8")
    return from_file(copy, trace)


def from_file(path: Path, trace: AttentionTrace) -> np.ndarray:
    [loaded] = load_traces(path)
    assert loaded.source == trace.source and loaded.target == trace.target
    return loaded.weights_TS


@pytest.mark.parametrize(
    "suffix, read, tolerance",
    [
        (".png", from_png, 0.01),
        (".svg", from_svg, 0.01),
        (".html", from_html, 1e-4),
        (".jumok.json", from_file, 1e-4),
        (".npz", from_file, 1e-4),
    ],
)
def test_inspect_writes_the_map(
    case: Case,
    jumok: Callable[..., str],
    tmp_path: Path,
    suffix: str,
    read: Callable[[Path, AttentionTrace], np.ndarray],
    tolerance: float,
) -> None:
    sentence = longest(case.mechanism)
    text = best(case.mechanism, sentence)  # not what greedy would write: it is forced
    out = tmp_path / f"map{suffix}"
    jumok("inspect", case.folder, raw(sentence), "--target", text, "--out", out)
    [made] = case.model.score([(raw(sentence), text)], alternatives=5, maps=True)
    seen = read(out, made.attention.trace)
    assert seen.shape == (len(text) + 1, case.columns(sentence))
    case.check_map(sentence, text, seen, tolerance=tolerance)


def test_inspect_json(case: Case, jumok: Callable[..., str]) -> None:
    sentence = longest(case.mechanism)
    found = json.loads(jumok("inspect", case.folder, raw(sentence), "--json"))
    case.check_map(sentence, greedy(case.mechanism, sentence), found["attention"])


def true_links(mechanism: Mechanism, sentence: str, text: str) -> set[tuple[int, int]]:
    """(source, target) of every symbol; the end symbols make no link."""
    found = places(mechanism, sentence, [*text, END])
    return {(s, t) for t, s in enumerate(found[:-1]) if s < len(sentence)}


def pharaoh(line: str) -> set[tuple[int, int]]:
    return {tuple(map(int, link.split("-"))) for link in line.split()}


def test_align_prints_the_planted_links(
    case: Case, jumok: Callable[..., str], tmp_path: Path
) -> None:
    mechanism = case.mechanism
    pairs = [(s, t(mechanism, s)) for s in mechanism.sentences for t in (best, greedy)]
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"{raw(s)}\t{t}\n" for s, t in pairs), "utf-8")
    out = jumok("align", case.folder, file, "--header", "no")
    for (sentence, text), line in zip(pairs, out.splitlines(), strict=True):
        assert pharaoh(line) == true_links(mechanism, sentence, text)
    out = jumok("align", case.folder, file, "--header", "no", "--json")
    for (sentence, text), line in zip(pairs, out.splitlines(), strict=True):
        case.check_map(sentence, text, json.loads(line)["attention"])


def test_links_of_a_trace(case: Case) -> None:
    sentence = longest(case.mechanism)
    [found] = case.model.translate([raw(sentence)], beam=3)
    links = from_trace(found.attention.trace)
    assert set(links) == true_links(case.mechanism, sentence, found.text)


def test_an_unknown_word_is_what_was_looked_at() -> None:
    """E is written as the unknown symbol; its place in the source says what it is."""
    mechanism = luong(attend_end=True)
    mechanism = Mechanism(**{**vars(mechanism), "unknown": "E"})
    _, model = translator(mechanism)
    [plain] = model.translate([raw("FBEz.DCA")])
    assert plain.text == "ABCD\ufffdF."
    [filled] = model.translate([raw("FBEz.DCA")], replace_unknown=True)
    assert filled.text == "ABCD" + RAW["E"] + "F."


def test_a_model_without_attention_says_so(jumok: Callable[..., str], tmp_path: Path) -> None:
    """None, not zeros: plain and peeky have no map on any way out."""
    from jumok.models import MODELS

    for name in ("plain", "peeky", "sutskever", "ntm"):
        entry = MODELS[name]
        config = entry.config(**entry.preset, embedding_size=5, hidden_size=7)
        sizes = (len(codec().source_vocabulary), len(codec().target_vocabulary))
        settings = RunConfig(model=config)
        network = entry.model(config, *sizes)
        model = Translator(network=network, codec=codec(), name=name, run=settings)
        model.save(tmp_path / name)
        [found] = model.translate([raw("BA.")], beam=2, nbest=2)
        assert [one.attention.weights_TS for one in found.nbest] == [None, None]
        lines = tmp_path / "in.txt"
        lines.write_text(raw("BA.") + "\n", "utf-8")
        assert json.loads(jumok("translate", tmp_path / name, lines, "--json"))["attention"] is None
        assert "no attention map" in jumok("inspect", tmp_path / name, raw("BA."))


# --- the exported step --------------------------------------------------------------------

EXPORTED = [book()]
no_export = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="needs the export extra",
)


def check_export(mechanism: Mechanism, folder: Path) -> None:
    from jumok.export import export_onnx
    from jumok.runtime.onnx_engine import OnnxEngine

    planted = plant(mechanism)
    export_onnx(planted.network, folder)
    sentences = mechanism.sentences
    for options in (SearchOptions(), SearchOptions(beam=4, nbest=3)):
        for bits in (True, False):
            engine = OnnxEngine(folder, bits=bits, threads=1)
            found = search(engine, source_of(sentences), options)
            torch_found = hypotheses_of(planted.network, sentences, options)
            for sentence, hypotheses, others in zip(sentences, found, torch_found, strict=True):
                assert text_of(hypotheses[0].ids_T) == text_of(others[0].ids_T)
                for hypothesis in hypotheses:
                    if hypothesis.score > -8:
                        check(mechanism, sentence, hypothesis, planted.scores)


@no_export
@pytest.mark.parametrize("mechanism", EXPORTED, ids=str)
def test_an_exported_step_attends_alike(mechanism: Mechanism, tmp_path: Path) -> None:
    check_export(mechanism, tmp_path)


OTHERS = [m for m in MECHANISMS if m not in EXPORTED]


@no_export
@pytest.mark.nightly
@pytest.mark.parametrize("mechanism", OTHERS, ids=str)
def test_every_exported_step_attends_alike(mechanism: Mechanism, tmp_path: Path) -> None:
    check_export(mechanism, tmp_path)


def test_the_closed_form_is_a_share() -> None:
    """The truth itself: rows of non-negative numbers that sum to one, or less with a Gaussian."""
    for mechanism in MECHANISMS:
        planted = plant(mechanism) if mechanism.options.get("score") != "scaled" else None
        for sentence in mechanism.sentences if planted else ():
            outputs = [*greedy(mechanism, sentence), END]
            true_TS = weights(mechanism, sentence, outputs, planted.scores)
            assert true_TS.min() >= 0
            assert np.all(true_TS.sum(axis=1) < 1 + 1e-9)
