"""How far the step values of a kind are from those of model-generated."""

from __future__ import annotations

from dataclasses import dataclass

from plateau_lens.numerics.excess import excess
from plateau_lens.report.claims.measures import KindOf, Measures
from plateau_lens.report.claims.quantity import Measured
from plateau_lens.report.claims.steps import OfSteps
from plateau_lens.report.estimates import DISTANCES
from plateau_lens.report.run_data import REFERENCE


@dataclass(frozen=True)
class Distance(OfSteps):
    """The distance of a kind's distribution to model-generated's, beyond noise; 0 for model-generated itself."""

    by: str = "ks"
    """``ks``, as the paper's tables have it, 0..1, or ``wasserstein``, in the values' unit."""

    def of(self, run: Measures) -> Measured:
        """See `plateau_lens.numerics.excess`."""
        own = run.survival(self.group, self.kind)
        reference = run.survival(self.group, KindOf(REFERENCE))
        found = excess(own, reference, DISTANCES[self.by])
        return Measured(found.signed, found.n)

    def unit(self, run: Measures) -> str:
        """None for KS, the values' own for Wasserstein."""
        return "KS" if self.by == "ks" else super().unit(run)

    def what(self, run: Measures) -> str:
        """The distance."""
        by = "KS" if self.by == "ks" else "Wasserstein"
        return f"{by} of {self.values(run)}, to {run.called(KindOf(REFERENCE))}"
