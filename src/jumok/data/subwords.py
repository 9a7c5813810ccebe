"""Subwords learnt by sentencepiece."""

from __future__ import annotations


class SentencePiece:
    pass
