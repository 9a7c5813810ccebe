"""One door to greedy, beam and sampling: what the options ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jumok.records import Hypothesis, Source
from jumok.search.beam import beam_search
from jumok.search.engine import Engine
from jumok.search.greedy import greedy
from jumok.search.options import SearchOptions
from jumok.search.sampling import sample
from jumok.search.sentences import check_ids

__all__ = ["search"]


def search(
    engine: Engine,
    source: Source,
    options: SearchOptions | None = None,
    *,
    prefixes: Sequence[np.ndarray] = (),
    numbers_B: np.ndarray | None = None,
) -> list[list[Hypothesis]]:
    """The hypotheses of every sentence, best first (with ``sample``: in the order drawn).

    ``prefixes`` force the first tokens, one sequence (possibly empty) per sentence, without
    end symbol. ``numbers_B`` (the sentences' numbers in the whole input) key the sampling.
    """
    options = options or SearchOptions()
    if not len(source.ids_BS):
        return []
    prefixes = [np.asarray(p, dtype=np.int64) for p in prefixes]
    if prefixes:
        check_ids(prefixes, engine, source, "prefix", end=False)
    if options.sample:
        return sample(engine, source, options, prefixes, numbers_B)
    run = greedy if options.beam == 1 else beam_search
    return run(engine, source, options, prefixes)
