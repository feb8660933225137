"""What is not as it should be is counted, each thing where it was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from synthetic_runs import cliff, code_rows, curve_rows, write_run

from plateau_lens.report import run_data
from plateau_lens.report.sections.warnings import MEANINGS, Warnings
from plateau_lens.runs.folder import RunFolder

KINDS = ("model-generated", "random")
KEYS = {"experiments": ["toward"], "schedules": ["absolute"], "responses": ["l2"]}


def run_with(
    path: Path, changes: pl.Expr | None = None, *, codes: pl.DataFrame | None = None, **manifest: object
) -> RunFolder:
    """Four pairs of two kinds whose curves all rise at step 10, less what is changed."""
    rows = [curve_rows("toward", kind, "absolute", {"l2": cliff([10] * 4, 30.0)}) for kind in KINDS]
    if changes is not None:
        rows[1] = rows[1].with_columns(changes)
    prompts = ["a", "b", "c", "d"]
    return write_run(path, rows, kinds=KINDS, prompts=prompts, overrides=KEYS, codes=codes, manifest=manifest)


def found(folder: RunFolder) -> dict[tuple[str, str], str]:
    """What is counted, and where, to the number."""
    tables = Warnings(run_data.load(folder)).tables()
    return {row[:2]: row[2] for table in tables for row in table.rows}


def curve(*changes: tuple[int, list[float]]) -> pl.Expr:
    """Whole curves in place of some pairs'."""
    l2 = np.asarray(cliff([10] * 4, 30.0), dtype=np.float64)
    for pair, values in changes:
        l2[pair] = values
    return pl.Series("l2", l2.astype(np.float32).tolist(), dtype=pl.List(pl.Float32))


def test_a_run_without_any_has_no_such_section(run_path: Path) -> None:
    assert found(run_with(run_path)) == {}


def test_curves_that_are_not_finite_and_constant_ones(run_path: Path) -> None:
    steps = 101
    nan, inf = ([0.0] * 50 + [value] * 51 for value in (float("nan"), float("inf")))
    folder = run_with(run_path, curve((0, nan), (1, inf), (2, [0.0] * steps)))
    assert found(folder) == {
        ("curve with a point that is not finite", "toward, random, l2"): "2",
        ("constant curve", "toward, random, l2"): "1",
    }
    # What comes of it, as the table says: no value of the first two; the third is censored for MS and AP, without AUC.
    steps_of = folder.steps().filter(kind="random").sort("pair")
    for statistic in ("ms", "ap", "auc", "nl"):
        values = steps_of.filter(statistic=statistic)
        assert values["value"].is_nan().to_list()[:2] == [True, True], statistic
        assert values["censored"].to_list()[:2] == [False, False], statistic
    assert [steps_of.filter(statistic=each)["censored"][2] for each in ("ms", "ap")] == [True, True]
    assert np.isnan(steps_of.filter(statistic="auc")["value"][2])


def test_base_and_target_that_coincide_are_counted_once(run_path: Path) -> None:
    # Without a direction every point is NaN: that is one thing, not two.
    rows = [curve_rows("toward", kind, "absolute", {"l2": cliff([10] * 4, 30.0)}) for kind in KINDS]
    rows[1] = rows[1].with_columns(
        curve((3, [float("nan")] * 101)), pl.Series("distance", [50.0, 50.0, 50.0, 0.0])
    )
    folder = write_run(run_path, rows, kinds=KINDS, prompts=["a", "b", "c", "d"], overrides=KEYS)
    assert found(folder) == {("base and target coincide", "toward, random"): "1"}


def test_a_base_of_100_times_the_median_norm(run_path: Path) -> None:
    # Seven of eight have 50: a hundred times that is 5000, and just below it is none.
    norms = pl.Series("base_norm", [50.0, 50.0, 4999.0, 5000.0])
    assert found(run_with(run_path, norms)) == {("base of 100 times the median norm", "toward, random"): "1"}


def test_codes_without_an_active_latent_and_prompts_with_too_long_an_activation(run_path: Path) -> None:
    codes = code_rows(KINDS, 4).with_columns(
        pl.when((pl.col("kind") == "model-generated") & (pl.col("pair") < 3))
        .then(0.0)
        .otherwise("active")
        .alias("active")
    )
    assert found(run_with(run_path, codes=codes, population={"outliers": 2})) == {
        ("code without an active latent", "model-generated"): "3",
        ("prompt of 100 times the median norm", "population"): "2",
    }


def test_every_thing_says_what_comes_of_it(run_path: Path) -> None:
    folder = run_with(run_path, curve((0, [0.0] * 101)))
    (table,) = Warnings(run_data.load(folder)).tables()
    assert [row[3] for row in table.rows] == [MEANINGS["constant curve"]]
