"""``jumok data``: what is in a file of pairs, before anything is trained on it."""

from __future__ import annotations

from jumok.interfaces.cli.groups import ReadingPairs, comma, one_or_two
from jumok.interfaces.cli.streams import json_line, say
from jumok.interfaces.options import Reading

EXAMPLES = (
    "jumok data pairs.tsv",
    "jumok data train.tsv --dev dev.tsv --test test.tsv --json",
)


def data(
    *files: str,
    dev: str | None = None,
    test: str | None = None,
    seed: int = 0,
    json: bool = False,
    reading: ReadingPairs = Reading(),
) -> None:
    """Report on pairs: rows, lengths, duplicates, leakage, ambiguity, unseen symbols.

    The split is the one that "jumok train" would make of the same files.

    Parameters
    ----------
    files
        One file of pairs, two parallel files, - for standard input, or a built-in task.
    dev
        Pairs that choose the model; two parallel files with a comma between. By default a part
        of the data.
    test
        Pairs read once, after the choice; with --dev none are held out for it.
    seed
        The seed of the split.
    json
        One object on standard output.
    """
    from jumok.data.wording import data_lines
    from jumok.interfaces.requests import DataRequest
    from jumok.interfaces.work import corpora

    request = DataRequest(
        data=one_or_two(files, "the data"),
        dev=comma(dev),
        test=comma(test),
        seed=seed,
        reading=reading,
    )
    found = corpora.describe(request)
    json_line(found.to_dict()) if json else say("\n".join(data_lines(found)))
