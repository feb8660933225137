"""Decomposition: which part of the gaps between kinds goes with what is known of each pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from plateau_lens.numerics.bootstrap import PairBootstrap

LEAST_SPREAD = 1e-9
"""Of a covariate within kinds, as a share of its spread over all: below it nothing is known of its slope."""


class Decomposition(NamedTuple):
    """Gaps to the reference kind, and the part of each that goes with each covariate; draw 0 is the sample.

    ``gap = sum over covariates of part, and rest``, exactly, in every draw.
    """

    gap: Float[np.ndarray, "kind draw"]
    """Mean outcome less the reference's, of the pairs that have outcome and covariates."""
    part: Float[np.ndarray, "kind covariate draw"]
    """Slope times mean covariate less the reference's; NaN for a covariate that does not vary within kinds."""
    rest: Float[np.ndarray, "kind draw"]
    """What is left: the kind's own level in the regression, less the reference's."""
    slope: Float[np.ndarray, "covariate draw"]
    """Outcome units per covariate unit, common to all kinds, within kinds."""
    explained: Float[np.ndarray, " draw"]
    """Share of the outcome's variance within kinds that the covariates explain, 0..1."""


def decompose(
    pairs: PairBootstrap,
    outcome: Float[np.ndarray, "kind pair"],
    covariates: Float[np.ndarray, "covariate kind pair"],
    *,
    reference: int = 0,
) -> Decomposition:
    """Regress an outcome on covariates and on the kind, and take the gaps apart by the slopes.

    ``y[k, i] = level[k] + sum_j slope[j] x[j, k, i] + noise`` by least squares over all kinds and pairs. As levels are
    free, slopes are of the differences within kinds. Then ``mean y[k] - mean y[0] = sum_j slope[j] (mean x[j, k] - mean
    x[j, 0]) + level[k] - level[0]`` (Gelbach, J. Labor Econ. 34 (2016) 509). What goes with a covariate need not come
    from it.

    Args:
        pairs: resamples; all kinds of a pair are drawn together.
        outcome: NaN where undefined.
        covariates: NaN where undefined; a pair and kind that lacks any of them is left out.
        reference: the kind that gaps are to.

    Returns:
        NaN parts and rests throughout where covariates are collinear within kinds.
    """
    defined = np.isfinite(outcome) & np.isfinite(covariates).all(axis=0)
    x, scale, varies = _standard(covariates, defined)
    y = np.where(defined, outcome, 0.0)
    used = x[varies]
    blocks = [_of_draws(block.astype(np.float64), y, used, x, defined, reference) for block in pairs.blocks()]
    gap, apart, slope, explained = (np.concatenate(each, axis=-1) for each in zip(*blocks, strict=True))
    if _is_collinear(used, defined):
        slope = np.full_like(slope, np.nan)
    slopes = np.full((len(x), slope.shape[-1]), np.nan)
    slopes[varies] = slope
    part = slopes * apart
    rest = gap - part[:, varies].sum(axis=1)
    return Decomposition(gap, part, rest, slopes / scale[:, None], explained)


def _standard(
    covariates: Float[np.ndarray, "covariate kind pair"], defined: Bool[np.ndarray, "kind pair"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariates with mean 0 and spread 1 over all, 0 where undefined, their spreads, and which vary within kinds."""
    scale, varies = np.ones(len(covariates)), np.zeros(len(covariates), dtype=bool)
    x = np.zeros_like(covariates, dtype=np.float64)
    for place, each in enumerate(covariates):
        values = each[defined].astype(np.float64)
        spread = float(values.std()) if values.size else 0.0
        if spread > 0:
            scale[place] = spread
            x[place] = np.where(defined, (each - values.mean()) / spread, 0.0)
        within = [row[mask] for row, mask in zip(x[place], defined, strict=True) if mask.any()]
        varies[place] = any(row.std() > LEAST_SPREAD for row in within)
    return x, scale, varies


def _of_draws(
    counts: Float[np.ndarray, "pair draw"],
    y: Float[np.ndarray, "kind pair"],
    used: Float[np.ndarray, "used kind pair"],
    x: Float[np.ndarray, "covariate kind pair"],
    defined: Bool[np.ndarray, "kind pair"],
    reference: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gaps, differences of mean covariates, slopes and explained shares of some draws, covariates standard."""
    n = defined @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_y, mean_used, mean_x = y @ counts / n, used @ counts / n, x @ counts / n
    whole = np.nan_to_num(mean_y), np.nan_to_num(mean_used)
    # Sums of products over all kinds, less those of the kinds' means.
    xx = np.einsum("akp,bkp->abp", used, used) @ counts
    xx -= np.einsum("kd,akd,bkd->abd", n, whole[1], whole[1])
    xy = np.einsum("akp,kp->ap", used, y) @ counts - np.einsum("kd,akd,kd->ad", n, whole[1], whole[0])
    yy = (y**2).sum(axis=0) @ counts - (n * whole[0] ** 2).sum(axis=0)
    inverse = np.linalg.pinv(np.moveaxis(xx, -1, 0), hermitian=True)
    slope = np.einsum("dab,bd->ad", inverse, xy)
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = (slope * xy).sum(axis=0) / yy
    gap = mean_y - mean_y[reference]
    apart = np.moveaxis(mean_x - mean_x[:, reference, None], 0, 1)
    return gap, apart, slope, explained


def _is_collinear(used: Float[np.ndarray, "used kind pair"], defined: Bool[np.ndarray, "kind pair"]) -> bool:
    """Whether one of the covariates is a sum of multiples of the others, within kinds."""
    within = [
        rows[:, mask] - rows[:, mask].mean(axis=1, keepdims=True)
        for rows, mask in zip(np.moveaxis(used, 1, 0), defined, strict=True)
        if mask.any()
    ]
    return not within or int(np.linalg.matrix_rank(np.concatenate(within, axis=1), tol=1e-7)) < len(used)
