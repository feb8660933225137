"""Figure 1: single curves. A few bases, each pushed toward several targets of a few kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from plateau_lens.report.figures.style import (
    LEAST_TEXT,
    PAGE_WIDTH,
    KindStyle,
    drawable,
    drawable_end,
    legend_columns,
    paper_style,
)
from plateau_lens.report.run_data import KindCurves
from plateau_lens.steps.registry import StepValues

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Column:
    """One column of panels: one response."""

    y_label: str
    curves: tuple[KindCurves, ...]
    steps: tuple[StepValues, ...] | None
    """Where each of them blows up, in the order of ``curves``; none: no dots are drawn."""


def draw_examples(
    columns: Sequence[Column], titles: dict[int, str], styles: dict[str, KindStyle], x_label: str
) -> Figure:
    """One row a base (``titles``: prompt index to its text), one column a response.

    A line is one target, drawn faintly behind the target; a dot is its MS step, hollow if censored; a dashed
    vertical line is a kind's mean MS step over that row's curves.
    """
    from matplotlib.figure import Figure

    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 0.35 + 1.75 * len(titles)), layout="constrained")
        grid = figure.subplots(len(titles), len(columns), squeeze=False, sharex=True)
        for axes_row, (prompt, text) in zip(grid, titles.items(), strict=True):
            for axes, column in zip(axes_row, columns, strict=True):
                _draw_panel(axes, column, prompt, styles)
            _draw_title(axes_row[0], text)
        for axes in grid[-1]:
            axes.set_xlabel(x_label)
        _draw_legend(figure, columns, styles)
    return figure


def _draw_title(axes: Axes, text: str) -> None:
    """A title that runs over the row's other panels; to the layout it is a blank, which is not too wide."""
    axes.set_title(" ")
    title = axes.annotate(
        drawable_end(text, PAGE_WIDTH - 0.75),
        (0, 1),
        xytext=(0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=LEAST_TEXT,
        annotation_clip=False,
    )
    title.set_in_layout(False)


def _draw_panel(axes: Axes, column: Column, prompt: int, styles: dict[str, KindStyle]) -> None:
    for place, curves in enumerate(column.curves):
        mine = curves.prompt == prompt
        if not mine.any():
            continue
        response, last, style = curves.response[mine], curves.last[mine], styles[curves.kind]
        _draw_curves(axes, response, last, style)
        if column.steps is not None:
            found = column.steps[place]
            _draw_steps(axes, response, StepValues(found.value[mine], found.flags[mine]), style)
    axes.set(ylabel=column.y_label)
    axes.set_xlim(0, column.curves[0].response.shape[1] - 1)
    axes.set_ylim(bottom=0)


def _draw_curves(
    axes: Axes, response: Float[np.ndarray, "pair step"], last: Int[np.ndarray, " pair"], style: KindStyle
) -> None:
    steps = np.arange(response.shape[1])
    for curve, end in zip(response, last, strict=True):
        axes.plot(steps[: end + 1], curve[: end + 1], color=style.colour, linewidth=0.9, alpha=0.75)
        axes.plot(steps[end:], curve[end:], color=style.colour, linewidth=0.6, alpha=0.18)


def _draw_steps(
    axes: Axes, response: Float[np.ndarray, "pair step"], steps: StepValues, style: KindStyle
) -> None:
    defined = ~np.isnan(steps.value)
    if not defined.any():
        return
    for chosen, face in ((defined & ~steps.flags, style.colour), (defined & steps.flags, "white")):
        at = steps.value[chosen].astype(int)
        axes.plot(
            at,
            response[chosen, at],
            linestyle="none",
            marker=style.marker,
            markersize=3.6,
            color=style.colour,
            markerfacecolor=face,
            markeredgewidth=0.7,
            zorder=3,
        )
    axes.axvline(float(steps.value[defined].mean()), color=style.colour, linestyle=(0, (4, 2)), linewidth=1.1)


def _draw_legend(figure: Figure, columns: Sequence[Column], styles: dict[str, KindStyle]) -> None:
    from matplotlib.lines import Line2D

    sizes = {curves.kind: len(curves.last) for column in columns for curves in column.curves}
    handles = [
        Line2D([], [], color=styles[kind].colour, marker=styles[kind].marker, markersize=3.6)
        for kind in sizes
    ]
    labels = [f"{drawable(kind)} (n = {size})" for kind, size in sizes.items()]
    handles.append(Line2D([], [], color="#555555", linestyle=(0, (4, 2)), linewidth=1.1))
    labels.append("mean MS step of a kind")
    figure.legend(handles, labels, loc="outside upper center", ncols=legend_columns(labels))
