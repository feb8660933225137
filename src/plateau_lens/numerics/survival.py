"""Distributions of step values some of which are censored: Kaplan-Meier, and what follows from it.

A step value ``T`` of a pair is the step at which its event is seen. Where it is censored, only ``T > step`` is
known. The survival ``S(n) = P(T > n)`` is estimated by Kaplan and Meier's product (1958): at each step, of the
pairs that are still followed, the share that has no event. A censored pair counts for as long as it was
followed, and is neither dropped nor taken for an event.

Nothing is known behind the end ``E`` of a path, so that the numbers are those of the *restricted* value ``min(T, E)``.
Where all censoring is at ``E``, as on the relative schedule, they are exactly the plain numbers of the values as they
stand. Behind the last step to which any pair was followed, S is held.

Values lie on a grid of points. Those of step statistics are whole steps, as a rule, and theirs is ``0..n_steps``; a
statistic may have others, in any unit (`grid_of`). S is constant between two points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from plateau_lens.numerics.bootstrap import PairBootstrap

MOST_POINTS = 1000
"""Points of a grid, as memory grows with them."""
_TIE = 1e-9
"""Shares closer than this are equal: products of shares are rounded."""


@dataclass(frozen=True, eq=False)
class Survival:
    """The survival function of one column of step values, in the sample (draw 0) and in every resample."""

    beyond: Float[np.ndarray, "point draw"]
    """S(g) = P(T > g) at each point of the grid; NaN in a draw with no defined value."""
    n: int
    """Pairs with a defined value, censored ones included."""
    grid: Float[np.ndarray, " point"]
    """The points, ascending; the last is the end E."""

    def mean(self) -> Float[np.ndarray, " draw"]:
        """Restricted mean ``E[min(T, E)]``, the grid's first point and the area under S behind it."""
        return self.grid[0] + (np.diff(self.grid)[:, None] * self.beyond[:-1]).sum(axis=0)

    def sd(self) -> float:
        """Standard deviation of ``min(T, E)`` in the sample (divisor n - 1); NaN if n < 2."""
        if self.n < 2:
            return float("nan")
        beyond = self.beyond[:-1, 0]
        square = float(self.grid[0] ** 2 + (np.diff(self.grid**2) * beyond).sum())
        mean = float(self.grid[0] + (np.diff(self.grid) * beyond).sum())
        variance = square - mean**2
        return float(np.sqrt(max(variance, 0.0) * self.n / (self.n - 1)))

    def quantile(self, share: float) -> Float[np.ndarray, " draw"]:
        """The value by which a share of pairs has had its event; inf where that share is never reached.

        A point of the grid stands for the stretch half way to its neighbours, n - 1/2 to n + 1/2 of whole steps, over
        which its pairs are spread evenly (the grouped median): the quantile is no whole number, and moves as the
        shares do. Where no pair lies between two points that would do, it is the middle between them.
        """
        reached = 1 - self.beyond
        count = reached.shape[0]
        first = (reached < share - _TIE).sum(axis=0)
        behind = (reached <= share + _TIE).sum(axis=0)
        edges = _edges(self.grid)
        low, high = (_position(reached, np.minimum(at, count - 1), share, edges) for at in (first, behind))
        middle = np.where(behind < count, (low + high) / 2, low)
        return np.where(np.isnan(self.beyond[0]), np.nan, np.where(first < count, middle, np.inf))


class Distance(Protocol):
    """How far apart two columns are: `ks` or `wasserstein`."""

    def __call__(self, a: Survival, b: Survival, *, noise: bool = False) -> Float[np.ndarray, " draw"]:
        """Distance in each draw."""
        ...


def kaplan_meier(
    pairs: PairBootstrap,
    value: Float[np.ndarray, " pair"],
    censored: Bool[np.ndarray, " pair"],
    *,
    grid: Float[np.ndarray, " point"],
) -> Survival:
    """Estimate the survival function in the sample and in every resample.

    Args:
        pairs: the bootstrap; pair i is row i of the values.
        value: within half a stretch of a point of the grid, which it is taken for; NaN where undefined, and left out.
        censored: where the event was not seen up to and including ``value``. An event and a censoring at the
            same point are taken in this order.
        grid: points, ascending, at the last of which looking stops for all pairs: of whole steps `whole_steps`, of
            anything else `grid_of`. What is compared has one grid.

    Raises:
        ValueError: if lengths differ, or a value lies off the grid.
    """
    from scipy.sparse import csr_array

    value, censored = np.asarray(value, dtype=np.float64), np.asarray(censored, dtype=bool)
    if not value.shape == censored.shape == (pairs.n_pairs,):
        raise ValueError(f"{value.shape[0]} values, {censored.shape[0]} flags, {pairs.n_pairs} pairs")
    defined = np.flatnonzero(~np.isnan(value))
    place = _places(value[defined], grid)
    points = len(grid)
    # A resample of values is a histogram: one row a point for events, then one a point for censorings.
    rows = place + points * censored[defined]
    ones = np.ones(defined.size, dtype=np.float32)
    shape = (2 * points, pairs.n_pairs)
    which = csr_array((ones, (rows, defined)), shape=shape)
    histogram = np.concatenate([which @ counts for counts in pairs.blocks()], axis=1).astype(np.float64)
    events, stops = histogram[:points], histogram[points:]
    followed = (events + stops)[::-1].cumsum(axis=0)[::-1]
    kept = np.ones_like(events)
    np.divide(followed - events, followed, out=kept, where=followed > 0)
    beyond = kept.cumprod(axis=0)
    beyond[:, followed[0] == 0] = np.nan
    return Survival(beyond, defined.size, np.asarray(grid, dtype=np.float64))


def whole_steps(n_steps: int) -> Float[np.ndarray, " point"]:
    """The grid of values that are whole steps: 0..n_steps."""
    return np.arange(n_steps + 1, dtype=np.float64)


def grid_of(values: Sequence[Float[np.ndarray, " pair"]], n_steps: int | None) -> Float[np.ndarray, " point"]:
    """The grid of values that are compared with one another.

    Whole steps have `whole_steps`. Others have a point for each value that there is, or, of more than `MOST_POINTS`,
    that many at equal distances from the smallest to the largest, which moves no value by more than 1/2,000 of that.

    Args:
        values: of every kind; NaN is left out.
        n_steps: steps of the paths of which these are steps, whole or not: looking stops there. None: values in another
            unit, of which nothing is known behind the largest.

    Raises:
        ValueError: for steps outside 0..n_steps.
    """
    every = np.concatenate([np.asarray(each, dtype=np.float64) for each in values]) if values else np.zeros(0)
    defined = np.unique(every[~np.isnan(every)])
    if n_steps is not None:
        # One more than there are steps is what the authors' notebooks say of a curve on which they saw nothing.
        end = max(n_steps, int(np.ceil(defined[-1]))) if defined.size else n_steps
        if defined.size and not (defined[0] >= 0 and end <= n_steps + 1):
            raise ValueError(f"steps must lie in 0..{n_steps}; found {defined[0]:g} to {defined[-1]:g}")
        if (defined == np.rint(defined)).all():
            return whole_steps(end)
        defined = np.union1d(defined, [0.0, float(n_steps)])
    if defined.size > MOST_POINTS:
        return np.linspace(defined[0], defined[-1], MOST_POINTS)
    if defined.size > 1:
        return defined
    only = defined[0] if defined.size else 0.0
    return np.array([only, only + 1.0])


def ks(a: Survival, b: Survival, *, noise: bool = False) -> Float[np.ndarray, " draw"]:
    """Kolmogorov-Smirnov distance ``max_{g < E} |S_a(g) - S_b(g)|`` of ``min(T, E)``, 0..1.

    Args:
        a: one column.
        b: another.
        noise: of each draw's gap less the sample's, which is what resampling makes of no distance at all.
    """
    return np.abs(_gap(a, b, noise)).max(axis=0)


def wasserstein(a: Survival, b: Survival, *, noise: bool = False) -> Float[np.ndarray, " draw"]:
    """First Wasserstein distance ``integral |S_a - S_b|`` up to E, of ``min(T, E)``, in the values' unit.

    Args:
        a: one column.
        b: another.
        noise: as in `ks`.
    """
    return (np.diff(a.grid)[:, None] * np.abs(_gap(a, b, noise))).sum(axis=0)


def _gap(a: Survival, b: Survival, noise: bool) -> Float[np.ndarray, "point draw"]:
    if not np.array_equal(a.grid, b.grid):
        raise ValueError(
            "two columns on different grids cannot be compared; make one of all values (grid_of)"
        )
    gap = a.beyond[:-1] - b.beyond[:-1]
    return gap - gap[:, :1] if noise else gap


def _places(value: Float[np.ndarray, " k"], grid: Float[np.ndarray, " point"]) -> Int[np.ndarray, " k"]:
    """The nearest point of the grid to each value."""
    edges = _edges(grid)
    if value.size and not ((value >= edges[0]) & (value <= edges[-1])).all():
        raise ValueError(f"values must lie on the grid of {grid[0]:g} to {grid[-1]:g}, or be NaN")
    return np.searchsorted(edges[1:-1], value, side="right")


def _edges(grid: Float[np.ndarray, " point"]) -> Float[np.ndarray, " edge"]:
    """Where one point's stretch ends and the next begins; half a stretch beyond the first and the last."""
    middle = (grid[1:] + grid[:-1]) / 2
    return np.concatenate([[2 * grid[0] - middle[0]], middle, [2 * grid[-1] - middle[-1]]])


def _position(
    reached: Float[np.ndarray, "point draw"], at: np.ndarray, share: float, edges: Float[np.ndarray, " edge"]
) -> Float[np.ndarray, " draw"]:
    """Where within the stretch of point ``at`` the cumulative share is ``share``."""
    draw = np.arange(reached.shape[1])
    upper = reached[at, draw]
    lower = np.where(at > 0, reached[at - 1, draw], 0.0)
    within = np.zeros_like(upper)
    np.divide(share - lower, upper - lower, out=within, where=upper > lower)
    return edges[at] + (edges[at + 1] - edges[at]) * np.clip(within, 0.0, 1.0)
