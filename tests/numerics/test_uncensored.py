"""Numbers of uncensored values, each draw against numpy and scipy on the pairs that it drew."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics import bootstrap, uncensored
from plateau_lens.numerics.bootstrap import PairBootstrap


@pytest.fixture(autouse=True, params=[bootstrap.BLOCK_ELEMENTS, 90], ids=["at once", "in blocks"])
def block_elements(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All draws in one block, or few of them."""
    monkeypatch.setattr(bootstrap, "BLOCK_ELEMENTS", request.param)


@pytest.mark.parametrize("round_to", [0, 6])
def test_a_draw_is_the_sample_of_its_pairs(round_to: int):
    rng = np.random.default_rng(round_to)
    a, b = rng.normal(0, 3, 40).round(round_to), rng.normal(1, 3, 40).round(round_to)
    a[:5] = np.nan
    pairs = PairBootstrap(40, seed=1, n_resamples=6)
    mean, median = uncensored.mean(pairs, a), uncensored.median(pairs, a)
    distance = uncensored.ks(pairs, a, b)
    for draw in range(7):
        drawn = np.repeat(np.arange(40), pairs.counts[draw].astype(int))
        mine, other = a[drawn][~np.isnan(a[drawn])], b[drawn]
        assert mean[draw] == pytest.approx(mine.mean())
        assert median[draw] == pytest.approx(np.median(mine))
        assert distance.draws[draw] == pytest.approx(stats.ks_2samp(mine, other).statistic, abs=1e-6)
    assert distance.noise[0] == 0
    assert (distance.noise[1:] > 0).all()


def test_noise_is_of_the_gap_less_the_samples():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 30), rng.normal(0.5, 1, 30)
    pairs = PairBootstrap(30, seed=0, n_resamples=4)
    grid = np.concatenate([a, b])

    def gap(draw: int) -> np.ndarray:
        drawn = np.repeat(np.arange(30), pairs.counts[draw].astype(int))
        return np.array([(a[drawn] <= x).mean() - (b[drawn] <= x).mean() for x in grid])

    wanted = [np.abs(gap(draw) - gap(0)).max() for draw in range(5)]
    np.testing.assert_allclose(uncensored.ks(pairs, a, b).noise, wanted, atol=1e-6)


def test_nothing_defined_is_nan():
    pairs, nothing = PairBootstrap(3, seed=0, n_resamples=2), np.full(3, np.nan)
    assert np.isnan(uncensored.mean(pairs, nothing)).all()
    assert np.isnan(uncensored.median(pairs, nothing)).all()
    assert np.isnan(uncensored.ks(pairs, nothing, np.zeros(3))).all()


def test_memory_is_a_blocks_whatever_the_draws(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "BLOCK_ELEMENTS", 100_000)
    pairs = PairBootstrap(20_000, seed=0, n_resamples=200)
    a, b = np.random.default_rng(0).normal(size=(2, 20_000))
    tracemalloc.start()
    try:
        uncensored.ks(pairs, a, b)
        uncensored.median(pairs, a)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All draws at once would be 16 MB as counts alone, and 32 MB where both columns have a value.
    assert peak < 10e6
