"""``plateau-lens compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from rich.box import SIMPLE_HEAD
from rich.table import Table

from plateau_lens._errors import RunFolderError
from plateau_lens.cli.terminal import terminal
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.comparisons import compare_means
from plateau_lens.numerics.survival import Survival, grid_of, kaplan_meier
from plateau_lens.runs.folder import RunFolder
from plateau_lens.runs.plugins import load_plugins
from plateau_lens.steps.registry import STATISTICS

ROW = ["experiment", "schedule", "response", "statistic", "kind"]


def compare_command(paths: Sequence[Path], plugins: Sequence[str] = ()) -> None:
    """Print each row that two runs share: means, and the difference to the first run with its interval."""
    load_plugins(plugins)
    if len(paths) < 2:
        raise RunFolderError(f"compare needs two run folders or more, found {len(paths)}")
    folders = [RunFolder.open(path) for path in paths]
    console = terminal(soft_wrap=False)
    if not console.is_terminal:
        # What rich takes for the width of a pipe, 80 columns, would cut numbers short.
        console.width = 120
    for other in folders[1:]:
        console.print(compare(folders[0], other))


def compare(first: RunFolder, second: RunFolder) -> Table:
    """Two runs side by side, over the rows (experiment, schedule, response, statistic, kind) both have.

    If the pairs that both have come from the same prompts, means and differences are over those pairs, and paired.
    """
    a, b = (run.steps() for run in (first, second))
    shared = _same_pairs(first, second, a.join(b, on="pair", how="semi").select("pair").unique())
    paired = shared is not None
    if shared is not None:
        a, b = (steps.join(shared, on="pair", how="semi") for steps in (a, b))
    table = Table(
        title=f"{second.path} less {first.path}: restricted means in steps, difference with 95 % interval "
        f"({'same' if paired else 'different'} prompts: {'paired' if paired else 'unpaired'} bootstrap)",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for heading in ("paths", "statistic", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("first", "second", "difference", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    columns = _columns(a, seed=0), _columns(b, seed=0 if paired else 1)
    for key in sorted(columns[0].keys() & columns[1].keys()):
        one, two = _survivals([each[key] for each in columns], _end(first, second, str(key[3])))
        found = compare_means(two, one)
        table.add_row(
            f"{key[0]} {key[1]}",
            f"{key[2]} {key[3]}",
            str(key[4]),
            f"{one.mean()[0]:.2f}",
            f"{two.mean()[0]:.2f}",
            f"{found.value:+.2f}",
            f"[{found.low:+.2f}, {found.high:+.2f}]",
        )
    if not table.row_count:
        raise RunFolderError(f"{first.path} and {second.path} have no statistic of any kind in common")
    return table


def _same_pairs(first: RunFolder, second: RunFolder, pairs: pl.DataFrame) -> pl.DataFrame | None:
    """The pairs that both runs have, or None if those are not of the same prompts."""
    a, b = (
        run.prompts().select("pair", "tokens").join(pairs, on="pair").sort("pair") for run in (first, second)
    )
    return pairs if len(pairs) and a.equals(b) else None


class _Column(NamedTuple):
    """The values of one statistic of one kind, and the resamples of their pairs."""

    bootstrap: PairBootstrap
    value: Float[np.ndarray, " pair"]
    censored: Bool[np.ndarray, " pair"]


def _columns(steps: pl.DataFrame, *, seed: int) -> dict[tuple[object, ...], _Column]:
    """Every column of values; the same pairs and seed give the same resamples."""
    pairs = steps["pair"].unique().sort()
    bootstrap = PairBootstrap(len(pairs), seed=seed)
    found: dict[tuple[object, ...], _Column] = {}
    for key, rows in steps.partition_by(ROW, as_dict=True).items():
        place = pairs.search_sorted(rows["pair"]).to_numpy()
        value, censored = np.full(len(pairs), np.nan), np.zeros(len(pairs), dtype=bool)
        value[place], censored[place] = rows["value"].to_numpy(), rows["censored"].to_numpy()
        found[key] = _Column(bootstrap, value, censored)
    return found


def _end(first: RunFolder, second: RunFolder, statistic: str) -> int | None:
    """Where looking stops, in steps, for a statistic that counts them; None for another."""
    configs = first.config(), second.config()
    made = [STATISTICS.make({statistic: config.statistics[statistic]})[statistic] for config in configs]
    return max(config.n_steps for config in configs) if all(each.unit == "step" for each in made) else None


def _survivals(columns: Sequence[_Column], n_steps: int | None) -> list[Survival]:
    grid = grid_of([each.value for each in columns], n_steps)
    return [kaplan_meier(each.bootstrap, each.value, each.censored, grid=grid) for each in columns]
