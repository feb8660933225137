"""The paper's sentences, tested: what the run's pairs say of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

from plateau_lens.numerics.verdicts import Evidence, Judgement, Verdict, judge
from plateau_lens.report import definitions, render
from plateau_lens.report.claims.claim import OWN, Claim, Part
from plateau_lens.report.claims.measures import Measures, NotMeasuredError
from plateau_lens.report.claims.paper import SENTENCES
from plateau_lens.report.html import page_part
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import Block, Drawing, Prose, Section, section

NOT_MEASURED = "not measured"
_IN_WORDS = {
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "undecided": ("is undecided", "are undecided"),
    NOT_MEASURED: ("is not measured", "are not measured"),
}
"""Verdicts, as they are said of one sentence and of several."""
_NUMBERS = ("effect", "low", "high", "p", "p_holm", "p_opposite", "p_opposite_holm", "n_to_decide")
SCHEMA = {
    "number": pl.Int64,
    **dict.fromkeys(("section", "sentence", "sentence_verdict"), pl.String),
    "sentence_n_to_decide": pl.Float64,
    **dict.fromkeys(("part", "verdict", "reason", "compared", "unit"), pl.String),
    **dict.fromkeys(("comparisons", "n"), pl.Int64),
    **dict.fromkeys(_NUMBERS, pl.Float64),
}
_DIGITS = {"KS": 2, "share": 2}
"""Of an effect, by its unit; one unless it is here."""


@dataclass(frozen=True)
class PartResult:
    """What the run says of one part of a sentence."""

    part: Part
    verdict: Verdict | Literal["not measured"]
    reason: str = ""
    """Where it is not measured, why."""
    evidence: Evidence | None = None
    judgement: Judgement | None = None
    compared: str = ""
    """What the effect shown is: of several, the one that supports the part least."""
    unit: str = ""


@dataclass(frozen=True)
class Result:
    """What the run says of one sentence."""

    number: int | None
    """Its place among the paper's; none for one of a user's own."""
    claim: Claim
    verdict: Verdict | Literal["not measured"]
    pairs: float
    """That would decide it; NaN where it is decided, or not measured in full."""
    parts: tuple[PartResult, ...]


@section("claims")
class Claims(Section):
    """Every sentence of the paper that a run can test, with its verdict."""

    title = "The paper's sentences, tested"
    place = 10

    def __init__(self, data: RunData):
        super().__init__(data)
        self.results = results(data)

    def tables(self) -> Sequence[render.Table]:
        """A row a sentence, then a row a part."""
        return tables(self.results)

    def notes(self) -> Sequence[str]:
        """How to read them."""
        return [definitions.CLAIMS, definitions.CLAIM_EFFECT, definitions.CLAIM_PAIRS]

    def frames(self) -> Mapping[str, pl.DataFrame]:
        """A row a part, at full precision."""
        return {"claims": frame(self.results)}

    def blocks(self, drawings: Sequence[Drawing]) -> Iterable[Block]:
        """By sentence."""
        yield Prose(summary(self.results))
        rows = [(each, [row(part) for part in each.parts]) for each in self.results]
        yield page_part("claims.html.j2", sentences=rows, title=self.heading, count=render.count)
        for note in self.notes():
            yield Prose(note, quiet=True)


def results(data: RunData) -> list[Result]:
    """Test the paper's sentences, and those of users' own behind them, as one table.

    A sentence of which some part cannot be measured fails if a measured part does, and else is not measured.
    """
    run = Measures(data)
    claims = [*SENTENCES, *OWN]
    found = [[_evidence(part, run) for part in claim.parts] for claim in claims]
    rulings = judge([[each for each in parts if isinstance(each, Evidence)] for parts in found])
    made: list[Result] = []
    for place, (claim, parts, ruling) in enumerate(zip(claims, found, rulings, strict=True), start=1):
        judged = iter(ruling.parts)
        tested = tuple(
            _tested(part, each, next(judged), run)
            if isinstance(each, Evidence)
            else PartResult(part, NOT_MEASURED, reason=each)
            for part, each in zip(claim.parts, parts, strict=True)
        )
        whole = all(each.evidence for each in tested)
        made.append(
            Result(
                number=place if place <= len(SENTENCES) else None,
                claim=claim,
                verdict=ruling.verdict if whole or ruling.verdict == "fails" else NOT_MEASURED,
                pairs=ruling.pairs if whole else float("nan"),
                parts=tested,
            )
        )
    return made


def _evidence(part: Part, run: Measures) -> Evidence | str:
    """What the pairs say of it, or why they say nothing."""
    try:
        return part.evidence(run)
    except NotMeasuredError as error:
        return str(error)


def _tested(part: Part, evidence: Evidence, judgement: Judgement, run: Measures) -> PartResult:
    shown = part.effects[evidence.weakest]
    return PartResult(
        part, judgement.verdict, "", evidence, judgement, compared=shown.text(run), unit=shown.unit(run)
    )


def summary(found: Sequence[Result]) -> str:
    """How many sentences hold, fail, are undecided and are not measured; users' own apart."""
    paper = [each for each in found if each.number is not None]
    own = [each for each in found if each.number is None]
    lines = [_counted(f"Of the paper's {len(paper)} sentences", paper)]
    return " ".join([*lines, _counted(f"Of {len(own)} of one's own", own)] if own else lines)


def _counted(of: str, some: Sequence[Result]) -> str:
    count = Counter(each.verdict for each in some)
    said = [f"{count[name]} {one if count[name] == 1 else more}" for name, (one, more) in _IN_WORDS.items()]
    return f"{of} {', '.join(said)}."


def frame(found: Sequence[Result]) -> pl.DataFrame:
    """One row a part, at full precision, with the verdict of its sentence.

    ``effect`` is, of all numbers that a part needs, the one that supports it least; above 0 it supports it. A part that
    the run cannot test is ``not measured`` for a ``reason``, its numbers NaN. ``n_to_decide`` is NaN where decided.
    """
    rows = [
        {
            "number": each.number,
            "section": each.claim.section,
            "sentence": each.claim.sentence,
            "sentence_verdict": each.verdict,
            "sentence_n_to_decide": each.pairs,
            "part": part.part.says,
            "verdict": part.verdict,
            "reason": part.reason,
            "compared": part.compared,
            "unit": part.unit,
            **_numbers(part),
        }
        for each in found
        for part in each.parts
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _numbers(part: PartResult) -> dict[str, float | int | None]:
    if part.evidence is None or part.judgement is None:
        return {"comparisons": len(part.part.effects), "n": None, **dict.fromkeys(_NUMBERS, float("nan"))}
    weakest = part.evidence.differences[part.evidence.weakest]
    return {
        "comparisons": len(part.evidence.differences),
        "n": part.evidence.n,
        "effect": weakest.value,
        "low": weakest.low,
        "high": weakest.high,
        "p": part.evidence.p,
        "p_holm": part.judgement.p_holm,
        "p_opposite": part.evidence.p_opposite,
        "p_opposite_holm": part.judgement.p_opposite_holm,
        "n_to_decide": part.judgement.pairs,
    }


class Row(NamedTuple):
    """One part, as it is shown."""

    part: str
    verdict: str
    effect: str
    compared: str
    """What the effect is; where not measured, why."""
    p: str
    """Adjusted: that it is as said, or, where it fails, that it is not."""
    n: str
    n_to_decide: str


def row(found: PartResult) -> Row:
    """One part, as it is shown."""
    if found.evidence is None or found.judgement is None:
        return Row(found.part.says, found.verdict, render.UNDEFINED, found.reason, *[render.UNDEFINED] * 3)
    weakest, judged = found.evidence.differences[found.evidence.weakest], found.judgement
    effect = render.signed(weakest.value, weakest.low, weakest.high, _DIGITS.get(found.unit, 1))
    return Row(
        found.part.says,
        found.verdict,
        f"{effect} {found.unit}",
        found.compared,
        render.p_value(judged.p_opposite_holm if found.verdict == "fails" else judged.p_holm),
        str(found.evidence.n),
        render.count(judged.pairs),
    )


def name_of(found: Result) -> str:
    """The number of a sentence among the paper's; a dash for one of a user's own."""
    return render.UNDEFINED if found.number is None else str(found.number)


def tables(found: Sequence[Result]) -> list[render.Table]:
    """A row a sentence, then a row a part."""
    sentences = tuple(
        (name_of(e), e.claim.sentence, e.claim.section, e.verdict, render.count(e.pairs)) for e in found
    )
    parts = tuple((name_of(each), *row(part)) for each in found for part in each.parts)
    columns = tuple(name.replace("_", " ") for name in Row._fields)
    return [
        render.Table(
            "Sentence by sentence",
            ("no.", "sentence", "section", "verdict", "n to decide"),
            sentences,
            summary(found),
        ),
        render.Table("Part by part", ("no.", *columns), parts),
    ]
