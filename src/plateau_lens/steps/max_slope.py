"""MS: the step at which the response rises fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import field_validator

from plateau_lens._errors import ConfigError
from plateau_lens.steps.registry import Automatic, Curves, Statistic, StepValues, statistic

SHARE_OF_THRESHOLD = 1e-3
"""Automatic least slope, as a share of the AP threshold: the paper's 0.02 where that is 20."""
SHARE_OF_END = 1e-4
"""The same as a share of the median end-of-path response, where no AP step has a threshold on it."""


@statistic("ms")
class MaxSlope(Statistic):
    """``argmax_{1 <= n <= last} d[n] - d[n-1]``, the earliest if several are equal; 1..n_steps, steps.

    Censored where no slope exceeds the least (the blow-up, if there is one, lies behind the last usable step, which is
    the value) and where the steepest slope is at the last usable step (the rise may go on behind it).

    Source: arXiv 2409.15019v2, section 4.1, "max slope".
    """

    symbol = "MS"
    title = "MS step (max slope)"
    place = 10

    min_slope: Mapping[str, float | Literal["auto"]] = {}
    """Label of a response to the slope, response units a step, that the steepest must exceed; the paper's 0.02 for L2.
    One that is not named has its response's own; auto: 1/1000 of the AP threshold, where AP is of that response."""
    convention: Literal["paper", "notebook"] = "paper"
    """``notebook``: the last of equal slopes (see `runs.convention`)."""

    @field_validator("min_slope", mode="after")
    @classmethod
    def _not_negative(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        if any(value != "auto" and not value >= 0 for value in given.values()):
            raise ValueError("a least slope is a number >= 0 or auto")
        return given

    def of(self, curves: Curves) -> StepValues:
        """See the class."""
        slopes = np.where(curves.usable[:, 1:], np.diff(curves.heights, axis=1), -np.inf)
        if self.convention == "notebook":
            step = slopes.shape[1] - slopes[:, ::-1].argmax(axis=1)
        else:
            step = 1 + slopes.argmax(axis=1)
        blows_up = slopes.max(axis=1) > self._least(curves.response)
        value = np.where(blows_up, step, curves.ends).astype(np.float64)
        value[curves.broken] = np.nan
        return StepValues(value, ~curves.broken & (~blows_up | (step == curves.ends)))

    def resolve(self, run: Automatic) -> MaxSlope:
        """Numbers for the least slopes of all the run's responses."""
        asked = {**run.least_slope, **self.min_slope}
        numbers = {
            label: self._automatic(label, run) if value == "auto" else float(value)
            for label, value in asked.items()
        }
        return self.model_copy(update={"min_slope": numbers})

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """With the least slope of each response."""
        least = ", ".join(f"{_number(self.min_slope.get(each))} for {each.upper()}" for each in responses)
        text = (
            "MS step (max slope): the step n ≥ 1 with the steepest rise d[n] - d[n-1]. Censored where no "
            f"rise exceeds the least slope ({least}, a step) or the steepest is at the last usable step."
        )
        if self.convention == "notebook":
            text += (
                f" As in the authors' notebooks, the last of equal rises counts, and {n_steps} is given for none on a "
                "path that was looked at to its end."
            )
        return text

    def _least(self, response: str) -> float:
        found = self.min_slope.get(response, 0.0)
        if isinstance(found, str):
            raise ValueError(f"the least slope of {response!r} is {found!r}; resolve it, or give a number")
        return found

    def _automatic(self, response: str, run: Automatic) -> float:
        plateau = run.resolved("ap")
        threshold = getattr(plateau, "threshold", None)
        if plateau is not None and plateau.reads(response) and isinstance(threshold, float):
            return SHARE_OF_THRESHOLD * threshold
        least = SHARE_OF_END * run.end_of_path(response)
        if not least >= 0:
            raise ConfigError(
                f"the automatic least slope of {response} is {least:g}: no path of it has an end; set "
                f"statistics.ms.min_slope.{response}"
            )
        return least


def _number(number: float | str | None) -> str:
    return f"{number:.4g}" if isinstance(number, int | float) else "the run's own"
