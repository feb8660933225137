from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic_runs import cliff, curve_rows, write_hills, write_run

from plateau_lens.report import definitions, estimates, render, run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.sections import sensitivity
from plateau_lens.report.sections import summary as tables
from plateau_lens.runs.config import load_config
from plateau_lens.runs.folder import RunFolder
from plateau_lens.steps.registry import STATISTICS

DASH = "\N{EN DASH}"
MS_L2 = {"experiment": "toward", "statistic": "ms", "response": "l2", "schedule": "absolute"}


def rows_of(frame: pl.DataFrame, **wanted: object) -> dict[str, dict[str, object]]:
    found = frame.filter(*(pl.col(name) == value for name, value in wanted.items()))
    return {row["kind"]: row for row in found.iter_rows(named=True)}


def test_summary_by_hand(cliffs: RunFolder) -> None:
    rows = rows_of(tables.summary(run_data.load(cliffs)), **MS_L2)
    reference, random = rows["model-generated"], rows["random"]
    # 10 20 30 40: mean 25, variance (225 + 25 + 25 + 225) / 3. A quarter of the pairs is reached halfway between 10
    # and 20, half between 20 and 30.
    assert (reference["n"], reference["n_defined"], reference["mean"]) == (4, 4, pytest.approx(25))
    assert reference["sd"] == pytest.approx(math.sqrt(500 / 3))
    assert (reference["q25"], reference["median"], reference["q75"]) == pytest.approx((15, 25, 35))
    assert (reference["ks"], reference["wasserstein"], reference["censored"]) == (0.0, 0.0, 0.0)
    # 30 40 50 60 is the reference shifted by 20; half of the reference lies below all of it.
    assert random["ks"] == pytest.approx(0.5)
    assert random["wasserstein"] == pytest.approx(20.0)


def test_censored_and_undefined_values_by_hand(cliffs: RunFolder) -> None:
    frame = tables.summary(run_data.load(cliffs))
    late = rows_of(frame, **MS_L2)["late"]
    # Never, and at the last step: both censored at 100. (100 + 100 + 50 + 60) / 4.
    assert (late["n"], late["n_defined"], late["mean"], late["censored"]) == (4, 4, pytest.approx(77.5), 0.5)
    ap = rows_of(frame, experiment="from", statistic="ap")["late"]
    # An AP step that is never reached is a bound of 100; one at step 100 is an event.
    assert (ap["n_defined"], ap["mean"], ap["censored"]) == (4, pytest.approx(77.5), 0.25)


def test_nan_survives_into_every_form(run_path: Path) -> None:
    flat = cliff([0, 0], 30.0)
    folder = write_run(
        run_path,
        [curve_rows("toward", "flat", "absolute", {"l2": flat})],
        kinds=("flat",),
        prompts=["a", "b"],
        overrides={"experiments": ["toward"], "schedules": ["absolute"], "responses": ["l2"]},
    )
    report = build_report(folder, only_tables=True)
    assert report.page is None
    assert report.figures == ()
    frame = pl.read_csv(run_path / "tables" / "summary.csv")
    row = rows_of(frame, **MS_L2)["flat"]
    # No slope at all: both are censored at the end of their paths, and half of them are never reached.
    assert (row["n"], row["n_defined"], row["mean"], row["median"]) == (2, 2, 100, math.inf)
    assert all(math.isnan(float(str(row[name]))) for name in ("ks", "ks_low", "wasserstein"))
    nl = rows_of(frame, **{**MS_L2, "statistic": "nl"})["flat"]
    assert (nl["n"], nl["n_defined"], nl["censored"]) == (2, 0, 1.0)
    assert all(math.isnan(float(str(nl[name]))) for name in ("mean", "mean_low", "sd", "median", "ks"))
    ms, nl = ((run_path / "tables" / f"toward-{name}.md").read_text() for name in ("ms", "nl"))
    assert (
        r"| flat | 2 | 2 | 100.00 \[100.00, 100.00\] | 0.00 | ∞ \[∞, ∞\] | ∞ | ∞ | 100 % \[34.2, 100\] |"
        in ms
    )
    assert "| flat | 2 | 0 | - | - | - | - | - | 100 % ".replace("-", DASH) in nl


def test_documents_name_units_and_censoring(cliffs: RunFolder) -> None:
    data = run_data.load(cliffs)
    files = tables.documents(data, tables.summary(data))
    assert {"toward-ms.md", "toward-ms.tex", "from-ap.md", "from-ap.tex"} <= set(files)
    text = files["toward-ms.md"]
    assert "1 step = 0.5 residual-stream units" in text
    assert "Censored: the event was not seen" in text
    # 15 and 35 are the ends of the middle 95 % of what four pairs drawn from these four have as their mean.
    assert r"| model-generated | 4 | 4 | 25.00 \[15.00, 35.00\] | 12.91 | 25.0 \[" in text
    assert "model-generated & 4 & 4 & 25.00 [15.00, 35.00] & 12.91 & 25.0" in files["toward-ms.tex"]


def test_definitions_tell_the_notebooks_convention_from_the_papers() -> None:
    paper, notebook = (load_config("gpt2-paper", {"convention": name}) for name in ("paper", "notebook"))
    for label, difference in (
        ("ms", "the last of equal rises counts, and 99"),
        ("auc", "(n + 1) · d[n] / 2"),
    ):
        found = [
            STATISTICS.make(config.statistics)[label].sentence(["l2"], config.n_steps)
            for config in (paper, notebook)
        ]
        assert difference in found[1]
        assert "notebooks" not in found[0]
    assert "counted in steps of 0.5 units" in definitions.usable(notebook)
    assert "cut_size" not in definitions.usable(paper)


def test_labels_are_escaped() -> None:
    table = render.Table("a_b", ("kind", "n"), (("<b>$|&\n_", "1"),))
    assert r"| &lt;b&gt;\$\|&amp; \_ | 1 |" in render.markdown("t", [table], [])
    assert r"\textless{}b\textgreater{}\$|\& \_ & 1 \\" in render.latex([table])


def test_summary_has_full_precision(cliffs: RunFolder) -> None:
    build_report(cliffs, only_tables=True)
    read = pl.read_csv(cliffs.path / "tables" / "summary.csv")
    made = tables.summary(run_data.load(cliffs))
    for name in ("mean", "sd", "ks", "wasserstein"):
        assert np.array_equal(read[name].to_numpy(), made[name].to_numpy(), equal_nan=True)


def test_a_renamed_reference_is_found(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=3, kinds=("real", "random"), responses=("l2",), experiments=("from",)
    )
    folder.write_text(
        "config.yaml",
        (run_path / "config.yaml").read_text().replace("real: {}", "real: {kind: model-generated}"),
    )
    folder.write_manifest(folder.manifest())
    data = run_data.load(folder)
    assert data.reference == "real"
    assert rows_of(tables.summary(data), statistic="ap", schedule="absolute")["real"]["ks"] == 0.0


def test_without_a_reference_distances_are_undefined(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=3, kinds=("random", "mine"), responses=("l2",), experiments=("from",)
    )
    frame = tables.summary(run_data.load(folder))
    assert frame["ks"].is_nan().all()
    assert frame["wasserstein"].is_nan().all()
    assert not frame.filter(pl.col("statistic") == "ap")["mean"].is_nan().any()


def test_one_pair_has_a_mean_and_no_spread(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=1, responses=("l2",), experiments=("toward",))
    row = rows_of(tables.summary(run_data.load(folder)), **MS_L2)["random"]
    assert row["n"] == 1
    assert math.isnan(float(str(row["sd"])))
    assert row["ks"] in (0.0, 1.0)
    assert render.spread(41.0, math.nan) == f"41.00 ± {DASH}"


def test_sensitivity_by_hand(run_path: Path) -> None:
    # 10 from step 5 on, 60 from step 50 on; the threshold is 20, the others 5, 7.07, 10, 14.1, 20, .. 56.6, 80.
    stairs = cliff([5], 10.0) + cliff([50], 50.0)
    folder = write_run(
        run_path,
        [curve_rows("from", "model-generated", "absolute", {"l2": stairs})],
        kinds=("model-generated",),
        prompts=["a"],
        overrides={"experiments": ["from"], "schedules": ["absolute"], "responses": ["l2"]},
    )
    frame = sensitivity.ap_sensitivity(run_data.load(folder))
    assert frame["threshold"].to_list() == pytest.approx([20 * 2 ** (half / 2) for half in range(-4, 5)])
    assert frame["median"].to_list() == [5, 5, 5, 50, 50, 50, 50, 50, math.inf]
    assert frame["censored"].to_list() == [0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_sensitivity_at_the_runs_own_threshold_is_the_summary(cliffs: RunFolder) -> None:
    data = run_data.load(cliffs)
    own = rows_of(sensitivity.ap_sensitivity(data), experiment="from", factor=1.0)
    summary = rows_of(tables.summary(data), experiment="from", statistic="ap")
    for kind, row in summary.items():
        assert {name: own[kind][name] for name in estimates.KIND_SCHEMA} == {
            name: row[name] for name in estimates.KIND_SCHEMA
        }


def test_sensitivity_without_curves_is_skipped_with_its_reason(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=2, responses=("l2",), experiments=("from",))
    folder.write_manifest({"format": 1, "shards": {}})
    report = build_report(folder, only_tables=True)
    assert any("ap-sensitivity" in reason and "no curves" in reason for reason in report.skipped)
    assert not (run_path / "tables" / "ap-sensitivity.csv").exists()
