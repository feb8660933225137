"""Gaps taken apart: data made with known slopes and levels, plain least squares as the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.decomposition import decompose

SLOPES, LEVELS = np.array([2.0, -0.5]), np.array([10.0, 10.0, 7.0])


def made(pairs: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three kinds. Kind 1 has its covariates elsewhere and no level of its own; kind 2 a level of its own alone."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, pairs)) * np.array([3.0, 10.0])[:, None, None]
    x[:, 1] += np.array([4.0, -6.0])[:, None]
    y = LEVELS[:, None] + np.einsum("c,ckp->kp", SLOPES, x) + noise * rng.standard_normal((3, pairs))
    return y, x


def test_without_noise_everything_is_known():
    y, x = made(40, noise=0)
    found = decompose(PairBootstrap(40, seed=0, n_resamples=30), y, x)
    np.testing.assert_allclose(found.slope, np.broadcast_to(SLOPES[:, None], (2, 31)), rtol=1e-9)
    np.testing.assert_allclose(found.rest - np.array([0, 0, -3.0])[:, None], 0, atol=1e-9)
    apart = x.mean(axis=2) - x.mean(axis=2)[:, :1]
    np.testing.assert_allclose(found.part[:, :, 0], (SLOPES[:, None] * apart).T, atol=1e-9)
    np.testing.assert_allclose(found.explained, 1, rtol=1e-9)


def test_it_adds_up_in_every_draw_and_the_reference_has_no_gap():
    y, x = made(40, noise=3)
    found = decompose(PairBootstrap(40, seed=0, n_resamples=30), y, x, reference=1)
    np.testing.assert_allclose(found.part.sum(axis=1) + found.rest, found.gap, atol=1e-9)
    assert (found.gap[1] == 0).all()
    assert (found.part[1] == 0).all()


def test_plain_least_squares_with_a_column_a_kind():
    y, x = made(30, noise=5)
    y[0, 3], x[1, 2, 7], x[0, 1, 9] = np.nan, np.nan, np.inf
    pairs = PairBootstrap(30, seed=1, n_resamples=10)
    found = decompose(pairs, y, x)
    for draw, counts in enumerate(pairs.counts.astype(int)):
        rows = [
            (k, i)
            for k in range(3)
            for i in np.repeat(np.arange(30), counts)
            if np.isfinite([y[k, i], *x[:, k, i]]).all()
        ]
        design = np.array([[*x[:, k, i], *(k == each for each in range(3))] for k, i in rows], dtype=float)
        outcome = np.array([y[k, i] for k, i in rows])
        solved, residual, *_ = np.linalg.lstsq(design, outcome)
        np.testing.assert_allclose(found.slope[:, draw], solved[:2], rtol=1e-8)
        np.testing.assert_allclose(found.rest[:, draw], solved[2:] - solved[2], atol=1e-8)
        kind = np.array([k for k, _ in rows])
        means = np.array([outcome[kind == k].mean() for k in range(3)])
        np.testing.assert_allclose(found.gap[:, draw], means - means[0], atol=1e-9)
        within = ((outcome - means[kind]) ** 2).sum()
        assert found.explained[draw] == pytest.approx(1 - residual[0] / within)


def test_intervals_cover_what_is_true():
    # The rest of kind 2 is -3. Of 80 runs 95 % should have it in their 95 % interval: 76, standard deviation 2.
    covered = 0
    for seed in range(80):
        y, x = made(60, noise=4, seed=seed)
        rest = decompose(PairBootstrap(60, seed=seed, n_resamples=200), y, x).rest[2, 1:]
        low, high = np.quantile(rest, [0.025, 0.975])
        covered += low <= -3 <= high
    assert 68 <= covered <= 80


def test_what_does_not_vary_within_kinds_cannot_be_told_from_the_kind():
    y, x = made(40, noise=0)
    x[1] = np.array([5.0, 6.0, 7.0])[:, None]
    found = decompose(PairBootstrap(40, seed=0, n_resamples=5), y, x)
    assert np.isnan(found.part[:, 1]).all()
    assert np.isfinite(found.part[:, 0]).all()
    np.testing.assert_allclose(found.part[:, 0] + found.rest, found.gap, atol=1e-9)


def test_collinear_covariates_are_undefined():
    y, x = made(40, noise=1)
    x[1] = 3 * x[0] + np.array([0.0, 1.0, 2.0])[:, None]
    found = decompose(PairBootstrap(40, seed=0, n_resamples=5), y, x)
    assert np.isnan(found.part).all()
    assert np.isnan(found.rest).all()
    assert np.isfinite(found.gap).all()


def test_a_kind_without_values_has_no_gap_and_changes_nothing():
    y, x = made(40, noise=1)
    whole = decompose(PairBootstrap(40, seed=0, n_resamples=5), y[:2], x[:, :2])
    y[2] = np.nan
    found = decompose(PairBootstrap(40, seed=0, n_resamples=5), y, x)
    assert np.isnan(found.gap[2]).all()
    np.testing.assert_allclose(found.part[:2], whole.part, rtol=1e-9)
