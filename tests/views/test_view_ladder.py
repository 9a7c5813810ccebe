"""The ladder's page: its table, its curves by place, its maps cell by cell; nothing gets out."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from views_planted import LINKS, SOURCE, TARGET, trace_of, weights

from jumok.views.charts import COLOURS, HEIGHT, LEFT, RIGHT, WIDTH, Line, chart, colour, ticks
from jumok.views.ladder import LadderPage, PageColumn, PageMap, PageRow, ladder_page
from jumok.views.small_map import CELL, MOST_ROWS, small_map

EVIL = "</script><img src=x onerror=alert(1)>{{script}}"


BLIND = replace(trace_of(SOURCE, TARGET, weights(LINKS, 8)), maps=(), main=None)


class Parsed(HTMLParser):
    """Tags with attributes and, of leaves, their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data

    def all(self, tag: str, **wanted: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (attrs, text)
            for (name, attrs), text in zip(self.tags, self.texts, strict=True)
            if name == tag and wanted.items() <= attrs.items()
        ]


def page(**changed: Any) -> LadderPage:
    rows = (
        PageRow("luong-dot", "luong-dot", ("61.00%", "90"), (0.61, 90.0), best=True),
        PageRow("plain", "plain", ("7.00%", "120"), (0.07, 120.0)),
        PageRow("ntm", "ntm *", ("-", "-"), (None, None), note=f"TrainingError: {EVIL}"),
    )
    lines = (
        Line("luong-dot", ((50.0, 0.2), (100.0, 0.5))),
        Line("plain", ((25.0, 0.0),)),
    )
    made = {
        "title": "jumok compare",
        "lede": "3 systems",
        "columns": (PageColumn("exact match", "share"), PageColumn("items/s", "speed")),
        "rows": rows,
        "baselines": (("copy the source", "0.70%"),),
        "notes": ("one", EVIL),
        "score": "exact match",
        "share": True,
        "by_examples": lines,
        "by_seconds": lines,
        "item": (" ".join(SOURCE), ("wanted",)),
        "maps": (
            PageMap("luong-dot", trace_of(SOURCE, TARGET, weights(LINKS, 8)), True),
            PageMap("plain", BLIND, False),
        ),
    }
    return LadderPage(**{**made, **changed})


def test_rows_and_the_numbers_they_are_sorted_by_are_in_the_page() -> None:
    parsed = Parsed(ladder_page(page()))
    values = [attrs["data-value"] for attrs, _ in parsed.all("td") if "data-value" in attrs]
    assert values == ["0.61", "90.0", "0.07", "120.0", "", ""]
    assert [text for _, text in parsed.all("th", scope="row")] == [
        *("luong-dot", "plain", "ntm *", "copy the source"),
    ]
    assert [text for _, text in parsed.all("button", type="button")][:3] == [
        *("system", "exact match", "items/s"),
    ]
    assert len(parsed.all("tr", **{"class": "best"})) == 1


def test_what_users_wrote_cannot_become_markup() -> None:
    text = ladder_page(page())
    assert EVIL not in text
    assert not Parsed(text).all("img")
    assert text.count("<script") == 1


def test_the_policy_admits_one_script_and_one_style_and_no_network() -> None:
    text = ladder_page(page())
    parsed = Parsed(text)
    policy = parsed.all("meta", **{"http-equiv": "Content-Security-Policy"})[0][0]["content"]
    for tag in ("script", "style"):
        inside = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert policy is not None and f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in str(policy)
    assert not [a for _, a in parsed.tags if {"src", "href", "style", "onclick"} & set(a)]


def test_points_stand_where_their_numbers_say() -> None:
    drawn = Parsed(
        chart(
            page().by_examples,
            {"luong-dot": "k0", "plain": "k1"},
            ["luong-dot"],
            share=True,
            about="x",
        )
    )
    curves = drawn.all("g")
    assert [a["data-system"] for a, _ in curves] == ["plain", "luong-dot"]  # on top comes last
    assert [a["class"] for a, _ in curves] == ["curve k1", "curve k0 lit"]
    across = {float(str(a["cx"])): float(str(a["cy"])) for a, _ in drawn.all("circle")}
    wide = WIDTH - LEFT - RIGHT
    assert sorted(across) == [LEFT + wide / 4, LEFT + wide / 2, LEFT + wide]
    low, middle, high = (across[x] for x in sorted(across))
    assert (low, high) == (HEIGHT - 26, 10)
    assert middle == pytest.approx(low + 0.2 / 0.5 * (high - low), abs=0.1)


def test_ticks_are_round_and_few() -> None:
    assert ticks(1.0) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(210_000) == [0, 50_000, 100_000, 150_000, 200_000]
    assert ticks(0.07) == [0, 0.02, 0.04, 0.06]
    assert ticks(0) == [0]
    assert colour(0) == "k0" and colour(COLOURS + 2) == "k2 dashed"


def test_a_small_map_is_the_planted_one_cell_by_cell() -> None:
    wanted_TS = weights(LINKS, 8)
    drawn = Parsed(small_map(trace_of(SOURCE, TARGET, wanted_TS)))
    cells = drawn.all("rect")
    left, top = (min(int(str(a[k])) for a, _ in cells) for k in ("x", "y"))
    found_TS = np.zeros_like(wanted_TS)
    for a, _ in cells:
        place = (int(str(a["y"])) - top) // CELL, (int(str(a["x"])) - left) // CELL
        found_TS[place] = float(str(a["fill-opacity"]))
    kept_TS = np.where(wanted_TS < 0.01, 0, wanted_TS)
    assert found_TS == pytest.approx(kept_TS, abs=6e-4)
    strongest = [a for a, _ in cells if a.get("class") == "strongest"]
    assert [(int(str(a["x"])) - left) // CELL for a in strongest] == list(LINKS)


def test_an_output_that_does_not_end_is_cut_and_no_attention_is_no_map() -> None:
    rows = MOST_ROWS + 5
    drawn = small_map(trace_of(["a", "b"], ["x"] * rows, np.full((rows + 1, 3), 0.3)))
    assert drawn.count("<rect") == 3 * MOST_ROWS
    assert ">…</text>" in drawn
    assert small_map(BLIND) == ""
    assert "no attention" in ladder_page(page())
    hangul = small_map(trace_of(["년", "월"], ["1"], np.array([[0.2, 0.8, 0], [0, 0, 1]])))
    assert ">년</text>" in hangul and "rotate" not in hangul


@pytest.mark.nightly
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_rows_sort_and_curves_light_up(
    browser: Any, tmp_path: Any, width: int
) -> None:
    path = tmp_path / "report.html"
    path.write_text(ladder_page(page()), encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": width, "height": 700})
    tab, complaints = context.new_page(), []
    tab.on("console", lambda m: complaints.append(m.text))
    tab.on("pageerror", lambda e: complaints.append(str(e)))
    tab.goto(f"file://{path}")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width

    def order() -> list[str]:
        return tab.evaluate(
            "[...document.querySelectorAll('tbody th')].map(x => x.firstChild.data)"
        )

    tab.click("thead th:nth-child(3) button")
    assert order() == ["plain", "luong-dot", "ntm *"]
    tab.click("thead th:nth-child(3) button")
    assert order() == ["luong-dot", "plain", "ntm *"]
    tab.click(".chip[data-system=plain]")
    assert tab.evaluate("document.querySelectorAll('.curve.lit').length") == 2
    assert complaints == []
    context.close()
