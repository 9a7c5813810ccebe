"""Planted traces, and a browser where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from views_planted import LINKS, SOURCE, TARGET, trace_of, weights

from jumok.records import AttentionTrace


@pytest.fixture
def planted() -> AttentionTrace:
    """Seven rows, eight columns, the alignment ``LINKS``."""
    return trace_of(SOURCE, TARGET, weights(LINKS, 8))


@pytest.fixture
def hostile() -> AttentionTrace:
    """Symbols that attack pages, terminals, XML and mathematics."""
    source = ["</script><img src=x onerror=alert(1)>", "\u2028", "\x1b[31m", "\u202e", "{{script}}"]
    target = ["<!--<script>", "\u2029", "$x^2$", "]]>&amp;", "\n", "\x07"]
    return trace_of(source, target, weights((0, 1, 2, 3, 4, 5, 0), 6))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium by Playwright; skipped with the reason where either is missing."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright import sync_api as playwright
    except ImportError:
        playwright = None
    if path is None or playwright is None:
        reason = "the browser tests need chromium on the path and the package playwright"
        if os.environ.get("JUMOK_EXPECT_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=options)
        yield opened
        opened.close()
