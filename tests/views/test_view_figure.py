"""The map on paper, read back from its pixels and its paths."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from views_planted import LINKS, SOURCE, TARGET, trace_of, weights

from jumok.errors import UsageError
from jumok.records import AttentionMap
from jumok.views import drawing, fonts
from jumok.views.figure import save_figure
from jumok.views.fonts import MissingGlyphs, advice, choose
from jumok.views.geometry import Plan, arrange, cell_size, label_every, pixels_per_point

mpl = pytest.importorskip("matplotlib")


def drawn(trace, kind="png", **how):
    """The file's bytes and its layout; a machine without Hangul fonts is no failure here."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingGlyphs)
        layout = save_figure(trace, out, kind, **how)
    return out.getvalue(), layout


def pixels(png: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(png))[:, :, :3])


def weights_of(colors: np.ndarray, name: str = "Greys") -> np.ndarray:
    """The weight that each colour stands for: the nearest of the scale's 256."""
    scale = mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3]
    return np.abs(colors[:, None, :] - scale[None]).sum(-1).argmin(1) / 255


def read_back(png: bytes, layout, name: str = "Greys") -> np.ndarray:
    """A PNG's map: the middle of every cell."""
    picture, facet = pixels(png), layout.facets[0]
    boxes = [facet.cell_box(t, s) for t in range(facet.rows) for s in range(facet.columns)]
    middles = np.array([picture[(y0 + y1) // 2, (x0 + x1) // 2] for x0, y0, x1, y1 in boxes])
    return weights_of(middles, name).reshape(facet.rows, facet.columns)


@pytest.mark.parametrize("colors", ["grey", "viridis"])
def test_a_png_returns_the_planted_map_cell_by_cell(planted, colors):
    png, layout = drawn(planted, colors=colors)
    seen = read_back(png, layout, {"grey": "Greys", "viridis": "viridis"}[colors])
    assert tuple(seen.argmax(1)) == LINKS
    assert np.abs(seen - planted.weights_TS).max() < 0.01


def test_cells_fill_their_boxes_to_the_pixel(planted):
    png, layout = drawn(planted)
    picture, facet = pixels(png), layout.facets[0]
    assert picture.shape[:2] == (layout.height, layout.width)
    x0, y0, x1, y1 = facet.cell_box(2, LINKS[2])
    inside = picture[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) == 1


def test_maps_with_sides_of_their_own_have_their_own_titles(planted):
    """One above each, clear of the labels: none lies on another."""
    size = len(planted.target)
    maps = [AttentionMap(name=f"own {n}", kind="decoder", values_TS=np.tri(size)) for n in range(4)]
    trace = replace(planted, maps=(*planted.maps, *maps))
    svg, layout = drawn(trace, "svg", maps="all")
    texts = [t for t in ET.fromstring(svg).iter() if t.tag.endswith("text") and t.get("x")]
    at = {"".join(t.itertext()).strip(): (float(t.get("x")), float(t.get("y"))) for t in texts}
    places = [at[facet.name] for facet in layout.facets]
    assert len(set(places)) == len(layout.facets) == 5
    for facet, (x, y) in zip(layout.facets, places, strict=True):
        assert abs(x - facet.left) < 1 and 0 < facet.top - y < 60


def test_an_svg_returns_the_planted_map_cell_by_cell(planted):
    svg, layout = drawn(planted, "svg")
    root = ET.fromstring(svg)
    group = next(g for g in root.iter() if g.get("id") == "map-0")
    paths = [p for p in group.iter() if p.tag.endswith("path")]
    fills = [re.search(r"fill: #(\w{6})", p.get("style"))[1] for p in paths]
    colors = np.array([[int(f[i : i + 2], 16) / 255 for i in (0, 2, 4)] for f in fills])
    seen = weights_of(colors).reshape(7, 8)
    assert tuple(seen.argmax(1)) == LINKS
    assert np.abs(seen - planted.weights_TS).max() < 0.01
    corner = re.findall(r"-?[\d.]+", paths[8 * 3 + LINKS[3]].get("d"))[:2]
    assert tuple(map(float, corner)) == layout.facets[0].cell_box(3, LINKS[3])[:2]


def test_text_in_an_svg_stays_text(planted):
    svg = drawn(planted, "svg")[0].decode()
    for shown in (">고<", ">⏎<", ">␣<", ">이<"):
        assert shown in svg


def test_a_large_map_is_an_image_and_still_right(planted, monkeypatch):
    monkeypatch.setattr(drawing, "_MOST_SHAPES", 55)
    elements = ET.fromstring(drawn(planted, "svg")[0]).iter()
    assert [e.tag.rsplit("}")[-1] for e in elements if e.get("id") == "map-0"] == ["image"]
    assert np.abs(read_back(*drawn(planted)) - planted.weights_TS).max() < 0.01


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_trace_gives_the_same_bytes(planted, kind):
    first, second = drawn(planted, kind)[0], drawn(planted, kind)[0]
    assert first == second
    assert b"CreationDate" not in first
    other = trace_of(SOURCE, TARGET, weights(LINKS, 8, seed=1))
    assert drawn(other, kind)[0] != first


def test_bytes_do_not_depend_on_the_hash_seed_or_the_process(planted):
    code = (
        "import sys, io, hashlib; sys.path.insert(0, sys.argv[1])\n"
        "from views_planted import *\nfrom jumok.views.figure import save_figure\n"
        "out = io.BytesIO(); save_figure(trace_of(SOURCE, TARGET, weights(LINKS, 8)), out, 'svg')\n"
        "print(hashlib.sha256(out.getvalue()).hexdigest())"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, os.path.dirname(__file__)],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == hashlib.sha256(drawn(planted, "svg")[0]).hexdigest()


def test_a_users_own_settings_are_neither_used_nor_changed(planted):
    before = drawn(planted)[0]
    with mpl.rc_context({"font.size": 31, "savefig.facecolor": "red", "text.color": "blue"}):
        assert drawn(planted)[0] == before
        assert mpl.rcParams["font.size"] == 31
    assert "matplotlib.pyplot" not in sys.modules


def test_hangul_is_drawn_and_not_as_boxes():
    values = weights((0, 1, 2), 3)
    first = trace_of(["고", "양"], ["a", "b"], values)
    second = trace_of(["잔", "다"], ["a", "b"], values)
    (a, layout), (b, _) = drawn(first), drawn(second)
    if layout.missing:
        pytest.skip("no installed font has Hangul: install fonts-nanum or fonts-noto-cjk")
    boxes = [layout.facets[0].cell_box(0, s) for s in (0, 1)]
    labels = [pixels(png)[y0 - 60 : y0 - 4, x0:x1] for png in (a, b) for x0, y0, x1, _ in boxes]
    inked = [(label < 0.5).mean() for label in labels]
    assert min(inked) > 0.01
    assert all(
        np.abs(labels[i] - labels[j]).max() > 0.5 for i in range(4) for j in range(i)
    )  # a box for each would make them alike


def test_missing_glyphs_are_said_with_the_package_that_has_them(planted, monkeypatch):
    latin = [("DejaVu Sans", frozenset(range(0x250)) | {ord(c) for c in "⏎␣◌₁₀\u0301"})]
    monkeypatch.setattr(fonts, "_candidates", lambda preferred: iter(latin))
    with pytest.warns(MissingGlyphs, match=r"no installed font draws .*고.*fonts-noto-cjk"):
        layout = save_figure(planted, io.BytesIO(), "png")
    assert "고" in layout.missing and "이" in layout.missing
    assert "Noto font for this script" in advice("ก")


def test_fonts_that_add_nothing_are_left_out(monkeypatch):
    have = [
        ("NanumGothic", {ord("가"), ord("a")}),
        ("Second", {97}),
        ("DejaVu Sans", {ord("a"), ord("⏎")}),
    ]
    monkeypatch.setattr(fonts, "_candidates", lambda preferred: iter([*have, ("Third", {97})]))
    assert choose(["가a⏎"]) == (["NanumGothic", "DejaVu Sans"], "")
    assert choose(["가", "\u200d\ufe0f "]) == (["NanumGothic"], "")


def test_hangul_fonts_come_first_only_where_there_is_hangul(monkeypatch):
    asked = []
    monkeypatch.setattr(fonts, "_candidates", lambda preferred: asked.append(preferred[0]) or [])
    choose(["abc"])
    choose(["abc가"])
    assert asked == ["DejaVu Sans", "Noto Sans CJK KR"]


def test_hostile_symbols_stay_text_in_svg(hostile):
    svg, _ = drawn(hostile, "svg")
    elements = list(ET.fromstring(svg).iter())
    tags = {element.tag.rsplit("}", 1)[-1] for element in elements}
    assert not tags & {"script", "img", "foreignObject"}
    links = [v for e in elements for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith(("data:image/png", "#")) for link in links)
    assert b">$x^2$</text>" in svg  # not set as mathematics


def test_several_maps_stand_in_a_grid(planted):
    maps = tuple(
        AttentionMap(name=f"head{i}", kind="cross", values_TS=weights(LINKS, 8, seed=i))
        for i in range(5)
    )
    encoder = AttentionMap(name="self", kind="encoder", values_TS=np.eye(8))
    trace = replace(planted, maps=(*maps, encoder), main="head0")
    png, layout = drawn(trace, maps="all")
    assert [f.name for f in layout.facets] == [*(f"head{i}" for i in range(5)), "self"]
    assert len({f.left for f in layout.facets}) == 3 and len({f.top for f in layout.facets}) == 2
    for i, facet in enumerate(layout.facets[:5]):
        one = replace(layout, facets=(facet,))
        assert np.abs(read_back(png, one) - maps[i].values_TS).max() < 0.01
    _, chosen = drawn(trace, maps=["self", "head2"])
    assert [f.name for f in chosen.facets] == ["self", "head2"]
    assert drawn(trace)[1].facets[0].name == "head0"


def test_scales_are_what_the_colour_bar_says(planted):
    png, layout = drawn(planted, scale="row")
    seen = read_back(png, layout)
    expected = planted.weights_TS / planted.weights_TS.max(1, keepdims=True)
    assert np.abs(seen - expected).max() < 0.01
    seen = read_back(*drawn(planted, scale="log"))
    expected = 1 + np.log10(np.maximum(planted.weights_TS, 1e-4)) / 4
    assert np.abs(seen - expected).max() < 0.01
    assert "log₁₀ weight" in drawn(planted, "svg", scale="log")[0].decode()


def test_weights_beyond_one_widen_the_scale(planted):
    trace = trace_of(SOURCE, TARGET, planted.weights_TS * 4)
    svg = drawn(trace, "svg")[0].decode()
    top = f"{planted.weights_TS.max() * 4:.3g}"
    assert f">{top}<" in svg
    assert (
        np.abs(read_back(*drawn(trace)) * planted.weights_TS.max() - planted.weights_TS).max()
        < 0.01
    )


def test_the_limit_is_said(planted):
    stopped = trace_of(SOURCE, TARGET, weights(LINKS[:-1], 8), finished=False)
    assert "stopped at the length limit" in drawn(stopped, "svg")[0].decode()
    assert "stopped at the length limit" not in drawn(planted, "svg")[0].decode()


def test_sizes_stay_legible_and_bounded():
    assert cell_size(3, 1) == 22
    assert [cell_size(n, 1) for n in (30, 60, 200)] == [18, 9, 6]
    assert [label_every(c) for c in (22, 6, 4, 1)] == [1, 1, 2, 6]
    for n in (201, 300, 1200, 4000):
        side = n * cell_size(n, 1)
        assert 540 <= side <= 4000
    assert pixels_per_point(500, 300) == 3 and pixels_per_point(2500, 10) == 2
    assert pixels_per_point(5000, 10) == 1
    assert cell_size(8, 4) <= 14 and cell_size(300, 16) == 1


def test_maps_of_a_grid_never_overlap():
    plan = Plan(
        shapes=tuple((str(i), 5, 11) for i in range(7)),
        cell=3, pooled=1, label_left=19, label_top=23, shared=False, bar=29, caption=13, title=7,
    )  # fmt: skip
    boxes = [(f.left, f.top, f.left + 33, f.top + 15) for f in arrange(plan).facets]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[0] >= b[2] + 19 or b[0] >= a[2] + 19 or a[1] >= b[3] + 23 or b[1] >= a[3] + 23


@pytest.mark.nightly
def test_maps_beyond_four_thousand_symbols_are_pooled_by_the_largest():
    links = tuple(int(v) for v in np.random.default_rng(1).permutation(4501))
    values = np.zeros((4501, 4501), np.float32)
    values[np.arange(4501), links] = 1
    trace = trace_of(["x"] * 4500, ["y"] * 4500, values)
    png, layout = drawn(trace)
    facet, picture = layout.facets[0], pixels(png)
    assert facet.pooled == 2
    for t in range(0, 4501, 97):
        x0, y0, *_ = facet.cell_box(t, links[t])
        assert picture[y0, x0].max() < 0.3


def test_what_cannot_be_drawn_is_said(planted):
    with pytest.raises(UsageError, match=r"format 'gif'; it must be one of png, svg, pdf"):
        save_figure(planted, io.BytesIO(), "gif")
    with pytest.raises(UsageError, match=r"`colors` \('gray'\) must be one of grey, viridis"):
        save_figure(planted, io.BytesIO(), "png", colors="gray")
    with pytest.raises(UsageError, match=r"`scale` \('rows'\).*Did you mean row\?"):
        save_figure(planted, io.BytesIO(), "png", scale="rows")
    with pytest.raises(UsageError, match="holds no attention map"):
        save_figure(replace(planted, maps=(), main=None), io.BytesIO(), "png")
