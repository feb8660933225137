"""KL of pushes at the end beside those at the run's site: numbers by hand, and what a run lacks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from synthetic_runs import cliff, curve_rows, write_hills, write_run

from plateau_lens import RunFolderError
from plateau_lens.report import run_data
from plateau_lens.report.estimates import of
from plateau_lens.report.sections.kl_null import KLNull
from plateau_lens.runs.folder import RunFolder

REAL = "model-generated"
END, SITE = [10, 20, 30, 40], [12, 20, 36, 90]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """MS steps by hand; L2 grows in a straight line."""
    line = np.tile(np.linspace(0, 30, 101), (4, 1))
    rows = [
        curve_rows("toward", REAL, "relative", {"l2": line, "kl": cliff(SITE, 5.0)}),
        curve_rows("at-end", REAL, "relative", {"l2": None, "kl": cliff(END, 2.0)}),
        curve_rows("toward", "random", "relative", {"l2": line, "kl": cliff(SITE, 5.0)}),
    ]
    overrides = {
        "experiments": {"toward": {}, "at-end": {"kinds": [REAL]}},
        "schedules": ["relative"],
        "responses": ["l2", "kl"],
    }
    return write_run(
        tmp_path_factory.mktemp("null"),
        rows,
        kinds=(REAL, "random"),
        prompts=["a"] * 4,
        overrides=overrides,
    )


@pytest.fixture
def made(folder: RunFolder) -> KLNull:
    return KLNull(run_data.load(folder))


def test_numbers_by_hand(made: KLNull) -> None:
    (row,) = made.frame.iter_rows(named=True)  # random was not pushed at the end
    assert (row["kind"], row["n"]) == (REAL, 4)
    assert (row["mean_end"], row["mean_site"]) == (25.0, 39.5)
    assert (row["median_end"], row["median_site"]) == (25.0, 28.0)
    # Differences of 2, 0, 6 and 50 steps.
    assert (row["within_5"], row["within_10"]) == (0.5, 0.75)
    # Both put the pairs in one order. After step 10, a quarter against nothing; after 40, all against three quarters.
    assert row["spearman"] == pytest.approx(1)
    assert row["ks"] == pytest.approx(0.25)
    # A cliff gains everything at once; a straight line a tenth on a tenth of the path.
    assert (row["gain_kl_end"], row["gain_kl_site"]) == (1.0, 1.0)
    assert row["gain_l2_site"] == pytest.approx(0.1, rel=1e-5)
    for name in ("mean_end", "spearman", "ks", "within_5", "gain_l2_site"):
        value, low, high = of(row, name)
        assert low <= value <= high


def test_tables_show_them(made: KLNull) -> None:
    steps, gains = made.tables()
    assert len(steps.rows[0]) == len(steps.columns)
    assert steps.rows[0][2].startswith("25.0 [")
    assert "50 %" in steps.rows[0][8]
    assert gains.rows == ((REAL, "1.00 [1.00, 1.00]", "1.00 [1.00, 1.00]", "0.10 [0.10, 0.10]"),)
    # Of n squared on the last tenth: 1 - 0.9 ** 2.
    assert gains.unit == "Median over pairs. A straight line has 0.10, a parabola 0.19, a single step 1."
    text = " ".join(made.notes())
    assert "blocks.1.hook_resid_pre" in text
    assert "10 consecutive steps" in text


def test_the_figure_has_the_mean_curves_and_every_pair(made: KLNull) -> None:
    (drawing,) = made.drawings()
    left, right = drawing.figure.axes
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in left.get_lines()}
    # A quarter of the pairs has risen by each of the four steps.
    at_end = lines[f"{REAL}, at the end"]
    assert [at_end[n] for n in (9, 10, 19, 20, 39, 40, 100)] == [0, 0.25, 0.25, 0.5, 0.75, 1, 1]
    at_site = lines[f"{REAL}, at blocks.1.hook_resid_pre"]
    assert [at_site[n] for n in (11, 12, 89, 90)] == [0, 0.25, 0.75, 1]
    (dots,) = [line for line in right.get_lines() if line.get_linestyle() == "None"]
    assert np.asarray(dots.get_xdata()).tolist() == SITE
    assert np.asarray(dots.get_ydata()).tolist() == END
    assert not right.findobj(LineCollection)
    assert "within the shaded band they differ by 10 steps or fewer" in drawing.caption


def test_unseen_steps_are_at_their_bound_and_undefined_ones_left_out(tmp_path: Path) -> None:
    broken = cliff([30], 2.0)
    broken[0, 50] = np.nan
    never = cliff([0], 2.0)
    at_end = np.concatenate([never, broken, cliff([40], 2.0)])
    rows = [
        curve_rows("toward", REAL, "relative", {"kl": cliff([100, 30, 45], 5.0)}),
        curve_rows("at-end", REAL, "relative", {"kl": at_end}),
    ]
    overrides = {
        "experiments": ["toward", "at-end"],
        "schedules": ["relative"],
        "responses": ["kl"],
        "statistics": ["ms"],
    }
    folder = write_run(tmp_path / "run", rows, kinds=(REAL,), prompts=["a"] * 3, overrides=overrides)
    section = KLNull(run_data.load(folder))
    (row,) = section.frame.iter_rows(named=True)
    assert row["n"] == 2
    assert row["mean_end"] == 70  # 100, where looking stopped, and 40
    assert row["within_5"] == 1
    assert row["unseen_end"] == pytest.approx(1 / 3)
    assert row["unseen_site"] == pytest.approx(1 / 3)
    assert math.isnan(row["gain_l2_site"]), "the run has no L2"
    assert section.tables()[1].rows[0][3] == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"experiments": ("toward", "from")}, "the run has no experiment 'at-end'"),
        ({"experiments": ("at-end",), "responses": ("kl",)}, "the run has no experiment 'toward'"),
        (
            {"schedules": ("absolute",)},
            "the run has no MS step of KL, relative schedule, of experiment 'toward'",
        ),
    ],
)
def test_left_out_with_its_reason(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    settings = {"pairs": 3, "experiments": ("toward", "at-end"), "responses": ("l2", "kl"), **changes}
    overrides = {"statistics": ["ms"]}
    folder = write_hills(tmp_path / "run", overrides=overrides, **settings)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RunFolderError, match=reason):
        KLNull(run_data.load(folder))
