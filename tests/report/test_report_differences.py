from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from synthetic_runs import cliff, curve_rows, write_hills, write_run

from plateau_lens.numerics.comparisons import compare_distances, holm
from plateau_lens.report import estimates, run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.run_data import Group
from plateau_lens.report.sections import differences
from plateau_lens.report.sections import summary as tables
from plateau_lens.runs.config import ReportConfig
from plateau_lens.runs.folder import RunFolder

AP_RELATIVE = Group("from", "ap", "l2", "relative")
MS_ABSOLUTE = Group("toward", "ms", "l2", "absolute")


@pytest.fixture(scope="module")
def hills(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_hills(tmp_path_factory.mktemp("hills"), pairs=60, experiments=("from",), responses=("l2",))


def of(frame: pl.DataFrame, group: Group, **wanted: object) -> pl.DataFrame:
    return frame.filter(*(pl.col(name) == value for name, value in {**group._asdict(), **wanted}.items()))


def test_every_kind_is_compared_with_the_reference_and_with_every_other(hills: RunFolder) -> None:
    data = run_data.load(hills)
    frame = of(differences.differences(data), AP_RELATIVE)
    # 5 kinds: 10 pairs of means; 4 kinds have a distance to the fifth, 6 pairs, in two distances.
    assert frame["quantity"].value_counts().sort("quantity").rows() == [
        ("ks", 6),
        ("mean", 10),
        ("wasserstein", 6),
    ]
    first = frame.filter(pl.col("quantity") == "mean")[:4]
    assert first["other"].to_list() == ["model-generated"] * 4


def test_means_are_paired_t_tests_and_distances_are_compared_beyond_noise(hills: RunFolder) -> None:
    data = run_data.load(hills)
    frame, summary = differences.differences(data), of(tables.summary(data), AP_RELATIVE)
    found = estimates.group_survivals(data, AP_RELATIVE)
    values = {sample.kind: sample.value for sample in data.samples[AP_RELATIVE]}
    numbers = {row["kind"]: row for row in summary.iter_rows(named=True)}
    for row in of(frame, AP_RELATIVE).iter_rows(named=True):
        one, two = row["kind"], row["other"]
        if row["quantity"] != "mean":
            # The code that the simulations of docs/validity.md run.
            distance = estimates.DISTANCES[row["quantity"]]
            wanted = compare_distances(found[one], found[two], found["model-generated"], distance)
            assert (row["difference"], row["low"]) == pytest.approx((wanted.value, wanted.low))
        else:
            assert row["difference"] == pytest.approx(numbers[one]["mean"] - numbers[two]["mean"])
            theirs = stats.ttest_rel(values[one], values[two])
            assert math.log(row["p"]) == pytest.approx(math.log(theirs.pvalue), rel=0.25, abs=0.2)


def test_p_values_are_adjusted_over_a_table(hills: RunFolder) -> None:
    frame = differences.differences(run_data.load(hills))
    for rows in frame.partition_by(Group._fields):
        assert rows["p_holm"].to_list() == pytest.approx(holm(rows["p"].to_list()))
    assert (of(frame, AP_RELATIVE)["p_holm"] > of(frame, AP_RELATIVE)["p"]).any()


def test_the_margin_is_the_configurations(hills: RunFolder, tmp_path: Path) -> None:
    data = run_data.load(hills)
    row = of(differences.differences(data), AP_RELATIVE, quantity="mean").row(0, named=True)
    wide = ReportConfig(equivalence_margin=50.0, equivalence_share=None)
    other = dataclasses.replace(data, config=data.config.model_copy(update={"report": wide}))
    changed = of(differences.differences(other), AP_RELATIVE, quantity="mean").row(0, named=True)
    assert (changed["margin"], changed["verdict"]) == (50.0, "equivalent")
    (reference,) = [sample for sample in data.samples[AP_RELATIVE] if sample.kind == data.reference]
    assert row["margin"] == pytest.approx(min(2.0, 0.05 * reference.value.mean()))
    assert (row["low"], row["p"]) == (changed["low"], changed["p"])
    assert of(differences.differences(data), AP_RELATIVE, quantity="ks")["verdict"].unique().to_list() == [""]


def test_written_as_csv_markdown_and_latex_and_the_same_again(hills: RunFolder) -> None:
    names = ("differences.csv", "differences.md", "differences.tex", "summary.csv", "ap-sensitivity.csv")

    def bytes_of_tables() -> list[bytes]:
        estimates.pair_bootstrap.cache_clear()
        build_report(hills, only_tables=True)
        return [(hills.path / "tables" / name).read_bytes() for name in names]

    once = bytes_of_tables()
    assert once == bytes_of_tables()
    text = once[1].decode()
    assert "Margin of equivalence: " in text
    assert "| random | model-generated | mean | " in text
    assert "random & model-generated & mean & " in once[2].decode()


def test_a_run_of_one_kind_has_no_differences(run_path: Path) -> None:
    folder = write_hills(
        run_path,
        pairs=3,
        kinds=("random",),
        responses=("l2",),
        experiments=("from",),
        overrides={"examples": {}},
    )
    build_report(folder)
    assert not (run_path / "tables" / "differences.csv").exists()
    assert 'id="differences"' not in (run_path / "report.html").read_text()


def test_a_curve_without_a_slope_is_censored_where_its_path_ends(run_path: Path) -> None:
    never = cliff([0, 0, 30, 40], 30.0)
    folder = write_run(
        run_path,
        [
            curve_rows(
                "toward", "model-generated", "absolute", {"l2": never}, last=np.array([60, 100, 100, 100])
            )
        ],
        kinds=("model-generated",),
        prompts=["a", "b", "c", "d"],
        overrides={"experiments": ["toward"], "schedules": ["absolute"], "responses": ["l2"]},
    )
    (sample,) = run_data.load(folder).samples[MS_ABSOLUTE]
    assert sample.value.tolist() == [60, 100, 30, 40]
    assert sample.censored.tolist() == [True, True, False, False]
    # The bound is in the value: nothing else is asked.
    shutil.rmtree(folder.path / "curves")
    (sample,) = run_data.load(folder).samples[MS_ABSOLUTE]
    assert sample.value.tolist() == [60, 100, 30, 40]
