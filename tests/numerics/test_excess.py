"""Distances beyond noise: their ends, a value by hand, and that no distance is none on average."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.comparisons import compare_distances, difference, equivalence
from plateau_lens.numerics.excess import excess
from plateau_lens.numerics.survival import Survival, kaplan_meier, ks, wasserstein, whole_steps

DISTANCES = pytest.mark.parametrize("distance", [ks, wasserstein])


def columns(*values: np.ndarray, seed: int = 0, n_resamples: int = 200) -> list[Survival]:
    pairs = PairBootstrap(len(values[0]), seed=seed, n_resamples=n_resamples)
    none = np.zeros(len(values[0]), dtype=bool)
    return [kaplan_meier(pairs, each.round().clip(1, 100), none, grid=whole_steps(100)) for each in values]


@DISTANCES
def test_the_reference_itself_has_none(distance) -> None:
    (reference,) = columns(np.random.default_rng(0).normal(50, 10, 80))
    found = excess(reference, reference, distance)
    assert (found.signed == 0).all()
    assert found.value == 0


def test_constant_columns_have_no_noise() -> None:
    reference, far = columns(*(np.full(20, at) for at in (20.0, 30.0)))
    assert (excess(far, reference, wasserstein).signed == 10).all()
    assert (excess(far, reference, ks).signed == 1).all()


def test_by_hand() -> None:
    # Three draws of two points, one step apart, all behind 0: S_a = 0.5, 0.9, 0.3 against S_b = 0.2 throughout.
    # d = 0.3, 0.7, 0.1. Noise: |0.9 - 0.5| and |0.3 - 0.5|, 0.3 on average.
    # e^2 = 0.09 - 0.09 = 0; 0.49 - 2 * 0.09 = 0.31; 0.01 - 0.18 = -0.17.
    grid = np.array([0.0, 1.0])
    a, b = (Survival(np.array([beyond, [0.0] * 3]), 9, grid) for beyond in ([0.5, 0.9, 0.3], [0.2, 0.2, 0.2]))
    for distance in (ks, wasserstein):
        found = excess(a, b, distance)
        assert found.signed == pytest.approx([0, math.sqrt(0.31), -math.sqrt(0.17)], abs=1e-7)
        assert (found.value, found.n) == (pytest.approx(0, abs=1e-7), 9)


@DISTANCES
def test_undefined_is_undefined(distance) -> None:
    reference, nothing = columns(np.full(5, 20.0), np.full(5, np.nan))
    found = excess(nothing, reference, distance)
    assert np.isnan(found.signed).all()
    assert math.isnan(found.value)


@DISTANCES
def test_where_there_is_no_distance_it_is_none_on_average(distance) -> None:
    rng = np.random.default_rng(0)
    squares, plain = [], []
    for _ in range(200):
        one, other = columns(*rng.normal(50, 10, (2, 100)), n_resamples=60)
        e = excess(one, other, distance).signed[0]
        squares.append(e * abs(e))
        plain.append(distance(one, other)[0] ** 2)
    # Of what the distances show, the noise of 200 runs leaves a small part.
    assert abs(np.mean(squares)) < 0.3 * np.mean(plain)


def test_sameness_is_not_found_at_the_margin_of_two_distances() -> None:
    # Means of 50, 50 and 52: the Wasserstein distances differ by 2, exactly the margin.
    rng = np.random.default_rng(5)
    found, before = [], []
    for _ in range(150):
        reference, near, far = columns(*(rng.normal(at, 10, 100) for at in (50, 50, 52)), n_resamples=150)
        found.append(equivalence(compare_distances(far, near, reference, wasserstein), 2.0).verdict)
        plain = wasserstein(far, reference) - wasserstein(near, reference)
        before.append(equivalence(difference(plain, 100), 2.0).verdict)
    # Distances as they are call a third of them equivalent.
    assert before.count("equivalent") > 30
    assert found.count("equivalent") <= stats.binom.ppf(0.999, 150, 0.05)


def test_the_difference_of_one_that_is_none_and_one_that_is_not_is_covered() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(150):
        reference, near, far = columns(*(rng.normal(at, 10, 100) for at in (50, 50, 53)), n_resamples=150)
        found = compare_distances(far, near, reference, wasserstein)
        covered += found.low <= 3 <= found.high
    assert covered >= stats.binom.ppf(0.001, 150, 0.95)
