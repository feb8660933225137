"""A forest plot: a row a contrast, a panel a measurement, as wide as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plateau_lens.numerics.intervals import Estimate
from plateau_lens.report.figures.style import PAGE_WIDTH, drawable, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.16
"""Inches a row."""
_FILLED = {"different": "full", "equivalent": "none"}
"""How a marker is filled, by the verdict against the margin; half where it is undecided."""
_PUBLISHED = "#B07A00"


@dataclass(frozen=True)
class Effect:
    """One contrast in one panel."""

    contrast: str
    found: Estimate
    verdict: str
    colour: str
    published: float
    """The paper's, of GPT-2; NaN where there is none."""


@dataclass(frozen=True)
class Panel:
    """One measurement of all contrasts."""

    title: str
    margin: float
    """Of equivalence, in the unit of the effects; NaN for none."""
    effects: Sequence[Effect]


def draw_forest(panels: Sequence[Panel], groups: Sequence[Sequence[str]], *, x_label: str) -> Figure:
    """Draw every effect with its interval, the margin as a band about 0, and what was published as a cross.

    Args:
        panels: from left to right.
        groups: contrasts from the top down, in groups with a line between them; one that a panel has not is left empty.
        x_label: what effects are, with their unit.
    """
    from matplotlib.figure import Figure

    at: dict[str, float] = {}
    lines: list[float] = []
    for group in groups:
        if at:
            lines.append(max(at.values()) + 0.8)
        start = max(at.values()) + 1.6 if at else 0.0
        at |= {contrast: start + place for place, contrast in enumerate(group)}
    bottom = max(at.values(), default=0.0)
    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 0.75 + _ROW * (bottom + 1)), layout="constrained")
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            _draw_panel(axes, panel, at)
            for line in lines:
                axes.axhline(line, color="#888888", linewidth=0.5)
        row[0].set(
            ylim=(bottom + 0.7, -0.7),
            yticks=list(at.values()),
            yticklabels=[drawable(contrast, 44) for contrast in at],
        )
        figure.supxlabel(x_label, fontsize=7.5)
    return figure


def _draw_panel(axes: Axes, panel: Panel, at: Mapping[str, float]) -> None:
    axes.set_title(panel.title)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color="#888888", linewidth=0.7, zorder=0.9)
    axes.axvspan(-panel.margin, panel.margin, color="#DDDDDD", linewidth=0, zorder=0.5)
    for effect in panel.effects:
        y, found = at[effect.contrast], effect.found
        axes.plot([found.low, found.high], [y, y], color=effect.colour, linewidth=1.1, solid_capstyle="butt")
        axes.plot(
            [found.value],
            [y],
            marker="o",
            markersize=4,
            color=effect.colour,
            fillstyle=_FILLED.get(effect.verdict, "bottom"),
            markerfacecoloralt="white",
            markeredgewidth=0.8,
            zorder=3,
        )
        axes.plot([effect.published], [y], marker="x", markersize=3.6, color=_PUBLISHED, zorder=2.5)
