"""Step statistics against values derived by hand and against plain loops written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plateau_lens._errors import ConfigError
from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.activation_plateau_of_distance import ActivationPlateauOfDistance
from plateau_lens.steps.activation_plateau_of_norm import ActivationPlateauOfNorm
from plateau_lens.steps.chord_area import ChordArea
from plateau_lens.steps.max_slope import MaxSlope
from plateau_lens.steps.non_linearity import NonLinearity
from plateau_lens.steps.non_linearity_of_value import NonLinearityOfValue
from plateau_lens.steps.registry import Automatic, Curves, StepValues

NAN = math.nan


def max_slope_step(d: np.ndarray, last: np.ndarray, *, min_slope: float) -> StepValues:
    return MaxSlope(min_slope={"l2": min_slope}).of(Curves(d, last))


def activation_plateau_step(d: np.ndarray, last: np.ndarray, *, threshold: float) -> StepValues:
    return ActivationPlateau(threshold=threshold).of(Curves(d, last))


def chord_area_step(d: np.ndarray, last: np.ndarray) -> StepValues:
    return ChordArea().of(Curves(d, last))


def non_linearity_step(d: np.ndarray, last: np.ndarray) -> StepValues:
    return NonLinearityOfValue().of(Curves(d, last))


def slope_step(d: np.ndarray, last: np.ndarray) -> StepValues:
    return NonLinearity().of(Curves(d, last))


def ms(
    curve: list[float] | np.ndarray, last: int | None = None, *, min_slope: float = 0.0
) -> tuple[float, bool]:
    return _one(max_slope_step(*_curve(curve, last), min_slope=min_slope))


def ap(curve: list[float] | np.ndarray, last: int | None = None, *, threshold: float) -> tuple[float, bool]:
    return _one(activation_plateau_step(*_curve(curve, last), threshold=float(threshold)))


def auc(curve: list[float] | np.ndarray, last: int | None = None) -> tuple[float, bool]:
    return _one(chord_area_step(*_curve(curve, last)))


def nl(curve: list[float] | np.ndarray, last: int | None = None) -> tuple[float, bool]:
    return _one(non_linearity_step(*_curve(curve, last)))


def slope_nl(curve: list[float] | np.ndarray, last: int | None = None) -> tuple[float, bool]:
    return _one(slope_step(*_curve(curve, last)))


def _curve(curve: list[float] | np.ndarray, last: int | None) -> tuple[np.ndarray, np.ndarray]:
    d = np.asarray(curve, dtype=np.float64)[None]
    return d, np.array([d.shape[1] - 1 if last is None else last])


def _one(values: StepValues) -> tuple[float, bool]:
    return float(values.value[0]), bool(values.censored[0])


def undefined(found: tuple[float, bool]) -> bool:
    return math.isnan(found[0]) and found[1]


def unknown(found: tuple[float, bool]) -> bool:
    return math.isnan(found[0]) and not found[1]


class TestMaxSlope:
    def test_hand_derived(self):
        # Slopes 1, 2, 7, 3, 1: the third, from step 2 to step 3, is the steepest; it is reported as 3.
        assert ms([0, 1, 3, 10, 13, 14]) == (3.0, False)

    def test_a_cliff_is_where_we_put_it(self):
        for at in range(1, 20):
            assert ms(np.where(np.arange(21) >= at, 5.0, 0.0)) == (float(at), False)

    def test_the_first_step_counts(self):
        assert ms([0, 9, 10, 11]) == (1.0, False)

    def test_the_earliest_of_equal_slopes(self):
        assert ms([0, 1, 4, 5, 8, 9]) == (2.0, False)

    def test_steepest_at_the_last_usable_step_is_censored_there(self):
        assert ms([0, 1, 2, 3, 10]) == (4.0, True)
        # The same curve cut at its target one step earlier: slopes 1, 1, 1; the earliest is not the last.
        assert ms([0, 1, 2, 3, 10], 3) == (1.0, False)

    def test_points_behind_the_target_are_not_looked_at(self):
        assert ms([0, 1, 3, 4, 100, 200], 3) == (2.0, False)
        assert ms([0, 1, 3, 4, NAN, math.inf], 3) == (2.0, False)

    @pytest.mark.parametrize("min_slope", [0.02, 0.5])
    def test_slopes_that_do_not_exceed_the_least_are_no_blow_up(self, min_slope: float):
        # The blow-up, if there is one, lies behind the last step that was looked at: that is the bound.
        assert ms(np.arange(11) * min_slope, min_slope=min_slope * 1.0001) == (10.0, True)
        assert ms(np.where(np.arange(11) >= 4, min_slope, 0.0), min_slope=min_slope) == (10.0, True)
        assert ms(np.where(np.arange(11) >= 4, min_slope * 1.01, 0.0), min_slope=min_slope) == (4.0, False)

    @pytest.mark.parametrize("curve", [[0.0] * 8, [5.0, 4.0, 3.0, 1.0]])
    def test_flat_and_falling_curves_are_censored_at_their_end(self, curve: list[float]):
        assert ms(curve) == (len(curve) - 1.0, True)
        assert ms(curve, 2) == (2.0, True)

    @pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
    def test_a_usable_point_that_is_not_finite_makes_it_undefined(self, bad: float):
        assert unknown(ms([0, 1, bad, 10, 11, 12]))

    def test_a_path_without_a_step_is_censored_at_0(self):
        assert ms([0, 1, 2], 0) == (0.0, True)

    @pytest.mark.parametrize("scale", [1e-6, 1e-3, 7.0, 1e5])
    def test_scaling_response_and_least_slope_changes_nothing(self, scale: float):
        d, last = random_curves(40, seed=1)
        one = max_slope_step(d, last, min_slope=0.05)
        other = max_slope_step(d * scale, last, min_slope=0.05 * scale)
        np.testing.assert_array_equal(one.value, other.value)
        np.testing.assert_array_equal(one.censored, other.censored)


class TestActivationPlateau:
    def test_hand_derived(self):
        # 20 is first reached at step 3 (>=, not >).
        assert ap([0, 5, 19.999, 20, 50, 10], threshold=20) == (3.0, False)

    def test_never_reached_is_a_lower_bound(self):
        assert ap(np.zeros(101), threshold=20) == (100.0, True)
        assert ap([0, 1, 2, 3, 50, 60], 3, threshold=20) == (3.0, True)

    def test_reached_at_the_last_step_is_seen(self):
        assert ap([0, 1, 2, 30], threshold=20) == (3.0, False)

    def test_a_later_fall_does_not_matter(self):
        assert ap([0, 25, 1, 1, 1], threshold=20) == (1.0, False)

    def test_broken(self):
        assert unknown(ap([0, 25, NAN, 30], threshold=20))
        assert ap([0, 25, 30, NAN], 2, threshold=20) == (1.0, False)

    def test_one_point(self):
        assert ap([0, 9, 9], 0, threshold=5) == (0.0, True)

    def test_an_automatic_threshold_that_is_not_a_number_is_an_error(self):
        for end in (NAN, 0.0):
            run = Automatic(lambda _, end=end: end, {"l2": "auto"}, {})
            with pytest.raises(ConfigError, match=r"set statistics\.ap\.threshold"):
                ActivationPlateau().resolve(run)
        run = Automatic(lambda _: NAN, {"l2": "auto"}, {})
        with pytest.raises(ConfigError, match=r"set statistics\.ms\.min_slope\.l2"):
            MaxSlope().resolve(run)


class TestActivationPlateauOfShare:
    def test_hand_derived(self):
        # Ends of 100 and 10: a tenth is 10, first reached at step 2, and 1, first reached at step 1.
        d = np.array([[0, 9, 10, 60, 100], [0, 1, 2, 3, 10.0]])
        found = ActivationPlateau(threshold="share").of(Curves(d))
        assert (found.value.tolist(), found.flags.tolist()) == ([2, 1], [False, False])

    def test_the_end_is_the_last_usable_step(self):
        # Half of the 8 at step 3, not of the 100 behind it.
        found = ActivationPlateau(threshold="share", share=0.5).of(
            Curves(np.array([[0, 1, 4, 8, 100.0]]), np.array([3]))
        )
        assert found.value == [2]

    def test_a_response_of_another_size_has_the_same_plateau(self):
        d = np.abs(np.random.default_rng(0).normal(size=(50, 20))).cumsum(axis=1) - 0.0
        d[:, 0] = 0
        made, size = ActivationPlateau(threshold="share", share=0.3), np.geomspace(0.01, 100, 50)[:, None]
        np.testing.assert_array_equal(made.of(Curves(d)).value, made.of(Curves(size * d)).value)

    def test_a_curve_that_ends_at_0_has_none(self):
        found = ActivationPlateau(threshold="share").of(Curves(np.array([[0, 5, 0.0], [0, NAN, 1]])))
        assert np.isnan(found.value).all()
        assert not found.flags.any()


class TestUnits:
    CURVES = Curves(
        np.array([[0, 1, 30, 40.0], [0, 1, 2, 3], [0, 30, 40, 50]]),
        step_length=np.array([0.5, 2.0, 1.0]),
        base_norm=np.array([4.0, 10.0, 0.0]),
        distance=np.array([2.0, 12.0, 0.0]),
    )

    def test_hand_derived(self):
        # AP steps 2, 3 (censored) and 1: 2 * 0.5 = 1 of a norm of 4 and a distance of 2; 3 * 2 = 6 of 10 and of 12.
        of_norm = ActivationPlateauOfNorm(threshold=20).of(self.CURVES)
        of_distance = ActivationPlateauOfDistance(threshold=20).of(self.CURVES)
        np.testing.assert_array_equal(of_norm.value, [0.25, 0.6, NAN])
        np.testing.assert_array_equal(of_distance.value, [0.5, 0.5, NAN])
        assert of_norm.flags.tolist() == of_distance.flags.tolist() == [False, True, False]

    def test_a_length_that_is_not_known_is_an_error(self):
        d = self.CURVES.d
        with pytest.raises(ConfigError, match="curves have no base_norm"):
            ActivationPlateauOfNorm(threshold=20).of(Curves(d, step_length=np.ones(3)))
        with pytest.raises(ConfigError, match="curves have no step_length"):
            ActivationPlateauOfDistance(threshold=20).of(Curves(d, distance=np.ones(3)))


class TestChordArea:
    def test_hand_derived(self):
        # d = 0 0 0 1 2 2 2 2: area to n (trapezoid) and the triangle n * d / 2:
        #   n=3: 0.5, 1.5 -> 3.0; n=4: 2, 4 -> 2.0; n=5: 4, 5 -> 1.25; later less. The largest is at 3.
        assert auc([0, 0, 0, 1, 2, 2, 2, 2]) == (3.0, False)

    def test_hand_derived_behind_a_line(self):
        # d = 0 1 2 3 4 5 6 12 13 14: on the line d = n the ratio is 1 to n = 6 (area 18, triangle 18);
        #   n=7: area 18 + 9 = 27, triangle 42 -> 1.556; n=8: 39.5, 52 -> 1.316; n=9: 53, 63 -> 1.189.
        assert auc([0, 1, 2, 3, 4, 5, 6, 12, 13, 14]) == (7.0, False)

    @pytest.mark.parametrize("slope", [1e-6, 0.1, 3.0, 1e6])
    def test_a_straight_line_is_early(self, slope: float):
        assert auc(np.arange(101) * slope) == (1.0, False)

    def test_a_curve_that_only_flattens_is_early(self):
        assert auc(np.sqrt(np.arange(101))) == (1.0, False)
        assert auc(np.log1p(np.arange(101))) == (1.0, False)

    def test_a_curve_without_area_has_none(self):
        assert undefined(auc(np.zeros(101)))
        assert undefined(auc(np.arange(20) ** 3.0, 0))

    def test_ever_more_convex_is_censored_at_the_end(self):
        # d = n^2: triangle n^3/2, area about n^3/3 + n/6: the ratio grows with n to 1.5.
        assert auc(np.arange(11) ** 2.0) == (10.0, True)
        assert auc(np.arange(20) ** 3.0, 5) == (5.0, True)

    def test_broken(self):
        assert unknown(auc([0, 0, 0, NAN, 0, 1, 2, 2, 2, 2]))
        assert auc([0, 0, 0, 0, 0, 1, 2, 2, NAN, 2], 7) == (5.0, False)


class TestNonLinearity:
    def test_hand_derived(self):
        # Slopes 1, 1.05, 0.95, 1.2: the fourth departs from the first by 20 %.
        assert slope_nl([0, 1, 2.05, 3.0, 4.2, 5.2]) == (4.0, False)

    def test_falling_slopes_count_too(self):
        assert slope_nl([0, 1, 2, 2.85, 3.85]) == (3.0, False)

    def test_a_straight_line_never_departs(self):
        assert slope_nl(np.arange(101) * 0.3) == (100.0, True)

    def test_a_flat_beginning_and_a_path_of_one_step_are_undefined(self):
        assert undefined(slope_nl([0, 0, 1, 2]))
        assert undefined(slope_nl([0, 1, 5, 9], 1))

    def test_broken(self):
        assert unknown(slope_nl([0, 1, NAN, 9]))


class TestNonLinearityOfValue:
    def test_hand_derived(self):
        # The line through (0, 0) and (9, 9) is d = n. 11.9 at n = 10 departs by 19 %, 13.3 at n = 11 by 20.9 %.
        assert nl([*range(10), 11.9, 13.3, 12.0]) == (11.0, False)

    def test_falling_below_the_line_counts_too(self):
        assert nl([*range(10), 9.0, 8.7, 8.0]) == (11.0, False)  # 8.7 against 11: 20.9 % below

    def test_the_line_has_an_intercept(self):
        # Through (0, 2) and (9, 11): d = 2 + n. At n = 10 the line is 12; 14.3 departs by 19.2 %, 14.5 by 20.8 %.
        assert nl([*(2.0 + n for n in range(10)), 14.3, 13.0]) == (11.0, True)
        assert nl([*(2.0 + n for n in range(10)), 14.5, 13.0]) == (10.0, False)

    def test_a_straight_line_never_leaves(self):
        assert nl(np.arange(101) * 0.3) == (100.0, True)

    def test_what_the_first_nine_steps_do_between_does_not_matter(self):
        assert nl([0, 50, 50, 50, 50, 50, 50, 50, 50, 9, 10, 11]) == (11.0, True)

    def test_a_flat_beginning_is_undefined(self):
        assert undefined(nl([0.0] * 10 + [5.0, 6.0, 7.0]))

    @pytest.mark.parametrize("last", [0, 5, 9])
    def test_a_path_that_ends_at_the_anchor_is_undefined(self, last: int):
        assert undefined(nl(np.arange(20) ** 2.0, last))

    def test_fewer_points_than_the_anchor(self):
        assert undefined(nl([0, 1, 2, 3]))

    def test_broken(self):
        assert unknown(nl([*range(10), NAN, 50.0]))


# -- plain loops, written from the definitions ------------------------------------------------------------


def broken(d: list[float], last: int) -> bool:
    return any(not math.isfinite(d[n]) for n in range(last + 1))


def naive_ms(d: list[float], last: int, min_slope: float) -> tuple[float, bool]:
    if broken(d, last):
        return NAN, False
    best, steepest = 0, -math.inf
    for n in range(1, last + 1):
        if d[n] - d[n - 1] > steepest:
            best, steepest = n, d[n] - d[n - 1]
    return (float(best), best == last) if steepest > min_slope else (float(last), True)


def naive_ap(d: list[float], last: int, threshold: float) -> tuple[float, bool]:
    if broken(d, last):
        return NAN, False
    for n in range(last + 1):
        if d[n] >= threshold:
            return float(n), False
    return float(last), True


def naive_auc(d: list[float], last: int) -> tuple[float, bool]:
    if broken(d, last):
        return NAN, False
    best, largest = 0, -math.inf
    for n in range(1, last + 1):
        area = sum((d[m - 1] + d[m]) / 2 for m in range(1, n + 1))
        if area > 0 and n * d[n] / 2 / area > largest + 1e-9 * abs(largest if math.isfinite(largest) else 0):
            best, largest = n, n * d[n] / 2 / area
    return (float(best), best == last) if math.isfinite(largest) else (NAN, True)


def naive_slope(d: list[float], last: int) -> tuple[float, bool]:
    if broken(d, last):
        return NAN, False
    if last < 2 or d[1] == d[0]:
        return NAN, True
    for n in range(2, last + 1):
        if abs((d[n] - d[n - 1]) - (d[1] - d[0])) > 0.1 * abs(d[1] - d[0]):
            return float(n), False
    return float(last), True


def naive_nl(d: list[float], last: int) -> tuple[float, bool]:
    if broken(d, last):
        return NAN, False
    if last <= 9 or d[9] == d[0]:
        return NAN, True
    for n in range(10, last + 1):
        line = d[0] + (d[9] - d[0]) * n / 9
        if abs(d[n] - line) > 0.2 * abs(line):
            return float(n), False
    return float(last), True


def random_curves(n: int, *, seed: int, n_steps: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Plateau and blow-up shapes, noise, falling stretches, non-finite points, and paths of every length."""
    rng = np.random.default_rng(seed)
    steps = np.arange(n_steps + 1)
    rise = 1 / (1 + np.exp(-(steps - rng.uniform(2, n_steps, (n, 1))) / rng.uniform(0.3, 6, (n, 1))))
    d = rng.uniform(0.1, 30, (n, 1)) * (rise - rise[:, :1]) + rng.uniform(0, 0.3, (n, 1)) * steps
    noisy = np.cumsum(rng.normal(0.2, 0.6, d.shape), axis=1)
    d = np.where(rng.random((n, 1)) < 0.3, np.abs(noisy), d)
    d[:, 0] = 0
    bad = rng.random(n) < 0.15
    d[bad, rng.integers(1, n_steps + 1, n)[bad]] = rng.choice([NAN, math.inf], bad.sum())
    last = rng.integers(0, n_steps + 1, n)
    last[rng.random(n) < 0.4] = n_steps
    return d, last


@pytest.mark.parametrize("seed", range(5))
def test_every_statistic_equals_its_definition_in_plain_loops(seed: int):
    d, last = random_curves(120, seed=seed)
    found = {
        "ms": max_slope_step(d, last, min_slope=0.4),
        "ap": activation_plateau_step(d, last, threshold=6.0),
        "auc": chord_area_step(d, last),
        "nl-value": non_linearity_step(d, last),
        "nl": slope_step(d, last),
    }
    naive = {
        "ms": [naive_ms(row, n, 0.4) for row, n in zip(d.tolist(), last.tolist(), strict=True)],
        "ap": [naive_ap(row, n, 6.0) for row, n in zip(d.tolist(), last.tolist(), strict=True)],
        "auc": [naive_auc(row, n) for row, n in zip(d.tolist(), last.tolist(), strict=True)],
        "nl-value": [naive_nl(row, n) for row, n in zip(d.tolist(), last.tolist(), strict=True)],
        "nl": [naive_slope(row, n) for row, n in zip(d.tolist(), last.tolist(), strict=True)],
    }
    for name, values in found.items():
        wanted = np.array(naive[name])
        np.testing.assert_array_equal(values.value, wanted[:, 0], err_msg=name)
        np.testing.assert_array_equal(values.censored, wanted[:, 1].astype(bool), err_msg=name)
        assert 0 < values.censored.sum() < len(d), f"{name}: the curves must hold both cases"


@pytest.mark.parametrize("seed", range(3))
def test_curves_do_not_influence_one_another(seed: int):
    d, last = random_curves(30, seed=100 + seed)
    order = np.random.default_rng(seed).permutation(len(d))
    for statistic in (
        lambda d, last: max_slope_step(d, last, min_slope=0.4),
        lambda d, last: activation_plateau_step(d, last, threshold=6.0),
        chord_area_step,
        non_linearity_step,
        slope_step,
    ):
        together, shuffled = statistic(d, last), statistic(d[order], last[order])
        np.testing.assert_array_equal(together.value[order], shuffled.value)
        np.testing.assert_array_equal(together.censored[order], shuffled.censored)


@pytest.mark.parametrize("scale", [1e-5, 3.0, 1e4])
def test_ratios_do_not_depend_on_the_unit_of_the_response(scale: float):
    d, last = random_curves(60, seed=9)
    for statistic in (chord_area_step, non_linearity_step, slope_step):
        np.testing.assert_array_equal(statistic(d, last).value, statistic(d * scale, last).value)
    np.testing.assert_array_equal(
        activation_plateau_step(d, last, threshold=6.0).value,
        activation_plateau_step(d * scale, last, threshold=6.0 * scale).value,
    )


def test_what_lies_behind_the_last_usable_step_never_counts():
    d, last = random_curves(60, seed=10)
    other = np.where(np.arange(d.shape[1]) <= last[:, None], d, 1e9)
    for statistic in (
        lambda d: max_slope_step(d, last, min_slope=0.4),
        lambda d: activation_plateau_step(d, last, threshold=6.0),
        lambda d: chord_area_step(d, last),
        lambda d: non_linearity_step(d, last),
    ):
        np.testing.assert_array_equal(statistic(d).value, statistic(other).value)
        np.testing.assert_array_equal(statistic(d).censored, statistic(other).censored)


def test_float32_curves_are_summed_in_float64():
    d, last = random_curves(60, seed=12)
    single = d.astype(np.float32)
    for statistic in (chord_area_step, non_linearity_step, slope_step):
        np.testing.assert_array_equal(
            statistic(single, last).value, statistic(single.astype(np.float64), last).value
        )


def test_no_curves_at_all():
    d, last = np.zeros((0, 11)), np.zeros(0, dtype=np.int64)
    for values in (
        max_slope_step(d, last, min_slope=0.1),
        activation_plateau_step(d, last, threshold=1.0),
        chord_area_step(d, last),
        non_linearity_step(d, last),
    ):
        assert values.value.shape == values.censored.shape == (0,)
