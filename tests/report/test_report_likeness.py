"""Looking and behaving: a run of which both are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from synthetic_runs import cliff, curve_rows, write_hills, write_run

from plateau_lens import RunFolderError
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.energy import energy_distance
from plateau_lens.report import run_data
from plateau_lens.report.sections.likeness import Likeness
from plateau_lens.report.sections.registry import Drawing, Skipped

OFF = {"model-generated": 0.0, "near": 1.0, "far": 6.0, "again": 0.0, "farther": 9.0}
"""How far each kind's activations and steps are from model-generated ones."""
PAIRS = 80


def a_run(path: Path, kinds: tuple[str, ...]) -> Likeness:
    rng = np.random.default_rng(0)
    activations = {"pair": np.arange(PAIRS)}
    curves = []
    for kind in kinds:
        drawn = (rng.standard_normal((PAIRS, 3)) + OFF[kind]).astype(np.float32)
        activations[f"target.toward.{kind}"] = drawn
        steps = np.clip(np.rint(rng.normal(40 + OFF[kind], 3, PAIRS)), 1, 99)
        curves.append(curve_rows("toward", kind, "relative", {"l2": cliff(steps, 30.0)}))
    overrides = {"experiments": ["toward"], "schedules": ["relative"], "responses": ["l2"], "pairs": PAIRS}
    overrides |= {"prompts": {"population": PAIRS}}
    folder = write_run(path, curves, kinds=kinds, prompts=["a"], overrides=overrides, activations=activations)
    return Likeness(run_data.load(folder))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Likeness:
    return a_run(tmp_path_factory.mktemp("likeness") / "run", tuple(OFF))


def test_nearest_first_and_of_one_order(made: Likeness) -> None:
    assert made.frame["kind"].to_list() == ["again", "near", "far", "farther"]
    assert made.frame["n"].unique().to_list() == [PAIRS]
    assert abs(made.frame["energy"][0]) < 0.2, "another sample of the same"
    (correlation,) = made.correlations
    assert correlation.kinds == 4
    wanted = spearmanr(made.frame["energy"], made.frame["ks_toward"]).statistic
    assert correlation.found.value == pytest.approx(wanted, abs=0.25), "signed distances have no ties at 0"
    assert correlation.found.value > 0.7


def test_the_distance_is_of_the_activations_on_file(made: Likeness) -> None:
    (block,) = made.data.folder.activations()
    real, far = (block[f"target.toward.{kind}"] for kind in ("model-generated", "far"))
    wanted = energy_distance(PairBootstrap(PAIRS, seed=0, n_resamples=0), far, real)[0]
    (row,) = made.frame.filter(kind="far").to_dicts()
    assert row["energy"] == pytest.approx(wanted)
    assert row["energy_low"] < row["energy"] < row["energy_high"]


def test_the_figure_has_a_row_a_kind_and_a_panel_a_distance(made: Likeness) -> None:
    (drawing,) = made.drawings()
    assert isinstance(drawing, Drawing)
    drawing.figure.draw_without_rendering()
    assert [each.get_title(loc="left") for each in drawing.figure.axes] == ["energy distance", "MS, toward"]
    first = drawing.figure.axes[0]
    assert [each.get_text() for each in first.get_yticklabels()] == ["again", "near", "far", "farther"]


def test_few_kinds_have_a_table_and_no_order(run_path: Path) -> None:
    made = a_run(run_path, ("model-generated", "near"))
    assert np.isnan(made.correlations[0].found.value)
    assert [row[0] for row in made.tables()[0].rows] == ["near"]
    (drawing,) = made.drawings()
    assert isinstance(drawing, Skipped)


def test_a_run_without_activations_says_so(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=3, experiments=("from",), responses=("l2",), schedules=("absolute",))
    with pytest.raises(RunFolderError, match="keeps activations of no two kinds"):
        Likeness(run_data.load(folder))
