"""The self-contained page: one HTML file with its traces, its style and its script inside.

Nothing is fetched and nothing can be: the page's policy allows the one script and the one
style whose hashes it names. Tokens travel as JSON and reach the document as text alone.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from jumok.records import SPECIALS, AttentionTrace, Token
from jumok.views.labels import label, visible
from jumok.views.measures import entropies
from jumok.views.trace_file import dumps, to_document

__all__ = ["asset", "page", "policy", "script"]

_ENTRY = "main.js"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z0-9]+\.js)";\n', re.MULTILINE)
_DECLARED = re.compile(r"^(?:async )?(?:function|const|let|class) ([A-Za-z_]\w*)", re.MULTILINE)


def page(traces: Sequence[AttentionTrace]) -> str:
    """``traces`` as one HTML document, which opens from a disk without any network.

    Raises:
        JumokError: a weight is not finite or a text is not Unicode.
    """
    code, style = script(), asset("page.css")
    filled = {
        "policy": policy(code, style),
        "style": style,
        "script": code,
        "traces": _inert(dumps(to_document(traces))),
        "extras": _inert(dumps(_extras(traces))),
    }
    # One pass, so that a marker inside a token stays the text that it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: filled[m[1]], asset("page.html"))


def script() -> str:
    """The page's modules as one, in the order of their imports.

    Raises:
        RuntimeError: two modules declare the same name (they share one scope here).
    """
    ordered: list[str] = []
    _visit(_ENTRY, ordered)
    owner: dict[str, str] = {}
    parts = []
    for name in ordered:
        body = re.sub(r"^export ", "", _IMPORT.sub("", asset(name)), flags=re.MULTILINE)
        for declared in _DECLARED.findall(body):
            if owner.setdefault(declared, name) != name:
                raise RuntimeError(f"{name} and {owner[declared]} both declare {declared!r}")
        parts.append(f"// {name}\n{body}")
    return "\n" + "\n".join(parts)


def _visit(name: str, ordered: list[str]) -> None:
    for needed in _IMPORT.findall(asset(name)):
        if needed not in ordered:
            _visit(needed, ordered)
    ordered.append(name)


def asset(name: str) -> str:
    """The text of a file that travels with the package."""
    return (files("jumok.views") / "assets" / name).read_text("utf-8")


def policy(code: str, style: str) -> str:
    """The content policy of a page with this one script and this one style."""

    def hashed(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

    return (
        f"default-src 'none'; script-src 'sha256-{hashed(code)}'; "
        f"style-src 'sha256-{hashed(style)}'; base-uri 'none'; form-action 'none'"
    )


def _inert(text: str) -> str:
    """JSON that no HTML parser can leave: what could end the element is an escape."""
    for c in "<>&\u2028\u2029":
        text = text.replace(c, f"\\u{ord(c):04x}")
    return text


def _extras(traces: Sequence[AttentionTrace]) -> dict[str, Any]:
    """What the page would otherwise work out again: labels that differ, entropy for sorting."""
    return {"labels": _labels(traces), "entropy": [_mean_entropy(trace) for trace in traces]}


def _labels(traces: Iterable[AttentionTrace]) -> dict[str, str]:
    """Symbol -> label where they differ; the key of a special symbol begins with U+0000."""
    found = {f"\0{name}": label(Token(name, 0, 0, special=True)) for name in SPECIALS}
    for trace in traces:
        for token in (*trace.source, *trace.target):
            key = f"\0{token.text}" if token.special else token.text
            found.setdefault(key, label(token))
        for text, _ in (option for step in trace.alternatives for option in step):
            found.setdefault(text, visible(text))
    return {key: shown for key, shown in found.items() if key != shown}


def _mean_entropy(trace: AttentionTrace) -> float | None:
    weights_TS = trace.weights_TS
    if weights_TS is None or not weights_TS.size:
        return None
    return round(float(np.mean(entropies(weights_TS))), 4)
