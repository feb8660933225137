"""Energy distance: how far two samples of vectors are from being of one distribution, with no model of either."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.bootstrap import PairBootstrap


def energy_distance(
    pairs: PairBootstrap, x: Float[np.ndarray, "pair d"], y: Float[np.ndarray, "pair d"]
) -> Float[np.ndarray, " draw"]:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` of each draw of the pairs, in the vectors' unit.

    0 for equal distributions and for no others, and then its estimate is below 0 as often as above: a U-statistic, from
    vectors of different pairs alone, since x and y of one pair are not independent. Pairs that a resample has twice
    are one pair. Pairs with a value that is not finite are left out. Szekely and Rizzo, "Energy statistics", J. Stat.
    Plan. Inference 143 (2013) 1249.

    Args:
        pairs: resamples.
        x: of one kind.
        y: of the other, on the same pairs.

    Returns:
        NaN where a draw has fewer than two different pairs.
    """
    defined = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    x, y = x[defined].astype(np.float64), y[defined].astype(np.float64)
    across = _apart(x, y)
    # Weighted by how often both pairs are drawn, its mean off the diagonal is the whole.
    kernel = across + across.T - _apart(x, x) - _apart(y, y)
    np.fill_diagonal(kernel, 0.0)
    found: list[np.ndarray] = []
    for block in pairs.blocks():
        counts = block[defined].astype(np.float64)
        n = counts.sum(axis=0) ** 2 - (counts**2).sum(axis=0)
        total = ((kernel @ counts) * counts).sum(axis=0)
        found.append(np.divide(total, n, out=np.full(n.size, np.nan), where=n > 0))
    return np.concatenate(found)


def _apart(
    x: Float[np.ndarray, "row d"], y: Float[np.ndarray, "column d"]
) -> Float[np.ndarray, "row column"]:
    """Distances between all rows, by one product; about a point between them, which costs fewer digits."""
    centre = (x.mean(axis=0) + y.mean(axis=0)) / 2
    x, y = x - centre, y - centre
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squared, 0.0))
