"""Figure 1: single curves of the experiments that are only shown, and the mean of all that are measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from plateau_lens._errors import RunFolderError
from plateau_lens.glossary import SCHEDULES
from plateau_lens.report import definitions
from plateau_lens.report.figures.examples import Column, draw_grid, draw_paths
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import KindCurves, MeanCurve, RunData
from plateau_lens.report.sections.registry import Drawing, Section, Skipped, section
from plateau_lens.steps.registry import Curves

FIGURE = "figure-1"
GRID = "figure-1-grid"
PATHS = 3
"""Bases of Figure 1, one path a kind of each."""
MOST_BASES = 6
"""Rows of the grid: a page holds no more."""
MOST_COLUMNS = 2
"""Responses that stand beside one another; L2 and another, where the run has it."""
MARKED = "ms"
"""Label of the statistic whose step is a dot on its curve."""
ALL = "toward"
"""Name of the experiment whose paths the mean is over."""


class Shown(NamedTuple):
    """Single curves of one experiment along one schedule."""

    schedule: str
    columns: dict[str, Column]
    """By the label of the response."""


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
        """Two an experiment: Figure 1, and a grid of all its curves."""
        for place, label in enumerate(self.shown):
            names = [name if place == 0 else f"{name}-{label}" for name in (FIGURE, GRID)]
            try:
                yield from draw(self.data, label, *names)
            except RunFolderError as error:
                yield from (Skipped(name, str(error)) for name in names)


def draw(
    data: RunData, experiment: str, figure: str = FIGURE, grid: str = GRID
) -> tuple[Drawing | Skipped, Drawing | Skipped]:
    """Figure 1 and its grid, on the absolute schedule if the run has it there, and its mean as well."""
    site = data.experiments[experiment].site
    of_all = (label for label, each in data.experiments.items() if each.name == ALL and each.site == site)
    mean_of = next(of_all, "")
    for schedule in sorted(SCHEDULES, key=lambda each: each not in _schedules(data, mean_of)):
        shown = Shown(schedule, _columns(data, experiment, mean_of, schedule))
        if shown.columns:
            return _paths(data, shown, mean_of, figure), _grid(data, shown, grid)
    lacking = f"the run has no curves of experiment {experiment!r}"
    return Skipped(figure, lacking), Skipped(grid, lacking)


def _schedules(data: RunData, experiment: str) -> tuple[str, ...]:
    made = data.experiments.get(experiment)
    return () if made is None else tuple(made.schedules_of(data.config))


def _columns(data: RunData, experiment: str, mean_of: str, schedule: str) -> dict[str, Column]:
    statistic = data.statistics.get(MARKED)
    found: dict[str, Column] = {}
    for response in list(data.responses)[:MOST_COLUMNS]:
        curves = tuple(data.curves(experiment, schedule, response))
        if curves:
            steps = None
            if statistic is not None and statistic.reads(response):
                steps = tuple(statistic.of(Curves(each.response, each.last, response)) for each in curves)
            means = _means(data, curves, mean_of, schedule, response)
            found[response] = Column(data.responses[response].y_label, curves, steps, means)
    return found


def _means(
    data: RunData, curves: tuple[KindCurves, ...], experiment: str, schedule: str, response: str
) -> tuple[MeanCurve, ...]:
    if schedule not in _schedules(data, experiment):
        return ()
    means = (data.mean_curve(each.kind, experiment, schedule, response) for each in curves)
    return tuple(each for each in means if each.n)


def _paths(data: RunData, shown: Shown, mean_of: str, name: str) -> Drawing:
    """Figure 1: one panel a response."""
    columns = [column.first_of_each(_bases(shown)[:PATHS]) for column in shown.columns.values()]
    unit = definitions.unit(shown.schedule, data.config)
    figure = draw_paths(columns, kind_styles(data.kinds), f"step ({unit})")
    kinds = " and ".join(curves.kind for curves in columns[0].curves)
    sizes = " and ".join(f"{mean.n:,}" for mean in columns[0].means)
    caption = (
        f"{_named(data, shown)} along the paths of {np.unique(columns[0].curves[0].prompt).size} bases, one path "
        f"each toward {kinds}, {shown.schedule} schedule. A solid line is one path, faint behind its target; a dot is "
        "its MS step (hollow: censored). "
    )
    if sizes:
        caption += (
            f"A dashed curve is the mean response at each step over all {sizes} paths of experiment {mean_of!r} "
            "toward that kind, those that have passed their target included, so that it is over the same paths at "
            "every step."
        )
    else:
        caption += f"No mean is drawn: the run has no experiment {ALL!r} on this schedule."
    return Drawing(name, "Example curves", caption, figure, "Figure 1")


def _grid(data: RunData, shown: Shown, name: str) -> Drawing:
    bases = _bases(shown)
    drawn = bases[:MOST_BASES]
    titles = {base: data.prompts.get(base, f"prompt {base}") for base in drawn}
    unit = definitions.unit(shown.schedule, data.config)
    figure = draw_grid(list(shown.columns.values()), titles, kind_styles(data.kinds), f"step ({unit})")
    more = f" The first {len(drawn)} of {len(bases)} bases." if len(drawn) < len(bases) else ""
    caption = (
        f"{_named(data, shown)} of single paths, one row a base under its prompt, {shown.schedule} schedule. A line "
        "is one target, faint behind the target; a dot is its MS step (hollow: censored); a dashed vertical line "
        "is the mean MS step of a kind in that panel, censored ones at their bound." + more
    )
    return Drawing(name, "Example curves, base by base", caption, figure)


def _bases(shown: Shown) -> list[int]:
    """Prompts whose activations are the bases."""
    return sorted(
        {int(prompt) for column in shown.columns.values() for each in column.curves for prompt in each.prompt}
    )


def _named(data: RunData, shown: Shown) -> str:
    names = [data.response_called(response) for response in shown.columns]
    return f"{names[0]} (left) and {names[1]} (right)" if len(names) > 1 else names[0]
