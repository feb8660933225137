"""Numbers of the paths themselves: how long they are, and how step-like a response is along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.survival import grid_of, kaplan_meier
from plateau_lens.report.claims.measures import KindOf, Measures
from plateau_lens.report.claims.quantity import Measured, Quantity

STRETCH = 10
"""Steps, of a path of 100, in which a step-like curve gains the most."""


@dataclass(frozen=True)
class TargetDistance(Quantity):
    """The median distance from base to target, residual-stream units."""

    experiment: str
    kind: KindOf

    def of(self, run: Measures) -> Measured:
        """In each draw, by the grouped median of all distances."""
        value = run.distance(self.experiment, self.kind)
        seen = np.zeros(value.size, dtype=bool)
        found = kaplan_meier(run.resamples(value.size), value, seen, grid=grid_of([value], None))
        return Measured(found.quantile(0.5), found.n)

    def unit(self, run: Measures) -> str:
        """Of the residual stream."""
        return "units"

    def what(self, run: Measures) -> str:
        """The distance."""
        return "median distance of targets"

    def whose(self, run: Measures) -> str:
        """The kind."""
        return run.called(self.kind)


@dataclass(frozen=True)
class LargestStep(Quantity):
    """The mean over pairs of the largest share of its end value that a curve gains within 10 steps of 100.

    1 for a step, 0.10 for a straight line, 0.19 for a parabola. NaN for a curve that does not end above 0.
    """

    experiment: str
    """By name: the first of a run that is one."""
    response: str
    schedule: str
    kind: KindOf

    def of(self, run: Measures) -> Measured:
        """In each draw."""
        labels = [label for label, each in run.data.experiments.items() if each.name == self.experiment]
        found = run.curves(labels[0] if labels else self.experiment, self.response, self.schedule, self.kind)
        share = largest_gain(found.response, max(1, round(STRETCH * run.data.config.n_steps / 100)))
        return mean_of_pairs(run.resamples(share.size), share)

    def unit(self, run: Measures) -> str:
        """None: a share."""
        return "share"

    def what(self, run: Measures) -> str:
        """The share."""
        response = run.data.response_called(self.response)
        return f"{response}, largest share of the end gained within {STRETCH} % of the way"

    def whose(self, run: Measures) -> str:
        """The kind."""
        return run.called(self.kind)


def largest_gain(curves: Float[np.ndarray, "pair step"], stretch: int) -> Float[np.ndarray, " pair"]:
    """The largest rise within so many steps as a share of the end; NaN for a curve that does not end above 0."""
    d = curves.astype(np.float64)
    end = np.where(d[:, -1] > 0, d[:, -1], np.nan)
    return (d[:, stretch:] - d[:, :-stretch]).max(axis=1) / end


def mean_of_pairs(pairs: PairBootstrap, value: Float[np.ndarray, " pair"]) -> Measured:
    """The mean of one number a pair, in the sample and in every resample; NaN is left out."""
    defined = np.isfinite(value)
    columns = np.stack([np.where(defined, value, 0.0), defined])
    total, count = np.concatenate([columns @ counts for counts in pairs.blocks()], axis=1)
    with np.errstate(invalid="ignore"):
        return Measured(total / count, int(defined.sum()))
