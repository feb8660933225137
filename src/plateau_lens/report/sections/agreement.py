"""AUC beside MS, pair by pair: two ways to find the blow-up of one curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.agreement import agreement
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import ends, of, pair_bootstrap
from plateau_lens.report.figures.agreement import Panel, draw_agreement
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import Group, RunData, Sample
from plateau_lens.report.sections.registry import Drawing, Section, Skipped, left_out, legible, section

FIGURE = "figure-agreement"
GROUPS = tuple(
    (Group("toward", "auc", "l2", schedule), Group("toward", "ms", "l2", schedule))
    for schedule in ("absolute", "relative")
)
"""What is compared with what."""
SCHEMA = {
    **dict.fromkeys(("experiment", "response", "schedule", "kind"), pl.String),
    **dict.fromkeys(("n", "n_both"), pl.Int64),
    **{
        f"{name}{end}": pl.Float64
        for name in ("both", "difference", "within", "correlation")
        for end in ("", "_low", "_high")
    },
    **dict.fromkeys(("p", "margin"), pl.Float64),
}
COLUMNS = ("kind", "n", "both seen", "AUC less MS", "within the margin", "correlation")
NOTE = (
    "Of the pairs whose AUC and MS steps were both seen (both seen: their share): the mean of the one less the other, "
    "the share that differ by no more than {margin:g} steps (report.equivalence_margin), and Pearson's correlation, "
    "with 95 % intervals over resamples of pairs. Means over all pairs would compare other pairs: a curve that has an "
    "MS step and no AUC step is in one of them alone."
)


@section("agreement")
class AgreementSection(Section):
    """How AUC and MS agree on each curve, kind by kind."""

    title = "AUC and MS, pair by pair"
    place = 55

    def __init__(self, data: RunData):
        super().__init__(data)
        self.frame = agreements(data)
        if self.frame.is_empty():
            raise RunFolderError(data.lacks(GROUPS[0][0]))

    def tables(self) -> Sequence[render.Table]:
        """One a schedule."""
        return [
            render.Table(
                f"{self.data.experiments[group.experiment].heading}: AUC less MS of "
                f"{self.data.response_called(group.response)}, {group.schedule} schedule",
                COLUMNS,
                tuple(_cells(row) for row in rows.iter_rows(named=True)),
                f"In {self.data.units_of(group.statistic)}; {definitions.unit(group.schedule, self.data.config)}.",
            )
            for group, _ in GROUPS
            if not (rows := self.frame.filter(pl.col("schedule") == group.schedule)).is_empty()
        ]

    def notes(self) -> Sequence[str]:
        """How to read them."""
        return [NOTE.format(margin=self.data.config.report.equivalence_margin)]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        return {"agreement": self.frame}

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """A dot a pair, a panel a kind."""
        for auc, ms in GROUPS[:1]:
            panels = [
                Panel(one.kind, _seen(other), _seen(one))
                for one, other in _both(self.data, auc, ms, legible(self.data))
            ]
            if not panels:
                yield Skipped(FIGURE, self.data.lacks(auc))
                continue
            figure = draw_agreement(panels, kind_styles(self.data.kinds), end=self.data.config.n_steps)
            caption = (
                f"AUC step against MS step of {self.data.response_called(auc.response)} (toward, {auc.schedule} "
                f"schedule, {definitions.unit(auc.schedule, self.data.config)}): a dot a pair of which both were seen, "
                f"the line where they are equal.{left_out(panels, set(self.frame['kind']))}"
            )
            yield Drawing(FIGURE, "AUC and MS, pair by pair", caption, figure)


def agreements(data: RunData) -> pl.DataFrame:
    """One row a schedule and kind, at full precision: `numerics.agreement`, steps and shares 0..1."""
    margin = data.config.report.equivalence_margin
    rows: list[dict[str, object]] = []
    for auc, ms in GROUPS:
        for one, other in _both(data, auc, ms, data.kinds):
            pairs = pair_bootstrap(one.value.size, data.config.seed)
            found = agreement(pairs, _seen(one), _seen(other), margin=margin)
            apart = found.difference
            rows.append(
                {
                    "experiment": auc.experiment,
                    "response": auc.response,
                    "schedule": auc.schedule,
                    "kind": one.kind,
                    "n": one.value.size,
                    "n_both": found.n,
                    **ends("both", found.both),
                    **{"difference": apart.value, "difference_low": apart.low, "difference_high": apart.high},
                    **ends("within", found.within),
                    **ends("correlation", found.correlation),
                    "p": apart.p_value(),
                    "margin": margin,
                }
            )
    return pl.DataFrame(rows, schema=SCHEMA)


def _both(data: RunData, auc: Group, ms: Group, kinds: Sequence[str]) -> Iterator[tuple[Sample, Sample]]:
    if auc not in data.samples or ms not in data.samples:
        return
    others = {sample.kind: sample for sample in data.only(ms, kinds)}
    for sample in data.only(auc, kinds):
        if sample.kind in others:
            yield sample, others[sample.kind]


def _seen(sample: Sample) -> np.ndarray:
    return np.where(sample.censored, np.nan, sample.value)


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    return (
        str(row["kind"]),
        str(row["n"]),
        render.share_interval(*of(row, "both")),
        render.signed(*of(row, "difference"), 2),
        render.share_interval(*of(row, "within")),
        render.interval(*of(row, "correlation"), 2),
    )
