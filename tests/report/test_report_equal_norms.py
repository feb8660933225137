"""Differences at their own and at equal norms: what stays, turns and is undecided, of values set by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import cliff, curve_rows, write_hills, write_run

from plateau_lens import RunFolderError
from plateau_lens.report import run_data
from plateau_lens.report.sections.equal_norms import EqualNorms, Twins

PAIRS = 60
MEANS = {
    "model-generated": 50,
    "real-at-norm": 50,
    "random": 40,
    "random-at-norm": 40,
    "synthetic-baseline": 30,
    "baseline-at-norm": 50,
    "synthetic-structured": 60,
    "structured-at-norm": 45,
}
KINDS = {
    "real-at-norm": {"kind": "model-generated", "norm": "base"},
    "random-at-norm": {"kind": "random", "norm": "base"},
    "baseline-at-norm": {"kind": "synthetic-baseline", "norm": "base"},
    "structured-at-norm": {"kind": "synthetic-structured", "norm": "other"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> EqualNorms:
    rng = np.random.default_rng(0)
    curves = [
        curve_rows("from", kind, "relative", {"l2": cliff(mean + rng.integers(-3, 4, PAIRS), 30.0)})
        for kind, mean in MEANS.items()
    ]
    folder = write_run(
        tmp_path_factory.mktemp("norms") / "run",
        curves,
        kinds=list(MEANS),
        prompts=["a"],
        overrides={
            "experiments": ["from"],
            "schedules": ["relative"],
            "responses": ["l2"],
            "statistics": {
                "ap": {"threshold": 20.0},
                **dict.fromkeys(("ms", "auc", "nl", "nl-value"), False),
            },
            "kinds": {kind: KINDS.get(kind, {}) for kind in MEANS},
        },
    )
    return EqualNorms(run_data.load(folder))


def test_twins_differ_in_nothing_but_the_norm(made: EqualNorms) -> None:
    assert made.twins == [
        Twins("model-generated", "real-at-norm"),
        Twins("random", "random-at-norm"),
        Twins("synthetic-baseline", "baseline-at-norm"),
        Twins("synthetic-structured", "structured-at-norm"),
    ]


@pytest.mark.parametrize(
    ("kind", "other", "verdict"),
    [
        ("model-generated", "random", "stays"),  # 10 and 10
        ("model-generated", "synthetic-baseline", "undecided"),  # 20 and 0
        ("model-generated", "synthetic-structured", "turns"),  # -10 and 5
    ],
)
def test_what_is_left_by_hand(made: EqualNorms, kind: str, other: str, verdict: str) -> None:
    (row,) = made.frame.filter(kind=kind, other=other).to_dicts()
    at_norm = dict(made.twins)
    assert row["verdict"] == verdict
    assert row["own"] == pytest.approx(MEANS[kind] - MEANS[other], abs=1.5)
    assert row["equal"] == pytest.approx(MEANS[at_norm[kind]] - MEANS[at_norm[other]], abs=1.5)
    assert row["change"] == pytest.approx(row["equal"] - row["own"])
    assert row["change_low"] < row["change"] < row["change_high"]
    assert row["own_p"] <= row["own_p_holm"]


def test_one_family_of_tests_a_table(made: EqualNorms) -> None:
    (table,) = made.tables()
    assert len(table.rows) == made.frame.height == 6
    smallest = min(made.frame["own_p"].min(), made.frame["equal_p"].min())
    # Six contrasts, each at two norms: Holm multiplies the smallest p by 12.
    assert min(made.frame["own_p_holm"].min(), made.frame["equal_p_holm"].min()) == pytest.approx(
        12 * smallest
    )


def test_a_run_without_twins_says_so(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=3, experiments=("from",), responses=("l2",), schedules=("absolute",))
    with pytest.raises(
        RunFolderError, match="no two kinds that are there at their own norm and at a real one"
    ):
        EqualNorms(run_data.load(folder))
