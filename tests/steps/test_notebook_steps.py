"""The step statistics as the authors' notebooks had them."""

import numpy as np

from plateau_lens.steps.chord_area import ChordArea
from plateau_lens.steps.max_slope import MaxSlope
from plateau_lens.steps.registry import Curves

N_STEPS = 99
LAST = np.array([N_STEPS])


PAPER, NOTEBOOK = (
    MaxSlope(min_slope={"l2": 0.02}, convention=convention) for convention in ("paper", "notebook")
)


def test_ms_is_one_less_and_has_a_number_for_no_blow_up():
    cliff = Curves(np.where(np.arange(N_STEPS + 1) >= 40, 5.0, 0.0)[None], LAST)
    assert PAPER.of(cliff).value == [40]
    assert NOTEBOOK.of(cliff).value == [39]
    flat = np.zeros((1, N_STEPS + 1))
    found = NOTEBOOK.of(Curves(flat, LAST))
    assert found.value == [99]
    assert found.censored.all()
    assert np.isnan(NOTEBOOK.of(Curves(np.full_like(flat, np.nan), LAST)).value).all()


def test_auc_of_a_straight_line_is_5():
    # (n + 1) * n / 2 over n^2 / 2 is 1 + 1/n: largest where looking begins, at 5.
    line = Curves(np.arange(N_STEPS + 1.0)[None], LAST)
    assert np.isnan(ChordArea().of(line).value).all()
    assert ChordArea(convention="notebook").of(line).value == [5]
