"""Effects at a glance: every kind against model-generated, by hand."""

import numpy as np
import pytest
from synthetic_runs import cliff, curve_rows, write_run

from plateau_lens.report import run_data
from plateau_lens.report.margin import margin_of
from plateau_lens.report.sections.effects import Effects, farthest
from plateau_lens.runs.config import ReportConfig

KINDS = {
    "model-generated": [20, 30, 40, 50],
    "random": [40, 50, 60, 70],
    "synthetic-structured": [20, 31, 39, 50],
}


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> Effects:
    """MS steps of mean 35, 55 and 35."""
    curves = [curve_rows("toward", kind, "relative", {"l2": cliff(at, 30.0)}) for kind, at in KINDS.items()]
    overrides = {"schedules": ["relative"], "responses": ["l2"], "experiments": ["toward"]}
    folder = write_run(
        tmp_path_factory.mktemp("effects"),
        curves,
        kinds=tuple(KINDS),
        prompts=list("abcd"),
        overrides=overrides,
    )
    return Effects(run_data.load(folder))


def test_effects_are_shares_of_the_references_mean(effects: Effects) -> None:
    found = {(row.kind, row.other): row for row in effects.rows}
    assert set(found) == {
        ("random", "model-generated"),
        ("synthetic-structured", "model-generated"),
        ("random", "synthetic-structured"),
    }
    random = found["random", "model-generated"]
    assert random.found.value == pytest.approx(20 / 35)
    # Every pair is later by 20 steps, so nothing but the mean that they are a share of varies.
    assert random.verdict == "different"
    same = found["synthetic-structured", "model-generated"]
    assert same.found.value == pytest.approx(0)
    assert same.verdict == "equivalent"
    # 5 % of 35 steps is 1.75, less than 2 steps.
    assert same.margin == pytest.approx(0.05)


def test_what_the_paper_has_stands_beside_it(effects: Effects) -> None:
    random = next(row for row in effects.rows if (row.kind, row.other) == ("random", "model-generated"))
    assert random.published == pytest.approx(64.89 / 51.65 - 1)
    said = farthest(effects.data, effects.rows)
    # Random's four pairs leave a wide interval, which holds 25.6 %; structured's is narrow and ends before 7.8 %.
    assert "synthetic-structured less model-generated, is +0.0" in said
    assert "the paper's is +7.8 %" in said


def test_all_is_drawn_and_told(effects: Effects) -> None:
    (drawing,) = effects.drawings()
    (axes,) = drawing.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "random",
        "synthetic-structured",
        "random less synthetic-structured",
    ]
    assert effects.tables()[0].rows[0][:2] == ("random", "model-generated")
    assert effects.frames()["effects"].height == 3


def test_a_margin_is_the_smaller_of_two() -> None:
    assert margin_of(ReportConfig(), 50.0) == 2.0
    assert margin_of(ReportConfig(), 15.0) == pytest.approx(0.75)
    assert margin_of(ReportConfig(), np.nan) == 2.0
    assert margin_of(ReportConfig(equivalence_share=None), 15.0) == 2.0
