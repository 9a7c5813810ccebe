"""``jumok distill``: a student learns from what a trained model, or several, write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from jumok.interfaces.cli.groups import (
    NO_KEYS,
    ConfigurationKeys,
    Hardware,
    Members,
    ReadingPairs,
    comma,
    one_or_two,
    seconds,
)
from jumok.interfaces.cli.progress import Progress
from jumok.interfaces.cli.streams import json_line, say
from jumok.interfaces.options import Ensembling, Machine, Reading

if TYPE_CHECKING:
    from jumok.interfaces.work.distilling import Distilled

EXAMPLES = (
    "jumok distill runs/dates pairs.tsv --model.hidden_size 64 --out runs/small",
    "jumok distill runs/dates,runs/dates pairs.tsv --to plain --time 3s",
)


def distill(
    teacher: str,
    /,
    *data: str,
    to: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    beam: int = 5,
    closest: bool = False,
    keep_gold: bool = False,
    guide: bool = False,
    config: str | None = None,
    time: str | None = None,
    seed: int | None = None,
    precision: Literal["auto", "float32", "bf16"] | None = None,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
    reading: ReadingPairs = Reading(),
    ensembling: Members = Ensembling(),
    machine: Hardware = Machine(),
    keys: ConfigurationKeys = NO_KEYS,
) -> int:
    """Train a student on what a teacher writes for the training sources; dev and test stay.

    The pairs are split as the teacher's were, so give the file that it was trained on. The
    teacher's outputs are kept in the student's folder: stopped, the same command goes on. Every
    key of the configuration is the student's, such as --model.hidden_size 64.

    Parameters
    ----------
    teacher
        A model folder, or several that answer together: a,b.
    data
        One file of pairs, two parallel files, or a built-in task.
    to
        Which model of those below the student is; by default the data decide.
    dev
        Pairs that choose the student; two parallel files with a comma between. By default a
        part of the data.
    test
        Pairs on which student and teacher are scored; by default a part of the data.
    out
        The student's folder; by default runs/ and the name of the data with -distilled.
    beam
        Hypotheses that the teacher keeps per source; 1 is greedy.
    closest
        Of the beam take what is closest to the reference, in place of what is likeliest.
    keep_gold
        Train on the references as well: every source twice.
    guide
        Guide the student's attention by what the teacher attended to most.
    config
        A TOML file of keys for the student.
    time
        Stop training the student after so long: 90s, 10m, 1h30m.
    seed
        The seed of everything random about the student.
    precision
        auto takes bf16 where the processor has it.
    force
        Replace the model in the output folder.
    quiet
        No progress.
    json
        Events as JSON lines on standard output; the last one has the scores.
    """
    from jumok.interfaces.requests import DistillRequest
    from jumok.interfaces.work import distilling

    request = DistillRequest(
        teacher=teacher,
        data=one_or_two(data, "the data"),
        dev=comma(dev),
        test=comma(test),
        out=out,
        model=to,
        beam=beam,
        closest=closest,
        keep_gold=keep_gold,
        guide=guide,
        config=config,
        keys=keys,
        seconds=seconds(time),
        seed=seed,
        precision=precision,
        force=force,
        reading=reading,
        ensembling=ensembling,
        machine=machine,
    )
    with Progress(json=json, quiet=quiet) as progress:
        result = distilling.distill(request, progress)
    if json:
        json_line(_last(result))
    else:
        say(result.ending.report)
    for line in result.ending.files:
        progress.tell(line)
    return 0


def _last(result: Distilled) -> dict[str, Any]:
    """The last event of ``--json``: that of ``jumok train``, and the teacher."""
    ending = result.ending
    return {
        "event": "test",
        "folder": str(ending.folder),
        "scores": {name: found.to_dict() for name, found in ending.scores.items()},
        "teacher": None if result.teacher is None else result.teacher.to_dict(),
        "baselines": ending.baselines,
    }
