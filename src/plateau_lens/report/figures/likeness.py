"""Distances of activations beside those of what they do: a row a kind, a panel a distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from plateau_lens.report.estimates import of
from plateau_lens.report.figures.style import PAGE_WIDTH, KindStyle, drawable, paper_style

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

_ROW = 0.15
"""Inches a row."""
_LINEAR = 0.1
"""Below it the axis of the energy distance is linear: an estimate of 0 may be negative."""
_TICKS = (-10, -1, 0, 0.1, 1, 10, 100, 1000)


def draw_likeness(frame: pl.DataFrame, columns: Mapping[str, str], styles: dict[str, KindStyle]) -> Figure:
    """Each kind's distances to model-generated with their intervals, kinds from the top down as in the frame.

    Args:
        frame: rows of ``likeness.likeness``.
        columns: those that have a panel, to their titles; ``energy`` is on a scale that is logarithmic above 0.1.
        styles: how each kind is drawn.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    kinds = frame["kind"].to_list()
    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 0.6 + _ROW * (len(kinds) + 1)), layout="constrained")
        grid = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for axes, (column, title) in zip(grid, columns.items(), strict=True):
            for y, row in enumerate(frame.iter_rows(named=True)):
                found, style = of(row, column), styles[str(row["kind"])]
                axes.plot([found.low, found.high], [y, y], color=style.colour, linewidth=1.1, zorder=2)
                axes.plot([found.value], [y], marker=style.marker, color=style.colour, zorder=3)
            axes.set_title(title, loc="left")
            axes.axvline(0, color="#888888", linewidth=0.6, zorder=0.9)
            if column == "energy":
                axes.set_xscale("symlog", linthresh=_LINEAR)
                axes.xaxis.set_major_locator(FixedLocator(_TICKS))
                axes.xaxis.set_minor_locator(NullLocator())
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axes.set_xlim(
                    right=1.6 * max([1.0, *(end for end in frame["energy_high"].to_list() if end > 0)])
                )
                axes.set_xlabel("residual-stream units")
            else:
                axes.set_xlabel("KS beyond noise")
        grid[0].set(
            ylim=(len(kinds) - 0.4, -0.6),
            yticks=range(len(kinds)),
            yticklabels=[drawable(kind, 28) for kind in kinds],
        )
    return figure
