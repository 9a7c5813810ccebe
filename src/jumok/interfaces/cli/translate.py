"""``jumok translate``: one line out for each line in, with scores and attention on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jumok.errors import UsageError
from jumok.interfaces.cli.groups import NO_KEYS, ConfigurationKeys, Hardware, Members, Search
from jumok.interfaces.cli.streams import input_lines, json_line, note, say
from jumok.interfaces.options import Ensembling, Machine, Searching, at_terminal

if TYPE_CHECKING:
    from jumok.interfaces.outputs import Translation

EXAMPLES = (
    "jumok translate runs/dates < in.txt > out.txt",
    "jumok translate runs/dates in.txt --beam 5 --nbest 3 --json",
)


def translate(
    model: str,
    file: str = "-",
    /,
    *,
    json: bool = False,
    prefix: str = "",
    replace_unknown: bool = False,
    alternatives: int = 0,
    batch_size: int = 64,
    fast: bool = False,
    encoding: str = "utf-8",
    searching: Search = Searching(),
    machine: Hardware = Machine(),
    ensembling: Members = Ensembling(),
    keys: ConfigurationKeys = NO_KEYS,
) -> None:
    """Translate lines: one line out per line in, in the same order; an empty line stays empty.

    With --nbest N each line gives N lines, best first. Further choices of the search are keys,
    such as --search.length_penalty gnmt or --search.coverage_penalty 0.2.

    Parameters
    ----------
    model
        A model folder, or several that answer together: a,b.
    file
        The lines; - is standard input.
    json
        One object per line: text, score, tokens with log-probabilities, attention, n-best.
    prefix
        Every output begins with this text.
    replace_unknown
        Put the source symbol that is attended to most in the place of an unknown one.
    alternatives
        With --json: the best K symbols of every step.
    batch_size
        Lines decoded together; it changes the speed and nothing else.
    fast
        Give up bit-exactness: a line's last bits may then depend on the lines beside it.
    encoding
        The encoding of the lines.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size ({batch_size}) must be at least 1.")
    from jumok.interfaces.requests import TranslateRequest
    from jumok.interfaces.work import decoding

    request = TranslateRequest(
        model=model,
        searching=searching,
        keys=keys,
        prefix=prefix,
        replace_unknown=replace_unknown,
        alternatives=alternatives,
        attention=json,
        batch_size=batch_size,
        bits=not fast,
        machine=machine,
        ensembling=ensembling,
    )
    if file == "-" and at_terminal():
        note("one text a line; Ctrl-D ends.")
    for found in decoding.translate(request, input_lines(file, encoding, model)):
        if json:
            json_line({**as_json(found), "nbest": [as_json(one) for one in found.nbest]})
        else:
            for one in found.nbest:
                say(one.text)


def as_json(found: Translation) -> dict[str, Any]:
    """One output as the agreed object; every row of the attention belongs to one token."""
    trace = found.attention
    return {
        "source": found.source,
        "text": found.text,
        "score": found.score,
        "finished": found.finished,
        "tokens": [{"text": token.text, "logprob": token.logprob} for token in found.tokens],
        "source_tokens": [token.text for token in trace.source],
        "attention": trace.weights_TS if found.tokens else [],
        **({"alternatives": trace.alternatives} if trace.alternatives else {}),
    }
