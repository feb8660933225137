"""Figures 2, 3, A.1, B.1, B.2, C.1, D.1 and their like: a statistic's histogram beside its cumulative share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plateau_lens.glossary import SCHEDULES
from plateau_lens.report import definitions
from plateau_lens.report.figures.distributions import Row, censored_share, draw_distributions
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.paper_kinds import FOUR, labels_of, own_labels
from plateau_lens.report.run_data import Group, RunData, Sample
from plateau_lens.report.sections.registry import MOST_KINDS, Drawing, Section, Skipped, left_out, section


@dataclass(frozen=True)
class Distributions:
    """A histogram beside a cumulative share, one row a group."""

    name: str
    title: str
    groups: tuple[Group, ...]
    """From above to below; those that the run lacks are left out."""
    paper: str = ""
    """The figure of the paper that it is; empty for one that belongs beside them."""
    kinds: tuple[str, ...] = FOUR
    """Names of the kinds it shows."""
    exactly: bool = False
    """Whether it is about these kinds, all of them needed; else those that the run has, and beside them kinds that the
    paper has not, where all lines can be told apart (`MOST_KINDS`)."""


def _both(statistic: str, response: str) -> tuple[Group, ...]:
    return tuple(Group("toward", statistic, response, schedule) for schedule in SCHEDULES)


DISTRIBUTIONS = (
    Distributions("figure-2", "MS step", (Group("toward", "ms", "l2", "absolute"),), "Figure 2"),
    Distributions("figure-3", "Activation plateaus", (Group("from", "ap", "l2", "absolute"),), "Figure 3"),
    Distributions("figure-3-relative", "Relative plateaus", (Group("from", "ap", "l2", "relative"),)),
    Distributions("figure-a1", "Relative MS step", (Group("toward", "ms", "l2", "relative"),), "Figure A.1"),
    Distributions("figure-b1", "AUC step", _both("auc", "l2"), "Figure B.1"),
    Distributions("figure-b1-kl", "AUC step of KL", _both("auc", "kl")),
    Distributions("figure-b2", "NL step, of the slope", _both("nl", "l2"), "Figure B.2, by the text's rule,"),
    Distributions(
        "figure-b2-value",
        "NL step, of the value",
        _both("nl-value", "l2"),
        "Figure B.2, by the rule of the authors' notebooks, whose numbers Table B.2 has,",
    ),
    Distributions("figure-c1", "MS step of KL", _both("ms", "kl"), "Figure C.1"),
    Distributions(
        "figure-d1",
        "SAE reconstructions",
        _both("ms", "l2"),
        "Figure D.1",
        ("model-generated", "random", "sae-reconstruction"),
        exactly=True,
    ),
)
"""The paper's figures, and what belongs beside them."""


@section("distributions")
class DistributionsSection(Section):
    """The paper's figures of this sort, and one for every statistic that none of them shows."""

    title = "Distributions"
    place = 50

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """One at a time."""
        for spec in (*DISTRIBUTIONS, *others(self.data)):
            yield draw(self.data, spec)


def others(data: RunData) -> Iterator[Distributions]:
    """A figure an experiment and response of every statistic that no figure of the paper shows."""
    shown = {group.statistic for spec in DISTRIBUTIONS for group in spec.groups}
    found: dict[tuple[str, str, str], list[Group]] = {}
    for group in data.samples:
        if group.statistic not in shown:
            found.setdefault((group.experiment, group.statistic, group.response), []).append(group)
    for (experiment, statistic, response), groups in found.items():
        title = f"{data.statistic_called(statistic)} step of {data.response_called(response)}"
        yield Distributions(f"figure-{experiment}-{statistic}-{response}", title, tuple(groups))


def draw(data: RunData, spec: Distributions) -> Drawing | Skipped:
    """One histogram-beside-cumulative figure, with the rows the run has."""
    kinds = shown_kinds(data, spec)
    if spec.exactly and len(kinds) < len(spec.kinds):
        missing = ", ".join(kind for kind in spec.kinds if not labels_of(data, [kind]))
        return Skipped(spec.name, f"compares {' and '.join(spec.kinds)}; the run has no {missing}")
    found = [(group, samples) for group in spec.groups if (samples := data.only(group, kinds))]
    if not found:
        return Skipped(spec.name, " and ".join(data.lacks(group) for group in spec.groups))
    rows = [
        Row(
            samples,
            x_label=_x_label(data, group),
            title=f"{group.schedule} schedule" if len(found) > 1 else "",
            end=data.end_of(group.statistic),
        )
        for group, samples in found
    ]
    figure = draw_distributions(rows, kind_styles(data.kinds))
    shown, measured = (
        {sample.kind for row in rows_of for sample in row}
        for rows_of in ([samples for _, samples in found], [data.samples[group] for group, _ in found])
    )
    caption = _caption(data, found) + left_out(shown, measured)
    return Drawing(spec.name, spec.title, caption, figure, spec.paper)


def shown_kinds(data: RunData, spec: Distributions) -> tuple[str, ...]:
    """Labels of the kinds that a figure shows of a run, in the run's order."""
    named = labels_of(data, spec.kinds)
    if spec.exactly:
        return named
    own = own_labels(data)
    if len(named) + len(own) > MOST_KINDS:
        return named or own[:MOST_KINDS]
    return tuple(label for label in data.kinds if label in {*named, *own})


def _x_label(data: RunData, group: Group) -> str:
    symbol = data.statistic_called(group.statistic)
    if data.end_of(group.statistic) is None:
        return f"{symbol} ({data.statistics[group.statistic].unit})"
    return f"{symbol} step ({definitions.unit(group.schedule, data.config)})"


def _caption(data: RunData, found: Sequence[tuple[Group, tuple[Sample, ...]]]) -> str:
    group = found[0][0]
    schedules = " schedule above, ".join(group.schedule for group, _ in found)
    rows = f"{schedules} schedule below" if len(found) > 1 else f"{schedules} schedule"
    shares = "; ".join(
        ", ".join(f"{sample.kind} {censored_share(sample)}" for sample in samples) for _, samples in found
    )
    return (
        f"{data.statistic_called(group.statistic)} step of {data.response_called(group.response)}, {rows}: number of "
        "pairs by step (left, histograms over one another) and share of pairs up to a step (right), a colour a "
        f"kind. {definitions.experiment(data, group.experiment)} "
        f"{definitions.statistic(data, group.statistic, [group.response])} Censored pairs are in neither panel, so "
        f"that a line ends below 1 by its censored share: {shares}."
    )
