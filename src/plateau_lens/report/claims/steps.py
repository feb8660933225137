"""Numbers of a kind's step values: their mean, their spread, and the share of them in a stretch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.survival import Survival
from plateau_lens.report.claims.measures import KindOf, Measures
from plateau_lens.report.claims.quantity import Measured, Quantity
from plateau_lens.report.run_data import Group

_ROUNDING = 1e-9


@dataclass(frozen=True)
class OfSteps(Quantity):
    """A number of the values of one kind in one group."""

    group: Group
    kind: KindOf

    def unit(self, run: Measures) -> str:
        """The statistic's."""
        return run.data.units_of(self.group.statistic)

    def whose(self, run: Measures) -> str:
        """The kind."""
        return run.called(self.kind)

    def values(self, run: Measures) -> str:
        """What the values are."""
        statistic, response = (
            run.data.statistic_called(self.group.statistic),
            run.data.response_called(self.group.response),
        )
        return f"{statistic} of {response}, {self.group.schedule}"


@dataclass(frozen=True)
class Mean(OfSteps):
    """The (restricted) mean of the values."""

    def of(self, run: Measures) -> Measured:
        """See `plateau_lens.numerics.survival.Survival.mean`."""
        found = run.survival(self.group, self.kind)
        return Measured(found.mean(), found.n)

    def what(self, run: Measures) -> str:
        """Mean of the values."""
        return f"mean {self.values(run)}"


@dataclass(frozen=True)
class Spread(OfSteps):
    """Standard deviation of the (restricted) values, divisor n - 1; NaN if n < 2."""

    def of(self, run: Measures) -> Measured:
        """From the first two moments of the survival function."""
        found = run.survival(self.group, self.kind)
        beyond, grid = found.beyond[:-1], found.grid[:, None]
        square = grid[0] ** 2 + (np.diff(grid**2, axis=0) * beyond).sum(axis=0)
        variance = np.maximum(square - found.mean() ** 2, 0.0)
        scale = found.n / (found.n - 1) if found.n > 1 else np.nan
        return Measured(np.sqrt(variance * scale), found.n)

    def what(self, run: Measures) -> str:
        """Spread of the values."""
        return f"sd of {self.values(run)}"


@dataclass(frozen=True)
class Share(OfSteps):
    """The share of pairs, 0..1, whose value is at least ``first`` and at most ``last``; steps of a path of 100.

    Paths with another number of steps have the same stretch of the way. A pair counts as far as it was followed.
    """

    first: int
    last: int | None
    """None: the end of the path, and what lies behind it."""

    def of(self, run: Measures) -> Measured:
        """``S(first - 1) - S(last)``, of the survival function S."""
        found = run.survival(self.group, self.kind)
        scale = run.data.config.n_steps / 100
        draws = _beyond(found, np.searchsorted(found.grid, self.first * scale - _ROUNDING))
        if self.last is not None:
            draws = draws - _beyond(found, np.searchsorted(found.grid, self.last * scale + _ROUNDING))
        return Measured(draws, found.n)

    def unit(self, run: Measures) -> str:
        """None: a share."""
        return "share"

    def what(self, run: Measures) -> str:
        """Share of the values."""
        stretch = f"{self.first} or later" if self.last is None else f"{self.first} to {self.last}"
        return f"share of {self.values(run)} in {stretch}"


@dataclass(frozen=True)
class Beyond(Quantity):
    """A share less a bound, or a bound less a share, with at least the spread that it has were the bound the truth.

    Of a share of 0 or 1 a bootstrap is certain: in no resample is there what is not in the sample. So the spread
    is that of the test by score (Wilson 1927), ``sqrt(bound (1 - bound) / n)``, where that of the resamples is smaller.
    """

    share: Share
    bound: float
    sign: Literal[1, -1] = 1
    """1: the share is to be above the bound; -1: below."""

    def of(self, run: Measures) -> Measured:
        """What is lacking of the spread is added with alternate signs, so that it is nothing random."""
        draws, n = self.share.of(run)
        if n > 1:
            least = self.bound * (1 - self.bound) / n
            lacking = np.sqrt(max(least - float(np.nanvar(draws[1:])), 0.0))
            draws = draws + lacking * np.where(np.arange(draws.size) % 2, 1.0, -1.0)
            draws[0] += lacking
        return Measured(self.sign * (draws - self.bound), n)

    def unit(self, run: Measures) -> str:
        """None: a share."""
        return self.share.unit(run)

    def what(self, run: Measures) -> str:
        """The share."""
        return self.share.what(run)

    def whose(self, run: Measures) -> str:
        """With the bound."""
        kind = self.share.whose(run)
        return f"{kind} less {self.bound:g}" if self.sign == 1 else f"{self.bound:g} less {kind}"


def _beyond(found: Survival, points: int | np.integer) -> Float[np.ndarray, " draw"]:
    """S at the last of the first so many points; before all of them, 1."""
    return found.beyond[points - 1] if points else np.where(np.isnan(found.beyond[0]), np.nan, 1.0)
