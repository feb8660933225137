"""The step statistics as the authors' notebooks had them."""

import numpy as np

from plateau_lens.numerics.steps import chord_area_step, max_slope_step

N_STEPS = 99
LAST = np.array([N_STEPS])


def test_ms_is_one_less_and_has_a_number_for_no_blow_up():
    cliff = np.where(np.arange(N_STEPS + 1) >= 40, 5.0, 0.0)[None]
    assert max_slope_step(cliff, LAST, min_slope=0.02).value == [40]
    assert max_slope_step(cliff, LAST, min_slope=0.02, notebook=True).value == [39]
    flat = np.zeros((1, N_STEPS + 1))
    found = max_slope_step(flat, LAST, min_slope=0.02, notebook=True)
    assert found.value == [99]
    assert found.censored.all()
    assert np.isnan(
        max_slope_step(np.full_like(flat, np.nan), LAST, min_slope=0.02, notebook=True).value
    ).all()


def test_auc_of_a_straight_line_is_5():
    # (n + 1) * n / 2 over n^2 / 2 is 1 + 1/n: largest where looking begins, at 5.
    line = np.arange(N_STEPS + 1.0)[None]
    assert np.isnan(chord_area_step(line, LAST).value).all()
    assert chord_area_step(line, LAST, notebook=True).value == [5]
