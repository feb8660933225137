"""Every effect at a glance: means of kinds against each other, with intervals, the margin, and the paper's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.comparisons import Difference, difference, equivalence
from plateau_lens.numerics.intervals import Estimate
from plateau_lens.report import published, render
from plateau_lens.report.estimates import group_survivals
from plateau_lens.report.figures.forest import Effect, Panel, draw_forest
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.margin import margin_of
from plateau_lens.report.paper_kinds import FOUR, labels_of
from plateau_lens.report.published import Number
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections.registry import Block, Drawing, Prose, Section, section
from plateau_lens.report.sections.summary import key_groups

FIGURE = "figure-effects"
SCHEMA = {
    **dict.fromkeys((*Group._fields, "kind", "other"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("effect", "low", "high", "margin"), pl.Float64),
    "verdict": pl.String,
    "published": pl.Float64,
}
NOTE = (
    "Effect: mean of the first kind less that of the second, in percent of {reference}'s mean, with its 95 % interval "
    "over resamples of pairs (paired). Verdict: against the margin of the table of differences, not adjusted for the "
    "number of rows. Published: of GPT-2 small, another model unless the run is of it, from the paper's tables "
    "(arXiv 2409.15019v2); of AP from the medians of the authors' notebooks."
)


class _Row(NamedTuple):
    """One contrast in one group, as shares of the reference's mean."""

    group: Group
    kind: str
    other: str
    found: Difference
    margin: float
    verdict: str
    published: float


@section("effects")
class Effects(Section):
    """Every kind less model-generated, and the paper's other kinds among themselves."""

    title = "Effects at a glance"
    place = 5

    def __init__(self, data: RunData):
        super().__init__(data)
        self.rows = [row for group in key_groups(data) for row in _rows(data, group)]
        if not self.rows:
            raise RunFolderError("the run has no model-generated kind and another to compare it with")

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision, as shares."""
        rows = [
            {
                **row.group._asdict(),
                "kind": row.kind,
                "other": row.other,
                "n": row.found.n,
                "effect": row.found.value,
                "low": row.found.low,
                "high": row.found.high,
                "margin": row.margin,
                "verdict": row.verdict,
                "published": row.published,
            }
            for row in self.rows
        ]
        return {self.name: pl.DataFrame(rows, schema=SCHEMA)}

    def tables(self) -> Sequence[render.Table]:
        """One a group."""
        return [
            render.Table(
                f"{self.data.experiments[group.experiment].heading}: effects on {self.data.called(group)}",
                ("kind", "less", "effect, %", "verdict", "published, %"),
                tuple(_cells(row) for row in self.rows if row.group == group),
            )
            for group in dict.fromkeys(row.group for row in self.rows)
        ]

    def notes(self) -> Sequence[str]:
        """What the numbers are."""
        return [NOTE.format(reference=self.data.reference)]

    def drawings(self) -> Iterator[Drawing]:
        """A row a contrast, a panel a group."""
        styles = kind_styles(self.data.kinds)
        groups = list(dict.fromkeys(row.group for row in self.rows))
        panels = [
            Panel(
                _short(self.data, group),
                100 * next(row.margin for row in self.rows if row.group == group),
                [
                    Effect(
                        _contrast(row, self.data),
                        _percent(row.found),
                        row.verdict,
                        styles[row.kind].colour,
                        100 * row.published,
                    )
                    for row in self.rows
                    if row.group == group
                ],
            )
            for group in groups
        ]
        real, others = (
            list(
                dict.fromkeys(
                    _contrast(row, self.data)
                    for row in self.rows
                    if (row.other == self.data.reference) == is_reference
                )
            )
            for is_reference in (True, False)
        )
        figure = draw_forest(
            panels,
            [each for each in (real, others) if each],
            x_label=f"difference of means, percent of {self.data.reference}'s mean",
        )
        caption = (
            f"Mean step of each kind less that of {self.data.reference} (top), and of the paper's other kinds among "
            f"themselves (below), in percent of {self.data.reference}'s mean, with 95 % intervals over resamples of "
            "pairs. Band: the margin of equivalence. Filled: shown to be outside it; hollow: shown to be within; half "
            "filled: undecided. Cross: the paper's, of GPT-2 small (of AP from medians of the authors' notebooks)."
        )
        yield Drawing(FIGURE, self.title, caption, figure)

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """What differs most from the paper, then the figure."""
        if said := farthest(self.data, self.rows):
            yield Prose(said)
        yield from drawings
        yield Prose(self.notes()[0] + " As numbers: tables/effects.", quiet=True)


def farthest(data: RunData, rows: Iterable[_Row]) -> str:
    """Which kind's published effect the run's interval is farthest from, in a sentence; empty where it holds all."""
    off = [
        (max(row.published - row.found.high, row.found.low - row.published), row)
        for row in rows
        if row.other == data.reference
    ]
    off = [(far, row) for far, row in off if far > 0]
    if not off:
        return ""
    row = max(off, key=lambda each: each[0])[1]
    shown = _percent(row.found)
    whose = "the paper's" if published.comparable(data.config) else "the paper's, of GPT-2,"
    return (
        f"Farthest from the paper: {data.called(row.group)} ({row.group.experiment}), {row.kind} less {row.other}, is "
        f"{render.signed(shown.value, shown.low, shown.high, 1)} % of {data.reference}'s mean; {whose} is "
        f"{100 * row.published:+.1f} %."
    )


def _rows(data: RunData, group: Group) -> Iterator[_Row]:
    found = group_survivals(data, group)
    if data.reference not in found or data.end_of(group.statistic) is None:
        return
    means = {kind: each.mean() for kind, each in found.items()}
    real = means[data.reference]
    margin = margin_of(data.config.report, float(real[0])) / float(real[0])
    known = _published(data, group)
    others = [kind for kind in found if kind != data.reference]
    paper = [kind for kind in labels_of(data, FOUR) if kind in others]
    for kind, other in [*((kind, data.reference) for kind in others), *combinations(paper, 2)]:
        effect = difference((means[kind] - means[other]) / real, min(found[kind].n, found[other].n))
        theirs = (known.get(kind, math.nan) - known.get(other, math.nan)) / known.get(
            data.reference, math.nan
        )
        yield _Row(group, kind, other, effect, margin, equivalence(effect, margin).verdict, theirs)


def _published(data: RunData, group: Group) -> dict[str, float]:
    """The published mean (or median, where there is no mean) of each label's kind."""
    found: dict[str, float] = {}
    for table in published.TABLES:
        for schedule, numbers in table.numbers.items():
            if table.group(schedule) == group:
                for kind, number in numbers.items():
                    for label in labels_of(data, [kind]):
                        found.setdefault(label, _middle(number))
    return found


def _middle(number: Number) -> float:
    return number.median if math.isnan(number.mean) else number.mean


def _percent(found: Difference) -> Estimate:
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high)


def _contrast(row: _Row, data: RunData) -> str:
    return row.kind if row.other == data.reference else f"{row.kind} less {row.other}"


def _short(data: RunData, group: Group) -> str:
    symbol = data.statistic_called(group.statistic)
    return f"{symbol} of {data.response_called(group.response)}\n{group.experiment}, {group.schedule}"


def _cells(row: _Row) -> tuple[str, ...]:
    shown = _percent(row.found)
    return (
        row.kind,
        row.other,
        render.signed(shown.value, shown.low, shown.high, 1),
        row.verdict,
        render.UNDEFINED if math.isnan(row.published) else f"{100 * row.published:+.1f}",
    )
