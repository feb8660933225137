"""AP in norms of the base: how far one may push, for how large the activation is."""

from __future__ import annotations

from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.registry import Curves, StepValues, statistic


@statistic("ap-of-norm")
class ActivationPlateauOfNorm(ActivationPlateau):
    """``AP |step| / |A|``: how far from the base the AP step is, in norms of the base; 0 or more.

    A control of AP: a kind whose activations are short is pushed by a larger part of itself at every step.
    NaN where AP is, and where the base's norm is 0. Parameters and censoring as of AP.
    """

    symbol = "AP/norm"
    title = "AP (activation plateau) in norms of the base"
    unit = "norms of the base"
    place = 21

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        found = super().of(curves)
        return StepValues(curves.in_units_of("base_norm", found.value), found.flags)
