"""SIGMORPHON 2021 grapheme-to-phoneme: word error rate on test, beside the task's baseline.

    python benchmarks/g2p/sigmorphon.py FOLDER medium.kor low.ice --seeds 0 1 2

FOLDER holds ``medium.kor.train.tsv`` and so on, as published (sigmorphon/2021-task1). The model is
what `jumok train` chooses for the training file; dev chooses the weights; test is read once. The
task's word error rate is 1 - exact match; the baseline's figures are those of the task's README.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from jumok.data.corpus import load
from jumok.interfaces.front import build, evaluate, fit

BASELINE = {
    "high.eng_us": 41.94, "medium.arm_e": 7.0, "medium.bul": 18.3, "medium.dut": 14.7,
    "medium.fre": 8.5, "medium.geo": 0.0, "medium.hun": 1.8, "medium.jpn_hira": 5.2,
    "medium.kor": 16.3, "medium.vie_hanoi": 2.5, "low.gre": 21.0, "low.ice": 12.0,
    "low.ita": 19.0, "low.wel_sw": 10.0,
}  # fmt: skip
"""Word error rate on test, per cent."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("languages", nargs="+")
    parser.add_argument("--model", default="luong-fast")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--no-patience", action="store_true", help="all of the rule's epochs")
    parser.add_argument("--out", default="g2p.jsonl")
    args = parser.parse_args()
    for language in args.languages:
        train, dev, test = (
            load(Path(args.folder) / f"{language}.{side}.tsv") for side in ("train", "dev", "test")
        )
        for seed in args.seeds:
            training: dict[str, object] = {"seed": seed}
            if args.no_patience:
                training["patience"] = None
            if args.epochs:
                training["max_epochs"] = args.epochs
            model = build(args.model, train, data={"seed": seed}, training=training)
            began = time.perf_counter()
            history = fit(model, train, dev)
            seconds = time.perf_counter() - began
            options = model.run.search.__class__(beam=args.beam, length_penalty="average")
            found = evaluate(model, test, options=options)
            row = {
                "language": language,
                "model": args.model,
                "seed": seed,
                "test_wer": round(100 * found.sequence_error_rate, 1),
                "interval": [round(100 * (1 - x), 1) for x in found.exact_match_interval[::-1]],
                "baseline": BASELINE.get(language),
                "test_cer": round(100 * found.cer, 2),
                "dev_exact_match": history.done.score,
                "epochs": round(history.done.epoch, 1),
                "seconds": round(seconds),
                "threads": torch.get_num_threads(),
                "parameters": sum(p.numel() for p in model.network.parameters()),
            }
            print(json.dumps(row), flush=True)
            with Path(args.out).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
