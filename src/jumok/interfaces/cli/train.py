"""``jumok train``: from a file of pairs, or from none, to a model and an honest score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from jumok.interfaces.cli.groups import (
    NO_KEYS,
    ConfigurationKeys,
    Hardware,
    ReadingPairs,
    comma,
    one_or_two,
    seconds,
)
from jumok.interfaces.cli.progress import Progress
from jumok.interfaces.cli.streams import json_line, say
from jumok.interfaces.options import Machine, Reading

if TYPE_CHECKING:
    from jumok.interfaces.work.ending import Ending

EXAMPLES = (
    "jumok train @reverse --time 3s --out runs/reverse",
    "jumok train pairs.tsv --model luong --optim.lr 3e-4 --out runs/pairs",
)


def train(
    *data: str,
    dev: str | None = None,
    test: str | None = None,
    out: Annotated[str | None, Parameter(alias="-o")] = None,
    model: str | None = None,
    config: str | None = None,
    resume: str | None = None,
    start_from: Annotated[str | None, Parameter(name="--from")] = None,
    time: str | None = None,
    seed: int | None = None,
    precision: Literal["auto", "float32", "bf16"] | None = None,
    languages: str | None = None,
    force: bool = False,
    links: str | None = None,
    links_column: str | None = None,
    tensorboard: str | None = None,
    quiet: bool = False,
    json: bool = False,
    reading: ReadingPairs = Reading(),
    machine: Hardware = Machine(),
    keys: ConfigurationKeys = NO_KEYS,
) -> int:
    """Train a model on pairs; end with a score on inputs it has never seen, and a picture.

    Every key of the configuration is an option too, such as --model.hidden_size 256 or
    --optim.lr 3e-4; "jumok init" prints them all with their meaning. Options win over the
    --config file, which wins over what the data suggest.

    Parameters
    ----------
    data
        One file of pairs (.tsv, .csv, .jsonl, .gz, - for standard input), two parallel files,
        or a built-in task: @dates @addition @reverse @copy @sort. Nothing is @dates.
    dev
        Pairs that choose the model; two parallel files with a comma between. By default a part
        of the data.
    test
        Pairs read once, after the choice. By default a part of the data; with --dev none, and
        the score at the end is that of dev.
    out
        The model folder; by default runs/ and the name of the data.
    model
        Which model of those below; by default the data decide and the reason is printed.
    config
        A TOML file of keys, such as jumok init or a model folder's config.toml.
    resume
        Go on with an interrupted run, exactly where it stopped.
    start_from
        Go on from a finished model with these other data.
    time
        Stop after so long: 90s, 10m, 1h30m.
    seed
        The seed of everything random.
    precision
        auto takes bf16 where the processor has it.
    languages
        For @dates: all, or names with commas such as ko,en,de.
    force
        Replace the model in the output folder.
    links
        Links of the training pairs, "0-0 1-2" line for line as fast_align writes them: attention
        is guided by them (--training.guided_weight, 0.05 by default).
    links_column
        The same as a column of the training pairs: a number, a name or a key.
    tensorboard
        A folder to which losses and scores are written for TensorBoard, too.
    quiet
        No progress.
    json
        Events as JSON lines on standard output; the last one has the scores.
    """
    from jumok.interfaces.requests import TrainRequest
    from jumok.interfaces.work import running

    request = TrainRequest(
        data=one_or_two(data, "the data"),
        dev=comma(dev),
        test=comma(test),
        out=out,
        model=model,
        config=config,
        keys=keys,
        resume=resume,
        start_from=start_from,
        seconds=seconds(time),
        seed=seed,
        precision=precision,
        languages=languages,
        force=force,
        links=links,
        links_column=links_column,
        tensorboard=tensorboard,
        reading=reading,
        machine=machine,
    )
    with Progress(json=json, quiet=quiet) as progress:
        result = running.train(request, progress)
    _show(result, json)
    for line in result.files:
        progress.tell(line)
    return 0


def _show(result: Ending, json: bool) -> None:
    """The scores on standard output."""
    if json:
        scores = {name: found.to_dict() for name, found in result.scores.items()}
        json_line(
            {
                "event": "test",
                "folder": str(result.folder),
                "scores": scores,
                "baselines": result.baselines,
            }
        )
    else:
        say(result.report)
