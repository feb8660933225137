from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.largest_gain import largest_gain
from plateau_lens.numerics.rank_correlation import spearman, spearman_over_rows


def bootstrap(n: int, draws: int = 40) -> PairBootstrap:
    return PairBootstrap(n, seed=3, n_resamples=draws)


def test_every_draw_is_scipys_of_the_resampled_pairs():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 12, 50).astype(float)  # with many equal values
    b = a + rng.integers(-6, 7, 50)
    pairs = bootstrap(50)
    found = spearman(pairs, a, b)
    assert len(found) == 41
    for draw, counts in zip(found, pairs.counts, strict=True):
        which = np.repeat(np.arange(50), counts)
        assert draw == pytest.approx(spearmanr(a[which], b[which]).statistic, abs=1e-12)


def test_one_order_and_its_reverse():
    a = np.array([3.0, 10.0, 50.0, 51.0, 90.0])
    assert spearman(bootstrap(5, 0), a, a**3) == pytest.approx(1)
    assert spearman(bootstrap(5, 0), a, -a) == pytest.approx(-1)


def test_by_hand():
    # Ranks 1 2 3 4 against 2 1 4 3: differences of 1 each, 1 - 6 * 4 / (4 * 15) = 0.6.
    assert spearman(bootstrap(4, 0), np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3])) == pytest.approx(0.6)


def test_undefined_pairs_are_left_out_and_one_value_has_no_order():
    a = np.array([1.0, np.nan, 2, 3, 4])
    b = np.array([2.0, 7, 1, 4, 3])
    assert spearman(bootstrap(5, 0), a, b) == pytest.approx(0.6)
    assert np.isnan(spearman(bootstrap(5, 0), a, np.ones(5))).all()
    assert np.isnan(spearman(bootstrap(2, 0), np.full(2, np.nan), np.ones(2))).all()


def test_unrelated_pairs_are_near_nought():
    rng = np.random.default_rng(1)
    found = spearman(bootstrap(2000, 0), rng.normal(size=2000), rng.normal(size=2000))
    assert abs(found[0]) < 0.08  # 3.5 standard errors of 1 / sqrt(2000)


class TestLargestGain:
    def test_a_straight_line_gains_the_window(self):
        assert largest_gain(np.linspace(0, 7, 101)[None], 10) == pytest.approx(0.1)

    def test_a_single_step_gains_all(self):
        assert largest_gain((np.arange(101) >= 40)[None].astype(np.float32), 10) == pytest.approx(1)

    def test_by_hand(self):
        # End 8; rises over two steps: 1, 5 (from 1 to 6), 5, 2: the largest is 5 of 8.
        assert largest_gain(np.array([[0.0, 1, 1, 6, 6, 8]]), 2) == pytest.approx(5 / 8)
        # Up to 4 and back to 2: twice the end value.
        assert largest_gain(np.array([[0.0, 4, 2]]), 1) == pytest.approx(2)

    def test_height_has_no_influence(self):
        curves = np.random.default_rng(0).uniform(size=(4, 21)).cumsum(axis=1)
        np.testing.assert_allclose(largest_gain(curves, 3), largest_gain(1000 * curves, 3))

    def test_undefined(self):
        curves = np.array([[0.0, 0, 0], [0, np.nan, 1], [0, 1, -1]])
        assert np.isnan(largest_gain(curves, 1)).all()
        for window in (0, 3):
            with pytest.raises(ValueError, match=f"window is {window}, but a curve has 2 steps"):
                largest_gain(curves, window)


def test_over_rows_it_is_scipys_in_every_draw():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 5, (9, 20)).astype(float), rng.standard_normal((9, 20))
    found = spearman_over_rows(a, b)
    for draw in range(20):
        assert found[draw] == pytest.approx(spearmanr(a[:, draw], b[:, draw]).statistic)


def test_over_rows_undefined_where_a_number_is_missing_or_all_are_equal():
    a = np.array([[1.0, 1.0, np.nan], [2.0, 1.0, 2.0], [3.0, 1.0, 3.0]])
    b = np.array([[3.0, 1.0, 1.0], [2.0, 2.0, 2.0], [1.0, 3.0, 3.0]])
    assert spearman_over_rows(a, b).tolist() == pytest.approx([-1.0, np.nan, np.nan], nan_ok=True)
