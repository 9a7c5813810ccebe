"""Two directions of links into one: intersection, union and the growing between them.

Both directions are given as (source, target). ``grow_diagonal`` starts from the links both agree
on and adds, again and again, a neighbour (diagonals included) of a link it has, if either direction
claims it and its source or its target position is still free; ``grow_diagonal_final`` then adds
what is left of each direction where source or target is free (Koehn, Och and Marcu 2003). Links
are visited by source, then target, and those of one sweep already count for the next link of that
sweep, so the result is a function of the two sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jumok.alignment.links import Links
from jumok.errors import UsageError

__all__ = ["grow_diagonal", "grow_diagonal_final", "intersection", "symmetrise", "union"]

Method = Literal["intersection", "union", "grow-diagonal", "grow-diagonal-final"]

NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def intersection(forward: Links, backward: Links) -> Links:
    """Links of both."""
    return forward & backward


def union(forward: Links, backward: Links) -> Links:
    """Links of either."""
    return forward | backward


def grow_diagonal(forward: Links, backward: Links) -> Links:
    """The intersection, grown through neighbours in the union."""
    return frozenset(_grow(forward, backward))


def grow_diagonal_final(forward: Links, backward: Links) -> Links:
    """``grow_diagonal``, then the links left over in ``forward``, then those in ``backward``."""
    links = _grow(forward, backward)
    for direction in (forward, backward):
        for link in sorted(direction - links):
            if _has_free_end(link, links):
                links.add(link)
    return frozenset(links)


def _has_free_end(link: tuple[int, int], links: set[tuple[int, int]]) -> bool:
    return all(i != link[0] for i, _ in links) or all(j != link[1] for _, j in links)


def _grow(forward: Links, backward: Links) -> set[tuple[int, int]]:
    links, allowed = set(forward & backward), forward | backward
    while True:
        before = len(links)
        for i, j in sorted(allowed):
            if (i, j) not in links:
                continue
            for di, dj in NEIGHBOURS:
                link = (i + di, j + dj)
                if link in allowed and link not in links and _has_free_end(link, links):
                    links.add(link)
        if len(links) == before:
            return links


METHODS: dict[str, Callable[[Links, Links], Links]] = {
    "intersection": intersection,
    "union": union,
    "grow-diagonal": grow_diagonal,
    "grow-diagonal-final": grow_diagonal_final,
}


def symmetrise(forward: Links, backward: Links, method: str = "grow-diagonal") -> Links:
    """The method of that name."""
    if method not in METHODS:
        raise UsageError(f"`method` ({method!r}) must be one of {', '.join(METHODS)}.")
    return METHODS[method](forward, backward)
