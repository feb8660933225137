"""What every word of the report means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plateau_lens.glossary import PAPER_WORDS
from plateau_lens.report import definitions
from plateau_lens.report.sections.registry import Block, Drawing, Fold, Listing, Pairs, Section, section


@section("definitions")
class Definitions(Section):
    """Experiments, statistics and responses of the run, and the words of the paper."""

    title = "Definitions"
    place = 110

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """Sentences."""
        data = self.data
        experiments = [(each.heading, f"{each.meaning}.") for each in data.experiments.values()]
        statistics = dict.fromkeys(group.statistic for group in data.samples)
        sentences = [("", definitions.statistic(data, label)) for label in statistics]
        responses = [("Response", f"{each.heading}.") for each in data.responses.values()]
        yield Listing([*experiments, *sentences, *responses])
        yield Fold("Words", [Pairs(list(PAPER_WORDS.items()))])
