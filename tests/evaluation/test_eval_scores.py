"""Scores against hand-computed numbers, against sacrebleu itself, and under permutations."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from jumok.errors import UsageError
from jumok.evaluation import score
from jumok.evaluation.statistics import best_reference, measure, rates

SOURCES = ["a", "bb", "ccc"]
HYPOTHESES = ["kitten", "ab cd", ""]
REFERENCES = [["sitting"], ["ab ce"], ["xyz"]]


def random_corpus(count: int, seed: int) -> tuple[list[str], list[str], list[list[str]]]:
    """Rows with one to three references, some outputs right, some empty."""
    rng = random.Random(seed)
    words = ["the", "cat", "sat", "on", "a", "mat", "고양이", "나는", ",", "x.", "1994"]

    def text() -> str:
        return " ".join(rng.choices(words, k=rng.randrange(1, 11)))

    sources = ["s" * rng.randrange(1, 23) + str(i) for i in range(count)]
    references = [[text() for _ in range(rng.randrange(1, 4))] for _ in range(count)]
    outputs = [rng.choice([r[0], r[-1], text(), r[0] + " mat", ""]) for r in references]
    return sources, outputs, references


def sacre(hypotheses: list[str], references: list[list[str]]) -> dict[str, float]:
    """The two corpus scores through sacrebleu's public front door."""
    most = max(map(len, references))
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    return {
        "bleu": sacrebleu.BLEU(force=True).corpus_score(hypotheses, streams).score,
        "chrf": sacrebleu.CHRF().corpus_score(hypotheses, streams).score,
    }


def test_rates_are_the_hand_computed_micro_averages() -> None:
    scores = score(SOURCES, HYPOTHESES, REFERENCES)
    assert scores.cer == (3 + 1 + 3) / (7 + 5 + 3)
    assert scores.wer == (1 + 1 + 1) / (1 + 2 + 1)
    assert scores.exact_match == 0.0
    assert score(["a"] * 4, ["x", "y", "z", "w"], [["x"], ["y"], ["z"], ["q"]]).exact_match == 0.75


def test_the_nearest_of_several_references_counts() -> None:
    scores = score(["s"], ["abcd"], [["zzzz", "abcde", "abcd efgh ijkl"]])
    assert scores.cer == 1 / 5
    assert scores.exact_match == 0.0
    assert score(["s"], ["abcd"], [["zzzz", "abcd"]]).exact_match == 1.0


def test_of_equally_near_references_the_longest_counts_then_the_first() -> None:
    assert best_reference("ab", ["a", "abc"]) == (1, 1)
    assert best_reference("ab", ["abc", "a"]) == (1, 0)
    assert best_reference("ab", ["ac", "ad"]) == (1, 0)


def test_the_order_of_references_changes_no_rate() -> None:
    sources, outputs, references = random_corpus(31, seed=5)
    turned = [list(reversed(r)) for r in references]
    a, b = (score(sources, outputs, r, resamples=0) for r in (references, turned))
    assert (a.cer, a.wer, a.exact_match) == (b.cer, b.wer, b.exact_match)


def test_sigmorphon_word_error_rate_is_one_minus_exact_match() -> None:
    scores = score(["a", "b"], ["k a t", "d o k"], [["k a t"], ["d o g"]])
    assert scores.sequence_error_rate == 0.5
    assert scores.wer == 1 / 6


def test_an_empty_reference_is_met_only_by_nothing() -> None:
    assert score(["s"], [""], [[""]]).cer == 0.0
    assert score(["s"], [""], [[""]]).exact_match == 1.0
    assert score(["s"], ["abc"], [[""]]).cer == 3.0  # over one symbol, where there is none
    assert score(["s", "t"], ["abc", "wxyz"], [[""], ["wxyz"]]).cer == 3 / 4


def test_an_empty_output_loses_every_symbol() -> None:
    scores = score(["s"], [""], [["ab cd"]])
    assert (scores.cer, scores.wer, scores.bleu, scores.chrf) == (1.0, 1.0, 0.0, 0.0)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 13))
def test_bleu_and_chrf_are_sacrebleus_own(seed: int, count: int) -> None:
    sources, outputs, references = random_corpus(count, seed)
    scores = score(sources, outputs, references, resamples=0)
    theirs = sacre(outputs, references)
    assert scores.bleu == pytest.approx(theirs["bleu"], abs=1e-9)
    assert scores.chrf == pytest.approx(theirs["chrf"], abs=1e-9)


@given(seed=st.integers(0, 10_000))
def test_a_resample_scores_as_the_repeated_sentences_would(seed: int) -> None:
    _, outputs, references = random_corpus(7, seed)
    times = np.random.default_rng(seed).integers(0, 4, size=7)
    times[0] += 1
    rows = np.repeat(np.arange(7), times)
    theirs = sacre([outputs[i] for i in rows], [references[i] for i in rows])
    ours = rates(times.astype(float) @ measure(outputs, references).counts_NC)
    assert float(ours["bleu"]) == pytest.approx(theirs["bleu"], abs=1e-9)
    assert float(ours["chrf"]) == pytest.approx(theirs["chrf"], abs=1e-9)


def test_the_signatures_name_version_and_number_of_references() -> None:
    one = score(["s"], ["a"], [["a"]], bleu_tokenizer="char").signatures
    assert one["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:char|smooth:exp|version:")
    assert one["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    several = score(["s", "t"], ["a", "b"], [["a"], ["b", "c"]]).signatures
    assert several["bleu"].startswith("nrefs:var|")


@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_changes_nothing_not_even_intervals(seed: int) -> None:
    sources, outputs, references = random_corpus(17, seed)
    order = list(range(17))
    random.Random(seed).shuffle(order)
    mixed = ([rows[i] for i in order] for rows in (sources, outputs, references))
    known = sources[:5]
    a = score(sources, outputs, references, train_sources=known, seed=3, resamples=40)
    b = score(*mixed, train_sources=known, seed=3, resamples=40)
    assert a == b


def test_seen_and_unseen_are_the_scores_of_their_own_rows() -> None:
    sources, outputs, references = random_corpus(29, seed=2)
    known = [*sources[:11], "never asked"]
    scores = score(sources, outputs, references, train_sources=known, resamples=0)
    first = score(sources[:11], outputs[:11], references[:11], resamples=0)
    rest = score(sources[11:], outputs[11:], references[11:], resamples=0)
    assert scores.seen is not None
    assert scores.unseen is not None
    for part, alone in ((scores.seen, first), (scores.unseen, rest)):
        for name in ("count", "exact_match", "exact_match_interval", "cer", "wer", "bleu", "chrf"):
            assert getattr(part, name) == getattr(alone, name)


def test_without_training_sources_nothing_is_called_unseen() -> None:
    scores = score(["s"], ["a"], [["a"]])
    assert scores.seen is None
    assert scores.unseen is None


def test_a_part_without_rows_has_no_scores() -> None:
    scores = score(["s"], ["a"], [["a"]], train_sources=["s"])
    assert scores.unseen is not None
    assert scores.unseen.count == 0
    assert scores.unseen.exact_match is None
    assert scores.to_dict()["unseen"]["cer"] is None


def test_long_outputs_without_one_right_word_score_zero() -> None:
    assert score(["s"], ["p q r t u"], [["a b c d e"]]).bleu == 0.0


def test_length_buckets_hold_equally_many_rows() -> None:
    sources = ["s" * n for n in range(1, 11)]
    buckets = score(sources, sources, [[s] for s in sources]).by_length
    assert [(b.shortest, b.longest) for b in buckets] == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]


def test_length_buckets_part_the_rows_and_keep_one_length_together() -> None:
    sources, outputs, references = random_corpus(101, seed=4)
    scores = score(sources, outputs, references, resamples=0)
    assert 1 < len(scores.by_length) <= 5
    assert sum(b.scores.count for b in scores.by_length) == 101
    for before, after in zip(scores.by_length, scores.by_length[1:], strict=False):
        assert before.longest < after.shortest
    for bucket in scores.by_length:
        rows = [i for i, s in enumerate(sources) if bucket.shortest <= len(s) <= bucket.longest]
        alone = score(*([x[i] for i in rows] for x in (sources, outputs, references)), resamples=0)
        assert bucket.scores.cer == alone.cer
        assert bucket.scores.count == alone.count


def test_lengths_count_characters_or_words() -> None:
    by_words = score(["a b c", "a b c"], ["x", "y"], [["x"], ["z"]], length_unit="word")
    by_characters = score(["a b c", "a b c"], ["x", "y"], [["x"], ["z"]])
    assert [(b.shortest, b.longest) for b in by_words.by_length] == [(3, 3)]
    assert [(b.shortest, b.longest) for b in by_characters.by_length] == [(5, 5)]


def test_the_json_is_the_agreed_one() -> None:
    scores = score(SOURCES, HYPOTHESES, REFERENCES, train_sources=["a"])
    found = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert list(found) == [
        "schema",
        "count",
        "exact_match",
        "exact_match_interval",
        "cer",
        "wer",
        "bleu",
        "chrf",
        "signatures",
        "seen",
        "unseen",
    ]
    assert found["schema"] == "jumok/1"
    assert found["count"] == 3
    low, high = found["exact_match_interval"]
    assert 0.0 <= low < high <= 1.0
    assert set(found["signatures"]) == {"bleu", "chrf"}
    assert found["seen"]["count"] == 1
    assert found["unseen"]["count"] == 2


def test_details_add_to_the_json_and_change_none_of_it() -> None:
    scores = score(SOURCES, HYPOTHESES, REFERENCES)
    plain, full = scores.to_dict(), scores.to_dict(details=True)
    json.dumps(full, allow_nan=False)
    assert {k: full[k] for k in plain} == plain
    assert set(full) - set(plain) == {"sequence_error_rate", "bootstrap", "by_length"}


def test_the_table_shows_the_figures_and_how_they_were_made() -> None:
    lines = score(SOURCES, ["sitting", "ab cd", ""], REFERENCES, train_sources=["a"]).table()
    text = "\n".join(lines)
    assert "33.33%" in text
    assert "26.67%" in text  # 4 of 15
    assert "never seen" in text
    assert "Wilson" in text
    assert "1,000 bootstrap resamples of rows (seed 0)" in text
    assert "BLEU says nothing here: no output has four words." in text
    head, *rows = text.splitlines()[:3]
    column = slice(head.index("BLEU") - 1, head.index("BLEU") + 4)
    assert {row[column].strip() for row in rows if row} == {"-"}
    assert "  BLEU" not in text.partition("95% by")[2]
    assert "version:" in text


def test_a_bootstrap_of_width_zero_is_not_shown_as_certainty() -> None:
    text = "\n".join(score(["s", "t"], ["a", "b"], [["a"], ["b"]]).table())
    assert "CER 0.00% to 0.00% (all resamples agree: too few differing rows to tell)" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], []), "There is nothing to score: 0 rows."),
        (
            (["s"], ["a", "b"], [["a"], ["b"]]),
            "There are 1 sources but 2 hypotheses: each row needs one of both.",
        ),
        (
            (["s", "t"], ["a", "b"], [["a"]]),
            "There are 2 hypotheses but 1 references: each row needs one of both.",
        ),
        (
            (["s", "t"], ["a", "b"], ["a", "b"]),
            r"references\[0\] is a string, but each row needs a list of references.",
        ),
        (
            (["s", "t"], ["a", "b"], [["a"], []]),
            r"references\[1\] is empty: each row needs at least one reference.",
        ),
        (("st", ["a", "b"], [["a"], ["b"]]), "`sources` is one string"),
    ],
)
def test_unfit_rows_are_refused_with_the_reason(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        score(*arguments)


def test_unknown_units_and_negative_resamples_are_refused() -> None:
    with pytest.raises(UsageError, match=r"`resamples` \(-1\) must be 0"):
        score(["s"], ["a"], [["a"]], resamples=-1)
    with pytest.raises(UsageError, match=r"`length_unit` \('byte'\) must be 'character' or 'word'"):
        score(["s"], ["a"], [["a"]], length_unit="byte")


def test_scorers_are_imported_only_when_used() -> None:
    check = (
        "import sys, jumok.evaluation, jumok.alignment;"
        "print([m for m in ('sacrebleu', 'rapidfuzz', 'torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
