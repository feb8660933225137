"""Figure 1: single curves of the experiments that are only shown."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_lens._errors import RunFolderError
from plateau_lens.glossary import SCHEDULES
from plateau_lens.report import definitions
from plateau_lens.report.figures.examples import Column, draw_examples
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import Drawing, Section, Skipped, section
from plateau_lens.steps.registry import Curves

FIGURE = "figure-1"
MOST_BASES = 6
"""Rows of Figure 1: a page holds no more."""
MOST_COLUMNS = 2
"""Responses that stand beside one another; L2 and another, where the run has it."""
MARKED = "ms"
"""Label of the statistic whose step is a dot on its curve."""


@section("examples")
class ExamplesSection(Section):
    """A few bases, each pushed toward several targets."""

    title = "Example curves"
    place = 40

    def __init__(self, data: RunData):
        super().__init__(data)
        self.shown = [
            label for label, each in data.experiments.items() if each.lays_paths and not each.summarised
        ]
        if not self.shown:
            raise RunFolderError("the run has no experiment whose single curves are to be shown ('examples')")

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """One an experiment."""
        for place, label in enumerate(self.shown):
            name = FIGURE if place == 0 else f"{FIGURE}-{label}"
            try:
                yield draw(self.data, label, name)
            except RunFolderError as error:
                yield Skipped(name, str(error))


def draw(data: RunData, experiment: str, name: str = FIGURE) -> Drawing | Skipped:
    """Figure 1, on the absolute schedule if the run has it there."""
    for schedule in SCHEDULES:
        columns = _columns(data, experiment, schedule)
        if columns:
            break
    else:
        return Skipped(name, f"the run has no curves of experiment {experiment!r}")
    shapes = [column for _, column in columns]
    bases = sorted({int(prompt) for column in shapes for each in column.curves for prompt in each.prompt})
    shown = bases[:MOST_BASES]
    titles = {base: data.prompts.get(base, f"prompt {base}") for base in shown}
    unit = definitions.unit(schedule, data.config)
    figure = draw_examples(shapes, titles, kind_styles(data.kinds), f"step ({unit})")
    names = [data.response_called(response) for response, _ in columns]
    named = f"{names[0]} (left) and {names[1]} (right)" if len(names) > 1 else names[0]
    more = f" The first {len(shown)} of {len(bases)} bases." if len(shown) < len(bases) else ""
    caption = (
        f"{named} of single paths, one row a base under its prompt, {schedule} schedule ({unit}). A line is "
        "one target, faint behind the target; a dot is its MS step (hollow: censored); a dashed vertical line "
        "is the mean MS step of a kind in that panel, censored ones at their bound." + more
    )
    return Drawing(name, "Example curves", caption, figure)


def _columns(data: RunData, experiment: str, schedule: str) -> list[tuple[str, Column]]:
    statistic = data.statistics.get(MARKED)
    found: list[tuple[str, Column]] = []
    for response in list(data.responses)[:MOST_COLUMNS]:
        curves = tuple(data.curves(experiment, schedule, response))
        if curves:
            steps = None
            if statistic is not None and statistic.reads(response):
                steps = tuple(statistic.of(Curves(each.response, each.last, response)) for each in curves)
            found.append((response, Column(data.responses[response].y_label, curves, steps)))
    return found
