"""What the synthetic kinds control, and what they do not: properties of real and synthetic codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics import statistics, uncensored
from plateau_lens.numerics.intervals import UNDEFINED as UNDEFINED_ESTIMATE
from plateau_lens.numerics.intervals import distance_interval, percentile_interval
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import ends, of, pair_bootstrap
from plateau_lens.report.figures.style import (
    PAGE_WIDTH,
    KindStyle,
    drawable,
    legend_columns,
    legend_height,
    paper_style,
)
from plateau_lens.report.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "What the synthetic kinds control"
MEANING = (
    "Model-generated: the code of the target's own prompt. Active latents: latents above zero. Top share: the "
    "largest latent's share of the summed activation (0 to 1). Top cosine: mean decoder cosine of a code's "
    "other active latents to its top latent (-1 to 1). Firing frequency: mean log10 over the active latents "
    "that ever fire. Norm and distance to the base: L2 of the activation, residual-stream units. A kind with "
    "no code, as random, has a norm and a distance only."
)
_COLUMNS = (
    *("kind", "property", "n", "n_defined", "mean", "mean_low", "mean_high", "sd"),
    *("q25", "median", "median_low", "median_high", "q75", "ks", "ks_low", "ks_high"),
)
_MARKED = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Cumulative shares that carry a marker, to tell lines apart in grey."""
_MOST_POINTS = 2000
"""Points of a line, more than its panel has pixels."""


class Property(NamedTuple):
    """One thing that describes an activation or its code."""

    column: str
    label: str
    """On the axis, with its unit."""
    heading: str
    """Over a column of a table."""
    digits: int


PROPERTIES = (
    Property("active", "active latents", "active latents", 1),
    Property("top_share", "share of the top latent (0 to 1)", "top share", 3),
    Property("top_cosine", "mean decoder cosine to the top latent", "top cosine", 3),
    Property("log10_frequency", "mean log10 firing frequency", "log10 frequency", 2),
    Property("norm", "norm (residual-stream units)", "norm", 1),
    Property("distance", "distance to the base (same units)", "distance to base", 1),
)


@dataclass(frozen=True)
class Controls:
    """The properties of a run's activations."""

    values: dict[str, dict[str, Float[np.ndarray, " pair"]]]
    """Kind, then property, to one value a pair; NaN where undefined."""
    reference: str | None
    """Label of the model-generated kind."""
    seed: int
    """Of the bootstrap."""

    @cached_property
    def summary(self) -> pl.DataFrame:
        """One row a kind and property: n, n_defined, mean, sd, quartiles, and KS distance to model-generated.

        ``_low`` and ``_high`` are the ends of 95 % intervals.
        """
        return _summary(self.values, self.reference, self.seed)


def controls(data: RunData) -> Controls:
    """Read and summarise what describes the run's activations; kinds as in ``data.kinds``.

    Raises:
        RunFolderError: if the run has no codes, or none but the model's own, so that nothing is compared.
    """
    if data.config.sae is None:
        raise RunFolderError("the run has no SAE, so that no activation has a code")
    if not any(name.startswith("codes/") for name in data.folder.manifest().get("shards", {})):
        raise RunFolderError(
            f"{data.folder.path.name} has no codes/: it is of an earlier version, or unfinished"
        )
    frame = data.folder.codes()
    values = {
        kind: {each.column: rows[each.column].cast(pl.Float64).to_numpy() for each in PROPERTIES}
        for kind in data.kinds
        if (rows := frame.filter(pl.col("kind") == kind)).height
    }
    coded = [kind for kind, each in values.items() if not np.isnan(each["active"]).all()]
    if not set(coded) - {data.reference}:
        raise RunFolderError("compares real and synthetic codes; the run has no kind that is made of a code")
    return Controls(values, data.reference, data.config.seed)


def _summary(
    values: Mapping[str, Mapping[str, Float[np.ndarray, " pair"]]], reference: str | None, seed: int
) -> pl.DataFrame:
    rows: list[dict[str, object]] = []
    for kind, properties in values.items():
        for name, value in properties.items():
            summary = statistics.summarise(value, np.zeros(value.size, dtype=bool))
            pairs, n = pair_bootstrap(value.size, seed), summary.n_defined
            distance = UNDEFINED_ESTIMATE
            if reference and reference in values:
                against = values[reference][name]
                least = min(n, int((~np.isnan(against)).sum()))
                distance = distance_interval(*uncensored.ks(pairs, value, against), least, most=1.0)
            rows.append(
                {
                    "kind": kind,
                    "property": name,
                    **asdict(summary),
                    **ends("mean", percentile_interval(uncensored.mean(pairs, value), n)),
                    **ends("median", percentile_interval(uncensored.median(pairs, value), n)),
                    **ends("ks", distance),
                }
            )
    # Nothing here is censored.
    return pl.DataFrame(rows).select(_COLUMNS)


def tables(data: RunData, found: Controls) -> list[render.Table]:
    """Kind by property: mean, sd, median, and how far from the model's own, with intervals."""
    tables = [
        _pivot(found, "mean", lambda row, digits: render.interval(*of(row, "mean"), digits)),
        _pivot(found, "standard deviation", lambda row, digits: render.number(row["sd"], digits)),
        _pivot(found, "median", lambda row, digits: render.interval(*of(row, "median"), digits)),
    ]
    if data.reference in found.values:
        title = f"KS distance to {data.reference}"
        tables.append(_pivot(found, title, lambda row, _: render.interval(*of(row, "ks"), 2)))
    return tables


def documents(data: RunData, found: Controls) -> dict[str, str]:
    """The tables as Markdown and LaTeX, name to content."""
    made = tables(data, found)
    notes = [MEANING, *coincidences(found), definitions.INTERVALS, f"{render.UNDEFINED}: undefined."]
    return {
        "controls.md": render.markdown(TITLE, made, notes),
        "controls.tex": render.latex(made),
    }


def _pivot(found: Controls, title: str, cell: Callable[[Mapping[str, float], int], str]) -> render.Table:
    rows: list[tuple[str, ...]] = []
    for kind in found.values:
        mine = {row["property"]: row for row in found.summary.filter(pl.col("kind") == kind).to_dicts()}
        cells = (cell(mine[each.column], each.digits) for each in PROPERTIES)
        rows.append((kind, str(mine["norm"]["n"]), *cells))
    headings = ("kind", "n", *(each.heading for each in PROPERTIES))
    return render.Table(f"{TITLE}: {title}", headings, tuple(rows))


def coincidences(found: Controls) -> list[str]:
    """A sentence for every set of kinds that share values pair by pair: their lines lie on one another."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for each in PROPERTIES:
        seen: dict[bytes, list[str]] = {}
        for kind, properties in found.values.items():
            value = properties[each.column]
            if not np.isnan(value).all():
                seen.setdefault(value.tobytes(), []).append(kind)
        for kinds in seen.values():
            if len(kinds) > 1:
                shared.setdefault(tuple(kinds), []).append(each.heading)
    return [
        f"The same for {', '.join(kinds[:-1])} and {kinds[-1]}: {', '.join(names)}."
        for kinds, names in shared.items()
    ]


def draw_controls(found: Controls, styles: Mapping[str, KindStyle]) -> Figure:
    """Cumulative share of pairs by property, a panel each and a line a kind; undefined values are left out."""
    from matplotlib.figure import Figure

    labels = _legend_labels(found)
    with paper_style():
        figure = Figure(figsize=(PAGE_WIDTH, 3.5 + legend_height(labels)), layout="constrained")
        grid = figure.subplots(2, 3, sharey=True)
        for axes, each in zip(grid.flat, PROPERTIES, strict=True):
            for kind, properties in found.values.items():
                _draw_line(axes, properties[each.column], styles[kind])
            axes.set(xlabel=each.label, ylim=(0, 1.04))
            _set_scale(axes, [properties[each.column] for properties in found.values.values()], each)
        for axes in grid[:, 0]:
            axes.set_ylabel("cumulative share of pairs")
        _draw_legend(figure, labels, [styles[kind] for kind in found.values])
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


def _legend_labels(found: Controls) -> list[str]:
    return [f"{drawable(kind)} (n = {each['norm'].size})" for kind, each in found.values.items()]
