"""Numbers of a map, and that views need neither torch nor matplotlib to be imported."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from views_planted import trace_of

from jumok.records import AttentionMap
from jumok.views.measures import axes, entropies, spread, strongest, top
from jumok.views.shades import VIRIDIS, ink_on, viridis


def test_entropy_is_nought_for_one_source_and_log2_for_all_alike():
    values = np.array([[1, 0, 0, 0, 0], [0.2] * 5, [0] * 5, [3.0, 3.0, 0, 0, 0]])
    assert entropies(values) == pytest.approx([0, np.log2(5), 0, 1])


def test_the_strongest_is_the_first_of_equals_and_none_without_weight():
    assert strongest(np.array([0.1, 0.4, 0.4])) == 1
    assert strongest(np.array([np.nan, 0.2, 0.1])) == 1
    assert strongest(np.zeros(3)) is None and strongest(np.array([])) is None
    assert top(np.array([0.1, np.nan, 0.4, 0.4]), 3) == [(2, 0.4), (3, 0.4), (0, 0.1)]


def test_a_decoder_attends_to_what_it_has_read():
    """Row t wrote symbol t; column 0 is the start symbol, column t the t-th symbol."""
    trace = trace_of(["a", "b"], ["x", "y"], np.full((3, 3), 1 / 3))
    own = AttentionMap(name="own", kind="decoder", values_TS=np.tri(3))
    sides = axes(trace, own)
    assert sides.rows == ["x", "y", "⏎"] and sides.columns == ["<s>", "x", "y"]
    cut_off = trace_of(["a", "b"], ["x", "y"], np.full((2, 3), 1 / 3), finished=False)
    merged = AttentionMap(name="own", kind="decoder", values_TS=np.tri(2, 3))
    assert axes(cut_off, merged).columns == ["<s>", "x", "y"]
    odd = AttentionMap(name="own", kind="decoder", values_TS=np.tri(2, 5))
    assert axes(cut_off, odd).columns == list("01234")


def test_slots_have_a_row_for_each_source_symbol_or_for_each_target_symbol():
    """Two symbols on either side: only the kind can tell whose row it is."""
    trace = trace_of(["a", "b"], ["x", "y"], np.full((2, 3), 1 / 3), finished=False)
    slots = np.eye(3, 5)
    for kind, rows in (("source_write", ["a", "b", "⏎"]), ("source_read", ["a", "b", "⏎"])):
        sides = axes(trace, AttentionMap(name="m", kind=kind, values_TS=slots))
        assert sides.rows == rows and sides.row_name == "source"
        assert sides.columns == list("01234") and sides.column_name == "slot"
    sides = axes(trace, AttentionMap(name="m", kind="write", values_TS=slots[:2]))
    assert sides.rows == ["x", "y"] and sides.row_name == "target"


def test_a_scale_covers_nought_to_one_and_what_lies_beyond():
    assert spread(np.array([0.2, 0.7])) == (0.0, 1.0)
    assert spread(np.array([-2.0, np.inf, 3.0])) == (-2.0, 3.0)


def test_shades_meet_the_steps_of_the_scale_and_ink_contrasts():
    assert [viridis(i / 16) for i in range(17)] == list(VIRIDIS)
    assert viridis(-1) == VIRIDIS[0] and viridis(2) == VIRIDIS[-1]
    assert ink_on(VIRIDIS[0]) == "#ffffff" and ink_on(VIRIDIS[-1]) == "#000000"


def test_views_import_without_torch_and_matplotlib():
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'rich'): sys.modules[name] = None\n"
        "import jumok.views.api, jumok.views.figure, jumok.views.page, jumok.views.terminal\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
