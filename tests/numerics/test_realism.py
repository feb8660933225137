"""The realism score: its ends, its undefined case, and that its interval covers the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.excess import excess
from plateau_lens.numerics.intervals import Estimate, ratio_interval
from plateau_lens.numerics.realism import another_sample, realism
from plateau_lens.numerics.survival import Distance, Survival, kaplan_meier, ks, wasserstein, whole_steps

DISTANCES = pytest.mark.parametrize("distance", [ks, wasserstein])


def columns(*values: np.ndarray, seed: int = 0, n_resamples: int = 500) -> list[Survival]:
    pairs = PairBootstrap(len(values[0]), seed=seed, n_resamples=n_resamples)
    none = np.zeros(len(values[0]), dtype=bool)
    return [kaplan_meier(pairs, each.round().clip(1, 100), none, grid=whole_steps(100)) for each in values]


def scored(kind: Survival, random: Survival, reference: Survival, distance: Distance) -> Estimate:
    return realism(*(excess(each, reference, distance) for each in (kind, random)))


def steps(rng: np.random.Generator, n: int, *means: float, shared: float = 0.0) -> list[np.ndarray]:
    """Columns of spread 14, each of which shares a part of its spread with the others."""
    base = rng.normal(size=n)
    return [m + 14 * (shared * base + math.sqrt(1 - shared**2) * rng.normal(size=n)) for m in means]


@DISTANCES
def test_random_has_none_and_the_reference_all(distance) -> None:
    reference, random = columns(*steps(np.random.default_rng(0), 300, 45, 60))
    assert scored(random, random, reference, distance) == pytest.approx((0, 0, 0), abs=1e-9)
    assert scored(reference, random, reference, distance) == pytest.approx((1, 1, 1), abs=1e-9)


@DISTANCES
def test_another_sample_of_the_reference_has_one_on_average(distance) -> None:
    found = [
        scored(kind, random, reference, distance).value
        for seed in range(60)
        for reference, random, kind in [
            columns(*steps(np.random.default_rng(seed), 200, 45, 60, 45), n_resamples=60)
        ]
    ]
    assert np.mean(found) == pytest.approx(1, abs=3 * np.std(found) / math.sqrt(60) + 0.02)


@DISTANCES
def test_farther_than_random_is_below_zero(distance) -> None:
    reference, random, far = columns(*steps(np.random.default_rng(0), 400, 40, 50, 65))
    found = scored(far, random, reference, distance)
    assert found.value < found.high < 0


@DISTANCES
def test_without_a_distance_of_random_there_is_no_scale(distance) -> None:
    reference, random, kind = columns(*steps(np.random.default_rng(1), 200, 45, 45, 60))
    assert np.isnan(scored(kind, random, reference, distance)).all()
    (one, other) = columns(*(np.array([v]) for v in (40.0, 60.0)))
    assert np.isnan(scored(one, other, one, distance)).all()


def test_random_that_is_hardly_apart_has_no_scale_in_hardly_any_run() -> None:
    # A truth of about one standard error: two of them would let one run in six have a realism, and a wrong one.
    found = [
        scored(kind, random, reference, wasserstein).value
        for seed in range(60)
        for reference, random, kind in [
            columns(*steps(np.random.default_rng(seed), 100, 45, 47, 60), n_resamples=60)
        ]
    ]
    assert np.isnan(found).mean() > 0.95


def test_the_score_by_hand() -> None:
    # Constant columns have no noise: distances 10 and 40 steps, so that a quarter of random's is left.
    reference, kind, random = columns(*(np.full(20, v) for v in (20.0, 30.0, 60.0)))
    assert scored(kind, random, reference, wasserstein) == pytest.approx((0.75, 0.75, 0.75))
    # Of KS both are 1: nothing is left of the way.
    assert scored(kind, random, reference, ks) == pytest.approx((0, 0, 0))


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_the_interval_covers_the_truth(shared: float) -> None:
    # Normal columns one shifted by 6 and one by 12: half of random's shift is left.
    covered: list[bool] = []
    for seed in range(150):
        columns_ = steps(np.random.default_rng(seed), 250, 40, 52, 46, shared=shared)
        reference, random, kind = columns(*columns_, seed=seed, n_resamples=200)
        found = scored(kind, random, reference, wasserstein)
        covered.append(found.low <= 0.5 <= found.high)
    # 95 %, less what chance takes once in ten thousand times.
    assert sum(covered) >= stats.binom.ppf(1e-4, 150, 0.95)


@DISTANCES
def test_the_distance_of_another_sample_is_what_samples_show(distance) -> None:
    rng = np.random.default_rng(0)
    (reference,) = columns(*steps(rng, 200, 45))
    expected = another_sample(reference, distance)
    pairs = [columns(*steps(rng, 200, 45, 45), n_resamples=1) for _ in range(200)]
    shown = np.array([distance(a, b)[0] for a, b in pairs])
    assert expected.mean() == pytest.approx(shown.mean(), rel=0.12)
    assert np.quantile(expected, 0.95) == pytest.approx(np.quantile(shown, 0.95), rel=0.2)


def test_fiellers_interval_solves_its_equation() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=4000)
    top, bottom = 3 + shared + 0.3 * rng.normal(size=4000), 6 + shared
    top[0], bottom[0] = 3, 6
    found = ratio_interval(top, bottom, 50)
    assert found.value == 0.5
    for end in (found.low, found.high):
        off = top - end * bottom
        assert abs(off[0]) == pytest.approx(stats.t.ppf(0.975, 49) * off[1:].std(ddof=1), rel=1e-6)


def test_a_ratio_to_what_may_be_nothing_is_undefined() -> None:
    rng = np.random.default_rng(0)
    bottom = np.concatenate([[1.0], 1 + rng.normal(size=500)])
    assert np.isnan(ratio_interval(np.ones(501), bottom, 50)).all()
    assert not np.isnan(ratio_interval(np.ones(501), bottom + 9, 50)).any()
