"""Draws what ``exact.py`` wrote: exact match by epoch, a line for each model and seed.

python benchmarks/book/curves.py results/date-*.jsonl --out results/date.png
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", default="curves.png")
    args = parser.parse_args()
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for path in args.files:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            name = f"{row['model']} (seed {row['seed']}, {row['precision']})"
            curves[name].append((row["epoch"], 100 * row["all"]))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in sorted(curves.items()):
        axes.plot(*zip(*sorted(points), strict=True), "o-", markersize=3, label=name)
    axes.set(xlabel="epoch", ylabel="exact match on test, %", ylim=(-3, 103))
    axes.legend(fontsize=8)
    figure.savefig(args.out, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
