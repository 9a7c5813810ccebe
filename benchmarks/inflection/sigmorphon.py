"""SIGMORPHON 2022 inflection: accuracy on test, beside the task's own neural baseline.

    python benchmarks/inflection/sigmorphon.py FOLDER kor_large tur_small --seeds 0 1 2
    python benchmarks/inflection/sigmorphon.py FOLDER kor_large --models luong-fast transformer

FOLDER holds ``kor_large.train``, ``kor.dev``, ``kor.gold`` and ``baseline_neural_test.txt`` as
published (sigmorphon/2022InflectionST, part 1). What is not said follows the written rule for the
training file; dev chooses the weights; test is read once, greedily unless ``--beam`` says
otherwise. The four parts of the task's own table: whether lemma and tag set both were trained on
(not together), one of them, or neither.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from jumok.data.corpus import Corpus, load
from jumok.interfaces.front import build, fit
from jumok.interfaces.translator import Translator

PARTS = ("all", "both", "lemma", "feats", "unseen")


def baseline(folder: Path) -> dict[str, dict[str, float]]:
    """``kor_large`` -> the accuracies of the published table, per cent."""
    found = {}
    for line in (folder / "baseline_neural_test.txt").read_text().splitlines()[1:]:
        name, *numbers = line.split()
        found[name] = dict(zip(PARTS, map(float, numbers[:5]), strict=True))
    return found


def part_of(source: str, lemmas: set[str], tag_sets: set[str]) -> str:
    """Which row of the task's table a source belongs to: what of it training has shown."""
    lemma, _, tags = source.rpartition("\t")
    known = (lemma in lemmas, tags in tag_sets)
    return {(True, True): "both", (True, False): "lemma", (False, True): "feats"}.get(
        known, "unseen"
    )


def accuracies(model: Translator, train: Corpus, test: Corpus, beam: int) -> dict[str, float]:
    """Per cent by part; every row of test counts, as in the task's scorer."""
    halves = [source.rpartition("\t") for source in train.sources]
    lemmas, tag_sets = {h[0] for h in halves}, {h[2] for h in halves}
    options = model.run.search.__class__(beam=beam, max_length=model.run.search.max_length)
    outputs = model.outputs(test.sources, options)
    right: dict[str, list[bool]] = {}
    for source, output, target in zip(test.sources, outputs, test.targets, strict=True):
        for part in ("all", part_of(source, lemmas, tag_sets)):
            right.setdefault(part, []).append(output == target)
    return {part: 100 * sum(rows) / len(rows) for part, rows in right.items()}


def run(folder: Path, name: str, model_name: str, seed: int, args: Any) -> dict[str, Any]:
    language = name.partition("_")[0]
    files = (f"{name}.train", f"{language}.dev", f"{language}.gold")
    train, dev, test = (load(folder / file, tags=3) for file in files)
    training = {"seed": seed, **({"max_epochs": args.epochs} if args.epochs else {})}
    data: dict[str, Any] = {"seed": seed}
    if args.unit:
        data |= {"source_unit": args.unit, "target_unit": args.unit}
    model = build(model_name, train, data=data, training=training)
    began = time.perf_counter()
    done = fit(model, train, dev).done
    return {
        "data": name,
        "model": model_name,
        "seed": seed,
        "unit": model.run.data.source_unit,
        "test": {k: round(v, 2) for k, v in accuracies(model, train, test, args.beam).items()},
        "dev": round(100 * done.score, 2) if done.score is not None else None,
        "beam": args.beam,
        "epochs": round(done.epoch, 1),
        "seconds": round(time.perf_counter() - began),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.network.parameters()),
    }


def table(rows: Iterable[Mapping[str, Any]], published: Mapping[str, Any]) -> str:
    """Ours row by row, and beside each data set the published neural baseline."""
    lines = ["| data | model | seed | " + " | ".join(PARTS) + " | seconds |", "|---" * 9 + "|"]
    shown: set[str] = set()
    for row in rows:
        if row["data"] not in shown and row["data"] in published:
            shown.add(row["data"])
            cells = (f"{published[row['data']][part]:.2f}" for part in PARTS)
            lines.append(f"| {row['data']} | published neural | - | {' | '.join(cells)} | - |")
        cells = (f"{row['test'][p]:.2f}" if p in row["test"] else "-" for p in PARTS)
        lines.append(
            f"| {row['data']} | {row['model']} | {row['seed']} | {' | '.join(cells)} "
            f"| {row['seconds']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", nargs="+", help="such as kor_large tur_small hun_large pol_small")
    parser.add_argument("--models", nargs="+", default=["luong-fast"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--unit", help="character or jamo, over the rule's choice")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--out", default="inflection.jsonl")
    args = parser.parse_args()
    published, rows = baseline(args.folder), []
    for name in args.data:
        for model_name in args.models:
            for seed in args.seeds:
                rows.append(run(args.folder, name, model_name, seed, args))
                print(json.dumps(rows[-1]), flush=True)
                with Path(args.out).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows, published))


if __name__ == "__main__":
    main()
