"""AUC beside MS, pair by pair, in a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic_runs import write_hills

from plateau_lens import RunFolderError
from plateau_lens.report import run_data
from plateau_lens.report.run_data import Group
from plateau_lens.report.sections import agreement
from plateau_lens.report.sections.registry import Drawing


def test_rows_are_those_of_the_values_and_the_figure_has_a_panel_a_kind(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=40, experiments=("toward",), responses=("l2",))
    data = run_data.load(folder)
    made = agreement.AgreementSection(data)
    (table, _) = made.tables()
    assert [row[0] for row in table.rows] == list(data.kinds)
    row = made.frame.filter(kind="random", schedule="absolute").row(0, named=True)
    auc, ms = (
        {sample.kind: sample for sample in data.samples[Group("toward", name, "l2", "absolute")]}["random"]
        for name in ("auc", "ms")
    )
    both = ~auc.censored & ~ms.censored
    gap = (auc.value - ms.value)[both]
    assert row["n_both"] == both.sum()
    assert row["difference"] == pytest.approx(gap.mean())
    assert row["within"] == pytest.approx((np.abs(gap) <= 2).mean())
    assert row["correlation"] == pytest.approx(np.corrcoef(auc.value[both], ms.value[both])[0, 1], abs=1e-6)
    (drawing,) = made.drawings()
    assert isinstance(drawing, Drawing)
    drawing.figure.draw_without_rendering()
    assert len([axes for axes in drawing.figure.axes if axes.get_title()]) == len(data.kinds)
    assert made.frame.select(pl.col("p").is_between(0, 1).all()).item()


def test_a_run_without_auc_says_so(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=4, experiments=("from",), responses=("l2",))
    with pytest.raises(RunFolderError, match="AUC step of L2"):
        agreement.AgreementSection(run_data.load(folder))
