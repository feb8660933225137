"""Two statistics of the same curves against each other: a dot a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from plateau_lens.report.figures.style import PAGE_WIDTH, KindStyle, drawable, paper_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4
MOST_DOTS = 2000
"""Of a kind: more are one patch, and a large file."""


class Panel(NamedTuple):
    """One kind; NaN is not drawn."""

    kind: str
    x: Float[np.ndarray, " pair"]
    y: Float[np.ndarray, " pair"]


def draw_agreement(panels: Sequence[Panel], styles: dict[str, KindStyle], *, end: int) -> Figure:
    """AUC step against MS step, a panel a kind, the line of equality in each.

    Args:
        panels: of each kind.
        styles: how each is drawn.
        end: where paths end, steps.
    """
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    side = PAGE_WIDTH / COLUMNS
    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, side * rows + 0.3), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for column, axes in enumerate(grid.flat[len(panels) :], start=len(panels) % columns):
            axes.set_axis_off()
            grid[-2, column].tick_params(labelbottom=True)
        for axes, panel in zip(grid.flat, panels, strict=False):
            axes.plot([0, end], [0, end], color="#888888", linewidth=0.8, zorder=1)
            axes.plot(
                panel.x[:MOST_DOTS],
                panel.y[:MOST_DOTS],
                linestyle="none",
                marker=styles[panel.kind].marker,
                markersize=2.2,
                markeredgewidth=0,
                alpha=0.35,
                color=styles[panel.kind].colour,
                rasterized=True,
                zorder=2,
            )
            n = int((~np.isnan(panel.x + panel.y)).sum())
            axes.set_title(f"{drawable(panel.kind, 26)}\nn = {n}")
            axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
        figure.supxlabel("MS step", fontsize=7.5)
        figure.supylabel("AUC step", fontsize=7.5)
    return figure
