"""Trace files: what is written is read back, and nothing else is."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import math
import time
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from views_planted import LINKS, SOURCE, TARGET, tokens, trace_of, weights

from jumok.errors import DataError, JumokError, ModelFolderError, UsageError
from jumok.records import AttentionMap, AttentionTrace
from jumok.views.trace_file import load_traces, save_traces, to_document

FORMS = ("a.jumok.json", "a.npz")


def same(a: AttentionTrace, b: AttentionTrace, error: float) -> None:
    """Equal in every field; weights within ``error``."""
    bare = {"maps": (), "main": None, "logprobs_T": None}
    assert replace(a, **bare) == replace(b, **bare)
    assert a.main == b.main and [(m.name, m.kind) for m in a.maps] == [
        (m.name, m.kind) for m in b.maps
    ]
    for m, n in zip(a.maps, b.maps, strict=True):
        assert m.values_TS.shape == n.values_TS.shape
        assert np.abs(m.values_TS - n.values_TS).max(initial=0) <= error
    if a.logprobs_T is None:
        assert b.logprobs_T is None
    else:
        assert np.array_equal(a.logprobs_T, b.logprobs_T.astype(a.logprobs_T.dtype))


@pytest.mark.parametrize("name", FORMS)
def test_many_traces_come_back_from_one_file(planted, hostile, tmp_path, name):
    bare = replace(planted, maps=(), main=None, logprobs_T=None, score=None, alternatives=())
    given_ = [planted, hostile, bare]
    save_traces(given_, tmp_path / name)
    for a, b in zip(given_, load_traces(tmp_path / name), strict=True):
        same(a, b, 8e-6)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.data())
def test_the_round_trip_law(tmp_path_factory, data):
    rows, columns = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 5))
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    source = [data.draw(text) for _ in range(columns - 1)]
    target = [data.draw(text) for _ in range(rows - 1)]
    values = np.array(
        data.draw(st.lists(st.floats(0, 1), min_size=rows * columns, max_size=rows * columns))
    ).reshape(rows, columns)
    trace = replace(
        trace_of(source, target, values),
        logprobs_T=np.array([-math.inf, *[-0.1] * (rows - 1)]),
        alternatives=((("a", -math.inf), ("</s>", -1.5)),),
        score=-math.inf,
    )
    folder = tmp_path_factory.mktemp("law")
    for name, error in zip(FORMS, (8e-6, 0), strict=True):
        save_traces([trace], folder / name)
        same(trace, load_traces(folder / name)[0], error)


def test_weights_beyond_zero_and_one_keep_their_range(tmp_path):
    values = weights(LINKS, 8) * 9 - 2
    save_traces([trace_of(SOURCE, TARGET, values)], tmp_path / FORMS[0])
    back = load_traces(tmp_path / FORMS[0])[0].weights_TS
    assert np.abs(back - values).max() < 8e-6 * (values.max() - values.min()) + 1e-6


def test_a_million_cells_are_kept_in_eight_bits(tmp_path):
    values = np.random.default_rng(0).random((1009, 997)).astype(np.float32)
    trace = trace_of([""] * 996, [""] * 1008, values)
    save_traces([trace], tmp_path / FORMS[0])
    error = np.abs(load_traces(tmp_path / FORMS[0])[0].weights_TS - values).max()
    assert 1e-3 < error <= 0.5 / 255 + 1e-6
    assert to_document([trace])["traces"][0]["maps"][0]["bits"] == 8


@pytest.mark.parametrize("name", FORMS)
def test_the_same_traces_give_the_same_bytes(planted, hostile, tmp_path, name, monkeypatch):
    for i in (1, 2):
        monkeypatch.setattr(time, "time", lambda i=i: 1e9 * i)
        save_traces([planted, hostile], tmp_path / f"{i}{name}")
    assert (tmp_path / f"1{name}").read_bytes() == (tmp_path / f"2{name}").read_bytes()


def test_the_format_is_what_it_says_it_is(planted, tmp_path):
    """Read without our reader: this is the promise to other programs."""
    save_traces([planted], tmp_path / FORMS[0])
    document = json.loads((tmp_path / FORMS[0]).read_text("utf-8"))
    assert document["schema"] == "jumok-trace/1"
    shown = document["traces"][0]["maps"][0]
    raw = gzip.decompress(base64.b64decode(shown["data"]))
    values = np.frombuffer(raw, "<u2").reshape(shown["shape"]) / 65535
    assert tuple(values.argmax(1)) == LINKS
    assert document["traces"][0]["source"][1] == ["\u0301", 1, 2, 0]
    assert document["traces"][0]["source"][-1] == ["</s>", 7, 7, 1]
    save_traces([planted], tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["0/cross"], planted.weights_TS)


def test_maps_of_one_name_do_not_overwrite_each_other(planted, tmp_path):
    twice = replace(planted, maps=(*planted.maps, replace_values(planted.maps[0], 0.25)))
    save_traces([twice], tmp_path / "a.npz")
    back = load_traces(tmp_path / "a.npz")[0].maps
    assert back[0].values_TS.max() > 0.5 and back[1].values_TS.max() == 0.25


def replace_values(shown: AttentionMap, value: float) -> AttentionMap:
    return replace(shown, values_TS=np.full_like(shown.values_TS, value))


def test_a_newer_file_is_refused_naming_both_versions(planted, tmp_path):
    document = to_document([planted]) | {"schema": "jumok-trace/2"}
    path = tmp_path / FORMS[0]
    path.write_text(json.dumps(document))
    with pytest.raises(ModelFolderError, match=r"jumok-trace/2; this jumok reads jumok-trace/1"):
        load_traces(path)


@pytest.mark.parametrize("name", FORMS)
def test_a_damaged_file_is_refused_and_never_crashes(planted, tmp_path, name):
    path = tmp_path / name
    save_traces([planted], path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 37):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_traces(path)
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 150):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(spoilt))
        with contextlib.suppress(DataError, ModelFolderError):
            load_traces(path)  # a flipped letter of a text is still a trace


def spoil(planted, change):
    document = to_document([planted])
    change(document["traces"][0])
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop("score"), "lacks 'score'"),
        (lambda t: t.update(extra=1), "unknown key 'extra'"),
        (lambda t: t.update(finished=1), "'finished' .* should be true or false, but is int"),
        (lambda t: t.update(main="other"), "main map 'other' is not there"),
        (lambda t: t["source"].pop(), "7 source tokens"),
        (lambda t: t["logprobs"].pop(), "6 log-probabilities for 7 symbols"),
        (lambda t: t["source"][0].__setitem__(2, 99), "not a symbol with its span"),
        (lambda t: t["maps"][0].update(shape=[1 << 20, 1 << 20]), "not the sizes of a matrix"),
        (lambda t: t["maps"][0].update(shape=[7, 9]), "a map should hold 126 bytes"),
        (lambda t: t["maps"][0].update(bits=12), "'bits' is 12"),
        (lambda t: t["maps"][0].update(low=2), "range is 2"),
        (lambda t: t["maps"][0].update(kind="soft"), "'soft' is not a kind of map"),
        (lambda t: t["maps"][0].update(data="????"), "damaged"),
        (lambda t: t.update(card={"a": 1}), "'card' .* should hold texts"),
        (lambda t: t.update(alternatives=[[["a", True]]]), "in place of a number"),
        (lambda t: t.update(source_text="\ud800"), "half a surrogate pair"),
    ],
)
def test_whatever_is_wrong_is_named(planted, tmp_path, change, reason):
    path = tmp_path / FORMS[0]
    path.write_text(spoil(planted, change))
    with pytest.raises(DataError, match=reason):
        load_traces(path)


def test_bombs_do_not_unfold(planted, tmp_path):
    bomb = base64.b64encode(gzip.compress(bytes(50_000_000))).decode()
    path = tmp_path / FORMS[0]
    path.write_text(spoil(planted, lambda t: t["maps"][0].update(data=bomb)))
    tracemalloc.start()
    with pytest.raises(DataError, match="should hold 112 bytes"):
        load_traces(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    path.write_text('{"schema":' + "[" * 100_000)
    with pytest.raises(DataError):
        load_traces(path)
    claims = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        claims, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as opened:
        opened.writestr("meta.npy", claims.getvalue())
    with pytest.raises(DataError, match="not as long as it says"):
        load_traces(tmp_path / "a.npz")


def test_pickles_are_never_opened(tmp_path):
    np.savez(tmp_path / "a.npz", meta=np.array([print], dtype=object))
    with pytest.raises(DataError, match="not as long as it says|Object arrays"):
        load_traces(tmp_path / "a.npz")


def test_other_files_are_told_apart(tmp_path):
    path = tmp_path / FORMS[0]
    path.write_text('{"a": 1}')
    with pytest.raises(DataError, match="not a trace file of jumok"):
        load_traces(path)
    with pytest.raises(FileNotFoundError):
        load_traces(tmp_path / "none.npz")


@pytest.mark.parametrize("name", FORMS)
def test_weights_that_are_not_numbers_are_not_written(planted, tmp_path, name):
    values = planted.weights_TS.copy()
    values[2, 3] = np.inf
    with pytest.raises(JumokError, match="'cross' holds inf at row 2, column 3"):
        save_traces([trace_of(SOURCE, TARGET, values)], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_half_a_surrogate_pair_is_not_written(tmp_path):
    trace = AttentionTrace(
        source_text="\ud800", target_text="", source=tokens([]), target=tokens([])
    )
    with pytest.raises(JumokError, match="half a surrogate pair"):
        save_traces([trace], tmp_path / FORMS[0])


def test_another_suffix_is_refused(planted, tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.jumok\.json or \.npz"):
        save_traces([planted], tmp_path / "a.txt")
