"""Means, medians and distances of values none of which is censored, in the sample and in every resample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from plateau_lens.numerics.bootstrap import PairBootstrap


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
