"""What a report holds of a run's curves and step values at a time: a kind, not a run."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_runs import write_hills

from plateau_lens import RunFolder
from plateau_lens.report import run_data
from plateau_lens.report.build import build_report
from plateau_lens.report.figures import controls as figure

SMALL: dict[str, Any] = {
    "kinds": ("model-generated", "random", "synthetic-structured"),
    "responses": ("l2",),
    "schedules": ("relative",),
}


def test_a_report_reads_no_table_of_all_curves_or_steps(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_hills(run_path, pairs=6, **SMALL)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("read whole")

    for name in ("curves", "scan_curves", "steps"):
        monkeypatch.setattr(RunFolder, name, refuse)
    assert build_report(folder).page is not None


def test_no_more_than_two_kinds_of_curves_are_held(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_hills(run_path, pairs=6, experiments=("toward", "from"), **SMALL)
    arrays: list[weakref.ref[np.ndarray]] = []
    held: list[int] = []
    real = run_data.RunData._curves_of

    def count(self: run_data.RunData, *where: Any) -> run_data.KindCurves:
        found = real(self, *where)
        arrays.append(weakref.ref(found.response))
        held.append(sum(array() is not None for array in arrays))
        return found

    monkeypatch.setattr(run_data.RunData, "_curves_of", count)
    build_report(folder)
    assert len(held) > 2 * len(run_data.load(folder).kinds)
    assert max(held) <= 2, "the one that is read, and the one before it, which the loop still holds"


def test_a_group_is_read_when_it_is_asked_for(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=6)
    samples = run_data.load(folder).samples
    group = next(iter(samples))
    steps = folder.steps()
    (folder.path / "steps.parquet").unlink()
    assert group in samples
    with pytest.raises(FileNotFoundError):
        samples[group]
    folder.write_table("steps.parquet", steps)
    assert all(len(sample.value) == 6 for sample in samples[group])


def test_values_are_in_the_order_of_the_pairs_whatever_the_tables(run_path: Path) -> None:
    folder = write_hills(run_path, pairs=9)
    before = {group: kinds for group, kinds in run_data.load(folder).samples.items()}
    folder.write_table("steps.parquet", folder.steps().sample(fraction=1, shuffle=True, seed=1))
    folder.write_manifest(folder.manifest())
    for group, kinds in run_data.load(folder).samples.items():
        for one, other in zip(before[group], kinds, strict=True):
            assert one.kind == other.kind
            np.testing.assert_array_equal(one.value, other.value)
            np.testing.assert_array_equal(one.censored, other.censored)


def test_a_line_of_many_pairs_has_no_more_points_than_can_be_seen() -> None:
    from matplotlib.figure import Figure

    from plateau_lens.report.figures.style import kind_styles

    axes = Figure().subplots()
    values = np.random.default_rng(0).normal(size=50_000)
    figure._draw_line(axes, values, kind_styles(("random",))["random"])
    (line,) = axes.get_lines()
    x, share = line.get_data()
    assert len(x) <= figure._MOST_POINTS + 1
    assert (x[0], x[-1], share[-1]) == (values.min(), values.max(), 1)
    for at in (0.1, 0.5, 0.9):
        assert x[np.searchsorted(share, at)] == pytest.approx(np.quantile(values, at), abs=0.01)
