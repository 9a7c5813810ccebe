"""One command line from arguments to exit code; every error is one message on standard error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import CycloptsError, UnknownOptionError

from jumok.errors import UsageError
from jumok.interfaces.cli.app import make_app
from jumok.interfaces.cli.keys import take_keys

__all__ = ["run"]

_CONFIGURED = ("train", "distill", "init", "compare")
_STDIN = "<standard input>"
"""Stands for ``-`` while options are parsed: the parser takes a lone dash for an option."""


def run(arguments: Sequence[str]) -> int:
    """The exit code of ``jumok ARGUMENTS``; what the user should know is raised as JumokError."""
    _refuse_bytes(arguments)
    rest, keys = take_keys(arguments)
    try:
        app = make_app(rest[0] if rest else None)
        tokens = [_STDIN if token == "-" else token for token in rest]
        command, bound, left = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise _usage_error(error) from None
    return _call(command, bound, left, keys)


def _call(
    command: Callable[..., Any],
    bound: inspect.BoundArguments,
    left: dict[str, Any],
    keys: dict[str, str],
) -> int:
    """Keys go to the commands that have a configuration; the others refuse them by name."""
    if "keys" in left:
        bound.arguments["keys"] = keys
    elif keys and not bound.signature.parameters.get("tokens"):
        name = getattr(command, "__name__", "this command")
        raise UsageError(
            f"jumok {name} has no configuration keys, so not --{next(iter(keys))}.",
            hint=f"jumok {name} --help lists its options.",
        )
    bound.arguments.update({name: _dash(value) for name, value in bound.arguments.items()})
    code = command(*bound.args, **bound.kwargs)
    return code if isinstance(code, int) else 0


def _dash(value: Any) -> Any:
    """``-`` again where standard input was meant."""
    if isinstance(value, tuple):
        return tuple(_dash(one) for one in value)
    return "-" if value == _STDIN else value


def _usage_error(error: CycloptsError) -> UsageError:
    message = str(error)
    message = message[:1].lower() + message[1:]
    chain = list(error.command_chain or ())
    hint = f"{' '.join(['jumok', *chain])} --help shows what there is, with examples."
    if isinstance(error, UnknownOptionError) and chain and chain[-1] in _CONFIGURED:
        message = _meant_key(error.token.keyword or error.token.value) or message
    return UsageError(message, hint=hint)


def _meant_key(option: str) -> str | None:
    """``--lr`` is ``--optim.lr``: an option that is a key, written without its section."""
    from jumok.interfaces.work.training import key_names

    name = option.partition("=")[0].removeprefix("--").replace("-", "_")
    found = [key for key in key_names() if key.rpartition(".")[2] == name]
    if not found:
        return None
    return f"unknown option: {option}. Did you mean {' or '.join(f'--{key}' for key in found)}?"


def _refuse_bytes(arguments: Sequence[str]) -> None:
    for number, argument in enumerate(arguments, 1):
        if any("\ud800" <= c <= "\udfff" for c in argument):
            shown = argument.encode("utf-8", "backslashreplace").decode()
            raise UsageError(
                f"argument {number} ({shown}) is not text in the encoding of this terminal.",
                hint="give texts in a file or on standard input, with --encoding.",
            )
