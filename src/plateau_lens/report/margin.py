"""The margin of equivalence: how far apart the means of two kinds may be and still be called alike."""

from __future__ import annotations

import math

from plateau_lens.runs.config import ReportConfig


def margin_of(config: ReportConfig, reference_mean: float) -> float:
    """Steps: ``equivalence_margin``, or ``equivalence_share`` of the reference kind's mean where that is less.

    A fixed number of steps says little of a statistic that is small: 2 steps are 4 % of an MS step of 50, 13 % of an
    AP step of 15.

    Args:
        config: of the report.
        reference_mean: mean step of model-generated in the group; NaN for a group without.
    """
    if config.equivalence_share is None or math.isnan(reference_mean) or reference_mean <= 0:
        return config.equivalence_margin
    return min(config.equivalence_margin, config.equivalence_share * reference_mean)
