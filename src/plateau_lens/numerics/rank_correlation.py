"""Spearman's rank correlation, of a sample and of every resample of its pairs: over pairs, or over kinds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.bootstrap import PairBootstrap


def spearman(
    pairs: PairBootstrap, a: Float[np.ndarray, " pair"], b: Float[np.ndarray, " pair"]
) -> Float[np.ndarray, " draw"]:
    """Pearson's correlation of mid-ranks, -1..1, of each draw of the pairs.

    1: one order; 0: none in common. Equal values have the mean of their ranks, as in ``scipy.stats.spearmanr``; ranks
    are those within the draw. NaN where all values of one side are equal. Pairs with a NaN on either side are left out.
    """
    defined = ~np.isnan(a) & ~np.isnan(b)
    sides = [np.unique(side[defined], return_inverse=True) for side in (a, b)]
    draws: list[np.ndarray] = []
    for block in pairs.blocks():
        counts = block[defined].astype(np.float64)
        x, y = (_ranks(place, len(values), counts) for values, place in sides)
        n = counts.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = (side - (counts * side).sum(axis=0) / n for side in (x, y))
            spreads = (counts * x * x).sum(axis=0) * (counts * y * y).sum(axis=0)
            draws.append((counts * x * y).sum(axis=0) / np.sqrt(np.where(spreads > 0, spreads, np.nan)))
    return np.concatenate(draws)


def spearman_over_rows(
    a: Float[np.ndarray, "row draw"], b: Float[np.ndarray, "row draw"]
) -> Float[np.ndarray, " draw"]:
    """Pearson's correlation of the mid-ranks of the rows, -1..1, draw by draw.

    For numbers that every draw has of each row, as a kind's distance. NaN where a draw lacks a number, or all of a side
    are equal.
    """
    from scipy.stats import rankdata

    x, y = (rankdata(side, axis=0) - (len(side) + 1) / 2 for side in (a, b))
    spreads = (x * x).sum(axis=0) * (y * y).sum(axis=0)
    whole = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0) & (spreads > 0)
    return np.divide((x * y).sum(axis=0), np.sqrt(spreads), out=np.full(whole.size, np.nan), where=whole)


def _ranks(
    place: np.ndarray, n_values: int, counts: Float[np.ndarray, "pair draw"]
) -> Float[np.ndarray, "pair draw"]:
    """Mid-rank of each pair's value within each draw: how many are below it, and half of those that equal it."""
    equal = np.zeros((n_values, counts.shape[1]))
    np.add.at(equal, place, counts)
    return (equal.cumsum(axis=0) - equal / 2)[place]
