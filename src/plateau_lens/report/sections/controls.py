"""What the synthetic kinds control, and what they do not: properties of real and synthetic codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Float

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics import uncensored
from plateau_lens.numerics.intervals import UNDEFINED as UNDEFINED_ESTIMATE
from plateau_lens.numerics.intervals import distance_interval, percentile_interval
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import ends, of, pair_bootstrap
from plateau_lens.report.figures.controls import draw_controls
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.properties import PROPERTIES
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import (
    Block,
    Drawing,
    Prose,
    Section,
    Skipped,
    left_out,
    legible,
    section,
)

FIGURE = "figure-controls"
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


@section("controls")
class ControlsSection(Section):
    """Properties of the run's activations and their codes, kind by kind."""

    title = TITLE
    place = 80

    def __init__(self, data: RunData):
        super().__init__(data)
        self.found = controls(data)

    def tables(self) -> Sequence[render.Table]:
        """Kind by property."""
        return tables(self.data, self.found)

    def notes(self) -> Sequence[str]:
        """How to read them."""
        undefined = f"{render.UNDEFINED}: undefined."
        return [MEANING, *coincidences(self.found), definitions.INTERVALS, undefined]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        return {"controls": self.found.summary}

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """Cumulative shares, a panel a property."""
        shown = {kind: values for kind, values in self.found.values.items() if kind in legible(self.data)}
        figure = draw_controls(shown, kind_styles(self.data.kinds))
        sentences = (
            "Cumulative share of pairs, by what describes an activation and its code; pairs where it is undefined "
            "are left out.",
            MEANING,
            *coincidences(replace(self.found, values=shown)),
        )
        yield Drawing(FIGURE, TITLE, " ".join(sentences) + left_out(shown, self.found.values), figure)

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """What they are, the figure, the tables."""
        yield Prose(MEANING)
        yield from drawings
        yield from self.tables()


def controls(data: RunData) -> Controls:
    """Read and summarise what describes the run's activations; kinds as in ``data.kinds``.

    Raises:
        RunFolderError: if the run has no codes, or none but the model's own, so that nothing is compared.
    """
    if data.config.sae is None:
        raise RunFolderError("the run has no SAE, so that no activation has a code")
    if not data.folder.has("codes"):
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
            summary = uncensored.summarise(value, np.zeros(value.size, dtype=bool))
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
