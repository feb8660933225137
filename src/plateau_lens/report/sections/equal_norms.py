"""Equal norms: which differences between kinds are left when both are as long as real activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.comparisons import LEVEL, Difference, difference, holm
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import group_survivals, of
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections.registry import Section, section

SHOWN = ("ms", "ap", "ap-of-norm")
"""Names of the statistics that have tables; the CSV has all."""
SCHEMA = {
    **dict.fromkeys((*Group._fields, "kind", "other"), pl.String),
    "n": pl.Int64,
    **{
        f"{which}{end}": pl.Float64
        for which in ("own", "equal", "change")
        for end in ("", "_low", "_high", "_p", "_p_holm")
    },
    "verdict": pl.String,
}
COLUMNS = ("kind", "less", "own norms", "p (Holm)", "equal norms", "p (Holm)", "change", "at equal norms")
NOTE = (
    "Each row is the mean of the first kind less that of the second, with its 95 % interval over resamples of pairs: "
    "as the kinds are, and as both are when they are rescaled to the norm of a real activation; change: the second "
    "less the first. p of both columns are adjusted by Holm over the table. At equal norms: `stays` if the difference "
    "is told from 0 there as well, with the same sign, `turns` if with the other, `undecided` if it is not told from "
    f"0; {render.UNDEFINED} where it was not told from 0 to begin with. Level: {100 * LEVEL:g} %."
)


class Twins(NamedTuple):
    """Two labels of one kind that differ in the norm alone."""

    own: str
    equal: str


class Contrast(NamedTuple):
    """One kind less another."""

    kind: str
    other: str
    own: Difference
    equal: Difference
    change: Difference


@section("equal-norms")
class EqualNorms(Section):
    """Differences between kinds as they are, and at equal norms."""

    title = "Differences at equal norms"
    place = 32

    def __init__(self, data: RunData):
        super().__init__(data)
        self.twins = twins(data)
        if len(self.twins) < 2:
            raise RunFolderError(
                "the run has no two kinds that are there at their own norm and at a real one"
            )
        self.frame = equal_norms(data, self.twins)
        if self.frame.is_empty():
            raise RunFolderError("the run measures no two kinds both at their own norm and at a real one")

    def tables(self) -> Sequence[render.Table]:
        """Those of the statistics that the comparison is about."""
        return [
            _table(self.data, group, rows)
            for group in self.data.samples
            if self.data.statistics[group.statistic].name in SHOWN
            and not (rows := _of_group(self.frame, group)).is_empty()
        ]

    def notes(self) -> Sequence[str]:
        """How to read them."""
        pairs = "; ".join(f"{each.equal} for {each.own}" for each in self.twins)
        return [NOTE, f"At equal norms: {pairs}.", definitions.CENSORED]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """Of all groups."""
        return {"equal-norms": self.frame}


def twins(data: RunData) -> list[Twins]:
    """Kinds that the run has at their own norm and, all else equal, at that of a real activation."""
    found: list[Twins] = []
    for own in data.config.kinds:
        if _norm(data, own) == "own":
            others = (label for label in data.config.kinds if _norm(data, label) != "own")
            found += [Twins(own, label) for label in others if _rest(data, label) == _rest(data, own)][:1]
    return found


def _norm(data: RunData, label: str) -> str:
    return str(data.config.kinds[label].get("norm", "own"))


def _rest(data: RunData, label: str) -> dict[str, Any]:
    return {"kind": label, **data.config.kinds[label], "norm": None}


def equal_norms(data: RunData, pairs: Sequence[Twins]) -> pl.DataFrame:
    """One row a group and two kinds that have twins, at full precision; p_holm is adjusted over the group's rows."""
    rows = [
        {**group._asdict(), **row}
        for group in data.samples
        for row in _rows(list(_contrasts(data, group, pairs)))
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _contrasts(data: RunData, group: Group, pairs: Sequence[Twins]) -> Iterator[Contrast]:
    found = group_survivals(data, group, [label for each in pairs for label in each])
    there = [each for each in pairs if each.own in found and each.equal in found]
    mean = {label: each.mean() for label, each in found.items()}
    for one, other in combinations(there, 2):
        n = min(found[label].n for label in (*one, *other))
        own, equal = mean[one.own] - mean[other.own], mean[one.equal] - mean[other.equal]
        differences = (difference(draws, n) for draws in (own, equal, equal - own))
        yield Contrast(one.own, other.own, *differences)


def _rows(contrasts: Sequence[Contrast]) -> Iterator[dict[str, object]]:
    p = [each.own.p_value() for each in contrasts] + [each.equal.p_value() for each in contrasts]
    adjusted = holm(p)
    for place, each in enumerate(contrasts):
        row: dict[str, object] = {"kind": each.kind, "other": each.other, "n": each.own.n}
        p_holm = {"own": adjusted[place], "equal": adjusted[len(contrasts) + place], "change": float("nan")}
        for which, found in (("own", each.own), ("equal", each.equal), ("change", each.change)):
            row |= {which: found.value, f"{which}_low": found.low, f"{which}_high": found.high}
            row |= {f"{which}_p": found.p_value(), f"{which}_p_holm": p_holm[which]}
        yield {**row, "verdict": _verdict(each, p_holm["own"], p_holm["equal"])}


def _verdict(each: Contrast, own: float, equal: float) -> str:
    if not own < LEVEL:
        return ""
    if not equal < LEVEL:
        return "undecided"
    return "stays" if each.own.value * each.equal.value > 0 else "turns"


def _of_group(frame: pl.DataFrame, group: Group) -> pl.DataFrame:
    return frame.filter(*(pl.col(column) == value for column, value in group._asdict().items()))


def _table(data: RunData, group: Group, rows: pl.DataFrame) -> render.Table:
    digits = 2 if data.end_of(group.statistic) is not None else 3
    return render.Table(
        f"{data.experiments[group.experiment].heading}: {data.called(group)}",
        COLUMNS,
        tuple(_cells(row, digits) for row in rows.iter_rows(named=True)),
        f"In {data.units_of(group.statistic)}; {definitions.unit(group.schedule, data.config)}.",
    )


def _cells(row: Mapping[str, Any], digits: int) -> tuple[str, ...]:
    own, equal, change = (render.signed(*of(row, which), digits) for which in ("own", "equal", "change"))
    p_own, p_equal = (render.p_value(float(row[f"{which}_p_holm"])) for which in ("own", "equal"))
    return row["kind"], row["other"], own, p_own, equal, p_equal, change, row["verdict"] or render.UNDEFINED
