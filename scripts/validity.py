"""Whether intervals cover, tests keep their level, and how much they see: simulations with known answers.

    python scripts/validity.py --out docs/validity.md

Every simulation draws step values of several kinds on the same pairs, with a known distribution, lets the package
measure them as it measures a run, and asks whether the known answer is in the interval. In the scenarios
called *curves* the values are not drawn but found: noisy response curves with known blow-ups go through the step
statistics first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.comparisons import (
    Difference,
    compare_distances,
    compare_excess,
    compare_means,
    equivalence,
    holm,
)
from plateau_lens.numerics.excess import excess
from plateau_lens.numerics.intervals import distance_interval, percentile_interval, share_interval
from plateau_lens.numerics.lengths import survival
from plateau_lens.numerics.survival import Distance, Survival, ks, wasserstein, whole_steps
from plateau_lens.steps.activation_plateau import ActivationPlateau
from plateau_lens.steps.max_slope import MaxSlope
from plateau_lens.steps.registry import Curves

N_STEPS = 100
SIZES = (100, 300, 1000)
SHARED = 0.4
"""Correlation of two kinds' values of one pair, on the normal scale they are drawn on."""
MARGIN = 2.0
TRUTH = 400_000
"""Pairs from which a true number is computed."""


_NORMAL = np.linspace(-6, 6, 2001)
_GAMMA = stats.gamma.ppf(stats.norm.cdf(_NORMAL), 4) / 4
"""Quantiles of a gamma distribution of mean 1, by those of a normal one."""


class Observed(NamedTuple):
    """Step values as a run has them."""

    value: np.ndarray
    """[pair, kind]"""
    censored: np.ndarray
    """[pair, kind]"""
    last: np.ndarray
    """[pair, 1], the last usable step of each path."""


@dataclass(frozen=True)
class Scenario:
    """Kinds with known distributions of their steps; the first is model-generated."""

    name: str
    centres: tuple[float, ...]
    """Mean step of each kind, before it is cut to the path."""
    spreads: tuple[float, ...]
    """Standard deviation of each kind; gamma-distributed steps, as AP steps are, have half their mean."""
    gamma: bool = False
    length: tuple[float, float] | None = None
    """Mean and standard deviation of the path's length, in steps; none: every path has all of them."""
    dependence: float = 0.0
    """Correlation of lengths with steps, on the normal scale; at most the root of `SHARED`."""
    curves: str = ""
    """``ms`` or ``ap``: the values are found from noisy curves."""

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Steps [pair, kind] at which events happen, whether a path shows it or not; last usable step [pair, 1]."""
        shared = rng.normal(size=(n, 1))
        return self._steps(rng, shared), self._lengths(rng, shared)

    def _steps(self, rng: np.random.Generator, shared: np.ndarray) -> np.ndarray:
        n = len(shared)
        own = rng.normal(size=(n, len(self.centres)))
        normal = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own
        centres, spreads = np.array(self.centres), np.array(self.spreads)
        skewed = np.interp(normal, _NORMAL, _GAMMA) * centres
        return np.maximum(np.round(skewed if self.gamma else centres + spreads * normal), 1)

    def _lengths(self, rng: np.random.Generator, shared: np.ndarray) -> np.ndarray:
        """The same for all kinds."""
        if self.length is None:
            return np.full(shared.shape, N_STEPS)
        mean, spread = self.length
        of_pair = self.dependence / np.sqrt(SHARED)
        normal = of_pair * shared + np.sqrt(1 - of_pair**2) * rng.normal(size=shared.shape)
        return np.clip(np.floor(mean + spread * normal), 10, N_STEPS).astype(int)

    def observe(self, rng: np.random.Generator, n: int) -> Observed:
        """What a run of n pairs would have."""
        known, last = self.draw(rng, n)
        if not self.curves:
            return Observed(np.minimum(known, last), known > last, last)
        found = [from_curves(rng, known[:, kind], last[:, 0], self.curves) for kind in range(known.shape[1])]
        return Observed(*(np.stack(part, axis=1) for part in zip(*found, strict=True)), last)


def from_curves(
    rng: np.random.Generator, known: np.ndarray, last: np.ndarray, statistic: str
) -> tuple[np.ndarray, np.ndarray]:
    """Measure noisy sigmoid curves that blow up at known steps; values and censoring flags."""
    n = np.arange(N_STEPS + 1)
    width = rng.uniform(0.8, 2.5, (known.size, 1))
    # MS: the steepest of the rises is that from known - 1 to known. AP: a tenth of the height is reached between them.
    shift = 0.0 if statistic == "ms" else np.log(9.0)
    centre = known[:, None] - 0.5 + shift * width
    height = rng.uniform(60, 140, (known.size, 1))
    rise = 1 / (1 + np.exp(-(n - centre) / width))
    curves = height * (rise + rng.normal(0, 2e-4, rise.shape))
    curves[:, 0] = 0
    if statistic == "ap":
        found = ActivationPlateau(threshold=10.0).of(Curves(curves / height * 100, last))
    else:
        found = MaxSlope(min_slope={"l2": 0.2}).of(Curves(curves, last))
    # As the report does: without a slope, nothing was seen up to the path's end.
    return np.where(np.isnan(found.value), last, found.value), found.censored


def survivals(pairs: PairBootstrap, observed: Observed) -> list[Survival]:
    """One survival function a kind."""
    columns = zip(observed.value.T, observed.censored.T, strict=True)
    grid, last = whole_steps(N_STEPS), observed.last[:, 0]
    return [survival(pairs, value, flags, grid=grid, length=last) for value, flags in columns]


def estimates(found: Sequence[Survival], observed: Observed) -> dict[str, tuple[float, float, float]]:
    """Every sort of number that a report has, with its interval, on kinds 0 (model-generated), 1 and 2."""
    real, one, two = found[:3]

    def distance(of: Distance, most: float) -> tuple[float, float, float]:
        return distance_interval(of(one, real), of(one, real, noise=True), one.n, most=most)

    def ends(each: Difference) -> tuple[float, float, float]:
        return each.value, each.low, each.high

    return {
        "mean": percentile_interval(real.mean(), real.n),
        "median": percentile_interval(real.quantile(0.5), real.n),
        "censored": share_interval(observed.censored[:, 1]),
        "KS": distance(ks, 1.0),
        "Wasserstein": distance(wasserstein, float(N_STEPS)),
        "difference of means": ends(compare_means(one, real)),
        "difference of KS": ends(compare_distances(one, two, real, ks)),
        "difference of Wasserstein": ends(compare_distances(one, two, real, wasserstein)),
    }


COVERAGE = (
    Scenario("relative, as published (MS)", (51.6, 65.0, 55.7), (7.8, 11.2, 11.5)),
    Scenario("paths of many lengths", (41.1, 52.1, 45.0), (10.5, 10.9, 14.0), length=(85, 15)),
    Scenario("wide, a third censored", (60.0, 75.0, 68.0), (20.0, 20.0, 25.0), length=(90, 15)),
    Scenario("skewed, short (AP)", (16.0, 9.0, 7.0), (8.0, 4.5, 3.5), gamma=True),
    Scenario(
        "MS from curves, many lengths", (51.6, 65.0, 55.7), (7.8, 11.2, 11.5), length=(85, 15), curves="ms"
    ),
    Scenario("AP from curves", (26.0, 19.0, 16.0), (6.0, 5.0, 4.5), curves="ap"),
)
DEPENDENT = (
    Scenario(
        "longer paths, later steps; a tenth censored",
        (50.0, 60.0, 54.0),
        (14.0, 14.0, 16.0),
        length=(78, 14),
        dependence=0.6,
    ),
    Scenario(
        "longer paths, later steps; a third censored",
        (62.0, 72.0, 66.0),
        (15.0, 15.0, 17.0),
        length=(76, 13),
        dependence=0.6,
    ),
    Scenario(
        "the same, of skewed steps", (50.0, 60.0, 54.0), (), gamma=True, length=(76, 13), dependence=0.6
    ),
)
"""Lengths that say something of events, as on the absolute schedule."""
NEAR = (
    Scenario("half a step apart", (51.6, 52.1, 53.0), (7.8, 7.8, 7.8)),
    Scenario("no distance at all", (50.0, 50.0, 50.0), (10.0, 10.0, 10.0)),
    Scenario("one distance of 0, one of 2", (50.0, 50.0, 52.0), (10.0, 10.0, 10.0)),
    Scenario("one distance of 0, one of 3", (50.0, 50.0, 53.0), (10.0, 10.0, 10.0)),
)
"""Distances next to 0."""


@cache
def truth(scenario: Scenario) -> dict[str, float]:
    """The numbers that the intervals should cover, from steps as they are, not as they are seen."""
    rng = np.random.default_rng(0)
    known, last = scenario.draw(rng, TRUTH)
    everything = PairBootstrap(TRUTH, seed=0, n_resamples=0)
    whole = Observed(np.minimum(known, N_STEPS), known > N_STEPS, np.full_like(last, N_STEPS))
    real, one, two = survivals(everything, whole)[:3]
    # A steepest slope at the path's last step may go on behind it.
    behind = known[:, 1] >= last[:, 0] if scenario.curves == "ms" else known[:, 1] > last[:, 0]
    gap = {of: float(of(one, real)[0] - of(two, real)[0]) for of in (ks, wasserstein)}
    return {
        "mean": float(real.mean()[0]),
        "median": float(real.quantile(0.5)[0]),
        "censored": float(behind.mean()),
        "KS": float(ks(one, real)[0]),
        "Wasserstein": float(wasserstein(one, real)[0]),
        "difference of means": float(one.mean()[0] - real.mean()[0]),
        "difference of KS": gap[ks],
        "difference of Wasserstein": gap[wasserstein],
    }


@lru_cache(maxsize=20)
def resampled(n: int, seed: int, resamples: int) -> PairBootstrap:
    """One of the bootstraps that simulations take turns with: drawing one costs as much as using it."""
    return PairBootstrap(n, seed=seed, n_resamples=resamples)


def simulate(
    scenario: Scenario, n: int, sims: int, *, resamples: int
) -> Iterator[tuple[Observed, list[Survival]]]:
    """Runs of n pairs."""
    for sim in range(sims):
        observed = scenario.observe(np.random.default_rng([n, sim, *scenario.name.encode()]), n)
        yield observed, survivals(resampled(n, sim % 20, resamples), observed)


def coverage(scenario: Scenario, n: int, sims: int, *, resamples: int = 1000) -> dict[str, float]:
    """Share of simulations whose interval holds the truth, by sort of number."""
    known = truth(scenario)
    hits = dict.fromkeys(known, 0)
    for observed, found in simulate(scenario, n, sims, resamples=resamples):
        for name, (_, low, high) in estimates(found, observed).items():
            hits[name] += low - 1e-9 <= known[name] <= high + 1e-9
    return {name: count / sims for name, count in hits.items()}


NULL = Scenario("two kinds alike, both unlike model-generated", (50.0, 58.0, 58.0), (8.0, 11.0, 11.0))
NULL_LENGTHS = Scenario(
    "the same, paths of many lengths", (50.0, 58.0, 58.0), (8.0, 11.0, 11.0), length=(80, 15)
)
FAMILY = Scenario("six kinds, all alike", (50.0,) * 6, (10.0,) * 6)
FAMILY_AWAY = Scenario("six kinds, five alike, all unlike model-generated", (42.0, *[50.0] * 5), (10.0,) * 6)


def errors(scenario: Scenario, n: int, sims: int, *, resamples: int = 1000) -> dict[str, float]:
    """Share of simulations in which a test finds, at 5 %, what is not there: kinds 1 and 2 are alike."""
    found: dict[str, list[float]] = {}
    for _, (real, one, two, *_rest) in simulate(scenario, n, sims, resamples=resamples):
        mean = compare_means(one, two)
        p_values = {
            "means, two-sided": mean.p_value(),
            "means, one-sided": mean.p_value("greater"),
            "KS": compare_distances(one, two, real, ks).p_value(),
            "Wasserstein": compare_distances(one, two, real, wasserstein).p_value(),
        }
        for name, p in p_values.items():
            found.setdefault(name, []).append(p)
    return {name: float(np.mean(np.array(p) < 0.05)) for name, p in found.items()}


def family_error(scenario: Scenario, n: int, sims: int, *, resamples: int = 1000) -> dict[str, float]:
    """Share of whole tables with a false finding; all kinds but model-generated are alike."""
    plain, adjusted = 0, 0
    alike = scenario.centres[0] == scenario.centres[1]
    for _, found in simulate(scenario, n, sims, resamples=resamples):
        real, others = found[0], found[1:]
        compared = [compare_means(*each) for each in combinations(found, 2)]
        true = [alike or real not in each for each in combinations(found, 2)]
        for of in (ks, wasserstein):
            far = [excess(each, real, of) for each in others]
            compared += [compare_excess(a, b) for a, b in combinations(far, 2)]
        true += [True] * (len(compared) - len(true))
        p = [each.p_value() for each in compared]
        plain += any(each < 0.05 and null for each, null in zip(p, true, strict=True))
        adjusted += any(each < 0.05 and null for each, null in zip(holm(p), true, strict=True))
    return {"unadjusted": plain / sims, "Holm": adjusted / sims}


def at_the_margin(n: int, sims: int, *, true: float = MARGIN, resamples: int = 1000) -> dict[str, float]:
    """Verdicts of equivalence, as shares, where two kinds differ by a known number of steps."""
    scenario = Scenario(f"{true} steps apart", (50.0 + true, 50.0), (9.0, 9.0))
    verdicts = [
        equivalence(compare_means(*found), MARGIN).verdict
        for _, found in simulate(scenario, n, sims, resamples=resamples)
    ]
    return {name: verdicts.count(name) / sims for name in ("equivalent", "different", "undecided")}


def distances_at_the_margin(
    n: int, sims: int, *, true: float = MARGIN, resamples: int = 1000
) -> dict[str, float]:
    """The same of two Wasserstein distances, one of which is 0."""
    scenario = Scenario(f"distances {true} apart", (50.0, 50.0, 50.0 + true), (10.0,) * 3)
    verdicts = [
        equivalence(compare_distances(two, one, real, wasserstein), MARGIN).verdict
        for _, (real, one, two) in simulate(scenario, n, sims, resamples=resamples)
    ]
    return {name: verdicts.count(name) / sims for name in ("equivalent", "different", "undecided")}


MS = Scenario("MS, relative", (51.60, 65.01, 56.87, 55.69), (7.82, 11.19, 11.40, 11.53))
AP = Scenario("AP", (16.0, 9.0, 6.0, 8.0), (8.0, 4.5, 3.0, 4.0), gamma=True)
AUC = Scenario("AUC, relative", (51.98, 64.97), (9.64, 16.01))
Claim = tuple[str, Scenario, Callable[[list[Survival]], float]]
CLAIMS: tuple[Claim, ...] = (
    (
        "MS is earlier toward model-generated (51.6) than toward random (65.0)",
        MS,
        lambda s: compare_means(s[0], s[1]).p_value("less"),
    ),
    (
        "structured (55.7 ± 11.5) is closer to model-generated than baseline (56.9 ± 11.4) is, KS",
        MS,
        lambda s: compare_distances(s[2], s[3], s[0], ks).p_value("greater"),
    ),
    (
        "the same, Wasserstein",
        MS,
        lambda s: compare_distances(s[2], s[3], s[0], wasserstein).p_value("greater"),
    ),
    (
        "AP: plateaus around model-generated (16) are longer than around all others (9, 6, 8)",
        AP,
        lambda s: max(compare_means(s[0], other).p_value("greater") for other in s[1:]),
    ),
    (
        "AP: baseline (6) is the shortest of all",
        AP,
        lambda s: max(compare_means(s[2], s[i]).p_value("less") for i in (0, 1, 3)),
    ),
    (
        f"AP: structured (8) and random (9) differ by less than {MARGIN:g}",
        AP,
        lambda s: equivalence(compare_means(s[3], s[1]), MARGIN).p_equivalent,
    ),
    (
        "AUC is earlier toward model-generated (52.0) than toward random (65.0)",
        AUC,
        lambda s: compare_means(s[0], s[1]).p_value("less"),
    ),
)
"""The paper's claims with the published numbers (see report/published.py) as the truth."""


def power(n: int, sims: int, *, resamples: int = 1000) -> dict[str, float]:
    """Share of simulations in which a claim that is true is found to hold, at 5 %, by claim."""
    held = {name: 0 for name, _, _ in CLAIMS}
    for scenario in dict.fromkeys(scenario for _, scenario, _ in CLAIMS):
        for _, found in simulate(scenario, n, sims, resamples=resamples):
            for name, about, p_value in CLAIMS:
                held[name] += about is scenario and p_value(found) < 0.05
    return {name: count / sims for name, count in held.items()}


def recovered(sims: int = 20_000) -> dict[str, tuple[float, float]]:
    """Of curves with known blow-ups: the share measured exactly there, and the largest miss, in steps."""
    rng = np.random.default_rng(0)
    known, last = rng.integers(12, 90, sims).astype(float), np.full(sims, N_STEPS)
    misses = {name: np.abs(from_curves(rng, known, last, name)[0] - known) for name in ("ms", "ap")}
    return {name: (float((miss == 0).mean()), float(miss.max())) for name, miss in misses.items()}


# -- the document -------------------------------------------------------------------------------------------


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["--"] + ["--:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def percent(share: float) -> str:
    """A share as a percentage with one digit."""
    return f"{100 * share:.1f}"


def document(sims: int, resamples: int) -> str:
    """docs/validity.md."""

    def run(scenarios: Sequence[Scenario], of: Callable[..., dict[str, float]]) -> str:
        found = {
            (scenario.name, n): of(scenario, n, sims, resamples=resamples)
            for scenario in scenarios
            for n in SIZES
        }
        names = next(iter(found.values()))
        rows = [(*where, *map(percent, shares.values())) for where, shares in found.items()]
        return table(("scenario", "n", *names), rows)

    families = []
    for scenario in (FAMILY, FAMILY_AWAY):
        for n in SIZES:
            found = family_error(scenario, n, sims, resamples=resamples)
            families.append((scenario.name, n, *map(percent, found.values())))
    verdicts = [
        (f"{true:g}", n, *map(percent, at_the_margin(n, sims, true=true, resamples=resamples).values()))
        for true in (0.0, 1.0, MARGIN, 4.0)
        for n in SIZES
    ]
    of_distances = [
        (
            f"{true:g}",
            n,
            *map(percent, distances_at_the_margin(n, sims, true=true, resamples=resamples).values()),
        )
        for true in (0.0, 1.0, MARGIN, 4.0)
        for n in SIZES
    ]
    by_size = [power(n, sims, resamples=resamples) for n in SIZES]
    powers = [(name, *(percent(found[name]) for found in by_size)) for name, _, _ in CLAIMS]
    known = recovered()
    sd = 100 * np.sqrt(0.95 * 0.05 / sims)
    return PAGE.format(
        sims=sims,
        resamples=f"{resamples:,}",
        sd=f"{sd:.1f}",
        shared=SHARED,
        margin=f"{MARGIN:g}",
        ms_exact=percent(known["ms"][0]),
        ms_miss=f"{known['ms'][1]:g}",
        ap_exact=percent(known["ap"][0]),
        ap_miss=f"{known['ap'][1]:g}",
        coverage=run(COVERAGE, coverage),
        dependent=run(DEPENDENT, coverage),
        near=run(NEAR, coverage),
        errors=run((NULL, NULL_LENGTHS), errors),
        families=table(("scenario", "n", "unadjusted", "Holm"), families),
        margins=table(("true difference", "n", "equivalent", "different", "undecided"), verdicts),
        distance_margins=table(
            ("true difference", "n", "equivalent", "different", "undecided"), of_distances
        ),
        power=table(("claim", *(f"n = {n}" for n in SIZES)), powers),
    )


PAGE = """\
# Validity: do the intervals cover, and the tests keep their level?

Simulations with known answers; {sims} each, {resamples} resamples, so that a true 95 % shows as 95 ± {sd} (one standard
error). Kinds share what is peculiar to a pair (correlation {shared}). Made by `scripts/validity.py`; a subset runs
with the tests. What the numbers are, and how they are computed: [design/statistics.md](design/statistics.md).

In the scenarios *from curves*, the values are measured by the package's step statistics on noisy response curves whose
blow-ups are known: {ms_exact} % of MS steps are found exactly where they were put (at most {ms_miss} off), {ap_exact} %
of AP steps (at most {ap_miss} off).

## Coverage

Share of 95 % intervals that hold the true number, %. True numbers are those of the steps themselves, whether or not a
path was long enough to show them: intervals that took a censored step for its bound would miss them.

{coverage}
Where hardly any step is censored, Wilson's interval of the share always holds it.

Where targets are far, events are late, and paths end at their targets. Lengths then say something of events, and Kaplan
and Meier's product, which takes them to say nothing, is too large behind the shorter paths. Lengths and steps have a
correlation of 0.6 here; what is computed is corrected for it. Steps of the last scenario are gamma-distributed: neither
the straight line nor the normal tail of the correction is theirs.

{dependent}
Next to 0 a distance has no interval of the usual kind: it can only be too large. Differences are of distances beyond
noise, which can be below 0. Where both are 0, their difference is covered too often.

{near}
## Tests under the null hypothesis

Share of simulations with p < 0.05 although the two kinds are alike, %. It should be 5, or less.

{errors}
## A whole table

Share of tables with at least one false finding, %: differences of means of all 15 pairs of six kinds, and of KS and of
Wasserstein distances to model-generated of the 10 pairs of the others; 35 comparisons.

{families}
## Equivalence

Verdicts against a margin of {margin} steps, %. At a true difference of exactly the margin, "equivalent" and "different"
are both wrong and should come up in 5 % or less.

{margins}
The same of the difference of two Wasserstein distances to model-generated, one of which is 0.

{distance_margins}
## Power of the paper's claims

Share of simulations in which a claim is found to hold at 5 %, were the published numbers the truth, %.

{power}"""


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("docs/validity.md"))
    parser.add_argument("--sims", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=1000)
    given = parser.parse_args()
    began = time.perf_counter()
    given.out.write_text(document(given.sims, given.resamples))
    print(f"{given.out}: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
