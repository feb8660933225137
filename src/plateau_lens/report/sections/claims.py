"""The paper's claims, each a test: what the run's pairs say of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from plateau_lens.numerics.comparisons import Difference, difference
from plateau_lens.numerics.survival import Survival
from plateau_lens.numerics.verdicts import Evidence, judge
from plateau_lens.report import definitions, render
from plateau_lens.report.estimates import DISTANCES, group_survivals
from plateau_lens.report.html import page_part
from plateau_lens.report.run_data import REFERENCE, Group, RunData
from plateau_lens.report.sections.registry import Block, Drawing, Prose, Section, section

RANDOM, STRUCTURED, BASELINE = "random", "synthetic-structured", "synthetic-baseline"
NOT_MEASURED = "not measured"

Quantity = Literal["mean", "ks", "wasserstein"]
"""The mean step value of a kind, or the distance of its step values to model-generated's."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, of one group of step values."""

    sentence: str
    figure: str
    """Of the paper."""
    group: Group
    comparisons: tuple[tuple[str, str], ...]
    """Kinds of which ``quantity`` is larger for the first than for the second; with ``alike``, the same."""
    quantity: Quantity = "mean"
    alike: bool = False
    """Whether what is claimed is that no difference is larger than the run's margin of equivalence."""
    less: Group | None = None
    """A group whose differences are taken off: with ``alike``, that both groups show the same ones."""


_EARLIER = Claim(
    "MS is earlier toward model-generated than toward random",
    "1, 2",
    Group("toward", "ms", "l2", "absolute"),
    ((RANDOM, REFERENCE),),
)
_CLOSER = Claim(
    "By MS, structured is closer to model-generated than baseline is",
    "2",
    Group("toward", "ms", "l2", "absolute"),
    ((BASELINE, STRUCTURED),),
    quantity="ks",
)
_LONGEST = Claim(
    "Around model-generated it is flattest: plateaus are longest",
    "3",
    Group("from", "ap", "l2", "absolute"),
    ((REFERENCE, RANDOM), (REFERENCE, STRUCTURED), (REFERENCE, BASELINE)),
)
_SHORTEST = replace(
    _LONGEST,
    sentence="Around baseline it is steepest: plateaus are shortest",
    comparisons=((REFERENCE, BASELINE), (RANDOM, BASELINE), (STRUCTURED, BASELINE)),
)
_LIKE_RANDOM = replace(
    _LONGEST,
    sentence="Plateaus around structured are like those around random",
    comparisons=((STRUCTURED, RANDOM),),
    alike=True,
)
_AGREES = Claim(
    "AUC agrees with MS on how far the other kinds are from model-generated",
    "B.1",
    Group("toward", "auc", "l2", "absolute"),
    ((RANDOM, REFERENCE), (STRUCTURED, REFERENCE), (BASELINE, REFERENCE)),
    alike=True,
    less=Group("toward", "ms", "l2", "absolute"),
)
_RELATIVE = Group("toward", "ms", "l2", "relative")

CLAIMS = [
    _EARLIER,
    replace(_EARLIER, figure="A.1", group=_RELATIVE),
    replace(_EARLIER, group=Group("toward", "ms", "kl", "absolute")),
    replace(_EARLIER, figure="A.1", group=Group("toward", "ms", "kl", "relative")),
    _CLOSER,
    replace(_CLOSER, figure="A.1", group=_RELATIVE),
    replace(_CLOSER, quantity="wasserstein"),
    replace(_CLOSER, figure="A.1", group=_RELATIVE, quantity="wasserstein"),
    _LONGEST,
    _SHORTEST,
    _LIKE_RANDOM,
    _AGREES,
    replace(_AGREES, group=Group("toward", "auc", "l2", "relative"), less=_RELATIVE),
]
"""In the order in which they are shown; one sentence's follow each other. `claim` adds to them."""

_NUMBERS = ("effect", "low", "high", "margin", "p", "p_holm", "p_opposite", "p_opposite_holm", "n_to_decide")
SCHEMA = {
    **dict.fromkeys(("claim", "figure", *Group._fields, "quantity", "verdict", "reason"), pl.String),
    **dict.fromkeys(("comparison", "unit"), pl.String),
    **dict.fromkeys(("comparisons", "n"), pl.Int64),
    **dict.fromkeys(_NUMBERS, pl.Float64),
}


@section("claims")
class Claims(Section):
    """Every sentence of the paper that a run can test, with its verdict."""

    title = "The paper's claims, tested"
    place = 10

    def __init__(self, data: RunData):
        super().__init__(data)
        self.frame = claims(data)

    def tables(self) -> Sequence[render.Table]:
        """One, a row a claim."""
        return [_table(self.data, self.frame)]

    def notes(self) -> Sequence[str]:
        """How to read it."""
        return notes(self.data)

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """At full precision."""
        return {"claims": self.frame}

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """By sentence."""
        yield page_part("claims.html.j2", sentences=sentences(self.data, self.frame), title=self.heading)
        for note in self.notes():
            yield Prose(note, quiet=True)


def claim(made: Claim) -> Claim:
    """Have a claim of one's own tested with the paper's, on the same machinery; it returns what it is given."""
    if made not in CLAIMS:
        CLAIMS.append(made)
    return made


def claims(data: RunData) -> pl.DataFrame:
    """One row a claim, at full precision.

    ``effect`` (steps, or a KS distance) is the difference, of all ``comparisons``, that supports the claim least. It
    supports it above 0; a claim that kinds are alike, within ``margin`` of 0. ``n_to_decide`` is NaN where the
    claim is decided. One that the run cannot test is ``not measured`` for a ``reason``, its numbers NaN.
    """
    found = {claim: _lacking(data, claim) or _evidence(data, claim) for claim in CLAIMS}
    tested = {claim: each for claim, each in found.items() if isinstance(each, Evidence)}
    judged = dict(zip(tested, judge(list(tested.values())), strict=True))
    rows: list[dict[str, object]] = []
    for claim, each in found.items():
        row: dict[str, object] = {
            "claim": claim.sentence,
            "figure": claim.figure,
            **claim.group._asdict(),
            "quantity": claim.quantity,
            "verdict": NOT_MEASURED,
            "reason": "",
            **dict.fromkeys(_NUMBERS, float("nan")),
        }
        if isinstance(each, Evidence):
            weakest, judgement = each.differences[each.weakest], judged[claim]
            row |= {
                "verdict": judgement.verdict,
                "comparison": " less ".join(_label(data, kind) for kind in claim.comparisons[each.weakest]),
                "unit": "KS" if claim.quantity == "ks" else data.units_of(claim.group.statistic),
                "comparisons": len(each.differences),
                "effect": weakest.value,
                "low": weakest.low,
                "high": weakest.high,
                "margin": float("nan") if each.margin is None else each.margin,
                "p": each.p,
                "p_holm": judgement.p_holm,
                "p_opposite": each.p_opposite,
                "p_opposite_holm": judgement.p_opposite_holm,
                "n": each.n,
                "n_to_decide": judgement.pairs,
            }
        else:
            row["reason"] = each
        rows.append(row)
    return pl.DataFrame(rows, schema=SCHEMA)


def _lacking(data: RunData, claim: Claim) -> str:
    """What the claim needs and the run has not; empty if the run has all."""
    missing = [kind for kind in _kinds(claim) if data.label_of(kind) is None]
    if missing:
        return f"the run has no {' and no '.join(missing)}"
    wanted = {_label(data, kind) for kind in _kinds(claim)}
    for group in _groups(claim):
        if not wanted.issubset(sample.kind for sample in data.samples.get(group, ())):
            return data.lacks(group)
    return ""


def _evidence(data: RunData, claim: Claim) -> Evidence:
    """The differences that a claim is about, on the run's pairs."""
    groups = [_survivals(data, group, claim) for group in _groups(claim)]
    margin = data.config.report.equivalence_margin if claim.alike else None
    return Evidence(tuple(_difference(claim, groups, a, b) for a, b in claim.comparisons), margin)


def _survivals(data: RunData, group: Group, claim: Claim) -> dict[str, Survival]:
    """Kind, as the claim calls it, to its step values in a group."""
    labels = {kind: _label(data, kind) for kind in _kinds(claim)}
    found = group_survivals(data, group, labels.values())
    return {kind: found[label] for kind, label in labels.items()}


def _difference(claim: Claim, groups: Sequence[dict[str, Survival]], a: str, b: str) -> Difference:
    first, *less = (_quantity(claim, found, a) - _quantity(claim, found, b) for found in groups)
    counted = {a, b} if claim.quantity == "mean" else {a, b, REFERENCE}
    return difference(first - sum(less), min(found[kind].n for found in groups for kind in counted))


def _quantity(claim: Claim, found: dict[str, Survival], kind: str) -> Float[np.ndarray, " draw"]:
    if claim.quantity == "mean":
        return found[kind].mean()
    return DISTANCES[claim.quantity](found[kind], found[REFERENCE])


def _kinds(claim: Claim) -> tuple[str, ...]:
    """Every kind that the claim needs."""
    named = [kind for comparison in claim.comparisons for kind in comparison]
    return tuple(dict.fromkeys(named if claim.quantity == "mean" else [*named, REFERENCE]))


def _groups(claim: Claim) -> tuple[Group, ...]:
    return (claim.group,) if claim.less is None else (claim.group, claim.less)


def _label(data: RunData, kind: str) -> str:
    return str(data.label_of(kind))


class Row(NamedTuple):
    """One claim, as it is shown."""

    figure: str
    about: str
    """What its numbers are of, e.g. ``MS of L2, absolute``."""
    verdict: str
    effect: str
    which: str
    """What the effect is the difference of; where not measured, why."""
    p: str
    n: str
    n_to_decide: str


def sentences(data: RunData, frame: pl.DataFrame) -> list[tuple[str, list[Row]]]:
    """Every sentence with its claims, in order."""
    parts = frame.partition_by("claim", maintain_order=True)
    return [
        (str(part["claim"][0]), [_row(data, row) for row in part.iter_rows(named=True)]) for part in parts
    ]


def _row(data: RunData, row: Mapping[str, object]) -> Row:
    group = Group(*(row[name] for name in Group._fields))  # pyright: ignore[reportArgumentType]
    by = {"ks": ", KS", "wasserstein": ", Wasserstein"}.get(str(row["quantity"]), "")
    statistic, response = data.statistic_called(group.statistic), data.response_called(group.response)
    about = f"{statistic} of {response}, {group.schedule}{by}"
    figure, verdict = str(row["figure"]), str(row["verdict"])
    if verdict == NOT_MEASURED:
        return Row(figure, about, verdict, render.UNDEFINED, str(row["reason"]), *[render.UNDEFINED] * 3)
    value = {name: float(str(row[name])) for name in _NUMBERS}
    effect = render.signed(value["effect"], value["low"], value["high"], 2 if row["unit"] == "KS" else 1)
    margin = "" if math.isnan(value["margin"]) else f", to be within ±{value['margin']:g}"
    return Row(
        figure,
        about,
        verdict,
        f"{effect} {row['unit']}",
        f"{row['comparison']}{margin}",
        render.p_value(value["p_opposite_holm" if verdict == "fails" else "p_holm"]),
        str(row["n"]),
        render.count(value["n_to_decide"]),
    )


def _table(data: RunData, frame: pl.DataFrame) -> render.Table:
    rows = tuple((sentence, *row) for sentence, rows in sentences(data, frame) for row in rows)
    columns = tuple(name.replace("_", " ") for name in Row._fields)
    return render.Table("Every claim", ("claim", *columns), rows)


def notes(data: RunData) -> list[str]:
    """How to read the table."""
    margin = f"{data.config.report.equivalence_margin:g}"
    return [definitions.CLAIMS, definitions.CLAIM_EFFECT.format(margin=margin), definitions.CLAIM_PAIRS]
