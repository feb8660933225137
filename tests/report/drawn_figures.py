"""Every figure that a report draws of a run."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_lens.report.build import build_sections
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections import examples
from plateau_lens.report.sections.distributions import DISTRIBUTIONS
from plateau_lens.report.sections.registry import Drawing, Skipped

OF_ANY_WHOLE_RUN = (examples.FIGURE, examples.GRID, *(each.name for each in DISTRIBUTIONS))
"""What a run of every experiment, schedule and paper's kind has, whatever other sections there are."""


def drawings(data: RunData) -> Iterator[Drawing | Skipped]:
    """All of them, and what could not be drawn."""
    built, skipped = build_sections(data)
    for section in built:
        yield from section.drawings()
    yield from skipped
