"""AP: how far one may push before the output leaves its plateau."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from plateau_lens._errors import ConfigError
from plateau_lens.steps.registry import Automatic, Curves, Statistic, StepValues, statistic


@statistic("ap")
class ActivationPlateau(Statistic):
    """The first ``n`` with ``d[n] >= threshold``; 0..n_steps, steps.

    Censored at the last usable step (``n_steps`` unless the path stops at its target) where the threshold is never
    reached: the plateau is at least that long, and the value is that lower bound.

    With ``threshold: share`` every curve has a threshold of its own, ``share`` of its value at its last usable step: a
    response that saturates low is then not taken for a long plateau. Never censored; NaN for a curve that ends at 0.

    Source: arXiv 2409.15019v2, section 4.4 and Figure 3.
    """

    symbol = "AP"
    title = "AP step (activation plateau)"
    place = 20

    threshold: Annotated[float, Field(allow_inf_nan=False, gt=0)] | Literal["auto", "share"] = "auto"
    """Response that ends a plateau, in the response's unit; the paper's 20 on GPT-2. auto: ``share`` of the median
    end-of-path response toward model-generated targets. share: ``share`` of each path's own end."""
    share: float = Field(default=0.1, gt=0, le=1)
    """Of the response at the end of a path, in 0..1; on GPT-2 a tenth of the median is about the paper's 20."""
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
        threshold = self._threshold(curves)
        reached = curves.usable & (curves.heights >= threshold[:, None])
        seen = reached.any(axis=1)
        value = np.where(seen, reached.argmax(axis=1), curves.ends)
        undefined = curves.broken | ~(threshold > 0)
        return StepValues(np.where(undefined, np.nan, value), ~seen & ~undefined)

    def resolve(self, run: Automatic) -> ActivationPlateau:
        """A number for the threshold, six digits of it."""
        if self.threshold != "auto":
            return self
        measured = float(f"{self.share * run.end_of_path(self.response):.6g}")
        if not measured > 0:
            raise ConfigError(
                f"the automatic AP threshold, {self.share:g} of the median end-of-path {self.response}, is "
                f"{measured:g}; it must be above 0: set statistics.ap.threshold"
            )
        return self.model_copy(update={"threshold": measured})

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """With the threshold."""
        what = "L2 at the read site" if self.response == "l2" else self.response
        if self.threshold == "share":
            own = f"{100 * self.share:g} % of what it is at the end of its own path"
            return f"{self.heading}: the first step at which {what} reaches {own}.{self._counted()}"
        threshold = f"{self.threshold:.4g}" if isinstance(self.threshold, float) else "the run's own"
        return (
            f"{self.heading}: the first step at which {what} reaches {threshold}.{self._counted()} "
            "Censored where it never does: the plateau is at least that long."
        )

    def _threshold(self, curves: Curves) -> Float[np.ndarray, " pair"]:
        """Of each curve."""
        if self.threshold == "share":
            return self.share * curves.heights[np.arange(len(curves)), curves.ends]
        if isinstance(self.threshold, str):
            raise ValueError("the AP threshold is 'auto'; resolve it, or give a number")
        return np.full(len(curves), self.threshold)

    def _counted(self) -> str:
        """What is said of the unit, where it is not steps."""
        return "" if self.unit == "step" else f" Counted in {self.unit}."
