"""Kaplan-Meier and what follows from it, against hand-derived values, plain loops, scipy and numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics import bootstrap
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.survival import (
    MOST_POINTS,
    Survival,
    grid_of,
    kaplan_meier,
    ks,
    wasserstein,
    whole_steps,
)

NAN = np.nan


@pytest.fixture(autouse=True, params=[bootstrap.BLOCK_ELEMENTS, 90], ids=["at once", "in blocks"])
def block_elements(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All draws in one block, or few of them."""
    monkeypatch.setattr(bootstrap, "BLOCK_ELEMENTS", request.param)


def sample(value, censored=None, *, n_steps: int = 100, resamples: int = 0) -> Survival:
    value = np.asarray(value, dtype=np.float64)
    flags = np.zeros(value.size, dtype=bool) if censored is None else np.asarray(censored, dtype=bool)
    return kaplan_meier(
        PairBootstrap(value.size, seed=0, n_resamples=resamples), value, flags, grid=whole_steps(n_steps)
    )


def test_survival_by_hand():
    # Events at 2 and 4, followed without one to 3: S falls to 2/3 at 2, then, with one pair left, to 0 at 4.
    found = sample([2, 3, 4], [False, True, False], n_steps=5)
    np.testing.assert_allclose(found.beyond[:, 0], [1, 1, 2 / 3, 2 / 3, 0, 0])
    # 1 + 1 + 2/3 + 2/3: the censored pair is neither dropped (mean 3) nor an event at 3 (mean 3).
    assert found.mean()[0] == pytest.approx(10 / 3)


def test_an_event_comes_before_a_censoring_at_the_same_step():
    found = sample([2, 2], [False, True], n_steps=3)
    np.testing.assert_allclose(found.beyond[:, 0], [1, 1, 0.5, 0.5])


def test_behind_the_last_step_followed_the_survival_is_held():
    found = sample([1, 2], [False, True], n_steps=4)
    np.testing.assert_allclose(found.beyond[:, 0], [1, 0.5, 0.5, 0.5, 0.5])
    assert found.mean()[0] == pytest.approx(1 + 3 * 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_survival_is_scipys(seed: int):
    rng = np.random.default_rng(seed)
    value, censored = rng.integers(0, 31, 80), rng.random(80) < 0.4
    found = sample(value, censored, n_steps=30).beyond[:, 0]
    theirs = stats.ecdf(stats.CensoredData.right_censored(value, censored)).sf
    np.testing.assert_allclose(found, theirs.evaluate(np.arange(31)), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_is_the_sample_of_its_pairs(seed: int):
    rng = np.random.default_rng(seed)
    value, censored = rng.integers(0, 31, 40).astype(float), rng.random(40) < 0.3
    value[::7] = NAN
    pairs = PairBootstrap(40, seed=seed, n_resamples=5)
    found = kaplan_meier(pairs, value, censored, grid=whole_steps(30))
    for draw in range(6):
        drawn = np.repeat(np.arange(40), pairs.counts[draw].astype(int))
        alone = sample(value[drawn], censored[drawn], n_steps=30)
        np.testing.assert_allclose(found.beyond[:, draw], alone.beyond[:, 0], atol=1e-12)
        assert found.quantile(0.5)[draw] == pytest.approx(alone.quantile(0.5)[0])


def test_censored_at_the_end_alone_gives_the_plain_numbers():
    rng = np.random.default_rng(0)
    a, b = (np.minimum(rng.normal(at, 20, 200).round(), 100).clip(1) for at in (70, 85))
    one, two = sample(a, a == 100), sample(b, b == 100)
    assert one.mean()[0] == pytest.approx(a.mean())
    assert one.sd() == pytest.approx(a.std(ddof=1))
    assert ks(one, two)[0] == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert wasserstein(one, two)[0] == pytest.approx(stats.wasserstein_distance(a, b))


def test_median_and_quartiles_by_hand():
    # Half of the pairs have had their event anywhere from 20.5 to 29.5: the middle. A quarter: from 10.5 to 19.5.
    found = sample([10, 20, 30, 40])
    assert [found.quantile(p)[0] for p in (0.25, 0.5, 0.75)] == pytest.approx([15, 25, 35])
    # One of four before 20, two at 20: half is reached halfway through the stretch from 19.5 to 20.5.
    assert sample([10, 20, 20, 30]).quantile(0.5)[0] == pytest.approx(20)
    # 3 of 5 at 7: half of 5 are 2.5 pairs, of which 1 lies before: 6.5 + 1.5 / 3.
    assert sample([3, 7, 7, 7, 9]).quantile(0.5)[0] == pytest.approx(7)
    assert sample([3, 4, 7, 7, 7]).quantile(0.5)[0] == pytest.approx(6.5 + 0.5 / 3)


def test_a_median_that_is_not_reached_is_infinite():
    found = sample([5, 100, 100], [False, True, True])
    assert found.quantile(0.5)[0] == np.inf
    assert found.quantile(0.25)[0] == pytest.approx(4.5 + 0.75)


def test_nothing_defined_is_nan_not_zero():
    found = sample([NAN, NAN], [True, True], resamples=3)
    assert found.n == 0
    assert np.isnan([*found.mean(), *found.quantile(0.5), found.sd()]).all()
    assert np.isnan(ks(found, sample([1, 2], resamples=3))).all()


def test_one_value_has_no_spread():
    assert np.isnan(sample([3]).sd())
    assert sample([3]).mean()[0] == 3


@pytest.mark.parametrize("value", [[-1.0, 1.0], [1.0, 101.0]])
def test_values_off_the_grid_are_refused(value: list[float]):
    with pytest.raises(ValueError, match="on the grid of 0 to 100"):
        sample(value)
    with pytest.raises(ValueError, match=r"steps must lie in 0\.\.99; found"):
        grid_of([np.array(value)], 99)


class TestGrids:
    def test_whole_steps_have_all_of_them(self):
        np.testing.assert_array_equal(grid_of([np.array([3.0, NAN]), np.array([7.0])], 10), np.arange(11))

    def test_other_values_have_their_own_points_and_the_ends_of_a_path(self):
        np.testing.assert_array_equal(grid_of([np.array([3.5, 7.0])], 10), [0, 3.5, 7, 10])
        np.testing.assert_array_equal(grid_of([np.array([-0.37, 12.5, 4.0])], None), [-0.37, 4, 12.5])

    def test_many_values_share_points(self):
        value = np.random.default_rng(0).normal(50, 7, 5000)
        grid = grid_of([value], None)
        assert len(grid) == MOST_POINTS
        found = on(value, np.zeros(5000, dtype=bool), grid)
        assert found.mean()[0] == pytest.approx(value.mean(), abs=0.01)
        assert found.sd() == pytest.approx(value.std(ddof=1), abs=0.01)
        assert found.quantile(0.5)[0] == pytest.approx(np.median(value), abs=0.1)

    def test_no_value_and_one_value_have_a_grid(self):
        assert len(grid_of([], None)) == len(grid_of([np.array([NAN])], None)) == 2
        np.testing.assert_array_equal(grid_of([np.array([2.5])], None), [2.5, 3.5])

    def test_hand_derived_in_another_unit(self):
        # -1, 2, 2, 5: mean 2, variance (9 + 0 + 0 + 9) / 3 = 6. The stretch of 2 is 0.5 to 3.5 and holds half of the
        # values, a quarter lies below: its middle, 2, is where half is reached.
        grid = np.array([-1.0, 2.0, 5.0])
        found = on(np.array([-1.0, 2.0, 2.0, 5.0]), np.zeros(4, dtype=bool), grid)
        assert found.mean()[0] == 2
        assert found.sd() == pytest.approx(6**0.5)
        assert found.quantile(0.5)[0] == 2

    def test_a_censored_value_counts_as_long_as_it_was_followed(self):
        # 0.5 is seen; 1.5 censored; 2.5 seen: S is 2/3 from 0.5 on, and 0 from 2.5 on: mean 0.5 + 2 * 2/3.
        found = on(np.array([0.5, 1.5, 2.5]), np.array([False, True, False]), np.array([0.5, 1.5, 2.5]))
        assert found.mean()[0] == pytest.approx(0.5 + 4 / 3)

    def test_distances_are_in_the_values_unit(self):
        one, other = np.array([0.25, 0.75]), np.array([1.25, 1.75])
        grid = grid_of([one, other], None)
        a, b = (on(each, np.zeros(2, dtype=bool), grid) for each in (one, other))
        assert wasserstein(a, b)[0] == pytest.approx(1.0)
        assert ks(a, b)[0] == 1

    def test_columns_on_different_grids_are_not_compared(self):
        a, b = (
            on(np.array([1.0, 2.0]), np.zeros(2, dtype=bool), grid)
            for grid in (np.arange(4.0), np.arange(5.0))
        )
        with pytest.raises(ValueError, match="different grids"):
            ks(a, b)


def on(value: np.ndarray, censored: np.ndarray, grid: np.ndarray) -> Survival:
    return kaplan_meier(PairBootstrap(value.size, seed=0, n_resamples=20), value, censored, grid=grid)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 values, 3 flags, 2 pairs"):
        kaplan_meier(PairBootstrap(2, seed=0), np.zeros(3), np.zeros(3, dtype=bool), grid=whole_steps(10))


def test_censoring_by_length_does_not_bias_the_mean():
    # Lengths apart from steps: the plain mean, a bound where censored, is far too low; the restricted one is not.
    rng = np.random.default_rng(1)
    steps, length = rng.normal(60, 15, 40_000).round().clip(1, 100), rng.integers(30, 101, 40_000)
    bound = np.minimum(steps, length)
    found = sample(bound, steps > length)
    assert abs(found.mean()[0] - np.minimum(steps, 100).mean()) < 0.3
    assert bound.mean() < steps.mean() - 5
