"""What every table and figure means, in words, with the run's own numbers filled in."""

from __future__ import annotations

from collections.abc import Sequence

from plateau_lens.report.run_data import RunData
from plateau_lens.runs.config import RunConfig

CENSORED = (
    "Censored: the event was not seen within the usable steps of a curve, so that its step is only known to lie "
    "behind the last one that was looked at. Mean, sd, quantiles and distances take it for just that (Kaplan-Meier, "
    "corrected for longer paths having later events): it is neither dropped nor set to a bound. They are of min(step, "
    "number of steps): nothing is known behind the path, and a quantile that lies there is ∞. On the relative "
    "schedule, where all looking stops at the last step, mean, sd and distances are the plain ones of the values, as "
    "in the paper. A curve that has no such step at all (no bend for AUC or NL) has no value and enters only the "
    "censored share."
)
MUCH_CENSORED = 0.1
"""Share of censored pairs from which a table says so: what is said of those rests on an assumption."""
WARNING = (
    " Many censored: {kinds}. Where their events would have been is taken from how steps rise with the length of a "
    "path, and behind the longest paths from a normal distribution."
)
INTERVALS = (
    "[low, high]: 95 % interval from 2,000 resamples of pairs, the same pairs for every kind; that of a censored "
    "share is Wilson's. Noise adds to a distance: the lower end is put as much lower, and is 0 where noise alone "
    "could have made the whole."
)
COMPARISONS = (
    "Each row is the number of the first kind less that of the second, with its 95 % interval over resamples of "
    "pairs (paired: the same for both kinds). A difference of distances is of distances to {reference} beyond noise: "
    "above 0, the second kind is the closer. p: two-sided, that the true difference is 0; Holm: adjusted over all "
    "rows of a table, so that below 0.05 no more than one table in twenty holds a false one."
)
EQUIVALENCE = (
    "Against the margin (report.equivalence_margin steps, and no more than report.equivalence_share of "
    "model-generated's mean): equivalent where the difference is shown to be smaller (two one-sided "
    "tests, p equivalent < 0.05), different where it is shown to be larger (p different < 0.05), else "
    "undecided. Not adjusted for the number of rows."
)
CLAIMS = (
    "A sentence holds where all of its parts hold, and fails where one of them does. Undecided: the pairs do not "
    "tell, which is no evidence of either. Not measured: the run has not what some part is about, and no other part "
    "fails. A part holds where it is shown at 5 %, and fails where its opposite is. p is of the part, or of its "
    "opposite where it fails, adjusted by Holm over both of all parts: 19 of 20 such tables say nothing false, neither "
    "that something holds nor that it fails. What each part tests: docs/claims.md."
)
CLAIM_EFFECT = (
    "An effect above 0 supports its part. A part about several numbers needs them all; the one that supports it least "
    "is shown, with its 95 % interval over resamples of pairs (paired: the same for all kinds). KS: distance to "
    "model-generated."
)
CLAIM_PAIRS = (
    "n to decide: pairs with which a sentence as a whole, or a part alone, would be decided (hold or fail) with a "
    "probability of 80 % or more, were the true numbers the ones found; \N{EN DASH} where it is decided or not "
    "measured."
)
LADDER = (
    "Rungs stand in the configuration's order, controls that are no composition of an activation's latents below. "
    "another sample: what another sample of {reference}, of this size, would have: the expected distance, and "
    "in brackets where 95 % of such samples lie."
)
BEYOND_NOISE = (
    "Beyond noise: a distance d less d0, what sampling noise alone makes of none, in squares: e² = d² - d0², and 0 "
    "where d is less. A distance as it is comes out too high, the more so the nearer it is to 0. In differences e has "
    "a sign: it is below 0 where d is less than d0."
)
REALISM = (
    "Realism R = 1 - e(kind) / e(random): e is the distance to {reference} beyond noise. 0: as far from {reference} as "
    "random; 1: as close as another sample of it; below 0: farther than random; above 1: by noise alone. "
    "\N{EN DASH} where random's is not four standard errors above 0, so that the two ends of the scale may coincide. "
    "[low, high]: Fieller's 95 % interval over resamples of pairs."
)
REALISM_OF_SAE = (
    "The realism of an SAE at a site is two numbers, 0 where as far from model-generated as random and 1 where as "
    "close as another sample of it. That of sae-reconstruction says what it keeps of an activation that the "
    "model made; that of synthetic-structured, how real an activation is that is put together from its latents "
    "anew. The first can be high without the second."
)
DISTANCES = (
    "KS: two-sample Kolmogorov-Smirnov distance to {reference}, 0 (same distribution) to 1 (disjoint). "
    "Wasserstein: the steps by which values move, on average, to turn one distribution into the other."
)
UNDEFINED = (
    "\N{EN DASH}: undefined (no defined value, a spread of one value, or no {reference} kind in this run)."
)


def unit(schedule: str, config: RunConfig) -> str:
    """What one step is, e.g. ``1 step = 0.5 residual-stream units``."""
    if schedule == "relative":
        return f"1 step = {100 / config.n_steps:.3g} % of the distance to the target"
    if isinstance(config.step_size, str):
        return "1 step = the run's step size"
    return f"1 step = {config.step_size:.3g} residual-stream units"


def statistic(data: RunData, label: str, responses: Sequence[str] | None = None) -> str:
    """A statistic's definition in one sentence or two, with its parameters in this run."""
    return data.statistics[label].sentence(
        list(data.responses if responses is None else responses), data.config.n_steps
    )


def experiment(data: RunData, label: str) -> str:
    """What an experiment does, in one sentence."""
    made = data.experiments[label]
    return f"{made.heading}: {made.meaning}."


def values_in(data: RunData, statistic: str) -> str:
    """What a table's values are counted in."""
    return f"Values in {data.units_of(statistic)}"


def usable(config: RunConfig) -> str:
    """Which steps the statistics look at."""
    if config.stop_at_target:
        size = config.cut_size
        counted = "" if size is None else f", which is counted in steps of {size:.4g} units (cut_size)"
        return (
            f"Statistics look at steps 0 to {config.n_steps}; on the absolute schedule, no further than the "
            f"target (stop_at_target){counted}."
        )
    return f"Statistics look at steps 0 to {config.n_steps}, past the target too (stop_at_target is off)."
