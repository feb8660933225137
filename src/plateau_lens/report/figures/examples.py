"""Figure 1: single curves. A few bases, each pushed toward targets of a few kinds; in one panel, or in a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from plateau_lens.report.figures.style import (
    LEAST_TEXT,
    PAGE_WIDTH,
    Dash,
    KindStyle,
    drawable,
    drawable_end,
    legend_columns,
    paper_style,
)
from plateau_lens.report.run_data import KindCurves, MeanCurve
from plateau_lens.steps.registry import StepValues

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_MEAN: Dash = (0, (4, 2))


@dataclass(frozen=True)
class Column:
    """One column of panels: one response."""

    y_label: str
    curves: tuple[KindCurves, ...]
    steps: tuple[StepValues, ...] | None
    """Where each of them blows up, in the order of ``curves``; none: no dots are drawn."""
    means: tuple[MeanCurve, ...] = ()
    """What a kind's curves are on average."""

    def first_of_each(self, bases: Sequence[int]) -> Column:
        """Only the first path of each of some bases, for every kind."""
        places = [
            np.array(
                [np.flatnonzero(each.prompt == base)[0] for base in bases if base in each.prompt], dtype=int
            )
            for each in self.curves
        ]
        curves = tuple(_chosen(each, place) for each, place in zip(self.curves, places, strict=True))
        steps = None
        if self.steps is not None:
            steps = tuple(
                StepValues(each.value[place], each.flags[place])
                for each, place in zip(self.steps, places, strict=True)
            )
        return Column(self.y_label, curves, steps, self.means)


def draw_paths(columns: Sequence[Column], styles: dict[str, KindStyle], x_label: str) -> Figure:
    """One panel a response with every curve in it, a dot at its MS step, and dashed the mean curves."""
    from matplotlib.figure import Figure

    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 2.9), layout="constrained")
        for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
            _draw_column(axes, column, styles)
            for mean in column.means:
                axes.plot(
                    mean.response, color=styles[mean.kind].colour, linestyle=_MEAN, linewidth=1.8, zorder=2.5
                )
            axes.set_xlabel(x_label)
        means = {mean.kind: mean for column in columns for mean in column.means}
        entries: list[tuple[Line2D, str]] = []
        for kind, entry in _kind_entries(columns, styles).items():
            entries.append(entry)
            if kind in means:
                entries.append(
                    (_dashed(styles[kind].colour), f"{drawable(kind)} (mean of {means[kind].n:,})")
                )
        _draw_legend(figure, entries, most=max(1, len(entries) // 2))
    return figure


def draw_grid(
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
                _draw_column(axes, column, styles, prompt)
            _draw_title(axes_row[0], text)
        for axes in grid[-1]:
            axes.set_xlabel(x_label)
        mean = (_dashed("#555555"), "mean MS step of a kind")
        _draw_legend(figure, [*_kind_entries(columns, styles).values(), mean])
    return figure


def _chosen(curves: KindCurves, which: Int[np.ndarray, " k"] | Bool[np.ndarray, " pair"]) -> KindCurves:
    return KindCurves(curves.kind, curves.response[which], curves.last[which], curves.prompt[which])


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


def _draw_column(axes: Axes, column: Column, styles: dict[str, KindStyle], prompt: int | None = None) -> None:
    """Curves and dots; of one base, with the mean step of its curves, if a prompt is given."""
    for place, curves in enumerate(column.curves):
        mine = np.ones(len(curves.prompt), dtype=bool) if prompt is None else curves.prompt == prompt
        if not mine.any():
            continue
        own, style = _chosen(curves, mine), styles[curves.kind]
        _draw_curves(axes, own.response, own.last, style)
        if column.steps is None:
            continue
        steps = column.steps[place]
        _draw_steps(axes, own.response, StepValues(steps.value[mine], steps.flags[mine]), style)
        defined = mine & ~np.isnan(steps.value)
        if prompt is not None and defined.any():
            axes.axvline(
                float(steps.value[defined].mean()), color=style.colour, linestyle=_MEAN, linewidth=1.1
            )
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


def _kind_entries(columns: Sequence[Column], styles: dict[str, KindStyle]) -> dict[str, tuple[Line2D, str]]:
    from matplotlib.lines import Line2D

    sizes = {curves.kind: len(curves.last) for column in columns for curves in column.curves}
    return {
        kind: (
            Line2D([], [], color=styles[kind].colour, marker=styles[kind].marker, markersize=3.6),
            f"{drawable(kind)} (n = {size})",
        )
        for kind, size in sizes.items()
    }


def _dashed(colour: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=_MEAN, linewidth=1.5)


def _draw_legend(figure: Figure, entries: Sequence[tuple[Line2D, str]], most: int = 4) -> None:
    """Entries fill column after column."""
    handles, labels = [handle for handle, _ in entries], [label for _, label in entries]
    figure.legend(handles, labels, loc="outside upper center", ncols=min(most, legend_columns(labels)))
