"""How real an activation kind looks: its distance to model-generated, between that of random and none.

Defined for readers, with what it was tested for, in docs/realism.md.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.excess import Excess
from plateau_lens.numerics.intervals import UNDEFINED, Estimate, ratio_interval, standard_error
from plateau_lens.numerics.survival import Distance, Survival

SURE = 4.0
"""Standard errors that random's distance must be above 0. Where two would do, a random that is hardly apart would have
a realism in some runs only: those whose sample shows it too far, and every other kind too real for it."""


def realism(kind: Excess, random: Excess) -> Estimate:
    """``R = 1 - e(kind) / e(random)``: what is left of random's distance to model-generated, both beyond noise.

    Args:
        kind: distance of the kind to the reference, signed.
        random: of the kind that stands for 0, to the same reference.

    Returns:
        No unit. 0: as far from the reference as random, exactly so for random itself. 1: no farther than noise puts
        another sample of the reference, exactly so for the reference itself. Above 1 by noise alone, and below 0
        for a kind that is farther than random. NaN where e(random) is not `SURE` standard errors above 0: the two
        ends of the scale may coincide. The interval is Fieller's, over resamples of pairs.
    """
    if not random.signed[0] > SURE * standard_error(random.signed):
        return UNDEFINED
    ratio = ratio_interval(kind.signed, random.signed, min(kind.n, random.n))
    return Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low)


def another_sample(reference: Survival, distance: Distance) -> Float[np.ndarray, " resample"]:
    """Distances between two independent samples of the reference, each as large as the one there is.

    Two resamples of the same pairs are such samples of them; every resample is held against the next.
    """
    one, other = reference.beyond[:, 1:], np.roll(reference.beyond[:, 1:], 1, axis=1)
    return distance(Survival(one, reference.n, reference.grid), Survival(other, reference.n, reference.grid))
