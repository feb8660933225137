"""Verdicts on claims of one difference, of several, and of sameness."""

from __future__ import annotations

import math

import pytest

from plateau_lens.numerics.comparisons import Difference, equivalence, pairs_to_equate, pairs_to_show
from plateau_lens.numerics.verdicts import Evidence, judge


def of(value: float, se: float = 1.0, n: int = 1000) -> Difference:
    return Difference(value, value - 1.96 * se, value + 1.96 * se, se, n)


def verdict(*values: float, margin: float | None = None) -> str:
    (found,) = judge([Evidence(tuple(map(of, values)), margin)])
    return found.verdict


@pytest.mark.parametrize(
    ("values", "margin", "expected"),
    [
        ([4], None, "holds"),
        ([-4], None, "fails"),
        ([1], None, "undecided"),
        ([4, 5, 6], None, "holds"),
        # One of several that is not shown leaves the claim open; one that is reversed refutes it.
        ([4, 5, 1], None, "undecided"),
        ([4, 5, -4], None, "fails"),
        ([0.5], 4, "holds"),
        ([-0.5, 0.5], 4, "holds"),
        ([7], 4, "fails"),
        ([-7, 0], 4, "fails"),
        # Different from 0 beyond doubt, but not shown to be on either side of the margin.
        ([3.5], 4, "undecided"),
        ([4.5], 4, "undecided"),
        ([math.nan], None, "undecided"),
    ],
)
def test_each_verdict(values: list[float], margin: float | None, expected: str) -> None:
    assert verdict(*values, margin=margin) == expected


def test_a_claim_of_several_differences_is_as_strong_as_its_weakest() -> None:
    evidence = Evidence((of(4), of(2), of(3)))
    assert evidence.weakest == 1
    assert evidence.p == of(2).p_value("greater")
    # One reversed difference is enough to refute it, so that three looks are paid for.
    refuted = Evidence((of(4), of(-2.5), of(3)))
    assert refuted.p_opposite == pytest.approx(3 * of(-2.5).p_value("less"))
    same = Evidence((of(1), of(-3)), margin=4)
    assert (same.weakest, same.p) == (1, equivalence(of(-3), 4).p_equivalent)
    apart = Evidence((of(1), of(-6)), margin=4)
    assert apart.p_opposite == pytest.approx(2 * equivalence(of(-6), 4).p_different)


def test_the_smallest_n_counts() -> None:
    assert Evidence((of(1, n=100), of(1, n=98))).n == 98


def test_verdicts_are_adjusted_over_all_claims() -> None:
    two = Evidence((of(2),))
    assert judge([two])[0].verdict == "holds"
    (alone, *_) = judge([two, *[Evidence((of(0.0),))] * 5])
    assert alone.verdict == "undecided"
    assert alone.p_holm == pytest.approx(6 * two.p)
    # A claim that nothing is known of takes nothing from the others.
    assert judge([two, Evidence((of(math.nan),))])[0].verdict == "holds"


def test_pairs_that_would_decide() -> None:
    found = judge([Evidence((of(v),)) for v in (9, -9, 1.0, -1.0)])
    assert [math.isnan(each.pairs) for each in found] == [True, True, False, False]
    # One of four holds, so that three share the 5 % that a claim would have to be shown at; so for failing.
    expected = pairs_to_show(1.0, of(1).sd_per_pair, level=0.05 / 3)
    assert [each.pairs for each in found[2:]] == [expected, expected]


@pytest.mark.parametrize("value", [-3.0, -1.7, -0.2, 0.3, 1.6, 2.5, 5.0])
@pytest.mark.parametrize("margin", [None, 2.0, 3.0])
def test_an_undecided_claim_needs_more_pairs_than_it_has(value: float, margin: float | None) -> None:
    claims = [Evidence((of(value), of(value / 2)), margin), Evidence((of(value),), margin)]
    for evidence, found in zip(claims, judge(claims), strict=True):
        if found.verdict == "undecided":
            assert found.pairs > evidence.n
        else:
            assert math.isnan(found.pairs)


def test_pairs_are_those_of_the_part_that_needs_most_or_that_refutes_first() -> None:
    se = 2.0
    parts = tuple(of(v, se) for v in (1.0, 2.0))
    sd = parts[0].sd_per_pair
    assert judge([Evidence(parts)])[0].pairs == pairs_to_show(1.0, sd)
    reversed_ = tuple(of(v, se) for v in (1.0, -1.0, -2.0))
    assert judge([Evidence(reversed_)])[0].pairs == pairs_to_show(2.0, sd, level=0.05 / 3)
    same = tuple(of(v, se) for v in (1.0, -2.0))
    assert judge([Evidence(same, margin=4.0)])[0].pairs == pairs_to_equate(2.0, 4.0, sd)
    apart = tuple(of(v, se) for v in (1.0, -6.0))
    assert judge([Evidence(apart, margin=4.0)])[0].pairs == pairs_to_show(2.0, sd, level=0.05 / 2)
    assert judge([Evidence((of(0.0),))])[0].pairs == math.inf
