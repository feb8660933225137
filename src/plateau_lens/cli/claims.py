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

_WIDTHS = {"sentence, section; part": 42, "verdict": 12, "effect [95 %]": 26, "p (Holm)": 8, "needed": 8}
_WIDTH = sum(_WIDTHS.values()) + len(_WIDTHS) - 1
_STYLES = {"holds": "bold green", "fails": "bold red", "undecided": "yellow", "not measured": "dim"}


def claims_command(path: Path, plugins: Sequence[str] = ()) -> None:
    """Print what a run says of the paper's sentences, and the realism of its SAE; loads no model."""
    load_plugins(plugins)
    from plateau_lens.report import render, run_data
    from plateau_lens.report.sections import claims, ladder

    data = run_data.load(RunFolder.open(path))
    console = terminal(soft_wrap=False)
    # A pipe is taken for 80 columns wide, which would cut numbers short.
    console.width = min(console.width, _WIDTH) if console.is_terminal else _WIDTH
    found = claims.results(data)
    console.print(Text(claims.summary(found), style="bold"))
    console.print()
    console.print(_columns(show_header=True))
    for each in found:
        console.print()
        sentence = f"{each.number}. " if each.number else ""
        sentence += f"{each.claim.sentence} ({each.claim.section})"
        console.print(_row(sentence, each.verdict, needed=render.count(each.pairs), style="bold"))
        for part in map(claims.row, each.parts):
            what = Padding(Text(part.part), (0, 0, 0, 2))
            console.print(_row(what, part.verdict, part.effect, part.p, part.n_to_decide))
            console.print(Padding(Text(part.compared, style="dim"), (0, 0, 0, 4)))
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
        "A sentence holds where all of its parts do, and fails where one does. An effect above 0 supports its part; of "
        "several that a part needs, the one that supports it least. needed: pairs that would decide it, with a "
        "probability of 80 % or more, were the effects as found. docs/claims.md",
        "Realism: 0 as far from model-generated as random, 1 as close as another sample of it. docs/realism.md",
    )
    for note in notes:
        console.print(Text(note, style="dim"))


def _row(
    name: str | Padding, verdict: str, effect: str = "", p: str = "", needed: str = "", style: str = ""
) -> Table:
    table = _columns()
    shown = Text(name, style=style) if isinstance(name, str) else name
    table.add_row(shown, Text(verdict, style=_STYLES[verdict]), effect, p, needed)
    return table


def _columns(*, show_header: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=show_header)
    for name, width in _WIDTHS.items():
        table.add_column(name, width=width, justify="right" if name in ("p (Holm)", "needed") else "left")
    return table
