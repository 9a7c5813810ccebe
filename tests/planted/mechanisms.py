"""Every mechanism that is planted."""

from __future__ import annotations

import itertools
from typing import Any

from planted.plant import Mechanism
from planted.planting import TEMPLATE

PLACES = ("output", "next_step", "upper_layers")


def book_wirings() -> list[Mechanism]:
    """Every legal (query_from, attention_to) of a decoder of three layers."""
    subsets = [c for n in (1, 2, 3) for c in itertools.combinations(PLACES, n)]
    found = []
    for number, (query, to) in enumerate(itertools.product(("bottom", "top"), subsets)):
        if query == "top" and "upper_layers" in to:
            continue
        options = {
            "query_from": query,
            "attention_to": to,
            "num_layers": 3,
            "skip": number % 2 == 0,
            "bidirectional": number % 3 == 0,
            "reverse_source": number % 4 < 2,
        }
        memory = "attended" if "next_step" in to else "state"
        found.append(
            Mechanism(model="attention", options=options, memory=memory, ahead=to == ("next_step",))
        )
    return found


def book(**options: Any) -> Mechanism:
    return Mechanism(model="attention", options=options)


def luong(memory: Any = None, model: str = "luong", **options: Any) -> Mechanism:
    """A Luong model; with feeding it remembers what was attended to, else it counts."""
    feeding = options.get("feeding", model == "luong")
    ends = options.get("attend_end", model == "luong-fast")
    memory = memory or ("attended" if feeding else "state")
    window, sentences = None, Mechanism.sentences
    if options.get("score") == "location":
        options["maximum_length"] = 13
        sentences = tuple(TEMPLATE[:n] for n in (3, 6, 5, 4))
    if options.get("window", "global") != "global":
        window = (options["window"], options.setdefault("window_size", 2))
        local = {
            "local-m": ("BA.", "CABD.BA", "CBAAD."),
            "local-p": ("BA.AB", "ABCD.DCBA", "A."),
        }
        sentences = local[options["window"]]
    return Mechanism(
        model=model,
        options=options,
        memory=memory,
        attends_end=ends,
        window=window,
        sentences=sentences,
    )


def transformer(model: str = "transformer", **options: Any) -> Mechanism:
    """One head of one layer attends; it reads the last symbol alone, so that is its memory."""
    still = {} if model == "transformer" else {"rotate_source": False}
    return Mechanism(model=model, memory="output", options={"tie": "nothing", **still, **options})


def parallel(model: str, **options: Any) -> Mechanism:
    """One layer whose cell holds the symbol written last."""
    options = {"num_layers": 1, "score": "general", **options}
    return Mechanism(model=model, memory="output", options=options)


SCORES = ("dot", "general", "concat", "location", "learned_scale")

MECHANISMS: list[Mechanism] = [
    book(),
    book(reverse_source=False),
    book(bidirectional=True, merge="sum"),
    book(bidirectional=True, merge="mean"),
    *book_wirings(),
    *(luong(score=score, feeding=feeding) for score in SCORES for feeding in (True, False)),
    luong("output", score="scaled", feeding=False, hidden_size=1024),
    luong(score="concat", concat_keys=False, attend_end=True),
    luong(reverse_source=False),
    luong(num_layers=3, skip=True, bias=True, attend_end=True),
    luong(num_layers=2, feeding=False, reverse_source=True, bidirectional=True, bridge="copy_h"),
    luong(bidirectional=True, merge="sum", bridge="zero"),
    luong(bidirectional=True, merge="mean", bridge="linear", score="dot", hidden_size=128),
    luong(model="luong-fast"),
    *(luong(window="local-m", feeding=feeding) for feeding in (True, False)),
    *(
        luong("output", window="local-p", feeding=feeding, **more)
        for feeding, more in (
            (True, {}),
            (False, {}),
            (False, {"centre": "code"}),
            (True, {"renormalise": True}),
        )
    ),
    *(
        luong(normalize=way, score=score, feeding=feeding)
        for way, score in (("sparsemax", "dot"), ("entmax15", "concat"))
        for feeding in (True, False)
    ),
    Mechanism(model="rnnsearch", memory="attended-late"),
    Mechanism(model="cgru", memory="attended"),
    Mechanism(model="bahdanau", memory="attended-late"),
    parallel("qrnn", window=3, first_window=2),
    parallel("ssru", bidirectional=False, norm=False),
    parallel("ssru", bridge="zero", norm=False, skip=False),
    Mechanism(model="cgru", memory="attended", options={"normalize": "entmax15"}),
    Mechanism(model="gnmt", options={"num_layers": 3}),
    Mechanism(model="gnmt", options={"score": "additive", "context_to_output": True}),
    Mechanism(model="gnmt", options={"bridge": "zero", "normalize": "entmax15"}),
    Mechanism(
        model="gnmt",
        memory="attended-late",
        options={"wiring": "paper", "num_layers": 4, "bridge": "zero"},
    ),
    Mechanism(model="gnmt", memory="attended", options={"wiring": "tf_gnmt_v2"}),
    Mechanism(
        model="gnmt", memory="attended", ahead=True, options={"wiring": "tf_gnmt", "num_layers": 3}
    ),
    transformer(num_layers=1, num_heads=1),
    transformer(num_layers=1, num_heads=1, normalize="sparsemax"),
    transformer(num_layers=3, num_heads=4, alignment_layer=2, alignment_head=3),
    transformer("modern", num_layers=1, num_heads=1),
    transformer("modern", num_layers=3, num_heads=4, alignment_layer=2, alignment_head=3),
    transformer("hybrid", num_layers=1),
    transformer("hybrid", num_layers=2, attention_heads=4, alignment_head=3),
    transformer("hybrid-ssru", num_layers=1, decoder_layers=2),
]
