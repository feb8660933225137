"""A claim: a sentence, taken apart into what a run can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from plateau_lens.numerics.comparisons import difference
from plateau_lens.numerics.verdicts import Evidence
from plateau_lens.report.claims.measures import Measures
from plateau_lens.report.claims.quantity import Quantity, measured


@dataclass(frozen=True)
class Part:
    """One thing that a sentence says: some numbers that are all above 0 where it is right."""

    says: str
    """In words, with all that it takes for granted."""
    effects: tuple[Quantity, ...]

    def evidence(self, run: Measures) -> Evidence:
        """What the run's pairs say of it.

        Raises:
            NotMeasuredError: with all that the run lacks.
        """
        return Evidence(tuple(difference(each.draws, each.n) for each in measured(self.effects, run)))


@dataclass(frozen=True)
class Claim:
    """One sentence, which holds if all of its parts do, and fails if one of them does."""

    sentence: str
    section: str
    """Where it stands in the paper, e.g. ``5.1, Table 1``."""
    parts: tuple[Part, ...]


OWN: list[Claim] = []
"""Users' claims, in the order in which they were made."""


def claim(made: Claim) -> Claim:
    """Have a claim of one's own tested with the paper's, as one table; it returns what it is given."""
    if made not in OWN:
        OWN.append(made)
    return made
