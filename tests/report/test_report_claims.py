"""The paper's sentences on runs of which it is known whether they hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest
from synthetic_runs import cliff, curve_rows, write_hills, write_run

from plateau_lens.cli import invoke
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.survival import Survival, kaplan_meier, whole_steps
from plateau_lens.numerics.verdicts import judge
from plateau_lens.report import run_data
from plateau_lens.report.claims import claim as registry
from plateau_lens.report.claims.claim import Claim, Part, claim
from plateau_lens.report.claims.measures import KindOf, Measures, NotMeasuredError
from plateau_lens.report.claims.nearness import Distance
from plateau_lens.report.claims.paper import FOUR, MS, SENTENCES
from plateau_lens.report.claims.paths import TargetDistance, largest_gain, mean_of_pairs
from plateau_lens.report.claims.quantity import Measured, Product, Quantity, Range
from plateau_lens.report.claims.relations import alike
from plateau_lens.report.claims.steps import Beyond, Mean, Share, Spread
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections import claims
from plateau_lens.runs.folder import RunFolder

REAL, RANDOM, ANY = "model-generated", "random", "synthetic-random"
BASELINE, STRUCTURED = "synthetic-baseline", "synthetic-structured"
SPARSITY, RECONSTRUCTION = "structured-without-cosine", "sae-reconstruction"
# What they are called is not what they are found by.
OTHERS = {
    "a": {"kind": STRUCTURED, "code": "other"},
    "b": {"kind": BASELINE, "code": "other"},
}
KINDS = (REAL, RANDOM, ANY, BASELINE, STRUCTURED, SPARSITY, RECONSTRUCTION, *OTHERS)
PAIRS = 500
Shape = tuple[float, float]
"""Mean and standard deviation of a kind's values."""
Values = Mapping[Group, Mapping[str, Shape]]


def toward(statistic: str, schedule: str, response: str = "l2") -> Group:
    return Group("toward", statistic, response, schedule)


def shaped(sd: float, **means: float) -> dict[str, Shape]:
    names = {"real": REAL, "random": RANDOM, "any": ANY, "baseline": BASELINE, "structured": STRUCTURED}
    names |= {"sparsity": SPARSITY, "reconstruction": RECONSTRUCTION}
    return {names.get(name, name): (mean, sd) for name, mean in means.items()}


TRUE: dict[Group, dict[str, Shape]] = {
    toward("ms", "absolute"): {
        **shaped(
            6, real=41, baseline=52, structured=43, any=58, sparsity=48, reconstruction=42.5, a=43, b=52
        ),
        RANDOM: (66, 9),
    },
    toward("ms", "relative"): {
        **shaped(
            6, real=50, baseline=57, structured=54, any=58, sparsity=50.5, reconstruction=51.2, a=54, b=57
        ),
        RANDOM: (72, 12),
    },
    toward("auc", "absolute"): shaped(6, real=41, random=62, baseline=55, structured=50, reconstruction=41),
    toward("auc", "relative"): shaped(6, real=50, random=76, baseline=57, structured=57, reconstruction=50),
    toward("nl-value", "absolute"): shaped(6, real=30, structured=33, random=37, baseline=41),
    toward("nl-value", "relative"): shaped(6, real=30, structured=33, random=37, baseline=41),
    toward("ms", "absolute", "kl"): shaped(10, real=45, structured=46, baseline=70, random=82),
    toward("ms", "relative", "kl"): shaped(5, real=58, structured=59, baseline=66, random=75),
    Group("from", "ap", "l2", "absolute"): shaped(5, real=42, random=26, structured=26, baseline=15),
}
FLAT_TRUE = {STRUCTURED: 0.05, BASELINE: 0.0, RECONSTRUCTION: 0.01}
"""The share of curves that only flatten."""
FALSE: dict[Group, dict[str, Shape]] = {
    toward("ms", "absolute"): shaped(
        8, real=50, random=42, baseline=70, structured=62, any=51, sparsity=55, reconstruction=44, a=40, b=50
    ),
    toward("ms", "relative"): shaped(
        8, real=75, random=60, baseline=73, structured=60, any=70, sparsity=50, reconstruction=70, a=60, b=73
    ),
    toward("auc", "absolute"): shaped(6, real=41, random=62, baseline=55, structured=50, reconstruction=41),
    toward("auc", "relative"): shaped(6, real=50, random=70, baseline=57, structured=57, reconstruction=50),
    toward("nl-value", "absolute"): shaped(6, real=41, structured=37, random=33, baseline=30),
    toward("nl-value", "relative"): shaped(6, real=41, structured=37, random=33, baseline=30),
    toward("ms", "absolute", "kl"): shaped(6, real=60, structured=56, baseline=50, random=45),
    toward("ms", "relative", "kl"): shaped(10, real=30, structured=59, baseline=66, random=25),
    Group("from", "ap", "l2", "absolute"): shaped(5, real=20, random=60, structured=26, baseline=40),
}
FLAT_FALSE = {STRUCTURED: 0.0, BASELINE: 0.08, RECONSTRUCTION: 0.5}


def drawn(values: Values, flat: Mapping[str, float], pairs: int, seed: int = 0) -> pl.DataFrame:
    """``steps.parquet`` with values around known means; half of the variance is what a pair's kinds share."""
    rng = np.random.default_rng(seed)
    parts: list[pl.DataFrame] = []
    for group, kinds in values.items():
        shared = rng.standard_normal(pairs)
        for kind, (mean, sd) in kinds.items():
            value = mean + sd * np.sqrt(0.5) * (shared + rng.standard_normal(pairs))
            value = value.round().clip(6, 99)
            if group.statistic == "auc":
                value[: round(flat.get(kind, 0.0) * pairs)] = 1.0
            parts.append(
                pl.DataFrame(
                    {
                        **{name: [each] * pairs for name, each in group._asdict().items()},
                        "kind": [kind] * pairs,
                        "pair": np.arange(pairs, dtype=np.int64),
                        "value": value,
                        "censored": np.zeros(pairs, dtype=bool),
                    }
                )
            )
    return pl.concat(parts)


def write(
    path: Path,
    values: Values,
    flat: Mapping[str, float],
    *,
    distances: Mapping[str, float],
    end: Callable[[int], np.ndarray],
    pairs: int = PAIRS,
) -> RunFolder:
    """A run whose step values, path lengths and curves at the end are as given."""
    rng = np.random.default_rng(1)
    nothing = {name: cliff(np.full(pairs, 50), 30.0) for name in ("l2", "kl")}
    rows = [
        curve_rows("toward", kind, schedule, nothing).with_columns(
            pl.Series("distance", distances.get(kind, 50.0) + rng.normal(0, 2, pairs))
        )
        for kind in KINDS
        for schedule in ("absolute", "relative")
    ]
    at_end = {"l2": np.full((pairs, 101), np.nan), "kl": end(pairs)}
    rows += [curve_rows("at-end", kind, "relative", at_end) for kind in (REAL, RANDOM)]
    folder = write_run(
        path,
        rows,
        kinds=KINDS,
        prompts=["p"] * pairs,
        overrides={
            "experiments": ["toward", "from", "at-end"],
            "kinds": {kind: OTHERS.get(kind, {}) for kind in KINDS},
            "responses": ["l2", "kl"],
            "pairs": pairs,
        },
    )
    folder.write_table("steps.parquet", drawn(values, flat, pairs))
    folder.write_manifest(folder.manifest())
    return folder


def steep(pairs: int) -> np.ndarray:
    return cliff(np.full(pairs, 70), 1.0)


def straight(pairs: int) -> np.ndarray:
    return np.tile(np.linspace(0, 1, 101), (pairs, 1))


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    distances = {BASELINE: 55.0, STRUCTURED: 50.0, SPARSITY: 53.0}
    return write(tmp_path_factory.mktemp("true"), TRUE, FLAT_TRUE, distances=distances, end=steep)


@pytest.fixture(scope="module")
def false(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    distances = {BASELINE: 50.0, STRUCTURED: 55.0, SPARSITY: 53.0}
    return write(tmp_path_factory.mktemp("false"), FALSE, FLAT_FALSE, distances=distances, end=straight)


@pytest.fixture(scope="module")
def when_true(true: RunFolder) -> list[claims.Result]:
    return claims.results(run_data.load(true))


@pytest.fixture(scope="module")
def when_false(false: RunFolder) -> list[claims.Result]:
    return claims.results(run_data.load(false))


EVERY = range(1, 19)


def test_there_are_eighteen() -> None:
    assert len(SENTENCES) == len({each.sentence for each in SENTENCES}) == 18


@pytest.mark.parametrize("number", EVERY)
def test_a_sentence_holds_where_it_is_true(when_true: list[claims.Result], number: int) -> None:
    found = when_true[number - 1]
    assert {part.part.says: part.verdict for part in found.parts} == {
        part.part.says: "holds" for part in found.parts
    }
    assert (found.number, found.verdict) == (number, "holds")


@pytest.mark.parametrize("number", EVERY)
def test_a_sentence_fails_where_it_is_not(when_false: list[claims.Result], number: int) -> None:
    assert when_false[number - 1].verdict == "fails"


def test_summary_counts_sentences(when_true: list[claims.Result], when_false: list[claims.Result]) -> None:
    assert claims.summary(when_true) == (
        "Of the paper's 18 sentences 18 hold, 0 fail, 0 are undecided, 0 are not measured."
    )
    mixed = [when_false[0], *when_true[1:]]
    assert "17 hold, 1 fails," in claims.summary(mixed)


LACKS = {
    1: ({"kind": RANDOM}, "no random"),
    2: ({"kind": BASELINE}, "no synthetic-baseline"),
    3: ({"schedule": "absolute"}, "no MS step of L2, absolute schedule, of experiment 'toward'"),
    4: ({"kind": ANY}, "no synthetic-random"),
    5: ({"schedule": "relative"}, "no MS step of L2, relative schedule, of experiment 'toward'"),
    6: ({"schedule": "relative"}, "no MS step of L2, relative schedule"),
    7: ({"kind": STRUCTURED}, "no synthetic-structured"),
    8: ({"kind": BASELINE}, "no synthetic-baseline"),
    9: ({"kind": SPARSITY}, "no structured-without-cosine"),
    10: ({"statistic": "auc"}, "no AUC step of L2, absolute schedule"),
    11: ({"statistic": "auc"}, "no AUC step of L2, absolute schedule"),
    12: ({"statistic": "nl-value"}, "no NL by value step of L2, absolute schedule"),
    13: ({"response": "kl"}, "no MS step of KL, absolute schedule"),
    14: ({"experiment": "at-end"}, "no KL curves of model-generated in experiment 'at-end'"),
    15: ({"kind": RECONSTRUCTION}, "no sae-reconstruction"),
    16: ({"experiment": "from"}, "no AP step of L2, absolute schedule, of experiment 'from'"),
    17: ({"experiment": "from"}, "no AP step of L2, absolute schedule, of experiment 'from'"),
    18: ({"kind": "a"}, "no synthetic-structured with code: other"),
}


def without(data: RunData, *, kind: str = "", experiment: str = "", **column: str) -> RunData:
    """A run without a kind, an experiment, a schedule, a statistic or a response."""
    column |= {"experiment": experiment} if experiment else {}
    samples = {
        group: values
        for group, values in data.samples.items()
        if all(getattr(group, name) != value for name, value in column.items())
    }
    kinds = tuple(each for each in data.kinds if each != kind)
    experiments = {label: each for label, each in data.experiments.items() if label != experiment}
    return dataclasses.replace(data, samples=samples, kinds=kinds, experiments=experiments)


def look_at_all(sentence: Claim, run: Measures) -> None:
    for part in sentence.parts:
        part.evidence(run)


@pytest.mark.parametrize("number", EVERY)
def test_what_a_sentence_needs_is_named_where_the_run_has_it_not(true: RunFolder, number: int) -> None:
    lacking, reason = LACKS[number]
    run = Measures(without(run_data.load(true), **lacking))
    with pytest.raises(NotMeasuredError, match=reason):
        look_at_all(SENTENCES[number - 1], run)


def test_a_poor_run_says_why_and_still_refutes(run_path: Path) -> None:
    folder = write_hills(
        run_path,
        pairs=150,
        experiments=("toward",),
        schedules=("relative",),
        responses=("l2",),
        kinds=(RANDOM, REAL),
    )
    found = claims.results(run_data.load(folder))
    # All that 5 needs is there. Random is the earlier: that refutes 6, half of which the run cannot have.
    assert {each.number for each in found if each.verdict != "not measured"} == {5, 6}
    assert found[5].verdict == "fails"
    assert [part.verdict for part in found[5].parts] == ["fails", "not measured"]
    assert "no MS step of L2, absolute schedule" in found[5].parts[1].reason
    assert found[1].parts[0].reason.startswith("the run has no")
    assert "synthetic-baseline" in found[2].parts[0].reason
    frame = claims.frame(found).filter(pl.col("verdict") == "not measured")
    assert frame["p"].is_nan().all()
    assert (frame["reason"] != "").all()


def of(data: RunData, group: Group, kind: str) -> np.ndarray:
    (sample,) = data.only(group, [kind])
    return sample.value


def test_quantities_by_hand(true: RunFolder) -> None:
    data = run_data.load(true)
    run, group, kind = Measures(data), MS["relative"], KindOf(RANDOM)
    value, real = of(data, group, RANDOM), of(data, group, REAL)
    assert Mean(group, kind).of(run).draws[0] == pytest.approx(value.mean())
    assert Spread(group, kind).of(run).draws[0] == pytest.approx(value.std(ddof=1))
    inside = ((value >= 30) & (value <= 70)).mean()
    assert Share(group, kind, 30, 70).of(run).draws[0] == pytest.approx(inside)
    assert Share(group, kind, 41, None).of(run).draws[0] == pytest.approx((value > 40).mean())
    assert Share(group, kind, 0, 50).of(run).draws[0] == pytest.approx((value <= 50).mean())
    points = np.arange(100)[:, None]
    plain = np.abs((value <= points).mean(axis=1) - (real <= points).mean(axis=1)).max()
    # What noise makes of none is taken off in squares, and is small beside this.
    assert plain - 0.01 < Distance(group, kind).of(run).draws[0] < plain
    assert not Distance(group, KindOf(REAL)).of(run).draws.any()
    apart = Mean(group, kind) - Mean(group, KindOf(REAL))
    assert apart.of(run).draws[0] == pytest.approx(value.mean() - real.mean())
    assert (0.5 * apart - 1).of(run).draws[0] == pytest.approx(0.5 * (value.mean() - real.mean()) - 1)
    assert Product(apart, apart).of(run).draws[0] == pytest.approx((value.mean() - real.mean()) ** 2)
    means = [of(data, group, each.name).mean() for each in FOUR]
    across = Range(tuple(Mean(group, each) for each in FOUR))
    assert across.of(run).draws[0] == pytest.approx(max(means) - min(means))
    far = run.distance("toward", KindOf(BASELINE))
    assert TargetDistance("toward", KindOf(BASELINE)).of(run).draws[0] == pytest.approx(
        np.median(far), abs=0.05
    )


def test_resamples_spread_as_they_should(true: RunFolder) -> None:
    """Standard errors by the textbook: of a mean, a paired difference, and a spread
    (``sqrt((m4 - sd^4) / (4 sd^2 n))``, of any distribution)."""
    data = run_data.load(true)
    run, group = Measures(data), MS["relative"]
    value, real = of(data, group, RANDOM), of(data, group, REAL)
    root = math.sqrt(PAIRS)
    mean, other = (Mean(group, KindOf(kind)) for kind in (RANDOM, REAL))
    assert mean.of(run).draws[1:].std() == pytest.approx(value.std() / root, rel=0.1)
    assert (mean - other).of(run).draws[1:].std() == pytest.approx((value - real).std() / root, rel=0.1)
    spread = Spread(group, KindOf(REAL)).of(run).draws[1:].std()
    fourth = ((real - real.mean()) ** 4).mean()
    assert spread == pytest.approx(math.sqrt((fourth - real.var() ** 2) / (4 * real.var() * PAIRS)), rel=0.15)


def test_how_step_like_curves_are() -> None:
    n = np.linspace(0, 1, 101)
    curves = np.stack([n >= 0.6, n, n**2, 5 * n, 0 * n, np.full(101, np.nan)])
    # Of a parabola the last tenth gains 1 - 0.9^2.
    assert largest_gain(curves, 10) == pytest.approx([1, 0.1, 0.19, 0.1, math.nan, math.nan], nan_ok=True)
    found = mean_of_pairs(PairBootstrap(6, seed=0, n_resamples=50), largest_gain(curves, 10))
    assert found.draws[0] == pytest.approx((1 + 0.1 + 0.19 + 0.1) / 4)
    assert found.n == 4


def test_a_share_of_all_is_not_certain(true: RunFolder) -> None:
    """Of 12 pairs all may be inside by chance: 0.9^12 = 28 %. By the resamples alone it would be certain."""
    data = run_data.load(true)
    few = dataclasses.replace(
        data,
        samples={
            MS["relative"]: (run_data.Sample(REAL, np.full(12, 50.0), np.zeros(12, dtype=bool)),),
        },
    )
    share = Share(MS["relative"], KindOf(REAL), 30, 70)
    found = Part("inside", (Beyond(share, 0.9),)).evidence(Measures(few))
    # By score: z = 0.1 / sqrt(0.9 * 0.1 / 12) = 1.15.
    (difference,) = found.differences
    assert difference.value == pytest.approx(0.1)
    assert difference.se == pytest.approx(math.sqrt(0.09 / 12), rel=1e-3)
    assert found.p > 0.1


class Given(Quantity):
    """A number whose resamples are known."""

    def __init__(self, draws: np.ndarray):
        self.draws = draws

    def of(self, run: object) -> Measured:
        return Measured(self.draws, 100)

    def unit(self, run: object) -> str:
        return ""

    what = whose = unit


def test_kinds_are_alike_relative_to_the_others_and_not_by_steps() -> None:
    """Structured and baseline 2 steps apart: alike beside kinds 30 apart, not beside kinds 10 apart."""

    def verdict(far: float, gap: float) -> bool:
        rng = np.random.default_rng(0)
        means = {REAL: 20.0, RANDOM: 20.0 + far, STRUCTURED: 20.0, BASELINE: 20.0 + gap}
        draws = {kind: mean + 0.1 * rng.standard_normal(500) for kind, mean in means.items()}
        found = {kind: Given(each) for kind, each in draws.items()}
        effects = alike(found[STRUCTURED], found[BASELINE], among=found.values())
        return Part("", effects).evidence(cast(Measures, None)).p < 0.05

    assert verdict(30.0, 2.0)
    assert not verdict(10.0, 2.0)
    # With the range no larger than noise, nothing is alike, and nothing is told.
    assert not verdict(0.0, 0.0)


def test_renamed_kinds_are_found_by_kind_and_code(true: RunFolder) -> None:
    run = Measures(run_data.load(true))
    assert run.label_of(KindOf(STRUCTURED, "other")) == "a"
    assert run.label_of(KindOf(STRUCTURED)) == STRUCTURED
    alone = Measures(without(run.data, kind=STRUCTURED))
    with pytest.raises(NotMeasuredError, match=f"no {STRUCTURED}$"):
        alone.label_of(KindOf(STRUCTURED))


def test_a_claim_of_ones_own_stands_behind_the_papers(
    true: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "OWN", own := [])
    monkeypatch.setattr(claims, "OWN", own)
    group = MS["absolute"]
    part = Part("later", (Mean(group, KindOf(ANY)) - Mean(group, KindOf(REAL)),))
    made = claim(Claim("synthetic-random is later than model-generated", "mine", (part,)))
    assert claim(made) is made
    found = claims.results(run_data.load(true))
    assert [each.number for each in found] == [*EVERY, None]
    assert found[-1].verdict == "holds"
    assert claims.summary(found).endswith(
        "Of 1 of one's own 1 holds, 0 fail, 0 are undecided, 0 are not measured."
    )
    assert found[-1].parts[0].compared == f"mean MS of L2, absolute: {ANY} less {REAL}"


def test_one_pair_decides_nothing(run_path: Path) -> None:
    folder = write(run_path, TRUE, FLAT_TRUE, distances={}, end=steep, pairs=1)
    assert {each.verdict for each in claims.results(run_data.load(folder))} == {"undecided"}


class Known(Measures):
    """Values as they were drawn, without a run."""

    def __init__(self, frame: pl.DataFrame):
        self.frame = frame

    def survival(self, group: Group, kind: KindOf) -> Survival:
        value = self.frame.filter(pl.col("kind") == kind.name)["value"].to_numpy()
        pairs = PairBootstrap(value.size, seed=0, n_resamples=300)
        return kaplan_meier(pairs, value, np.zeros(value.size, dtype=bool), grid=whole_steps(100))


def test_kinds_that_are_alike_are_seldom_told_apart() -> None:
    """Tables of runs whose kinds are all alike: what is 0 in truth is called neither right nor wrong."""
    # Sentences all of whose numbers are 0 where kinds do not differ.
    null = [SENTENCES[place - 1] for place in (1, 2, 4)]
    false, sims = 0, 30
    for seed in range(sims):
        frame = drawn(
            {MS["absolute"]: shaped(9, real=50, random=50, baseline=50, any=50)}, {}, pairs=80, seed=seed
        )
        run = Known(frame)
        found = judge([[part.evidence(run) for part in each.parts] for each in null])
        false += any(each.verdict != "undecided" for each in found)
    # 5 % of 30 are 1.5; more than 6 come up once in 2,000.
    assert false <= 6


def test_the_command_prints_every_sentence_in_100_columns(true: RunFolder, capfd) -> None:
    assert invoke(["claims", str(true.path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 100
    assert "Of the paper's 18 sentences 18 hold" in text
    assert all(f"{number}. " in text for number in EVERY)
    assert text.count(" holds ") >= sum(1 + len(each.parts) for each in SENTENCES)


def test_the_command_on_what_is_no_run(tmp_path: Path, capfd) -> None:
    assert invoke(["claims", str(tmp_path)]) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_report_has_the_sentences_everywhere(true: RunFolder, when_true: list[claims.Result]) -> None:
    section = claims.Claims(run_data.load(true))
    every = sum(1 + len(each.parts) for each in SENTENCES)
    frame = section.frames()["claims"]
    assert frame.equals(claims.frame(when_true))
    assert frame["number"].unique(maintain_order=True).to_list() == [*EVERY]
    assert sorted(section.documents()) == ["claims.md", "claims.tex"]
    for text in section.documents().values():
        assert "18 hold, 0 fail" in text
        assert text.count("holds") >= every
    said, html, *_ = section.blocks(())
    assert "18 hold" in str(said)
    assert str(html).count('class="holds"') == every
