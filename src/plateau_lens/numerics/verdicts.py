"""A claim about differences, tested: it holds, it fails, or the pairs do not tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plateau_lens.numerics.comparisons import (
    LEVEL,
    Difference,
    equivalence,
    holm,
    pairs_to_equate,
    pairs_to_show,
)

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """What a sample says of a claim that needs all of its differences."""

    differences: tuple[Difference, ...]
    """Each to be above 0, or, with a margin, to be 0."""
    margin: float | None = None
    """In the unit of the differences: what counts as 0."""

    @property
    def weakest(self) -> int:
        """Which difference supports the claim least."""
        return int(np.argmax([p for p, _ in self._tests()]))

    @property
    def p(self) -> float:
        """Of the claim: the largest of its parts', with no adjustment (an intersection-union test); NaN if one is.

        Of a part: one-sided; with a margin, of the two one-sided tests. Berger (1982); Schuirmann (1987).
        """
        return float(np.max([p for p, _ in self._tests()]))

    @property
    def p_opposite(self) -> float:
        """Of the opposite, for which that of one part is enough: the smallest, times the number of parts.

        The opposite of above 0 is below 0; that of 0, farther from it than the margin.
        """
        return float(np.minimum(1.0, len(self.differences) * np.min([p for _, p in self._tests()])))

    @property
    def n(self) -> int:
        """Pairs with a defined value, of the difference with fewest."""
        return min(each.n for each in self.differences)

    def pairs_to_decide(self, level_holds: float, level_fails: float) -> float:
        """Pairs that decide it with 80 % power, one way or the other, were the true differences the ones found.

        All that is needed for it to hold, or, where some difference is on the other side, for the first of those
        to show that it fails. A whole number; inf where a difference is exactly where the two sides meet.
        """
        sides = [self._margin_left(each) for each in self.differences]
        if any(math.isnan(side) for side in sides):
            return math.nan
        if min(sides) < 0:
            level = level_fails / len(sides)
            return min(
                pairs_to_show(side, each.sd_per_pair, level=level)
                for side, each in zip(sides, self.differences, strict=True)
                if side < 0
            )
        if self.margin is None:
            return max(pairs_to_show(e.value, e.sd_per_pair, level=level_holds) for e in self.differences)
        return max(
            pairs_to_equate(e.value, self.margin, e.sd_per_pair, level=level_holds) for e in self.differences
        )

    def _tests(self) -> list[tuple[float, float]]:
        """Of each part: p that it is as claimed, and that it is the opposite."""
        if self.margin is None:
            return [(each.p_value("greater"), each.p_value("less")) for each in self.differences]
        found = [equivalence(each, self.margin) for each in self.differences]
        return [(each.p_equivalent, each.p_different) for each in found]

    def _margin_left(self, found: Difference) -> float:
        """How far a difference is on the claim's side; below 0 on the other."""
        return found.value if self.margin is None else self.margin - abs(found.value)


@dataclass(frozen=True)
class Judgement:
    """One claim among others."""

    verdict: Verdict
    p_holm: float
    """Adjusted over the claims judged together, as is the other."""
    p_opposite_holm: float
    pairs: float
    """That would decide it; NaN where it is decided."""


def judge(claims: Sequence[Evidence]) -> list[Judgement]:
    """Judge claims together, so that 19 of 20 such tables call none true, or false, that is not.

    A claim holds where its p, adjusted by Holm over all, is below 5 %; it fails where that of its opposite is. Of two
    opposites no more than one can be. The pairs that would decide one of those left are planned for the level that
    Holm leaves it: 5 % divided by how many have not been shown.
    """
    holds, fails = (holm(p) for p in ([each.p for each in claims], [each.p_opposite for each in claims]))
    levels = [LEVEL / max(1, sum(p >= LEVEL for p in each)) for each in (holds, fails)]
    found: list[Judgement] = []
    for each, p, opposite in zip(claims, holds, fails, strict=True):
        verdict: Verdict = "holds" if p < LEVEL else "fails" if opposite < LEVEL else "undecided"
        pairs = each.pairs_to_decide(*levels) if verdict == "undecided" else math.nan
        found.append(Judgement(verdict, p, opposite, pairs))
    return found
