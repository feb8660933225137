"""The paper's claims on runs of which it is known whether they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic_runs import cliff, curve_rows, write_hills, write_run

from plateau_lens.cli import invoke
from plateau_lens.report import run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.sections import claims
from plateau_lens.runs.folder import RunFolder

REAL, RANDOM, BASELINE, STRUCTURED = (
    "model-generated",
    "random",
    "synthetic-baseline",
    "synthetic-structured",
)
AS_PUBLISHED = {
    "toward": {REAL: 40, RANDOM: 60, STRUCTURED: 44, BASELINE: 50},
    "from": {REAL: 40, RANDOM: 25, STRUCTURED: 25, BASELINE: 15},
}
REVERSED = {
    "toward": {REAL: 60, RANDOM: 40, STRUCTURED: 72, BASELINE: 64},
    "from": {REAL: 15, RANDOM: 25, STRUCTURED: 40, BASELINE: 60},
}
EARLIER, CLOSER, LONGEST, SHORTEST, ALIKE, AGREES = dict.fromkeys(claim.sentence for claim in claims.CLAIMS)


def write(path: Path, means: Mapping[str, Mapping[str, float]], pairs: int = 200, **overrides) -> RunFolder:
    """Cliffs, whose MS, AP and AUC step are one, around a mean a kind, with what pairs share and their own."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 3, pairs)
    curves = [
        curve_rows(
            experiment,
            kind,
            schedule,
            {
                name: cliff((mean + shared + rng.normal(0, 3, pairs)).round().clip(6, 94), 30.0)
                for name in ("l2", "kl")
            },
        )
        for experiment, kinds in means.items()
        for kind, mean in kinds.items()
        for schedule in ("absolute", "relative")
    ]
    return write_run(
        path,
        curves,
        kinds=tuple(dict.fromkeys(kind for kinds in means.values() for kind in kinds)),
        prompts=["p"] * pairs,
        overrides={"experiments": list(means), "responses": ["l2", "kl"], "pairs": pairs, **overrides},
    )


def judged(folder: RunFolder) -> dict[str, set[str]]:
    frame = claims.claims(run_data.load(folder))
    return {sentence: set(part["verdict"]) for (sentence,), part in frame.group_by("claim")}


def row(folder: RunFolder, sentence: str, **wanted: str) -> dict[str, object]:
    frame = claims.claims(run_data.load(folder)).filter(
        pl.col("claim") == sentence, *(pl.col(name) == value for name, value in wanted.items())
    )
    return frame.row(0, named=True)


@pytest.fixture(scope="module")
def as_published(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write(tmp_path_factory.mktemp("published"), AS_PUBLISHED)


def test_every_claim_holds_where_it_is_true(as_published: RunFolder) -> None:
    assert judged(as_published) == {claim.sentence: {"holds"} for claim in claims.CLAIMS}


def test_every_claim_fails_where_the_opposite_is_true(run_path: Path) -> None:
    found = judged(write(run_path, REVERSED))
    # MS and AUC are one step here whatever the kinds do.
    assert found.pop(AGREES) == {"holds"}
    assert set.union(*found.values()) == {"fails"}


def test_auc_that_tells_another_story_fails_to_agree(run_path: Path) -> None:
    folder = write(run_path, AS_PUBLISHED, pairs=50)
    steps = folder.steps()
    moved = (pl.col("statistic") == "auc") & (pl.col("kind") == RANDOM)
    folder.write_table(
        "steps.parquet", steps.with_columns(pl.when(moved).then(pl.col("value") - 9).otherwise("value"))
    )
    folder.write_manifest(folder.manifest())
    found = row(folder, AGREES, schedule="relative")
    assert (found["verdict"], found["comparison"]) == ("fails", f"{RANDOM} less {REAL}")
    assert found["effect"] == pytest.approx(-9)


def test_effects_by_hand(as_published: RunFolder) -> None:
    values = {
        (e, kind): as_published.steps()
        .filter(
            pl.col("experiment") == e,
            pl.col("kind") == kind,
            pl.col("statistic") == {"toward": "ms", "from": "ap"}[e],
            pl.col("response") == "l2",
            pl.col("schedule") == "absolute",
        )["value"]
        .to_numpy()
        for e, kinds in AS_PUBLISHED.items()
        for kind in kinds
    }
    mean = {key: each.mean() for key, each in values.items()}
    earlier = row(as_published, EARLIER, schedule="absolute", response="l2")
    assert earlier["effect"] == pytest.approx(mean["toward", RANDOM] - mean["toward", REAL])
    off = values["toward", RANDOM] - values["toward", REAL]
    half = (float(str(earlier["high"])) - float(str(earlier["low"]))) / 2
    assert half == pytest.approx(1.97 * off.std() / math.sqrt(200), rel=0.1)
    # Both distances are shifts, which Wasserstein's is the size of.
    closer = row(as_published, CLOSER, schedule="absolute", quantity="wasserstein")
    assert closer["effect"] == pytest.approx(mean["toward", BASELINE] - mean["toward", STRUCTURED], abs=0.05)
    longest = row(as_published, LONGEST)
    rivals = {kind: mean["from", REAL] - mean["from", kind] for kind in (RANDOM, STRUCTURED, BASELINE)}
    assert longest["comparison"] in (f"{REAL} less {RANDOM}", f"{REAL} less {STRUCTURED}")
    assert longest["effect"] in (pytest.approx(rivals[RANDOM]), pytest.approx(rivals[STRUCTURED]))
    assert longest["comparisons"] == 3


def test_few_pairs_leave_a_small_difference_undecided_and_say_how_many_would_do(run_path: Path) -> None:
    close = {"from": {REAL: 40, RANDOM: 38, STRUCTURED: 38, BASELINE: 37}}
    few = row(write(run_path / "few", close, pairs=20), SHORTEST)
    assert few["verdict"] == "undecided"
    needed = float(str(few["n_to_decide"]))
    assert 20 < needed < 3000
    # The true effect is 1 step of spread 3 √2, and three claims are tested: (2.13 + 0.84)² 18 = 159.
    assert row(write(run_path / "more", close, pairs=600), SHORTEST)["verdict"] == "holds"


def test_the_margin_is_the_runs(run_path: Path) -> None:
    apart = {"from": {RANDOM: 25, STRUCTURED: 29}}
    for margin, verdict in ((2.0, "fails"), (8.0, "holds")):
        folder = write(
            run_path / verdict,
            apart,
            statistics={"ap_threshold": 20.0, "min_slope": {"l2": 0.02}, "equivalence_margin": margin},
        )
        assert row(folder, ALIKE)["verdict"] == verdict


def test_what_a_run_lacks_is_named(run_path: Path) -> None:
    folder = write_hills(
        run_path,
        pairs=6,
        experiments=("toward",),
        schedules=("relative",),
        responses=("l2",),
        kinds=(REAL, RANDOM),
    )
    frame = claims.claims(run_data.load(folder))
    reasons = {(r["claim"], r["schedule"], r["response"]): r["reason"] for r in frame.iter_rows(named=True)}
    assert reasons[EARLIER, "relative", "l2"] == ""
    assert "no MS step of L2, absolute schedule" in reasons[EARLIER, "absolute", "l2"]
    assert "no MS step of KL" in reasons[EARLIER, "relative", "kl"]
    assert (
        reasons[CLOSER, "relative", "l2"] == "the run has no synthetic-baseline and no synthetic-structured"
    )
    missing = frame.filter(pl.col("claim") == LONGEST)
    assert missing["verdict"].to_list() == ["not measured"]
    assert missing["p"].is_nan().all()


def test_renamed_kinds_are_found(run_path: Path) -> None:
    folder = write(run_path, {"toward": {"real": 40, "gauss": 50}}, pairs=40)
    text = (run_path / "config.yaml").read_text()
    text = text.replace("real: {}", "real: {kind: model-generated}").replace(
        "gauss: {}", "gauss: {kind: random}"
    )
    folder.write_text("config.yaml", text)
    folder.write_manifest(folder.manifest())
    found = row(folder, EARLIER, response="l2")
    assert (found["verdict"], found["comparison"]) == ("holds", "gauss less real")


def test_one_pair_decides_nothing(run_path: Path) -> None:
    found = judged(write(run_path, AS_PUBLISHED, pairs=1))
    assert set.union(*found.values()) == {"undecided"}


def test_the_command_prints_every_claim_in_100_columns(as_published: RunFolder, capfd) -> None:
    assert invoke(["claims", str(as_published.path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 100
    assert text.count("holds") == len(claims.CLAIMS)
    assert all(claim.sentence in text for claim in claims.CLAIMS)
    assert "synthetic-structured" in text[text.index("Realism of the SAE") :]


def test_the_command_on_what_is_no_run(tmp_path: Path, capfd) -> None:
    assert invoke(["claims", str(tmp_path)]) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_report_has_the_claims_everywhere(as_published: RunFolder) -> None:
    report = build_report(as_published)
    read = pl.read_csv(as_published.path / "tables" / "claims.csv")
    made = claims.claims(run_data.load(as_published))
    assert read["effect"].to_list() == made["effect"].to_list()
    for form in ("md", "tex"):
        text = (as_published.path / "tables" / f"claims.{form}").read_text()
        assert text.count("holds") >= len(claims.CLAIMS)
    assert report.page is not None
    page = report.page.read_text()
    assert page.count('class="holds"') == len(claims.CLAIMS)
