"""Bootstrap intervals over pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Interval(NamedTuple):
    """An estimate and its 95 % percentile-bootstrap interval, in the unit of the values."""

    estimate: float
    low: float
    high: float


def mean_difference(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " m"],
    *,
    paired: bool,
    seed: int,
    n_resamples: int = 2000,
) -> Interval:
    """``mean(b) - mean(a)`` over defined values, pairs resampled.

    Args:
        a: step values of one run or kind; NaN where undefined.
        b: those of the other.
        paired: whether ``a[i]`` and ``b[i]`` come from the same pair; pairs undefined in either are left out.
        seed: of the resampling.
        n_resamples: bootstrap samples.

    Returns:
        NaN throughout where fewer than two values of either side are defined.
    """
    from scipy.stats import bootstrap

    if paired:
        both = ~np.isnan(a) & ~np.isnan(b)
        a, b = a[both], b[both]
    else:
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if min(len(a), len(b)) < 2:
        return Interval(float("nan"), float("nan"), float("nan"))
    estimate = float(b.mean() - a.mean())
    if np.ptp(b - a if paired else np.concatenate([a - a[0], b - b[0]])) == 0:
        return Interval(estimate, estimate, estimate)

    def difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return y.mean(axis=axis) - x.mean(axis=axis)

    found = bootstrap(
        (a, b),
        difference,
        paired=paired,
        vectorized=True,
        n_resamples=n_resamples,
        method="percentile",
        batch=200,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(found.low), float(found.high))
