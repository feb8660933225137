"""The energy distance: known answers, a slow oracle, and that it is unbiased where there is no distance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import energy_distance as scipy_energy_distance

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.energy import energy_distance


def sample(pairs: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((pairs, d))


def test_by_hand():
    # x = 0, 2 and y = 1, 5 of two pairs. Across, of different pairs: |0 - 5| and |2 - 1|, mean 3. Among x 2, among y 4.
    # 2 * 3 - 2 - 4 = 0.
    pairs = PairBootstrap(2, seed=0, n_resamples=0)
    assert energy_distance(pairs, np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])).tolist() == [0.0]


def test_a_plain_loop_in_every_draw():
    x, y, pairs = sample(7, 3), sample(7, 3, seed=1) + 0.5, PairBootstrap(7, seed=2, n_resamples=20)
    found = energy_distance(pairs, x, y)
    for draw, counts in enumerate(pairs.counts.astype(int)):
        rows = np.repeat(np.arange(7), counts)
        across, among_x, among_y, n = 0.0, 0.0, 0.0, 0
        for i, j in itertools.product(rows, rows):
            if i != j:
                across += np.linalg.norm(x[i] - y[j])
                among_x += np.linalg.norm(x[i] - x[j])
                among_y += np.linalg.norm(y[i] - y[j])
                n += 1
        assert found[draw] == pytest.approx((2 * across - among_x - among_y) / n, rel=1e-9)


def test_of_many_pairs_it_is_scipys_squared():
    # scipy's is the square root, of one dimension, with the zeros of the diagonal: no difference for many pairs.
    x, y = sample(1000, 1), sample(1000, 1, seed=1) + 2
    found = energy_distance(PairBootstrap(1000, seed=0, n_resamples=0), x, y)[0]
    assert found == pytest.approx(scipy_energy_distance(x[:, 0], y[:, 0]) ** 2, rel=1e-2)


def test_two_points_far_apart():
    # All of x at one point and all of y at another, 3 apart: 2 * 3 - 0 - 0.
    found = energy_distance(PairBootstrap(4, seed=0), np.zeros((4, 2)), np.tile([3.0, 0.0], (4, 1)))
    assert np.nanmin(found) == np.nanmax(found) == 6.0


def test_no_distance_is_0_on_average_and_has_both_signs():
    values = [
        energy_distance(PairBootstrap(20, seed=0, n_resamples=0), sample(20, 4, s), sample(20, 4, s + 999))[0]
        for s in range(400)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert 0.2 < np.mean(np.array(values) > 0) < 0.8


def test_the_same_sample_is_not_closer_than_another():
    # x and y of one pair are equal. Of different pairs they are as far as any: nothing is below what chance makes.
    x = sample(50, 4)
    found = energy_distance(PairBootstrap(50, seed=0, n_resamples=0), x, x)[0]
    assert found == pytest.approx(0, abs=1e-12)


def test_what_is_not_finite_is_left_out():
    x, y, pairs = sample(6, 2), sample(6, 2, seed=1), PairBootstrap(6, seed=0, n_resamples=0)
    x[2, 0], y[4, 1] = np.nan, np.inf
    kept = [0, 1, 3, 5]
    wanted = energy_distance(PairBootstrap(4, seed=0, n_resamples=0), x[kept], y[kept])
    assert energy_distance(pairs, x, y) == pytest.approx(wanted)


def test_one_pair_has_none():
    assert np.isnan(
        energy_distance(PairBootstrap(1, seed=0, n_resamples=0), sample(1, 2), sample(1, 2))
    ).all()
