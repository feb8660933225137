"""``plateau-lens run``."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from plateau_lens.runs.config import load_config, parse_assignment


def run_command(
    source: str,
    out: Path | None,
    options: Mapping[str, Any],
    assignments: Sequence[str],
    workers: int,
    *,
    force: bool = False,
) -> None:
    """Run, showing progress; end with the summary table and the report's path."""
    from plateau_lens.cli.summary import print_summary
    from plateau_lens.whole_run import run

    overrides = {**options, **dict(parse_assignment(text) for text in assignments)}
    config = load_config(source, overrides)
    if out is None:
        # Two seeds of one preset, side by side, are two runs.
        out = Path("runs") / (f"{config.name}-seed{config.seed}" if config.seed else config.name)
    # On stderr, above the bar: what goes to stdout is the summary.
    console = Console(stderr=True, soft_wrap=True)
    with _progress(console) as tell:
        folder = run(
            config,
            out,
            workers=workers,
            progress=tell,
            notice=lambda line: console.print(line, highlight=False, markup=False),
            force=force,
        )
    print_summary(folder, Console())
    Console(soft_wrap=True).print(f"Report: {folder.path / 'report.html'}", highlight=False)


class _Rate(ProgressColumn):
    """Pairs a second."""

    def render(self, task: Task) -> Text:
        """The speed, or nothing before the first unit is done."""
        return Text(f"{task.speed:.2f} pairs/s" if task.speed else "")


@contextmanager
def _progress(console: Console) -> Generator[Any]:
    """A bar on a terminal; nothing elsewhere."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} pairs"),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=not console.is_terminal,
        # Speed over the last minutes, not the last thirty seconds: one unit can take longer than that.
        speed_estimate_period=300,
    )
    with bar:
        task = bar.add_task("loading", total=1)

        def tell(doing: str, done: int, total: int) -> None:
            bar.update(task, description=f"{doing:10}", completed=done, total=total)

        yield tell
