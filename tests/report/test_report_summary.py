from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from synthetic_runs import write_hills

from plateau_lens.cli.summary import print_summary
from plateau_lens.runs.folder import RunFolder

DASH = "\N{EN DASH}"


def printed(folder: RunFolder, **options: object) -> str:
    stream = io.StringIO()
    print_summary(folder, Console(file=stream, **options))
    return stream.getvalue()


def test_piped_summary_is_plain_and_cuts_no_number(cliffs: RunFolder) -> None:
    text = printed(cliffs)
    assert "\x1b" not in text
    assert "toward · MS of L2 · absolute" in text
    assert "from · AP of L2 · absolute" in text
    (line,) = [each for each in text.split("toward · MS of KL")[0].splitlines() if "random" in each]
    assert " ".join(line.split()) == f"random 4 45.0 [35.0, 55.0] 45.0 35.0{DASH}55.0 0 % 0.50 20.00"
    assert max(map(len, text.splitlines())) <= 100


def test_narrow_terminal_cuts_no_number(cliffs: RunFolder) -> None:
    text = printed(cliffs, force_terminal=True, width=80, color_system=None)
    assert "45.0 [35.0, 55.0]" in text
    assert "q25" not in text
    table = text.split("Values in steps")[0]
    assert "…" not in table


def test_labels_are_not_markup(run_path: Path) -> None:
    folder = write_hills(
        run_path, pairs=2, kinds=("[bold]x[/bold]", "a label of far more than twenty-six characters"),
        experiments=("from",), responses=("l2",),
    )  # fmt: skip
    text = printed(folder)
    assert "[bold]x[/bold]" in text
    assert "a label of far more than …" in text


def test_runs_without_key_statistics(run_path: Path) -> None:
    examples = write_hills(run_path / "a", experiments=("examples",), responses=("l2",))
    assert "no step statistics" in printed(examples)
    relative = write_hills(
        run_path / "b", pairs=2, experiments=("from",), schedules=("relative",), responses=("l2",)
    )
    assert "from · MS of L2 · relative" in printed(relative)
