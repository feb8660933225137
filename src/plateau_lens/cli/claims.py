"""``plateau-lens claims``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from plateau_lens.cli.terminal import terminal
from plateau_lens.runs.folder import RunFolder
from plateau_lens.runs.plugins import load_plugins

_WIDTHS = {"figure: measure": 38, "verdict": 12, "effect [95 %]": 26, "p (Holm)": 8, "n": 4, "needed": 7}
_WIDTH = sum(_WIDTHS.values()) + len(_WIDTHS) - 1
_STYLES = {"holds": "bold green", "fails": "bold red", "undecided": "yellow", "not measured": "dim"}


def claims_command(path: Path, plugins: Sequence[str] = ()) -> None:
    """Print what a run says of the paper's claims, and the realism of its SAE; loads no model."""
    load_plugins(plugins)
    from plateau_lens.report import run_data
    from plateau_lens.report.sections import claims, ladder

    data = run_data.load(RunFolder.open(path))
    console = terminal(soft_wrap=False)
    # A pipe is taken for 80 columns wide, which would cut numbers short.
    console.width = min(console.width, _WIDTH) if console.is_terminal else _WIDTH
    console.print(_columns(show_header=True))
    for sentence, rows in claims.sentences(data, claims.claims(data)):
        console.print(Text(f"\n{sentence}", style="bold"))
        for row in rows:
            table = _columns()
            verdict = Text(row.verdict, style=_STYLES[row.verdict])
            table.add_row(f"  {row.figure}: {row.about}", verdict, row.effect, row.p, row.n, row.n_to_decide)
            console.print(table)
            console.print(Text(f"    {row.which}", style="dim"), soft_wrap=True)
    realism = ladder.realism_of_sae(data, ladder.ladder(data))
    if realism.rows:
        console.print(Text(f"\n{realism.title}", style="bold"))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in realism.columns:
            table.add_column(name)
        for row in realism.rows:
            table.add_row(*map(Text, row))
        console.print(Padding(table, (0, 0, 0, 2)))
    console.print()
    notes = (
        "An effect above 0 supports its claim. Of several comparisons, which a claim needs all, the one that supports "
        "it least. needed: pairs that would decide it, with a probability of 80 %, were the effect as found.",
        "Realism: 0 as far from model-generated as random, 1 as close as another sample of it. docs/claims.md",
    )
    for note in notes:
        console.print(Text(note, style="dim"))


def _columns(*, show_header: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=show_header)
    for name, width in _WIDTHS.items():
        table.add_column(
            name, width=width, justify="right" if name in ("p (Holm)", "n", "needed") else "left"
        )
    return table
