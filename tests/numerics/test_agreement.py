"""Two statistics of the same pairs, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.agreement import agreement, compare_pairs
from plateau_lens.numerics.bootstrap import PairBootstrap

NAN = np.nan


def test_the_same_agrees_in_all() -> None:
    value = np.arange(30.0)
    found = agreement(PairBootstrap(30, seed=0, n_resamples=50), value, value, margin=2.0)
    assert (found.n, found.both.value, found.within.value) == (30, 1, 1)
    assert (found.difference.value, found.difference.p_value()) == (0, 1)
    assert found.correlation == pytest.approx((1, 1, 1))


def test_by_hand() -> None:
    # Both have pairs 0, 1, 3: gaps 1, -4, 0. One of three is farther apart than 1.
    one, other = np.array([11, 16, 30, 40, NAN]), np.array([10, 20, NAN, 40, 50])
    found = agreement(PairBootstrap(5, seed=0, n_resamples=200), one, other, margin=1.0)
    assert (found.n, found.both.value) == (3, 0.6)
    assert found.difference.value == pytest.approx(-1)
    assert found.within.value == pytest.approx(2 / 3)
    assert found.correlation.value == pytest.approx(np.corrcoef([11, 16, 40], [10, 20, 40])[0, 1])


def test_a_difference_of_means_over_other_pairs_is_not_taken_for_one() -> None:
    # Equal on every pair that has both; late pairs have no second value, so that the two means are 20 apart.
    one = np.array([10.0] * 50 + [50.0] * 50)
    other = np.where(one > 30, NAN, one)
    found = agreement(PairBootstrap(100, seed=0, n_resamples=100), one, other, margin=2.0)
    assert np.nanmean(one) - np.nanmean(other) == 20
    assert (found.difference.value, found.difference.se, found.both.value) == (0, 0, 0.5)
    assert np.isnan(found.correlation.value)


def test_the_paired_t_test_and_the_correlations_interval() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(50, 10, 400)
    one, other = shared + rng.normal(0, 6, 400), shared + rng.normal(0.5, 6, 400)
    pairs = PairBootstrap(400, seed=0, n_resamples=1000)
    found = agreement(pairs, one, other, margin=2.0)
    theirs = stats.ttest_rel(one, other)
    assert found.difference.p_value() == pytest.approx(theirs.pvalue, rel=0.3, abs=0.01)
    wanted = stats.pearsonr(one, other)
    low, high = wanted.confidence_interval()
    assert found.correlation == pytest.approx((wanted.statistic, low, high), abs=0.02)


def test_nothing_in_common_is_undefined() -> None:
    pairs = PairBootstrap(4, seed=0, n_resamples=20)
    found = agreement(pairs, np.array([1, 2, NAN, NAN]), np.array([NAN, NAN, 1, 2]), margin=1.0)
    assert (found.n, found.both.value) == (0, 0)
    assert np.isnan([found.difference.value, found.within.value, found.correlation.value]).all()
    assert np.isnan(compare_pairs(pairs, np.full(4, NAN)).se)
