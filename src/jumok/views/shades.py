"""Weights as colours: the viridis scale, even to the eye and safe for colour-blind readers."""

from __future__ import annotations

__all__ = ["VIRIDIS", "ink_on", "viridis"]

# viridis (S. van der Walt and N. Smith, CC0) at 17 even steps.
VIRIDIS = (
    *("#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e"),
    *("#21918c", "#1f9f88", "#27ad81", "#3dbc74", "#5cc863", "#81d34d", "#aadc32", "#d5e21a"),
    "#fde725",
)


def viridis(share: float) -> str:
    """The colour of ``share`` in [0, 1] as ``#rrggbb``, straight between the 17 steps."""
    place = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    left = min(int(place), len(VIRIDIS) - 2)
    low, high = _rgb(VIRIDIS[left]), _rgb(VIRIDIS[left + 1])
    mixed = (round(a + (b - a) * (place - left)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{v:02x}" for v in mixed)


def ink_on(color: str) -> str:
    """``#000000`` or ``#ffffff``, whichever reads better on ``color`` (WCAG luminance)."""
    linear = [(v / 255) ** 2.2 for v in _rgb(color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
