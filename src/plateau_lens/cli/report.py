"""``plateau-lens report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plateau_lens.cli.terminal import terminal
from plateau_lens.runs.folder import RunFolder
from plateau_lens.runs.plugins import load_plugins


def report_command(path: Path, plugins: Sequence[str] = ()) -> None:
    """Rebuild everything that can be seen, from the run folder alone."""
    load_plugins(plugins)
    from plateau_lens.cli.summary import print_summary
    from plateau_lens.report.build import build_report

    folder = RunFolder.open(path)
    built = build_report(folder)
    print_summary(folder, terminal(soft_wrap=False))
    terminal().print(f"Report: {built.page}")
