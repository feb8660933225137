"""A step statistic of one's own, whose values are half steps: where a curve passes half of its height."""

import numpy as np

from plateau_lens import Curves, Statistic, StepValues, statistic


@statistic("half-height")
class HalfHeight(Statistic):
    """Half a step before the first step at which the response has half of what it has at the end of its path."""

    symbol = "HH"
    title = "HH step (half height)"

    def of(self, curves: Curves) -> StepValues:
        half = curves.heights[np.arange(len(curves)), curves.ends] / 2
        reached = curves.usable & (curves.heights >= half[:, None])
        value = np.maximum(reached.argmax(axis=1) - 0.5, 0)
        return StepValues(np.where(curves.broken, np.nan, value))
