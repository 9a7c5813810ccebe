"""Published alignment error rates, computed again from the stored outputs of the aligners.

    python benchmarks/alignment_gold/reproduce.py FOLDER

FOLDER holds, for each language pair (enfr, roen), a gold file ``PAIR.gold`` (positions from 1),
an aligner's links ``lilt.TOOL.PAIR[.METHOD].talp`` (positions from 0; ``reverse`` has its sides
swapped), the published figures ``lilt.TOOL.PAIR-results.txt``, and ``PAIR.awesome-align.out`` where
it is there. The exit status is 1 unless every GIZA++ figure is the published one and every other
differs by at most 0.1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from jumok.alignment import (
    AlignmentScores,
    Links,
    read_gold,
    read_links,
    reverse,
    score_links,
    symmetrise,
)

LINE = r"test\.\w{4}\.(?:([a-z-]+)\.)?talp: ([\d.]+)% \(([\d.]+)%/([\d.]+)%/(\d+)\)"
AWESOME = {"enfr": 4.1, "roen": 20.7}
"""awesome-align's README, AER in per cent, for the outputs it ships."""
ALLOWED = {"giza": 0.0, "fastalign": 0.1, "awesome": 0.1}
NAMES = {"giza": "GIZA++", "fastalign": "fast_align"}


def percent(scores: AlignmentScores) -> tuple[float, float, float]:
    """AER, precision, recall."""
    return 100 * scores.aer, 100 * scores.precision, 100 * scores.recall


def published(folder: Path, tool: str, pair: str) -> Iterator[tuple[str, list[float], int]]:
    """(method, [AER, precision, recall], number of links) of each line on whole words."""
    text = (folder / f"lilt.{tool}.{pair}-results.txt").read_text(encoding="utf-8")
    for method, *figures, count in re.findall(LINE, text):
        yield method, [float(x) for x in figures], int(count)


def stored(folder: Path, tool: str, pair: str, method: str) -> list[Links]:
    """The links of one file, as (source, target)."""
    name = ".".join(part for part in (f"lilt.{tool}.{pair}", method, "talp") if part)
    return read_links(folder / name, reversed_sides=method == "reverse")


def row(cells: list[str]) -> None:
    print(f"| {' | '.join(cells)} |")


def compare(folder: Path, tool: str, pair: str) -> float:
    """Print the rows of one aligner and pair; the largest difference in AER."""
    gold = read_gold(folder / f"{pair}.gold")
    farthest = 0.0
    for method, figures, count in published(folder, tool, pair):
        scores = score_links(stored(folder, tool, pair, method), gold)
        ours = percent(scores)
        # The published figure has one decimal: compare what would be printed.
        difference = abs(round(ours[0], 1) - figures[0])
        farthest = max(farthest, difference)
        row(
            [NAMES[tool], pair, method or "forward"]
            + [f"{theirs:.1f} / {mine:.1f}" for theirs, mine in zip(figures, ours, strict=True)]
            + [f"{count:,} / {scores.links:,}", f"{difference:.1f}"]
        )
    return farthest


def combine(folder: Path, tool: str, pair: str) -> None:
    """Print how our own symmetrisation of the two stored directions agrees with the stored one."""
    gold = read_gold(folder / f"{pair}.gold")
    forward, backward = (stored(folder, tool, pair, d) for d in ("", "reverse"))
    for method in ("intersection", "union", "grow-diagonal", "grow-diagonal-final"):
        theirs = stored(folder, tool, pair, method)
        ours = [symmetrise(a, b, method) for a, b in zip(forward, backward, strict=True)]
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        pairs = zip(forward, backward, strict=True)
        wide = [symmetrise(a, b, method, free="either") for a, b in pairs]
        row(
            [NAMES[tool], pair, method, f"{same} of {len(ours)}"]
            + [f"{percent(score_links(found, gold))[0]:.1f}" for found in (theirs, ours, wide)]
        )


def shipped(folder: Path, pair: str) -> float:
    """Print the row of awesome-align's own output; its difference in AER."""
    path = folder / f"{pair}.awesome-align.out"
    if not path.exists():
        return 0.0
    ours = percent(score_links(read_links(path), read_gold(folder / f"{pair}.gold")))
    difference = abs(round(ours[0], 1) - AWESOME[pair])
    cells = [f"{AWESOME[pair]} / {ours[0]:.1f}", f"- / {ours[1]:.1f}", f"- / {ours[2]:.1f}"]
    row(["awesome-align", pair, "its own", *cells, "-", f"{difference:.1f}"])
    return difference


def shift(links: Links) -> Links:
    return frozenset((i + 1, j + 1) for i, j in links)


def controls(folder: Path) -> None:
    """Print what one wrong reading of the files does to GIZA++'s forward links on enfr."""
    found, gold = stored(folder, "giza", "enfr", ""), read_gold(folder / "enfr.gold")
    wrong = {
        "gold counted from 0": score_links([shift(links) for links in found], gold),
        "sides swapped": score_links([reverse(links) for links in found], gold),
        "next sentence's gold": score_links(found, gold[1:] + gold[:1]),
    }
    for what, scores in wrong.items():
        row([what, f"{percent(scores)[0]:.1f}"])


def main(folder: Path) -> int:
    pairs = ("enfr", "roen")
    row(["aligner", "pair", "links", "AER %", "precision %", "recall %", "links", "difference"])
    row(["---"] * 8)
    farthest = {tool: max(compare(folder, tool, pair) for pair in pairs) for tool in NAMES}
    farthest["awesome"] = max(shipped(folder, pair) for pair in pairs)
    print()
    row(
        ["aligner", "pair", "method", "same sentences", "AER stored", "ours", 'ours, free="either"']
    )
    row(["---"] * 7)
    for tool in NAMES:
        for pair in pairs:
            combine(folder, tool, pair)
    print()
    row(["control: read wrongly", "AER %"])
    row(["---"] * 2)
    controls(folder)
    print()
    for tool, difference in farthest.items():
        print(f"{tool}: largest difference in AER {difference:.1f}, allowed {ALLOWED[tool]:.1f}")
    return int(any(farthest[tool] > ALLOWED[tool] + 1e-9 for tool in farthest))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
