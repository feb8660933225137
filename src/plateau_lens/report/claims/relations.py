"""What a sentence may say of several numbers, as numbers that are above 0 where it is right."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, pairwise

from plateau_lens.report.claims.quantity import Product, Quantity, Range, Sum

ALIKE = 0.15
"""Kinds are alike where they differ by less than this share of what the paper's kinds range over.

Half way between what the paper calls alike and what it does not: of the range of the notebooks' medians of AP (16
around model-generated, 9 random, 8 structured, 6 baseline), structured and random are 10 % apart, structured and
baseline 20 %.
"""


def above(one: Quantity, *others: Quantity) -> tuple[Quantity, ...]:
    """One number is larger than each of the others."""
    return tuple(one - other for other in others)


def below(one: Quantity, *others: Quantity) -> tuple[Quantity, ...]:
    """One number is smaller than each of the others."""
    return tuple(other - one for other in others)


def ascending(*numbers: Quantity) -> tuple[Quantity, ...]:
    """Each number is larger than the one before it."""
    return tuple(after - before for before, after in pairwise(numbers))


def alike(
    one: Quantity, other: Quantity, among: Iterable[Quantity], share: float = ALIKE
) -> tuple[Quantity, ...]:
    """Two numbers differ by less than a share of the range of several, whose uncertainty counts as well.

    ``share * range - (one - other)`` and ``share * range + (one - other)``: both above 0, the two one-sided tests of
    Schuirmann (J. Pharmacokin. Biopharm. 15, 1987) with a margin that is measured.
    """
    margin = Sum(((share, Range(tuple(among))),))
    gap = one - other
    return Sum((*margin.terms, (-1.0, gap))), Sum((*margin.terms, (1.0, gap)))


def same_order(some: Iterable[Quantity], others: Iterable[Quantity]) -> tuple[Quantity, ...]:
    """Two numbers of each kind put every two kinds into the same order: the products of the gaps are above 0."""
    pairs = zip(combinations(tuple(some), 2), combinations(tuple(others), 2), strict=True)
    return tuple(Product(b - a, d - c) for (a, b), (c, d) in pairs)
