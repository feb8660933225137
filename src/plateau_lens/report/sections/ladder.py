"""The ladder of controls: how real each kind looks, rung by rung."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.excess import excess
from plateau_lens.numerics.intervals import CONFIDENCE, UNDEFINED, Estimate
from plateau_lens.numerics.realism import another_sample, realism
from plateau_lens.numerics.survival import Survival
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import DISTANCES, beyond_noise, distances, ends, group_survivals, of
from plateau_lens.report.figures.ladder import draw_ladder
from plateau_lens.report.figures.style import kind_styles
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections.registry import Block, Drawing, Prose, Section, Skipped, section

FIGURE = "figure-ladder"
FEWEST_RUNGS = 3
"""Kinds besides model-generated with which a ladder is worth a figure."""
GROUPS = (Group("toward", "ms", "l2", "relative"), Group("from", "ap", "l2", "absolute"))
"""What realism is measured by. MS along the relative schedule, on which paths of all kinds end at their targets.
Neither schedule is free of distance: a synthetic target is nearer than a model-generated one, which censors more of its
paths by distance walked, and makes the same blow-up later by the share of the way."""
CONTROLS = frozenset(
    ("random", "covariance-mixture", "shuffled-decoder", "random-dictionary", "single-latent", "isotropic")
)
"""Kinds that are no composition of an activation's latents: they stand below the ladder."""
SAE_KINDS = ("sae-reconstruction", "synthetic-structured")
"""The kinds whose realism is that of the SAE."""
ANOTHER_SAMPLE = "another sample"

_ESTIMATES = ("ks", "wasserstein", "excess_ks", "excess_wasserstein", "realism_ks", "realism_wasserstein")
SCHEMA = {
    **dict.fromkeys((*Group._fields, "kind", "place"), pl.String),
    "n": pl.Int64,
    **{column: pl.Float64 for name in _ESTIMATES for column in ends(name, UNDEFINED)},
}
SAE_COLUMNS = ("kind", "by", "n", "realism by KS", "realism by Wasserstein")
COLUMNS = (
    "kind",
    "n",
    "KS beyond noise",
    "realism by KS",
    "Wasserstein beyond noise",
    "realism by Wasserstein",
)


@section("ladder")
class Ladder(Section):
    """Distances to model-generated and realism, kind by kind."""

    title = "The ladder of controls"
    place = 60

    def __init__(self, data: RunData):
        super().__init__(data)
        self.frame = ladder(data)
        if data.reference is None:
            raise RunFolderError("the run has no model-generated kind to measure realism against")
        if self.frame.is_empty():
            raise RunFolderError(" and ".join(data.lacks(group) for group in GROUPS))

    def tables(self) -> Sequence[render.Table]:
        """One a group."""
        return tables(self.data, self.frame)

    def notes(self) -> Sequence[str]:
        """How to read them."""
        return notes(self.data)

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        return {"ladder": self.frame}

    def drawings(self) -> Iterator[Drawing | Skipped]:
        """A row a rung, a panel a group."""
        yield _drawing(self.data, self.frame)

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """The figure, the SAE's realism, the tables."""
        yield from drawings
        of_sae = realism_of_sae(self.data, self.frame)
        if of_sae.rows:
            yield of_sae
            yield Prose(definitions.REALISM_OF_SAE, quiet=True)
        yield from super().blocks(())


def _drawing(data: RunData, frame: pl.DataFrame) -> Drawing | Skipped:
    """The ladder of controls, of the groups that have all of its kinds."""
    found = list(parts(frame))
    others = found[0][1].height - 1
    if others < FEWEST_RUNGS:
        return Skipped(FIGURE, f"needs {FEWEST_RUNGS} kinds besides model-generated; the run has {others}")
    panels = [
        (f"{data.statistic_called(group.statistic)}, {group.experiment}", rows) for group, rows in found
    ]
    figure = draw_ladder(panels, kind_styles(data.kinds), random=data.label_of("random"))
    shown = " and ".join(
        f"{data.statistic_called(group.statistic)} steps of {data.response_called(group.response)} "
        f"({group.experiment}, {group.schedule} schedule)"
        for group, _ in found
    )
    n = sorted({count for _, rows in found for count in rows["n"].to_list()})
    caption = (
        f"How far the {shown} of each kind are distributed from those of {data.reference}: Kolmogorov-Smirnov "
        f"distance with its 95 % interval, n = {n[0] if len(n) == 1 else f'{n[0]} to {n[-1]}'} pairs. Further left is "
        "more real. Above the first line: where another sample of model-generated would be expected (hollow), and "
        "where 95 % of such samples lie (to the end of the shaded band). "
        "Below the second: controls that are no composition of an activation's latents. Dotted: the distance of "
        "random. Realism: 0 at the distance of random, 1 where there is no more distance than noise makes "
        "(docs/realism.md). Empty: the run does not measure that kind so."
    )
    return Drawing(FIGURE, "The ladder of controls", caption, figure)


def ladder(data: RunData) -> pl.DataFrame:
    """One row a group and kind, top of the ladder first, at full precision; none without model-generated.

    ``ks`` (0..1) and ``wasserstein`` (steps) are distances to model-generated, ``excess_*`` what is left of them beyond
    noise (`numerics.excess`), ``realism_*`` that as a share of random's (`numerics.realism`). ``place``: ``rung`` or
    ``control``, in the configuration's order; ahead of them ``top``, which is what another sample of model-generated of
    the run's size would have: its expected distance, and between which ends 95 % of such samples lie.
    """
    rows = [
        {**group._asdict(), **row}
        for group in GROUPS
        if any(sample.kind == data.reference for sample in data.samples.get(group, ()))
        for row in _rows(data, group)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _rows(data: RunData, group: Group) -> Iterator[dict[str, object]]:
    found = group_survivals(data, group)
    reference = found.pop(str(data.reference))
    random = found.get(data.label_of("random") or "")
    yield _row(ANOTHER_SAMPLE, "top", reference, _expected(reference), {})
    order = list(data.config.kinds)
    for kind in sorted(found, key=lambda kind: (_is_control(data, kind), order.index(kind))):
        place = "control" if _is_control(data, kind) else "rung"
        own = found[kind]
        yield _row(kind, place, own, distances(own, reference), _beyond_noise(own, random, reference))


def _row(
    kind: str, place: str, own: Survival, far: Mapping[str, Estimate], beyond: Mapping[str, Estimate]
) -> dict[str, object]:
    estimates = {**far, **beyond}
    row: dict[str, object] = {"kind": kind, "place": place, "n": own.n}
    for name in _ESTIMATES:
        row |= ends(name, estimates.get(name, UNDEFINED))
    return row


def _beyond_noise(own: Survival, random: Survival | None, reference: Survival) -> dict[str, Estimate]:
    """``excess_*``, and, of a run that has random, ``realism_*``."""
    found: dict[str, Estimate] = {}
    for name, distance in DISTANCES.items():
        far = excess(own, reference, distance)
        found[f"excess_{name}"] = beyond_noise(far, distances(own, reference)[name])
        if random is not None:
            found[f"realism_{name}"] = realism(far, excess(random, reference, distance))
    return found


def _expected(reference: Survival) -> dict[str, Estimate]:
    """Distances of another sample: what to expect, and between which ends 95 % lie."""
    found: dict[str, Estimate] = {}
    for name, distance in DISTANCES.items():
        draws = another_sample(reference, distance)
        beyond = np.sqrt(np.maximum(draws**2 - draws.mean() ** 2, 0.0))
        for column, each in ((name, draws), (f"excess_{name}", beyond)):
            low, high = np.quantile(each, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
            found[column] = Estimate(float(each.mean()), float(low), float(high))
    return found


def _is_control(data: RunData, label: str) -> bool:
    return data.config.kinds.get(label, {}).get("kind", label) in CONTROLS


def tables(data: RunData, frame: pl.DataFrame) -> list[render.Table]:
    """One table a group, as it is shown."""
    return [
        render.Table(
            f"{data.experiments[group.experiment].heading}: realism by {data.called(group)}",
            COLUMNS,
            tuple(_cells(row) for row in rows.iter_rows(named=True)),
            f"Wasserstein distances in {data.units_of(group.statistic)}; "
            f"{definitions.unit(group.schedule, data.config)}.",
        )
        for group, rows in parts(frame)
    ]


def realism_of_sae(data: RunData, frame: pl.DataFrame) -> render.Table:
    """The rows of the kinds that tell it, in every group; without a row if the run has neither kind."""
    labels = [label for kind in SAE_KINDS if (label := data.label_of(kind))]
    rows: list[tuple[str, ...]] = []
    for label in labels:
        for group, part in parts(frame):
            for row in part.filter(pl.col("kind") == label).iter_rows(named=True):
                kind, n, _, by_ks, _, by_wasserstein = _cells(row)
                by = f"{data.statistic_called(group.statistic)}, {group.experiment}, {group.schedule}"
                rows.append((kind, by, n, by_ks, by_wasserstein))
    return render.Table("Realism of the SAE at this site", SAE_COLUMNS, tuple(rows))


def parts(frame: pl.DataFrame) -> Iterator[tuple[Group, pl.DataFrame]]:
    """The rows of each group."""
    for group in GROUPS:
        wanted = [pl.col(column) == value for column, value in group._asdict().items()]
        rows = frame.filter(*wanted)
        if not rows.is_empty():
            yield group, rows


def notes(data: RunData) -> list[str]:
    """How to read the tables."""
    reference = data.reference or "model-generated"
    return [
        definitions.LADDER.format(reference=reference),
        definitions.BEYOND_NOISE,
        definitions.REALISM.format(reference=reference),
        definitions.REALISM_OF_SAE,
        definitions.DISTANCES.format(reference=reference),
        definitions.INTERVALS,
    ]


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    ks, wasserstein, by_ks, by_wasserstein = (
        render.interval(*of(row, name), 2)
        for name in ("excess_ks", "excess_wasserstein", "realism_ks", "realism_wasserstein")
    )
    return str(row["kind"]), str(row["n"]), ks, by_ks, wasserstein, by_wasserstein
