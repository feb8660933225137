"""The paper's main figure: how many pairs have a step, beside the cumulative share of pairs, one line a kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from plateau_lens.report import render
from plateau_lens.report.figures.style import (
    PAGE_WIDTH,
    KindStyle,
    drawable,
    legend_columns,
    legend_height,
    paper_style,
)
from plateau_lens.report.run_data import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_MARKED = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of its own end at which a cumulative line carries a marker, to tell lines apart in grey."""


@dataclass(frozen=True)
class Row:
    """One row of panels: the samples of one group."""

    samples: tuple[Sample, ...]
    x_label: str
    title: str = ""
    """Shown above the row; empty where the figure has one row alone."""
    end: int | None = 100
    """Where looking stops, in steps; None for values in another unit."""


def draw_distributions(rows: Sequence[Row], styles: dict[str, KindStyle]) -> Figure:
    """Draw each row's histogram (left; counts in shared bins) beside its cumulative share of pairs (right).

    What is censored is missing from both: a histogram's bars sum to the pairs whose event was seen, and a cumulative
    line ends at one less the censored share that the legend gives.
    """
    from matplotlib.figure import Figure

    with paper_style():
        legend = max(legend_height(_legend_labels(row)) for row in rows)
        height = 1.95 + legend + (0.12 if any(row.title for row in rows) else 0)
        figure = Figure(figsize=(PAGE_WIDTH, height * len(rows)), layout="constrained")
        for part, row in zip(_parts(figure, len(rows)), rows, strict=True):
            _draw_row(part, row, styles, _limits([other for other in rows if other.end == row.end]))
    return figure


def _parts(figure: Figure, count: int) -> list[Figure] | list[SubFigure]:
    return [figure] if count == 1 else list(figure.subfigures(count, 1, squeeze=False)[:, 0])


def _draw_row(
    part: Figure | SubFigure, row: Row, styles: dict[str, KindStyle], limits: tuple[float, float]
) -> None:
    left, right = part.subplots(1, 2, sharex=True)
    lower, upper = limits
    edges = _bins(row, lower, upper)
    for sample in row.samples:
        _draw_histogram(left, sample, styles[sample.kind], edges)
        _draw_cumulative(right, sample, styles[sample.kind], _grid(row, lower, upper))
    left.set(xlabel=row.x_label, ylabel=f"pairs per {_bin_name(row, edges)}", xlim=(lower, upper))
    left.set_ylim(bottom=0)
    right.set(xlabel=row.x_label, ylabel="cumulative share of pairs", xlim=(lower, upper), ylim=(0, 1.04))
    right.axhline(1, color="#999999", linewidth=0.6, zorder=0.5)
    if not any(sample.seen.size for sample in row.samples):
        left.text(0.5, 0.5, "no event seen: all censored", transform=left.transAxes, ha="center")
    _draw_legend(part, row, styles)


def _draw_histogram(axes: Axes, sample: Sample, style: KindStyle, edges: Float[np.ndarray, " edge"]) -> None:
    counts, _ = np.histogram(sample.seen, edges)
    axes.stairs(counts, edges, fill=True, color=style.colour, alpha=0.13)
    axes.stairs(counts, edges, color=style.colour, linestyle=style.dash, linewidth=1.2)


def _draw_cumulative(axes: Axes, sample: Sample, style: KindStyle, grid: Float[np.ndarray, " point"]) -> None:
    share = np.searchsorted(np.sort(sample.seen), grid, side="right") / max(sample.value.size, 1)
    marked = np.unique(np.searchsorted(share, share[-1] * np.array(_MARKED)))
    axes.plot(
        grid,
        share,
        color=style.colour,
        linestyle=style.dash,
        drawstyle="steps-post",
        marker=style.marker,
        markevery=[int(at) for at in marked],
        label=drawable(sample.kind),
    )


def _draw_legend(part: Figure | SubFigure, row: Row, styles: dict[str, KindStyle]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=styles[s.kind].colour, linestyle=styles[s.kind].dash, marker=styles[s.kind].marker
        )
        for s in row.samples
    ]
    part.legend(
        handles,
        _legend_labels(row),
        loc="outside upper center",
        ncols=legend_columns(_legend_labels(row)),
        title=drawable(row.title, 80) or None,
    )


def _legend_labels(row: Row) -> list[str]:
    return [f"{drawable(s.kind)} (n = {s.value.size}, {censored_share(s)} cens.)" for s in row.samples]


def censored_share(sample: Sample) -> str:
    """The share of a sample's pairs that a figure does not show as an event, e.g. ``3 %``."""
    unseen = 1 - sample.seen.size / sample.value.size if sample.value.size else math.nan
    return render.share(unseen)


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """The whole path, or a little more than the last event if nothing happens in the path's second half.

    Of values in another unit: from the smallest event to the largest. Rows of one `Row.end` share theirs.
    """
    seen = np.concatenate([np.array([]), *(sample.seen for row in rows for sample in row.samples)])
    end = rows[0].end
    if end is None:
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        margin = 0.03 * (high - low) or 0.5
        return low - margin, high + margin
    latest = seen.max(initial=0)
    if not seen.size or latest > 0.6 * end:
        return 0.0, float(end)
    return 0.0, float(min(end, 5 * math.ceil((1.1 * latest + 1) / 5)))


def _in_whole_steps(row: Row) -> bool:
    return row.end is not None and all((sample.seen == np.rint(sample.seen)).all() for sample in row.samples)


def _grid(row: Row, lower: float, upper: float) -> Float[np.ndarray, " point"]:
    """Where cumulative lines may rise: at whole steps, or at every value that there is."""
    if _in_whole_steps(row):
        return np.arange(math.floor(upper) + 1, dtype=np.float64)
    return np.unique(np.concatenate([[lower, upper], *(sample.seen for sample in row.samples)]))


def _bins(row: Row, lower: float, upper: float) -> Float[np.ndarray, " edge"]:
    """Bins shared by all kinds, as wide as Freedman and Diaconis advise; of whole steps, and between them."""
    sizes = [
        2 * float(np.subtract(*np.quantile(sample.seen, [0.75, 0.25]))) / np.cbrt(sample.seen.size)
        for sample in row.samples
        if sample.seen.size > 1
    ]
    advised = float(np.median(sizes)) if sizes else 1.0
    if row.end is not None:
        width = int(np.clip(round(advised), 1, max(1, upper // 10)))
        return np.arange(-0.5, upper + width + 0.5, width)
    count = int(np.clip(round((upper - lower) / advised) if advised > 0 else 10, 5, 60))
    return np.linspace(lower, upper, count + 1)


def _bin_name(row: Row, edges: Float[np.ndarray, " edge"]) -> str:
    width = float(edges[1] - edges[0])
    if row.end is None:
        return f"{width:.2g}"
    return f"{round(width)} steps" if round(width) > 1 else "step"
