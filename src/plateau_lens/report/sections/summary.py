"""The numbers: one long table for machines, and one small table a statistic for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from plateau_lens.report import definitions, published, render
from plateau_lens.report.estimates import KIND_SCHEMA, group_rows, of
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections.registry import Block, Drawing, Fold, Prose, Section, section

COLUMNS = ("kind", "n", "defined", "mean", "sd", "median", "q25", "q75", "censored", "KS", "Wasserstein")
PUBLISHED_COLUMNS = ("published", "published KS")
"""Beside them, where the run is of the set-up that was published."""

KEY_GROUPS = (
    Group("toward", "ms", "l2", "relative"),
    Group("toward", "ms", "l2", "absolute"),
    Group("toward", "ms", "kl", "relative"),
    Group("toward", "ms", "kl", "absolute"),
    Group("from", "ap", "l2", "absolute"),
)
"""What the terminal and the top of the page show: the paper's own figures, as numbers."""


def key_groups(data: RunData) -> list[Group]:
    """The key groups that the run has, or else the first groups it has."""
    return [group for group in KEY_GROUPS if group in data.samples] or list(data.samples)[: len(KEY_GROUPS)]


class Part(NamedTuple):
    """What goes into one document: every group of one statistic of one experiment."""

    experiment: str
    statistic: str
    title: str
    groups: list[Group]


@section("summary")
class Summary(Section):
    """Mean, spread, quantiles, censoring and distances of every kind, in every group."""

    title = "Key results"
    place = 20

    def __init__(self, data: RunData):
        super().__init__(data)
        self.frame = summary(data)

    def tables(self) -> Sequence[render.Table]:
        """The paper's own figures, as numbers."""
        return tables(self.data, self.frame, KEY_GROUPS)

    def notes(self) -> Sequence[str]:
        """What holds for every table."""
        return common_notes(self.data)

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """All of it."""
        return {"summary": self.frame}

    def documents(self) -> Mapping[str, str]:
        """Markdown and LaTeX an experiment and statistic."""
        return documents(self.data, self.frame)

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """The key tables."""
        if not self.tables():
            yield Prose(
                "This run has none of the key statistics (MS steps of experiment toward, AP steps of experiment from)."
            )
        yield from super().blocks(drawings)

    def appendix(self) -> Iterable[Block]:
        """Every table, folded away by experiment and statistic."""
        yield Prose(
            "With full precision in tables/summary.csv, where NaN is undefined; as Markdown and LaTeX beside it."
        )
        for part in parts(self.data):
            yield Fold(part.title, tables(self.data, self.frame, part.groups))


def summary(data: RunData) -> pl.DataFrame:
    """One row an experiment, statistic, response, schedule and kind, at full precision.

    Columns as in ``estimates.KIND_SCHEMA``: in the statistic's unit, but for censored (share 0..1) and ks (0..1);
    distances are to the model-generated kind. Undefined is NaN, and a quantile that is not reached inf, in the CSV too.
    """
    rows = [{**group._asdict(), **row} for group in data.samples for row in group_rows(data, group)]
    return pl.DataFrame(rows, schema=dict.fromkeys(Group._fields, pl.String) | KIND_SCHEMA)


def tables(data: RunData, frame: pl.DataFrame, groups: Iterable[Group]) -> list[render.Table]:
    """The tables of some groups, as they are shown; a group that the run has no values of is left out."""
    return [_table(data, frame, group) for group in groups if group in data.samples]


def parts(data: RunData) -> list[Part]:
    """The run's groups, by experiment and statistic."""
    found: dict[str, Part] = {}
    for group in data.samples:
        title = f"{data.experiments[group.experiment].heading}: {_heading(data, group.statistic)}"
        part = Part(group.experiment, group.statistic, title, [])
        found.setdefault(title, part).groups.append(group)
    return list(found.values())


def _heading(data: RunData, label: str) -> str:
    made = data.statistics[label]
    return made.heading if label == made.name else f"{made.heading}, as {label}"


def documents(data: RunData, frame: pl.DataFrame) -> dict[str, str]:
    """Every human-readable file, name to content: Markdown and LaTeX an experiment and statistic."""
    files: dict[str, str] = {}
    for part in parts(data):
        found = tables(data, frame, part.groups)
        notes = [
            definitions.experiment(data, part.experiment),
            definitions.statistic(data, part.statistic),
            *common_notes(data),
        ]
        if any(published.beside(data.config, group) for group in part.groups):
            notes.append(published.NOTE)
        files[f"{part.experiment}-{part.statistic}.md"] = render.markdown(part.title, found, notes)
        files[f"{part.experiment}-{part.statistic}.tex"] = render.latex(found)
    return files


def common_notes(data: RunData) -> list[str]:
    """What holds for every table."""
    reference = data.reference or "model-generated"
    return [
        definitions.usable(data.config),
        definitions.CENSORED,
        definitions.INTERVALS,
        definitions.DISTANCES.format(reference=reference),
        definitions.UNDEFINED.format(reference=reference),
    ]


def _table(data: RunData, frame: pl.DataFrame, group: Group) -> render.Table:
    wanted = [pl.col(column) == value for column, value in group._asdict().items()]
    found = published.beside(data.config, group)
    columns, unit = (
        COLUMNS,
        f"{definitions.values_in(data, group.statistic)}; {definitions.unit(group.schedule, data.config)}.",
    )
    chosen = frame.filter(*wanted)
    rows = [cells(row) for row in chosen.iter_rows(named=True)]
    unit += _warning(chosen)
    if found:
        columns += PUBLISHED_COLUMNS
        rows = [row + published.cells(found.get(row[0])) for row in rows]
        sources = dict.fromkeys(source for _, source in found.values())
        unit += f" Published, of GPT-2 small: {'; '.join(sources)}."
    title = f"{data.experiments[group.experiment].heading}: {data.called(group)}"
    return render.Table(title, columns, tuple(rows), unit)


def _warning(rows: pl.DataFrame) -> str:
    """What is to be known of kinds of which many pairs are censored."""
    much = rows.filter(pl.col("censored") > definitions.MUCH_CENSORED)
    kinds = ", ".join(
        f"{row['kind']} ({render.share(row['censored'])})" for row in much.iter_rows(named=True)
    )
    return definitions.WARNING.format(kinds=kinds) if kinds else ""


def cells(row: Mapping[str, object]) -> tuple[str, ...]:
    """One row of the summary, as it is shown."""
    value = {name: float(number) for name, number in row.items() if isinstance(number, int | float)}
    return (
        str(row["kind"]),
        str(row["n"]),
        str(row["n_defined"]),
        render.interval(*of(row, "mean"), 2),
        render.number(value["sd"], 2),
        render.interval(*of(row, "median"), 1),
        *(render.number(value[name], 1) for name in ("q25", "q75")),
        render.share_interval(*of(row, "censored")),
        render.interval(*of(row, "ks"), 2),
        render.interval(*of(row, "wasserstein"), 2),
    )
