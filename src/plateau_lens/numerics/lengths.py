"""Survival where the length of a path says something of its event: Kaplan-Meier, corrected by the lengths.

Paths of the absolute schedule end at their targets, and where targets are far, events are late. The pairs that are
still followed at a late step are then those whose events are late, and Kaplan and Meier's product, which takes them to
stand for those that were left behind, is too large there. The length of every path is known, censored or not, and what
is unknown of a censored pair is taken from pairs of the same *residual*: step less what its length lets expect.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.survival import Survival, kaplan_meier

FEWEST_SEEN = 10
"""Events, and lengths, from which a dependence is estimated."""
_ROUNDS = 50


def survival(
    pairs: PairBootstrap,
    value: Float[np.ndarray, " pair"],
    censored: Bool[np.ndarray, " pair"],
    *,
    grid: Float[np.ndarray, " point"],
    length: Float[np.ndarray, " pair"] | None = None,
) -> Survival:
    """The survival function in the sample and in every resample, corrected for what lengths say of events.

    ``S(g) = mean_i P(T_i > g)``: 0 or 1 of a pair whose event was seen, 1 up to where a censored one was followed, and
    behind that ``R(g - b c_i) / R(v_i - b c_i)``, with v the value, c the length, R the Kaplan-Meier survival of the
    residuals ``T - b c`` and b their slope (`slope`). With b = 0 that is Kaplan and Meier's product (Efron's
    self-consistency, Proc. 5th Berkeley Symp. 4, 1967); with no censored pair before the end, the plain share.

    Args:
        pairs: as of `kaplan_meier`, as are value, censored and grid.
        value: of each pair.
        censored: whether the event was not seen.
        grid: the points.
        length: of each pair's path, in the values' unit; None, or the same for all: nothing to correct by.
    """
    if length is None:
        return kaplan_meier(pairs, value, censored, grid=grid)
    censored = np.asarray(censored, dtype=bool)
    value, length = np.asarray(value, dtype=np.float64), np.asarray(length, dtype=np.float64)
    defined = ~np.isnan(value)
    open_ = defined & censored & (value < grid[-1])
    if not open_.any() or (defined & ~censored).sum() < FEWEST_SEEN or np.ptp(length[defined]) == 0:
        return kaplan_meier(pairs, value, censored, grid=grid)
    spacing = np.diff(grid).min()
    b = slope(value[defined], censored[defined], length[defined])
    shift = np.rint(b * (length - length[defined].mean()) / spacing) * spacing
    residual = np.where(defined, value - shift, np.nan)
    rest = _with_tail(kaplan_meier(pairs, residual, censored, grid=_grid(residual, shift, grid)), residual)
    beyond = _mixed(pairs, value, censored, open_, shift, grid, rest)
    return Survival(beyond, int(defined.sum()), np.asarray(grid, dtype=np.float64))


def slope(
    value: Float[np.ndarray, " k"], censored: Bool[np.ndarray, " k"], length: Float[np.ndarray, " k"]
) -> float:
    """Buckley and James' (1979) slope of the event on the length: least squares, with what is censored filled in.

    A censored value is what its length lets expect and the mean of the residuals larger than its own, of which
    the distribution is Kaplan and Meier's; again, until the slope stays, or the mean of the last rounds where it does
    not. Source: Biometrika 66.

    Args:
        value: defined, censored ones at where looking stopped.
        censored: which those are.
        length: of the paths.
    """
    centred = length - length.mean()
    square = float(centred @ centred)
    b, found = float(centred @ value) / square, list[float]()
    for _ in range(_ROUNDS):
        residual = value - b * centred
        filled = np.where(censored, b * centred + _mean_beyond(residual, censored), value)
        before, b = b, float(centred @ filled) / square
        found.append(b)
        if abs(b - before) < 1e-6:
            return b
    return float(np.mean(found[_ROUNDS // 2 :]))


def _mean_beyond(
    residual: Float[np.ndarray, " k"], censored: Bool[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Mean of the residuals beyond each, by their survival; the largest counts as seen."""
    # Events before censorings of the same residual.
    order = np.lexsort((censored, residual))
    r, seen = residual[order], ~censored[order]
    seen[-1] = True
    followed = np.arange(len(r), 0, -1)
    survived = np.cumprod(np.where(seen, 1 - 1 / followed, 1.0))
    mass = -np.diff(survived, prepend=1.0)
    beyond = np.cumsum((mass * r)[::-1])[::-1] - mass * r
    found = np.empty(len(r))
    found[order] = np.where(survived > 1e-12, beyond / np.maximum(survived, 1e-12), r)
    return found


def _grid(
    residual: Float[np.ndarray, " pair"],
    shift: Float[np.ndarray, " pair"],
    grid: Float[np.ndarray, " point"],
) -> Float[np.ndarray, " point"]:
    """Of the residuals, and of what lies behind them up to where the longest path ends."""
    spacing = np.diff(grid).min()
    low, high = np.nanmin(residual), grid[-1] - shift.min()
    count = round((high - low) / spacing) + 2
    return low + spacing * np.arange(count) if count <= 1000 else np.linspace(low, high, 1000)


def _with_tail(found: Survival, residual: Float[np.ndarray, " pair"]) -> Survival:
    """Behind the residual to which ten pairs were followed, a normal distribution's tail in place of a constant.

    Long residuals are seen on long paths alone, and hardly on those: held, S would put all that is behind at the end.
    The normal distribution is that of the draw's quartile and of the largest of its quantiles that is seen well.
    """
    from scipy.special import ndtr, ndtri

    followed = np.sort(residual[~np.isnan(residual)])[-FEWEST_SEEN]
    last = int(np.searchsorted(found.grid, followed + 1e-9, side="right")) - 1
    far = float(np.clip(1 - found.beyond[last, 0], 0.0, 0.9))
    if far <= 0.4 or last == len(found.grid) - 1:
        return found
    low, high = found.quantile(0.25), found.quantile(far)
    sd = (high - low) / (ndtri(far) - ndtri(0.25))
    usable = np.isfinite(sd) & (sd > 0)
    sd = np.where(usable, sd, 1.0)
    middle = np.where(usable, low - sd * ndtri(0.25), 0.0)
    # A point stands for the stretch up to half way to the next.
    z = (found.grid[last:, None] + np.diff(found.grid)[0] / 2 - middle) / sd
    tail = ndtr(-z)
    tail = found.beyond[last] * np.divide(tail, tail[0], out=np.zeros_like(tail), where=tail[0] > 0)
    beyond = found.beyond.copy()
    beyond[last:] = np.where(usable, tail, beyond[last:])
    return Survival(beyond, found.n, found.grid)


def _mixed(
    pairs: PairBootstrap,
    value: Float[np.ndarray, " pair"],
    censored: Bool[np.ndarray, " pair"],
    open_: Bool[np.ndarray, " pair"],
    shift: Float[np.ndarray, " pair"],
    grid: Float[np.ndarray, " point"],
    rest: Survival,
) -> Float[np.ndarray, "point draw"]:
    """Pairs as they are, and of the open ones what `rest` says of them."""
    from scipy.sparse import csr_array

    # Open pairs that stopped at the same point, with the same shift, are one group; all others are group 0.
    ends, which = np.unique(np.stack([value[open_], shift[open_]]), axis=1, return_inverse=True)
    defined = np.flatnonzero(~np.isnan(value))
    group = np.zeros(len(value), dtype=np.int64)
    group[open_] = which.ravel() + 1
    ones, shape = np.ones(defined.size, dtype=np.float32), (ends.shape[1] + 1, len(value))
    members = csr_array((ones, (group[defined], defined)), shape=shape)
    weight = np.concatenate([members @ counts for counts in pairs.blocks()], axis=1).astype(np.float64)
    closed = kaplan_meier(pairs, np.where(open_, np.nan, value), censored & ~open_, grid=grid)
    total = np.where(weight[0] > 0, weight[0] * closed.beyond, 0.0)
    for (end, moved), share in zip(ends.T, weight[1:], strict=True):
        behind = grid >= end
        total[~behind] += share
        still = _at(rest, np.array([end - moved]))
        gone = _at(rest, grid[behind] - moved)
        total[behind] += share * np.divide(gone, still, out=np.ones_like(gone), where=still > 0)
    everyone = weight.sum(axis=0)
    return np.divide(total, everyone, out=np.full_like(total, np.nan), where=everyone > 0)


def _at(found: Survival, points: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k draw"]:
    """The survival at any points: 1 before the first of its own."""
    place = np.searchsorted(found.grid, points + 1e-9, side="right") - 1
    return np.where(place[:, None] < 0, 1.0, found.beyond[np.maximum(place, 0)])
