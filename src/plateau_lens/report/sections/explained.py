"""What each gap goes with: a regression over pairs of steps on norm, distance and the SAE's reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.decomposition import Decomposition, decompose
from plateau_lens.numerics.intervals import UNDEFINED, Estimate, percentile_interval
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import ends, pair_bootstrap
from plateau_lens.report.figures.explained import Panel, draw_explained
from plateau_lens.report.run_data import Group, RunData, Sample
from plateau_lens.report.sections.ladder import GROUPS
from plateau_lens.report.sections.registry import Drawing, Section, Skipped, section

FIGURE = "figure-explained"


class Covariate(NamedTuple):
    """One thing that is known of each pair and kind."""

    name: str
    """Over a column and in a legend."""
    unit: str
    """What its slope is per."""
    column: str
    """Of ``codes/``; the distance of a path is of its curve."""
    is_count: bool = False
    """Whether its logarithm is taken: ``log10(1 + x)``."""


COVARIATES = (
    Covariate("norm", "unit", "norm"),
    Covariate("distance", "unit", "path"),
    Covariate("active latents", "factor of 10", "read_active", is_count=True),
    Covariate("reconstruction error", "1", "read_error"),
    Covariate("top share", "1", "read_top_share"),
)
METHOD = (
    "One least-squares fit a table, over all kinds and pairs: step = level of the kind + slopes times covariates. "
    "Slopes are common to all kinds and come from differences among the activations of one kind. A gap is the "
    "kind's mean step less that of {reference}. Its part of a covariate is the slope times how much the kind's "
    "mean covariate differs from {reference}'s; what is left is the kind's level. Gap = sum of the parts and what "
    "is left. A part goes with its covariate; that it comes from it takes a rung in which nothing else changes, "
    "as one at equal norm."
)
MEANING = (
    "Norm: of the activation of that kind, residual-stream units. Distance: from base to target. Active latents, "
    "relative reconstruction error and top share: as the SAE reads the activation, whatever made it, so that every "
    "kind has them; active latents as log10(1 + number). Censored steps count at their bound. n: pairs with a step and "
    "all covariates. {dash}: does not vary within kinds, or varies as the others do, so that no slope is known."
)


class Explained(NamedTuple):
    """One group taken apart."""

    group: Group
    kinds: tuple[str, ...]
    """The reference first, the others as in the configuration."""
    n: tuple[int, ...]
    censored: float
    """Share of the steps that stand at their bound."""
    found: Decomposition


@section("explained")
class ExplainedSection(Section):
    """How much of each kind's gap to model-generated goes with norm, distance and how the SAE reads it."""

    title = "What each gap goes with"
    place = 64

    def __init__(self, data: RunData):
        super().__init__(data)
        self.found = list(explained(data))
        if not self.found:
            raise RunFolderError(" and ".join(data.lacks(group) for group in GROUPS))

    def tables(self) -> Sequence[render.Table]:
        """One a group: a row a kind, a column a covariate."""
        return [_table(self.data, each) for each in self.found]

    def notes(self) -> Sequence[str]:
        """How to read them."""
        reference = str(self.data.reference)
        fits = [
            f"{self.data.called(each.group)}: the covariates explain {render.share(float(each.found.explained[0]))} of "
            f"the variance within kinds; {render.share(each.censored)} of the steps are censored; slopes "
            + ", ".join(_slope(covariate, each.found, place) for place, covariate in enumerate(COVARIATES))
            + "."
            for each in self.found
        ]
        return [
            METHOD.format(reference=reference),
            MEANING.format(dash=render.UNDEFINED),
            *fits,
            definitions.INTERVALS,
        ]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision: a row a group, kind and part, and the slopes."""
        parts = [row for each in self.found for row in _part_rows(each)]
        slopes = [
            {
                **each.group._asdict(),
                "covariate": covariate.name,
                "per": covariate.unit,
                **ends("slope", percentile_interval(each.found.slope[place], sum(each.n))),
            }
            for each in self.found
            for place, covariate in enumerate(COVARIATES)
        ]
        return {"explained": pl.DataFrame(parts), "explained-slopes": pl.DataFrame(slopes)}

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """A bar a kind, its parts side by side, a panel a group."""
        panels = [
            Panel(
                f"{self.data.statistic_called(each.group.statistic)}, {each.group.experiment}",
                each.kinds[1:],
                np.concatenate([each.found.part[1:, :, 0], each.found.rest[1:, :1]], axis=1),
                [
                    percentile_interval(draws, n)
                    for draws, n in zip(each.found.gap[1:], each.n[1:], strict=True)
                ],
            )
            for each in self.found
        ]
        figure = draw_explained(panels, [*(each.name for each in COVARIATES), "what is left"])
        shown = " and ".join(self.data.called(each.group) for each in self.found)
        caption = (
            f"The gap of each kind's mean step to that of {self.data.reference} (dot, with its 95 % interval), by "
            f"{shown}, and the parts of it that go with each covariate in a regression over pairs, drawn to the left "
            "where they are below 0 and to the right where above; together they are the gap. See tables/explained."
        )
        yield Drawing(FIGURE, self.title, caption, figure)


def explained(data: RunData) -> Iterator[Explained]:
    """Each of the ladder's groups that the run has, taken apart.

    Raises:
        RunFolderError: if the run has no model-generated kind, no SAE, or does not say how that reads its activations.
    """
    if data.reference is None:
        raise RunFolderError("the run has no model-generated kind to measure gaps to")
    if data.config.sae is None:
        raise RunFolderError("the run has no SAE to read its activations")
    codes = data.folder.codes() if data.folder.has("codes") else pl.DataFrame()
    if "read_error" not in codes.columns:
        raise RunFolderError(
            f"{data.folder.path.name} does not say how the SAE reads its activations: it is of an earlier version"
        )
    for group in GROUPS:
        samples = {sample.kind: sample for sample in data.samples.get(group, ())}
        reference = samples.pop(data.reference, None)
        if reference is not None and samples:
            others = [samples[kind] for kind in data.config.kinds if kind in samples]
            yield _of_group(data, group, [reference, *others], codes)


def _of_group(data: RunData, group: Group, samples: list[Sample], codes: pl.DataFrame) -> Explained:
    kinds = tuple(sample.kind for sample in samples)
    outcome = np.stack([sample.value for sample in samples]).astype(np.float64)
    known = codes.join(_paths(data, group), on=["kind", "pair"], how="inner")
    covariates = np.stack([_column(known, each, kinds, outcome.shape[1]) for each in COVARIATES])
    found = decompose(pair_bootstrap(outcome.shape[1], data.config.seed), outcome, covariates)
    defined = np.isfinite(outcome) & np.isfinite(covariates).all(axis=0)
    censored = np.stack([sample.censored for sample in samples])[defined]
    n = tuple(int(row.sum()) for row in defined)
    return Explained(group, kinds, n, float(censored.mean()) if censored.size else float("nan"), found)


def _paths(data: RunData, group: Group) -> pl.DataFrame:
    """How long each path of a group is."""
    wanted = [pl.col("experiment") == group.experiment, pl.col("schedule") == group.schedule]
    blocks = (
        block.filter(*wanted).select("kind", "pair", pl.col("distance").alias("path")).collect()
        for block in data.folder.curve_blocks()
    )
    return pl.concat(list(blocks))


def _column(
    known: pl.DataFrame, covariate: Covariate, kinds: Sequence[str], pairs: int
) -> Float[np.ndarray, "kind pair"]:
    rows = [known.filter(pl.col("kind") == kind).sort("pair")[covariate.column].to_numpy() for kind in kinds]
    # A kind that the codes lack, or of whose pairs they lack some, is known nothing of.
    values = np.stack([row if row.size == pairs else np.full(pairs, np.nan) for row in rows]).astype(
        np.float64
    )
    return np.log10(1 + values) if covariate.is_count else values


def _part_rows(each: Explained) -> Iterator[dict[str, object]]:
    for place, kind in enumerate(each.kinds[1:], start=1):
        for name, draws in _named(each.found, place):
            interval = ends("steps", percentile_interval(draws, each.n[place]))
            yield {**each.group._asdict(), "kind": kind, "n": each.n[place], "part": name, **interval}


def _named(found: Decomposition, place: int) -> Iterator[tuple[str, Float[np.ndarray, " draw"]]]:
    yield "gap", found.gap[place]
    for number, covariate in enumerate(COVARIATES):
        yield covariate.name, found.part[place, number]
    yield "left", found.rest[place]


def _table(data: RunData, each: Explained) -> render.Table:
    rows = [
        (
            kind,
            str(each.n[place]),
            *(
                render.signed(*percentile_interval(draws, each.n[place]), 1)
                for _, draws in _named(each.found, place)
            ),
        )
        for place, kind in enumerate(each.kinds)
        if place
    ]
    columns = ("kind", "n", "gap", *(covariate.name for covariate in COVARIATES), "what is left")
    heading = data.experiments[each.group.experiment].heading
    return render.Table(
        f"{heading}: {data.called(each.group)}",
        columns,
        tuple(rows),
        f"In {data.units_of(each.group.statistic)}; {definitions.unit(each.group.schedule, data.config)}.",
    )


def _slope(covariate: Covariate, found: Decomposition, place: int) -> str:
    slope = found.slope[place]
    interval: Estimate = percentile_interval(slope, 2) if np.isfinite(slope[0]) else UNDEFINED
    return f"{covariate.name} {render.signed(*interval, 2)} per {covariate.unit}"
