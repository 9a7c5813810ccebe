"""Looking for settings for small data, off the small test sets: N rows of a larger language.

    python benchmarks/g2p/small.py FOLDER fre arm_e kor --rows 800 --set model.dropout=0.5

FOLDER as for ``sigmorphon.py``. Trains on N rows of ``medium.LANGUAGE.train.tsv``, chooses on a
tenth of as many rows of dev (at least 100, at most 500), and prints the word error rate on the
rest of dev.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from jumok.data.corpus import load
from jumok.interfaces.front import build, evaluate, fit


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("languages", nargs="+")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--model", default="luong-fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE")
    args = parser.parse_args()
    for language in args.languages:
        train, dev = (load(args.folder / f"medium.{language}.{x}.tsv") for x in ("train", "dev"))
        draw = random.Random(1)
        if args.rows < len(train):
            train = train.select(draw.sample(range(len(train)), args.rows))
        order = list(range(len(dev)))
        draw.shuffle(order)
        count = min(500, max(100, args.rows // 10))
        sections: dict[str, dict[str, Any]] = {
            "data": {"seed": args.seed},
            "training": {"seed": args.seed},
        }
        for said in args.set:
            key, _, value = said.partition("=")
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value_of(value)
        model = build(args.model, train, **sections.pop("model", {}), **sections)
        done = fit(model, train, dev.select(order[:count])).done
        options = model.run.search.__class__(beam=5, length_penalty="average")
        found = evaluate(model, dev.select(order[count:]), options=options)
        row = {
            "language": language,
            "rows": len(train),
            "model": args.model,
            "set": args.set,
            "seed": args.seed,
            "wer": round(100 * found.sequence_error_rate, 1),
            "cer": round(100 * found.cer, 2),
            "epochs": done.epoch,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
