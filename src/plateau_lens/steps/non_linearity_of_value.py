"""NL by value: the first step that leaves the line through the path's beginning, as the authors' notebooks have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from plateau_lens.steps.registry import Curves, Statistic, StepValues, statistic


@statistic("nl-value")
class NonLinearityOfValue(Statistic):
    """The first ``n > anchor`` with ``|d[n] - line[n]| > departure * |line[n]|``; anchor+1..n_steps, steps.

    ``line[n] = d[0] + (d[anchor] - d[0]) * n / anchor``. Censored at the last usable step if that never happens. NaN
    where the line is flat (a relative departure from 0 is undefined) or the path ends at the anchor.

    Source: the authors' notebooks (jettjaniak/teren, branch explorations). The numbers in the paper's Table B.2 are of
    this rule with ``convention: notebook``; its text has another, `NonLinearity`.
    """

    symbol = "NL by value"
    title = "NL step (first non-linearity, of the value)"
    place = 50

    anchor: int = Field(default=9, ge=1)
    """Second point of the line, steps."""
    departure: float = Field(default=0.2, gt=0, allow_inf_nan=False)
    """Relative departure that counts, 0.2 = 20 %."""
    convention: Literal["paper", "notebook"] = "paper"
    """``notebook``: ``n - 1``, and the number of points where none departs on a path that was looked at to its end (see
    `runs.convention`)."""

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        d, notebook = curves.heights, self.convention == "notebook"
        points = d.shape[1]
        n = np.arange(points, dtype=np.float64)
        if points <= self.anchor:
            return StepValues(np.full(len(d), np.nan), np.ones(len(d), dtype=bool))
        line = d[:, :1] + (d[:, self.anchor] - d[:, 0])[:, None] * n / self.anchor
        leaves = curves.usable & (n > self.anchor) & (np.abs(d - line) > self.departure * np.abs(line))
        seen = leaves.any(axis=1)
        # A path that was cut was not looked at behind its last usable step: the notebooks' number would say it was.
        never = np.where(notebook & (curves.ends == points - 1), points, curves.ends)
        value = np.where(seen, leaves.argmax(axis=1) - notebook, never)
        flat = d[:, self.anchor] == d[:, 0]
        undefined = flat | (curves.ends <= self.anchor) | curves.broken
        return StepValues(np.where(undefined, np.nan, value), ~curves.broken & (~seen | undefined))

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """With its parameters."""
        text = (
            f"NL step (first non-linearity, of the value): the first step n ≥ {self.anchor + 1} that departs by more "
            f"than {100 * self.departure:g} % from the line through points 0 and {self.anchor}. Censored where none "
            "does."
        )
        if self.convention == "notebook":
            text += f" As in the authors' notebooks, n - 1 is given, and {n_steps + 1}, the number of points, for none."
        return text
