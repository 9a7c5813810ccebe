"""``jumok tapes``: a Neural Turing Machine, or an LSTM beside it, on the paper's tapes of bits."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from jumok.interfaces.cli.groups import NO_KEYS, ConfigurationKeys
from jumok.interfaces.cli.progress import Progress
from jumok.interfaces.cli.streams import json_line, say

EXAMPLES = (
    "jumok tapes copy --updates 60 --task.lengths_drawn 1,4 --out runs/tapes",
    "jumok tapes associative-recall --model lstm --updates 9 --json",
)


def tapes(
    what: str | None = None,
    /,
    *,
    model: Literal["ntm", "lstm"] | None = None,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    updates: int | None = None,
    seed: int | None = None,
    resume: str | None = None,
    force: bool = False,
    threads: int | None = None,
    quiet: bool = False,
    json: bool = False,
    keys: ConfigurationKeys = NO_KEYS,
) -> int:
    """Train a machine with a memory on tapes of bits; wrong bits a tape, also on longer tapes.

    The tasks of Graves, Wayne and Danihelka 2014, with its sizes: copy, repeat-copy,
    associative-recall, ngrams, priority-sort. Keys are options too, such as --model.slots 128,
    --task.lengths_drawn 1,10 or --optim.lr 1e-3; a model folder's config.toml has them all. The
    paper's own optimiser is --optim.name rmsprop --optim.lr 1e-4 --optim.momentum 0.9
    --optim.clip_value 10 --optim.clip_norm 0.

    Parameters
    ----------
    what
        A task, by default copy; or a folder that was trained before, to be scored and drawn
        once more: its picture is tape.png in the folder, or --out FILE (.png, .svg, .pdf).
    model
        ntm is the machine (the default), lstm the paper's baseline without a memory.
    out
        The model folder, by default runs/ and the task; for a folder the picture's file.
    updates
        Updates in all; 16 tapes each (--data.batch_size).
    seed
        Names tapes, order and first weights.
    resume
        Go on with an interrupted run in this folder, exactly where it stopped.
    force
        Replace the model in the output folder.
    threads
        Threads to compute with.
    quiet
        No progress.
    json
        Events as JSON lines on standard output; the last one has the scores.
    """
    from jumok.interfaces.requests import TapesRequest
    from jumok.interfaces.work import tapes as work

    request = TapesRequest(
        what=what,
        model=model,
        out=out,
        updates=updates,
        seed=seed,
        resume=resume,
        force=force,
        threads=threads,
        keys=keys,
    )
    with Progress(json=json, quiet=quiet) as progress:
        result = work.tapes(request, progress)
    if json:
        scores = {name: score._asdict() for name, score in result.scores.items()}
        made = result.tapes
        record = {"event": "test", "task": made.task, "model": made.model, "scores": scores}
        json_line({**record, "weights": made.num_weights, "folder": str(result.folder)})
    else:
        wide = max(len(name) for name in result.scores)
        say(f"{'':{wide}}  bit errors a tape  cost in bits  tapes without error")
        for name, score in result.scores.items():
            best = "" if score.best_cost is None else f"  (best possible {score.best_cost:.1f})"
            say(
                f"{name:{wide}}  {score.errors:17.2f}  {score.cost:12.2f}  "
                f"{100 * score.exact:17.0f} %{best}"
            )
    progress.tell(f"the picture: {result.picture}")
    return 0
