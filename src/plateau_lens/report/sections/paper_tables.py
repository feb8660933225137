"""The paper's tables, in its own layout: this run's numbers, and the published ones of GPT-2 beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics import uncensored
from plateau_lens.report import definitions, published, render
from plateau_lens.report.paper_kinds import labels_of, own_labels
from plateau_lens.report.published import Number, PaperTable
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections.registry import Section, section

NUMBERS = ("mean", "sd", "ks", "median")
SCHEMA = {
    **dict.fromkeys(("table", *Group._fields, "kind"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys((*NUMBERS, *(f"published_{name}" for name in NUMBERS)), pl.Float64),
    "source": pl.String,
}
"""Columns of ``paper-tables.csv``. The run's numbers are plain: a censored value enters at its bound."""


@section("paper-tables")
class PaperTables(Section):
    """Tables 1, A.1, B.1, B.2, C.1 and D.1 of the paper, and what it has for one of AP."""

    title = "The paper's tables"
    place = 25

    def __init__(self, data: RunData):
        super().__init__(data)
        self.shown = [table for table in published.TABLES if any(_groups(data, table))]
        if not self.shown:
            raise RunFolderError("the run has none of the statistics that the paper has tables of")
        self.frame = frame(data, self.shown)

    def tables(self) -> Sequence[render.Table]:
        """One a table of the paper: a row a kind, absolute and relative side by side."""
        return [_table(self.data, table, self.frame) for table in self.shown]

    def notes(self) -> Sequence[str]:
        """What stands beside what."""
        return [
            "Each cell: mean ± sd over pairs, or the plain median of whole steps, in steps, and in brackets the KS "
            "distance to model-generated. The run's other tables give grouped medians.",
            "\N{EN DASH}: undefined, not published, or of a kind that the run has not.",
            *([] if published.comparable(self.data.config) else [_other_set_up(self.data)]),
            published.NOTE,
        ]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """One row a table, schedule and kind."""
        return {self.name: self.frame}


def frame(data: RunData, tables: Iterable[PaperTable]) -> pl.DataFrame:
    """Numbers of this run and published ones; NaN where there is none, n 0 for a kind that the run has not."""
    rows = [row for table in tables for group in _groups(data, table) for row in _rows(data, table, group)]
    return pl.DataFrame(rows, schema=SCHEMA)


def _groups(data: RunData, table: PaperTable) -> Iterator[Group]:
    return (group for each in table.schedules if (group := table.group(each)) in data.samples)


def _rows(data: RunData, table: PaperTable, group: Group) -> Iterator[dict[str, object]]:
    """The paper's kinds in its order, then those that the paper has not."""
    measured = plain(data, group)
    numbers = {table.group(schedule): each for schedule, each in table.numbers.items()}.get(group, {})
    labels = {label: kind for kind in table.kinds for label in labels_of(data, [kind]) or (kind,)}
    for label in dict.fromkeys([*labels, *(() if table.exactly else own_labels(data))]):
        known = numbers.get(labels.get(label, ""))
        n, own = measured.get(label, (0, Number()))
        yield {
            "table": table.name,
            **group._asdict(),
            "kind": label,
            "n": n,
            **own._asdict(),
            **{f"published_{name}": number for name, number in (known or Number())._asdict().items()},
            "source": table.source if known else "",
        }


def plain(data: RunData, group: Group) -> dict[str, tuple[int, Number]]:
    """What the values of each kind come to as the authors' did, and how many there are: plain numbers."""
    samples = {sample.kind: sample for sample in data.samples[group]}
    against = samples[data.reference].value if data.reference in samples else np.array([])
    found: dict[str, tuple[int, Number]] = {}
    for kind, sample in samples.items():
        made = uncensored.summarise(sample.value, sample.censored)
        ks = uncensored.ks_distance(sample.value, against)
        found[kind] = made.n, Number(made.mean, made.sd, ks, made.median)
    return found


def _table(data: RunData, table: PaperTable, frame: pl.DataFrame) -> render.Table:
    columns, cells = ["kind"], dict[str, list[str]]()
    for group in _groups(data, table):
        rows = list(
            frame.filter(pl.col("table") == table.name, pl.col("schedule") == group.schedule).iter_rows(
                named=True
            )
        )
        known = any(row["source"] for row in rows)
        columns += [f"{group.schedule}: this run", *([f"{group.schedule}: {_theirs(data)}"] if known else [])]
        for row in rows:
            theirs = Number(*(row[f"published_{name}"] for name in NUMBERS))
            ours = Number(*(row[name] for name in NUMBERS))
            shown = [
                _cell(data, row["kind"], each, theirs) for each in ((ours, theirs) if known else (ours,))
            ]
            cells.setdefault(row["kind"], []).extend(shown)
    called = f"{data.statistics[table.statistic].heading} of {data.response_called(table.response)}"
    units = "; ".join(
        f"{group.schedule}, {definitions.unit(group.schedule, data.config)}" for group in _groups(data, table)
    )
    source = f" Published: {table.source}." if table.numbers else ""
    remark = f" {table.remark}" if table.remark else ""
    return render.Table(
        f"{table.name}: {called}",
        tuple(columns),
        tuple((kind, *each) for kind, each in cells.items()),
        f"{data.experiments[table.experiment].heading}; in this run {units}.{source}{remark}",
    )


def _cell(data: RunData, kind: str, number: Number, like: Number) -> str:
    shown = published.shown(number, like=like)
    if kind == data.reference or np.isnan(number.ks):
        return shown
    return f"{shown} ({render.number(number.ks, 2)})"


def _theirs(data: RunData) -> str:
    if published.comparable(data.config):
        return "published"
    return (
        f"published ({'another set-up' if published.of_gpt2(data.config) else 'another model: GPT-2 small'})"
    )


def _other_set_up(data: RunData) -> str:
    config = data.config
    return (
        f"This run is of another set-up ({config.model.source} at {config.site}, prompts of {config.prompts.n_ctx} "
        "tokens): what the paper got on GPT-2 small stands beside it to compare orders and gaps between kinds, and is "
        "not what this run should give."
    )
