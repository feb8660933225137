"""The interactive part of the page: median response curves, each experiment, schedule and response."""

from __future__ import annotations

import base64
import gzip
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from plateau_lens._errors import RunFolderError
from plateau_lens.report import definitions
from plateau_lens.report.figures.style import KindStyle, kind_styles
from plateau_lens.report.html import page_part
from plateau_lens.report.run_data import Group, KindCurves, RunData
from plateau_lens.report.sections.registry import Block, Drawing, Section, section

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Explorer:
    """What the page embeds: the figure as JSON, and the library that draws it, compressed."""

    figure: str
    """JSON with no ``<`` in it, so that no label can end the script element it stands in."""
    library: str
    """plotly.js, gzip in base64: a third of its size, and only unpacked when a reader opens the chart."""
    script: str
    """Ours, which unpacks the library and has it draw the figure."""


@section("explore")
class ExplorerSection(Section):
    """Median curves to choose from, drawn in the browser."""

    title = "Explore the curves"
    place = 90

    def __init__(self, data: RunData):
        super().__init__(data)
        self.found = explorer(data)

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """The chart."""
        yield page_part("explorer.html.j2", explorer=self.found)

    def scripts(self) -> Sequence[str]:
        """Ours, and the library as ours unpacks it."""
        from plotly.offline import get_plotlyjs

        return self.found.script, get_plotlyjs()


def explorer(data: RunData) -> Explorer:
    """The interactive chart.

    Raises:
        RunFolderError: for a run whose curves are gone, or that has none to summarise.
    """
    from plotly.io.json import to_json_plotly
    from plotly.offline import get_plotlyjs

    figure = median_curves(data)
    if figure is None:
        raise RunFolderError("the run has no curves to summarise")
    text = str(to_json_plotly(figure)).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    library = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    return Explorer(text, library, (files("plateau_lens.report") / "templates" / "explorer.js").read_text())


def median_curves(data: RunData) -> go.Figure | None:
    """Median over pairs with the band between the quartiles; a menu chooses what is shown.

    A step is left out where fewer than half of the pairs still have it before their target: the median of the
    rest would be about other pairs than the beginning of the line.
    """
    import plotly.graph_objects as go

    styles = kind_styles(data.kinds)
    views: list[Group] = []
    traces: list[go.Scatter] = []
    owners: list[int] = []
    for group in _views(data):
        index, before = len(views), len(traces)
        for curves in data.curves(group.experiment, group.schedule, group.response):
            traces += _traces(curves, styles[curves.kind], visible=index == 0)
        if len(traces) > before:
            views.append(group)
            owners += [index] * (len(traces) - before)
    if not views:
        return None
    figure = go.Figure()
    figure.add_traces(traces)
    buttons = [
        {
            "label": _label(group, data),
            "method": "update",
            "args": [
                {"visible": [owner == index for owner in owners]},
                {
                    "xaxis.title.text": _x_title(group, data),
                    "yaxis.title.text": data.responses[group.response].y_label,
                },
            ],
        }
        for index, group in enumerate(views)
    ]
    _lay_out(figure, buttons, _x_title(views[0], data), data.responses[views[0].response].y_label)
    return figure


def _views(data: RunData) -> list[Group]:
    """One group for each experiment, schedule and response, in the order of the tables."""
    first: dict[tuple[str, ...], Group] = {}
    for group in data.samples:
        first.setdefault((group.experiment, group.response, group.schedule), group)
    return list(first.values())


def _traces(curves: KindCurves, style: KindStyle, *, visible: bool) -> list[go.Scatter]:
    import plotly.graph_objects as go

    # Plotly reads labels as a little HTML of its own.
    name = html.escape(" ".join(curves.kind.split()))
    low, middle, high = _quartiles(curves)
    steps = np.arange(middle.size)
    kept = ~np.isnan(middle)
    red, green, blue = (int(style.colour[i : i + 2], 16) for i in (1, 3, 5))
    band = go.Scatter(
        x=[*steps[kept], *steps[kept][::-1]],
        y=_short([*high[kept], *low[kept][::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.12)",
        line={"width": 0},
        hoverinfo="skip",
        legendgroup=name,
        showlegend=False,
        visible=visible,
    )
    line = go.Scatter(
        x=steps[kept].tolist(),
        y=_short(middle[kept]),
        mode="lines",
        name=f"{name} (n = {len(curves.last)})",
        line={"color": style.colour, "width": 2, "dash": _plotly_dash(style)},
        hovertemplate="step %{x}: %{y:.4g}<extra>" + name + "</extra>",
        legendgroup=name,
        visible=visible,
    )
    return [band, line]


def _quartiles(curves: KindCurves) -> Float[np.ndarray, "3 step"]:
    steps = np.arange(curves.response.shape[1])
    usable = (steps <= curves.last[:, None]) & np.isfinite(curves.response)
    enough = usable.mean(axis=0) >= 0.5
    result = np.full((3, steps.size), np.nan)
    for step in steps[enough]:
        values = curves.response[usable[:, step], step].astype(np.float64)
        result[:, step] = np.quantile(values, [0.25, 0.5, 0.75])
    return result


def _short(values: object) -> list[float]:
    """Four digits: what a screen shows, at a fraction of the bytes."""
    return [float(f"{value:.4g}") for value in np.asarray(values, dtype=np.float64)]


def _plotly_dash(style: KindStyle) -> str:
    return ",".join(f"{2 * length:g}px" for length in style.dash[1]) or "solid"


def _label(group: Group, data: RunData) -> str:
    heading, response = data.experiments[group.experiment].heading, data.response_called(group.response)
    return f"{heading}, {response}, {group.schedule}"


def _x_title(group: Group, data: RunData) -> str:
    return f"step ({definitions.unit(group.schedule, data.config)})"


def _lay_out(figure: go.Figure, buttons: Sequence[Mapping[str, object]], x_title: str, y_title: str) -> None:
    axis = {"gridcolor": "#e4e4e4", "zerolinecolor": "#bbbbbb", "rangemode": "tozero", "automargin": True}
    figure.update_layout(
        template="none",
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#222222"},
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 60, "r": 15, "t": 60, "b": 50},
        height=500,
        hovermode="x unified",
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        xaxis={**axis, "title": {"text": x_title}},
        yaxis={**axis, "title": {"text": y_title}},
        updatemenus=[
            {
                "buttons": buttons,
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
                "showactive": True,
            }
        ],
    )
