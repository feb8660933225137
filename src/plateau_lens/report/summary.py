"""The key numbers, printed where the run was started."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from plateau_lens.experiments.store import RunFolder
from plateau_lens.report import run_data, tables
from plateau_lens.report.render import UNDEFINED
from plateau_lens.report.run_data import RESPONSE_SYMBOLS, STATISTIC_SYMBOLS, Group, RunData

_PIPE_WIDTH = 100
_FULL_WIDTH = 94
"""Columns the whole table needs; a narrower terminal gets no quartiles."""
_KIND_WIDTH = 26


def print_summary(folder: RunFolder, console: Console) -> None:
    """Print the key statistics of a run: kind by statistic, with censoring and distances to model-generated.

    A run without any of the key statistics shows what it has. Piped output is plain and 100 columns wide.

    Raises:
        RunFolderError: if the run has not come to its step values yet.
    """
    data = run_data.load(folder)
    groups = [group for group in tables.KEY_GROUPS if group in data.samples] or list(data.samples)[:5]
    if not groups:
        console.print("This run has no step statistics: it has neither experiment 'toward' nor 'from'.")
        return
    table = _table(data, groups, quartiles=not console.is_terminal or console.width >= _FULL_WIDTH)
    if not console.is_terminal:
        # What rich takes for the width of a pipe, 80 columns, would cut numbers short.
        table.width = Measurement.get(console, console.options.update(width=_PIPE_WIDTH), table).maximum
    console.print(table, crop=False)
    reference = data.reference or "model-generated"
    notes = (
        "Values in steps; cens.: share of pairs whose event was not seen (their value is a bound);",
        f"KS, W: Kolmogorov-Smirnov (0..1) and Wasserstein (steps) distance to {reference}; "
        f"{UNDEFINED}: undefined",
    )
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _table(data: RunData, groups: Iterable[Group], *, quartiles: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=not quartiles)
    table.add_column("kind", no_wrap=True, max_width=_KIND_WIDTH + 4)
    between = ["q25\N{EN DASH}q75"] if quartiles else []
    for name in ("n", "mean ± sd", "median", *between, "cens.", "KS", "W"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in groups:
        table.add_row(Text(_short(group), style="bold"))
        for row in tables.kind_rows(data.samples[group], data.reference):
            kind, n, defined, mean, median, q25, q75, censored, ks, wasserstein = tables.cells(row)
            counted = n if n == defined else f"{defined}/{n}"
            between = [q25 if q25 == UNDEFINED else f"{q25}\N{EN DASH}{q75}"] if quartiles else []
            label = Text("  " + " ".join(kind.split()))
            label.truncate(_KIND_WIDTH + 2, overflow="ellipsis")
            table.add_row(label, counted, mean, median, *between, censored, ks, wasserstein)
        table.add_section()
    return table


def _short(group: Group) -> str:
    response, statistic = RESPONSE_SYMBOLS[group.response], STATISTIC_SYMBOLS[group.statistic]
    return f"{group.experiment} · {statistic} of {response} · {group.schedule}"
