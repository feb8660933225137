"""``plateau-lens measure``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plateau_lens.cli.terminal import terminal
from plateau_lens.runs.config import parse_assignment
from plateau_lens.runs.folder import RunFolder
from plateau_lens.runs.plugins import load_plugins


def measure_command(path: Path, assignments: Sequence[str], plugins: Sequence[str]) -> None:
    """Measure a finished run's curves again, say what changed, and rebuild its report; loads no model."""
    from plateau_lens.cli.summary import print_summary
    from plateau_lens.execution.step_values import measure_again
    from plateau_lens.report.build import build_report

    load_plugins(plugins)
    folder = RunFolder.open(path, to_measure=True)
    overrides = dict(parse_assignment(text) for text in assignments)
    changed = measure_again(folder, overrides, plugins=plugins)
    console = terminal()
    for key, (before, now) in changed.items():
        console.print(f"{key}: {before!r} -> {now!r}")
    built = build_report(folder)
    print_summary(folder, terminal(soft_wrap=False))
    console.print(f"Report: {built.page}")
