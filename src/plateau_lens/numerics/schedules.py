"""Schedules: how far along the unit direction each step of a path lies."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from plateau_lens.glossary import Schedule


def offsets(
    schedule: Schedule, distance: Float[np.ndarray, " pair"], *, n_steps: int, step_size: float
) -> Float[np.ndarray, "pair step"]:
    """Distance from the base of every point of every path: ``X[n] = A + offsets[n] * D``.

    * absolute: ``offsets[n] = n * step_size``, whatever the target's distance;
    * relative: ``offsets[n] = (n / n_steps) * distance``, so that the last point is the target.

    Args:
        schedule: ``absolute`` or ``relative``.
        distance: ``|T - A|`` of each pair, residual-stream units, >= 0.
        n_steps: number of steps; the result has ``n_steps + 1`` points, point 0 being the base.
        step_size: residual-stream units a step; used by the absolute schedule alone.

    Returns:
        float64 offsets, 0 at step 0.

    Source: arXiv 2409.15019, section 2 (100 steps of 0.5, and of 1 % of the distance).
    """
    steps = np.arange(n_steps + 1, dtype=np.float64)
    if schedule == "absolute":
        return np.broadcast_to(steps * step_size, (len(distance), n_steps + 1)).copy()
    with np.errstate(invalid="ignore"):  # 0 of an infinite distance is NaN
        return (steps / n_steps)[None, :] * np.asarray(distance, dtype=np.float64)[:, None]


def last_usable_step(
    schedule: Schedule,
    distance: Float[np.ndarray, " pair"],
    *,
    n_steps: int,
    step_size: float,
    stop_at_target: bool,
) -> Int[np.ndarray, " pair"]:
    """The last step the statistics look at, 0..n_steps.

    ``floor(distance / step_size)``, at most ``n_steps``, on an absolute path that stops at its target;
    ``n_steps`` otherwise.
    """
    last = np.full(len(distance), n_steps, dtype=np.int64)
    if schedule == "relative" or not stop_at_target:
        return last
    # A distance that is a whole number of steps must not lose its last one to rounding.
    reached = np.floor(np.asarray(distance, dtype=np.float64) / step_size + 1e-9)
    # No number of steps leads to where a distance that is not finite would: clipped before it is a whole number.
    return np.minimum(last, np.clip(np.nan_to_num(reached, nan=0.0), 0, n_steps).astype(np.int64))
