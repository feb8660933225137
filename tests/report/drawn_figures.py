"""Every figure that a report draws of a run."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_lens.report.build import build_sections
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.distributions import DISTRIBUTIONS
from plateau_lens.report.sections.registry import Drawing, Skipped

NAMES = (
    "figure-1",
    *(each.name for each in DISTRIBUTIONS),
    "figure-ladder",
    "figure-kl-null",
    "figure-ap-sensitivity",
    "figure-controls",
)
"""Of a run that has everything, in the order in which they are shown."""


def drawings(data: RunData) -> Iterator[Drawing | Skipped]:
    """All of them, and what could not be drawn."""
    built, skipped = build_sections(data)
    for section in built:
        yield from section.drawings()
    yield from skipped
