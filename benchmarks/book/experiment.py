"""The book's experiments: attention, peeky and plain on dates; plain and peeky on addition.

    python benchmarks/book/experiment.py DATA_FOLDER --task date --setting book
    python benchmarks/book/experiment.py DATA_FOLDER --task date --setting jumok
    python benchmarks/book/experiment.py DATA_FOLDER --task addition

``--setting book`` has the book's sizes, optimiser (Adam 1e-3, global norm 5, batch 128), first
weights, reversed source and attended padding; ``--setting jumok`` is what `jumok train` would
choose for the same pairs. Prints one line per epoch and writes ``OUT.json`` and ``OUT.png``.
Exact match is free-running (greedy), on all test rows and on those whose source never occurs in
training.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from data import read, unseen
from jumok.data.corpus import Corpus
from jumok.interfaces.fitting import codec_of, fit, make_translator
from jumok.interfaces.front import build
from jumok.interfaces.translator import Translator
from jumok.recipes.options import run_config
from jumok.search import SearchOptions
from jumok.training.events import Event, Step, Validation

BOOK: dict[str, dict[str, dict[str, Any]]] = {
    "date": {
        "attention": {"model": "attention", "reverse_source": True},
        "peeky": {"model": "peeky", "reverse_source": True},
        "plain": {"model": "plain", "reverse_source": True},
    },
    "addition": {
        "plain": {"model": "plain", "reverse_source": False},
        "reversed": {"model": "plain", "reverse_source": True},
        "reversed peeky": {"model": "peeky", "reverse_source": True},
    },
}
SIZES = {"date": (16, 256, 10), "addition": (16, 128, 25)}


def book_translator(name: str, task: str, train: Corpus, epochs: int, precision: str) -> Translator:
    """One of the book's models in the book's setting."""
    options = dict(BOOK[task][name])
    embedding, hidden, _ = SIZES[task]
    preset = {
        "model": {
            "embedding_size": embedding,
            "hidden_size": hidden,
            "mask": False,
            "reverse_source": options["reverse_source"],
        },
        "data": {"batch_size": 128},
        "optim": {"lr": 1e-3, "betas": [0.9, 0.999], "clip_norm": 5.0},
        "training": {"max_epochs": epochs, "precision": precision},
        "search": {"max_length": 12},
    }
    run = run_config(options["model"], preset=preset)
    return make_translator(options["model"], run, codec_of(train, run.data), train)


def jumok_translator(train: Corpus, epochs: int) -> Translator:
    """What `jumok train` chooses for these pairs."""
    made = build("luong-fast", train, training={"max_epochs": epochs})
    return made


class Curve:
    """Exact match after every epoch, and the seconds spent in updates until then."""

    def __init__(self, name: str, translator: Translator, test: Corpus, apart: Corpus) -> None:
        self.name, self.translator, self.test, self.apart = name, translator, test, apart
        self.points: list[dict[str, float]] = []
        self.seconds, self._mark = 0.0, time.perf_counter()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            now = time.perf_counter()
            self.seconds += now - self._mark
            self._mark = now
        elif isinstance(event, Validation):
            point = {
                "epoch": round(event.epoch, 2),
                "seconds": round(self.seconds, 1),
                "all": exact(self.translator, self.test),
                "unseen": exact(self.translator, self.apart),
            }
            self.points.append(point)
            print(self.name, json.dumps(point), flush=True)
            self._mark = time.perf_counter()


def exact(translator: Translator, corpus: Corpus) -> float:
    """Share of rows whose greedy output is the target."""
    options = SearchOptions(max_length=12, weights=False)
    found = translator.translate(list(corpus.sources), options=options, batch_size=256)
    return sum(f.text == t for f, t in zip(found, corpus.targets, strict=True)) / len(corpus)


def run(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    train, test = read(Path(args.folder) / f"{args.task}.txt")
    apart = unseen(train, test)
    print(f"{len(train)} train, {len(test)} test, {len(apart)} of them unseen", flush=True)
    epochs = args.epochs or SIZES[args.task][2]
    curves = {}
    for name in args.only or BOOK[args.task]:
        if args.setting == "jumok":
            translator = jumok_translator(train, epochs)
        else:
            translator = book_translator(name, args.task, train, epochs, args.precision)
        data = replace(translator.run.data, validation_rows=100)  # the curve reads all of test
        translator = replace(translator, run=replace(translator.run, data=data))
        curve = Curve(name, translator, test, apart)
        fit(translator, train, test, listeners=[curve])
        curves[name] = curve.points
        if args.setting == "jumok":
            break
    return curves


def draw(curves: dict[str, list[dict[str, float]]], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot([p["epoch"] for p in points], [100 * p["all"] for p in points], "o-", label=name)
    axes.set(xlabel="epoch", ylabel="exact match, %", ylim=(-3, 103), title=title)
    axes.legend()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="where date.txt and addition.txt are")
    parser.add_argument("--task", choices=sorted(SIZES), default="date")
    parser.add_argument("--setting", choices=("book", "jumok"), default="book")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--out", default="results")
    args = parser.parse_args()
    torch.set_num_threads(torch.get_num_threads())
    curves = run(args)
    out = Path(args.out)
    out.with_suffix(".json").write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
    draw(curves, out.with_suffix(".png"), f"{args.task}, {args.setting}'s setting")


if __name__ == "__main__":
    main()
