"""Numbers of a run that claims are made of, and what can be made of them: sums, multiples, products, ranges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from plateau_lens.report.claims.measures import Measures, NotMeasuredError


class Measured(NamedTuple):
    """A number with its resamples."""

    draws: Float[np.ndarray, " draw"]
    """Draw 0 is the number, the others are of resamples of pairs, the same pairs for every number of a run."""
    n: int
    """Pairs with a defined value, of the kind with fewest."""


class Quantity(ABC):
    """One number of a run. It can be added, subtracted and multiplied with a plain number."""

    @abstractmethod
    def of(self, run: Measures) -> Measured:
        """The number in the sample and in every resample.

        Raises:
            NotMeasuredError: if the run has not what it is computed of.
        """

    @abstractmethod
    def unit(self, run: Measures) -> str:
        """What it is counted in: ``steps``, ``KS``, ``share``, ..."""

    @abstractmethod
    def what(self, run: Measures) -> str:
        """What it is a number of, but for the kind, e.g. ``mean MS of L2, absolute``."""

    @abstractmethod
    def whose(self, run: Measures) -> str:
        """The kind that it is of, by its label."""

    def text(self, run: Measures) -> str:
        """What it is, in a line."""
        return f"{self.what(run)}: {self.whose(run)}"

    def __sub__(self, other: Quantity | float) -> Sum:
        if isinstance(other, Quantity):
            return Sum(((1.0, self), (-1.0, other)))
        return Sum(((1.0, self),), -other)

    def __rsub__(self, other: float) -> Sum:
        return Sum(((-1.0, self),), other)

    def __add__(self, other: Quantity) -> Sum:
        return Sum(((1.0, self), (1.0, other)))

    def __rmul__(self, factor: float) -> Sum:
        return Sum(((factor, self),))


@dataclass(frozen=True)
class Combined(Quantity):
    """What is made of several numbers, each of one kind."""

    def parts(self) -> tuple[Quantity, ...]:
        """The numbers that it is made of."""
        raise NotImplementedError

    def unit(self, run: Measures) -> str:
        """That of the first."""
        return self.parts()[0].unit(run)

    def what(self, run: Measures) -> str:
        """What all are numbers of; empty if they are not of one thing."""
        found = {each.what(run) for each in self.parts()}
        return found.pop() if len(found) == 1 else ""

    def text(self, run: Measures) -> str:
        """With what all are numbers of said once."""
        what = self.what(run)
        return f"{what}: {self.whose(run)}" if what else self.whose(run)

    def named(self, each: Quantity, run: Measures) -> str:
        """One of the numbers, said as briefly as what all have in common allows."""
        if self.what(run):
            shown = each.whose(run)
            return f"({shown})" if isinstance(each, Combined) and len(each.parts()) == 2 else shown
        return f"({each.text(run)})"


@dataclass(frozen=True)
class Sum(Combined):
    """``constant + sum of factor * number``."""

    terms: tuple[tuple[float, Quantity], ...]
    constant: float = 0.0

    def parts(self) -> tuple[Quantity, ...]:
        """See `Combined`."""
        return tuple(each for _, each in self.terms)

    def of(self, run: Measures) -> Measured:
        """Draw by draw."""
        found = measured(self.parts(), run)
        draws = self.constant + sum(
            factor * each.draws for (factor, _), each in zip(self.terms, found, strict=True)
        )
        return Measured(np.asarray(draws), min(each.n for each in found))

    def whose(self, run: Measures) -> str:
        """Its formula, in words, what is added first."""
        words: list[str] = []
        said = [(factor, self.named(each, run)) for factor, each in self.terms]
        if self.constant:
            said.append((self.constant, ""))
        for factor, name in sorted(said, key=lambda one: one[0] < 0):
            size = f"{abs(factor):g}"
            shown = size if not name else name if size == "1" else f"{size} times {name}"
            sign = "less " if factor < 0 else "plus " if words else ""
            words.append(sign + shown)
        return " ".join(words)


@dataclass(frozen=True)
class Product(Combined):
    """Two numbers multiplied: above 0 where they have one sign. Where both may be 0, it is slow to say so."""

    one: Quantity
    other: Quantity

    def parts(self) -> tuple[Quantity, ...]:
        """See `Combined`."""
        return self.one, self.other

    def of(self, run: Measures) -> Measured:
        """Draw by draw."""
        one, other = measured(self.parts(), run)
        return Measured(one.draws * other.draws, min(one.n, other.n))

    def unit(self, run: Measures) -> str:
        """That of the one times that of the other."""
        units = [each.unit(run) for each in self.parts()]
        return f"{units[0]}²" if units[0] == units[1] else " times ".join(units)

    def whose(self, run: Measures) -> str:
        """Both."""
        return " times ".join(self.named(each, run) for each in self.parts())


@dataclass(frozen=True)
class Range(Combined):
    """The largest of some numbers less the smallest, which ones they are being found anew in every resample."""

    numbers: tuple[Quantity, ...]

    def parts(self) -> tuple[Quantity, ...]:
        """See `Combined`."""
        return self.numbers

    def of(self, run: Measures) -> Measured:
        """Draw by draw."""
        found = measured(self.numbers, run)
        draws = np.stack([each.draws for each in found])
        return Measured(draws.max(axis=0) - draws.min(axis=0), min(each.n for each in found))

    def whose(self, run: Measures) -> str:
        """Of which."""
        return f"the range ({', '.join(self.named(each, run) for each in self.numbers)})"


def measured(quantities: Iterable[Quantity], run: Measures) -> list[Measured]:
    """Each number of several.

    Raises:
        NotMeasuredError: with all that the run lacks for any of them.
    """
    found: list[Measured] = []
    lacking: dict[str, None] = {}
    for each in quantities:
        try:
            found.append(each.of(run))
        except NotMeasuredError as error:
            lacking |= dict.fromkeys(error.lacking)
    if lacking:
        raise NotMeasuredError(*lacking)
    return found
