"""Every model learns to copy and to reverse strings it has never seen, and attends where it should.

Short strings over few symbols; trained and chosen by the ordinary loop, scored free-running. The
quick ones run with every change, those whose first weights are next to nothing at night.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

import jumok
from jumok.data.corpus import Corpus
from jumok.data.tasks import sequences
from jumok.interfaces.translator import Translator
from jumok.models import MODELS


class Lesson(NamedTuple):
    """What a model needs."""

    steps: int = 400
    lr: float = 5e-3
    num_layers: int | None = None
    """None = the model's own."""


QUICK = ("attention", "bahdanau", "luong-fast", "luong")
LESSONS = {
    "plain": Lesson(800, 1e-2),
    "peeky": Lesson(800, 1e-2),
    "attention": Lesson(600, 5e-3),
    "sutskever": Lesson(1500, 5e-3, num_layers=1),
    "rnnsearch": Lesson(800, 1e-2),
    "cgru": Lesson(1200, 5e-3),
    "transformer": Lesson(400, 3e-3),
    "modern": Lesson(600, 3e-3),
    "hybrid": Lesson(400, 3e-3),
    "hybrid-ssru": Lesson(400, 3e-3),
}
SIZED = ("transformer-base", "transformer-big")
"""The Transformer again, in sizes for which this is no lesson."""
HARD = {("monotonic", "reverse")}
"""Only by keeping the whole string in its last annotation: no lesson for it."""
CASES = [
    pytest.param(name, task, marks=() if name in QUICK else pytest.mark.nightly)
    for name in MODELS
    for task in ("copy", "reverse")
    if (name, task) not in HARD and name not in SIZED
]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def taught(name: str, task: str) -> tuple[Translator, Corpus]:
    """The model after its lesson, and 120 strings of one to four letters that it has not seen."""
    make = {"copy": sequences.copy, "reverse": sequences.reverse}[task]
    data = make(400, 0, symbols="abcde", lengths=(1, 4), dev=60, test=120)
    lesson = LESSONS.get(name, Lesson())
    depth = {} if lesson.num_layers is None else {"num_layers": lesson.num_layers}
    model = jumok.build(
        name,
        data.train,
        **{"hidden_size": 48, "embedding_size": 24, "dropout": 0.0, **depth},
        optim={"lr": lesson.lr, "schedule": "cosine", "warmup_part": 0.1},
        training={"precision": "fp32", "label_smoothing": 0.0, "patience": None},
        data={"batch_size": 64},
    )
    steps = lesson.steps
    jumok.fit(model, data.train, data.dev, max_epochs=None, max_steps=steps, validate_every=steps)
    return model, data.test


@pytest.mark.parametrize(("name", "task"), CASES)
def test_unseen_strings_come_out_right(name: str, task: str) -> None:
    model, unseen = taught(name, task)
    found = jumok.evaluate(model, unseen)
    assert found.exact_match >= 0.9, f"{name}, {task}: {found.exact_match:.3f} of {len(unseen)}"


@pytest.mark.parametrize("task", ["copy", "reverse"])
def test_attention_learns_the_alignment_nobody_showed_it(task: str) -> None:
    """Free-running: symbol t came from position t, or from its mirror; chance is below a half."""
    model, unseen = taught("luong", task)
    hits = []
    for found in model.translate([s for s in unseen.sources if len(s) >= 3]):
        weights_TS, S = found.attention.weights_TS, len(found.source)
        assert weights_TS is not None
        gold = np.arange(S) if task == "copy" else np.arange(S)[::-1]
        if len(found.text) == S:
            hits += (weights_TS[:S, :S].argmax(axis=1) == gold).tolist()
    assert len(hits) > 200
    assert np.mean(hits) > 0.8
