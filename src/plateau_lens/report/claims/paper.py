"""The eighteen sentences of arXiv 2409.15019v2 that a run can test, each with its section and its test.

The sentences are ours. Where one is open to more than one reading, docs/claims.md says which was taken, and why. What a
word is taken for as a number ("much", "nearly") stands here as a constant.
"""

from __future__ import annotations

from plateau_lens.report.claims.claim import Claim, Part
from plateau_lens.report.claims.measures import KindOf
from plateau_lens.report.claims.nearness import Distance
from plateau_lens.report.claims.paths import LargestStep, TargetDistance
from plateau_lens.report.claims.quantity import Quantity
from plateau_lens.report.claims.relations import above, alike, ascending, below, same_order
from plateau_lens.report.claims.steps import Beyond, Mean, Share, Spread
from plateau_lens.report.run_data import REFERENCE, Group

REAL, RANDOM = KindOf(REFERENCE), KindOf("random")
BASELINE, STRUCTURED = KindOf("synthetic-baseline"), KindOf("synthetic-structured")
ANY_LATENTS, BY_SPARSITY = KindOf("synthetic-random"), KindOf("structured-without-cosine")
RECONSTRUCTION = KindOf("sae-reconstruction")
BASELINE_OF_OTHER, STRUCTURED_OF_OTHER = (KindOf(kind.name, "other") for kind in (BASELINE, STRUCTURED))
FOUR = (REAL, RANDOM, BASELINE, STRUCTURED)
"""The kinds of the paper's figures: what a spread of kinds is the spread of."""

MUCH = 0.5
"""*Much nearer*: at less than this share of the other's distance."""
NEARLY = 0.25
"""*Nearly as*: at less than this share of random's distance."""
UNLIKE = 0.75
"""*No plateaus like those*: shorter, on average, than this share of those around real activations."""
MOST = 0.9
"""*Lie between*, *come after*: of at least this share of pairs."""
FEW = 0.1
"""*Have plateaus*: no more than this share of curves only flatten."""
ONLY_FLATTENS = 5
"""A curve only flattens where its AUC step is this or earlier: on one that does it is 1, but for noise, and the
authors' notebooks look from step 5 on."""
STEP_LIKE = 0.2
"""*Step-like*: a share of the end gained within a tenth of the way that is more than a straight line's 0.10, and more
than a parabola's 0.19."""

SCHEDULES = ABSOLUTE, RELATIVE = "absolute", "relative"


def _toward(statistic: str, schedule: str, response: str = "l2") -> Group:
    return Group("toward", statistic, response, schedule)


MS = {schedule: _toward("ms", schedule) for schedule in SCHEDULES}
AUC = {schedule: _toward("auc", schedule) for schedule in SCHEDULES}
NL = {schedule: _toward("nl-value", schedule) for schedule in SCHEDULES}
KL = {schedule: _toward("ms", schedule, "kl") for schedule in SCHEDULES}
AP = Group("from", "ap", "l2", ABSOLUTE)


def _means(group: Group, *kinds: KindOf) -> tuple[Mean, ...]:
    return tuple(Mean(group, kind) for kind in kinds)


def _far(group: Group, *kinds: KindOf) -> tuple[Distance, ...]:
    return tuple(Distance(group, kind) for kind in kinds)


def _gap(group: Group) -> Quantity:
    """By how much structured is nearer to model-generated than baseline is."""
    return Distance(group, BASELINE) - Distance(group, STRUCTURED)


def _flat(schedule: str, kind: KindOf) -> Share:
    """The share of curves that only flatten."""
    return Share(AUC[schedule], kind, 0, ONLY_FLATTENS)


def _peak(group: Group, kind: KindOf) -> tuple[Quantity, ...]:
    """More values in the middle ten steps of the way than in the ten before and the ten behind."""
    before, middle, behind = (Share(group, kind, first, first + 9) for first in (35, 45, 55))
    return above(middle, before, behind)


def _code_of_other(schedule: str, own: KindOf, other: KindOf) -> tuple[Quantity, ...]:
    return alike(*_means(MS[schedule], own, other), among=_means(MS[schedule], *FOUR))


SENTENCES = (
    Claim(
        "MS toward model-generated is earlier, and its spread smaller, than toward random, by distance walked",
        "5.1, Table 1",
        (
            Part("earlier: the mean", below(*_means(MS[ABSOLUTE], REAL, RANDOM))),
            Part(
                "smaller spread: the standard deviation",
                below(Spread(MS[ABSOLUTE], REAL), Spread(MS[ABSOLUTE], RANDOM)),
            ),
        ),
    ),
    Claim(
        "Baseline is nearer to model-generated than random is",
        "5.1",
        (Part("nearer: the KS distance, absolute", below(*_far(MS[ABSOLUTE], BASELINE, RANDOM))),),
    ),
    Claim(
        "Structured is much nearer to model-generated than baseline and than random are",
        "5.1, Figure 2",
        tuple(
            Part(
                f"less than half as far as {kind}, absolute",
                (MUCH * Distance(MS[ABSOLUTE], kind) - Distance(MS[ABSOLUTE], STRUCTURED),),
            )
            for kind in (BASELINE, RANDOM)
        ),
    ),
    Claim(
        "By distance walked, synthetic-random is farther from model-generated than baseline is",
        "5.1, A",
        (Part("farther: the KS distance", above(*_far(MS[ABSOLUTE], ANY_LATENTS, BASELINE))),),
    ),
    Claim(
        "By the share of the way, MS toward model-generated lies between steps 30 and 70 and peaks near 50",
        "A",
        (
            Part("nine of ten pairs between 30 and 70", (Beyond(Share(MS[RELATIVE], REAL, 30, 70), MOST),)),
            Part("more pairs in 45 to 54 than in the ten steps before and behind", _peak(MS[RELATIVE], REAL)),
        ),
    ),
    Claim(
        "By the share of the way, random's MS is later than model-generated's; its spread is larger than by distance "
        "walked",
        "A",
        (
            Part("later: the mean", above(*_means(MS[RELATIVE], RANDOM, REAL))),
            Part(
                "larger spread: random's standard deviation",
                above(Spread(MS[RELATIVE], RANDOM), Spread(MS[ABSOLUTE], RANDOM)),
            ),
        ),
    ),
    Claim(
        "By the share of the way, structured is still nearer than baseline, but by less than by distance walked",
        "5.1, A",
        (
            Part("nearer: the KS distance, relative", (_gap(MS[RELATIVE]),)),
            Part(
                "by less: baseline's KS distance less structured's",
                above(_gap(MS[ABSOLUTE]), _gap(MS[RELATIVE])),
            ),
        ),
    ),
    Claim(
        "Baseline targets lie farther from the base than structured ones",
        "5.1",
        (
            Part(
                "farther: the median distance",
                above(TargetDistance("toward", BASELINE), TargetDistance("toward", STRUCTURED)),
            ),
        ),
    ),
    Claim(
        "Structured without cosine is the nearest of the synthetic kinds by the share of the way, and farther than "
        "structured by distance walked; its targets lie farther from the base",
        "A",
        (
            Part(
                "nearest of four: the KS distance, relative",
                below(*_far(MS[RELATIVE], BY_SPARSITY, STRUCTURED, BASELINE, ANY_LATENTS)),
            ),
            Part(
                "farther than structured: the KS distance, absolute",
                above(*_far(MS[ABSOLUTE], BY_SPARSITY, STRUCTURED)),
            ),
            Part(
                "its targets farther than structured's: the median distance",
                above(TargetDistance("toward", BY_SPARSITY), TargetDistance("toward", STRUCTURED)),
            ),
        ),
    ),
    Claim(
        "AUC gives the same order as MS by distance walked; by the share of the way structured and baseline are alike",
        "B.1, Table B.1",
        (
            Part(
                "same order: the means of every two of four kinds differ in the same direction, absolute",
                same_order(_means(AUC[ABSOLUTE], *FOUR), _means(MS[ABSOLUTE], *FOUR)),
            ),
            Part(
                "alike: as far from model-generated, KS, relative",
                alike(*_far(AUC[RELATIVE], STRUCTURED, BASELINE), among=_far(AUC[RELATIVE], *FOUR)),
            ),
        ),
    ),
    Claim(
        "More curves toward structured than toward baseline only flatten",
        "B.1",
        tuple(
            Part(
                f"only flatten: an AUC step of {ONLY_FLATTENS} or earlier, {schedule}",
                above(_flat(schedule, STRUCTURED), _flat(schedule, BASELINE)),
            )
            for schedule in SCHEDULES
        ),
    ),
    Claim(
        "NL is earliest toward model-generated, then structured, latest toward baseline (text); structured is nearer "
        "to model-generated than random is, baseline is not (table)",
        "B.2, Figure B.2, Table B.2",
        tuple(
            part
            for schedule in SCHEDULES
            for part in (
                Part(
                    f"text: means in the order model-generated, structured, random, baseline, {schedule}",
                    ascending(*_means(NL[schedule], REAL, STRUCTURED, RANDOM, BASELINE)),
                ),
                Part(
                    f"table: structured's KS distance is smaller than random's, baseline's is larger, {schedule}",
                    ascending(*_far(NL[schedule], STRUCTURED, RANDOM, BASELINE)),
                ),
            )
        ),
    ),
    Claim(
        "KL is as L2; the gap between structured and baseline is larger; by the share of the way, blow-ups are more "
        "localised and come after 40 % of it",
        "C, Table C.1",
        (
            *(
                Part(
                    f"as L2: earlier toward model-generated than toward random, {schedule}",
                    above(*_means(KL[schedule], RANDOM, REAL)),
                )
                for schedule in SCHEDULES
            ),
            Part(
                "as L2: KS distance of structured, then baseline, then random, absolute",
                ascending(*_far(KL[ABSOLUTE], STRUCTURED, BASELINE, RANDOM)),
            ),
            *(
                Part(
                    f"larger gap: baseline's KS distance less structured's, {schedule}",
                    above(_gap(KL[schedule]), _gap(MS[schedule])),
                )
                for schedule in SCHEDULES
            ),
            Part(
                "more localised: model-generated's standard deviation is smaller than by distance walked",
                below(Spread(KL[RELATIVE], REAL), Spread(KL[ABSOLUTE], REAL)),
            ),
            Part(
                "nine of ten pairs of every kind after step 40, relative",
                tuple(Beyond(Share(KL[RELATIVE], kind, 41, None), MOST) for kind in FOUR),
            ),
        ),
    ),
    Claim(
        "KL is step-like even for a push at the last layer, right before the unembedding",
        "C",
        (
            Part(
                "more than a fifth of the end within a tenth of the way, as no straight line or parabola has",
                tuple(LargestStep("at-end", "kl", RELATIVE, kind) - STEP_LIKE for kind in (REAL, RANDOM)),
            ),
        ),
    ),
    Claim(
        "Toward reconstructions MS is nearly as toward model-generated, slightly later; they have plateaus",
        "D, Table D.1",
        tuple(
            part
            for schedule in SCHEDULES
            for part in (
                Part(
                    f"nearly: less than a quarter of random's KS distance, {schedule}",
                    (NEARLY * Distance(MS[schedule], RANDOM) - Distance(MS[schedule], RECONSTRUCTION),),
                ),
                Part(f"later: the mean, {schedule}", above(*_means(MS[schedule], RECONSTRUCTION, REAL))),
                Part(
                    f"plateaus: no more than one curve of ten only flattens, {schedule}",
                    (Beyond(_flat(schedule, RECONSTRUCTION), FEW, -1),),
                ),
            )
        ),
    ),
    Claim(
        "Plateaus (AP) are longest around model-generated, shortest around baseline, alike around structured and "
        "random, longer around structured than around baseline",
        "5.2, Figure 3",
        (
            Part(
                "longest around model-generated: the mean",
                above(*_means(AP, REAL, RANDOM, STRUCTURED, BASELINE)),
            ),
            Part(
                "shortest around baseline: the mean", below(*_means(AP, BASELINE, REAL, RANDOM, STRUCTURED))
            ),
            Part(
                "structured and random alike: apart by less than 15 % of the range over four kinds",
                alike(*_means(AP, STRUCTURED, RANDOM), among=_means(AP, *FOUR)),
            ),
        ),
    ),
    Claim(
        "Around synthetic activations there are no plateaus like those around real ones",
        "5.2",
        tuple(
            Part(
                f"shorter than three quarters around {kind}: the mean",
                (UNLIKE * Mean(AP, REAL) - Mean(AP, kind),),
            )
            for kind in (BASELINE, STRUCTURED)
        ),
    ),
    Claim(
        "Another prompt's code in place of the base's changes nothing",
        "6",
        tuple(
            Part(
                f"{own} alike: apart by less than 15 % of the range over four kinds, {schedule}",
                _code_of_other(schedule, own, other),
            )
            for own, other in ((STRUCTURED, STRUCTURED_OF_OTHER), (BASELINE, BASELINE_OF_OTHER))
            for schedule in SCHEDULES
        ),
    ),
)
"""In the order of the paper; their numbers are their places."""
