"""Everything a report is made of, written into the run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from plateau_lens._errors import RunFolderError
from plateau_lens.report import page, run_data
from plateau_lens.report.figures import style
from plateau_lens.report.numbers import Numbers
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections import claims, controls, differences, ladder, published, sensitivity
from plateau_lens.report.sections import drawings as figures
from plateau_lens.report.sections import summary as tables
from plateau_lens.report.sections.controls import Controls
from plateau_lens.report.sections.drawings import Drawing, Skipped
from plateau_lens.runs.folder import RunFolder, whole_file


@dataclass(frozen=True)
class Report:
    """What a report wrote."""

    tables: tuple[Path, ...]
    """``tables/*.csv``, ``*.md`` and ``*.tex``."""
    figures: tuple[Path, ...]
    """``figures/*.png`` and ``*.pdf``, with ``figures/captions.md``."""
    page: Path | None
    """``report.html``; none if only tables were asked for."""
    skipped: tuple[str, ...]
    """``name: reason`` of every table and figure that this run cannot have."""


def build_report(folder: RunFolder, *, only_tables: bool = False) -> Report:
    """Write tables, figures and page of a finished run; needs nothing but its folder.

    Every file is written whole or not at all, and the same run gives the same bytes.

    Args:
        folder: the run.
        only_tables: leave figures and page as they are.

    Raises:
        RunFolderError: if the run has not come to its step values yet.
    """
    data = run_data.load(folder)
    skipped: list[Skipped] = []
    numbers = compute(data, skipped)
    written = _write_tables(data, numbers)
    if only_tables:
        return Report(tuple(written), (), None, _reasons(skipped))
    drawn: list[Drawing] = []
    for each in figures.drawings(data, numbers):
        if isinstance(each, Drawing):
            drawn.append(each)
        else:
            skipped.append(each)
    paths = _write_figures(folder, drawn)
    reasons = _reasons(skipped)
    html = page.render(data, numbers, drawn, reasons)
    return Report(tuple(written), tuple(paths), folder.write_text("report.html", html), reasons)


def compute(data: RunData, skipped: list[Skipped]) -> Numbers:
    """Everything a report shows; what cannot be had is added to ``skipped``."""
    return Numbers(
        summary=tables.summary(data),
        differences=differences.differences(data),
        claims=claims.claims(data),
        ladder=ladder.ladder(data),
        sensitivity=_sensitivity(data, skipped),
        controls=_controls(data, skipped),
    )


def _sensitivity(data: RunData, skipped: list[Skipped]) -> pl.DataFrame:
    """AP steps at other thresholds; empty, and noted, where it cannot be had."""
    try:
        return sensitivity.ap_sensitivity(data)
    except RunFolderError as error:
        skipped.append(Skipped("ap-sensitivity", str(error)))
        return sensitivity.empty()


def _controls(data: RunData, skipped: list[Skipped]) -> Controls | None:
    """What the synthetic kinds control; none, and noted, where nothing can be compared."""
    try:
        return controls.controls(data)
    except RunFolderError as error:
        skipped.append(Skipped("controls", str(error)))
        return None


def _write_tables(data: RunData, numbers: Numbers) -> list[Path]:
    folder = data.folder
    frames = {"summary": numbers.summary, "claims": numbers.claims}
    texts = tables.documents(data, numbers.summary) | claims.documents(data, numbers.claims)
    if not numbers.differences.is_empty():
        frames["differences"] = numbers.differences
        texts |= differences.documents(data, numbers.differences, tables.key_groups(data))
    if not numbers.ladder.is_empty():
        frames["ladder"] = numbers.ladder
        texts |= ladder.documents(data, numbers.ladder)
    if not numbers.sensitivity.is_empty():
        frames["ap-sensitivity"] = numbers.sensitivity
        texts["ap-sensitivity.md"] = sensitivity.document(data, numbers.sensitivity)
    if numbers.controls:
        frames["controls"] = numbers.controls.summary
        texts |= controls.documents(data, numbers.controls)
    beside = published.frame(data)
    if not beside.is_empty():
        frames["published"] = beside
    written = [_write_csv(folder, f"{name}.csv", frame) for name, frame in frames.items()]
    written += [folder.write_text(f"tables/{name}", text) for name, text in texts.items()]
    _remove_others(folder.path / "tables", written)
    return written


def _write_csv(folder: RunFolder, name: str, frame: pl.DataFrame) -> Path:
    path = folder.path / "tables" / name
    with whole_file(path) as temporary:
        frame.write_csv(temporary)
    return path


def _write_figures(folder: RunFolder, drawn: Sequence[Drawing]) -> list[Path]:
    written: list[Path] = []
    for drawing in drawn:
        for form in ("png", "pdf"):
            path = folder.path / "figures" / f"{drawing.name}.{form}"
            with whole_file(path) as temporary:
                style.save(drawing.figure, temporary, form)
            written.append(path)
    captions = "\n".join(_caption(each) for each in drawn)
    if captions:
        written.append(folder.write_text("figures/captions.md", captions))
    _remove_others(folder.path / "figures", written)
    return written


def _caption(drawing: Drawing) -> str:
    width, height = drawing.figure.get_size_inches()
    size = f"Size: {width:.1f} x {height:.1f} in, to be set at that width; text is then {style.LEAST_TEXT} pt or more."
    return f"**{drawing.name}** ({drawing.title}). {drawing.caption} {size}\n"


def _remove_others(folder: Path, written: Iterable[Path]) -> None:
    """Take away what an earlier report wrote there and this one did not: it would be taken for current."""
    ours = {".csv", ".md", ".tex", ".png", ".pdf"}
    keep = set(written)
    for path in folder.glob("*.*"):
        if path.suffix in ours and path not in keep:
            path.unlink()


def _reasons(skipped: Iterable[Skipped]) -> tuple[str, ...]:
    return tuple(f"{each.name}: {each.reason}" for each in skipped)
