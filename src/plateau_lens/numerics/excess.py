"""A distance beyond noise: what is left of it when what sampling alone makes is taken off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.survival import Distance, Survival


@dataclass(frozen=True, eq=False)
class Excess:
    """``sign(e) sqrt(|e|)``, ``e = d^2 - k d0^2``: a distance d to a reference less that of noise, draw by draw.

    d0 is the distance that sampling noise alone makes of none: the mean over resamples of ``distance(.., noise=True)``,
    of this kind, as kinds of the same pairs have unlike noise. k is 1 for the sample and 2 for a resample, which has
    the noise of the sample and as much again. In squares, as variances are: taken off as it is, the noise takes too
    much from large distances, to which it hardly adds.
    """

    signed: Float[np.ndarray, " draw"]
    """In the distance's unit; below 0 where it is less than noise makes. What differences and ratios are made of."""
    n: int
    """Pairs with a defined value, of the kind with fewer."""

    @property
    def value(self) -> float:
        """``max(signed, 0)`` of the sample, an estimate of the true distance; 0 where noise makes as much."""
        return float(np.maximum(self.signed[0], 0.0))


def excess(own: Survival, reference: Survival, distance: Distance) -> Excess:
    """Of one kind's distance to a reference; exactly 0 for the reference itself.

    Args:
        own: of a kind, on the same resamples as the reference.
        reference: what it is measured against.
        distance: which.
    """
    noise = distance(own, reference, noise=True)[1:]
    found = distance(own, reference)
    share = np.where(np.arange(found.size) > 0, 2.0, 1.0)
    square = found**2 - share * (np.nanmean(noise) if np.isfinite(noise).any() else np.nan) ** 2
    return Excess(np.sign(square) * np.sqrt(np.abs(square)), min(own.n, reference.n))
