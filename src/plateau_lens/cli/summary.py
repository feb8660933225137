"""The key numbers, printed where the run was started."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from plateau_lens.report import render, run_data
from plateau_lens.report.estimates import group_rows, of
from plateau_lens.report.render import UNDEFINED
from plateau_lens.report.run_data import Group, RunData
from plateau_lens.report.sections import summary as tables
from plateau_lens.runs.folder import RunFolder

_PIPE_WIDTH = 100
_FULL_WIDTH = 98
"""Columns the whole table needs; a narrower terminal gets no quartiles."""
_KIND_WIDTH = 26


def print_summary(folder: RunFolder, console: Console) -> None:
    """Print the key statistics of a run: kind by statistic, with censoring and distances to model-generated.

    A run without any of the key statistics shows what it has. Piped output is plain and 100 columns wide.

    Raises:
        RunFolderError: if the run has not come to its step values yet.
    """
    data = run_data.load(folder)
    groups = tables.key_groups(data)
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
        "Values in steps, means with their 95 % interval; cens.: share of pairs whose event was not seen;",
        f"KS, W: Kolmogorov-Smirnov (0..1) and Wasserstein (steps) distance to {reference}; "
        f"{UNDEFINED}: undefined",
    )
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _table(data: RunData, groups: Iterable[Group], *, quartiles: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=not quartiles)
    table.add_column("kind", no_wrap=True, max_width=_KIND_WIDTH + 4)
    between = ["q25\N{EN DASH}q75"] if quartiles else []
    for name in ("n", "mean [95 %]", "median", *between, "cens.", "KS", "W"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in groups:
        table.add_row(Text(_short(data, group), style="bold"))
        for row in group_rows(data, group):
            table.add_row(*_cells(row, quartiles=quartiles))
        table.add_section()
    return table


def _cells(row: Mapping[str, object], *, quartiles: bool) -> list[str | Text]:
    """The interval of the mean; of everything else the estimate alone, as a terminal is narrow."""
    n, defined = row["n"], row["n_defined"]
    q25, median, q75, censored, ks, wasserstein = (
        float(str(row[name])) for name in ("q25", "median", "q75", "censored", "ks", "wasserstein")
    )
    label = Text("  " + " ".join(str(row["kind"]).split()))
    label.truncate(_KIND_WIDTH + 2, overflow="ellipsis")
    between = UNDEFINED if math.isnan(q25) else f"{render.number(q25, 1)}\N{EN DASH}{render.number(q75, 1)}"
    return [
        label,
        str(n) if n == defined else f"{defined}/{n}",
        render.interval(*of(row, "mean"), 1),
        render.number(median, 1),
        *([between] if quartiles else []),
        render.share(censored),
        render.number(ks, 2),
        render.number(wasserstein, 2),
    ]


def _short(data: RunData, group: Group) -> str:
    response, statistic = data.response_called(group.response), data.statistic_called(group.statistic)
    return f"{group.experiment} · {statistic} of {response} · {group.schedule}"
