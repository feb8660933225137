"""What each gap goes with: a run whose steps are made of their covariates, and runs that lack these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic_runs import cliff, code_rows, curve_rows, write_hills, write_run

from plateau_lens import RunFolder, RunFolderError
from plateau_lens.report import render, run_data
from plateau_lens.report.sections.explained import ExplainedSection
from plateau_lens.report.sections.registry import Drawing

KINDS = ("model-generated", "shorter", "apart")
PAIRS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ExplainedSection:
    """A step a unit of norm. ``shorter`` has 10 units less of it, ``apart`` 5 steps that nothing accounts for."""
    rng = np.random.default_rng(0)
    codes, curves = [], []
    for place, kind in enumerate(KINDS):
        norm = rng.integers(35, 60, PAIRS) - 10 * (kind == "shorter")
        curves.append(curve_rows("from", kind, "absolute", {"l2": cliff(norm + 5 * (kind == "apart"), 30.0)}))
        read = {
            "read_active": rng.integers(5, 60, PAIRS).astype(float),
            "read_top_share": rng.uniform(0.1, 0.5, PAIRS),
            "read_error": rng.uniform(0.1, 0.9, PAIRS),
        }
        codes.append(
            code_rows([kind], PAIRS, seed=place).with_columns(
                pl.Series("norm", norm.astype(float)), *(pl.Series(name, each) for name, each in read.items())
            )
        )
    folder = write_run(
        tmp_path_factory.mktemp("explained") / "run",
        curves,
        kinds=KINDS,
        prompts=["a"],
        overrides={
            "experiments": ["from"],
            "schedules": ["absolute"],
            "responses": ["l2"],
            "pairs": PAIRS,
            "prompts": {"population": PAIRS},
        },
        codes=pl.concat(codes),
    )
    return ExplainedSection(run_data.load(folder))


def test_gaps_are_made_of_what_the_steps_are_made_of(made: ExplainedSection) -> None:
    frame = made.frames()["explained"]
    value = {(row["kind"], row["part"]): row["steps"] for row in frame.to_dicts()}
    (only,) = made.found
    norm = only.found.slope[0]
    np.testing.assert_allclose(norm, 1, atol=1e-6)
    assert only.found.explained[0] == pytest.approx(1)
    assert value["shorter", "gap"] == pytest.approx(value["shorter", "norm"], abs=1e-6)
    assert value["shorter", "left"] == pytest.approx(0, abs=1e-6)
    assert value["apart", "left"] == pytest.approx(5, abs=1e-6)
    for part in ("active latents", "reconstruction error", "top share"):
        assert value["shorter", part] == pytest.approx(0, abs=1e-6)


def test_what_does_not_vary_has_no_part(made: ExplainedSection) -> None:
    frame = made.frames()["explained"].filter(part="distance")
    assert frame["steps"].is_nan().all()
    (table,) = made.tables()
    assert [row[0] for row in table.rows] == ["shorter", "apart"]
    assert {row[table.columns.index("distance")] for row in table.rows} == {render.UNDEFINED}
    assert any("100 % of the variance" in note for note in made.notes())


def test_the_figure_has_a_bar_a_part_and_the_gap_on_it(made: ExplainedSection) -> None:
    (drawing,) = made.drawings()
    assert isinstance(drawing, Drawing)
    drawing.figure.draw_without_rendering()
    (axes,) = drawing.figure.axes
    assert [each.get_text() for each in axes.get_yticklabels()] == ["shorter", "apart"]
    dots = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"]
    for y, dot in enumerate(dots):
        bars = [bar for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == y]
        assert sum(bar.get_width() for bar in bars) == pytest.approx(dot, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "does not say how the SAE reads its activations"),
        ({"overrides": {"sae": None}}, "has no SAE"),
        ({"kinds": ("random", "late")}, "no model-generated kind"),
    ],
)
def test_what_cannot_be_taken_apart_says_why(changes: dict[str, object], reason: str, run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=4, experiments=("from",), schedules=("absolute",), responses=("l2",), **changes
    )
    with pytest.raises(RunFolderError, match=reason):
        ExplainedSection(run_data.load(RunFolder.open(folder.path)))
