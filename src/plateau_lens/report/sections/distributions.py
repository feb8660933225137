"""Figures 2, 3, A.1, B.1 and their like: a statistic's histogram beside its cumulative share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plateau_lens.report import definitions
from plateau_lens.report.figures.distributions import Row, censored_share, draw_distributions
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import Group, RunData, Sample
from plateau_lens.report.sections.registry import Drawing, Section, Skipped, left_out, legible, section


@dataclass(frozen=True)
class Distributions:
    """A histogram beside a cumulative share, one row a group."""

    name: str
    title: str
    groups: tuple[Group, ...]
    kinds: tuple[str, ...] | None = None
    """The kinds to compare, all of them needed; none for every kind the run has (see `MOST_KINDS`)."""


DISTRIBUTIONS = (
    Distributions("figure-2", "MS step", (Group("toward", "ms", "l2", "absolute"),)),
    Distributions("figure-2-kl", "MS step of KL", (Group("toward", "ms", "kl", "absolute"),)),
    Distributions("figure-3", "Activation plateaus", (Group("from", "ap", "l2", "absolute"),)),
    Distributions("figure-3-relative", "Relative plateaus", (Group("from", "ap", "l2", "relative"),)),
    Distributions("figure-a1", "Relative MS step", (Group("toward", "ms", "l2", "relative"),)),
    Distributions("figure-a1-kl", "Relative MS step of KL", (Group("toward", "ms", "kl", "relative"),)),
    Distributions(
        "figure-b1",
        "AUC step",
        (Group("toward", "auc", "l2", "absolute"), Group("toward", "auc", "l2", "relative")),
    ),
    Distributions(
        "figure-b1-kl",
        "AUC step of KL",
        (Group("toward", "auc", "kl", "absolute"), Group("toward", "auc", "kl", "relative")),
    ),
    Distributions(
        "figure-b2",
        "NL step",
        (Group("toward", "nl", "l2", "absolute"), Group("toward", "nl", "l2", "relative")),
    ),
    Distributions(
        "figure-reconstruction",
        "SAE reconstructions",
        (Group("toward", "ms", "l2", "absolute"), Group("toward", "ms", "l2", "relative")),
        ("model-generated", "sae-reconstruction"),
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
    have = legible(data) if spec.kinds is None else [kind for kind in data.kinds if kind in spec.kinds]
    if spec.kinds and len(have) < len(spec.kinds):
        missing = ", ".join(kind for kind in spec.kinds if kind not in have)
        return Skipped(spec.name, f"compares {' and '.join(spec.kinds)}; the run has no {missing}")
    found = [(group, samples) for group in spec.groups if (samples := data.only(group, have))]
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
    caption = _caption(data, found) + ("" if spec.kinds else left_out(data))
    return Drawing(spec.name, spec.title, caption, figure)


def _x_label(data: RunData, group: Group) -> str:
    symbol = data.statistic_called(group.statistic)
    if data.end_of(group.statistic) is None:
        return f"{symbol} ({data.statistics[group.statistic].unit})"
    return f"{symbol} step ({definitions.unit(group.schedule, data.config)})"


def _caption(data: RunData, found: Sequence[tuple[Group, tuple[Sample, ...]]]) -> str:
    group = found[0][0]
    schedules = " above, ".join(group.schedule for group, _ in found)
    rows = f"{schedules} below" if len(found) > 1 else f"{schedules} schedule"
    shares = "; ".join(
        ", ".join(f"{sample.kind} {censored_share(sample)}" for sample in samples) for _, samples in found
    )
    return (
        f"{definitions.experiment(data, group.experiment)} "
        f"{data.statistic_called(group.statistic)} step of {data.response_called(group.response)}, {rows}: histogram "
        "(left) and cumulative share (right) of all pairs. Censored pairs are in neither, so that a line ends below 1 "
        f"by its censored share: {shares}. " + definitions.statistic(data, group.statistic, [group.response])
    )
