from __future__ import annotations

import re
from pathlib import Path

import drawn_figures as figures
import pytest
from synthetic_runs import write_hills

from plateau_lens import RunFolderError
from plateau_lens.report.build import Report, build_report
from plateau_lens.report.sections.registry import SECTIONS, Section
from plateau_lens.runs.folder import RunFolder

SMALL = {"pairs": 3, "experiments": ("from",), "schedules": ("absolute",), "responses": ("l2",)}


def test_report_writes_everything_it_lists(whole: tuple[RunFolder, Report]) -> None:
    folder, report = whole
    names = {path.relative_to(folder.path).as_posix() for path in (*report.tables, *report.figures)}
    assert {"tables/summary.csv", "tables/ap-sensitivity.csv", "tables/ap-sensitivity.md"} <= names
    wanted = {
        f"tables/{name}.{form}"
        for name in ("claims", "ladder", "controls", "paper-tables")
        for form in ("csv", "md", "tex")
    }
    assert wanted <= names
    drawn = [path.stem for path in report.figures if path.suffix == ".png"]
    assert set(figures.OF_ANY_WHOLE_RUN) <= set(drawn)
    assert [path.stem for path in report.figures if path.suffix == ".pdf"] == drawn
    assert report.page == folder.path / "report.html"
    assert not {reason.split(":")[0] for reason in report.skipped} & set(figures.OF_ANY_WHOLE_RUN)
    for path in (*report.tables, *report.figures):
        assert path.stat().st_size > 100, path
    captions = (folder.path / "figures" / "captions.md").read_text()
    told = r"\*\*(.+?)\*\* \(.+?\)\. (.+? of arXiv 2409\.15019v2, of this run|Not a figure of the paper)\. "
    sized = r".+ Size: (?:6\.9|3\.4) x \d\.\d in, .+"
    found = re.findall(f"^{told}{sized}$", captions, re.MULTILINE)
    assert [name for name, _ in found] == drawn
    whose = dict(found)
    for name, number in (("figure-1", "1"), ("figure-2", "2"), ("figure-c1", "C.1"), ("figure-d1", "D.1")):
        assert whose[name] == f"Figure {number} of arXiv 2409.15019v2, of this run"
    assert whose["figure-1-grid"] == "Not a figure of the paper"


def test_report_leaves_nothing_half_written(whole: tuple[RunFolder, Report]) -> None:
    assert not [path for path in whole[0].path.rglob("*") if path.name.endswith(".tmp")]


def test_report_again_gives_the_same_bytes(run_path: Path) -> None:
    folder = write_hills(run_path, **SMALL)

    def contents() -> dict[Path, bytes]:
        report = build_report(folder)
        assert report.page is not None
        return {path: path.read_bytes() for path in (*report.tables, *report.figures, report.page)}

    assert contents() == contents()


def test_report_takes_away_what_an_earlier_one_wrote_and_nothing_else(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Passing(Section):
        """Of an earlier version, say."""

        def documents(self) -> dict[str, str]:
            return {"old.md": "of an earlier report", "edited.md": "the same"}

    folder = write_hills(run_path, **SMALL)
    with monkeypatch.context() as patched:
        patched.setitem(SECTIONS._known, "passing", Passing)
        build_report(folder)
    (run_path / "tables" / "edited.md").write_text("with a note of the user's")
    own = [run_path / name for name in ("tables/mine.csv", "tables/notes.md", "figures/figure-9.png")]
    for path in own:
        path.write_text("the user's")
    elsewhere = tmp_path / "paper"
    (run_path / "figures").rename(elsewhere)
    (run_path / "figures").symlink_to(elsewhere)
    (elsewhere / "draft.pdf").write_text("the user's")
    build_report(folder)
    assert not (run_path / "tables" / "old.md").exists()
    assert (run_path / "tables" / "edited.md").read_text() == "with a note of the user's"
    assert all(path.read_text() == "the user's" for path in (*own, elsewhere / "draft.pdf"))


def test_unfinished_run_is_refused(run_path: Path) -> None:
    folder = write_hills(run_path, **SMALL)
    (run_path / "steps.parquet").unlink()
    with pytest.raises(
        RunFolderError, match=r"steps\.parquet is gone; lost: the step values; `plateau-lens run "
    ):
        build_report(folder)
