"""Means, medians and distances of values that are taken as they stand, in the sample and in every resample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from plateau_lens.numerics.bootstrap import PairBootstrap


@dataclass(frozen=True)
class Summary:
    """Summary of one statistic over pairs. Every field is NaN where no pair has a defined value."""

    n: int
    """Pairs looked at."""
    n_defined: int
    """Pairs whose value is not NaN; mean, sd and quantiles are over these."""
    mean: float
    """Mean, steps. Censored values enter at the step where looking stopped, so it is a restricted mean."""
    sd: float
    """Sample standard deviation (divisor n_defined - 1), steps."""
    q25: float
    median: float
    q75: float
    censored: float
    """Share of all pairs that are censored, 0..1."""


def summarise(values: Float[np.ndarray, " pair"], censored: Bool[np.ndarray, " pair"]) -> Summary:
    """Summarise step values and their censoring flags."""
    values = np.asarray(values, dtype=np.float64)
    defined = values[~np.isnan(values)]
    nan = float("nan")
    if defined.size:
        q25, median, q75 = (float(q) for q in np.quantile(defined, [0.25, 0.5, 0.75]))
    else:
        q25 = median = q75 = nan
    return Summary(
        n=values.size,
        n_defined=defined.size,
        mean=float(defined.mean()) if defined.size else nan,
        sd=float(defined.std(ddof=1)) if defined.size > 1 else nan,
        q25=q25,
        median=median,
        q75=q75,
        censored=float(np.mean(censored)) if values.size else nan,
    )


def ks_distance(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"]) -> float:
    """Two-sample Kolmogorov-Smirnov distance ``sup_x |F_a(x) - F_b(x)|`` over defined values.

    0 means equal empirical distributions, 1 disjoint ones; NaN if either sample has no defined value.
    """
    from scipy.stats import ks_2samp

    a, b = (values[~np.isnan(values)] for values in (np.asarray(a), np.asarray(b)))
    if not (a.size and b.size):
        return float("nan")
    # Only the distance is used. The asymptotic p-value is the cheap one, and divides by zero on tiny samples.
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Any = ks_2samp(a, b, method="asymp")
    return float(found.statistic)


class WithNoise(NamedTuple):
    """A distance, and what resampling makes of no distance at all, as with ``noise=True`` in `survival.ks`."""

    draws: Float[np.ndarray, " draw"]
    noise: Float[np.ndarray, " draw"]


class _Column(NamedTuple):
    """The defined values of a column, smallest first."""

    value: Float[np.ndarray, " k"]
    pair: Int[np.ndarray, " k"]
    """Which pair each is of."""


def mean(pairs: PairBootstrap, value: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " draw"]:
    """Mean of the defined values; NaN in a draw that has none."""
    column = _column(value)
    return np.concatenate([_mean(column, counts) for counts in pairs.blocks()])


def median(pairs: PairBootstrap, value: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " draw"]:
    """Median of the defined values, the middle of the two middle ones; NaN in a draw that has none."""
    column = _column(value)
    return np.concatenate([_median(column, counts) for counts in pairs.blocks()])


def ks(pairs: PairBootstrap, a: Float[np.ndarray, " pair"], b: Float[np.ndarray, " pair"]) -> WithNoise:
    """Two-sample Kolmogorov-Smirnov distance ``sup |F_a - F_b|`` over defined values, 0..1; NaN without any."""
    columns = (_column(a), _column(b))
    if not all(column.value.size for column in columns):
        nothing = np.full(len(pairs.counts), np.nan)
        return WithNoise(nothing, nothing)
    points = np.unique(np.concatenate([column.value for column in columns]))
    places = [np.searchsorted(column.value, points, side="right") for column in columns]
    sample: np.ndarray | None = None
    draws: list[np.ndarray] = []
    noise: list[np.ndarray] = []
    for counts in pairs.blocks():
        of_a, of_b = (
            _distribution(column, counts)[place] for column, place in zip(columns, places, strict=True)
        )
        gap = np.subtract(of_a, of_b, out=of_a)
        sample = gap[:, :1].copy() if sample is None else sample
        draws.append(_largest(gap))
        noise.append(_largest(np.subtract(gap, sample, out=gap)))
    return WithNoise(np.concatenate(draws), np.concatenate(noise))


def _column(value: Float[np.ndarray, " pair"]) -> _Column:
    value = np.asarray(value, dtype=np.float64)
    pair = np.argsort(value)[: np.count_nonzero(~np.isnan(value))]  # NaN is sorted last
    return _Column(value[pair], pair)


def _mean(column: _Column, counts: Float[np.ndarray, "pair draw"]) -> Float[np.ndarray, " draw"]:
    weight = counts[column.pair]
    total = weight.sum(axis=0)
    return np.divide(column.value @ weight, total, out=np.full(total.size, np.nan), where=total > 0)


def _median(column: _Column, counts: Float[np.ndarray, "pair draw"]) -> Float[np.ndarray, " draw"]:
    value, pair = column
    if not value.size:
        return np.full(counts.shape[1], np.nan)
    count = counts[pair].cumsum(axis=0)
    half = count[-1] / 2
    low, high = (beyond.argmax(axis=0) for beyond in (count >= half, count > half))
    return np.where(half > 0, (value[low] + value[high]) / 2, np.nan)


def _distribution(
    column: _Column, counts: Float[np.ndarray, "pair draw"]
) -> Float[np.ndarray, "k_and_0 draw"]:
    """Share of the values up to and including the k-th smallest, 0 before the first; NaN in a draw without any."""
    weight = counts[column.pair]
    share = np.zeros((len(weight) + 1, weight.shape[1]), dtype=weight.dtype)
    weight.cumsum(axis=0, out=share[1:])
    total = share[-1].copy()
    total[total == 0] = np.nan
    return np.divide(share, total, out=share)


def _largest(gap: Float[np.ndarray, "point draw"]) -> Float[np.ndarray, " draw"]:
    return np.maximum(np.abs(gap.max(axis=0)), np.abs(gap.min(axis=0)))
