from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic_runs import cliff, code_rows, curve_rows, write_hills, write_run

from plateau_lens import RunFolderError
from plateau_lens.report import run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.sections import controls
from plateau_lens.report.sections.registry import Drawing
from plateau_lens.runs.folder import RunFolder

KINDS = ("model-generated", "random", "synthetic-baseline")


def by_hand(kind: str, active: list[float], **others: list[float]) -> pl.DataFrame:
    rows = code_rows([kind], len(active), seed=len(kind)).with_columns(pl.Series("active", active))
    return rows.with_columns(pl.Series(name, values) for name, values in others.items())


def run_of(path: Path, codes: pl.DataFrame, **overrides: object) -> RunFolder:
    kinds = codes["kind"].unique(maintain_order=True).to_list()
    curves = [curve_rows("toward", kind, "absolute", {"l2": cliff([30, 40], 30.0)}) for kind in kinds]
    table = {"experiments": ["toward"], "schedules": ["absolute"], "responses": ["l2"], **overrides}
    return write_run(path, curves, kinds=kinds, prompts=["a", "b"], overrides=table, codes=codes)


def draw(folder: RunFolder) -> Drawing:
    (drawing,) = controls.ControlsSection(run_data.load(folder)).drawings()
    assert isinstance(drawing, Drawing)
    return drawing


@pytest.fixture
def small(run_path: Path) -> RunFolder:
    codes = pl.concat(
        [
            by_hand("model-generated", [10.0, 20.0], top_share=[0.2, 0.4]),
            code_rows(["random"], 2),
            by_hand("synthetic-baseline", [30.0, math.nan], top_share=[0.2, 0.4]),
        ]
    )
    return run_of(run_path, codes)


def test_properties_by_hand(small: RunFolder) -> None:
    found = controls.controls(run_data.load(small))
    assert tuple(found.values) == KINDS
    rows = {(row["kind"], row["property"]): row for row in found.summary.to_dicts()}
    real, baseline = rows["model-generated", "active"], rows["synthetic-baseline", "active"]
    # 10, 20: mean 15, variance (25 + 25) / 1; 30 lies above both.
    assert (real["n"], real["mean"], real["median"], real["ks"]) == (2, 15.0, 15.0, 0.0)
    assert real["sd"] == pytest.approx(math.sqrt(50))
    assert (baseline["n"], baseline["n_defined"], baseline["mean"], baseline["ks"]) == (2, 1, 30.0, 1.0)
    assert math.isnan(baseline["sd"])
    random = rows["random", "active"]
    assert (random["n"], random["n_defined"]) == (2, 0)
    assert all(math.isnan(random[name]) for name in ("mean", "sd", "median", "ks"))
    assert not math.isnan(rows["random", "norm"]["mean"])


def test_written_in_three_forms_with_nan_kept(small: RunFolder) -> None:
    build_report(small, only_tables=True)
    folder = small.path / "tables"
    read = pl.read_csv(folder / "controls.csv")
    made = controls.controls(run_data.load(small)).summary
    assert np.array_equal(read["mean"].to_numpy(), made["mean"].to_numpy(), equal_nan=True)
    text = (folder / "controls.md").read_text()
    assert r"| model-generated | 2 | 15.0 \[10.0, 20.0\] | 0.300 \[0.200, 0.400\] |" in text
    assert "| model-generated | 2 | 7.1 | 0.141 |" in text
    assert "| random | 2 | - | - | - | - |".replace("-", "\N{EN DASH}") in text
    assert "The same for model-generated and synthetic-baseline: top share." in text
    assert (
        "model-generated & 2 & 15.0 [10.0, 20.0] & 0.300 [0.200, 0.400]"
        in (folder / "controls.tex").read_text()
    )


def test_figure_has_a_panel_a_property_and_leaves_out_what_is_undefined(small: RunFolder) -> None:
    drawing = draw(small)
    drawing.figure.draw_without_rendering()
    axes = drawing.figure.axes
    assert [each.get_xlabel() for each in axes] == [each.label for each in controls.PROPERTIES]
    # Random has a norm and a distance, and no code.
    assert [len(each.get_lines()) for each in axes] == [2, 2, 2, 2, 3, 3]
    line = axes[0].get_lines()[0]
    assert np.asarray(line.get_xdata()).tolist() == [10, 10, 20]
    assert np.asarray(line.get_ydata()).tolist() == [0, 0.5, 1]
    assert axes[0].get_xscale() == "log"


def test_an_empty_code_keeps_the_axis_of_counts_linear(run_path: Path) -> None:
    codes = pl.concat([by_hand("model-generated", [0.0, 20.0]), by_hand("mine", [3.0, 4.0])])
    drawing = draw(run_of(run_path, codes))
    drawing.figure.draw_without_rendering()
    assert drawing.figure.axes[0].get_xscale() == "linear"


def test_properties_that_nothing_defines_leave_their_panel_empty(run_path: Path) -> None:
    nothing = [math.nan, math.nan]
    codes = pl.concat(by_hand(kind, [1.0, 1.0], top_cosine=nothing) for kind in ("model-generated", "mine"))
    drawing = draw(run_of(run_path, codes))
    drawing.figure.draw_without_rendering()
    assert len(drawing.figure.axes[2].get_lines()) == 0


@pytest.mark.parametrize(
    ("kinds", "overrides", "reason"),
    [
        (KINDS, {"sae": None}, "no SAE"),
        (("model-generated", "random"), {}, "no kind that is made of a code"),
        (("random",), {}, "no kind that is made of a code"),
    ],
)
def test_runs_with_nothing_to_compare_say_so(
    run_path: Path, kinds: tuple[str, ...], overrides: dict[str, object], reason: str
) -> None:
    report = build_report(run_of(run_path, code_rows(kinds, 2), **overrides))
    skipped = [each for each in report.skipped if "controls" in each]
    assert [each.split(":")[0] for each in skipped] == ["controls"]
    assert all(reason in each for each in skipped)
    assert not list(run_path.glob("*/*controls*"))


def test_folders_of_before_there_were_codes_are_still_reported(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=2, experiments=("toward",), responses=("l2",))
    manifest = folder.manifest()
    manifest["shards"] = {k: v for k, v in manifest["shards"].items() if not k.startswith("codes/")}
    folder.write_manifest(manifest)
    report = build_report(folder)
    assert any("has no codes/" in each for each in report.skipped)
    with pytest.raises(RunFolderError, match="has no codes/"):
        controls.controls(run_data.load(folder))
