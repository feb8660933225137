"""Every kind against every other, tested: differences of means, and of distances to model-generated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.comparisons import Difference, compare_excess, difference, equivalence, holm
from plateau_lens.numerics.excess import excess
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import DISTANCES, group_survivals
from plateau_lens.report.margin import margin_of
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections.registry import Block, Drawing, Fold, Prose, Section, section
from plateau_lens.report.sections.summary import key_groups

QUANTITIES = {"mean": "mean", "ks": "KS beyond noise", "wasserstein": "Wasserstein beyond noise"}
"""Column value to name."""
COLUMNS = (
    "kind",
    "less",
    "difference of",
    "difference",
    "p",
    "p (Holm)",
    "against the margin",
    "p equivalent",
    "p different",
)
SCHEMA = {
    **dict.fromkeys((*Group._fields, "quantity", "kind", "other"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("difference", "low", "high", "se", "p", "p_holm", "margin"), pl.Float64),
    "verdict": pl.String,
    **dict.fromkeys(("p_equivalent", "p_different"), pl.Float64),
}


class Comparison(NamedTuple):
    """``quantity`` of ``kind`` less that of ``other``."""

    quantity: str
    kind: str
    other: str
    found: Difference
    in_steps: bool
    """Whether the margin of equivalence, which is in steps, is one for it."""


@section("differences")
class Differences(Section):
    """Means and distances of all pairs of kinds, with intervals, tests and verdicts of equivalence."""

    title = "Differences between kinds"
    place = 30

    def __init__(self, data: RunData):
        super().__init__(data)
        self.frame = differences(data)
        if self.frame.is_empty():
            raise RunFolderError("the run has no two kinds to compare")

    def tables(self) -> Sequence[render.Table]:
        """Of the key groups."""
        return tables(self.data, self.frame, key_groups(self.data))

    def notes(self) -> Sequence[str]:
        """How to read them."""
        return notes(self.data)

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """Of all groups."""
        return {"differences": self.frame}

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """Each table folded away but the first."""
        for place, table in enumerate(self.tables()):
            yield Fold(table.title, [table], is_open=place == 0)
        for note in (*self.notes(), "Of all statistics in tables/differences.csv."):
            yield Prose(note, quiet=True)


def differences(data: RunData) -> pl.DataFrame:
    """One row a group, quantity and two kinds, at full precision.

    Quantities: ``mean`` (steps; every kind against model-generated, then the others among themselves), ``ks`` (0..1)
    and ``wasserstein`` (steps), which are distances to model-generated beyond noise (`numerics.excess`) of two other
    kinds: above 0, ``other`` is closer. p_holm is adjusted over all rows of the group. margin, verdict, p_equivalent
    and p_different are of a difference in steps, and NaN or empty for another.
    """
    rows = [
        {**group._asdict(), **row}
        for group in data.samples
        for row in _rows(list(_comparisons(data, group)), margin(data, group))
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def margin(data: RunData, group: Group) -> float:
    """Of equivalence, in steps (`report.margin`)."""
    found = group_survivals(data, group, [data.reference] if data.reference else [])
    means = [float(each.mean()[0]) for each in found.values()]
    return margin_of(data.config.report, means[0] if means else math.nan)


def _comparisons(data: RunData, group: Group) -> Iterator[Comparison]:
    found, reference = group_survivals(data, group), data.reference
    in_steps = data.end_of(group.statistic) is not None
    others = [kind for kind in found if kind != reference]
    pairs = [(kind, reference) for kind in others if reference in found] + list(combinations(others, 2))
    means = {kind: each.mean() for kind, each in found.items()}
    for kind, other in pairs:
        n = min(found[kind].n, found[other].n)
        yield Comparison("mean", kind, other, difference(means[kind] - means[other], n), in_steps)
    if reference not in found:
        return
    for name, distance in DISTANCES.items():
        far = {kind: excess(found[kind], found[reference], distance) for kind in others}
        for kind, other in combinations(others, 2):
            compared = compare_excess(far[kind], far[other])
            yield Comparison(name, kind, other, compared, in_steps and name != "ks")


def _rows(comparisons: Sequence[Comparison], margin: float) -> Iterator[dict[str, object]]:
    p_values = [each.found.p_value() for each in comparisons]
    nan = float("nan")
    for each, p, p_holm in zip(comparisons, p_values, holm(p_values), strict=True):
        found = each.found
        same = equivalence(found, margin) if each.in_steps else None
        yield {
            "quantity": each.quantity,
            "kind": each.kind,
            "other": each.other,
            "n": found.n,
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "se": found.se,
            "p": p,
            "p_holm": p_holm,
            "margin": same.margin if same else nan,
            "verdict": same.verdict if same else "",
            "p_equivalent": same.p_equivalent if same else nan,
            "p_different": same.p_different if same else nan,
        }


def tables(data: RunData, frame: pl.DataFrame, groups: Iterable[Group]) -> list[render.Table]:
    """The tables of some groups, as they are shown; a group of one kind has none."""
    return [table for group in groups if (table := _table(data, frame, group)).rows]


def notes(data: RunData) -> list[str]:
    """How to read the tables."""
    reference = data.reference or "model-generated"
    return [
        definitions.COMPARISONS.format(reference=reference),
        definitions.BEYOND_NOISE,
        definitions.EQUIVALENCE,
        definitions.CENSORED,
    ]


def _table(data: RunData, frame: pl.DataFrame, group: Group) -> render.Table:
    wanted = [pl.col(column) == value for column, value in group._asdict().items()]
    rows = tuple(_cells(row) for row in frame.filter(*wanted).iter_rows(named=True))
    title = f"{data.experiments[group.experiment].heading}: differences of {data.called(group)}"
    units = data.units_of(group.statistic)
    unit = f"Means and Wasserstein distances in {units}; {definitions.unit(group.schedule, data.config)}."
    margins = frame.filter(*wanted)["margin"].drop_nans()
    if len(margins):
        unit += f" Margin of equivalence: {margins[0]:.2g} steps."
    return render.Table(title, COLUMNS, rows, unit)


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    value = {name: float(number) for name, number in row.items() if isinstance(number, int | float)}
    return (
        str(row["kind"]),
        str(row["other"]),
        QUANTITIES[str(row["quantity"])],
        render.signed(value["difference"], value["low"], value["high"], 2),
        render.p_value(value["p"]),
        render.p_value(value["p_holm"]),
        str(row["verdict"]) if np.isfinite(value["p_equivalent"]) else render.UNDEFINED,
        render.p_value(value["p_equivalent"]),
        render.p_value(value["p_different"]),
    )
