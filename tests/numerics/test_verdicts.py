"""Verdicts on sentences of several parts, each of several differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from plateau_lens.numerics.comparisons import Difference, pairs_to_equate, pairs_to_show
from plateau_lens.numerics.verdicts import Evidence, judge, pairs_to_decide


def of(value: float, se: float = 1.0, n: int = 1000) -> Difference:
    return Difference(value, value - 1.96 * se, value + 1.96 * se, se, n)


def part(*values: float, se: float = 1.0, n: int = 1000) -> Evidence:
    return Evidence(tuple(of(value, se, n) for value in values))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([[4]], "holds"),
        ([[-4]], "fails"),
        ([[1]], "undecided"),
        ([[4, 5, 6]], "holds"),
        # One of several that is not shown leaves a part open; one that is reversed refutes it.
        ([[4, 5, 1]], "undecided"),
        ([[4, 5, -4]], "fails"),
        ([[math.nan]], "undecided"),
        # So do parts a sentence.
        ([[4], [5]], "holds"),
        ([[4], [1]], "undecided"),
        ([[4], [-4]], "fails"),
        ([[1], [-4]], "fails"),
        ([[4], [math.nan]], "undecided"),
        ([[-4], [math.nan]], "fails"),
    ],
)
def test_each_verdict(parts: list[list[float]], expected: str) -> None:
    (found,) = judge([[part(*values) for values in parts]])
    assert found.verdict == expected


def test_a_part_of_several_differences_is_as_strong_as_its_weakest() -> None:
    evidence = part(4, 2, 3)
    assert evidence.weakest == 1
    assert evidence.p == of(2).p_value("greater")
    # One reversed difference is enough to refute it, so that three looks are paid for.
    assert part(4, -2.5, 3).p_opposite == pytest.approx(3 * of(-2.5).p_value("less"))


def test_the_smallest_n_counts() -> None:
    assert Evidence((of(1, n=100), of(1, n=98))).n == 98


def test_both_directions_of_all_parts_are_one_family() -> None:
    # One part is two tests: 2 p. At 1.8 standard errors p is 0.036, so that two families would say that it holds.
    (alone,) = judge([[part(1.8)]])
    assert alone.parts[0].p_holm == pytest.approx(2 * part(1.8).p)
    assert alone.verdict == "undecided"
    assert judge([[part(2.5)]])[0].verdict == "holds"
    crowd = judge([[part(2.5)], [part(0.0), part(0.0)], [part(0.0)]])
    assert crowd[0].verdict == "undecided"
    assert crowd[0].parts[0].p_holm == pytest.approx(8 * part(2.5).p)
    # A part that nothing is known of takes nothing from the others.
    assert judge([[part(2.5)], [part(math.nan)]])[0].verdict == "holds"


def test_no_more_than_one_table_of_twenty_says_anything_false() -> None:
    """Every true difference is 0: whatever is said, holds or fails, is false. Two families would err in 10 %."""
    rng = np.random.default_rng(0)
    sims, false = 600, 0
    for _ in range(sims):
        drawn = rng.standard_normal((3, 2, 1))
        rulings = judge([[part(*values) for values in sentence] for sentence in drawn])
        said = {each.verdict for ruling in rulings for each in (ruling, *ruling.parts)}
        false += said != {"undecided"}
    low, high = stats.binom.ppf([0.0005, 0.9995], sims, 0.05) / sims
    assert high < stats.binom.ppf(0.1, sims, 0.1) / sims, "this test could not tell 10 % from 5 %"
    assert low <= false / sims <= high


def test_pairs_that_would_decide() -> None:
    found = judge([[part(v)] for v in (9, -9, 1.0, -1.0)])
    assert [math.isnan(each.pairs) for each in found] == [True, True, False, False]
    # Of eight tests two are shown, so that six share the 5 %.
    expected = pairs_to_show(1.0, of(1).sd_per_pair, level=0.05 / 6)
    assert [each.pairs for each in found[2:]] == [expected, expected]
    assert [each.parts[0].pairs for each in found[2:]] == [expected, expected]


def power(n: float, values: list[float], sd: float, level: float, sims: int = 20_000) -> float:
    """The share of samples in which every one of some independent differences is shown, by a plain simulation."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((sims, len(values))) + np.sqrt(n) * np.array(values) / sd
    return float((z > stats.norm.ppf(1 - level)).all(axis=1).mean())


def test_pairs_are_of_the_whole_sentence() -> None:
    """Of three equal parts, pairs for one alone would decide all three in 0.8^3 = 51 % of runs."""
    parts = [part(1.0), part(1.0), part(1.0)]
    sd, level = of(1).sd_per_pair, 0.01
    alone = pairs_to_decide(parts[:1], level)
    assert alone == pairs_to_show(1.0, sd, level=level)
    assert power(alone, [1.0] * 3, sd, level) == pytest.approx(0.512, abs=0.02)
    needed = pairs_to_decide(parts, level)
    assert 0.79 < power(needed, [1.0] * 3, sd, level) < 0.83
    # One that is shown with ease costs nothing; what is one part or three makes no difference.
    assert pairs_to_decide([part(1.0), part(50.0)], level) == alone
    assert pairs_to_decide([part(1.0, 1.0, 1.0)], level) == needed


def test_pairs_of_two_sides_of_a_margin_are_those_of_an_equivalence_test() -> None:
    found, margin = of(0.5), 2.0
    sides = part(margin - 0.5, margin + 0.5)
    assert pairs_to_decide([sides], 0.05) == pairs_to_equate(0.5, margin, found.sd_per_pair)


def test_one_reversed_difference_is_enough_to_decide() -> None:
    sd = of(1).sd_per_pair
    assert pairs_to_decide([part(1.0, -1.0, -2.0)], 0.05) == pairs_to_show(2.0, sd, level=0.05 / 3)
    assert pairs_to_decide([part(1.0), part(-2.0)], 0.05) == pairs_to_show(2.0, sd, level=0.05)


def test_degenerate_differences() -> None:
    assert pairs_to_decide([part(0.0)], 0.05) == math.inf
    # Rounding leaves a difference of 1e-17 where two shares are equal; no number of pairs decides that either.
    assert pairs_to_decide([part(1e-17)], 0.05) == pairs_to_decide([part(-1e-17)], 0.05) == math.inf
    assert pairs_to_decide([part(1e-17), part(1e-17)], 0.05) == math.inf
    assert math.isnan(pairs_to_decide([part(1.0), part(math.nan)], 0.05))
    assert pairs_to_decide([part(1.0, se=0.0)], 0.05) == 2


@pytest.mark.parametrize("values", [(-3.0,), (-1.7, 0.2), (0.3, 2.0), (1.6,), (2.2, 2.2)])
def test_what_is_undecided_needs_more_pairs_than_it_has(values: tuple[float, ...]) -> None:
    for found in judge([[part(value) for value in values], [part(*values)]]):
        if found.verdict == "undecided":
            assert found.pairs > 1000
        else:
            assert math.isnan(found.pairs)
