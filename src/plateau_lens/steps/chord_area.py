"""AUC: the step at which the triangle under the chord exceeds the area under the curve most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.integrate import cumulative_trapezoid

from plateau_lens.steps.registry import Curves, Statistic, StepValues, statistic


@statistic("auc")
class ChordArea(Statistic):
    """``argmax_{5 <= n <= last} (n * d[n] / 2) / trapezoid(d[0..n])``; 5..n_steps or NaN, steps.

    A straight line has ratio 1 everywhere and no such step: NaN, as is any curve whose ratio never exceeds
    ``1 + min_excess`` (it is nowhere convex from the origin) and any path shorter than 5 steps. Censored where
    undefined or at the last usable step.

    Source: arXiv 2409.15019v2, appendix B.1; the triangle's base is n, as the trapezoid's.
    """

    symbol = "AUC"
    title = "AUC step (chord over curve)"
    place = 30

    min_excess: float = 1e-3
    """Ratio above 1 that is taken for rounding."""
    convention: Literal["paper", "notebook"] = "paper"
    """``notebook``: a triangle on ``n + 1``, never undefined for want of excess (see `runs.convention`)."""

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        d, notebook = curves.heights, self.convention == "notebook"
        n = np.arange(d.shape[1], dtype=np.float64)
        area = cumulative_trapezoid(d, axis=1, initial=0)
        ratio = np.full_like(d, -np.inf)
        np.divide((n + notebook) * d / 2, area, out=ratio, where=curves.usable & (n >= 5) & (area > 0))
        step = ratio.argmax(axis=1)
        defined = ratio.max(axis=1) > (0 if notebook else 1 + self.min_excess)
        censored = ~curves.broken & (~defined | (step == curves.ends))
        return StepValues(np.where(defined, step, np.nan), censored)

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """The definition in words."""
        text = (
            "AUC step (chord over curve): the step n ≥ 5 at which the triangle under the chord, n · d[n] / "
            "2, exceeds the area under the curve most. Censored where it never does, or does so at the last "
            "usable step."
        )
        if self.convention == "notebook":
            text += " As in the authors' notebooks, the triangle is (n + 1) · d[n] / 2."
        return text
