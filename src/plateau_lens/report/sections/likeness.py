"""Looking and behaving: how far a kind's activations are from real ones, beside how far its steps are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.energy import energy_distance
from plateau_lens.numerics.excess import Excess, excess
from plateau_lens.numerics.intervals import UNDEFINED, Estimate, percentile_interval
from plateau_lens.numerics.rank_correlation import spearman_over_rows
from plateau_lens.numerics.survival import ks
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import beyond_noise, distances, ends, group_survivals, of, pair_bootstrap
from plateau_lens.report.figures.likeness import draw_likeness
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections.ladder import GROUPS
from plateau_lens.report.sections.registry import Drawing, Section, Skipped, section

FIGURE = "figure-likeness"
MOST_PAIRS = 1000
"""Pairs whose activations are compared, the first of a run: distances between all of them grow with the square."""
FEWEST_KINDS = 4
"""Kinds besides model-generated, of fewer than which an order says nothing."""
ENERGY = (
    "Energy distance: 2 E|X - Y| - E|X - X'| - E|Y - Y'| of the kind's activations X and model-generated ones Y, of "
    "unlike pairs, in residual-stream units. It looks at activations alone, at no response of the model. 0 where both "
    "are of one distribution; an estimate may be below 0. KS beyond noise is of the steps, as in the ladder."
)
CORRELATION = (
    "Rank correlation: Spearman's, over the kinds, of the two distances: 1 if the kind that looks more like "
    "model-generated always behaves more like it. Its interval is over resamples of pairs; the kinds are those of the "
    "run, no sample of all kinds there are. Resamples have more noise than the sample, which makes their order less "
    "alike: the interval lies low."
)


class Correlation(NamedTuple):
    """The rank correlation over kinds, by one group's steps."""

    group: Group
    kinds: int
    found: Estimate


@section("likeness")
class Likeness(Section):
    """The energy distance of each kind's activations to model-generated ones, beside that of its steps."""

    title = "Looking real and behaving so"
    place = 62

    def __init__(self, data: RunData):
        super().__init__(data)
        if data.reference is None:
            raise RunFolderError("the run has no model-generated kind to measure distances to")
        self.frame, self.correlations = likeness(data)
        if self.frame.is_empty():
            raise RunFolderError(
                "the run keeps activations of no two kinds that are targets or bases of its ladder"
            )

    def tables(self) -> Sequence[render.Table]:
        """Kind by kind, and over all of them."""
        groups = [each.group for each in self.correlations]
        rows = [
            (
                str(row["kind"]),
                str(row["n"]),
                render.interval(*of(row, "energy"), 2),
                *(render.interval(*of(row, f"ks_{group.experiment}"), 2) for group in groups),
            )
            for row in self.frame.iter_rows(named=True)
        ]
        named = [f"KS beyond noise, {self.data.called(group)}" for group in groups]
        tables = [render.Table(self.title, ("kind", "n", "energy distance", *named), tuple(rows))]
        if self.correlations:
            over = [
                (self.data.called(each.group), str(each.kinds), render.interval(*each.found, 2))
                for each in self.correlations
            ]
            columns = ("by", "kinds", "rank correlation")
            tables.append(render.Table("Of one order?", columns, tuple(over)))
        return tables

    def notes(self) -> Sequence[str]:
        """How to read them."""
        return [ENERGY, CORRELATION, definitions.INTERVALS]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        rows = [
            {**each.group._asdict(), "kinds": each.kinds, **ends("correlation", each.found)}
            for each in self.correlations
        ]
        return {"likeness": self.frame, "likeness-correlation": pl.DataFrame(rows)}

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """A row a kind, a panel a distance."""
        if self.frame.height < FEWEST_KINDS:
            yield Skipped(FIGURE, f"needs {FEWEST_KINDS} kinds besides {self.data.reference}")
            return
        columns = {"energy": "energy distance"}
        for each in self.correlations:
            group = each.group
            columns[f"ks_{group.experiment}"] = (
                f"{self.data.statistic_called(group.statistic)}, {group.experiment}"
            )
        figure = draw_likeness(self.frame, columns, kind_styles(self.data.kinds))
        shown = "; ".join(
            f"by {self.data.called(each.group)} {each.found.value:.2f}" for each in self.correlations
        )
        caption = (
            f"How far each kind's activations are from {self.data.reference} ones (left, energy distance, "
            "residual-stream units, log scale above 0.1), and how far its steps are distributed from theirs (KS beyond "
            f"noise), with 95 % intervals. Kinds in the order of the first. Rank correlation over kinds: "
            f"{shown or 'none'}."
        )
        yield Drawing(FIGURE, self.title, caption, figure)


def likeness(data: RunData) -> tuple[pl.DataFrame, list[Correlation]]:
    """One row a kind, nearest first: energy distance, and KS beyond noise in each of the ladder's groups."""
    activations = _activations(data)
    real = activations.pop(str(data.reference), None)
    if real is None or not activations:
        return pl.DataFrame(), []
    pairs = pair_bootstrap(len(real), data.config.seed)
    energy = {kind: energy_distance(pairs, each, real) for kind, each in activations.items()}
    rows = {
        kind: {
            "kind": kind,
            "n": _defined(activations[kind], real),
            **ends("energy", percentile_interval(draws, len(real))),
        }
        for kind, draws in energy.items()
    }
    correlations: list[Correlation] = []
    for group in GROUPS:
        if group not in data.samples:
            continue
        found = group_survivals(data, group)
        reference = found.pop(str(data.reference), None)
        if reference is None:
            continue
        beyond = {kind: excess(own, reference, ks) for kind, own in found.items()}
        for kind in rows:
            plain = distances(found[kind], reference)["ks"] if kind in found else UNDEFINED
            value = beyond_noise(beyond[kind], plain) if kind in found else UNDEFINED
            rows[kind] |= ends(f"ks_{group.experiment}", value)
        both = [kind for kind in energy if kind in beyond]
        correlations.append(Correlation(group, len(both), _correlation(both, energy, beyond, len(real))))
    frame = pl.DataFrame(list(rows.values()), infer_schema_length=None)
    return frame.sort("energy"), correlations


def _correlation(
    kinds: Sequence[str],
    energy: Mapping[str, Float[np.ndarray, " draw"]],
    beyond: Mapping[str, Excess],
    n: int,
) -> Estimate:
    if len(kinds) < FEWEST_KINDS:
        return UNDEFINED
    looks, behaves = (
        np.stack(each) for each in ([energy[k] for k in kinds], [beyond[k].signed for k in kinds])
    )
    return percentile_interval(spearman_over_rows(looks, behaves), n)


def _activations(data: RunData) -> dict[str, Float[np.ndarray, "pair d_model"]]:
    """Activations of each kind that a path of the ladder begins or ends with, of the same pairs."""
    wanted: dict[str, str] = {}
    for group in GROUPS:
        if made := data.experiments.get(group.experiment):
            for kind in made.labels(data.config):
                wanted.setdefault(kind, f"{made.varies}.{group.experiment}.{kind}")
    found: dict[str, list[np.ndarray]] = {}
    pairs = 0
    for block in data.folder.activations():
        there = {kind: block[name] for kind, name in wanted.items() if name in block}
        for kind, each in there.items():
            found.setdefault(kind, []).append(each)
        pairs += len(block["pair"]) if there else 0
        if pairs >= MOST_PAIRS:
            break
    return {kind: np.concatenate(parts)[:MOST_PAIRS] for kind, parts in found.items()}


def _defined(activations: np.ndarray, real: np.ndarray) -> int:
    return int((np.isfinite(activations).all(axis=1) & np.isfinite(real).all(axis=1)).sum())
