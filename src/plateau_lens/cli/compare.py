"""``plateau-lens compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from plateau_lens._errors import RunFolderError
from plateau_lens.experiments.store import RunFolder
from plateau_lens.numerics.intervals import mean_difference

ROW = ["experiment", "schedule", "response", "statistic", "kind"]


def compare_command(paths: Sequence[Path]) -> None:
    """Print each row that two runs share: means, and the difference to the first run with its interval."""
    if len(paths) < 2:
        raise RunFolderError(f"compare needs two run folders or more, found {len(paths)}")
    folders = [RunFolder.open(path) for path in paths]
    console = Console()
    if not console.is_terminal:
        # What rich takes for the width of a pipe, 80 columns, would cut numbers short.
        console.width = 120
    for other in folders[1:]:
        console.print(compare(folders[0], other))


def compare(first: RunFolder, second: RunFolder) -> Table:
    """Two runs side by side, over the rows (experiment, schedule, response, statistic, kind) both have.

    If the pairs that both have come from the same prompts, means and differences are over those pairs, and paired.
    """
    values = _shared(first, second)
    paired = values is not None
    if values is None:
        values = first.steps().join(
            second.steps(), on=[*ROW, "pair"], how="full", coalesce=True, suffix=" second"
        )
    table = Table(
        title=f"{second.path} less {first.path}: means in steps, difference with 95 % interval "
        f"({'same' if paired else 'different'} prompts: {'paired' if paired else 'unpaired'} bootstrap)",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for heading in ("paths", "statistic", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("first", "second", "difference", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for key, rows in values.sort(*ROW, "pair").group_by(ROW, maintain_order=True):
        a, b = (rows[name].fill_null(float("nan")).to_numpy() for name in ("value", "value second"))
        shared = rows["value"].is_not_null().any() and rows["value second"].is_not_null().any()
        if not shared:
            continue
        found = mean_difference(a, b, paired=paired, seed=0)
        table.add_row(
            f"{key[0]} {key[1]}",
            f"{key[2]} {key[3]}",
            str(key[4]),
            f"{_mean(rows['value']):.2f}",
            f"{_mean(rows['value second']):.2f}",
            f"{found.estimate:+.2f}",
            f"[{found.low:+.2f}, {found.high:+.2f}]",
        )
    if not table.row_count:
        raise RunFolderError(f"{first.path} and {second.path} have no statistic of any kind in common")
    return table


def _shared(first: RunFolder, second: RunFolder) -> pl.DataFrame | None:
    """Step values of the pairs that both runs have, or None if those are not of the same prompts."""
    values = first.steps().join(second.steps(), on=[*ROW, "pair"], suffix=" second")
    pairs = values.select("pair").unique()
    a, b = (
        run.prompts().select("pair", "tokens").join(pairs, on="pair").sort("pair") for run in (first, second)
    )
    return values if len(pairs) and a.equals(b) else None


def _mean(values: pl.Series) -> float:
    mean = values.drop_nulls().drop_nans().mean()
    return float(mean) if isinstance(mean, (int, float)) else float("nan")
