"""How far the AP step depends on its threshold: recomputed from the curves at a range of thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from plateau_lens.glossary import SCHEDULES, Experiment, Schedule
from plateau_lens.numerics import steps
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import KIND_SCHEMA, kind_rows, of
from plateau_lens.report.run_data import EXPERIMENT_NAMES, Curves, RunData, Sample, require

FACTORS = tuple(2.0 ** (half / 2) for half in range(-4, 5))
"""Thresholds looked at, as multiples of the run's: a quarter to four times, each √2 times the one before."""

BLOCK = 4096
"""Curves that are taken to float64 at once."""


class Panel(NamedTuple):
    """One panel of the sensitivity: an experiment along a schedule."""

    experiment: Experiment
    schedule: Schedule


def panels(data: RunData) -> list[Panel]:
    """What the run has, the paper's own (from, absolute) first."""
    found = {(group.experiment, group.schedule) for group in data.samples if group.statistic == "ap"}
    order: tuple[Experiment, ...] = ("from", "toward")
    return [Panel(e, s) for e in order for s in SCHEDULES if (e, s) in found]


def ap_sensitivity(data: RunData) -> pl.DataFrame:
    """AP steps of every experiment, schedule and kind at every threshold.

    Columns as in the summary, with ``factor`` and ``threshold`` (residual-stream units of the read site).

    Raises:
        RunFolderError: if the curves are gone or the threshold was never resolved.
    """
    threshold = require(data.config.statistics.ap_threshold, "statistics.ap_threshold")
    rows: list[dict[str, object]] = []
    for panel in panels(data):
        kinds = [
            [_sample(curves, factor * threshold) for factor in FACTORS]
            for curves in data.curves(panel.experiment, panel.schedule, "l2")
        ]
        for place, factor in enumerate(FACTORS):
            where = {**panel._asdict(), "factor": factor, "threshold": factor * threshold}
            samples = [by_factor[place] for by_factor in kinds]
            rows += [where | row for row in kind_rows(samples, data.reference, data.config)]
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
        where = f"{EXPERIMENT_NAMES[panel.experiment]}, {panel.schedule} schedule"
        unit = f"Columns: AP threshold, L2 at the read site; {definitions.unit(panel.schedule, data.config)}."
        found.append(_pivot(rows, f"{where}: median AP step (censored share)", unit, _median))
        if data.reference:
            found.append(_pivot(rows, f"{where}: KS distance to {data.reference}", unit, _ks))
    return found


def document(data: RunData, frame: pl.DataFrame) -> str:
    """The sensitivity as a Markdown file."""
    notes = [definitions.statistic("ap", data.config), definitions.CENSORED, definitions.INTERVALS]
    return render.markdown("AP step: sensitivity to its threshold", tables(data, frame), notes)


def _sample(curves: Curves, threshold: float) -> Sample:
    blocks = [
        steps.activation_plateau_step(
            curves.response[start : start + BLOCK], curves.last[start : start + BLOCK], threshold=threshold
        )
        for start in range(0, len(curves.last), BLOCK)
    ]
    value, censored = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return Sample(curves.kind, value, censored)


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
