"""Survival corrected by the lengths of paths, against plain loops, closed forms and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.intervals import percentile_interval
from plateau_lens.numerics.lengths import slope, survival
from plateau_lens.numerics.survival import kaplan_meier, whole_steps

GRID = whole_steps(100)


def dependent(
    rng: np.random.Generator, n: int, *, correlation: float, mean: float = 60, length: float = 75
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps of spread 14, lengths of spread 12: the step, the value that is seen, the length."""
    shared, own = rng.normal(size=(2, n))
    step = mean + 14 * (correlation * shared + np.sqrt(1 - correlation**2) * own)
    path = np.clip(np.floor(length + 12 * shared), 10, 100)
    step = np.maximum(step.round(), 1)
    return step, np.minimum(step, path), path


def test_without_lengths_it_is_kaplan_meier() -> None:
    rng = np.random.default_rng(0)
    pairs = PairBootstrap(80, seed=0, n_resamples=50)
    step, value, path = dependent(rng, 80, correlation=0.5)
    plain = kaplan_meier(pairs, value, step > path, grid=GRID)
    for length in (None, np.full(80, 70.0)):
        found = survival(pairs, value, step > path, grid=GRID, length=length)
        np.testing.assert_array_equal(found.beyond, plain.beyond)


def test_where_all_looking_stops_at_the_end_it_is_the_plain_share() -> None:
    rng = np.random.default_rng(1)
    pairs = PairBootstrap(60, seed=0, n_resamples=30)
    step = rng.normal(80, 20, 60).round().clip(1)
    value = np.minimum(step, 100)
    found = survival(pairs, value, step > 100, grid=GRID, length=rng.normal(70, 9, 60))
    np.testing.assert_allclose(found.beyond[:, 0], (step[:, None] > GRID).mean(axis=0), atol=1e-12)


def test_with_no_dependence_it_is_kaplan_meier_up_to_where_many_were_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Efron: the product is what comes of filling in every censored pair from the survival itself.
    monkeypatch.setattr("plateau_lens.numerics.lengths.slope", lambda *_: 0.0)
    rng = np.random.default_rng(2)
    pairs = PairBootstrap(300, seed=0, n_resamples=20)
    step, value, path = dependent(rng, 300, correlation=0.0)
    plain = kaplan_meier(pairs, value, step > path, grid=GRID)
    found = survival(pairs, value, step > path, grid=GRID, length=path)
    until = int(np.sort(value)[-10])
    np.testing.assert_allclose(found.beyond[:until], plain.beyond[:until], atol=1e-6)


def test_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Events at 1..10 on paths of 11, one pair censored at 4 on a path of 4, slope 1: residuals are the steps less
    # lengths, -10..-1 and 0. Less the mean length, 115 / 11 = 10.45, shifts are 0.55 -> 1 and -6.45 -> -6.
    # Residuals: 0..9 seen, and 10 censored: behind the last event, S_r(10) = 1/11. Nothing is known behind it, and
    # fewer than ten were followed so far that a tail would be put there before 0: the pair has none before step 4 + ...
    monkeypatch.setattr("plateau_lens.numerics.lengths.slope", lambda *_: 1.0)
    monkeypatch.setattr("plateau_lens.numerics.lengths._with_tail", lambda found, _: found)
    value = np.array([*range(1, 11), 4.0])
    length = np.array([*[11.0] * 10, 4.0])
    pairs = PairBootstrap(11, seed=0, n_resamples=5)
    found = survival(pairs, value, np.arange(11) == 10, grid=whole_steps(12), length=length)
    # The open pair never has its event within the grid: 10 events of 11, one a step.
    wanted = [1, *(1 - np.arange(1, 11) / 11), 1 / 11, 1 / 11]
    np.testing.assert_allclose(found.beyond[:, 0], wanted, atol=1e-6)


def test_the_slope_is_least_squares_where_nothing_is_censored() -> None:
    rng = np.random.default_rng(3)
    length = rng.normal(70, 10, 200)
    value = 20 + 0.6 * length + rng.normal(0, 5, 200)
    wanted = stats.linregress(length, value).slope
    assert slope(value, np.zeros(200, dtype=bool), length) == pytest.approx(wanted)


def test_the_slope_of_censored_steps_is_that_of_the_steps() -> None:
    # Steps rise by 0.55 * 14 / 12 = 0.642 a step of length; of the values seen, which end at the length, by more.
    step, value, path = dependent(np.random.default_rng(4), 20_000, correlation=0.55)
    assert slope(value, step > path, path) == pytest.approx(0.642, abs=0.03)
    _, same, path = dependent(np.random.default_rng(4), 20_000, correlation=0.0)
    assert abs(slope(same, same >= path, path)) < 0.05


def test_means_of_dependent_lengths_are_covered() -> None:
    n = 400
    rng = np.random.default_rng(n)
    true = np.minimum(dependent(rng, 400_000, correlation=0.55, mean=66)[0], 100).mean()
    plain, corrected = 0, 0
    for sim in range(100):
        step, value, path = dependent(rng, n, correlation=0.55, mean=66)
        pairs = PairBootstrap(n, seed=sim % 10, n_resamples=150)
        for length in (None, path):
            found = survival(pairs, value, step > path, grid=GRID, length=length)
            _, low, high = percentile_interval(found.mean(), found.n)
            plain += length is None and low <= true <= high
            corrected += length is not None and low <= true <= high
    # A quarter is censored; intervals that took lengths to say nothing miss more than one time in five.
    assert corrected >= stats.binom.ppf(0.001, 100, 0.95)
    assert plain <= 80


def test_undefined_values_and_empty_draws() -> None:
    rng = np.random.default_rng(5)
    step, value, path = dependent(rng, 40, correlation=0.5)
    value[:5] = np.nan
    pairs = PairBootstrap(40, seed=0, n_resamples=50)
    found = survival(pairs, value, (step > path) | np.isnan(value), grid=GRID, length=path)
    assert found.n == 35
    assert np.isfinite(found.beyond).all()
    assert (np.diff(found.beyond, axis=0) <= 1e-9).all()
    assert ((found.beyond >= 0) & (found.beyond <= 1)).all()
