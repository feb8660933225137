"""``plateau-lens presets``."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from plateau_lens import presets
from plateau_lens.cli.terminal import terminal


def presets_command() -> None:
    """List names and what they are."""
    table = Table(box=None, show_header=False)
    for name in presets.names():
        table.add_row(Text(name, style="bold"), presets.describe(name))
    terminal(soft_wrap=False).print(table)
