"""Step statistics: one number a curve that says where the model's response blows up.

Every function takes curves ``d[pair, step]`` (step 0 is the base itself, ``d[:, 0] == 0``) and the last
usable step of each, and returns values in steps with a censoring flag. A value that is undefined is NaN,
never a made-up number; a curve with a non-finite usable point is undefined, and not censored: of it, nothing
is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.integrate import cumulative_trapezoid


class StepValues(NamedTuple):
    """One statistic of many curves."""

    value: Float[np.ndarray, " pair"]
    """Step, or NaN where undefined. Where censored and not NaN, a bound: the step that was last looked at."""
    censored: Bool[np.ndarray, " pair"]
    """True where the event was not seen within the usable steps, all of which are finite."""


def max_slope_step(
    curves: Float[np.ndarray, "pair step"],
    last: Int[np.ndarray, " pair"],
    *,
    min_slope: float,
    notebook: bool = False,
) -> StepValues:
    """MS step: ``argmax_{1 <= n <= last} d[n] - d[n-1]``, the earliest if several are equal.

    Censored where no slope exceeds ``min_slope`` (the value is NaN: there is no blow-up to place) and where
    the steepest slope is at the last usable step (the value is that step: the rise may go on behind it).

    Args:
        curves: response at each step, any unit.
        last: last usable step of each curve, 0..n_steps.
        min_slope: response units a step that the steepest slope must exceed; the paper's 0.02 for L2.
        notebook: the authors' notebooks instead: ``n - 1``, and ``n_steps`` where no slope exceeds.

    Returns:
        Values in 1..n_steps or NaN.

    Source: arXiv 2409.15019, section 2, "max slope".
    """
    d, mask, broken = _usable(curves, last)
    slopes = np.where(mask[:, 1:], np.diff(d, axis=1), -np.inf)
    step = np.asarray(1 + slopes.argmax(axis=1))
    steepest = slopes.max(axis=1)
    blows_up = steepest > min_slope
    if notebook:
        value = np.where(blows_up, step - 1, d.shape[1] - 1).astype(np.float64)
        value[broken] = np.nan
    else:
        value = np.where(blows_up, step, np.nan)
    return StepValues(value, np.asarray(~broken & (~blows_up | (step == last)), dtype=bool))


def activation_plateau_step(
    l2: Float[np.ndarray, "pair step"], last: Int[np.ndarray, " pair"], *, threshold: float
) -> StepValues:
    """AP step: the first ``n`` with ``l2[n] >= threshold``: how far one may push before the output leaves.

    Censored at the last usable step (``n_steps`` unless the path stops at its target) where the threshold is
    never reached: the plateau is at least that long, and the value is that lower bound.

    Args:
        l2: L2 response at each step, residual-stream units of the read site.
        last: last usable step of each curve.
        threshold: the paper's 20 on GPT-2; in general 10 % of the median end-of-path L2 toward
            model-generated targets.

    Returns:
        Values in 0..n_steps.

    Source: arXiv 2409.15019, Figure 3.
    """
    d, mask, broken = _usable(l2, last)
    reached = mask & (d >= threshold)
    seen = np.asarray(reached.any(axis=1))
    value = np.where(seen, reached.argmax(axis=1), last)
    return StepValues(np.where(broken, np.nan, value), ~seen & ~broken)


def chord_area_step(
    curves: Float[np.ndarray, "pair step"],
    last: Int[np.ndarray, " pair"],
    *,
    min_excess: float = 1e-3,
    notebook: bool = False,
) -> StepValues:
    """AUC step: where the triangle under the chord exceeds the area under the curve most.

    ``argmax_{5 <= n <= last} (n * d[n] / 2) / trapezoid(d[0..n])``. A straight line has ratio 1 everywhere
    and no such step: NaN, as is any curve whose ratio never exceeds ``1 + min_excess`` (it is nowhere convex
    from the origin) and any path shorter than 5 steps. Censored where undefined or at the last usable step.

    Args:
        curves: response at each step, any unit, >= 0.
        last: last usable step of each curve.
        min_excess: ratio above 1 that is taken for rounding.
        notebook: the authors' notebooks instead: a triangle on ``n + 1``, never undefined for want of excess.

    Returns:
        Values in 5..n_steps or NaN.

    Source: arXiv 2409.15019, Figure B.1; the triangle's base is n, as the trapezoid's.
    """
    d, mask, broken = _usable(curves, last)
    n = np.arange(d.shape[1], dtype=np.float64)
    area = cumulative_trapezoid(d, axis=1, initial=0)
    ratio = np.full_like(d, -np.inf)
    np.divide((n + notebook) * d / 2, area, out=ratio, where=mask & (n >= 5) & (area > 0))
    step = ratio.argmax(axis=1)
    defined = ratio.max(axis=1) > (0 if notebook else 1 + min_excess)
    return StepValues(np.where(defined, step, np.nan), ~broken & (~defined | (step == last)))


def non_linearity_step(
    curves: Float[np.ndarray, "pair step"],
    last: Int[np.ndarray, " pair"],
    *,
    anchor: int = 9,
    departure: float = 0.2,
) -> StepValues:
    """NL step: the first step that leaves the line drawn through the path's beginning.

    With ``line[n] = d[0] + (d[anchor] - d[0]) * n / anchor``: the first ``n > anchor`` with
    ``|d[n] - line[n]| > departure * |line[n]|``. Censored at the last usable step if that never happens.
    NaN where the line is flat (a relative departure from 0 is undefined) or the path ends at the anchor.

    Args:
        curves: response at each step, any unit.
        last: last usable step of each curve.
        anchor: second point of the line, steps.
        departure: relative departure that counts, 0.2 = 20 %.

    Returns:
        Values in anchor+1..n_steps or NaN.

    Source: the authors' notebooks (jettjaniak/teren, branch explorations).
    """
    d, mask, broken = _usable(curves, last)
    n = np.arange(d.shape[1], dtype=np.float64)
    if d.shape[1] <= anchor:
        return StepValues(np.full(len(d), np.nan), np.ones(len(d), dtype=bool))
    line = d[:, :1] + (d[:, anchor] - d[:, 0])[:, None] * n / anchor
    leaves = mask & (n > anchor) & (np.abs(d - line) > departure * np.abs(line))
    seen = leaves.any(axis=1)
    value = np.where(seen, leaves.argmax(axis=1), last)
    flat = d[:, anchor] == d[:, 0]
    undefined = flat | (last <= anchor) | broken
    return StepValues(np.where(undefined, np.nan, value), ~broken & (~seen | undefined))


class _Usable(NamedTuple):
    d: Float[np.ndarray, "pair step"]
    """Curves in float64, 0 outside the mask."""
    mask: Bool[np.ndarray, "pair step"]
    """Points the statistics may look at; none of a broken curve."""
    broken: Bool[np.ndarray, " pair"]
    """Curves with a usable point that is not finite: an argmax over them would name that point."""


def _usable(curves: Float[np.ndarray, "pair step"], last: Int[np.ndarray, " pair"]) -> _Usable:
    d = np.asarray(curves, dtype=np.float64)
    mask = np.arange(d.shape[1]) <= np.asarray(last)[:, None]
    broken = (mask & ~np.isfinite(d)).any(axis=1)
    mask &= ~broken[:, None]
    return _Usable(np.where(mask, d, 0.0), mask, broken)
