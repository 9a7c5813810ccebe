"""The page: what it holds, what cannot get out of it, and that it works in a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from views_planted import LINKS, SOURCE, TARGET, trace_of, weights

from jumok.errors import UsageError
from jumok.records import AttentionMap
from jumok.views.api import SUFFIXES, repr_html, save
from jumok.views.page import page, script
from jumok.views.trace_file import load_traces


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.texts.append("")

        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.texts and self.inside:
            self.texts[-1] += data


def parts(text: str) -> dict[str, str]:
    tags = Tags(text)
    names = [a.get("id") or a.get("type") or tag for tag, a in tags.found]
    return dict(zip(names, tags.texts, strict=True))


def test_the_page_holds_the_planted_map_cell_by_cell(planted):
    document = json.loads(parts(page([planted]))["traces"])
    shown = document["traces"][0]["maps"][0]
    raw = gzip.decompress(base64.b64decode(shown["data"]))
    values = np.frombuffer(raw, "<u2").reshape(shown["shape"]) / 65535
    assert tuple(values.argmax(1)) == LINKS
    assert np.abs(values - planted.weights_TS).max() < 8e-6


def test_symbols_cannot_leave_the_data(hostile):
    text = page([hostile])
    tags = Tags(text).found
    assert [tag for tag, _ in tags].count("script") == 3
    assert not {"img", "iframe", "link", "object"} & {tag for tag, _ in tags}
    assert not any("onerror" in attributes for _, attributes in tags)
    data = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert len(data) == 2
    for block in data:
        assert not any(c in block for c in "<>&\u2028\u2029")
    assert json.loads(data[0])["traces"][0]["source"][0][0] == hostile.source[0].text
    assert json.loads(data[0])["traces"][0]["source"][4][0] == "{{script}}"  # as it was


def test_the_policy_admits_this_script_and_style_alone(planted):
    text = page([planted])
    found = parts(text)
    policy = dict(Tags(text).found[3][1])["content"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    for block in (found["module"], found["style"]):
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_the_page_asks_for_nothing_from_outside(planted):
    text = page([planted])
    assert not re.search(r"https?://|\bsrc=|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


def test_the_modules_become_one_script():
    code = script()
    assert not re.search(r"^(import|export) ", code, re.MULTILINE)
    order = re.findall(r"^// (\w+\.js)$", code, re.MULTILINE)
    assert order[-1] == "main.js" and order.index("dom.js") < order.index("matrix.js")
    assert len(order) == len(set(order)) == 14


def test_two_modules_with_one_name_are_refused(monkeypatch):
    from jumok.views import page as module

    files = {"main.js": 'import { a } from "./b.js";\nconst x = 1;\n', "b.js": "const x = 2;\n"}
    monkeypatch.setattr(module, "asset", files.__getitem__)
    with pytest.raises(RuntimeError, match=r"main\.js and b\.js both declare 'x'"):
        script()


def test_both_languages_have_the_same_words():
    code = script()
    blocks = re.search(
        r"const WORDS = \{\n  en: \{(.*?)\n  \},\n  ko: \{(.*?)\n  \},\n\};", code, re.S
    )
    english, korean = (re.findall(r"^    (\w+): ", b, re.M) for b in blocks.groups())
    assert english == korean and len(english) > 30
    used = set(re.findall(r'say\("(\w+)"', code))
    assert used <= set(english)
    spaces = [sorted(re.findall(r"\{\w+\}", b)) for b in blocks.groups()]
    assert spaces[0] == spaces[1]


def test_the_same_traces_give_the_same_page(planted, hostile):
    assert page([planted, hostile]) == page([planted, hostile])


def test_save_writes_by_suffix_and_reads_back(planted, tmp_path):
    for suffix in SUFFIXES:
        save(planted, tmp_path / f"map{suffix}")
        assert (tmp_path / f"map{suffix}").stat().st_size > 500
    for suffix in (".npz", ".jumok.json"):
        assert load_traces(tmp_path / f"map{suffix}")[0].target_text == planted.target_text
    assert (tmp_path / "map.pdf").read_bytes()[:5] == b"%PDF-"
    assert {p.name for p in tmp_path.iterdir()} == {f"map{s}" for s in SUFFIXES}


def test_save_says_what_it_cannot_do(planted, tmp_path):
    known = r"\.html, \.svg, \.png, \.pdf, \.npz, \.jumok\.json"
    with pytest.raises(UsageError, match=rf"'a\.htm' .* one of {known}\. Did you mean \.html\?"):
        save(planted, tmp_path / "a.htm")
    with pytest.raises(UsageError, match=known):
        save(planted, tmp_path / "a.json")
    with pytest.raises(UsageError, match=r"a \.png file shows one sentence, but there are 2"):
        save([planted, planted], tmp_path / "a.png")
    with pytest.raises(UsageError, match="no trace to write"):
        save([], tmp_path / "a.html")
    assert not list(tmp_path.iterdir())


def test_a_notebook_gets_a_sandboxed_frame(hostile):
    text = repr_html(hostile)
    ((tag, attributes),) = Tags(text).found
    assert tag == "iframe" and attributes["sandbox"] == "allow-scripts allow-downloads"
    assert attributes["srcdoc"] == page([hostile])
    assert unescape(re.search(r'srcdoc="(.*)"', text, re.S)[1]) == page([hostile])


# --- in a browser -------------------------------------------------------------------------


def until(tab, expression: str) -> None:
    """Wait for ``expression`` (Playwright's own way needs eval, which the policy forbids)."""
    for _ in range(200):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(25)
    pytest.fail(f"never became true: {expression}")


@pytest.fixture
def visit(browser, tmp_path):
    """Open traces as a file without a network; fails on any complaint or request."""
    contexts, complaints = [], []

    def opened(traces, hash_="", **how):
        path = tmp_path / f"page{len(contexts)}.html"
        save(traces, path)
        context = browser.new_context(offline=True, accept_downloads=True, **how)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda m: m.type == "error" and complaints.append(m.text))
        tab.on("pageerror", lambda e: complaints.append(str(e)))
        tab.on("dialog", lambda d: complaints.append(d.message))
        tab.on(
            "request", lambda r: r.url.startswith(("file:", "blob:")) or complaints.append(r.url)
        )
        tab.goto(f"file://{path}{hash_}")
        until(tab, "document.documentElement.dataset.ready === 'yes'")
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.nightly
def test_the_canvas_and_the_table_show_the_planted_map(visit, planted):
    tab = visit(planted, color_scheme="light")
    tab.locator(".numbers summary").click()
    rows = tab.locator(".numbers tbody tr").all()
    cells = np.array([[float(c) for c in r.locator("td").all_text_contents()[:8]] for r in rows])
    assert np.abs(cells - planted.weights_TS).max() < 6e-4
    blues = tab.evaluate(
        """() => { const c = document.querySelector('.cells'), p = c.getContext('2d');
        const at = (t, s) => [(s + .5) * c.width / 8, (t + .5) * c.height / 7];
        const red = (t, s) => p.getImageData(...at(t, s), 1, 1).data[0];
        return [...Array(7)].map((_, t) => [...Array(8)].map((_, s) => red(t, s))); }"""
    )
    assert tuple(np.argmin(blues, axis=1)) == LINKS


@pytest.mark.nightly
def test_pointing_shows_and_clicking_keeps(visit, planted):
    tab = visit(planted)
    box = tab.locator(".cells").bounding_box()
    side = box["width"] / 8
    spot = {"x": (LINKS[2] + 0.5) * side, "y": 2.5 * side}
    tab.locator(".body").hover(position=spot)
    tab.wait_for_selector(".note:not([hidden])")
    note = tab.locator(".note").text_content()
    weight = f"{planted.weights_TS[2, LINKS[2]]:.3f}"
    assert note.startswith(f"t ← ◌\u0306 · weight {weight} · rank 1 · spread ")
    tab.locator(".body").click(position=spot)
    assert tab.evaluate("location.hash") == f"#s=0&m=0&t=2&c={LINKS[2]}"
    tab.mouse.move(5, 5)
    tab.wait_for_selector(".note", state="hidden")
    assert tab.locator(".panel .big").text_content() == "t"
    tab.keyboard.press("Escape")
    assert tab.evaluate("location.hash") == "#s=0&m=0"
    assert tab.locator(".panel .big").count() == 0


@pytest.mark.nightly
def test_the_address_opens_on_the_same_cell_and_keys_move(visit, planted):
    other = replace(planted, source_text="x", target_text="y")
    tab = visit([other, planted], "#s=1&t=3&c=2")
    assert tab.locator("h1").text_content() == f"{planted.source_text} → {planted.target_text}"
    assert tab.locator(".spoken").text_content().startswith("이 ← 고 · weight ")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("location.hash") == "#s=1&m=0&t=4&c=3"
    tab.keyboard.press("End")
    assert tab.evaluate("location.hash") == "#s=1&m=0&t=4&c=7"
    tab.keyboard.press("p")
    until(tab, "location.hash === '#s=0&m=0'")
    tab.keyboard.press("?")
    assert tab.locator("dialog").is_visible()


@pytest.mark.nightly
@pytest.mark.parametrize("hash_", ["#s=99&t=99&c=99&m=7", "#s=-1&t=x", "#%%%&t=2e9", "#t=&c=1"])
def test_a_wrong_address_opens_on_what_there_is(visit, planted, hash_):
    assert visit(planted, hash_).locator(".matrix").is_visible()


@pytest.mark.nightly
def test_hostile_symbols_are_shown_and_do_nothing(visit, hostile):
    tab = visit(hostile, "#t=0&c=0")
    assert tab.locator("img").count() == 0 and tab.locator("script").count() == 3
    assert tab.locator(".above .token").first.text_content().startswith("</script><img␣src=x")
    assert "⟨202E⟩" in tab.locator(".above").text_content()


@pytest.mark.nightly
def test_korean_readers_get_korean_and_can_switch(visit, planted):
    tab = visit(planted, "#t=0", locale="ko-KR")
    assert "주목하는 곳" in tab.locator(".panel").text_content()
    assert tab.evaluate("document.documentElement.lang") == "ko"
    tab.get_by_role("button", name="English").click()
    assert "Looks at" in tab.locator(".panel").text_content()


@pytest.mark.nightly
def test_dark_and_light_differ_and_keep_the_alignment(visit, planted):
    grounds = set()
    for scheme in ("dark", "light"):
        tab = visit(planted, "", color_scheme=scheme)
        grounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.nightly
def test_what_is_saved_from_the_page_is_what_is_shown(visit, planted, tmp_path):
    tab = visit(planted)
    saved = {}
    for name in ("Table (TSV)", "Trace (JSON)", "Picture (PNG)"):
        tab.locator(".menu summary").click()
        with tab.expect_download() as event:
            tab.get_by_role("button", name=name).click()
        saved[name] = tmp_path / event.value.suggested_filename
        event.value.save_as(saved[name])
    rows = [line.split("\t") for line in saved["Table (TSV)"].read_text("utf-8").splitlines()]
    assert rows[0][1:] == ["e", "◌\u0301", "고", "양", "␣", "и", "◌\u0306", "⏎"]
    values = np.array([[float(v) for v in row[1:]] for row in rows[1:]])
    assert np.abs(values - planted.weights_TS).max() < 9e-6
    assert load_traces(saved["Trace (JSON)"])[0].source == planted.source
    assert saved["Picture (PNG)"].read_bytes()[:4] == b"\x89PNG"


@pytest.mark.nightly
def test_maps_can_be_picked_and_memory_has_slots(visit, planted):
    read = AttentionMap(name="read", kind="read", values_TS=np.full((7, 5), 0.2))
    tab = visit(replace(planted, maps=(*planted.maps, read)))
    tab.keyboard.press("]")
    until(tab, "document.querySelectorAll('.above .token').length === 5")
    assert tab.locator(".above").text_content() == "01234"
    assert "m=1" in tab.evaluate("location.hash")


@pytest.mark.nightly
def test_a_model_without_attention_shows_its_candidates_in_the_page(visit, planted):
    tab = visit(replace(planted, maps=(), main=None))
    assert "no attention" in tab.locator(".plate").text_content()
    assert not tab.locator(".matrix").is_visible()
    assert tab.locator(".odds tbody tr").count() == 7


@pytest.mark.nightly
def test_sentences_are_sorted_by_score(visit, planted):
    traces = [
        replace(planted, target_text=n, score=s) for n, s in (("b", -2.0), ("a", -9.0), ("c", -0.5))
    ]
    tab = visit(traces)
    tab.get_by_role("button", name="score").click()
    assert tab.locator(".pick .out").all_text_contents() == ["a", "b", "c"]
    tab.get_by_role("button", name="score").click()
    assert tab.locator(".pick .out").all_text_contents() == ["c", "b", "a"]
    tab.locator(".pick").first.click()
    until(tab, "location.hash.startsWith('#s=2')")


@pytest.mark.nightly
@pytest.mark.parametrize("width", [360, 900, 1500])
def test_nothing_sticks_out_of_the_window(visit, planted, width):
    wide = trace_of([*SOURCE] * 5, TARGET, weights(LINKS, 36))
    tab = visit([planted, wide], "#s=1&t=1&c=3", viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.nightly
def test_a_notebook_frame_works(browser, planted, tmp_path):
    (tmp_path / "n.html").write_text(f"<body>{repr_html(planted)}</body>", "utf-8")
    tab = browser.new_page()
    problems = []
    tab.on("pageerror", lambda e: problems.append(str(e)))
    tab.goto(f"file://{tmp_path}/n.html")
    frame = tab.frame_locator("iframe")
    frame.locator(".below .token").first.click()
    assert frame.locator(".panel .big").text_content() == "c"
    assert problems == []
    tab.close()


@pytest.mark.nightly
def test_the_page_says_when_the_limit_was_hit(visit, planted):
    stopped = trace_of(SOURCE, TARGET, weights(LINKS[:-1], 8), finished=False)
    assert visit(stopped, "#t=1").locator(".stopped").is_visible()
    assert not visit(planted, "#t=1").locator(".stopped").is_visible()
