"""Bootstrap intervals of a difference of means."""

import numpy as np

from plateau_lens.numerics.intervals import mean_difference


def test_estimate_is_the_difference_and_lies_inside():
    random = np.random.default_rng(0)
    a, b = random.normal(10, 3, 80), random.normal(12, 3, 80)
    for paired in (False, True):
        found = mean_difference(a, b, paired=paired, seed=1)
        assert np.isclose(found.estimate, b.mean() - a.mean())
        assert found.low < found.estimate < found.high
        assert found == mean_difference(a, b, paired=paired, seed=1)


def test_width_is_that_of_the_normal_approximation():
    random = np.random.default_rng(2)
    a, b = random.normal(0, 1, 400), random.normal(0, 1, 400)
    found = mean_difference(a, b, paired=False, seed=0)
    # 2 * 1.96 * sqrt(1/400 + 1/400) = 0.277
    assert 0.24 < found.high - found.low < 0.32


def test_pairing_takes_out_what_pairs_share():
    random = np.random.default_rng(3)
    shared = random.normal(0, 10, 100)
    a, b = shared + random.normal(0, 1, 100), shared + random.normal(1, 1, 100)
    paired, unpaired = (mean_difference(a, b, paired=p, seed=0) for p in (True, False))
    assert paired.high - paired.low < 0.3 * (unpaired.high - unpaired.low)


def test_undefined_values_are_left_out_and_too_few_are_undefined():
    a, b = np.array([1.0, np.nan, 3.0, 5.0]), np.array([2.0, 4.0, 4.0, 6.0])
    assert mean_difference(a, b, paired=True, seed=0).estimate == 1.0
    assert np.isnan(mean_difference(a[:2], b[:2], paired=True, seed=0)).all()


def test_a_constant_difference_has_an_interval_of_no_width():
    a = np.arange(5.0)
    assert mean_difference(a, a + 2, paired=True, seed=0) == (2.0, 2.0, 2.0)
