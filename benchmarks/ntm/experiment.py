"""The Neural Turing Machine on the paper's tapes, an LSTM beside it, seed by seed.

    python benchmarks/ntm/experiment.py train [TASK ...] [--seeds 0,1,2] [--models ntm,lstm]
    python benchmarks/ntm/experiment.py table
    python benchmarks/ntm/experiment.py curves TASK curves.png

``train`` runs ``jumok tapes`` once for each task, model and seed that has no file in ``results``
yet; a file holds the command, the scores on 50 test tapes of each size, and every validation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
UPDATES = {"copy": 2400, "associative-recall": 5000, "repeat-copy": 4000, "ngrams": 3000,
           "priority-sort": 3000}  # fmt: skip
"""Updates of 16 tapes each."""
COMMON = ("--optim.schedule", "cosine", "--optim.warmup_part", "0.02", "--data.test_rows", "50")
OF_MODEL = {"ntm": (), "lstm": ("--model.hidden_size", "128")}
"""The paper's LSTM has 256 (512 for repeat copy) in each of three layers: an update of it takes
about four times the machine's. With 128 an update of both takes about the same time."""


def arguments_of(task: str, model: str, seed: int) -> list[str]:
    """What stands behind ``jumok``."""
    run = ["tapes", task, "--model", model, "--seed", str(seed), "--updates", str(UPDATES[task])]
    return [*run, *COMMON, *OF_MODEL[model]]


def distilled(lines: Sequence[str], command: Sequence[str]) -> dict[str, Any]:
    """What is kept of a run's events."""
    events = [json.loads(line) for line in lines]
    test = events[-1]
    assert test["event"] == "test", "the run did not end"
    curve = [{"step": e["step"], **e["scores"]} for e in events if e["event"] == "validation"]
    losses = [(e["step"], e["nll"]) for e in events if e["event"] == "step"]
    return {
        "command": f"jumok {' '.join(command)}",
        "task": test["task"],
        "model": test["model"],
        "weights": test["weights"],
        "updates": losses[-1][0],
        "scores": test["scores"],
        "validations": curve,
        "training_nll_of_100_updates": _means(losses, 100),
    }


def _means(losses: Sequence[tuple[int, float]], width: int) -> list[list[float]]:
    """[last update, mean nats a step] of each ``width`` updates."""
    parts = [losses[i : i + width] for i in range(0, len(losses), width)]
    return [[part[-1][0], round(float(np.mean([nll for _, nll in part])), 5)] for part in parts]


def train(tasks: Sequence[str], models: Sequence[str], seeds: Sequence[int]) -> None:
    """Seed by seed, so that a cut leaves whole rows."""
    RESULTS.mkdir(exist_ok=True)
    for seed in seeds:
        for task in tasks:
            for model in models:
                place = RESULTS / f"{task}-{model}-{seed}.json"
                if not place.exists():
                    one(task, model, seed, place)


def one(task: str, model: str, seed: int, place: Path) -> None:
    """One run in a process of its own, on one thread."""
    arguments = arguments_of(task, model, seed)
    with tempfile.TemporaryDirectory() as folder:
        extra = ["--out", f"{folder}/run", "--json", "--quiet"]
        ran = subprocess.run(
            [sys.executable, "-m", "jumok", *arguments, *extra],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    keep(distilled(ran.stdout.splitlines(), arguments), place)


def keep(result: dict[str, Any], place: Path) -> None:
    place.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def results(task: str = "*") -> Iterator[dict[str, Any]]:
    """Every result there is, by name."""
    for path in sorted(RESULTS.glob(f"{task}-*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def table() -> None:
    """Bit errors a tape, every seed of a row beside the others."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results():
        rows.setdefault((result["task"], result["model"]), []).append(result)
    for (task, model), runs in rows.items():
        print(f"\n{task}, {model} ({runs[0]['weights']:,} weights, {runs[0]['updates']:,} updates)")
        for name in runs[0]["scores"]:
            errors = [run["scores"][name]["errors"] for run in runs]
            shown = ", ".join(f"{e:.2f}" for e in errors)
            print(f"  {name:22} {shown}   (median {np.median(errors):.2f})")


def curves(task: str, place: Path) -> None:
    """Bits a tape against tapes seen, as the paper's figures 3, 7 and 10."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colors = {"ntm": "#0b5394", "lstm": "#b45f06"}
    for result in results(task):
        steps = [16 * v["step"] / 1000 for v in result["validations"]]
        cost = [v["cost"] for v in result["validations"]]
        axes.plot(steps, cost, color=colors[result["model"]], label=result["model"], alpha=0.8)
    unique = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(unique.values(), unique.keys(), frameon=False)
    axes.set(
        xlabel="tapes seen (thousands)", ylabel="cost in bits a tape", title=task, ylim=(0, None)
    )
    figure.savefig(place, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("train", "table", "curves"))
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--models", default="ntm,lstm")
    asked = parser.parse_args()
    if asked.what == "train":
        seeds = [int(seed) for seed in asked.seeds.split(",")]
        train(asked.rest or list(UPDATES)[:3], asked.models.split(","), seeds)
    elif asked.what == "table":
        table()
    else:
        curves(asked.rest[0], Path(asked.rest[1]))


if __name__ == "__main__":
    main()
