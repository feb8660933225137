"""What a run says of itself while it computes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

EVERY = 30.0
"""Seconds between two lines of a run without a terminal."""


@contextmanager
def progress(console: Console, *, clock: Callable[[], float] = time.monotonic) -> Generator[Any]:
    """Yield ``tell(doing, done, total)``, which shows it on ``console``.

    Args:
        console: of stderr; whether it is a terminal decides how it is shown.
        clock: seconds that pass.
    """
    if console.is_terminal:
        with _bar(console) as tell:
            yield tell
    else:
        yield _Lines(console, clock).tell


class _Rate(ProgressColumn):
    """Pairs a second."""

    def render(self, task: Task) -> Text:
        """The speed, or nothing before the first unit is done."""
        return Text(f"{task.speed:.2f} pairs/s" if task.speed else "")


@contextmanager
def _bar(console: Console) -> Generator[Any]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} pairs"),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        # Speed over the last minutes, not the last thirty seconds: one unit can take longer than that.
        speed_estimate_period=300,
    )
    with bar:
        task = bar.add_task("loading", total=1)

        def tell(doing: str, done: int, total: int) -> None:
            bar.update(task, description=f"{doing:10}", completed=done, total=total)

        yield tell


class _Lines:
    """A line where something else begins, at each tenth, and every half minute in which a unit was finished."""

    def __init__(self, console: Console, clock: Callable[[], float]):
        self.console = console
        self.clock = clock
        self.doing = ""
        self.since = self.last = clock()
        self.at_first = self.tenth = 0

    def tell(self, doing: str, done: int, total: int) -> None:
        """Say it, if it is time to."""
        now = self.clock()
        tenth = 10 * done // total if total else 0
        if doing != self.doing:
            self.doing, self.since, self.at_first, self.tenth = doing, now, done, tenth
        elif tenth == self.tenth and now - self.last < EVERY:
            return
        self.last, self.tenth = now, tenth
        self.console.print(self._line(done, total, now), soft_wrap=True, highlight=False)

    def _line(self, done: int, total: int, now: float) -> str:
        line = f"{self.doing}: {done:,} of {total:,} pairs"
        made, took = done - self.at_first, now - self.since
        if made > 0 and took > 0:
            line += f", {made / took:.2f} pairs/s"
            if done < total:
                line += f", about {_span((total - done) * took / made)} left"
        return line


def _span(seconds: float) -> str:
    """E.g. ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
