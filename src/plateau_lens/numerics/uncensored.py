"""Means, medians and distances of values none of which is censored, in the sample and in every resample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.bootstrap import PairBootstrap


class WithNoise(NamedTuple):
    """A distance, and what resampling makes of no distance at all, as with ``noise=True`` in `survival.ks`."""

    draws: Float[np.ndarray, " draw"]
    noise: Float[np.ndarray, " draw"]


def mean(pairs: PairBootstrap, value: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " draw"]:
    """Mean of the defined values; NaN in a draw that has none."""
    value, weight = _defined(pairs, value)
    total = weight.sum(axis=0)
    return np.divide(value @ weight, total, out=np.full(total.size, np.nan), where=total > 0)


def median(pairs: PairBootstrap, value: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " draw"]:
    """Median of the defined values, the middle of the two middle ones; NaN in a draw that has none."""
    value, weight = _defined(pairs, value)
    if not value.size:
        return np.full(weight.shape[1], np.nan)
    order = np.argsort(value)
    count = weight[order].cumsum(axis=0)
    half = count[-1] / 2
    low, high = (beyond.argmax(axis=0) for beyond in (count >= half, count > half))
    return np.where(half > 0, (value[order][low] + value[order][high]) / 2, np.nan)


def ks(pairs: PairBootstrap, a: Float[np.ndarray, " pair"], b: Float[np.ndarray, " pair"]) -> WithNoise:
    """Two-sample Kolmogorov-Smirnov distance ``sup |F_a - F_b|`` over defined values, 0..1; NaN without any."""
    (a, weight_a), (b, weight_b) = _defined(pairs, a), _defined(pairs, b)
    if not (a.size and b.size):
        nothing = np.full(pairs.counts.shape[1], np.nan)
        return WithNoise(nothing, nothing)
    points = np.unique(np.concatenate([a, b]))
    gap = _distribution(a, weight_a, points) - _distribution(b, weight_b, points)
    draws = np.abs(gap).max(axis=0)
    gap -= gap[:, :1].copy()
    return WithNoise(draws, np.abs(gap).max(axis=0))


def _defined(
    pairs: PairBootstrap, value: Float[np.ndarray, " pair"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k draw"]]:
    value = np.asarray(value, dtype=np.float64)
    defined = ~np.isnan(value)
    return value[defined], pairs.counts[defined]


def _distribution(
    value: Float[np.ndarray, " k"], weight: Float[np.ndarray, "k draw"], points: Float[np.ndarray, " point"]
) -> Float[np.ndarray, "point draw"]:
    """Share of values up to and including each point."""
    order = np.argsort(value)
    count = np.zeros((value.size + 1, weight.shape[1]), dtype=weight.dtype)
    weight[order].cumsum(axis=0, out=count[1:])
    total = count[-1]
    share = np.divide(count, total, out=np.full_like(count, np.nan), where=total > 0)
    return share[np.searchsorted(value[order], points, side="right")]
