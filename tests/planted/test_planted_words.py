"""The planted alignment where symbols are words: spans, and links by word and by symbol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jumok.alignment import format_links, from_trace
from jumok.interfaces.cli.frame import run
from jumok.interfaces.translator import Translator
from jumok.recipes.options import RunConfig
from planted.mechanisms import luong
from planted.plant import RAW, best, codec, places, raw
from planted.planting import plant

MECHANISM = luong(attend_end=True)


@pytest.fixture(scope="module")
def model() -> Translator:
    network = plant(MECHANISM).network
    settings = RunConfig(model=network.config)
    return Translator(network=network, codec=codec("space"), name="luong", run=settings)


def links(sentence: str, text: str) -> frozenset[tuple[int, int]]:
    found = places(MECHANISM, sentence, [*text, "</s>"])
    return frozenset((s, t) for t, s in enumerate(found[:-1]))


def test_spans_of_words_cut_what_was_typed(model: Translator) -> None:
    for sentence in MECHANISM.sentences:
        [found] = model.translate([raw(sentence, " ")], beam=4)
        trace = found.attention.trace
        assert found.text == " ".join(best(MECHANISM, sentence))
        cut = [trace.source_text[token.start : token.end] for token in trace.source]
        assert cut == [*(RAW[idea] for idea in sentence), ""]
        written = [trace.target_text[token.start : token.end] for token in trace.target]
        assert written == [*best(MECHANISM, sentence), ""]


@pytest.mark.parametrize("level", ["token", "word"])
def test_links_of_words(model: Translator, level: str) -> None:
    for sentence in MECHANISM.sentences:
        [found] = model.translate([raw(sentence, " ")], beam=4)
        text = best(MECHANISM, sentence)
        assert from_trace(found.attention.trace, level=level) == links(sentence, text)


@pytest.mark.parametrize("level", ["auto", "token", "word"])
def test_align_counts_words(
    model: Translator, level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save(tmp_path / "model")
    pairs = [(s, best(MECHANISM, s)) for s in MECHANISM.sentences]
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"{raw(s, ' ')}\t{' '.join(t)}\n" for s, t in pairs), "utf-8")
    capsys.readouterr()
    arguments = ["align", str(tmp_path / "model"), str(file), "--header", "no", "--level", level]
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [format_links(links(s, t)) for s, t in pairs]


def test_pieces_are_merged_into_words(model: Translator) -> None:
    """Graphemes without spaces are one word: its weight is the mean of its symbols' weights."""
    pieces = replace(model, codec=codec())
    sentence = "DC.AB"
    [found] = pieces.translate([raw(sentence)], beam=4)
    assert from_trace(found.attention.trace, level="word") == {(0, 0)}
