"""The picture of a machine on a tape: every panel has its cells, and the bytes are stable."""

from __future__ import annotations

import io

import numpy as np
import pytest

from jumok.errors import UsageError
from jumok.views.tapes import TapePanel, draw_tapes

pytest.importorskip("matplotlib")


def panels(steps: int = 11) -> list[list[TapePanel]]:
    rng = np.random.default_rng(0)
    bits = TapePanel(title="inputs", values_TX=rng.integers(0, 2, (steps, 5)))
    adds = TapePanel(title="adds", values_TX=rng.uniform(-1, 1, (steps, 7)), diverging=True)
    weights = TapePanel(title="write weighting", values_TX=np.eye(steps, 29))
    return [[bits], [adds, weights]]


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_tape_gives_the_same_bytes(form: str) -> None:
    one, other = (draw_tapes(panels(), "copy", form) for _ in range(2))
    assert one == other
    assert one != draw_tapes(panels(12), "copy", form)


def test_an_svg_names_its_panels() -> None:
    text = draw_tapes(panels(), "copy, ntm: test tape 0", "svg").decode()
    for title in ("inputs", "adds", "write weighting", "copy, ntm: test tape 0"):
        assert f">{title}</text>" in text


def test_black_is_one_and_white_is_nothing() -> None:
    from matplotlib.image import imread

    def darkness(value: float) -> float:
        panel = TapePanel(title="", values_TX=np.full((9, 9), value))
        return float(1 - imread(io.BytesIO(draw_tapes([[panel]], "")))[..., :3].mean())

    assert darkness(0.0) < darkness(0.5) < darkness(1.0)


@pytest.mark.parametrize(
    ("columns", "form", "message"),
    [
        (panels(), "gif", "cannot draw the format 'gif'; it must be one of png, svg, pdf."),
        ([[], []], "png", "there is nothing to draw: no column has a panel."),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    columns: list[list[TapePanel]], form: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        draw_tapes(columns, "", form)
    assert caught.value.message.startswith(message)
