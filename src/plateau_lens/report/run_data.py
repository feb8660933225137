"""What the report reads of a run folder, in the order in which everything is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from plateau_lens._errors import RunFolderError
from plateau_lens.experiments.config import RunConfig
from plateau_lens.experiments.store import RunFolder
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


class Curves(NamedTuple):
    """The curves of one kind of one experiment along one schedule."""

    kind: str
    response: Float[np.ndarray, "pair step"]
    last: Int[np.ndarray, " pair"]
    """Last usable step of each curve."""
    prompt: Int[np.ndarray, " pair"]


@dataclass(frozen=True)
class RunData:
    """A finished run, loaded once and shared by tables, figures and page."""

    folder: RunFolder
    config: RunConfig
    kinds: tuple[str, ...]
    """Every kind's label: the paper's in the paper's order, then the config's."""
    reference: str | None
    """The label of the model-generated kind, if the run has one."""
    samples: dict[Group, tuple[Sample, ...]]
    """Step values, groups in the order in which they are shown, kinds as in ``kinds``."""

    def label_of(self, kind: str) -> str | None:
        """The label of a kind: its own name, else the first label that the configuration says is one."""
        return _label_of(kind, self.config, self.kinds)

    @cached_property
    def _curves(self) -> pl.DataFrame:
        return self.folder.curves()

    def curves(self, experiment: Experiment, schedule: Schedule, response: Response) -> tuple[Curves, ...]:
        """The curves of every kind that has them, kinds as in ``kinds``; empty if there are none.

        Raises:
            RunFolderError: if the folder's curves are gone.
        """
        if response not in self._curves.columns:
            return ()
        found = self._curves.filter(
            (pl.col("experiment") == experiment)
            & (pl.col("schedule") == schedule)
            & pl.col(response).is_not_null()
        )
        return tuple(
            Curves(
                kind,
                rows[response].list.to_array(self.config.n_steps + 1).to_numpy().astype(np.float64),
                rows["last_step"].to_numpy(),
                rows["prompt"].to_numpy(),
            )
            for kind in self.kinds
            if (rows := found.filter(pl.col("kind") == kind)).height
        )

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
    steps = step_values(folder, config)
    measured = steps["kind"].unique().to_list()
    shown = config.example_kinds if "examples" in config.experiments else ()
    order = [*PAPER_ORDER, *config.kinds]
    kinds = _ordered([*measured, *shown], order)
    return RunData(
        folder=folder,
        config=config,
        kinds=kinds,
        reference=_label_of(REFERENCE, config, _ordered(measured, order)),
        samples=_samples(steps, kinds),
    )


def step_values(folder: RunFolder, config: RunConfig) -> pl.DataFrame:
    """Step values of every experiment but the examples, which has none; rows as in ``steps.parquet``.

    A curve with no slope steep enough for an MS step has a NaN there, and is censored: its blow-up lies behind its
    last usable step, which is what stands for the value here. It stays NaN if the folder's curves are gone.
    """
    if set(config.experiments) <= {"examples"}:
        names = ("experiment", "kind", "schedule", "response", "statistic")
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    steps = folder.steps().filter(pl.col("experiment") != "examples")
    unseen = (pl.col("statistic") == "ms") & pl.col("censored") & pl.col("value").is_nan()
    if steps.filter(unseen).is_empty():
        return steps
    where = ["experiment", "kind", "schedule", "pair"]
    try:
        last = folder.scan_curves().select(*where, pl.col("last_step").cast(pl.Float64)).collect()
    except (RunFolderError, OSError):
        return steps
    joined = steps.join(last, on=where, how="left", maintain_order="left")
    bound = pl.col("last_step").fill_null(float("nan"))
    return joined.with_columns(pl.when(unseen).then(bound).otherwise("value").alias("value")).drop(
        "last_step"
    )


def _ordered(found: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    rank = {label: place for place, label in reversed(list(enumerate(order)))}
    return tuple(sorted(set(found), key=lambda label: (rank.get(label, len(order)), label)))


def _label_of(kind: str, config: RunConfig, kinds: Sequence[str]) -> str | None:
    renamed = (label for label in kinds if config.kinds.get(label, {}).get("kind") == kind)
    return kind if kind in kinds else next(renamed, None)


def _samples(steps: pl.DataFrame, kinds: Sequence[str]) -> dict[Group, tuple[Sample, ...]]:
    parts = steps.partition_by("experiment", "statistic", "response", "schedule", "kind", as_dict=True)
    return {
        group: tuple(
            Sample(kind, part["value"].cast(pl.Float64).to_numpy(), part["censored"].to_numpy())
            for kind in kinds
            if (part := parts.get((*group, kind))) is not None
        )
        for group in _groups()
        if any((*group, kind) in parts for kind in kinds)
    }


def _groups() -> Iterator[Group]:
    for experiment in EXPERIMENTS:
        for statistic in STATISTICS:
            for response in RESPONSES:
                for schedule in SCHEDULES:
                    yield Group(experiment, statistic, response, schedule)


def require(number: float | str | None, name: str) -> float:
    """A resolved number of the configuration.

    Raises:
        RunFolderError: if it was never resolved.
    """
    if isinstance(number, str) or number is None:
        raise RunFolderError(f"config.yaml holds {name}: {number}, not a number; run it to the end first")
    return float(number)
