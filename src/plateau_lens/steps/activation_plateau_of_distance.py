"""AP in distances to the target: which share of the way one may go."""

from __future__ import annotations

from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.registry import Curves, StepValues, statistic


@statistic("ap-of-distance")
class ActivationPlateauOfDistance(ActivationPlateau):
    """``AP |step| / |T - A|``: how far from the base the AP step is, in distances to the target; 0..1.

    A control of AP: one step of the absolute schedule is a larger share of a shorter way.
    NaN where AP is, and where base and target coincide. Parameters and censoring as of AP.
    """

    symbol = "AP/distance"
    title = "AP (activation plateau) in distances to the target"
    unit = "distances to the target"
    place = 22

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        found = super().of(curves)
        return StepValues(curves.in_units_of("distance", found.value), found.flags)
