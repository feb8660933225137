"""Differences between kinds, tested: paired by the bootstrap, adjusted across a table, held against a margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics import intervals
from plateau_lens.numerics.excess import Excess, excess
from plateau_lens.numerics.survival import Distance, Survival

LEVEL = 0.05
POWER = 0.8
_ROUNDING = 1e-9
"""A standard error below this is none: means are sums of rounded products."""

Alternative = Literal["two-sided", "less", "greater"]


@dataclass(frozen=True)
class Difference:
    """A difference of two numbers, in their unit, with its 95 % interval ``value ± t se``.

    The standard error is that of the resamples, and t is Student's with n - 1 degrees of freedom. The interval leaves
    out 0 exactly where the two-sided p-value is below 5 %, and p-values can be as small as a table's
    adjustment needs: counting resamples would end at one in two thousand.
    """

    value: float
    low: float
    high: float
    se: float
    """Standard error."""
    n: int
    """Pairs with a defined value, of the kind with fewer."""

    @property
    def sd_per_pair(self) -> float:
        """Standard deviation that one pair contributes, ``se sqrt(n)``: what a sample size is planned with."""
        return self.se * math.sqrt(self.n)

    def p_value(self, alternative: Alternative = "two-sided", *, against: float = 0.0) -> float:
        """Probability, were the true difference ``against``, of one as far off as this; NaN if undefined.

        Args:
            alternative: what would be shown by a small one: that the true difference is ``greater`` than
                ``against``, ``less``, or another (``two-sided``).
            against: the difference under the null hypothesis.
        """
        off = self.value - against
        if alternative == "two-sided":
            return float(np.minimum(2 * _tail(-abs(off), self.se, self.n), 1.0))
        return _tail(-off if alternative == "greater" else off, self.se, self.n)


def difference(draws: Float[np.ndarray, " draw"], n: int) -> Difference:
    """A difference from its draws: draw 0 is the estimate, the others are resamples; n as in `Difference`."""
    value = float(draws[0])
    se = intervals.standard_error(draws) if n > 1 and not math.isnan(value) else math.nan
    se = 0.0 if se < _ROUNDING else se
    reach = intervals.student(n) * se if n > 1 else math.nan
    return Difference(value, value - reach, value + reach, se, n)


def compare_means(a: Survival, b: Survival) -> Difference:
    """``mean(a) - mean(b)``, steps: paired if both come from one `PairBootstrap`."""
    return difference(a.mean() - b.mean(), min(a.n, b.n))


def compare_distances(a: Survival, b: Survival, reference: Survival, distance: Distance) -> Difference:
    """Of two kinds to a reference, beyond noise: above 0, b is closer. See `compare_excess`."""
    return compare_excess(excess(a, reference, distance), excess(b, reference, distance))


def compare_excess(a: Excess, b: Excess) -> Difference:
    """``a.signed - b.signed``, in the unit of the distance: above 0, b is closer to the reference.

    Distances as they are would not do: each is estimated too high, by more the nearer it is to 0, so that a
    difference between one that is next to 0 and one that is not comes out too small, and passes for none. With its sign
    an excess is as often below 0 as above where there is no distance.

    Args:
        a: of one kind.
        b: of another, to the same reference.
    """
    return difference(a.signed - b.signed, min(a.n, b.n))


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference is smaller than a margin, larger, or cannot be told."""

    verdict: Literal["equivalent", "different", "undecided", "undefined"]
    """``equivalent`` or ``different`` where the p-value of that name is below 5 %."""
    p_equivalent: float
    """Of the two one-sided tests (Schuirmann 1987), the larger; null hypothesis: |difference| >= margin."""
    p_different: float
    """Null hypothesis: |difference| <= margin."""
    margin: float


def equivalence(found: Difference, margin: float) -> Equivalence:
    """Test a claim of sameness against a margin, in the difference's unit.

    ``different`` is not "not zero" (that is the difference's own p-value) but "larger than the margin": at
    most one of the two p-values can be small.

    Raises:
        ValueError: if the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"the margin of equivalence is {margin}; it must be above 0")
    same = max(found.p_value("less", against=margin), found.p_value("greater", against=-margin))
    size = abs(found.value)
    # The chance of a difference at least this large either way, were it as large as the margin one way.
    other = _tail(margin - size, found.se, found.n) + _tail(-margin - size, found.se, found.n)
    if math.isnan(same):
        return Equivalence("undefined", same, other, margin)
    verdict = "equivalent" if same < LEVEL else "different" if other < LEVEL else "undecided"
    return Equivalence(verdict, same, min(1.0, other), margin)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment (1979): below 5 % where the null hypothesis falls with the whole family at 5 %.

    ``max_{j <= i} min(1, (m - j + 1) p_(j))`` for the i-th smallest of m; NaN stays, and is not of the family.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.size, np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted.tolist()


def pairs_to_show(
    effect: float, sd_per_pair: float, *, one_sided: bool = True, level: float = LEVEL
) -> float:
    """Pairs that show a difference of this size with 80 % power: ``((z_level + z_power) sd / effect)^2``.

    Args:
        effect: the true difference, or how far it is from the bound it is tested against; its sign is ignored.
        sd_per_pair: as `Difference.sd_per_pair`, same unit.
        one_sided: whether the direction is part of the claim.
        level: of the test; 5 % shared by m tests is 5 % / m.

    Returns:
        A whole number >= 2; inf if the effect is 0, NaN if undefined.
    """
    from scipy.special import ndtri

    if math.isnan(effect) or math.isnan(sd_per_pair):
        return math.nan
    if effect == 0:
        return math.inf
    z = float(ndtri(1 - (level if one_sided else level / 2)) + ndtri(POWER))
    return max(2.0, float(math.ceil((z * sd_per_pair / effect) ** 2)))


def pairs_to_equate(
    true_difference: float, margin: float, sd_per_pair: float, *, level: float = LEVEL
) -> float:
    """Pairs that show equivalence with 80 % power, were the true difference this one; level as in `pairs_to_show`.

    Returns:
        A whole number >= 2; inf if the difference is not inside the margin, NaN if undefined.
    """
    from scipy.optimize import root_scalar
    from scipy.special import ndtr, ndtri

    size = abs(true_difference)
    if math.isnan(size) or math.isnan(sd_per_pair):
        return math.nan
    if size >= margin:
        return math.inf
    if sd_per_pair == 0:
        return 2.0
    z = ndtri(1 - level)

    def lacking(root_n: float) -> float:
        reach = root_n / sd_per_pair
        return POWER - (ndtr((margin - size) * reach - z) + ndtr((margin + size) * reach - z) - 1)

    most = 2 * (z + ndtri((1 + POWER) / 2)) * sd_per_pair / (margin - size)
    return max(2.0, float(math.ceil(root_scalar(lacking, bracket=(0.0, most)).root ** 2)))


def _tail(distance: float, se: float, n: int) -> float:
    """P(t <= distance / se), n - 1 degrees of freedom; without spread, 0 below and 1 from 0 on."""
    from scipy.special import stdtr

    if n < 2 or math.isnan(se) or math.isnan(distance):
        return math.nan
    if se == 0:
        return float(distance >= 0)
    return float(stdtr(n - 1, distance / se))
