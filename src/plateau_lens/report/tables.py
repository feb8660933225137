"""The numbers: one long table for machines, and one small table a statistic for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import polars as pl

from plateau_lens.glossary import STATISTIC_NAMES, Experiment, Statistic
from plateau_lens.numerics import statistics
from plateau_lens.report import definitions, published, render
from plateau_lens.report.run_data import EXPERIMENT_NAMES, Group, RunData, Sample

COLUMNS = ("kind", "n", "defined", "mean ± sd", "median", "q25", "q75", "censored", "KS", "Wasserstein")
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


KIND_SCHEMA = {
    "kind": pl.String,
    **dict.fromkeys(("n", "n_defined"), pl.Int64),
    **dict.fromkeys(("mean", "sd", "q25", "median", "q75", "censored", "ks", "wasserstein"), pl.Float64),
}


def summary(data: RunData) -> pl.DataFrame:
    """One row an experiment, statistic, response, schedule and kind, at full precision.

    Columns: n, n_defined, mean, sd, q25, median, q75 (steps), censored (share 0..1), ks (0..1) and
    wasserstein (steps) to the model-generated kind. Undefined is NaN, in the CSV too.
    """
    rows = [
        {**group._asdict(), **row}
        for group, samples in data.samples.items()
        for row in kind_rows(samples, data.reference)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(Group._fields, pl.String) | KIND_SCHEMA)


def kind_rows(samples: Sequence[Sample], reference: str | None) -> list[dict[str, object]]:
    """One row a kind (``KIND_SCHEMA``): its summary and its distances to the reference kind."""
    values = {sample.kind: sample.value for sample in samples}
    against = values.get(reference, np.array([])) if reference else np.array([])
    return [
        {
            "kind": sample.kind,
            **asdict(statistics.summarise(sample.value, sample.censored)),
            "ks": statistics.ks_distance(sample.value, against),
            "wasserstein": statistics.wasserstein_distance(sample.value, against),
        }
        for sample in samples
    ]


def tables(data: RunData, frame: pl.DataFrame, groups: Iterable[Group]) -> list[render.Table]:
    """The tables of some groups, as they are shown; a group that the run has no values of is left out."""
    return [_table(data, frame, group) for group in groups if group in data.samples]


class Part(NamedTuple):
    """What goes into one document: every group of one statistic of one experiment."""

    experiment: Experiment
    statistic: Statistic
    groups: list[Group]

    @property
    def title(self) -> str:
        """Its heading."""
        return f"{EXPERIMENT_NAMES[self.experiment]}: {STATISTIC_NAMES[self.statistic]}"


def parts(data: RunData) -> list[Part]:
    """The run's groups, by experiment and statistic."""
    found: dict[str, Part] = {}
    for group in data.samples:
        part = Part(group.experiment, group.statistic, [])
        found.setdefault(part.title, part).groups.append(group)
    return list(found.values())


def documents(data: RunData, frame: pl.DataFrame) -> dict[str, str]:
    """Every human-readable file, name to content: Markdown and LaTeX an experiment and statistic."""
    files: dict[str, str] = {}
    for part in parts(data):
        experiment, statistic = part.experiment, part.statistic
        found = tables(data, frame, part.groups)
        notes = [
            f"{EXPERIMENT_NAMES[experiment]}: {definitions.EXPERIMENTS[experiment]}.",
            definitions.statistic(statistic, data.config),
            *common_notes(data),
        ]
        if any(published.beside(data.config, group) for group in part.groups):
            notes.append(f"{published.SOURCE} {published.NOTE}")
        files[f"{experiment}-{statistic}.md"] = render.markdown(part.title, found, notes)
        files[f"{experiment}-{statistic}.tex"] = render.latex(found)
    return files


def common_notes(data: RunData) -> list[str]:
    """What holds for every table."""
    reference = data.reference or "model-generated"
    return [
        definitions.usable(data.config),
        definitions.CENSORED,
        definitions.DISTANCES.format(reference=reference),
        definitions.UNDEFINED.format(reference=reference),
    ]


def _table(data: RunData, frame: pl.DataFrame, group: Group) -> render.Table:
    wanted = [pl.col(column) == value for column, value in group._asdict().items()]
    found = published.beside(data.config, group)
    columns, unit = COLUMNS, f"Values in steps; {definitions.unit(group.schedule, data.config)}."
    rows = [cells(row) for row in frame.filter(*wanted).iter_rows(named=True)]
    if found:
        columns += PUBLISHED_COLUMNS
        rows = [row + published.cells(dict(found).get(row[0])) for row in rows]
        known = published.sizes(found)
        unit += f" {published.SOURCE}" + (f" There: {known}." if known else "")
    title = f"{EXPERIMENT_NAMES[group.experiment]}: {group.name}"
    return render.Table(title, columns, tuple(rows), unit)


def cells(row: Mapping[str, object]) -> tuple[str, ...]:
    """One row of the summary, as it is shown."""
    value = {name: float(number) for name, number in row.items() if isinstance(number, int | float)}
    return (
        str(row["kind"]),
        str(row["n"]),
        str(row["n_defined"]),
        render.spread(value["mean"], value["sd"]),
        *(render.number(value[name], 1) for name in ("median", "q25", "q75")),
        render.share(value["censored"]),
        render.number(value["ks"], 2),
        render.number(value["wasserstein"], 2),
    )
