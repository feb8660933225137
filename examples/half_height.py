"""A step statistic of one's own, whose values are half steps: where a curve passes half of its height."""

import numpy as np

from plateau_lens import Paths, Statistic, StepValues, statistic


@statistic("half-height")
class HalfHeight(Statistic):
    """Half a step before the first step at which the response has half of what it has at the end of its path."""

    symbol = "HH"
    title = "HH step (half height)"

    def of(self, paths: Paths) -> StepValues:
        half = paths.heights[np.arange(len(paths)), paths.ends] / 2
        reached = paths.usable & (paths.heights >= half[:, None])
        value = np.maximum(reached.argmax(axis=1) - 0.5, 0)
        return StepValues(np.where(paths.broken, np.nan, value))
