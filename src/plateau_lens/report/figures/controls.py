"""What describes real and synthetic activations: a panel a property, a line a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from plateau_lens.report.figures.style import (
    PAGE_WIDTH,
    KindStyle,
    drawable,
    legend_columns,
    legend_height,
    paper_style,
)
from plateau_lens.report.properties import PROPERTIES, Property

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = Mapping[str, Mapping[str, Float[np.ndarray, " pair"]]]
"""Kind, then property, to one value a pair; NaN where undefined."""
_MARKED = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Cumulative shares that carry a marker, to tell lines apart in grey."""
_MOST_POINTS = 2000
"""Points of a line, more than its panel has pixels."""


def draw_controls(found: Values, styles: Mapping[str, KindStyle]) -> Figure:
    """Cumulative share of pairs by property, a panel each and a line a kind; undefined values are left out."""
    from matplotlib.figure import Figure

    labels = _legend_labels(found)
    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 3.5 + legend_height(labels)), layout="constrained")
        grid = figure.subplots(2, 3, sharey=True)
        for axes, each in zip(grid.flat, PROPERTIES, strict=True):
            for kind, properties in found.items():
                _draw_line(axes, properties[each.column], styles[kind])
            axes.set(xlabel=each.label, ylim=(0, 1.04))
            _set_scale(axes, [properties[each.column] for properties in found.values()], each)
        for axes in grid[:, 0]:
            axes.set_ylabel("cumulative share of pairs")
        _draw_legend(figure, labels, [styles[kind] for kind in found])
    return figure


def _set_scale(axes: Axes, values: Sequence[Float[np.ndarray, " pair"]], each: Property) -> None:
    """Counts run over decades: theirs is a logarithmic axis, unless a code is empty."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.margins(x=0.02)
    if each.column == "active" and np.nanmin(np.concatenate(values)) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _draw_line(axes: Axes, value: Float[np.ndarray, " pair"], style: KindStyle) -> None:
    defined = np.sort(value[~np.isnan(value)])
    if not defined.size:
        return
    share = np.arange(1, defined.size + 1) / defined.size
    if defined.size > _MOST_POINTS:
        kept = np.linspace(0, defined.size - 1, _MOST_POINTS).round().astype(int)
        defined, share = defined[kept], share[kept]
    axes.plot(
        np.concatenate([defined[:1], defined]),
        np.concatenate([[0.0], share]),
        color=style.colour,
        linestyle=style.dash,
        drawstyle="steps-post",
        marker=style.marker,
        markevery=sorted({1 + int(np.searchsorted(share, at)) for at in _MARKED}),
    )


def _draw_legend(figure: Figure, labels: Sequence[str], styles: Sequence[KindStyle]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.colour, linestyle=style.dash, marker=style.marker) for style in styles
    ]
    figure.legend(handles, labels, loc="outside upper center", ncols=legend_columns(labels))


def _legend_labels(found: Values) -> list[str]:
    return [f"{drawable(kind)} (n = {each['norm'].size})" for kind, each in found.items()]
