"""The ladder: every system that is compared, by name, and the size that makes it one of equals.

Each rung is a model with its own preset; what it needs beside that stands here. Sizes are not
here: ``nearest_size`` looks for the hidden size at which a model has as many parameters as the
others, by building it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from jumok.errors import UsageError, did_you_mean

__all__ = ["OTHER_SIZES", "RUNGS", "Rung", "Sized", "nearest_size", "rungs_called"]

LARGEST = 1 << 15
"""No hidden size beyond this is tried."""
AROUND = 3
"""Sizes on either side of the nearest that are tried where a model refuses some."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One system of the ladder."""

    label: str
    """Its row in the table, and its folder."""
    model: str
    """Its name in ``MODELS``, whose preset it has."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Keys of its configuration that make it this system."""
    multiple: int = 2
    """Hidden sizes are multiples of this: heads, or halves for two directions."""
    follow: Mapping[str, float] = field(default_factory=dict)
    """Sizes that grow with the hidden size, in the paper's proportion to it."""
    longest: str | None = None
    """A key that must be at least the longest source in symbols, its end included."""

    def keys(self, size: int, longest: int) -> dict[str, str]:
        """The keys of this system at a hidden size of ``size``."""
        found = {"hidden_size": str(size), **self.options}
        found |= {name: str(max(1, round(size * part))) for name, part in self.follow.items()}
        if self.longest is not None:
            found[self.longest] = str(longest)
        return {f"model.{name}": value for name, value in found.items()}


def _luong(name: str, **options: str) -> Rung:
    return Rung(label=f"luong-{name}", model="luong", options=options)


_SCORER = {"attention_size": 1.0, "readout_size": 0.5}
"""Bahdanau 2015: n = n' = 1000, l = 500."""

RUNGS: tuple[Rung, ...] = (
    Rung(label="plain", model="plain"),
    Rung(label="peeky", model="peeky"),
    Rung(label="attention", model="attention"),
    Rung(label="sutskever", model="sutskever"),
    Rung(label="rnnsearch", model="rnnsearch", follow=_SCORER),
    Rung(label="cgru", model="cgru", follow=_SCORER),
    Rung(label="bahdanau", model="bahdanau", follow=_SCORER),
    _luong("dot", score="dot"),
    _luong("general", score="general"),
    _luong("concat", score="concat"),
    Rung(
        label="luong-location",
        model="luong",
        options={"score": "location"},
        longest="maximum_length",
    ),
    _luong("scaled", score="scaled"),
    _luong("learned-scale", score="learned_scale"),
    _luong("local-m", window="local-m"),
    _luong("local-p", window="local-p"),
    Rung(label="luong-fast", model="luong-fast"),
    Rung(label="pointer", model="pointer", follow={"attention_size": 2.0}),
    Rung(label="monotonic", model="monotonic"),
    Rung(label="gnmt", model="gnmt"),
    Rung(label="convs2s", model="convs2s", options={"maximum_length": "256"}),
    Rung(label="qrnn", model="qrnn"),
    Rung(label="sru", model="sru"),
    Rung(label="ssru", model="ssru"),
    Rung(label="mingru", model="mingru"),
    Rung(label="minlstm", model="minlstm"),
    Rung(label="transformer", model="transformer", multiple=4),
    Rung(label="modern", model="modern", multiple=4),
    Rung(label="hybrid", model="hybrid", multiple=4),
    Rung(label="hybrid-ssru", model="hybrid-ssru", multiple=4),
    Rung(label="ntm", model="ntm"),
)

OTHER_SIZES = ("transformer-base", "transformer-big")
"""Models that are another here in their paper's sizes, which equal parameters take away."""


def rungs_called(labels: Iterable[str]) -> tuple[Rung, ...]:
    """The rungs with these labels, in the ladder's order.

    Raises:
        UsageError: there is no such rung, or none is asked for.
    """
    known = {rung.label: rung for rung in RUNGS}
    wanted = list(labels)
    for label in wanted:
        if label not in known:
            raise UsageError(
                f"there is no system called {label!r} on the ladder.{did_you_mean(label, known)}",
                hint=f"systems: {', '.join(known)}.",
            )
    if not wanted:
        raise UsageError("no system is named.", hint=f"systems: {', '.join(known)}.")
    return tuple(rung for rung in RUNGS if rung.label in wanted)


@dataclass(frozen=True)
class Sized:
    """A hidden size and the parameters that the model has there."""

    size: int
    parameters: int


def nearest_size(count: Callable[[int], int | None], budget: int, multiple: int) -> Sized:
    """The multiple of ``multiple`` at which ``count`` is nearest to ``budget``.

    ``count`` grows with the size; None is a size that the model refuses, and the next is tried.

    Raises:
        UsageError: every size is refused.
    """
    known: dict[int, int | None] = {}

    def at(k: int) -> int | None:
        if k not in known:
            known[k] = count(k * multiple)
        return known[k]

    def from_here(k: int) -> int:
        """Parameters at ``k``, or at the first size above that is not refused."""
        found = (at(j) for j in range(k, k + 9))
        first = next((n for n in found if n is not None), None)
        if first is None:
            raise UsageError(f"no hidden size near {k * multiple} is accepted by this model.")
        return first

    low, high = 1, 2
    while from_here(high) < budget and high * multiple < LARGEST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if from_here(middle) <= budget else (low, middle)
    reach = AROUND if None in known.values() else 0
    for k in range(max(1, low - reach), high + reach + 1):
        at(k)
    sizes = [Sized(k * multiple, n) for k, n in known.items() if n is not None]
    return min(sizes, key=lambda s: (abs(s.parameters - budget), s.size))
