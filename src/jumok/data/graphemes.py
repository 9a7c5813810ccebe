"""Extended grapheme clusters (Unicode Standard Annex #29) from ``unicodedata`` and short tables.

Rules GB3-GB13 of the annex. Python knows general categories but not the break property, so the
few characters whose property does not follow from their category are listed here (Unicode 14).
Left out: GB9c (Unicode 15.1), which keeps Indic conjuncts together; a conjunct is two clusters.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import lru_cache

__all__ = ["cluster_ends"]

Ranges = tuple[tuple[int, int], ...]

_EXTEND: Ranges = (
    *((0x09BE, 0x09BE), (0x09D7, 0x09D7), (0x0B3E, 0x0B3E), (0x0B57, 0x0B57), (0x0BBE, 0x0BBE)),
    *((0x0BD7, 0x0BD7), (0x0CC2, 0x0CC2), (0x0CD5, 0x0CD6), (0x0D3E, 0x0D3E), (0x0D57, 0x0D57)),
    *((0x0DCF, 0x0DCF), (0x0DDF, 0x0DDF), (0x1B35, 0x1B35), (0x200C, 0x200C), (0x302E, 0x302F)),
    *((0xFF9E, 0xFF9F), (0x1133E, 0x1133E), (0x11357, 0x11357), (0x114B0, 0x114B0)),
    *((0x114BD, 0x114BD), (0x115AF, 0x115AF), (0x11930, 0x11930), (0x1D165, 0x1D165)),
    *((0x1D16E, 0x1D172), (0x1F3FB, 0x1F3FF), (0xE0020, 0xE007F)),
)
"""Extend though not of category Mn or Me: Other_Grapheme_Extend, skin tones, tags."""
_NOT_SPACING: Ranges = (
    *((0x102B, 0x102C), (0x1038, 0x1038), (0x1062, 0x1064), (0x1067, 0x106D), (0x1083, 0x1083)),
    *((0x1087, 0x108C), (0x108F, 0x108F), (0x109A, 0x109C), (0x1A61, 0x1A61), (0x1A63, 0x1A64)),
    *((0xAA7B, 0xAA7B), (0xAA7D, 0xAA7D), (0x11720, 0x11721)),
)
"""Of category Mc, yet neither SpacingMark nor Extend."""
_PREPEND: Ranges = (
    *((0x0600, 0x0605), (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2)),
    *((0x0D4E, 0x0D4E), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x111C2, 0x111C3)),
    *((0x1193F, 0x1193F), (0x11941, 0x11941), (0x11A3A, 0x11A3A), (0x11A84, 0x11A89)),
    (0x11D46, 0x11D46),
)
_PICTOGRAPH: Ranges = (
    *((0x00A9, 0x00A9), (0x00AE, 0x00AE), (0x203C, 0x203C), (0x2049, 0x2049), (0x2122, 0x2122)),
    *((0x2139, 0x2139), (0x2194, 0x2199), (0x21A9, 0x21AA), (0x231A, 0x231B), (0x2328, 0x2328)),
    *((0x2388, 0x2388), (0x23CF, 0x23CF), (0x23E9, 0x23F3), (0x23F8, 0x23FA), (0x24C2, 0x24C2)),
    *((0x25AA, 0x25AB), (0x25B6, 0x25B6), (0x25C0, 0x25C0), (0x25FB, 0x25FE), (0x2600, 0x2605)),
    *((0x2607, 0x2612), (0x2614, 0x2685), (0x2690, 0x2705), (0x2708, 0x2712), (0x2714, 0x2714)),
    *((0x2716, 0x2716), (0x271D, 0x271D), (0x2721, 0x2721), (0x2728, 0x2728), (0x2733, 0x2734)),
    *((0x2744, 0x2744), (0x2747, 0x2747), (0x274C, 0x274C), (0x274E, 0x274E), (0x2753, 0x2755)),
    *((0x2757, 0x2757), (0x2763, 0x2767), (0x2795, 0x2797), (0x27A1, 0x27A1), (0x27B0, 0x27B0)),
    *((0x27BF, 0x27BF), (0x2934, 0x2935), (0x2B05, 0x2B07), (0x2B1B, 0x2B1C), (0x2B50, 0x2B50)),
    *((0x2B55, 0x2B55), (0x3030, 0x3030), (0x303D, 0x303D), (0x3297, 0x3297), (0x3299, 0x3299)),
    *((0x1F000, 0x1F0FF), (0x1F10D, 0x1F10F), (0x1F12F, 0x1F12F), (0x1F16C, 0x1F171)),
    *((0x1F17E, 0x1F17F), (0x1F18E, 0x1F18E), (0x1F191, 0x1F19A), (0x1F1AD, 0x1F1E5)),
    *((0x1F201, 0x1F20F), (0x1F21A, 0x1F21A), (0x1F22F, 0x1F22F), (0x1F232, 0x1F23A)),
    *((0x1F23C, 0x1F23F), (0x1F249, 0x1F3FA), (0x1F400, 0x1F53D), (0x1F546, 0x1F64F)),
    *((0x1F680, 0x1F6FF), (0x1F774, 0x1F77F), (0x1F7D5, 0x1F7FF), (0x1F80C, 0x1F80F)),
    *((0x1F848, 0x1F84F), (0x1F85A, 0x1F85F), (0x1F888, 0x1F88F), (0x1F8AE, 0x1F8FF)),
    *((0x1F90C, 0x1F93A), (0x1F93C, 0x1F945), (0x1F947, 0x1FAFF), (0x1FC00, 0x1FFFD)),
)
"""Extended_Pictographic, reserved code points included."""
_IGNORABLE: Ranges = ((0x2065, 0x2065), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF))
"""Unassigned characters that are controls already."""
_HANGUL: tuple[tuple[str, Ranges], ...] = (
    ("L", ((0x1100, 0x115F), (0xA960, 0xA97C))),
    ("V", ((0x1160, 0x11A7), (0xD7B0, 0xD7C6))),
    ("T", ((0x11A8, 0x11FF), (0xD7CB, 0xD7FB))),
)
_STAY_TOGETHER = frozenset(
    ("L L", "L V", "L LV", "L LVT", "LV V", "LV T", "V V", "V T", "LVT T", "T T", "CR LF")
)


def _within(code: int, ranges: Ranges) -> bool:
    place = bisect_right(ranges, (code, 0x110000)) - 1
    return place >= 0 and code <= ranges[place][1]


@lru_cache(maxsize=1 << 14)
def _property(character: str) -> str:
    """Grapheme_Cluster_Break of a character, "Pictograph" for Extended_Pictographic."""
    code = ord(character)
    if character in "\r\n":
        return "CR" if character == "\r" else "LF"
    if code == 0x200D:
        return "ZWJ"
    if 0x1F1E6 <= code <= 0x1F1FF:
        return "Flag"
    if 0xAC00 <= code <= 0xD7A3:
        return "LVT" if (code - 0xAC00) % 28 else "LV"
    for name, ranges in _HANGUL:
        if _within(code, ranges) and unicodedata.category(character) != "Cn":
            return name
    if _within(code, _PREPEND):
        return "Prepend"
    if _within(code, _PICTOGRAPH):
        return "Pictograph"
    return _by_category(character, code)


def _by_category(character: str, code: int) -> str:
    category = unicodedata.category(character)
    if category in ("Mn", "Me") or _within(code, _EXTEND):
        return "Extend"
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return "Control"
    if category == "Cn" and _within(code, _IGNORABLE):
        return "Control"
    if code in (0x0E33, 0x0EB3) or (category == "Mc" and not _within(code, _NOT_SPACING)):
        return "Spacing"
    return "Other"


def cluster_ends(text: str) -> list[int]:
    """Where each extended grapheme cluster of ``text`` ends, in code points."""
    ends: list[int] = []
    before, flags, pictured, joined = "", 0, False, False
    for i, character in enumerate(text):
        after = _property(character)
        if i and _breaks(before, after, flags % 2 == 1, joined):
            ends.append(i)
        flags = flags + 1 if after == "Flag" else 0
        joined = pictured and after == "ZWJ"
        pictured = after == "Pictograph" or (pictured and after == "Extend")
        before = after
    return [*ends, len(text)] if text else ends


def _breaks(before: str, after: str, odd_flags: bool, joined: bool) -> bool:
    """Rules GB3-GB999. ``joined``: a pictograph, any Extend and one ZWJ stand before."""
    if before in ("Control", "CR", "LF") or after in ("Control", "CR", "LF"):
        return f"{before} {after}" != "CR LF"
    if f"{before} {after}" in _STAY_TOGETHER or after in ("Extend", "ZWJ", "Spacing"):
        return False
    if before == "Prepend" or (joined and after == "Pictograph"):
        return False
    return not (before == "Flag" and after == "Flag" and odd_flags)
