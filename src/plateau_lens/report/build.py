"""Everything a report is made of, written into the run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from plateau_lens._digest import sha256
from plateau_lens._errors import DamageError, RunFolderError
from plateau_lens.report import page, run_data
from plateau_lens.report.figures import style
from plateau_lens.report.run_data import RunData
from plateau_lens.report.sections.registry import SECTIONS, Drawing, Section, Skipped
from plateau_lens.report.visible import visible
from plateau_lens.runs.folder import RunFolder, whole_file
from plateau_lens.runs.plugins import answering


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
    with folder.writing():
        return _build(folder, only_tables=only_tables)


def _build(folder: RunFolder, *, only_tables: bool) -> Report:
    data = run_data.load(folder)
    built, skipped = build_sections(data)
    written = _write_tables(folder, built)
    if only_tables:
        _remember(folder, written, of="tables/")
        return Report(tuple(written), (), None, _reasons(skipped))
    shown: list[tuple[Section, list[Drawing]]] = []
    for each in built:
        with answering(each):
            made = list(each.drawings())
        shown.append((each, [drawing for drawing in made if isinstance(drawing, Drawing)]))
        skipped += [drawing for drawing in made if isinstance(drawing, Skipped)]
    paths = _write_figures(folder, [drawing for _, drawings in shown for drawing in drawings])
    reasons = _reasons(skipped)
    made = folder.write_text("report.html", page.render(data, shown, reasons))
    _remember(folder, [*written, *paths, made], of="")
    return Report(tuple(written), tuple(paths), made, reasons)


def build_sections(data: RunData) -> tuple[list[Section], list[Skipped]]:
    """Every section that the run can have, computed, and those that it cannot, with the reasons."""
    built: list[Section] = []
    skipped: list[Skipped] = []
    for name, known in SECTIONS.all().items():
        try:
            built.append(known(data))
        except DamageError:
            raise  # to leave a section out would be to say that the run cannot have it
        except RunFolderError as error:
            skipped.append(Skipped(name, str(error)))
    return built, skipped


def _write_tables(folder: RunFolder, sections: Sequence[Section]) -> list[Path]:
    written: list[Path] = []
    for section in sections:
        with answering(section):
            written += [_write_csv(folder, f"{name}.csv", frame) for name, frame in section.frames().items()]
            written += [
                folder.write_text(f"tables/{name}", text) for name, text in section.documents().items()
            ]
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
    return written


def _caption(drawing: Drawing) -> str:
    width, height = drawing.figure.get_size_inches()
    size = f"Size: {width:.1f} x {height:.1f} in, to be set at that width; text is then {style.LEAST_TEXT} pt or more."
    return visible(f"**{drawing.name}** ({drawing.title}). {drawing.legend} {size}\n")


def _remember(folder: RunFolder, written: Iterable[Path], *, of: str) -> None:
    """Enter what was written into the manifest, and take away what an earlier report wrote and this one did not.

    That would be taken for current. Nothing else goes: neither what is not in the manifest, nor what has been changed
    since.

    Args:
        folder: the run.
        written: files of this report.
        of: beginning of the names that this report is about.
    """
    manifest = folder.manifest()
    before: dict[str, str] = manifest.get("report", {})
    now = {path.relative_to(folder.path).as_posix(): sha256(path) for path in written}
    for name, digest in before.items():
        path = folder.path / name
        if name.startswith(of) and name not in now and path.is_file() and sha256(path) == digest:
            path.unlink()
    kept = {name: digest for name, digest in before.items() if not name.startswith(of)}
    folder.write_manifest({**manifest, "report": kept | now}, files=None)


def _reasons(skipped: Iterable[Skipped]) -> tuple[str, ...]:
    return tuple(f"{each.name}: {each.reason}" for each in skipped)
