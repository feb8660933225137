"""NL: the first step at which the response's slope is no longer what it was at the beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from plateau_lens.steps.registry import Curves, Statistic, StepValues, statistic


@statistic("nl")
class NonLinearity(Statistic):
    """The first ``n >= 2`` with ``|s[n] - s[1]| > departure * |s[1]|``, ``s[n] = d[n] - d[n-1]``; 2..n_steps, steps.

    Censored at the last usable step if that never happens. NaN where the initial slope is 0 (a relative departure
    from 0 is undefined) or the path has no second step. The numbers in the paper's Table B.2 are of another rule:
    `NonLinearityOfValue`.

    Source: arXiv 2409.15019v2, appendix B.2, its text.
    """

    symbol = "NL"
    title = "NL step (first non-linearity, of the slope)"
    place = 40

    departure: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Relative departure that counts, 0.1 = 10 %."""

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        slope = np.diff(curves.heights, axis=1, prepend=0.0)
        first = slope[:, 1:2]
        n = np.arange(slope.shape[1])
        departs = curves.usable & (n >= 2) & (np.abs(slope - first) > self.departure * np.abs(first))
        seen = departs.any(axis=1)
        undefined = (first[:, 0] == 0) | (curves.ends < 2) | curves.broken
        value = np.where(seen, departs.argmax(axis=1), curves.ends)
        return StepValues(np.where(undefined, np.nan, value), ~curves.broken & (~seen | undefined))

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """With its parameter."""
        return (
            "NL step (first non-linearity, of the slope): the first step n ≥ 2 whose rise d[n] - d[n-1] departs by "
            f"more than {100 * self.departure:g} % from the first one. Censored where none does."
        )
