"""What the report reads of a run folder, in the order in which everything is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from plateau_lens._errors import RunFolderError
from plateau_lens.glossary import (
    EXPERIMENTS,
    RESPONSES,
    SCHEDULES,
    STATISTICS,
    Experiment,
    Response,
    Schedule,
    Statistic,
)
from plateau_lens.runs.config import RunConfig
from plateau_lens.runs.folder import RunFolder

REFERENCE = "model-generated"
"""The kind that every other one is measured against."""

PAPER_ORDER = (REFERENCE, "random", "synthetic-baseline", "synthetic-structured", "sae-reconstruction")
EXPERIMENT_NAMES: dict[Experiment, str] = {"toward": "Toward", "from": "From", "examples": "Examples"}
RESPONSE_SYMBOLS: dict[Response, str] = {"l2": "L2", "kl": "KL", "js": "JS"}
STATISTIC_SYMBOLS: dict[Statistic, str] = {"ms": "MS", "ap": "AP", "auc": "AUC", "nl": "NL"}


class Group(NamedTuple):
    """One statistic of one response along one schedule of one experiment: a table, or half a figure."""

    experiment: Experiment
    statistic: Statistic
    response: Response
    schedule: Schedule

    @property
    def name(self) -> str:
        """What a reader calls it, e.g. ``MS step of L2, absolute schedule``."""
        return (
            f"{STATISTIC_SYMBOLS[self.statistic]} step of {RESPONSE_SYMBOLS[self.response]}, "
            f"{self.schedule} schedule"
        )


class Sample(NamedTuple):
    """The step values of one kind in one group."""

    kind: str
    value: Float[np.ndarray, " pair"]
    """Steps; NaN where undefined, the last step that was looked at where censored."""
    censored: Bool[np.ndarray, " pair"]

    @property
    def seen(self) -> Float[np.ndarray, " k"]:
        """The values of the events that were seen: defined and not censored."""
        return self.value[~self.censored & ~np.isnan(self.value)]


def bounded(folder: RunFolder, steps: pl.LazyFrame) -> pl.DataFrame:
    """Step values, with a bound where an event was not seen and the value is NaN.

    That is so for a curve with no slope steep enough for an MS step: its blow-up lies behind its last usable step,
    which is what stands for the value here. It stays NaN if the folder's curves are gone.
    """
    rows = steps.collect()
    unseen = pl.col("censored") & pl.col("value").is_nan() & (pl.col("statistic") == "ms")
    if rows.filter(unseen).is_empty():
        return rows
    where = ["experiment", "kind", "schedule", "pair"]
    bound = pl.col("last_step").cast(pl.Float64)
    missing = rows.filter(unseen).select(where).unique().lazy()
    try:
        blocks = (
            block.select(*where, bound).join(missing, on=where, how="semi") for block in folder.curve_blocks()
        )
        last = pl.concat([block.collect() for block in blocks])
    except (RunFolderError, OSError):
        return rows
    joined = rows.join(last, on=where, how="left", maintain_order="left")
    value = pl.when(unseen).then(pl.col("last_step").fill_null(float("nan"))).otherwise("value")
    return joined.with_columns(value.alias("value")).drop("last_step")


class Samples(Mapping[Group, tuple[Sample, ...]]):
    """Step values of a run by group, groups in the order in which they are shown, kinds as in ``kinds``.

    A group is read when it is asked for, and not kept: a large run's step values are millions of rows.

    Values are `bounded`.
    """

    def __init__(self, folder: RunFolder, steps: pl.LazyFrame, kinds: Sequence[str], groups: Sequence[Group]):
        self._folder = folder
        self._steps = steps
        self._kinds = kinds
        self._groups = dict.fromkeys(groups)

    def __getitem__(self, group: Group) -> tuple[Sample, ...]:
        if group not in self._groups:
            raise KeyError(group)
        wanted = [pl.col(column) == value for column, value in group._asdict().items()]
        rows = bounded(self._folder, self._steps.filter(*wanted)).select("kind", "pair", "value", "censored")
        parts = rows.sort("pair", maintain_order=True).partition_by("kind", as_dict=True)
        return tuple(
            Sample(kind, part["value"].cast(pl.Float64).to_numpy(), part["censored"].to_numpy())
            for kind in self._kinds
            if (part := parts.get((kind,))) is not None
        )

    def __contains__(self, group: object) -> bool:
        return group in self._groups

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


class Curves(NamedTuple):
    """The curves of one kind of one experiment along one schedule."""

    kind: str
    response: Float[np.ndarray, "pair step"]
    last: Int[np.ndarray, " pair"]
    """Last usable step of each curve."""
    prompt: Int[np.ndarray, " pair"]


@dataclass(frozen=True)
class RunData:
    """A finished run, shared by tables, figures and page; values and curves are read as they are asked for."""

    folder: RunFolder
    config: RunConfig
    kinds: tuple[str, ...]
    """Every kind's label: the paper's in the paper's order, then the config's."""
    reference: str | None
    """The label of the model-generated kind, if the run has one."""
    samples: Mapping[Group, tuple[Sample, ...]]
    """Step values, groups in the order in which they are shown, kinds as in ``kinds``."""

    def label_of(self, kind: str) -> str | None:
        """The label of a kind: its own name, else the first label that the configuration says is one."""
        return _label_of(kind, self.config, self.kinds)

    def curves(self, experiment: Experiment, schedule: Schedule, response: Response) -> Iterator[Curves]:
        """The curves of every kind that has them, kinds as in ``kinds``, one kind in memory at a time.

        Raises:
            RunFolderError: if the folder's curves are gone.
        """
        if response not in self.config.responses or schedule not in self.config.schedules:
            return
        for kind in self.config.example_kinds if experiment == "examples" else self.kinds:
            found = self._curves_of(kind, experiment, schedule, response)
            if len(found.last):
                yield found

    def _curves_of(self, kind: str, experiment: Experiment, schedule: Schedule, response: Response) -> Curves:
        where = {"experiment": experiment, "kind": kind, "schedule": schedule}
        wanted = [pl.col(column) == value for column, value in where.items()]
        responses, last, prompt = [], [], []
        for block in self.folder.curve_blocks():
            rows = block.filter(*wanted).select("last_step", "prompt", response).collect()
            responses.append(rows[response].list.to_array(self.config.n_steps + 1).to_numpy())
            last.append(rows["last_step"].to_numpy())
            prompt.append(rows["prompt"].to_numpy())
        return Curves(kind, np.concatenate(responses), np.concatenate(last), np.concatenate(prompt))

    def prompts(self) -> dict[int, str]:
        """Text of every prompt by its index, each once: several example pairs share one."""
        return dict(self.folder.prompts().select("prompt", "text").iter_rows())

    def only(self, group: Group, kinds: Iterable[str]) -> tuple[Sample, ...]:
        """The samples of some kinds."""
        wanted = set(kinds)
        return tuple(sample for sample in self.samples.get(group, ()) if sample.kind in wanted)


def load(folder: RunFolder) -> RunData:
    """Read the configuration and the step values; curves are read when they are first asked for.

    Raises:
        RunFolderError: if the run has not come to its step values yet.
    """
    config = folder.config()
    steps = _steps(folder, config)
    found = _of_one_pair(steps)
    measured = found["kind"].unique().to_list()
    shown = config.example_kinds if "examples" in config.experiments else ()
    order = [*PAPER_ORDER, *config.kinds]
    kinds = _ordered([*measured, *shown], order)
    return RunData(
        folder=folder,
        config=config,
        kinds=kinds,
        reference=_label_of(REFERENCE, config, _ordered(measured, order)),
        samples=Samples(folder, steps, kinds, _ordered_groups(found)),
    )


def _steps(folder: RunFolder, config: RunConfig) -> pl.LazyFrame:
    """Step values; none for a run of examples alone, which writes no such table."""
    if set(config.experiments) <= {"examples"}:
        return pl.LazyFrame(schema={**dict.fromkeys((*Group._fields, "kind"), pl.String), "pair": pl.Int64})
    return folder.scan_steps().filter(pl.col("experiment") != "examples")


def _ordered(found: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    rank = {label: place for place, label in reversed(list(enumerate(order)))}
    return tuple(sorted(set(found), key=lambda label: (rank.get(label, len(order)), label)))


def _label_of(kind: str, config: RunConfig, kinds: Sequence[str]) -> str | None:
    renamed = (label for label in kinds if config.kinds.get(label, {}).get("kind") == kind)
    return kind if kind in kinds else next(renamed, None)


def _of_one_pair(steps: pl.LazyFrame) -> pl.DataFrame:
    """What a run has values of: every pair has one of every group and kind."""
    pair = steps.select("pair").head(1).collect()["pair"].to_list()
    return steps.filter(pl.col("pair").is_in(pair)).select(*Group._fields, "kind").collect()


def _ordered_groups(found: pl.DataFrame) -> list[Group]:
    have = set(found.select(Group._fields).iter_rows())
    return [
        group
        for experiment in EXPERIMENTS
        for statistic in STATISTICS
        for response in RESPONSES
        for schedule in SCHEDULES
        if (group := Group(experiment, statistic, response, schedule)) in have
    ]


def require(number: float | str | None, name: str) -> float:
    """A resolved number of the configuration.

    Raises:
        RunFolderError: if it was never resolved.
    """
    if isinstance(number, str) or number is None:
        raise RunFolderError(f"config.yaml holds {name}: {number}, not a number; run it to the end first")
    return float(number)
