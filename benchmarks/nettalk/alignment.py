"""How often the attention's argmax is the gold letter: NETtalk, three mechanisms, controls.

    python benchmarks/nettalk/alignment.py FOLDER --epochs 15

FOLDER holds ``train.tsv`` and ``dev.tsv`` (word TAB phonemes TAB ...), phoneme i standing under
letter i and "-" for a silent letter: a gold alignment by hand. Silent letters are taken out of
the target and remembered, so that the model has to find what belongs to what. Maps are of the
gold target under forced decoding. Controls: a random letter, the diagonal, and another word's map.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from jumok.alignment import agreement, aligned_pair
from jumok.data.corpus import Corpus
from jumok.interfaces.front import build, evaluate, fit

MECHANISMS = {
    "dot (the book)": ("attention", {"bidirectional": True, "reverse_source": False}),
    "general, no feeding (luong-fast)": ("luong-fast", {}),
    "additive, previous state (bahdanau)": ("bahdanau", {}),
}


def read(path: Path) -> tuple[Corpus, list[tuple[int, ...]]]:
    """Pairs (word, phonemes between spaces) and the gold letter of each phoneme."""
    pairs, gold = [], []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            word, phonemes = line.split("\t")[:2]
            pair = aligned_pair(word, phonemes, silent="-")
            pairs.append((pair.source, " ".join(pair.target)))
            gold.append(pair.positions)
    return Corpus.of(pairs, path.name), gold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=float, default=15)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--out", default="nettalk.json")
    args = parser.parse_args()
    train, _ = read(Path(args.folder) / "train.tsv")
    dev, gold = read(Path(args.folder) / "dev.tsv")
    rows = []
    for name, (model_name, options) in MECHANISMS.items():
        for seed in args.seeds:
            model = build(
                model_name,
                train,
                hidden_size=192,
                embedding_size=64,
                dropout=0.2,
                data={"source_unit": "character", "target_unit": "space", "seed": seed},
                training={"max_epochs": args.epochs, "seed": seed, "patience": None},
                **options,
            )
            fit(model, train, dev)
            traces = [one.attention.trace for one in model.score(dev.pairs())]
            found = agreement(traces, gold)
            row = {
                "mechanism": name,
                "seed": seed,
                "attention": found.attention,
                "random": found.random,
                "diagonal": found.diagonal,
                "another word's map": found.shuffled,
                "symbols": found.symbols,
                "words right (dev)": evaluate(model, dev).exact_match,
                "threads": torch.get_num_threads(),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    Path(args.out).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
