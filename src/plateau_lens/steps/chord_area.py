"""AUC: the step at which the triangle under the chord exceeds the area under the curve most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.integrate import cumulative_trapezoid

from plateau_lens.steps.registry import Curves, Statistic, StepValues, statistic

ROUNDING = 1e-9
"""Ratios closer than this, relative to the largest, are equal: a straight line's are 1 but for rounding."""
FIRST_OF_NOTEBOOKS = 5
"""Step from which the authors' notebooks look."""


@statistic("auc")
class ChordArea(Statistic):
    """``argmax_{1 <= n <= last} (n * d[n] / 2) / trapezoid(d[0..n])``, the earliest of equal; 1..n_steps, steps.

    Early for a curve that only flattens: its ratio is never above 1, which it is at step 1. The paper counts such
    curves, and takes an early step for a sign of one. NaN for a curve with no area under it. Censored where undefined
    or at the last usable step.

    Source: arXiv 2409.15019v2, appendix B.1.
    """

    symbol = "AUC"
    title = "AUC step (chord over curve)"
    place = 30

    convention: Literal["paper", "notebook"] = "paper"
    """``notebook``: a triangle on ``n + 1``, from step 5 on (see `runs.convention`)."""

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        d, notebook = curves.heights, self.convention == "notebook"
        n = np.arange(d.shape[1], dtype=np.float64)
        area = cumulative_trapezoid(d, axis=1, initial=0)
        ratio = np.full_like(d, -np.inf)
        looked_at = curves.usable & (n >= (FIRST_OF_NOTEBOOKS if notebook else 1)) & (area > 0)
        np.divide((n + notebook) * d / 2, area, out=ratio, where=looked_at)
        largest = ratio.max(axis=1, keepdims=True)
        defined = np.isfinite(largest[:, 0])
        near = np.where(defined[:, None], largest - ROUNDING * np.abs(largest), 0.0)
        step = (ratio >= near).argmax(axis=1)
        return StepValues(
            np.where(defined, step, np.nan), ~curves.broken & (~defined | (step == curves.ends))
        )

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """The definition in words."""
        text = (
            "AUC step (chord over curve): the step n ≥ 1 at which the triangle under the chord, n · d[n] / "
            "2, is largest beside the area under the curve; early for a curve that only flattens. Censored where "
            "that is the last usable step."
        )
        if self.convention == "notebook":
            text += f" As in the authors' notebooks, the triangle is (n + 1) · d[n] / 2, and n ≥ {FIRST_OF_NOTEBOOKS}."
        return text
