"""Which figures a report has, with their captions, and why one of them is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plateau_lens._errors import RunFolderError
from plateau_lens.glossary import SCHEDULES, Response, Schedule
from plateau_lens.report import definitions
from plateau_lens.report.figures.distributions import Row, censored_share, draw_distributions
from plateau_lens.report.figures.examples import Column, draw_examples
from plateau_lens.report.figures.ladder import draw_ladder
from plateau_lens.report.figures.sensitivity import draw_thresholds
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.numbers import Numbers
from plateau_lens.report.run_data import (
    EXPERIMENT_NAMES,
    PAPER_ORDER,
    RESPONSE_SYMBOLS,
    STATISTIC_SYMBOLS,
    Group,
    RunData,
    Sample,
)
from plateau_lens.report.sections import controls, ladder

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

MOST_BASES = 6
"""Rows of Figure 1: a page holds no more."""
MOST_KINDS = 8
"""Kinds whose lines can be told apart; a figure of all kinds shows the paper's where there are more."""


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its files, and what to print under it."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Skipped:
    """A figure or table that this run cannot have, and why."""

    name: str
    reason: str


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
        "figure-reconstruction",
        "SAE reconstructions",
        (Group("toward", "ms", "l2", "absolute"), Group("toward", "ms", "l2", "relative")),
        ("model-generated", "sae-reconstruction"),
    ),
)
EXAMPLES = "figure-1"
SENSITIVITY = "figure-ap-sensitivity"
CONTROLS = "figure-controls"
LADDER = "figure-ladder"
FEWEST_RUNGS = 3
"""Kinds besides model-generated with which a ladder is worth a figure."""
NAMES = (EXAMPLES, *(each.name for each in DISTRIBUTIONS), LADDER, SENSITIVITY, CONTROLS)
"""Every file name a report may write under ``figures/``."""


def drawings(data: RunData, numbers: Numbers) -> Iterator[Drawing | Skipped]:
    """Draw every figure, one at a time, in the order in which they are shown."""
    steps: list[tuple[str, Callable[[], Drawing | Skipped]]] = [(EXAMPLES, lambda: examples(data))]
    steps += [(each.name, lambda each=each: distributions(data, each)) for each in DISTRIBUTIONS]
    steps.append((LADDER, lambda: rungs(data, numbers.ladder)))
    steps.append((SENSITIVITY, lambda: ap_thresholds(data, numbers.sensitivity)))
    steps.append((CONTROLS, lambda: control_lines(data)))
    for name, draw in steps:
        try:
            yield draw()
        except RunFolderError as error:
            yield Skipped(name, str(error))


def distributions(data: RunData, spec: Distributions) -> Drawing | Skipped:
    """One histogram-beside-cumulative figure, with the rows the run has."""
    have = _legible(data) if spec.kinds is None else [kind for kind in data.kinds if kind in spec.kinds]
    if spec.kinds and len(have) < len(spec.kinds):
        missing = ", ".join(kind for kind in spec.kinds if kind not in have)
        return Skipped(spec.name, f"compares {' and '.join(spec.kinds)}; the run has no {missing}")
    found = [(group, samples) for group in spec.groups if (samples := data.only(group, have))]
    if not found:
        wanted = " or ".join(group.name for group in spec.groups)
        return Skipped(spec.name, f"the run has no {wanted}, of experiment {spec.groups[0].experiment!r}")
    rows = [
        Row(
            samples,
            x_label=f"{_symbol(group)} step ({definitions.unit(group.schedule, data.config)})",
            title=f"{group.schedule} schedule" if len(found) > 1 else "",
        )
        for group, samples in found
    ]
    figure = draw_distributions(rows, kind_styles(data.kinds), data.config.n_steps)
    caption = _distribution_caption(data, found) + ("" if spec.kinds else _left_out(data))
    return Drawing(spec.name, spec.title, caption, figure)


def examples(data: RunData) -> Drawing | Skipped:
    """Figure 1, on the absolute schedule if the run has it there."""
    for schedule in SCHEDULES:
        columns = _columns(data, schedule)
        if columns:
            break
    else:
        return Skipped(EXAMPLES, "the run has no curves of experiment 'examples'")
    bases = sorted({int(prompt) for column in columns for each in column.curves for prompt in each.prompt})
    shown = bases[:MOST_BASES]
    text = data.prompts()
    titles = {base: text.get(base, f"prompt {base}") for base in shown}
    unit = definitions.unit(schedule, data.config)
    figure = draw_examples(columns, titles, kind_styles(data.kinds), f"step ({unit})")
    names = [RESPONSE_SYMBOLS[column.response] for column in columns]
    named = f"{names[0]} (left) and {names[1]} (right)" if len(names) > 1 else names[0]
    more = f" The first {len(shown)} of {len(bases)} bases." if len(shown) < len(bases) else ""
    caption = (
        f"{named} of single paths, one row a base under its prompt, {schedule} schedule ({unit}). A line is "
        "one target, faint behind the target; a dot is its MS step (hollow: censored); a dashed vertical line "
        "is the mean MS step of a kind in that panel, censored ones at their bound." + more
    )
    return Drawing(EXAMPLES, "Example curves", caption, figure)


def rungs(data: RunData, frame: pl.DataFrame) -> Drawing | Skipped:
    """The ladder of controls, of the groups that have all of its kinds."""
    found = list(ladder.parts(frame))
    if data.reference is None:
        return Skipped(LADDER, "the run has no model-generated kind to measure realism against")
    if not found:
        wanted = " and no ".join(
            f"{group.name}, of experiment {group.experiment!r}" for group in ladder.GROUPS
        )
        return Skipped(LADDER, f"the run has no {wanted}")
    others = found[0][1].height - 1
    if others < FEWEST_RUNGS:
        return Skipped(LADDER, f"needs {FEWEST_RUNGS} kinds besides model-generated; the run has {others}")
    panels = [(_panel_title(group), rows) for group, rows in found]
    figure = draw_ladder(panels, kind_styles(data.kinds), random=data.label_of("random"))
    shown = " and ".join(
        f"{STATISTIC_SYMBOLS[group.statistic]} steps of {RESPONSE_SYMBOLS[group.response]} ({group.experiment}, "
        f"{group.schedule} schedule)"
        for group, _ in found
    )
    n = sorted({count for _, rows in found for count in rows["n"].to_list()})
    caption = (
        f"How far the {shown} of each kind are distributed from those of {data.reference}: Kolmogorov-Smirnov "
        f"distance with its 95 % interval, n = {n[0] if len(n) == 1 else f'{n[0]} to {n[-1]}'} pairs. Further left is "
        "more real. Above the first line: where another sample of model-generated would be expected (hollow), and "
        "where 95 % of such samples lie (to the end of the shaded band). "
        "Below the second: controls that are no composition of an activation's latents. Dotted: the distance of "
        "random. Realism: 0 at the distance of random, 1 where there is no more distance than noise makes "
        "(docs/realism.md)."
    )
    return Drawing(LADDER, "The ladder of controls", caption, figure)


def _panel_title(group: Group) -> str:
    return f"{STATISTIC_SYMBOLS[group.statistic]}, {group.experiment}"


def ap_thresholds(data: RunData, frame: pl.DataFrame) -> Drawing | Skipped:
    """The sensitivity figure of the first experiment and schedule there is: from, absolute, if it was run."""
    import polars as pl

    if frame.is_empty():
        return Skipped(SENSITIVITY, "the run has no AP steps whose curves could be looked at again")
    experiment, schedule = frame.select("experiment", "schedule").row(0)
    rows = frame.filter(
        pl.col("experiment") == experiment,
        pl.col("schedule") == schedule,
        pl.col("kind").is_in(_legible(data)),
    )
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
        f"{EXPERIMENT_NAMES[experiment]}, {schedule} schedule ({definitions.unit(schedule, data.config)}): "
        "median AP step"
        + (f", and its KS distance to {data.reference}," if data.reference else "")
        + f" against the threshold that ends a plateau; the run's own, {threshold:.4g}, is dotted. "
        "Bands are 95 % intervals. Hollow: the median is not reached within the path, and drawn at its end."
        + _left_out(data)
    )
    return Drawing(SENSITIVITY, "AP step: sensitivity to its threshold", caption, figure)


def control_lines(data: RunData) -> Drawing:
    """What describes real and synthetic activations, a panel a property.

    Raises:
        RunFolderError: if the run has no synthetic codes to compare.
    """
    every = controls.controls(data)
    shown = {kind: values for kind, values in every.values.items() if kind in _legible(data)}
    found = replace(every, values=shown)
    figure = controls.draw_controls(found, kind_styles(data.kinds))
    sentences = (
        "Cumulative share of pairs, by what describes an activation and its code; pairs where it is undefined "
        "are left out.",
        controls.MEANING,
        *controls.coincidences(found),
    )
    return Drawing(CONTROLS, controls.TITLE, " ".join(sentences) + _left_out(data), figure)


def _legible(data: RunData) -> tuple[str, ...]:
    """The kinds of a figure that compares all: the paper's, where there are more than can be told apart."""
    if len(data.kinds) <= MOST_KINDS:
        return data.kinds
    if data.reference not in PAPER_ORDER:
        return data.kinds[:MOST_KINDS]
    return tuple(kind for kind in data.kinds if kind in PAPER_ORDER)


def _left_out(data: RunData) -> str:
    shown = len(_legible(data))
    return (
        f" Shown are {shown} of {len(data.kinds)} kinds; the tables have all."
        if shown < len(data.kinds)
        else ""
    )


def _columns(data: RunData, schedule: Schedule) -> list[Column]:
    wanted: tuple[Response, ...] = ("l2", "kl") if "kl" in data.config.responses else ("l2", "js")
    slopes = data.config.statistics.min_slope
    return [
        Column(
            response, curves, float(slope) if isinstance(slope := slopes.get(response), int | float) else None
        )
        for response in wanted
        if (curves := tuple(data.curves("examples", schedule, response)))
    ]


def _distribution_caption(data: RunData, found: list[tuple[Group, tuple[Sample, ...]]]) -> str:
    group = found[0][0]
    schedules = " above, ".join(group.schedule for group, _ in found)
    rows = f"{schedules} below" if len(found) > 1 else f"{schedules} schedule"
    shares = "; ".join(
        ", ".join(f"{sample.kind} {censored_share(sample)}" for sample in samples) for _, samples in found
    )
    return (
        f"{EXPERIMENT_NAMES[group.experiment]}: {definitions.EXPERIMENTS[group.experiment]}. "
        f"{_symbol(group)} step of {RESPONSE_SYMBOLS[group.response]}, {rows}: histogram (left) and "
        "cumulative share (right) of all pairs. Censored pairs are in neither, so that a line ends below 1 by "
        f"its censored share: {shares}. "
        + definitions.statistic(group.statistic, data.config, group.response)
    )


def _symbol(group: Group) -> str:
    return STATISTIC_SYMBOLS[group.statistic]
