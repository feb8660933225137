"""The ladder of controls as a figure: a row a rung, a panel a statistic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from plateau_lens.report import render
from plateau_lens.report.estimates import of
from plateau_lens.report.figures.style import COLUMN_WIDTH, PAGE_WIDTH, KindStyle, drawable, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACES = ("top", "rung", "control")
"""Of a row, from the top down."""
MOST_IN_A_COLUMN = 18
"""Rows of a figure as wide as a column; one of more is as wide as the page."""
_ROW = 0.145
"""Inches a row."""
_SCORE = 0.4
"""Width of a column of numbers, in widths of the panel beside it."""
_GAP = 0.6
"""Rows between the rungs and what is above or below them."""


def draw_ladder(
    panels: Sequence[tuple[str, pl.DataFrame]], styles: dict[str, KindStyle], *, random: str | None
) -> Figure:
    """KS distance to model-generated of every kind, with its interval, and its realism at the right.

    A band reaches from 0 to where 95 % of further samples of model-generated lie, the first row; a dotted line is at
    the distance of random.

    Args:
        panels: title, and the rows of one group of ``ladder.ladder``. A kind that only one of them has is left
            empty in the other.
        styles: how each kind is drawn.
        random: label of the kind whose realism is 0.
    """
    from matplotlib.figure import Figure

    places = _places(rows for _, rows in panels)
    heights = _heights(list(places.values()))
    at = dict(zip(places, heights, strict=True))
    with paper_style():
        height = 0.62 + _ROW * (heights[-1] + 1)
        width = COLUMN_WIDTH if len(places) <= MOST_IN_A_COLUMN else PAGE_WIDTH
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(1, 2 * len(panels), sharey=True, width_ratios=[1, _SCORE] * len(panels))
        for axes, scores, (title, rows) in zip(grid[::2], grid[1::2], panels, strict=True):
            _draw_panel(axes, rows, at, styles, random)
            _write_scores(scores, rows, at)
            axes.set_title(title, loc="left")
            for above, below in itertools.pairwise(heights):
                if below - above > 1 + _GAP / 2:
                    axes.axhline((above + below) / 2, color="#888888", linewidth=0.5)
        ends = [end for _, rows in panels for end in rows["ks_high"].to_list() if end > 0]
        for axes in grid[::2]:
            axes.set_xlim(-0.04 * max(ends, default=1.0), 1.03 * max(ends, default=1.0))
        grid[0].set(
            ylim=(heights[-1] + 0.6, -0.6),
            yticks=heights,
            yticklabels=[drawable(kind, 28) for kind in places],
        )
        figure.supxlabel("KS distance to model-generated", fontsize=7.5)
    return figure


def _places(panels: Iterable[pl.DataFrame]) -> dict[str, str]:
    """Every kind that a panel has to its place: what is at the top first, controls last, as in the longest panel."""
    found = {
        str(kind): str(place)
        for rows in sorted(panels, key=len, reverse=True)
        for kind, place in rows.select("kind", "place").iter_rows()
    }
    return dict(sorted(found.items(), key=lambda item: PLACES.index(item[1])))


def _heights(places: Sequence[str]) -> list[float]:
    """Where each row is, from the top down; a gap where its place is another than that of the row above."""
    found = [0.0]
    for above, here in itertools.pairwise(places):
        found.append(found[-1] + 1 + _GAP * (above != here))
    return found


def _draw_panel(
    axes: Axes, rows: pl.DataFrame, at: Mapping[str, float], styles: dict[str, KindStyle], random: str | None
) -> None:
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for row in rows.iter_rows(named=True):
        y, far = at[str(row["kind"])], of(row, "ks")
        style = styles.get(str(row["kind"]))
        colour = style.colour if style else "#222222"
        if style is None:
            axes.axvspan(0, far.high, color="#DDDDDD", linewidth=0, zorder=0.5)
        if row["kind"] == random:
            axes.axvline(far.value, color="#888888", linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.9)
        axes.plot([far.low, far.high], [y, y], color=colour, linewidth=1.1, solid_capstyle="butt", zorder=2)
        axes.plot(
            [far.value],
            [y],
            marker=style.marker if style else "o",
            color=colour,
            markerfacecolor=colour if style else "white",
            markeredgewidth=0.8,
            zorder=3,
        )


def _write_scores(axes: Axes, rows: pl.DataFrame, at: Mapping[str, float]) -> None:
    axes.set_axis_off()
    axes.set_title("realism", loc="right")
    for row in rows.iter_rows(named=True):
        if row["place"] != "top":
            text = render.number(float(row["realism_ks"]), 2).replace("-", "\N{MINUS SIGN}")
            axes.text(
                1.0,
                at[str(row["kind"])],
                text,
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=7,
            )
