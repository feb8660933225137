"""Whether two statistics say the same of the same pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics import uncensored
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.comparisons import Difference, difference
from plateau_lens.numerics.intervals import Estimate, percentile_interval, share_interval


class Agreement(NamedTuple):
    """Of the pairs of which both statistics have a value."""

    n: int
    """Those pairs."""
    both: Estimate
    """Their share of all, 0..1."""
    difference: Difference
    """Mean of the one less the other, in their unit."""
    within: Estimate
    """Share of them that differ by no more than the margin, 0..1."""
    correlation: Estimate
    """Pearson's, -1..1; NaN where one does not vary."""


def agreement(
    pairs: PairBootstrap, one: Float[np.ndarray, " pair"], other: Float[np.ndarray, " pair"], *, margin: float
) -> Agreement:
    """Compare two statistics pair by pair.

    Two means, each over the pairs that have a value of its own statistic, would compare other pairs: a curve that has
    an MS step and no AUC step is on one side alone.

    Args:
        pairs: the bootstrap.
        one: values, NaN where undefined or not seen.
        other: values of the same pairs, in the same unit.
        margin: what counts as the same, in that unit.
    """
    gap = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    has_both = ~np.isnan(gap)
    n = int(has_both.sum())
    return Agreement(
        n,
        share_interval(has_both),
        compare_pairs(pairs, gap),
        share_interval(np.abs(gap[has_both]) <= margin),
        percentile_interval(_correlation(pairs, one, other, has_both), n),
    )


def compare_pairs(pairs: PairBootstrap, gap: Float[np.ndarray, " pair"]) -> Difference:
    """Mean of a difference that every pair has of its own, over the pairs of which it is not NaN.

    ``(auc - ms)[kind] - (auc - ms)[reference]``, say: each pair is its own control.
    """
    return difference(uncensored.mean(pairs, gap), int((~np.isnan(gap)).sum()))


def _correlation(
    pairs: PairBootstrap,
    one: Float[np.ndarray, " pair"],
    other: Float[np.ndarray, " pair"],
    has_both: np.ndarray,
) -> Float[np.ndarray, " draw"]:
    if has_both.sum() < 2:
        return np.full(len(pairs.counts), np.nan)
    a, b = (np.asarray(each, dtype=np.float64)[has_both] for each in (one, other))
    a, b = a - a.mean(), b - b.mean()
    moments = np.stack([np.ones_like(a), a, b, a * a, b * b, a * b])
    sums = np.concatenate(
        [moments @ counts[has_both].astype(np.float64) for counts in pairs.blocks()], axis=1
    )
    n, *means = sums
    mean_a, mean_b, square_a, square_b, product = (
        np.divide(each, n, out=np.full(n.size, np.nan), where=n > 0) for each in means
    )
    spread = np.sqrt(np.maximum(square_a - mean_a**2, 0) * np.maximum(square_b - mean_b**2, 0))
    found = np.full(n.size, np.nan)
    return np.divide(product - mean_a * mean_b, spread, out=found, where=spread > 1e-12)
