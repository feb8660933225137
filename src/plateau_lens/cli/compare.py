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
from plateau_lens.numerics.lengths import survival
from plateau_lens.numerics.survival import Survival, grid_of
from plateau_lens.runs.config import RunConfig, load_config
from plateau_lens.runs.folder import RunFolder
from plateau_lens.runs.plugins import load_plugins
from plateau_lens.steps.registry import STATISTICS, Statistic

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
    Steps of unlike length or number are compared as what they are of a path: on the absolute schedule in residual-
    stream units, up to where the shorter paths end, on the relative one as a share of the way. Statistics that were
    asked for with other parameters are not compared, and named in the caption.

    Raises:
        RunFolderError: if nothing is left.
    """
    configs = first.config(), second.config()
    known = _comparable(first, second)
    a, b = (run.steps() for run in (first, second))
    shared = _same_pairs(first, second, a.join(b, on="pair", how="semi").select("pair").unique())
    paired = shared is not None
    if shared is not None:
        a, b = (steps.join(shared, on="pair", how="semi") for steps in (a, b))
    table = Table(
        title=f"{second.path} less {first.path}: restricted means, difference with 95 % interval "
        f"({'same' if paired else 'different'} prompts: {'paired' if paired else 'unpaired'} bootstrap)",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for heading in ("paths", "statistic", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("first", "second", "difference", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("in", no_wrap=True)
    columns = _columns(a, seed=0), _columns(b, seed=0 if paired else 1)
    for key in sorted(columns[0].keys() & columns[1].keys()):
        made = known.statistics.get(str(key[3]))
        if made is None:
            continue
        scale = _scale(configs, str(key[1]), made)
        one, two = scale.survivals([each[key] for each in columns])
        found = compare_means(two, one)
        table.add_row(
            f"{key[0]} {key[1]}",
            f"{key[2]} {key[3]}",
            str(key[4]),
            f"{one.mean()[0]:.2f}",
            f"{two.mean()[0]:.2f}",
            f"{found.value:+.2f}",
            f"[{found.low:+.2f}, {found.high:+.2f}]",
            scale.unit,
        )
    table.caption = "\n".join(known.notes) or None
    table.caption_justify = "left"
    if not table.row_count:
        raise RunFolderError(
            "\n".join(
                [f"{first.path} and {second.path} have no statistic of any kind in common", *known.notes]
            )
        )
    return table


class _Comparable(NamedTuple):
    """What two runs measured alike."""

    statistics: dict[str, Statistic]
    """By label, as the first run has them."""
    notes: list[str]
    """What is to be known of the others, and of what each run measured on its own curves."""


def _comparable(first: RunFolder, second: RunFolder) -> _Comparable:
    """Statistics with equal parameters; and those that both runs were to find out, whose numbers are told."""
    runs = first, second
    resolved = [STATISTICS.make(run.config().statistics) for run in runs]
    asked = [STATISTICS.make(load_config(run.manifest()["request"]).statistics) for run in runs]
    found: dict[str, Statistic] = {}
    notes: list[str] = []
    for label in resolved[0].keys() & resolved[1].keys():
        one, two = (each[label] for each in resolved)
        if one != two:
            differences = [
                f"{name} {getattr(one, name)} against {getattr(two, name)}"
                for name in type(one).model_fields
                if getattr(one, name) != getattr(two, name, None)
            ] or [f"{one.name} against {two.name}"]
            told = f"{label}: {', '.join(differences)}"
            if asked[0].get(label) != asked[1].get(label):
                set_alike = (
                    "`plateau-lens measure RUN --set statistics.LABEL.PARAMETER=VALUE` gives both the same"
                )
                notes.append(f"Not compared: {told}; {set_alike}.")
                continue
            notes.append(f"Each run's own: {told}.")
        found[label] = one
    return _Comparable(found, sorted(notes))


class _Scale(NamedTuple):
    """What the steps of two runs are compared in."""

    factors: tuple[float, float]
    """What a step of each is in it."""
    unit: str
    end: int | None = None
    """Of whole steps, where looking stops."""
    cut: float | None = None
    """Where looking stops in the run of shorter paths, in the unit; None: no run has longer ones."""

    def survivals(self, columns: Sequence[_Column]) -> list[Survival]:
        """Of each run, on one grid."""
        scaled = [each.scaled(factor) for each, factor in zip(columns, self.factors, strict=True)]
        if self.cut is not None:
            scaled = [each.up_to(self.cut) for each in scaled]
        ends = [] if self.cut is None else [np.array([0.0, self.cut])]
        grid = grid_of([*(each.value for each in scaled), *ends], self.end)
        in_steps = self.end is not None or self.cut is not None
        return [
            survival(
                each.bootstrap,
                each.value,
                each.censored,
                grid=grid,
                length=each.length if in_steps else None,
            )
            for each in scaled
        ]


def _scale(configs: tuple[RunConfig, RunConfig], schedule: str, statistic: Statistic) -> _Scale:
    one, two = configs
    if statistic.unit != "step":
        return _Scale((1.0, 1.0), statistic.unit)
    if schedule == "relative":
        if one.n_steps == two.n_steps:
            return _Scale((1.0, 1.0), "steps", end=one.n_steps)
        return _Scale((100 / one.n_steps, 100 / two.n_steps), "% of the way", cut=100.0)
    if (one.n_steps, one.step_size) == (two.n_steps, two.step_size):
        return _Scale((1.0, 1.0), "steps", end=one.n_steps)
    sizes = float(one.step_size), float(two.step_size)
    ends = one.n_steps * sizes[0], two.n_steps * sizes[1]
    return _Scale(sizes, "units", cut=min(ends))


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
    length: Float[np.ndarray, " pair"] | None
    """Of each pair's path, as the values; None where it is not on file."""

    def scaled(self, factor: float) -> _Column:
        """In another unit, of which a step is so much."""
        length = None if self.length is None else factor * self.length
        return self._replace(value=factor * self.value, length=length)

    def up_to(self, end: float) -> _Column:
        """As it would be, had looking stopped there."""
        behind = self.value > end
        return self._replace(value=np.where(behind, end, self.value), censored=self.censored | behind)


def _columns(steps: pl.DataFrame, *, seed: int) -> dict[tuple[object, ...], _Column]:
    """Every column of values; the same pairs and seed give the same resamples."""
    pairs = steps["pair"].unique().sort()
    bootstrap = PairBootstrap(len(pairs), seed=seed)
    found: dict[tuple[object, ...], _Column] = {}
    for key, rows in steps.partition_by(ROW, as_dict=True).items():
        place = pairs.search_sorted(rows["pair"]).to_numpy()
        value, censored = np.full(len(pairs), np.nan), np.zeros(len(pairs), dtype=bool)
        value[place], censored[place] = rows["value"].to_numpy(), rows["censored"].to_numpy()
        length = None
        if "last_step" in rows.columns:
            length = np.zeros(len(pairs))
            length[place] = rows["last_step"].to_numpy()
        found[key] = _Column(bootstrap, value, censored, length)
    return found
