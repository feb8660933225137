"""The registry of step statistics: one number a curve that says where the model's response blows up.

A new statistic is a class with one method::

    from plateau_lens import Curves, Statistic, StepValues, statistic

    @statistic("half-end")
    class HalfEnd(Statistic):
        "Where the response first reaches half of what it has at the end of its path."
        symbol = "HE"
        title = "HE step (half of the end)"

        def of(self, curves: Curves) -> StepValues:
            half = curves.d[range(len(curves)), curves.ends] / 2
            return StepValues((curves.d >= half[:, None]).argmax(axis=1))

Every statistic is given curves ``d[pair, step]`` (step 0 is the base itself, ``d[:, 0] == 0``) and the last usable
step of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from plateau_lens._errors import ConfigError
from plateau_lens._registry import Described, Registry


@dataclass(frozen=True, eq=False)
class StepValues:
    """One statistic of many curves."""

    value: Float[np.ndarray, " pair"]
    """In the statistic's unit; NaN where undefined. Where censored and not NaN, a bound: the event lies behind it."""
    censored: Bool[np.ndarray, " pair"] | None = None
    """True where the event was not seen within the usable steps, all of which are finite; none given: nowhere."""

    @property
    def flags(self) -> Bool[np.ndarray, " pair"]:
        """`censored`, one flag a curve."""
        assert self.censored is not None
        return self.censored

    def __post_init__(self) -> None:
        value = np.asarray(self.value, dtype=np.float64)
        given = self.censored
        flags = np.zeros(value.shape, dtype=bool) if given is None else np.asarray(given, dtype=bool)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "censored", flags)


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of one response, and what is known of the paths they were measured along.

    From plain arrays: ``Curves(d)``, all steps usable.
    """

    d: Float[np.ndarray, "pair step"]
    """Response at each step."""
    last: Int[np.ndarray, " pair"] | None = None
    """Last usable step of each curve, 0..n_steps; none given: the last there is."""
    response: str = "l2"
    """Label of the response in the run."""
    step_length: Float[np.ndarray, " pair"] | None = None
    """Residual-stream units a step; None where not known."""
    base_norm: Float[np.ndarray, " pair"] | None = None
    """L2 norm of each path's base, as the site has it, residual-stream units; None where not known."""
    distance: Float[np.ndarray, " pair"] | None = None
    """From each path's base to its target, residual-stream units; None where not known."""

    def __post_init__(self) -> None:
        d = np.asarray(self.d, dtype=np.float64)
        last = np.full(len(d), d.shape[1] - 1) if self.last is None else np.asarray(self.last)
        object.__setattr__(self, "d", d)
        object.__setattr__(self, "last", last)

    def __len__(self) -> int:
        return len(self.d)

    @property
    def ends(self) -> Int[np.ndarray, " pair"]:
        """Last usable step of each curve."""
        assert self.last is not None
        return self.last

    def in_units_of(
        self, length: Literal["base_norm", "distance"], steps: Float[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        """Steps as multiples of another length: ``steps * step_length / length``; NaN where that is 0.

        Raises:
            ConfigError: where one of the two lengths is not known.
        """
        unit: Float[np.ndarray, " pair"] | None = getattr(self, length)
        if unit is None or self.step_length is None:
            missing = length if unit is None else "step_length"
            raise ConfigError(
                f"curves have no {missing}: a run has it on file if this version of plateau-lens computed it; "
                "compute the run again, or leave out the statistics that are counted in it"
            )
        found = np.full(len(self), np.nan)
        return np.divide(steps * self.step_length, unit, out=found, where=unit > 0)

    @cached_property
    def _within(self) -> Bool[np.ndarray, "pair step"]:
        return np.arange(self.d.shape[1]) <= self.ends[:, None]

    @cached_property
    def broken(self) -> Bool[np.ndarray, " pair"]:
        """Curves with a usable point that is not finite: of them nothing is known, and they are not censored."""
        return np.asarray((self._within & ~np.isfinite(self.d)).any(axis=1))

    @cached_property
    def usable(self) -> Bool[np.ndarray, "pair step"]:
        """Points a statistic may look at; none of a broken curve."""
        return self._within & ~self.broken[:, None]

    @cached_property
    def heights(self) -> Float[np.ndarray, "pair step"]:
        """Curves with 0 in place of what is not usable."""
        return np.where(self.usable, self.d, 0.0)


class Statistic(Described):
    """One step statistic. Fields are its parameters; `of` measures curves."""

    symbol: ClassVar[str] = ""
    """What figures and tables call it, e.g. ``MS``; the name in capitals unless given."""
    title: ClassVar[str] = ""
    """Heading of its tables, e.g. ``MS step (max slope)``."""
    unit: ClassVar[str] = "step"
    """What its values are counted in. ``step``: steps of the path, whole or not, in 0..n_steps."""

    def reads(self, response: str) -> bool:
        """Whether the statistic is of this response (a label of the run); of every one, unless it says otherwise."""
        return True

    def needs(self) -> Sequence[str]:
        """Labels of responses without which the statistic says nothing; a run that lacks one is refused."""
        return ()

    def of(self, curves: Curves) -> StepValues:
        """The statistic of each curve."""
        raise NotImplementedError

    def resolve(self, run: Automatic) -> Statistic:
        """The same with numbers for parameters that are ``auto``: those that a run measures on its own curves."""
        return self

    def sentence(self, responses: Sequence[str], n_steps: int) -> str:
        """Its definition, with its parameters, as captions and notes have it; the docstring's first line unless given.

        Args:
            responses: labels of the responses it is said of.
            n_steps: steps of a path.
        """
        return f"{self.heading}: {(self.__doc__ or '').strip().splitlines()[0] if self.__doc__ else ''}"

    @property
    def short(self) -> str:
        """`symbol`, or what stands for it."""
        return self.symbol or self.name.upper()

    @property
    def heading(self) -> str:
        """`title`, or what stands for it."""
        return self.title or f"{self.short} step"


@dataclass(frozen=True)
class Automatic:
    """What a run can say of itself when a statistic resolves its automatic parameters."""

    end_of_path: Callable[[str], float]
    """Label of a response to its median at the last usable step of the paths toward model-generated targets (relative
    schedule if the run has it); a run without such paths takes all of its kinds together."""
    least_slope: Mapping[str, float | str]
    """Label of a response to the slope below which a rise is none, response units a step, or ``auto``."""
    statistics: Mapping[str, Statistic]
    """The run's statistics, by label, as asked for."""

    def resolved(self, name: str) -> Statistic | None:
        """The run's first statistic of that name, resolved; None if it has none."""
        found = next((each for each in self.statistics.values() if each.name == name), None)
        return None if found is None else found.resolve(self)


C = TypeVar("C", bound=type[Statistic])
STATISTICS: Registry[Statistic] = Registry("statistic", "plateau_lens.steps")


def statistic(name: str) -> Callable[[C], C]:
    """Register a `Statistic` subclass under ``name``."""
    return STATISTICS.add(name)
