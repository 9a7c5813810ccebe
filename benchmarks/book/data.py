"""The data of "Deep Learning from Scratch 2", chapters 7 and 8, split as the book splits it.

``date.txt`` and ``addition.txt`` are in the book's public repository
(oreilly-japan/deep-learning-from-scratch-2, folder ``dataset``; MIT licence). Each line is a
source padded with spaces, "_", and the answer. The book shuffles with NumPy's seed 1984 and
keeps the last tenth for testing. Padding stays part of the text here, as it does there.

    python benchmarks/book/data.py FOLDER/date.txt OUT    # OUT/train.tsv, OUT/test.tsv
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from jumok.data.corpus import Corpus

SEED = 1984


def read(path: str | Path) -> tuple[Corpus, Corpus]:
    """(train, test) of ``date.txt`` or ``addition.txt``."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    pairs = [tuple(line.split("_", 1)) for line in lines if line]
    order = np.arange(len(pairs))
    np.random.RandomState(SEED).shuffle(order)
    held = len(pairs) - len(pairs) // 10
    train = [pairs[i] for i in order[:held]]
    test = [pairs[i] for i in order[held:]]
    return Corpus.of(train, "train"), Corpus.of(test, "test")


def unseen(train: Corpus, test: Corpus) -> Corpus:
    """The rows of ``test`` whose source is not in ``train`` (72% of the dates)."""
    known = set(train.sources)
    return test.select([i for i, source in enumerate(test.sources) if source not in known])


def main() -> None:
    source, out = (Path(name) for name in sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for corpus in read(source):
        rows = "".join(f"{x}\t{y}\n" for x, y in corpus.pairs())
        (out / f"{corpus.name}.tsv").write_text(rows, encoding="utf-8")


if __name__ == "__main__":
    main()
