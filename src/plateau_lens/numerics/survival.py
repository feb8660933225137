"""Distributions of step values some of which are censored: Kaplan-Meier, and what follows from it.

A step value ``T`` of a pair is the step at which its event is seen. Where it is censored, only ``T > step`` is
known. The survival ``S(n) = P(T > n)`` is estimated by Kaplan and Meier's product (1958): at each step, of the
pairs that are still followed, the share that has no event. A censored pair counts for as long as it was
followed, and is neither dropped nor taken for an event.

Nothing is known behind the last step of a path, so that the numbers are those of the *restricted* value
``min(T, n_steps)``. Where all censoring is at ``n_steps``, as on the relative schedule, they are exactly the plain
numbers of the values as they stand. Behind the last step to which any pair was followed, S is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from plateau_lens.numerics.bootstrap import PairBootstrap

_TIE = 1e-9
"""Shares closer than this are equal: products of shares are rounded."""


@dataclass(frozen=True, eq=False)
class Survival:
    """The survival function of one column of step values, in the sample (draw 0) and in every resample."""

    beyond: Float[np.ndarray, "step draw"]
    """S(n) = P(T > n) for n = 0..n_steps; NaN in a draw with no defined value."""
    n: int
    """Pairs with a defined value, censored ones included."""

    def mean(self) -> Float[np.ndarray, " draw"]:
        """Restricted mean ``E[min(T, n_steps)] = sum_{n < n_steps} S(n)``, steps."""
        return self.beyond[:-1].sum(axis=0)

    def sd(self) -> float:
        """Standard deviation of ``min(T, n_steps)`` in the sample (divisor n - 1), steps; NaN if n < 2."""
        if self.n < 2:
            return float("nan")
        beyond = self.beyond[:-1, 0]
        square = float(((2 * np.arange(beyond.size) + 1) * beyond).sum())
        variance = square - float(beyond.sum()) ** 2
        return float(np.sqrt(max(variance, 0.0) * self.n / (self.n - 1)))

    def quantile(self, share: float) -> Float[np.ndarray, " draw"]:
        """The step by which a share of pairs has had its event; inf where that share is never reached.

        A value of n stands for the stretch from n - 1/2 to n + 1/2, over which its pairs are spread evenly (the
        grouped median): the quantile is no whole number, and moves as the shares do. Where no pair lies
        between two steps that would do, it is the middle between them.
        """
        reached = 1 - self.beyond
        count = reached.shape[0]
        first = (reached < share - _TIE).sum(axis=0)
        behind = (reached <= share + _TIE).sum(axis=0)
        low, high = (_position(reached, np.minimum(at, count - 1), share) for at in (first, behind))
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
    n_steps: int,
) -> Survival:
    """Estimate the survival function in the sample and in every resample.

    Args:
        pairs: the bootstrap; pair i is row i of the values.
        value: whole steps 0..n_steps; NaN where undefined, and left out then.
        censored: where the event was not seen up to and including ``value``. An event and a censoring at the
            same step are taken in this order.
        n_steps: where looking stops for all pairs.

    Raises:
        ValueError: if lengths differ, or a value is no whole step of the path.
    """
    from scipy.sparse import csr_array

    value, censored = np.asarray(value, dtype=np.float64), np.asarray(censored, dtype=bool)
    if not value.shape == censored.shape == (pairs.n_pairs,):
        raise ValueError(f"{value.shape[0]} values, {censored.shape[0]} flags, {pairs.n_pairs} pairs")
    defined = np.flatnonzero(~np.isnan(value))
    step = value[defined].astype(np.int64)
    if not ((step == value[defined]) & (step >= 0) & (step <= n_steps)).all():
        raise ValueError(f"step values must be whole numbers of 0..{n_steps}, or NaN")
    points = n_steps + 1
    # A resample of step values is a histogram: one row a step for events, then one a step for censorings.
    rows = step + points * censored[defined]
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
    return Survival(beyond, defined.size)


def ks(a: Survival, b: Survival, *, noise: bool = False) -> Float[np.ndarray, " draw"]:
    """Kolmogorov-Smirnov distance ``max_{n < n_steps} |S_a(n) - S_b(n)|`` of ``min(T, n_steps)``, 0..1.

    Args:
        a: one column.
        b: another.
        noise: of each draw's gap less the sample's, which is what resampling makes of no distance at all.
    """
    return np.abs(_gap(a, b, noise)).max(axis=0)


def wasserstein(a: Survival, b: Survival, *, noise: bool = False) -> Float[np.ndarray, " draw"]:
    """First Wasserstein distance ``sum_{n < n_steps} |S_a(n) - S_b(n)|`` of ``min(T, n_steps)``, steps.

    Args:
        a: one column.
        b: another.
        noise: as in `ks`.
    """
    return np.abs(_gap(a, b, noise)).sum(axis=0)


def _gap(a: Survival, b: Survival, noise: bool) -> Float[np.ndarray, "step draw"]:
    gap = a.beyond[:-1] - b.beyond[:-1]
    return gap - gap[:, :1] if noise else gap


def _position(
    reached: Float[np.ndarray, "step draw"], at: np.ndarray, share: float
) -> Float[np.ndarray, " draw"]:
    """Where within the stretch of step ``at`` the cumulative share is ``share``."""
    draw = np.arange(reached.shape[1])
    upper = reached[at, draw]
    lower = np.where(at > 0, reached[at - 1, draw], 0.0)
    within = np.zeros_like(upper)
    np.divide(share - lower, upper - lower, out=within, where=upper > lower)
    return at - 0.5 + np.clip(within, 0.0, 1.0)
