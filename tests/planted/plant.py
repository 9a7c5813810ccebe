"""Planted truth: a toy language in which the alignment of every output is known.

A source holds some *ideas* of the chain A B C D E F in any order, a full stop somewhere, and
the idle z. A planted model writes the ideas in the order of the chain, then the full stop:
``zC.AB`` becomes ``ABC.``. While it writes one it looks at its place in the source, so maps are
neither rising nor falling. Which idea it looks for follows from what its mechanism remembers
(``Mechanism.memory``): the next in the chain, else the full stop, after that the end.

B is written ``B`` or ``b``; after ``b`` the model skips an idea. One idea is written in either
case with equal chances, so the best first choice (``B``) leads to a worse output than ``b``: a
beam has to change its mind, and its hypotheses look at different places.

Ideas are spelt with combining marks, Hangul letters that compose, a joined emoji and marks
that normalisation turns round (``RAW``): spans into the raw text are part of the truth.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jumok.data.encoded import PairCodec
from jumok.data.tokenizers import make
from jumok.data.vocabulary import Vocabulary
from jumok.records import EOS, SPECIALS, UNK

RAW = {
    "A": "e\u0301",
    "B": "\u1112\u1161\u11ab",
    "C": "\U0001f469\u200d\U0001f680",
    "D": "\u0e01\u0e49",
    "E": "x",
    "F": "\u304b\u3099",
    ".": ".",
    "z": "q\u0307\u0323",
}
"""How an idea stands in the user's text; NFC changes A, B, F and z."""
END = "$"
"""The end symbol as an idea."""
SOURCE = ("", "", "", END, *RAW)
"""The idea of each source id; PAD, UNK and BOS have none."""
TARGET = (*SPECIALS, *"ABbCcDdEF.-")
"""The target symbols by id; ``-`` is what a model writes that cannot yet know better."""
NEXT = dict(zip("^ABCDE.$", "ABCDEF$$", strict=True)) | {"F": ""}
"""Which idea is wanted after which; ``^`` is the beginning, after F only the full stop."""
MEMORIES = tuple(NEXT)
SENTENCES = ("zC.AB", "A.", "FBEz.DCA", ".", "DC.AB")
"""Of different lengths, for one batch. Where B is, C is: the skip is defined."""

Memory = Literal["output", "state", "attended", "attended-late"]
"""What a mechanism remembers of the step before: its output, a count in its recurrent state,
or what it attended to; ``late`` learns of ``b`` one step later than the others."""


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """One wiring of one model, and what must come out of it."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    memory: Memory = "state"
    attends_end: bool = True
    """Whether the end symbol is attended to; else the full stop is, once more."""
    ahead: bool = False
    """The context only reaches the next step: every symbol is written one step late."""
    unknown: str = ""
    """An idea that is written as the unknown symbol."""
    window: tuple[str, int] | None = None
    """("local-m" or "local-p", D)"""
    sentences: tuple[str, ...] = SENTENCES

    def __str__(self) -> str:
        shown = (f"{k}={v}" for k, v in self.options.items() if not k.endswith("_size"))
        return "-".join([self.model, *shown]).replace(" ", "")

    @property
    def skipping(self) -> tuple[str, str]:
        """After ``b`` the memory of the first passes for that of the second, which is skipped."""
        return ("C", "D") if self.ahead or self.memory == "attended-late" else ("B", "C")

    @property
    def doubtful(self) -> str:
        """The idea that is written in either case with equal chances."""
        return "D" if self.memory == "attended-late" else "C"


def codec(unit: str = "grapheme") -> PairCodec:
    """NFC; one unit on both sides: graphemes, or what stands between spaces."""
    normal = [unicodedata.normalize("NFC", raw) for raw in RAW.values()]
    return PairCodec(
        source_tokenizer=make(unit),
        target_tokenizer=make(unit),
        source_vocabulary=Vocabulary((*SPECIALS, *normal)),
        target_vocabulary=Vocabulary(TARGET),
    )


def raw(sentence: str, between: str = "") -> str:
    """The text of a sentence of ideas, as a user would type it."""
    return between.join(RAW[idea] for idea in sentence)


def ids(sentence: str) -> list[int]:
    """Source ids, the end symbol last."""
    return [SOURCE.index(idea) for idea in sentence + END]


def written(idea: str, mechanism: Mechanism) -> np.ndarray:
    """Log-probabilities, but for a constant, of what is written for ``idea``: (V,)."""
    logits_V = np.zeros(len(TARGET))
    shares = {
        "^": {"-": 1.0},
        END: {SPECIALS[EOS]: 1.0},
        "B": {"B": 0.55, "b": 0.45},
        mechanism.doubtful: {mechanism.doubtful: 0.5, mechanism.doubtful.lower(): 0.5},
        mechanism.unknown or None: {SPECIALS[UNK]: 1.0},
    }.get(idea, {idea: 1.0} if idea in TARGET else {})
    for symbol, share in shares.items():
        logits_V[TARGET.index(symbol)] = 20 + np.log(share)
    return logits_V


# --- what it writes -----------------------------------------------------------------------


def best(mechanism: Mechanism, sentence: str) -> str:
    """The most likely output, its end symbol left out."""
    found = [_chain(mechanism, sentence, fork) for fork in "Bb"]
    return max(found, key=lambda chain: _share(mechanism, chain))


def greedy(mechanism: Mechanism, sentence: str) -> str:
    """What the best choice at each step leads to."""
    return _chain(mechanism, sentence, "B")


def _chain(mechanism: Mechanism, sentence: str, fork: str) -> str:
    """The output that writes B as ``fork``."""
    outputs: list[str] = []
    while outputs[-1:] != [END]:
        memory = memories(mechanism, sentence, [*outputs, END])[-1]
        idea = memory if mechanism.ahead else idea_at(mechanism, sentence, memory)
        again = idea == "." and outputs[-1:] == ["."]
        symbol = {"B": fork, "^": "-"}.get(idea, idea)
        outputs.append(END if again else symbol)
    return "".join(outputs[:-1])


def _share(mechanism: Mechanism, chain: str) -> float:
    shares = {"B": 0.55, "b": 0.45, mechanism.doubtful: 0.5}
    return float(np.prod([shares.get(symbol, 1.0) for symbol in chain]))


# --- the truth ----------------------------------------------------------------------------


def memories(mechanism: Mechanism, sentence: str, outputs: Sequence[str]) -> list[str]:
    """What the model remembers at each step, given the symbols that it wrote (or was given)."""
    memory, found = "^", []
    for step, symbol in enumerate(outputs):
        found.append(memory)
        looked_at = idea_at(mechanism, sentence, memory)
        late = mechanism.memory == "attended-late"
        told = outputs[step - 1] if late and step else "" if late else symbol
        match mechanism.memory:
            case "output":
                memory = {"b": "C"}.get(symbol, symbol.upper())
                continue
            case "state":
                memory = "." if symbol == "." else NEXT[memory]
            case _:
                memory = looked_at
        if told == "b":
            assert memory == mechanism.skipping[0], "a skip that is not defined"
            memory = mechanism.skipping[1]
    return found


def idea_at(mechanism: Mechanism, sentence: str, memory: str) -> str:
    """The idea looked at: the wanted one where it is there, else the full stop."""
    assert memory in NEXT, "an output after which nothing is planted"
    wanted = NEXT[memory]
    there = wanted in sentence if wanted != END else mechanism.attends_end
    return wanted if wanted and there else "."


def centre(mechanism: Mechanism, sentence: str, memory: str, step: int) -> float:
    """p_t of a local window, counted from 1."""
    assert mechanism.window is not None
    S = len(sentence) + mechanism.attends_end
    if mechanism.window[0] == "local-m":
        return float(min(step + 1, S))
    share = SHARES[memory]
    return share * (S - 1) + 1 if mechanism.options.get("centre") == "code" else share * S


SHARES = dict(zip("^ABCDEF.$", (0.23, 0.83, 0.43, 0.83, 0.63, 0.63, 0.63, 0.63, 0.63), strict=True))
"""local-p: which share of the sentence each memory looks at; no p_t falls on a whole number,
where rounding alone would move the window."""


def places(mechanism: Mechanism, sentence: str, outputs: Sequence[str]) -> list[int]:
    """For each output symbol, end symbol included, the column with the greatest weight."""
    found = []
    for step, memory in enumerate(memories(mechanism, sentence, outputs)):
        idea = idea_at(mechanism, sentence, memory)
        columns = [s for s, i in enumerate(sentence + END) if i == idea]
        if mechanism.window is not None:
            p, D = centre(mechanism, sentence, memory, step), mechanism.window[1]
            columns = [s for s in columns if abs(s + 1 - np.floor(p)) <= D]
        assert len(columns) == 1, f"{idea} of {sentence} stands at {columns}: no truth"
        found += columns
    return found


def shares(scores: np.ndarray, normalize: str) -> np.ndarray:
    """Softmax, or what stands above a threshold that is found by halving."""
    if normalize == "softmax":
        raised = np.exp(scores - scores.max())
        return raised / raised.sum()
    scale, power = {"sparsemax": (1.0, 1), "entmax15": (0.5, 2)}[normalize]
    z = scale * (scores - scores.max())
    low, high = -1.0, 0.0
    for _ in range(100):
        tau = (low + high) / 2
        low, high = (tau, high) if (np.clip(z - tau, 0, 1) ** power).sum() > 1 else (low, tau)
    return np.clip(z - high, 0, 1) ** power


def weights(
    mechanism: Mechanism, sentence: str, outputs: Sequence[str], scores_KX: np.ndarray
) -> np.ndarray:
    """Every cell in closed form, (T, S) with the end symbol's column.

    ``scores_KX`` is what the planted scoring function gives: a row for each memory, a column
    for each source id, or (location) for each position.
    """
    S = len(sentence) + 1
    columns = range(S) if mechanism.options.get("score") == "location" else ids(sentence)
    rows = []
    for step, memory in enumerate(memories(mechanism, sentence, outputs)):
        scores_S = scores_KX[MEMORIES.index(memory)][list(columns)].astype(np.float64)
        allowed_S = np.arange(S) < S - (not mechanism.attends_end)
        gaussian_S = np.ones(S)
        if mechanism.window is not None:
            kind, D = mechanism.window
            p, s = centre(mechanism, sentence, memory, step), np.arange(1, S + 1)
            allowed_S &= np.abs(s - np.floor(p)) <= D
            if kind == "local-p":
                gaussian_S = np.exp(-((s - p) ** 2) / (2 * (D / 2) ** 2))
        shares_S = np.zeros(S)
        way = mechanism.options.get("normalize", "softmax")
        shares_S[allowed_S] = shares(scores_S[allowed_S], way)
        row_S = shares_S * gaussian_S
        renormalised = mechanism.options.get("renormalise", False)
        rows.append(row_S / row_S.sum() if renormalised else row_S)
    return np.array(rows)
