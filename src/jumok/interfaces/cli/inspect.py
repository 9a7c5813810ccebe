"""``jumok inspect``: the attention of one output in the terminal, on a page, in a picture."""

from __future__ import annotations

from jumok.errors import UsageError
from jumok.interfaces.cli.groups import NO_KEYS, ConfigurationKeys, Hardware, Members, Search
from jumok.interfaces.cli.streams import json_line, note, say
from jumok.interfaces.options import Ensembling, Machine, Searching

EXAMPLES = (
    'jumok inspect runs/dates "27 September 1994"',
    'jumok inspect runs/dates "1994년 9월 27일" --out map.html',
)


def inspect(
    model: str,
    text: str | None = None,
    /,
    *,
    target: str | None = None,
    out: str | None = None,
    explain: int | None = None,
    wiring: bool = False,
    map: str | None = None,
    json: bool = False,
    searching: Search = Searching(),
    machine: Hardware = Machine(),
    ensembling: Members = Ensembling(),
    keys: ConfigurationKeys = NO_KEYS,
) -> None:
    """Show what a model attends to while it writes; without a text, show the model itself.

    Parameters
    ----------
    model
        A model folder, or several that answer together: a,b.
    text
        A source text.
    target
        Show the attention of this target instead of the model's own output.
    out
        Write the map to a file: .html, .svg, .png, .pdf, .npz or .jumok.json.
    explain
        Print step K (from 1) with its numbers.
    wiring
        Draw the model itself, with shapes.
    map
        Which map to draw, by name; the main one by default.
    json
        One object on standard output.
    """
    if text is None and (target is not None or out or explain is not None):
        raise UsageError(
            "which text? The attention belongs to one.",
            hint=f'jumok inspect {model} "a source text"',
        )
    if text is None or wiring:
        _show_model(model, machine, ensembling, wired=wiring, json=json)
        return
    from jumok.interfaces.cli.translate import as_json
    from jumok.interfaces.requests import InspectRequest
    from jumok.interfaces.work import inspecting

    request = InspectRequest(
        model=model,
        text=text,
        target=target,
        searching=searching,
        keys=keys,
        machine=machine,
        ensembling=ensembling,
    )
    found = inspecting.inspect(request, note)
    if json:
        json_line(as_json(found))
    else:
        say(inspecting.drawn(found, explain=explain, name=map))
    if out:
        found.attention.save(out)
        note(f"wrote {out}")


def _show_model(
    path: str, machine: Machine, ensembling: Ensembling, *, wired: bool, json: bool
) -> None:
    from jumok.interfaces.work import inspecting
    from jumok.interfaces.work.decoding import open_model
    from jumok.interfaces.work.wiring import wiring

    model = open_model(path, machine, ensembling)
    if wired:
        lines = wiring(model)
        json_line({"wiring": lines}) if json else say("\n".join(lines))
    else:
        found = inspecting.describe(model)
        json_line(found.to_dict()) if json else say(found.text())
