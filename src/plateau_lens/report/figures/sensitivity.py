"""The AP step against its threshold: whether a conclusion hangs on one choice of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from plateau_lens.report.figures.style import (
    PAGE_WIDTH,
    KindStyle,
    drawable,
    legend_columns,
    legend_height,
    paper_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_thresholds(
    frame: pl.DataFrame,
    styles: dict[str, KindStyle],
    *,
    threshold: float,
    n_steps: int,
    reference: str | None,
    y_label: str,
) -> Figure:
    """Median AP step (left) and KS distance to the reference (right; left out without one) by threshold.

    A band is the 95 % interval. A median that is not reached is drawn hollow, at the path's end.

    Args:
        frame: the rows of one experiment and schedule of ``sensitivity.ap_sensitivity``.
        styles: how each kind is drawn.
        threshold: the run's own, marked by a vertical line.
        n_steps: where a path ends.
        reference: label of the model-generated kind.
        y_label: label of the median, with its unit.
    """
    from matplotlib.figure import Figure

    panels = [("median", y_label)]
    if reference:
        panels.append(("ks", f"KS distance to {drawable(reference)}"))
    with paper_style():
        width = PAGE_WIDTH * (0.2 + 0.4 * len(panels))
        height = 2.15 + legend_height(_legend_labels(frame), width)
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (column, label) in zip(grid, panels, strict=True):
            _draw_panel(axes, frame, column, styles, n_steps)
            axes.axvline(threshold, color="#888888", linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.9)
            axes.set(xlabel="AP threshold (L2 units at the read site)", ylabel=label)
        grid[0].set_ylim(bottom=0)
        if reference:
            grid[1].set_ylim(-0.03, 1.03)
        _draw_legend(figure, frame, styles)
    return figure


def _draw_panel(
    axes: Axes, frame: pl.DataFrame, column: str, styles: dict[str, KindStyle], n_steps: int
) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    thresholds = frame["threshold"].unique().sort().to_list()
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(thresholds[::2]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    for (kind,), rows in frame.partition_by("kind", as_dict=True).items():
        rows = rows.sort("threshold")
        style = styles[str(kind)]
        at, reached = rows["threshold"], rows[column].is_finite()
        line, low, high = (
            rows[each].clip(upper_bound=float(n_steps))
            for each in (column, f"{column}_low", f"{column}_high")
        )
        axes.fill_between(at, low, high, color=style.colour, alpha=0.15, linewidth=0, zorder=1)
        axes.plot(at, line, color=style.colour, linestyle=style.dash, zorder=2)
        for part, face in ((reached, style.colour), (~reached, "white")):
            axes.plot(
                at.filter(part),
                line.filter(part),
                linestyle="none",
                color=style.colour,
                marker=style.marker,
                markerfacecolor=face,
                markeredgewidth=0.8,
                zorder=3,
            )


def _draw_legend(figure: Figure, frame: pl.DataFrame, styles: dict[str, KindStyle]) -> None:
    from matplotlib.lines import Line2D

    labels = _legend_labels(frame)
    handles = [
        Line2D([], [], color=styles[kind].colour, linestyle=styles[kind].dash, marker=styles[kind].marker)
        for kind in frame["kind"].unique(maintain_order=True)
    ]
    columns = legend_columns(labels, figure.get_figwidth())
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def _legend_labels(frame: pl.DataFrame) -> list[str]:
    sizes = frame.group_by("kind", maintain_order=True).agg(pl.col("n").first())
    return [f"{drawable(kind)} (n = {n})" for kind, n in sizes.iter_rows()]
