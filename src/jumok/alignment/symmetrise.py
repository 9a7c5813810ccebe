"""Two directions of links into one: intersection, union and the growing between them.

Both directions are given as (source, target). ``grow_diagonal`` starts from the links both agree
on and adds, again and again, a neighbour (diagonals included) of a link it has, if either direction
claims it and its ends are free; ``grow_diagonal_final`` then adds what is left of each direction
and has free ends (Koehn, Och and Marcu 2003). Links are visited by source, then target, and a link
counts from the moment it is added, so the result is a function of the two sets.

Two readings of "free" are in use, and they differ by several points of AER. ``free="both"``: source
*and* target have no link yet (the Moses manual; the alignment-scripts whose figures are commonly
quoted). ``free="either"``: one of them has none (Moses' program symal), which adds many more links.
"""

from __future__ import annotations

from typing import Literal

from jumok.alignment.links import Links
from jumok.errors import UsageError

__all__ = ["grow_diagonal", "grow_diagonal_final", "intersection", "symmetrise", "union"]

Free = Literal["both", "either"]
METHODS = ("intersection", "union", "grow-diagonal", "grow-diagonal-final")
NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def intersection(forward: Links, backward: Links) -> Links:
    """Links of both."""
    return forward & backward


def union(forward: Links, backward: Links) -> Links:
    """Links of either."""
    return forward | backward


def grow_diagonal(forward: Links, backward: Links, *, free: Free = "both") -> Links:
    """The intersection, grown through neighbours in the union."""
    return frozenset(_Growing(forward & backward, free).grow(forward | backward).links)


def grow_diagonal_final(forward: Links, backward: Links, *, free: Free = "both") -> Links:
    """``grow_diagonal``, then the links left over in ``forward``, then those in ``backward``."""
    growing = _Growing(forward & backward, free).grow(forward | backward)
    for direction in (forward, backward):
        for link in sorted(direction):
            growing.try_add(link)
    return frozenset(growing.links)


class _Growing:
    """A set of links that knows which positions are taken."""

    def __init__(self, links: Links, free: Free) -> None:
        if free not in ("both", "either"):
            raise UsageError(f"`free` ({free!r}) must be 'both' or 'either'.")
        self.links = set(links)
        self.sources = {i for i, _ in links}
        self.targets = {j for _, j in links}
        self.needed = all if free == "both" else any

    def try_add(self, link: tuple[int, int]) -> bool:
        """Add ``link`` if its ends are free; True if it was added."""
        ends_free = (link[0] not in self.sources, link[1] not in self.targets)
        if link in self.links or not self.needed(ends_free):
            return False
        self.links.add(link)
        self.sources.add(link[0])
        self.targets.add(link[1])
        return True

    def grow(self, allowed: Links) -> _Growing:
        """Add neighbours of links within ``allowed`` until nothing more can be added."""
        while True:
            added = False
            for i, j in sorted(allowed):
                if (i, j) in self.links:
                    near = ((i + di, j + dj) for di, dj in NEIGHBOURS)
                    for link in near:
                        added |= link in allowed and self.try_add(link)
            if not added:
                return self


def symmetrise(
    forward: Links, backward: Links, method: str = "grow-diagonal", *, free: Free = "both"
) -> Links:
    """The method of that name: intersection, union, grow-diagonal or grow-diagonal-final."""
    match method:
        case "intersection":
            return intersection(forward, backward)
        case "union":
            return union(forward, backward)
        case "grow-diagonal":
            return grow_diagonal(forward, backward, free=free)
        case "grow-diagonal-final":
            return grow_diagonal_final(forward, backward, free=free)
        case _:
            raise UsageError(f"`method` ({method!r}) must be one of {', '.join(METHODS)}.")
