"""How a token is shown: visible spaces, marks with a carrier, nothing that can move a cursor.

Every view takes its labels from here, so that a space is the same ``␣`` on paper, in the
terminal and in the browser, and a token that holds an escape sequence or a direction override
is shown by name instead of being obeyed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from jumok.records import EOS, SPECIALS, Token

__all__ = [
    "END",
    "SPACE",
    "clusters",
    "columns",
    "cut",
    "label",
    "labels",
    "plain",
    "sentence",
    "visible",
]

END, SPACE, CARRIER, NOTHING = "⏎", "␣", "◌", "∅"
_ASCII = {END: "</s>", SPACE: "_", CARRIER: "o", NOTHING: "(empty)", "…": "~"}
_JOINERS = frozenset("\u200c\u200d")
_SPACES = frozenset(" \u00a0\u3000")
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def label(token: Token, *, ascii: bool = False) -> str:
    """``token`` as one short printable string; the end symbol is ``⏎`` (ASCII: ``</s>``)."""
    if token.special and token.text == SPECIALS[EOS]:
        return plain(END) if ascii else END
    shown = visible(token.text)
    return plain(shown) if ascii else shown


def labels(tokens: Sequence[Token], *, ascii: bool = False) -> list[str]:
    """``label`` of every token."""
    return [label(token, ascii=ascii) for token in tokens]


def visible(text: str) -> str:
    """``text`` with spaces, controls, lone marks and lone jamo made visible; composed (NFC)."""
    composed = unicodedata.normalize("NFC", text)
    if not composed:
        return NOTHING
    shown = "".join(_character(c, i, composed) for i, c in enumerate(composed))
    return CARRIER + shown if unicodedata.category(shown[0]).startswith("M") else shown


def sentence(raw: str) -> str:
    """A whole text on one line: made visible like a token, but with its spaces left as they are."""
    return " ".join(visible(part) if part else "" for part in raw.split(" "))


def plain(text: str) -> str:
    """``text`` in ASCII alone: our symbols by their stand-ins, all others as ``\\uXXXX``."""
    swapped = "".join(_ASCII.get(c, c) for c in text)
    return swapped.encode("ascii", "backslashreplace").decode("ascii")


def _character(c: str, index: int, text: str) -> str:
    code = ord(c)
    if c in _SPACES:
        return SPACE
    if c in _NAMED:
        return _NAMED[c]
    if 0x1100 <= code <= 0x11FF:
        return _letter(c)
    if c in _JOINERS and 0 < index < len(text) - 1:
        return c
    kind = unicodedata.category(c)
    if kind == "Cs":
        return "\ufffd"
    return f"⟨{code:02X}⟩" if kind in {"Cc", "Cf", "Zl", "Zp", "Zs"} else c


def _letter(jamo: str) -> str:
    """A conjoining jamo that stands alone, as the letter that fonts draw (ᆫ -> ㄴ)."""
    try:
        return unicodedata.lookup("HANGUL LETTER " + unicodedata.name(jamo).split(" ", 2)[2])
    except (KeyError, ValueError, IndexError):
        return jamo


def columns(text: str) -> int:
    """Terminal columns that ``text`` takes: Hangul 2, combining marks 0."""
    from rich.cells import cell_len

    return cell_len(text)


def clusters(text: str) -> list[str]:
    """``text`` cut into what a terminal draws in one place: a base and all that joins it."""
    found: list[str] = []
    for c in text:
        joins = found and (c in _JOINERS or found[-1][-1] == "\u200d" or not columns(c))
        if joins:
            found[-1] += c
        else:
            found.append(c)
    return found


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns; what was cut off is an ``…``."""
    if columns(text) <= width:
        return text
    kept = ""
    for cluster in clusters(text):
        if columns(kept + cluster) > width - 1:
            break
        kept += cluster
    return kept + "…"
