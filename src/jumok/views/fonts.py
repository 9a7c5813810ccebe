"""Fonts that can draw a text: Hangul first where there is any, and what to install if none can."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["HANGUL_FONTS", "MissingGlyphs", "advice", "choose", "for_label", "is_cff"]

HANGUL_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Noto Sans CJK JP",
)
"""Asked for in this order on Linux, Windows and macOS."""
_ALWAYS = "DejaVu Sans"  # comes with matplotlib, so every machine draws Latin alike


class MissingGlyphs(UserWarning):
    """No installed font has some characters of the figure; they are drawn as boxes."""


def choose(texts: Iterable[str]) -> tuple[list[str], str]:
    """Font families that together draw ``texts``, best first, and the characters none has.

    Installed fonts alone are named; families that add nothing are left out.
    """
    wanted = {c for text in texts for c in text if _drawn(c)}
    preferred = [*HANGUL_FONTS, _ALWAYS] if any(map(_wide, wanted)) else [_ALWAYS, *HANGUL_FONTS]
    chosen: list[str] = []
    missing = set(wanted)
    for family, has in _candidates(preferred):
        gained = {c for c in missing if ord(c) in has}
        if gained:
            chosen.append(family)
            missing -= gained
        if not missing:
            break
    return chosen or [_ALWAYS], "".join(sorted(missing))


def for_label(text: str, families: list[str]) -> list[str]:
    """``families`` in the order that suits ``text``: fonts for Hangul place accents badly."""
    marked = any(unicodedata.category(c).startswith("M") for c in text)
    return sorted(families, key=lambda name: name != _ALWAYS) if marked else families


def advice(missing: str) -> str:
    """One sentence that names the characters and the package that would draw them."""
    few = " ".join(missing[:12]) + (" ..." if len(missing) > 12 else "")
    if any(map(_wide, missing)):
        what = (
            "fonts-noto-cjk or fonts-nanum (Debian, Ubuntu), google-noto-sans-cjk-fonts (Fedora), "
            "noto-fonts-cjk (Arch)"
        )
    else:
        what = "a Noto font for this script, such as the package fonts-noto (Debian, Ubuntu)"
    return f"no installed font draws {few} ({len(missing)} characters in all): install {what}."


def is_cff(family: str) -> bool:
    """Whether the font's outlines are cubic (OpenType CFF, as in Noto CJK)."""
    from matplotlib import font_manager

    path = font_manager.findfont(font_manager.FontProperties(family=[family]))
    with open(path, "rb") as opened:
        start = opened.read(4)
        if start == b"ttcf":  # a collection: the tag of its first font follows its offset
            opened.seek(12)
            opened.seek(int.from_bytes(opened.read(4), "big"))
            start = opened.read(4)
    return start == b"OTTO"


def _drawn(c: str) -> bool:
    return (
        not c.isspace()
        and unicodedata.category(c) not in {"Cf", "Cc", "Cs"}
        and (not 0xFE00 <= ord(c) <= 0xFE0F)
    )


def _wide(c: str) -> bool:
    return unicodedata.east_asian_width(c) in "WF"


def _candidates(preferred: list[str]) -> Iterator[tuple[str, Any]]:
    """(family, code points it draws): the preferred ones, then all others by name."""
    from matplotlib import font_manager

    names = sorted({e.name for e in font_manager.fontManager.ttflist if _upright(e)})
    first = [name for name in preferred if name in names]
    for name in first + [n for n in names if n not in first]:
        # A list, since a bare string would be parsed as a pattern ("Last Resort High-...").
        properties = font_manager.FontProperties(family=[name])
        path = font_manager.findfont(properties, fallback_to_default=False)
        yield name, font_manager.get_font(path).get_charmap()


def _upright(entry: Any) -> bool:
    """A font for running text; not the one that has a box for every character there is."""
    plain = entry.style == "normal" and entry.variant == "normal" and entry.stretch == "normal"
    return plain and _weight(entry.weight) == 400 and not entry.name.startswith("Last Resort")


def _weight(weight: str | int) -> int:
    from matplotlib import font_manager

    return weight if isinstance(weight, int) else font_manager.weight_dict.get(weight, 400)
