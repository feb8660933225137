"""Differences, their tests and sample sizes, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.comparisons import (
    Difference,
    compare_distances,
    compare_means,
    equivalence,
    holm,
    pairs_to_equate,
    pairs_to_show,
)
from plateau_lens.numerics.survival import kaplan_meier, ks, wasserstein, whole_steps


def columns(*values: np.ndarray, seed: int = 0, n_steps: int = 100):
    pairs = PairBootstrap(len(values[0]), seed=seed)
    none = np.zeros(len(values[0]), dtype=bool)
    return [kaplan_meier(pairs, each, none, grid=whole_steps(n_steps)) for each in values]


def of(value: float, se: float, n: int = 10**6) -> Difference:
    return Difference(value, value - 1.96 * se, value + 1.96 * se, se, n)


def test_a_paired_difference_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    shared = rng.normal(50, 12, 400)
    a, b = ((shared + rng.normal(at, 4, 400)).round().clip(0, 100) for at in (0.5, 0.0))
    found = compare_means(*columns(a, b))
    theirs = stats.ttest_rel(a, b)
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert found.p_value() == pytest.approx(theirs.pvalue, rel=0.3)
    low, high = theirs.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.04)
    assert found.sd_per_pair == pytest.approx((a - b).std(), rel=0.1)
    assert found.p_value("greater") == pytest.approx(found.p_value() / 2)
    assert found.p_value("less") == pytest.approx(1 - found.p_value("greater"))


def test_unshared_draws_are_unpaired():
    rng = np.random.default_rng(3)
    shared = rng.integers(20, 80, 100)
    a, b = shared + rng.integers(0, 3, 100), shared + rng.integers(1, 4, 100)
    (one,), (two,), (same,) = columns(a, seed=0), columns(b, seed=1), columns(b, seed=0)
    assert compare_means(one, same).se < 0.1 * compare_means(one, two).se
    assert compare_means(one, two).se == pytest.approx(math.hypot(a.std(), b.std()) / 10, rel=0.1)


@pytest.mark.parametrize("distance", [ks, wasserstein])
def test_a_difference_of_distances_is_that(distance):
    rng = np.random.default_rng(1)
    near, far, reference = columns(*(rng.normal(at, 8, 300).round() for at in (45, 60, 40)))
    found = compare_distances(far, near, reference, distance)
    apart = distance(far, reference)[0] - distance(near, reference)[0]
    # Both are far from 0, where noise adds next to nothing, and to the nearer a little more.
    assert apart < found.value < 1.05 * apart
    assert found.p_value("greater") < 1e-6 < 0.99 < found.p_value("less")
    opposite = compare_distances(near, far, reference, distance)
    assert (opposite.low, opposite.high) == pytest.approx((-found.high, -found.low))


def test_the_interval_leaves_out_zero_where_the_p_value_is_below_five_percent():
    rng = np.random.default_rng(2)
    for shift in range(6):
        a, b = rng.normal(50, 10, 60).round(), rng.normal(50 + shift, 10, 60).round()
        found = compare_means(*columns(a, b))
        assert (found.p_value() < 0.05) == (not found.low <= 0 <= found.high)


def test_a_constant_difference_is_certain_and_none_is_nothing():
    a = np.arange(30.0)
    shifted, same = compare_means(*columns(a + 2, a)), compare_means(*columns(a, a))
    assert (shifted.low, shifted.high, shifted.p_value()) == (shifted.value, shifted.value, 0)
    assert (same.value, same.low, same.high, same.p_value()) == (0, 0, 0, 1)


def test_too_few_pairs_are_undefined():
    a = np.array([1.0, np.nan])
    found = compare_means(*columns(a, a + 1))
    assert found.value == -1
    assert np.isnan([found.se, found.low, found.high, found.p_value()]).all()
    assert equivalence(found, 2).verdict == "undefined"


@pytest.mark.parametrize(
    ("value", "se", "verdict"),
    [
        (0.0, 0.5, "equivalent"),  # two 2s are 4 standard errors away
        (1.0, 0.5, "equivalent"),  # (2 - 1) / 0.5 = 2 > 1.645
        (1.2, 0.5, "undecided"),  # (2 - 1.2) / 0.5 = 1.6 < 1.645
        (-2.8, 0.5, "undecided"),  # (2.8 - 2) / 0.5 = 1.6
        (-2.9, 0.5, "different"),  # (2.9 - 2) / 0.5 = 1.8
        (0.0, 2.0, "undecided"),  # margins one standard error away show nothing
        (0.5, 0.0, "equivalent"),
        (3.0, 0.0, "different"),
    ],
)
def test_equivalence_by_hand(value: float, se: float, verdict: str):
    assert equivalence(of(value, se), 2.0).verdict == verdict


def test_p_values_of_equivalence_by_hand():
    found = equivalence(of(1.0, 0.5), 2.0)
    assert found.p_equivalent == pytest.approx(stats.norm.cdf((1 - 2) / 0.5), rel=1e-4)
    # As far out as 1 either way, were the truth 2: below by 1 / 0.5 (nearly sure), or below -1, 3 / 0.5 off.
    assert found.p_different == pytest.approx(1 - stats.norm.cdf(-2) + stats.norm.cdf(-6), rel=1e-4)
    assert equivalence(of(-1.0, 0.5), 2.0) == found
    with pytest.raises(ValueError, match="must be above 0"):
        equivalence(of(1.0, 0.5), 0.0)


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1: 0.04 0.06 0.06 0.04, and never less than the one before.
    assert holm([0.03, 0.01, math.nan, 0.04, 0.02]) == pytest.approx(
        [0.06, 0.04, math.nan, 0.06, 0.06], nan_ok=True
    )
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_rejects_by_the_step_down_definition():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(8) ** 4
        rejected = np.zeros(8, dtype=bool)
        for rank, at in enumerate(np.argsort(p)):
            if p[at] >= 0.05 / (8 - rank):
                break
            rejected[at] = True
        np.testing.assert_array_equal(np.array(holm(p.tolist())) < 0.05, rejected)


@pytest.mark.parametrize("one_sided", [True, False])
def test_pairs_to_show_have_the_power_they_promise(one_sided: bool):
    n = pairs_to_show(0.5, 3.0, one_sided=one_sided)
    z = stats.norm.ppf(0.95 if one_sided else 0.975)

    def power(pairs: float) -> float:
        return float(stats.norm.sf(z - 0.5 * math.sqrt(pairs) / 3.0))

    assert power(n - 1) < 0.8 <= power(n)
    assert pairs_to_show(-0.5, 3.0, one_sided=one_sided) == n


@pytest.mark.parametrize("true", [0.0, 0.7, -1.5])
def test_pairs_to_equate_have_the_power_they_promise(true: float):
    n = pairs_to_equate(true, 2.0, 9.0)

    def power(pairs: float) -> float:
        se = 9.0 / math.sqrt(pairs)
        ends = [(bound - true) / se for bound in (-2 + 1.6449 * se, 2 - 1.6449 * se)]
        return float(np.diff(stats.norm.cdf(ends))[0])

    assert power(0.995 * n) < 0.8 < power(1.005 * n)


def test_what_no_number_of_pairs_can_show():
    assert pairs_to_show(0.0, 3.0) == math.inf
    assert pairs_to_equate(2.0, 2.0, 3.0) == math.inf
    assert math.isnan(pairs_to_show(math.nan, 3.0))
    assert math.isnan(pairs_to_equate(0.0, 2.0, math.nan))
    assert pairs_to_equate(1.0, 2.0, 0.0) == pairs_to_show(1.0, 0.0) == 2
