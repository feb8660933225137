"""AP: how far one may push before the output leaves its plateau."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from plateau_lens.steps.registry import Automatic, Curves, Statistic, StepValues, statistic

SHARE_OF_END = 0.1
"""Automatic threshold, as a share of the median end-of-path response; on GPT-2 that is about the paper's 20."""


@statistic("ap")
class ActivationPlateau(Statistic):
    """The first ``n`` with ``d[n] >= threshold``; 0..n_steps, steps.

    Censored at the last usable step (``n_steps`` unless the path stops at its target) where the threshold is never
    reached: the plateau is at least that long, and the value is that lower bound.

    Source: arXiv 2409.15019v2, section 4.4 and Figure 3.
    """

    symbol = "AP"
    title = "AP step (activation plateau)"
    place = 20

    threshold: Annotated[float, Field(allow_inf_nan=False, gt=0)] | Literal["auto"] = "auto"
    """Response that ends a plateau, in the response's unit; the paper's 20 on GPT-2. auto: 10 % of the median
    end-of-path response toward model-generated targets."""
    response: str = "l2"
    """Label of the response it is of."""

    def reads(self, response: str) -> bool:
        """Its one response."""
        return response == self.response

    def needs(self) -> Sequence[str]:
        """Its one response."""
        return (self.response,)

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        if isinstance(self.threshold, str):
            raise ValueError("the AP threshold is 'auto'; resolve it, or give a number")
        reached = curves.usable & (curves.heights >= self.threshold)
        seen = reached.any(axis=1)
        value = np.where(seen, reached.argmax(axis=1), curves.ends)
        return StepValues(np.where(curves.broken, np.nan, value), ~seen & ~curves.broken)

    def resolve(self, run: Automatic) -> ActivationPlateau:
        """A number for the threshold, six digits of it."""
        if self.threshold != "auto":
            return self
        measured = float(f"{SHARE_OF_END * run.end_of_path(self.response):.6g}")
        return self.model_copy(update={"threshold": measured})

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """With the threshold."""
        threshold = f"{self.threshold:.4g}" if isinstance(self.threshold, float) else "the run's own"
        what = "L2 at the read site" if self.response == "l2" else self.response
        return (
            f"AP step (activation plateau): the first step at which {what} reaches {threshold}. "
            "Censored where it never does: the plateau is at least that long."
        )
