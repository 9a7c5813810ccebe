"""``jumok verify``: the laws, on the user's own model and data: pass or fail."""

from __future__ import annotations

from jumok.interfaces.cli.groups import Hardware, Members, ReadingPairs, one_or_two
from jumok.interfaces.cli.streams import json_line, say
from jumok.interfaces.options import Ensembling, Machine, Reading

EXAMPLES = (
    "jumok verify runs/dates",
    "jumok verify runs/dates test.tsv --rows 64 --json",
)


def verify(
    model: str,
    /,
    *data: str,
    rows: int = 32,
    json: bool = False,
    reading: ReadingPairs = Reading(),
    machine: Hardware = Machine(),
    ensembling: Members = Ensembling(),
) -> int:
    """Check a model: integrity, batch invariance, step = forward, resume. Exit code 1 on a fail.

    Parameters
    ----------
    model
        A model folder, or several that answer together: a,b.
    data
        Pairs to check with; by default texts made of the model's own symbols.
    rows
        How many pairs to use.
    json
        One object per check.
    """
    from jumok.interfaces.requests import VerifyRequest
    from jumok.interfaces.work import verifying

    request = VerifyRequest(
        model=model,
        data=one_or_two(data, "the data"),
        rows=rows,
        reading=reading,
        machine=machine,
        ensembling=ensembling,
    )
    failed = 0
    for check in verifying.verify(request):
        failed += not check.passed
        if json:
            json_line({"check": check.name, "passed": check.passed, "detail": check.detail})
        else:
            say(f"{'pass' if check.passed else 'FAIL'}  {check.name}: {check.detail}")
    return 1 if failed else 0
