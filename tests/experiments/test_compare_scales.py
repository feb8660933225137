"""Runs whose steps are not the same: compared in what is, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished_runs import write_finished
from rich.table import Table

from plateau_lens import RunFolderError
from plateau_lens.cli.compare import compare
from plateau_lens.execution.step_values import measure_again


def row(table: Table, *wanted: str) -> list[str]:
    """The cells of one row, behind its first three."""
    columns = [list(column.cells) for column in table.columns]
    (found,) = (cells for cells in zip(*columns, strict=True) if cells[:3] == wanted)
    return list(map(str, found[3:]))


def test_steps_of_other_length_are_compared_in_units(tmp_path: Path) -> None:
    first, second = (write_finished(tmp_path / str(size), step_size=size) for size in (0.5, 1.0))
    # Cliffs at steps 3, 5, 7, 9, 11 and never. Ends: 20 * 0.5 = 10 units and 20, so 10. Paths end at 7 units.
    # First: 1.5, 2.5, ..., 5.5, and S = 1/6 from there to 10: (17.5 + 10) / 6. Second: 3, 5, 7, the others behind 7:
    # (15 + 30) / 6.
    found = row(compare(first, second), "toward absolute", "l2 ap", "random")
    assert found[:3] == ["4.58", "7.50", "+2.92"]
    assert found[-1] == "units"
    # On the relative schedule a step is a twentieth of the way in both.
    assert row(compare(first, second), "toward relative", "l2 ap", "random")[-1] == "steps"


def test_steps_of_another_number_are_compared_as_shares_of_the_way(tmp_path: Path) -> None:
    first, second = (write_finished(tmp_path / str(steps), n_steps=steps) for steps in (20, 40))
    # (15 + 25 + 35 + 45 + 55 + 100) / 6, and half of each but the last.
    found = row(compare(first, second), "toward relative", "l2 ap", "random")
    assert found[:3] == ["45.83", "31.25", "-14.58"]
    assert found[-1] == "% of the way"
    # The same steps of the same length, from 20 units on a path less.
    found = row(compare(first, second), "toward absolute", "l2 ap", "random")
    assert found[:3] == ["4.58", "4.58", "+0.00"]


def test_alike_runs_are_compared_in_steps(tmp_path: Path) -> None:
    first, second = (write_finished(tmp_path / str(shift), shift=shift) for shift in (0, 1))
    # Five cliffs one later, and one at the end.
    found = row(compare(first, second), "toward relative", "l2 ap", "random")
    assert (found[2], found[-1]) == ("+0.83", "steps")


def test_a_statistic_of_other_parameters_is_not_compared(tmp_path: Path) -> None:
    first, second = (write_finished(tmp_path / name) for name in "ab")
    measure_again(second, {"statistics.ap.threshold": 20.0})
    table = compare(first, second)
    assert not any("ap" in str(cell) for cell in table.columns[1].cells)
    assert "Not compared: ap: threshold 4.0 against 20.0" in str(table.caption)
    # What both were to find out themselves is told.
    assert "Each run's own: ms: min_slope" in str(table.caption)
    for run in (first, second):
        measure_again(run, {f"statistics.{label}": False for label in ("ms", "auc", "nl", "nl-value")})
    with pytest.raises(RunFolderError, match=r"Not compared: ap"):
        compare(first, second)
