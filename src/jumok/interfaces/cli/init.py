"""``jumok init``: a configuration file with every key, its meaning and what it accepts."""

from __future__ import annotations

from jumok.interfaces.cli.groups import NO_KEYS, ConfigurationKeys
from jumok.interfaces.cli.streams import say

EXAMPLES = (
    "jumok init > my.toml",
    "jumok init --model rnnsearch --model.hidden_size 256 --plain",
)


def init(
    *,
    model: str | None = None,
    config: str | None = None,
    plain: bool = False,
    keys: ConfigurationKeys = NO_KEYS,
) -> None:
    """Print a complete configuration; "jumok train --config my.toml" takes it as it is.

    Options such as --optim.lr 3e-4 are written into it.

    Parameters
    ----------
    model
        The model whose keys are wanted, one of those below.
    config
        Start from this file and fill in what it leaves out.
    plain
        Without comments.
    """
    from jumok.interfaces.requests import InitRequest
    from jumok.interfaces.work import training

    request = InitRequest(model=model, config=config, keys=keys)
    say(training.init(request, comments=not plain).rstrip("\n"))
