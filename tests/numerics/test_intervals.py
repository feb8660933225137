"""Intervals from draws, against closed forms; coverage is in test_validity.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.intervals import (
    distance_interval,
    percentile_interval,
    share_interval,
    standard_error,
)


def test_draws_hold_every_pair_once_then_as_many_with_replacement():
    pairs = PairBootstrap(50, seed=3, n_resamples=400)
    assert (pairs.counts[0] == 1).all()
    assert (pairs.counts.sum(axis=1) == 50).all()
    # A pair's count is binomial: mean 1, variance 1 - 1/50, and 0 in (1 - 1/50)^50 of the resamples.
    resamples = pairs.counts[1:].T
    assert abs(resamples.var() - 0.98) < 0.05
    assert abs((resamples == 0).mean() - 0.98**50) < 0.02


def test_the_same_seed_draws_the_same():
    one, two, other = (PairBootstrap(20, seed=seed, n_resamples=10).counts for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_percentiles_are_those_of_the_resamples():
    draws = np.concatenate([[50.0], np.arange(1001.0)])
    # 1,002 gaps, of which 2.5 % are 25: the 25th lowest and the 25th highest of 0..1000.
    assert percentile_interval(draws, 10) == (50.0, 24.0, 976.0)


def test_of_two_thousand_resamples_the_fiftieth_from_either_end_are_the_ends():
    draws = np.concatenate([[0.0], np.random.default_rng(0).permutation(2000) + 1.0])
    assert percentile_interval(draws, 10) == (0.0, 50.0, 1951.0)


def test_a_bound_that_is_never_reached_is_infinite():
    assert percentile_interval(np.array([3.0, *[2.0] * 50, *[np.inf] * 50]), 9) == (3.0, 2.0, np.inf)


def test_too_few_pairs_have_an_estimate_and_no_interval():
    one, nothing = np.full(5, 4.0), np.full(5, np.nan)
    for found in (percentile_interval(one, 1), distance_interval(one, one - 4, 1)):
        assert found.value == 4.0
        assert np.isnan(found[1:]).all()
    for found in (percentile_interval(nothing, 0), distance_interval(nothing, nothing, 0)):
        assert np.isnan(found).all()


def test_a_distance_gives_way_at_its_lower_end_alone():
    rng = np.random.default_rng(0)
    draws = np.concatenate([[0.5], rng.normal(0.55, 0.02, 4000)])
    found = distance_interval(draws, np.zeros(4001), 10_000, most=1.0)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.02, abs=2e-3)
    # Of the bias, a resample shows 2^(2/3) - 1 = 0.587.
    assert found.low == pytest.approx(0.5 - 0.05 / 0.587 - 1.96 * 0.02, abs=2e-3)


def test_a_distance_stays_in_its_range():
    rng = np.random.default_rng(0)
    near, far = (np.concatenate([[at], at + rng.normal(0, 0.05, 100)]) for at in (0.02, 0.98))
    assert distance_interval(near, np.zeros(101), 100, most=1.0).low == 0
    assert distance_interval(far, np.zeros(101), 100, most=1.0).high == 1


def test_a_distance_that_noise_could_make_may_be_none():
    draws = np.concatenate([[0.3], np.tile([0.29, 0.31], 500)])
    noise = np.linspace(0, 0.3 / 0.97, 1001)  # 97 % of it lies below 0.3
    assert distance_interval(draws, noise, 1000).low == 0
    assert distance_interval(draws, noise * 0.97 / 0.98, 1000).low > 0.25


def test_wilsons_interval_of_a_share():
    flags = np.arange(40) < 10
    found = share_interval(flags)
    z, p, n = stats.norm.ppf(0.975), 0.25, 40
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found == pytest.approx((0.25, centre - reach, centre + reach))
    nothing = share_interval(np.zeros(100, dtype=bool))
    assert nothing.low == pytest.approx(0, abs=1e-12)
    assert 0.03 < nothing.high < 0.04
    assert np.isnan(share_interval(np.array([], dtype=bool))).all()


def test_standard_error_of_a_mean_is_the_textbooks():
    rng = np.random.default_rng(2)
    values, pairs = rng.normal(0, 3, 500), PairBootstrap(500, seed=0)
    assert standard_error(pairs.counts @ values / 500) == pytest.approx(3 / np.sqrt(500), rel=0.1)
