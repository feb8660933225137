"""Gaps and their parts: a bar a kind, a panel a statistic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from plateau_lens.numerics.intervals import Estimate
from plateau_lens.report.figures.style import PAGE_WIDTH, drawable, legend_columns, legend_height, paper_style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.17
"""Inches a row."""
_COLOURS = ("#0A30A9", "#2BC0EA", "#058257", "#E0A100", "#954997", "#BBBBBB")
"""Of the parts, in their order, the last for what is left; they repeat beyond that."""


class Panel(NamedTuple):
    """One statistic."""

    title: str
    kinds: Sequence[str]
    parts: Float[np.ndarray, "kind part"]
    """Steps; NaN is not drawn."""
    gaps: Sequence[Estimate]


def draw_explained(panels: Sequence[Panel], parts: Sequence[str]) -> Figure:
    """The parts of each kind's gap side by side, those below 0 to the left and those above to the right, and the gap.

    Args:
        panels: one a statistic; a kind that only one of them has is left empty in the other.
        parts: what the parts are called.
    """
    from matplotlib.figure import Figure

    longest_first = sorted(panels, key=lambda panel: len(panel.kinds), reverse=True)
    kinds = list(dict.fromkeys(kind for panel in longest_first for kind in panel.kinds))
    at = {kind: y for y, kind in enumerate(kinds)}
    colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(parts))]
    with paper_style():
        height = 0.55 + _ROW * (len(kinds) + 1) + legend_height(parts)
        figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(grid, panels, strict=True):
            _draw_panel(axes, panel, at, colours)
        grid[0].set(
            ylim=(len(kinds) - 0.4, -0.6),
            yticks=range(len(kinds)),
            yticklabels=[drawable(kind, 28) for kind in kinds],
        )
        figure.supxlabel("steps, less model-generated's", fontsize=7.5)
        handles = [_patch(colour) for colour in colours]
        figure.legend(handles, parts, loc="outside upper center", ncols=legend_columns(parts))
    return figure


def _draw_panel(axes: Axes, panel: Panel, at: dict[str, int], colours: Sequence[str]) -> None:
    axes.axvline(0, color="#444444", linewidth=0.6, zorder=1.5)
    axes.set_title(panel.title, loc="left")
    for kind, values, gap in zip(panel.kinds, panel.parts, panel.gaps, strict=True):
        ends = {-1: 0.0, 1: 0.0}
        for value, colour in zip(values.tolist(), colours, strict=True):
            if np.isfinite(value):
                side = 1 if value > 0 else -1
                axes.barh(at[kind], value, left=ends[side], height=0.72, color=colour, linewidth=0, zorder=1)
                ends[side] += value
        axes.plot([gap.low, gap.high], [at[kind]] * 2, color="#111111", linewidth=1.0, zorder=2)
        axes.plot([gap.value], [at[kind]], marker="o", markersize=3.0, color="#111111", zorder=3)


def _patch(colour: str) -> Artist:
    from matplotlib.patches import Patch

    return Patch(color=colour)
