"""What a table says of one column of step values: centre, spread, censoring, distance to a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Summary:
    """Summary of one statistic over pairs. Every field is NaN where no pair has a defined value."""

    n: int
    """Pairs looked at."""
    n_defined: int
    """Pairs whose value is not NaN; mean, sd and quantiles are over these."""
    mean: float
    """Mean, steps. Censored values enter at the step where looking stopped, so it is a restricted mean."""
    sd: float
    """Sample standard deviation (divisor n_defined - 1), steps."""
    q25: float
    median: float
    q75: float
    censored: float
    """Share of all pairs that are censored, 0..1."""


def summarise(values: Float[np.ndarray, " pair"], censored: Bool[np.ndarray, " pair"]) -> Summary:
    """Summarise step values and their censoring flags."""
    values = np.asarray(values, dtype=np.float64)
    defined = values[~np.isnan(values)]
    nan = float("nan")
    if defined.size:
        q25, median, q75 = (float(q) for q in np.quantile(defined, [0.25, 0.5, 0.75]))
    else:
        q25 = median = q75 = nan
    return Summary(
        n=values.size,
        n_defined=defined.size,
        mean=float(defined.mean()) if defined.size else nan,
        sd=float(defined.std(ddof=1)) if defined.size > 1 else nan,
        q25=q25,
        median=median,
        q75=q75,
        censored=float(np.mean(censored)) if values.size else nan,
    )


def ks_distance(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"]) -> float:
    """Two-sample Kolmogorov-Smirnov distance ``sup_x |F_a(x) - F_b(x)|`` over defined values.

    0 means equal empirical distributions, 1 disjoint ones; NaN if either sample has no defined value.
    """
    from scipy.stats import ks_2samp

    a, b = _defined(a), _defined(b)
    if not (a.size and b.size):
        return float("nan")
    # Only the distance is used. The asymptotic p-value is the cheap one, and divides by zero on tiny samples.
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Any = ks_2samp(a, b, method="asymp")
    return float(found.statistic)


def wasserstein_distance(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"]) -> float:
    """First Wasserstein distance ``integral |F_a - F_b|`` over defined values, in steps, >= 0.

    0 means equal empirical distributions; NaN if either sample has no defined value.
    """
    from scipy.stats import wasserstein_distance as scipy_wasserstein

    a, b = _defined(a), _defined(b)
    if not (a.size and b.size):
        return float("nan")
    return float(scipy_wasserstein(a, b))


def _defined(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    values = np.asarray(values, dtype=np.float64)
    return values[~np.isnan(values)]
