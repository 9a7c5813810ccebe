"""``jumok score``: the log-probability of given pairs, per token."""

from __future__ import annotations

from jumok.interfaces.cli.groups import Hardware, Members, ReadingPairs, one_or_two
from jumok.interfaces.cli.streams import json_line, say
from jumok.interfaces.options import Ensembling, Machine, Reading

EXAMPLES = (
    "jumok score runs/dates test.tsv",
    "jumok score runs/dates test.tsv --json",
)


def score(
    model: str,
    /,
    *data: str,
    json: bool = False,
    reading: ReadingPairs = Reading(),
    machine: Hardware = Machine(),
    ensembling: Members = Ensembling(),
) -> None:
    """The log-probability (natural) that the model gives to each target, given its source.

    One line per pair: the sum over the target's symbols and its end, a tab, the source, a tab,
    the target.

    Parameters
    ----------
    model
        A model folder, or several that answer together: a,b.
    data
        One file of pairs, or two parallel files; - is standard input.
    json
        One object per pair, with the log-probability of each token.
    """
    from jumok.interfaces.requests import ScoreRequest
    from jumok.interfaces.work import decoding

    request = ScoreRequest(
        model=model,
        data=one_or_two(data, "the data"),
        reading=reading,
        machine=machine,
        ensembling=ensembling,
    )
    for found in decoding.score(request):
        if json:
            tokens = [{"text": token.text, "logprob": token.logprob} for token in found.tokens]
            json_line(
                {
                    "source": found.source,
                    "target": found.text,
                    "score": found.score,
                    "tokens": tokens,
                }
            )
        else:
            say(f"{found.score:.6f}\t{found.source}\t{found.text}")
