"""NL: the first step that leaves the line through the path's beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from plateau_lens.steps.registry import Curves, Statistic, StepValues, statistic


@statistic("nl")
class NonLinearity(Statistic):
    """The first ``n > anchor`` with ``|d[n] - line[n]| > departure * |line[n]|``; anchor+1..n_steps or NaN, steps.

    ``line[n] = d[0] + (d[anchor] - d[0]) * n / anchor``. Censored at the last usable step if that never happens. NaN
    where the line is flat (a relative departure from 0 is undefined) or the path ends at the anchor.

    Source: the authors' notebooks (jettjaniak/teren, branch explorations).
    """

    symbol = "NL"
    title = "NL step (first non-linearity)"
    place = 40

    anchor: int = Field(default=9, ge=1)
    """Second point of the line, steps."""
    departure: float = Field(default=0.2, gt=0)
    """Relative departure that counts, 0.2 = 20 %."""

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        d = curves.heights
        n = np.arange(d.shape[1], dtype=np.float64)
        if d.shape[1] <= self.anchor:
            return StepValues(np.full(len(d), np.nan), np.ones(len(d), dtype=bool))
        line = d[:, :1] + (d[:, self.anchor] - d[:, 0])[:, None] * n / self.anchor
        leaves = curves.usable & (n > self.anchor) & (np.abs(d - line) > self.departure * np.abs(line))
        seen = leaves.any(axis=1)
        value = np.where(seen, leaves.argmax(axis=1), curves.ends)
        flat = d[:, self.anchor] == d[:, 0]
        undefined = flat | (curves.ends <= self.anchor) | curves.broken
        return StepValues(np.where(undefined, np.nan, value), ~curves.broken & (~seen | undefined))

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """With its parameters."""
        return (
            f"NL step (first non-linearity): the first step n ≥ {self.anchor + 1} that departs by more than "
            f"{100 * self.departure:g} % from the line through points 0 and {self.anchor}. Censored where none does."
        )
