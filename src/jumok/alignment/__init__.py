"""Traces to links, links to figures: Pharaoh files, symmetrisation, AER, gold, measures."""

from __future__ import annotations

from jumok.alignment.aer import AlignmentScores, score_links
from jumok.alignment.gold import Agreement, Gold1to1, agreement, aligned_pair, diagonal
from jumok.alignment.guide import links_array, spread
from jumok.alignment.links import (
    GoldLinks,
    Links,
    format_links,
    parse_gold,
    parse_links,
    read_gold,
    read_links,
    reverse,
)
from jumok.alignment.measures import Shape, mean_shape, shape_of
from jumok.alignment.symmetrise import (
    grow_diagonal,
    grow_diagonal_final,
    intersection,
    symmetrise,
    union,
)
from jumok.alignment.traces import from_trace, from_weights
from jumok.alignment.words import merge_spans, merge_words, word_spans

__all__ = [
    "Agreement",
    "AlignmentScores",
    "Gold1to1",
    "GoldLinks",
    "Links",
    "Shape",
    "agreement",
    "aligned_pair",
    "diagonal",
    "format_links",
    "from_trace",
    "from_weights",
    "grow_diagonal",
    "grow_diagonal_final",
    "intersection",
    "links_array",
    "mean_shape",
    "merge_spans",
    "merge_words",
    "parse_gold",
    "parse_links",
    "read_gold",
    "read_links",
    "reverse",
    "score_links",
    "shape_of",
    "spread",
    "symmetrise",
    "union",
    "word_spans",
]
