"""Figures E.1 and E.2: how many latents a code has and how they share it; the cosines between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

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

_BINS_A_BAR = 2
"""Bins of the counted cosines that a bar or a step of a line takes together: 0.02 wide."""
_REAL = "#D9D9D9"
"""What is real is filled, so that no line can be taken for it."""
_EDGE = "#6E6E6E"


def draw_latents(active: Int[np.ndarray, " code"], shares: Sequence[Float[np.ndarray, " code"]]) -> Figure:
    """Figure E.1.

    Args:
        active: active latents of each code.
        shares: for each rank, the share of the latent of that rank in each code that has one, 0..1.
    """
    from matplotlib.figure import Figure

    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 2.3), layout="constrained")
        left, right = figure.subplots(1, 2)
        # Bars of whole latents, and no more of them than can be seen.
        width = max(1, int(np.ceil((active.max(initial=1) + 1) / 60)))
        edges = np.arange(0, active.max(initial=1) + 2 * width, width) - 0.5
        left.hist(active, bins=edges.tolist(), color=_REAL, edgecolor=_EDGE, linewidth=0.4)
        left.axvline(float(active.mean()), color=_EDGE, linestyle="--", linewidth=1.0)
        per = "" if width == 1 else f" per {width} latents"
        left.set(xlabel="active latents", ylabel=f"activations{per}", xlim=(0, None))
        right.boxplot(
            [100 * share for share in shares],
            widths=0.6,
            flierprops={"marker": ".", "markersize": 1.5, "markeredgecolor": _EDGE, "alpha": 0.4},
            medianprops={"color": "#222222"},
            patch_artist=True,
            boxprops={"facecolor": _REAL, "edgecolor": _EDGE, "linewidth": 0.6},
            whiskerprops={"color": _EDGE, "linewidth": 0.8},
            capprops={"color": _EDGE, "linewidth": 0.8},
        )
        right.set(xlabel="rank of the latent", ylabel="share of the latent activation (%)", ylim=(0, None))
    return figure


class Cosines(NamedTuple):
    """Cosines of the latents of many codes, counted in bins over -1..1."""

    among: Int[np.ndarray, " bin"]
    """Between all pairs of active latents."""
    to_top: Int[np.ndarray, " bin"]
    """Of the other active latents with the top one."""


def draw_cosines(real: Cosines, made: Mapping[str, Cosines], styles: Mapping[str, KindStyle]) -> Figure:
    """Figure E.2.

    Args:
        real: of the model's own activations; filled.
        made: of each synthetic kind; lines.
        styles: of the synthetic kinds.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    labels = ("cosine between two active latents", "cosine of an active latent with the top one")
    with paper_style():
        names = ["real", *(drawable(kind) for kind in made)]
        figure = Figure(figsize=(PAGE_WIDTH, 2.3 + legend_height(names)), layout="constrained")
        for place, (axes, label) in enumerate(zip(figure.subplots(1, 2), labels, strict=True)):
            _draw_density(axes, real[place], None)
            for kind, each in made.items():
                _draw_density(axes, each[place], styles[kind])
            limits = _limits([each[place] for each in (real, *made.values())])
            axes.set(xlabel=label, ylabel="density", xlim=limits, ylim=(0, None))
        lines = [Line2D([], [], color=styles[kind].colour, linestyle=styles[kind].dash) for kind in made]
        handles = [Patch(facecolor=_REAL, edgecolor=_EDGE, linewidth=0.6), *lines]
        figure.legend(handles, names, loc="outside upper center", ncols=legend_columns(names))
    return figure


def _draw_density(axes: Axes, counts: Int[np.ndarray, " bin"], style: KindStyle | None) -> None:
    """A histogram whose area is 1; none for codes without two active latents."""
    total = counts.sum()
    if not total:
        return
    bars = counts.reshape(-1, _BINS_A_BAR).sum(axis=1)
    edges = np.linspace(-1, 1, bars.size + 1)
    density = bars / (total * (edges[1] - edges[0]))
    if style is None:
        axes.stairs(density, edges, fill=True, color=_REAL)
        axes.stairs(density, edges, color=_EDGE, linewidth=0.6)
    else:
        axes.stairs(density, edges, color=style.colour, linestyle=style.dash, linewidth=1.2)


def _limits(counted: Sequence[Int[np.ndarray, " bin"]]) -> tuple[float, float]:
    """Where nearly all of them lie: all but one in a thousand on either side, of each kind."""
    low, high = 0.0, 0.0
    for counts in counted:
        if total := counts.sum():
            edges = np.linspace(-1, 1, counts.size + 1)
            cumulative = counts.cumsum() / total
            low = min(low, float(edges[np.searchsorted(cumulative, 1e-3)]))
            high = max(high, float(edges[1 + np.searchsorted(cumulative, 1 - 1e-3)]))
    return low - 0.04, high + 0.04
