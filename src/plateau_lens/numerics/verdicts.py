"""Sentences of several parts, tested together: each holds, it fails, or the pairs do not tell.

A part says of some numbers that they are above 0. A sentence holds if all of its parts hold, and fails if one of them
does. So what is said of a sentence follows from what is said of its parts, and no error is added on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plateau_lens.numerics.comparisons import LEVEL, POWER, Difference, holm, pairs_to_show

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """What a sample says of one part, which needs all of its differences."""

    differences: tuple[Difference, ...]
    """Each to be above 0."""

    @property
    def weakest(self) -> int:
        """Which difference supports the part least; the first undefined one, if there is one."""
        return int(np.argmax([each.p_value("greater") for each in self.differences]))

    @property
    def p(self) -> float:
        """That all are above 0: the largest one-sided p, with no adjustment; NaN if one is.

        An intersection-union test (Berger, Technometrics 24, 1982).
        """
        return float(np.max([each.p_value("greater") for each in self.differences]))

    @property
    def p_opposite(self) -> float:
        """That one is below 0, which is enough to refute: the smallest p, times the number of differences."""
        smallest = np.min([each.p_value("less") for each in self.differences])
        return float(np.minimum(1.0, len(self.differences) * smallest))

    @property
    def n(self) -> int:
        """Pairs with a defined value, of the difference with fewest."""
        return min(each.n for each in self.differences)


@dataclass(frozen=True)
class Judgement:
    """One part among others."""

    verdict: Verdict
    p_holm: float
    """Adjusted over both p of all parts that are judged together, as is the other."""
    p_opposite_holm: float
    pairs: float
    """That would decide it alone; NaN where it is decided."""


@dataclass(frozen=True)
class Ruling:
    """One sentence among others."""

    verdict: Verdict
    parts: tuple[Judgement, ...]
    pairs: float
    """That would decide the sentence; NaN where it is decided."""


def judge(sentences: Sequence[Sequence[Evidence]]) -> list[Ruling]:
    """Judge sentences together, so that 19 of 20 such tables say nothing false: neither *holds* nor *fails*.

    A part holds where its p is below 5 %, and fails where that of its opposite is, both adjusted by Holm as one family:
    two p of each part of every sentence. A sentence holds if all of its parts do, and fails if one of them does, so
    that a false verdict on a sentence needs one on a part.

    Args:
        sentences: of each its parts, one or more.
    """
    parts = [part for sentence in sentences for part in sentence]
    adjusted = holm([each.p for each in parts] + [each.p_opposite for each in parts])
    level = LEVEL / max(1, sum(p >= LEVEL for p in adjusted))
    judged = iter(
        _judgement(part, p, opposite, level)
        for part, p, opposite in zip(parts, adjusted[: len(parts)], adjusted[len(parts) :], strict=True)
    )
    return [_ruling(sentence, tuple(next(judged) for _ in sentence), level) for sentence in sentences]


UNREACHABLE = 1e9
"""More pairs than any run has: what needs more is not decided by pairs."""


def pairs_to_decide(parts: Sequence[Evidence], level: float) -> float:
    """Pairs that decide a sentence with 80 % probability or more, were the true differences the ones found.

    For it to hold, all differences of all parts have to be shown: the chances of missing any of them must not add up to
    more than 20 %. Where a difference is below 0, one such is enough to show that it fails.

    Args:
        parts: of the sentence.
        level: at which a part is tested.

    Returns:
        A whole number >= 2; inf above `UNREACHABLE`, as for a difference of 0; NaN if one is undefined.
    """
    every = [each for part in parts for each in part.differences]
    if any(math.isnan(each.value) or math.isnan(each.se) for each in every):
        return math.nan
    refuting = [
        pairs_to_show(each.value, each.sd_per_pair, level=level / len(part.differences))
        for part in parts
        for each in part.differences
        if each.value < 0
    ]
    found = min(refuting) if refuting else _pairs_to_show_all(every, level)
    return found if found <= UNREACHABLE else math.inf


def _pairs_to_show_all(every: Sequence[Difference], level: float) -> float:
    """The fewest pairs with which the chances of missing a difference add up to no more than ``1 - POWER``."""
    from scipy.special import ndtr, ndtri

    if any(each.value == 0 for each in every):
        return math.inf
    sizes = np.array([each.value / each.sd_per_pair for each in every if each.sd_per_pair > 0])
    if not sizes.size:
        return 2.0
    z = float(ndtri(1 - level))

    def pairs(power: float) -> float:
        """That show the smallest with this power."""
        return max(2.0, float(np.ceil(((z + ndtri(power)) / sizes.min()) ** 2)))

    # All chances of missing one are the smallest's, or as large as the smallest's.
    few, many = pairs(POWER), pairs(1 - (1 - POWER) / sizes.size)
    if many > UNREACHABLE:
        return math.inf
    while few < many:
        middle = math.floor((few + many) / 2)
        missed = (1 - ndtr(np.sqrt(middle) * sizes - z)).sum()
        few, many = (few, middle) if missed <= 1 - POWER else (middle + 1, many)
    return few


def _judgement(part: Evidence, p: float, opposite: float, level: float) -> Judgement:
    verdict: Verdict = "holds" if p < LEVEL else "fails" if opposite < LEVEL else "undecided"
    pairs = pairs_to_decide([part], level) if verdict == "undecided" else math.nan
    return Judgement(verdict, p, opposite, pairs)


def _ruling(sentence: Sequence[Evidence], parts: tuple[Judgement, ...], level: float) -> Ruling:
    found = {each.verdict for each in parts}
    verdict: Verdict = "fails" if "fails" in found else "holds" if found == {"holds"} else "undecided"
    return Ruling(verdict, parts, pairs_to_decide(sentence, level) if verdict == "undecided" else math.nan)
