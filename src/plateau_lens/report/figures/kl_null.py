"""KL of pushes at the end of the stream and at the run's site: mean curves, and MS steps pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from plateau_lens.report.figures.style import PAGE_WIDTH, KindStyle, drawable, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SITE_DASH = (0, (3, 1.3))
_GREY = "#888888"


@dataclass(frozen=True)
class KindAtBoth:
    """What is drawn of one kind."""

    kind: str
    curve_at_end: Float[np.ndarray, " step"]
    """Mean response, as a share of its value at the last step."""
    curve_at_site: Float[np.ndarray, " step"]
    step_at_end: Float[np.ndarray, " pair"]
    """MS step of each pair; NaN where undefined."""
    step_at_site: Float[np.ndarray, " pair"]


def draw_both(
    kinds: Sequence[KindAtBoth],
    styles: dict[str, KindStyle],
    *,
    names: tuple[str, str],
    within: int,
    n_steps: int,
) -> Figure:
    """Left: mean curves, each scaled by its own end, solid at the end and dashed at the site. Right: pair by pair.

    Args:
        kinds: in the order in which they are shown.
        styles: how each kind is drawn.
        names: of the end and of the site, for the legend and the axes.
        within: steps to either side of the diagonal that are shaded.
        n_steps: steps of a path.
    """
    from matplotlib.figure import Figure

    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 3.0 + 0.16 * (1 + len(kinds))), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
        _draw_curves(left, kinds, styles, names, n_steps)
        _draw_pairs(right, kinds, styles, names, within, n_steps)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _draw_curves(
    axes: Axes,
    kinds: Sequence[KindAtBoth],
    styles: dict[str, KindStyle],
    names: tuple[str, str],
    n_steps: int,
) -> None:
    steps = np.arange(n_steps + 1)
    share = steps / n_steps
    axes.plot(steps, share, color=_GREY, linewidth=0.7, label="straight line")
    axes.plot(steps, share**2, color=_GREY, linewidth=0.9, linestyle=(0, (1, 1.2)), label="parabola")
    for each in kinds:
        shown = drawable(each.kind)
        colour = styles[each.kind].colour
        axes.plot(steps, each.curve_at_end, color=colour, label=f"{shown}, {names[0]}")
        axes.plot(steps, each.curve_at_site, color=colour, linestyle=_SITE_DASH, label=f"{shown}, {names[1]}")
    axes.set(
        xlabel=f"step (1 step = {100 / n_steps:.3g} % of the way)", ylabel="mean KL, share of its end value"
    )
    axes.set_xlim(0, n_steps)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _draw_pairs(
    axes: Axes,
    kinds: Sequence[KindAtBoth],
    styles: dict[str, KindStyle],
    names: tuple[str, str],
    within: int,
    n_steps: int,
) -> None:
    from matplotlib.lines import Line2D

    ends = np.array([0, n_steps])
    axes.fill_between(ends, ends - within, ends + within, color="#EEEEEE", linewidth=0, zorder=0.4)
    axes.plot(ends, ends, color=_GREY, linewidth=0.7, zorder=0.9)
    n_pairs = max(len(each.step_at_end) for each in kinds)
    opacity = float(np.clip(40 / n_pairs, 0.15, 0.85))
    for each in kinds:
        style = styles[each.kind]
        axes.plot(
            each.step_at_site,
            each.step_at_end,
            linestyle="none",
            marker=style.marker,
            markersize=3.0,
            markeredgewidth=0,
            color=style.colour,
            alpha=opacity,
            rasterized=n_pairs > 300,
            clip_on=False,
        )
    # In the legend a marker is as it is elsewhere: on the axes they are small and pale.
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=styles[each.kind].marker,
            color=styles[each.kind].colour,
            label=drawable(each.kind),
        )
        for each in kinds
    ]
    axes.legend(handles=handles, loc="lower left")
    axes.set(
        xlabel=f"MS step of KL, pushed {names[1]}",
        ylabel=f"MS step of KL, pushed {names[0]}",
        xlim=(0, n_steps),
        ylim=(0, n_steps),
    )
    axes.set_aspect("equal")
