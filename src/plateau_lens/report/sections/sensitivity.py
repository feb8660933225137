"""How far the AP step depends on its threshold: recomputed from the curves at a range of thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.glossary import SCHEDULES
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import KIND_SCHEMA, kind_rows, of
from plateau_lens.report.figures.sensitivity import draw_thresholds
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import KindCurves, RunData, Sample
from plateau_lens.report.sections.registry import (
    Block,
    Drawing,
    Prose,
    Section,
    Skipped,
    left_out,
    legible,
    section,
)
from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.registry import Curves

AP = "ap"
"""Label of the statistic that is looked at again."""
FIGURE = "figure-ap-sensitivity"
FACTORS = tuple(2.0 ** (half / 2) for half in range(-4, 5))
"""Thresholds looked at, as multiples of the run's: a quarter to four times, each √2 times the one before."""

BLOCK = 4096
"""KindCurves that are taken to float64 at once."""


class Panel(NamedTuple):
    """One panel of the sensitivity: an experiment along a schedule."""

    experiment: str
    schedule: str


@section("ap-sensitivity")
class Sensitivity(Section):
    """Medians and distances of AP steps at thresholds from a quarter of the run's own to four times it."""

    title = "AP step: sensitivity to its threshold"
    place = 70

    def __init__(self, data: RunData):
        super().__init__(data)
        self.frame = ap_sensitivity(data)
        if self.frame.is_empty():
            raise RunFolderError("the run has no AP steps whose curves could be looked at again")

    def tables(self) -> Sequence[render.Table]:
        """Two a panel."""
        return tables(self.data, self.frame)

    def notes(self) -> Sequence[str]:
        """How to read them."""
        return [definitions.statistic(self.data, AP), definitions.CENSORED, definitions.INTERVALS]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        return {"ap-sensitivity": self.frame}

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """Of the first experiment and schedule there is: from, absolute, if it was run."""
        yield _drawing(self.data, self.frame)

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """What was done, the figure, the tables."""
        yield Prose(
            "AP steps recomputed from the curves with thresholds from a quarter of the run's own to four times it."
        )
        yield from drawings
        yield from self.tables()


def _drawing(data: RunData, frame: pl.DataFrame) -> Drawing:
    experiment, schedule = frame.select("experiment", "schedule").row(0)
    measured = frame.filter(pl.col("experiment") == experiment, pl.col("schedule") == schedule)
    rows = measured.filter(pl.col("kind").is_in(legible(data)))
    threshold = rows.filter(pl.col("factor") == 1)["threshold"][0]
    figure = draw_thresholds(
        rows,
        kind_styles(data.kinds),
        threshold=threshold,
        n_steps=data.config.n_steps,
        reference=data.reference,
        y_label="median AP step",
    )
    caption = (
        f"{data.experiments[experiment].heading}, {schedule} schedule ({definitions.unit(schedule, data.config)}): "
        "median AP step"
        + (f", and its KS distance to {data.reference}," if data.reference else "")
        + f" against the threshold that ends a plateau; the run's own, {threshold:.4g}, is dotted. "
        "Bands are 95 % intervals. Hollow: the median is not reached within the path, and drawn at its end."
        + left_out(*(set(each["kind"]) for each in (rows, measured)))
    )
    return Drawing(FIGURE, "AP step: sensitivity to its threshold", caption, figure)


def panels(data: RunData) -> list[Panel]:
    """What the run has, the paper's own (from, absolute) first."""
    found = {(group.experiment, group.schedule) for group in data.samples if group.statistic == AP}
    order = sorted(data.experiments, key=lambda label: data.experiments[label].varies != "base")
    return [Panel(e, s) for e in order for s in SCHEDULES if (e, s) in found]


def ap_sensitivity(data: RunData) -> pl.DataFrame:
    """AP steps of every experiment, schedule and kind at every threshold.

    Columns as in the summary, with ``factor`` and ``threshold`` (residual-stream units of the read site).

    Raises:
        RunFolderError: if the curves are gone or the threshold was never resolved.
    """
    made = data.statistics.get(AP)
    if not isinstance(made, ActivationPlateau) or isinstance(made.threshold, str):
        return empty()
    threshold = made.threshold
    rows: list[dict[str, object]] = []
    for panel in panels(data):
        kinds = [
            [_sample(curves, factor * threshold) for factor in FACTORS]
            for curves in data.curves(panel.experiment, panel.schedule, made.response)
        ]
        for place, factor in enumerate(FACTORS):
            where = {**panel._asdict(), "factor": factor, "threshold": factor * threshold}
            samples = [by_factor[place] for by_factor in kinds]
            found = kind_rows(samples, data.reference, seed=data.config.seed, end=data.end_of(AP))
            rows += [where | row for row in found]
    return pl.DataFrame(rows, schema=empty().schema)


def empty() -> pl.DataFrame:
    """The table of a run whose AP steps cannot be looked at again."""
    where = dict.fromkeys(Panel._fields, pl.String)
    return pl.DataFrame(schema=where | {"factor": pl.Float64, "threshold": pl.Float64} | KIND_SCHEMA)


def tables(data: RunData, frame: pl.DataFrame) -> list[render.Table]:
    """Two small tables a panel: the median AP step with its censored share, and the KS distance."""
    found: list[render.Table] = []
    for panel in panels(data):
        rows = frame.filter(pl.col("experiment") == panel.experiment, pl.col("schedule") == panel.schedule)
        where = f"{data.experiments[panel.experiment].heading}, {panel.schedule} schedule"
        unit = f"Columns: AP threshold, L2 at the read site; {definitions.unit(panel.schedule, data.config)}."
        found.append(_pivot(rows, f"{where}: median AP step (censored share)", unit, _median))
        if data.reference:
            found.append(_pivot(rows, f"{where}: KS distance to {data.reference}", unit, _ks))
    return found


def _sample(curves: KindCurves, threshold: float) -> Sample:
    blocks = [
        ActivationPlateau(threshold=threshold).of(
            Curves(curves.response[start : start + BLOCK], curves.last[start : start + BLOCK])
        )
        for start in range(0, len(curves.last), BLOCK)
    ]
    value = np.concatenate([block.value for block in blocks])
    return Sample(curves.kind, value, np.concatenate([block.flags for block in blocks]), curves.last)


def _median(row: Mapping[str, float]) -> str:
    return f"{render.interval(*of(row, 'median'), 1)} ({render.share(row['censored'])})"


def _ks(row: Mapping[str, float]) -> str:
    return render.interval(*of(row, "ks"), 2)


def _pivot(
    rows: pl.DataFrame, title: str, unit: str, cell: Callable[[Mapping[str, float]], str]
) -> render.Table:
    thresholds = rows["threshold"].unique().sort()
    lines = (
        (str(kind), *(cell(row) for row in part.sort("threshold").iter_rows(named=True)))
        for (kind,), part in rows.partition_by("kind", as_dict=True).items()
    )
    return render.Table(title, ("kind", *(f"{each:.3g}" for each in thresholds)), tuple(lines), unit)
