from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import write_hills

from plateau_lens import RunFolderError
from plateau_lens.report.build import Report, build_report
from plateau_lens.report.sections import drawings as figures
from plateau_lens.runs.folder import RunFolder

SMALL = {"pairs": 3, "experiments": ("from",), "schedules": ("absolute",), "responses": ("l2",)}


def test_report_writes_everything_it_lists(whole: tuple[RunFolder, Report]) -> None:
    folder, report = whole
    names = {path.relative_to(folder.path).as_posix() for path in (*report.tables, *report.figures)}
    assert {"tables/summary.csv", "tables/ap-sensitivity.csv", "tables/ap-sensitivity.md"} <= names
    wanted = {
        f"tables/{name}.{form}" for name in ("claims", "ladder", "controls") for form in ("csv", "md", "tex")
    }
    assert wanted <= names
    assert {f"figures/{name}.{form}" for name in figures.NAMES for form in ("png", "pdf")} <= names
    assert report.page == folder.path / "report.html"
    assert report.skipped == ()
    for path in (*report.tables, *report.figures):
        assert path.stat().st_size > 100, path
    captions = (folder.path / "figures" / "captions.md").read_text()
    assert all(f"**{name}**" in captions for name in figures.NAMES)
    assert captions.count("Size: 6.9 x ") == len(figures.NAMES) - 1
    assert captions.count("Size: 3.4 x ") == 1


def test_report_leaves_nothing_half_written(whole: tuple[RunFolder, Report]) -> None:
    assert not [path for path in whole[0].path.rglob("*") if path.name.endswith(".tmp")]


def test_report_again_gives_the_same_bytes(run_path: Path) -> None:
    folder = write_hills(run_path, **SMALL)

    def contents() -> dict[Path, bytes]:
        report = build_report(folder)
        assert report.page is not None
        return {path: path.read_bytes() for path in (*report.tables, *report.figures, report.page)}

    assert contents() == contents()


def test_report_takes_away_what_it_no_longer_makes(run_path: Path) -> None:
    folder = write_hills(run_path, **SMALL)
    for name in ("tables/old.csv", "figures/figure-9.png", "figures/own-notes.txt"):
        folder.write_text(name, "of an earlier report")
    build_report(folder)
    assert not (run_path / "tables" / "old.csv").exists()
    assert not (run_path / "figures" / "figure-9.png").exists()
    assert (run_path / "figures" / "own-notes.txt").exists()


def test_unfinished_run_is_refused(run_path: Path) -> None:
    folder = write_hills(run_path, **SMALL)
    (run_path / "steps.parquet").unlink()
    with pytest.raises(RunFolderError, match=r"has no steps\.parquet yet; run it to the end first"):
        build_report(folder)
