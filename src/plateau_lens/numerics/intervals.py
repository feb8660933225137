"""Estimates with their 95 % intervals, from the draws of a bootstrap over pairs.

Which interval is used for what was chosen by simulation; docs/validity.md has the coverage of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

CONFIDENCE = 0.95
_CUSP = 2 ** (2 / 3) - 1
"""Share of a distance's bias that a bootstrap sees, see `distance_interval`."""


class Estimate(NamedTuple):
    """A number and its 95 % interval, in the number's unit; NaN where undefined, inf where not reached."""

    value: float
    low: float
    high: float


UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"))


def percentile_interval(draws: Float[np.ndarray, " draw"], n: int) -> Estimate:
    """Percentile interval of a mean or a quantile: 2.5 % of the resamples lie below it, 2.5 % above.

    Args:
        draws: draw 0 is the estimate, the others are resamples; inf sorts last.
        n: pairs with a defined value; from fewer than two there is an estimate and no interval.
    """
    value, resamples = _parts(draws)
    if n < 2 or not resamples.size:
        return UNDEFINED._replace(value=value)
    # Order statistics, no interpolation: next to inf there is nothing to interpolate. Of B resamples the
    # (B + 1) 2.5 %-th from either end: so many intervals between them are left out on each side.
    place = max(int((resamples.size + 1) * (1 - CONFIDENCE) / 2 + 1e-9), 1)
    low, high = np.partition(resamples, [place - 1, -place])[[place - 1, -place]]
    return Estimate(value, float(low), float(high))


def distance_interval(
    draws: Float[np.ndarray, " draw"],
    noise: Float[np.ndarray, " draw"],
    n: int,
    *,
    most: float = np.inf,
) -> Estimate:
    """Interval of a distance between two distributions, which is never below 0 and estimated too high.

    ``[value - bias - t se, value + t se]``, clipped to 0..most. Noise adds to a largest gap: the sample's distance
    lies above the true one, and a resample's above the sample's. Where the gap has one peak, the noise of n
    pairs adds ``n ** (-2/3)``, so that a resample, with twice the noise variance, shows ``2 ** (2/3) - 1`` of what
    was added to the sample; ``bias`` is the resamples' divided by that. The upper end is left where it is:
    how much of the bias is in this sample is not known.

    The lower end is 0 unless the distance is larger than 97.5 % of those that noise alone makes: next to 0 none
    of the above holds.

    Args:
        draws: draw 0 is the estimate, the others are resamples.
        noise: the same with ``noise=True``.
        n: pairs with a defined value, of the kind with fewer.
        most: the largest distance there is, 1 for Kolmogorov and Smirnov's.
    """
    value, resamples = _parts(draws)
    if n < 2 or not resamples.size:
        return UNDEFINED._replace(value=value)
    bias = max(float(resamples.mean()) - value, 0.0) / _CUSP
    reach = student(n) * standard_error(draws)
    beyond_noise = value > np.quantile(_parts(noise)[1], (1 + CONFIDENCE) / 2)
    low = max(value - bias - reach, 0.0) if beyond_noise else 0.0
    return Estimate(value, low, min(value + reach, most))


def ratio_interval(
    numerator: Float[np.ndarray, " draw"], denominator: Float[np.ndarray, " draw"], n: int
) -> Estimate:
    """Fieller's interval (1954) of a ratio: every r at which ``numerator - r denominator`` may be 0.

    That is where ``|value| <= t se``, with the standard error of the resamples, so that what the two have in common
    counts. It is not symmetric, and it is bounded exactly where the denominator is told from 0.

    Args:
        numerator: draw 0 is the estimate, the others are resamples.
        denominator: the same.
        n: pairs with a defined value.

    Returns:
        NaN throughout where the interval of the denominator is not above 0.
    """
    if n < 2 or np.isnan(numerator[0]) or np.isnan(denominator[0]):
        return UNDEFINED
    both = np.stack([numerator, denominator])
    (top, bottom), resamples = both[:, 0], both[:, 1:]
    resamples = resamples[:, ~np.isnan(resamples).any(axis=0)]
    if resamples.shape[1] < 2:
        return UNDEFINED
    (top_top, top_bottom), (_, bottom_bottom) = student(n) ** 2 * np.cov(resamples)
    # (top - r bottom)^2 = t^2 var(top - r bottom), a r^2 - 2 b r + c = 0.
    a, b, c = bottom**2 - bottom_bottom, top * bottom - top_bottom, top**2 - top_top
    if a <= 0 or bottom <= 0:
        return UNDEFINED
    reach = np.sqrt(max(b * b - a * c, 0.0))
    return Estimate(float(top / bottom), float((b - reach) / a), float((b + reach) / a))


def share_interval(flags: Bool[np.ndarray, " pair"]) -> Estimate:
    """Wilson's interval (1927) of a share of pairs, 0..1.

    The one interval here that is no bootstrap: where a flag is set on none of the pairs, neither is it in any
    resample of them, and a bootstrap would be certain of 0.
    """
    from scipy.stats import binomtest

    flags = np.asarray(flags, dtype=bool)
    if not flags.size:
        return UNDEFINED
    found = binomtest(int(flags.sum()), flags.size).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(float(flags.mean()), float(found.low), float(found.high))


def standard_error(draws: Float[np.ndarray, " draw"]) -> float:
    """Standard deviation over resamples of draws whose first is the sample; NaN if fewer than two are finite."""
    resamples = _parts(draws)[1]
    return float(resamples.std(ddof=1)) if resamples.size > 1 else float("nan")


def student(n: int) -> float:
    """Half the width of a 95 % interval, in standard errors: Student's t with n - 1 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))


def _parts(draws: Float[np.ndarray, " draw"]) -> tuple[float, Float[np.ndarray, " k"]]:
    """The estimate, and the resamples that have a value."""
    resamples = draws[1:]
    return float(draws[0]), resamples[~np.isnan(resamples)]
