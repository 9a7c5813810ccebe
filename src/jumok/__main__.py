"""``jumok`` and ``python -m jumok``: the command line, its errors and its exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jumok.errors import JumokError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; returns its exit code (``errors.py`` draws the tree of them)."""
    from jumok.interfaces.cli.frame import run
    from jumok.interfaces.cli.streams import close_quietly, note, use_utf8

    use_utf8()
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except JumokError as error:
        note(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        note("interrupted.")
        return 130
    except BrokenPipeError:
        close_quietly()
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
