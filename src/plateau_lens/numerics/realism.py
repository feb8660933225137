"""How real an activation kind looks: its distance to model-generated, between that of random and none.

Defined for readers, with what it was tested for, in docs/realism.md.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.intervals import Estimate, ratio_interval
from plateau_lens.numerics.survival import Distance, Survival


def realism(kind: Survival, random: Survival, reference: Survival, distance: Distance) -> Estimate:
    """``R = 1 - e(kind) / e(random)``, ``e(k) = d(k, reference) - d0(k)``: what is left of random's distance.

    d0(k) is the distance that sampling noise alone makes of none between k and the reference, which are measured on
    the same pairs: the mean over resamples of ``distance(.., noise=True)``.

    Args:
        kind: step values of the kind.
        random: of the kind that stands for 0.
        reference: of the model-generated kind, which stands for 1.
        distance: which.

    Returns:
        No unit. 0: as far from the reference as random, exactly so for random itself. 1: no farther than noise puts
        another sample of the reference, exactly so for the reference itself. Above 1 by noise alone, and below 0
        for a kind that is farther than random. NaN where the 95 % interval of e(random) is not above 0: the two
        ends of the scale coincide. The interval is Fieller's, over resamples of pairs.
    """
    ratio = ratio_interval(
        _excess(kind, reference, distance),
        _excess(random, reference, distance),
        min(kind.n, random.n, reference.n),
    )
    return Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low)


def another_sample(reference: Survival, distance: Distance) -> Float[np.ndarray, " resample"]:
    """Distances between two independent samples of the reference, each as large as the one there is.

    Two resamples of the same pairs are such samples of them; every resample is held against the next.
    """
    one, other = reference.beyond[:, 1:], np.roll(reference.beyond[:, 1:], 1, axis=1)
    return distance(Survival(one, reference.n, reference.grid), Survival(other, reference.n, reference.grid))


def _excess(kind: Survival, reference: Survival, distance: Distance) -> Float[np.ndarray, " draw"]:
    """What is left of the distance without noise; below 0 where it is less than noise makes."""
    noise = distance(kind, reference, noise=True)[1:]
    found = distance(kind, reference)
    # A resample has the noise of the sample and as much again.
    share = np.where(np.arange(found.size) > 0, 2.0, 1.0)
    square = found**2 - share * np.nanmean(noise) ** 2
    return np.sign(square) * np.sqrt(np.abs(square))
