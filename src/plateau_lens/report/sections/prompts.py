"""What the prompts are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plateau_lens.report.sections.registry import Block, Drawing, Pairs, Prose, Section, section

SHOWN = 10
"""Prompts shown, out of all."""


@section("prompts")
class Prompts(Section):
    """The first prompts of the run."""

    title = "Prompts"
    place = 120

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """Their text."""
        every = self.data.prompts
        shown = [(str(pair), text) for pair, text in list(every.items())[:SHOWN]]
        yield Prose(f"The first {len(shown)} of {len(every)}; the site is a prompt's last token.")
        yield Pairs(shown, style="prompts")
