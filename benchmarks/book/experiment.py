"""The book's files with jumok's defaults: what `jumok train` chooses, scored after every epoch.

    python benchmarks/book/experiment.py DATA_FOLDER --task date --epochs 4

The book's split of ``date.txt`` or ``addition.txt``. Exact match is free-running (greedy), on all
test rows and on those whose source never occurs in training. ``exact.py`` is the book's own
setting; ``curves.py`` draws the rows of both.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from data import read, unseen
from jumok.data.corpus import Corpus
from jumok.interfaces.fitting import fit
from jumok.interfaces.front import build
from jumok.interfaces.translator import Translator
from jumok.search import SearchOptions
from jumok.training.events import Event, Step, Validation


class Curve:
    """Exact match after every epoch, and the seconds spent in updates until then."""

    def __init__(self, translator: Translator, parts: dict[str, Corpus], about: dict[str, Any]):
        self.translator, self.parts, self.about = translator, parts, about
        self.rows: list[dict[str, Any]] = []
        self.seconds, self._mark = 0.0, time.perf_counter()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            now = time.perf_counter()
            self.seconds += now - self._mark
            self._mark = now
        elif isinstance(event, Validation):
            scores = {name: exact(self.translator, part) for name, part in self.parts.items()}
            seconds = round(self.seconds, 1)
            row = {**self.about, "epoch": round(event.epoch, 2), **scores, "seconds": seconds}
            self.rows.append(row)
            print(json.dumps(row), flush=True)
            self._mark = time.perf_counter()


def exact(translator: Translator, corpus: Corpus) -> float:
    """Share of rows whose greedy output is the target."""
    options = SearchOptions(max_length=12, weights=False)
    found = translator.translate(list(corpus.sources), options=options, batch_size=256)
    return sum(f.text == t for f, t in zip(found, corpus.targets, strict=True)) / len(corpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="where date.txt and addition.txt are")
    parser.add_argument("--task", choices=("date", "addition"), default="date")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", default="experiment.jsonl")
    args = parser.parse_args()
    train, test = read(Path(args.folder) / f"{args.task}.txt")
    parts = {"all": test, "unseen": unseen(train, test)}
    data = {"validation_rows": 100}  # the curve reads all of test
    translator = build("luong-fast", train, training={"max_epochs": args.epochs}, data=data)
    about = {
        "task": args.task,
        "model": translator.name,
        "seed": translator.run.training.seed,
        "precision": translator.run.training.precision,
        "threads": torch.get_num_threads(),
    }
    curve = Curve(translator, parts, about)
    fit(translator, train, test, listeners=[curve])
    with Path(args.out).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in curve.rows)


if __name__ == "__main__":
    main()
