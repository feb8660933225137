"""Everything that is computed of a run before any of it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from plateau_lens.report.sections.controls import Controls


@dataclass(frozen=True)
class Numbers:
    """The frames behind tables, figures and page; each is made by the module of its name."""

    summary: pl.DataFrame
    differences: pl.DataFrame
    claims: pl.DataFrame
    ladder: pl.DataFrame
    """Empty where the run has no model-generated kind in what realism is measured by."""
    sensitivity: pl.DataFrame
    """Empty where there are no AP steps, or no curves to look at again."""
    controls: Controls | None
    """None where the run has no codes to compare."""
