"""``plateau-lens presets``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from plateau_lens import presets


def presets_command() -> None:
    """List names and what they are."""
    table = Table(box=None, show_header=False)
    for name in presets.names():
        table.add_row(f"[bold]{name}[/bold]", presets.describe(name))
    Console().print(table)
