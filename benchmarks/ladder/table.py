"""A ladder's ``--json`` as the rows of a Markdown table.

jumok compare --out runs/compare-pairs --report --json > ladder.json
python benchmarks/ladder/table.py ladder.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HEAD = (
    "| system | exact match | CER | attention | items/s decoded | examples/s trained "
    "| examples seen | hidden | parameters |\n|---|---|---|---|---|---|---|---|---|"
)


def row(found: dict[str, Any]) -> str:
    """One system."""
    low, high = (100 * x for x in found["interval"])
    looked = "" if found["attention"] is None else f"{found['attention']:+.2f}"
    if found["attention_kind"] == "gold":
        looked = f"{found['attention']:.1%}"
    score = f"{100 * found['exact_match']:.1f}% ({low:.1f} to {high:.1f})"
    for name, value in found["further"].items():
        score += f"; {name} {100 * value:.1f}%"
    if found["seen"] is not None:
        score += f"; never seen {100 * found['unseen']:.1f}%"
    cells = (
        found["label"],
        score,
        f"{100 * found['cer']:.2f}%",
        looked,
        f"{found['items_per_second']:,.0f}",
        f"{found['examples_per_second']:,.0f}",
        f"{found['examples']:,.0f}",
        f"{found['hidden_size']:,}",
        f"{found['parameters']:,}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    ladder = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(HEAD)
    for system in ladder["systems"]:
        print(row(system) if system["error"] is None else f"| {system['label']} | failed |")


if __name__ == "__main__":
    main()
