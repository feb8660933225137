"""The authors' own numbers beside a run's, where it is of their set-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from plateau_lens._errors import RunFolderError
from plateau_lens.report import published
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import Block, Drawing, Fold, Prose, Section, section

if TYPE_CHECKING:
    import polars as pl


@section("published")
class Published(Section):
    """What was published of GPT-2, and what this run has in its place."""

    title = "Beside the published GPT-2 values"
    place = 25

    def __init__(self, data: RunData):
        super().__init__(data)
        table = published.table(data)
        if table is None:
            raise RunFolderError("the run is not of the set-up that was published")
        self.table = table

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """One row a published number."""
        return {"published": published.frame(self.data)}

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """Folded away."""
        yield Fold(self.heading, [self.table, Prose(f"{published.SOURCE} {published.NOTE}", quiet=True)])
