"""``jumok align``: which source each target attends to, as Pharaoh links; their error rate."""

from __future__ import annotations

from typing import Literal

from jumok.errors import UsageError
from jumok.interfaces.cli.groups import Hardware, Members, ReadingPairs, one_or_two
from jumok.interfaces.cli.streams import json_line, note, say
from jumok.interfaces.options import Ensembling, Machine, Reading

EXAMPLES = (
    "jumok align runs/dates test.tsv",
    "jumok align --links links.txt --gold gold.txt",
)


def align(
    model: str | None = None,
    /,
    *data: str,
    gold: str | None = None,
    links: str | None = None,
    level: Literal["auto", "word", "token"] = "auto",
    method: Literal["argmax", "threshold", "source-argmax", "mutual"] = "argmax",
    threshold: float = 0.5,
    soft: bool = False,
    out: str | None = None,
    gold_base: Literal[0, 1] | None = None,
    links_base: Literal[0, 1] = 0,
    swap: bool = False,
    json: bool = False,
    reading: ReadingPairs = Reading(),
    machine: Hardware = Machine(),
    ensembling: Members = Ensembling(),
) -> None:
    """Links between source and target of given pairs: one line per pair, such as "0-0 1-2".

    A link is SOURCE-TARGET, counted from 0. With --gold the last line is an object with AER,
    precision and recall; with --links no model is needed.

    Parameters
    ----------
    model
        A model folder, or several that answer together: a,b.
    data
        One file of pairs, or two parallel files.
    gold
        Gold links, a line per pair: 1-1 is sure, 1p2 is possible.
    links
        Score these links instead of a model's.
    level
        What is linked: words between spaces, or the model's symbols. auto: words where the
        model's symbols are words or pieces of words, else its symbols.
    method
        argmax: each target's strongest source. threshold: all above it. mutual: both ways.
    threshold
        For --method threshold.
    soft
        Links with their weights, such as 0-0:0.93, down to 0.01.
    out
        Also write the maps to this file, .npz or .html.
    gold_base
        What the gold file calls the first position; by default 0 if a 0 occurs in it, else 1.
    links_base
        What the file of --links calls the first position.
    swap
        The file of --links is written TARGET-SOURCE.
    json
        One object per pair: links, tokens and the map.
    """
    if links is not None:
        if gold is None or model is not None or soft or out:
            raise UsageError(
                "--links scores given links, so it goes with --gold and without a model.",
                hint="jumok align --links links.txt --gold gold.txt",
            )
        from jumok.interfaces.work.gold import score_files

        scores = score_files(links, gold, links_base=links_base, gold_base=gold_base, swap=swap)
        json_line(scores.to_dict())
        return
    if model is None:
        raise UsageError(
            "whose attention? Name a model folder, or give --links and --gold.",
            hint="jumok align runs/dates pairs.tsv",
        )
    from jumok.interfaces.requests import AlignRequest
    from jumok.interfaces.work import aligning
    from jumok.interfaces.work.gold import against_gold

    request = AlignRequest(
        model=model,
        data=one_or_two(data, "the data"),
        level=level,
        method=method,
        threshold=threshold,
        reading=reading,
        machine=machine,
        ensembling=ensembling,
    )
    keep = aligning.Kept(links=gold is not None, traces=out is not None)
    for one in keep.passing(aligning.align(request)):
        if json:
            json_line(one.to_dict())
        else:
            say(one.soft() if soft else one.pharaoh())
    if gold is not None:
        json_line(against_gold(keep.found_links, gold, gold_base).to_dict())
    if out is not None:
        keep.save(out)
        note(f"wrote {out}")
