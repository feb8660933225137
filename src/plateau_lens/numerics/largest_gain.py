"""How step-like a curve is: the largest share of its end value that it gains on a short stretch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def largest_gain(d: Float[np.ndarray, "pair step"], window: int) -> Float[np.ndarray, " pair"]:
    """``max_n (d[n + window] - d[n]) / d[-1]``, a share of the end value, one a curve.

    A straight line from 0 has ``window / n_steps``; a single step has 1; a curve that falls again on its way can have
    more. NaN where the end value is not above 0, or a point is not finite.

    Raises:
        ValueError: for a window that is not within 1..n_steps.
    """
    if not 1 <= window < d.shape[1]:
        raise ValueError(f"window is {window}, but a curve has {d.shape[1] - 1} steps; pass 1 to that many")
    d = d.astype(np.float64)
    defined = np.isfinite(d).all(axis=1) & (d[:, -1] > 0)
    gains = (d[:, window:] - d[:, :-window]).max(axis=1)
    return np.where(defined, gains / np.where(defined, d[:, -1], 1.0), np.nan)
