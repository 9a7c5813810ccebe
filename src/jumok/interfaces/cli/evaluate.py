"""``jumok evaluate``: numbers with intervals, on outputs the model produced by itself."""

from __future__ import annotations

from jumok.interfaces.cli.groups import (
    NO_KEYS,
    ConfigurationKeys,
    Hardware,
    Members,
    ReadingPairs,
    Search,
    one_or_two,
)
from jumok.interfaces.cli.streams import json_line, say
from jumok.interfaces.options import Ensembling, Machine, Reading, Searching

EXAMPLES = (
    "jumok evaluate runs/dates test.tsv --errors 5",
    "jumok evaluate runs/dates test.tsv --beam 5 --json",
)


def evaluate(
    model: str,
    /,
    *data: str,
    against: str | None = None,
    errors: int = 0,
    json: bool = False,
    searching: Search = Searching(),
    reading: ReadingPairs = Reading(),
    machine: Hardware = Machine(),
    ensembling: Members = Ensembling(),
    keys: ConfigurationKeys = NO_KEYS,
) -> None:
    """Score a model on pairs: exact match, CER, WER, BLEU, chrF, each with its interval.

    The model translates every source by itself (free running). Pairs with the same source are
    several references of one input; the best one counts.

    Parameters
    ----------
    model
        A model folder, or several that answer together: a,b.
    data
        One file of pairs, two parallel files, or a built-in task such as @dates.
    against
        Another model folder to compare with, on the same inputs.
    errors
        Also show the K worst outputs and the K commonest confusions.
    json
        One object on standard output.
    """
    from jumok.interfaces.requests import EvaluateRequest
    from jumok.interfaces.work import evaluating

    request = EvaluateRequest(
        model=model,
        data=one_or_two(data, "the data"),
        against=against,
        errors=errors,
        searching=searching,
        keys=keys,
        reading=reading,
        machine=machine,
        ensembling=ensembling,
    )
    found = evaluating.evaluate(request)
    if json:
        json_line(found.to_dict())
    else:
        say("\n".join(found.lines(errors)))
