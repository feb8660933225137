from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.uncensored import ks_distance, summarise

NAN = math.nan


def test_summary_by_hand():
    # Defined: 2, 4, 4, 10. Mean 5; squared deviations 9 + 1 + 1 + 25 = 36, over 3: sd sqrt(12).
    # Quartiles by linear interpolation at places 0.75, 1.5, 2.25 of 2 4 4 10: 3.5, 4, 5.5. Censored: 2 of 5.
    found = summarise(np.array([4.0, NAN, 2.0, 10.0, 4.0]), np.array([False, True, False, True, False]))
    assert (found.n, found.n_defined) == (5, 4)
    assert found.mean == pytest.approx(5)
    assert found.sd == pytest.approx(math.sqrt(12))
    assert (found.q25, found.median, found.q75) == pytest.approx((3.5, 4.0, 5.5))
    assert found.censored == pytest.approx(0.4)


def test_summary_of_nothing_is_nan_not_zero():
    for values in (np.array([NAN, NAN]), np.array([])):
        found = summarise(values, np.ones(len(values), dtype=bool))
        assert found.n_defined == 0
        assert all(math.isnan(x) for x in (found.mean, found.sd, found.q25, found.median, found.q75))
    assert summarise(np.array([NAN]), np.array([True])).censored == 1.0
    assert math.isnan(summarise(np.array([]), np.array([], dtype=bool)).censored)


def test_one_value_has_no_spread():
    found = summarise(np.array([3.0]), np.array([False]))
    assert found.mean == found.median == 3.0
    assert math.isnan(found.sd)


def test_anchors_of_the_distances():
    a = np.array([1.0, 2.0, 3.0])
    assert ks_distance(a, a) == 0.0
    assert ks_distance(a, a + 10) == 1.0


def test_distances_by_hand():
    # F_a rises to 1/2 at 0 and 1 at 1; F_b to 1 at 0. They differ by 1/2 on [0, 1): KS 1/2.
    a, b = np.array([0.0, 1.0]), np.array([0.0])
    assert ks_distance(a, b) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(4))
def test_distances_equal_scipy_over_defined_values(seed: int):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 100, 57).astype(float), rng.normal(50, 20, 83)
    holes = np.insert(a, [0, 5, 57], NAN)
    assert ks_distance(holes, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert ks_distance(a, b) == ks_distance(b, a)
    # The plain definition, without scipy: the largest gap between the two empirical distributions.
    grid = np.concatenate([a, b])
    gaps = [abs(np.mean(a <= x) - np.mean(b <= x)) for x in grid]
    assert ks_distance(a, b) == pytest.approx(max(gaps))


def test_no_defined_value_is_nan():
    assert math.isnan(ks_distance(np.array([NAN]), np.array([1.0])))
    assert math.isnan(ks_distance(np.array([1.0]), np.array([])))
