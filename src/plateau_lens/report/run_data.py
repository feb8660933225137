"""What the report reads of a run folder, in the order in which everything is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from plateau_lens._errors import ConfigError, RunFolderError
from plateau_lens._registry import Described, Registry
from plateau_lens.experiments.registry import EXPERIMENTS, Experiment
from plateau_lens.glossary import SCHEDULES
from plateau_lens.responses.registry import RESPONSES, Response
from plateau_lens.runs.config import RunConfig
from plateau_lens.runs.folder import RunFolder
from plateau_lens.steps.registry import STATISTICS, Statistic

REFERENCE = "model-generated"
"""The kind that every other one is measured against."""

PAPER_ORDER = (
    *(REFERENCE, "random", "synthetic-random", "synthetic-baseline"),
    *("structured-without-cosine", "synthetic-structured", "sae-reconstruction"),
)

D = TypeVar("D", bound=Described)


class Group(NamedTuple):
    """One statistic of one response along one schedule of one experiment, by label: a table, or half a figure."""

    experiment: str
    statistic: str
    response: str
    schedule: str


class Sample(NamedTuple):
    """The values of one kind in one group."""

    kind: str
    value: Float[np.ndarray, " pair"]
    """In the statistic's unit; NaN where undefined, where censored the last that was looked at."""
    censored: Bool[np.ndarray, " pair"]
    last: Int[np.ndarray, " pair"] | None = None
    """Last usable step of each path; None where it is not on file."""

    @property
    def seen(self) -> Float[np.ndarray, " k"]:
        """The values of the events that were seen: defined and not censored."""
        return self.value[~self.censored & ~np.isnan(self.value)]


class Samples(Mapping[Group, tuple[Sample, ...]]):
    """Values of a run by group, groups in the order in which they are shown, kinds as in ``kinds``.

    A group is read when it is asked for, and not kept: a large run's values are millions of rows.
    """

    def __init__(self, steps: pl.LazyFrame, kinds: Sequence[str], groups: Sequence[Group]):
        self._steps = steps
        self._kinds = kinds
        self._groups = dict.fromkeys(groups)
        self._has_last = "last_step" in steps.collect_schema()

    def __getitem__(self, group: Group) -> tuple[Sample, ...]:
        if group not in self._groups:
            raise KeyError(group)
        wanted = [pl.col(column) == value for column, value in group._asdict().items()]
        columns = ["kind", "pair", "value", "censored", *(["last_step"] if self._has_last else [])]
        rows = self._steps.filter(*wanted).select(columns).collect()
        parts = rows.sort("pair", maintain_order=True).partition_by("kind", as_dict=True)
        return tuple(
            Sample(
                kind,
                part["value"].cast(pl.Float64).to_numpy(),
                part["censored"].to_numpy(),
                part["last_step"].to_numpy() if self._has_last else None,
            )
            for kind in self._kinds
            if (part := parts.get((kind,))) is not None
        )

    def __contains__(self, group: object) -> bool:
        return group in self._groups

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


class KindCurves(NamedTuple):
    """The curves of one kind of one experiment along one schedule."""

    kind: str
    response: Float[np.ndarray, "pair step"]
    last: Int[np.ndarray, " pair"]
    """Last usable step of each curve."""
    prompt: Int[np.ndarray, " pair"]


class MeanCurve(NamedTuple):
    """The mean response of one kind at each step."""

    kind: str
    n: int
    """Pairs it is over: all whose curve is finite."""
    response: Float[np.ndarray, " step"]


@dataclass(frozen=True)
class RunData:
    """A finished run, shared by all sections; values and curves are read as they are asked for."""

    folder: RunFolder
    config: RunConfig
    experiments: dict[str, Experiment]
    """By label, in the order in which they are shown, as are the next two."""
    statistics: dict[str, Statistic]
    responses: dict[str, Response]
    kinds: tuple[str, ...]
    """Every kind's label: the paper's in the paper's order, then the config's."""
    reference: str | None
    """The label of the model-generated kind, if the run has one."""
    samples: Mapping[Group, tuple[Sample, ...]]
    """Values, groups in the order in which they are shown, kinds as in ``kinds``."""

    def label_of(self, kind: str) -> str | None:
        """The label of a kind: its own name, else the first label that the configuration says is one."""
        return _label_of(kind, self.config, self.kinds)

    def statistic_called(self, label: str) -> str:
        """What a reader calls a statistic: its symbol, or the label that a run gave it."""
        return _called(label, self.statistics.get(label), STATISTICS)

    def response_called(self, label: str) -> str:
        """What a reader calls a response: its symbol, or the label that a run gave it."""
        return _called(label, self.responses.get(label), RESPONSES)

    def called(self, group: Group) -> str:
        """What a reader calls a group, e.g. ``MS step of L2, absolute schedule``."""
        made = self.statistics.get(group.statistic)
        step = " step" if made is None or made.unit == "step" else ""
        return (
            f"{self.statistic_called(group.statistic)}{step} of {self.response_called(group.response)}, "
            f"{group.schedule} schedule"
        )

    def lacks(self, group: Group) -> str:
        """What is said where the run has no such group."""
        return f"the run has no {self.called(group)}, of experiment {group.experiment!r}"

    def end_of(self, statistic: str) -> int | None:
        """Where looking stops, in steps; None for a statistic in another unit."""
        return self.config.n_steps if self.statistics[statistic].unit == "step" else None

    def units_of(self, statistic: str) -> str:
        """What a statistic's values are counted in, as tables say it: ``steps``, or its unit."""
        unit = self.statistics[statistic].unit
        return "steps" if unit == "step" else unit

    def curves(self, experiment: str, schedule: str, response: str) -> Iterator[KindCurves]:
        """The curves of every kind that has them, kinds as in ``kinds``, one kind in memory at a time.

        Raises:
            RunFolderError: if the folder's curves are gone.
        """
        made = self.experiments.get(experiment)
        read = self.responses.get(response)
        if made is None or read is None or not made.reads(read):
            return
        if schedule not in made.schedules_of(self.config):
            return
        labels = set(made.labels(self.config))
        for kind in self.kinds:
            if kind in labels:
                found = self._curves_of(kind, experiment, schedule, response)
                if len(found.last):
                    yield found

    def _curves_of(self, kind: str, experiment: str, schedule: str, response: str) -> KindCurves:
        blocks = list(self._blocks_of(kind, experiment, schedule, response))
        return KindCurves(
            kind,
            np.concatenate([each.response for each in blocks]),
            np.concatenate([each.last for each in blocks]),
            np.concatenate([each.prompt for each in blocks]),
        )

    def _blocks_of(self, kind: str, experiment: str, schedule: str, response: str) -> Iterator[KindCurves]:
        where = {"experiment": experiment, "kind": kind, "schedule": schedule}
        wanted = [pl.col(column) == value for column, value in where.items()]
        for block in self.folder.curve_blocks():
            rows = block.filter(*wanted).select("last_step", "prompt", response).collect()
            curves = rows[response].list.to_array(self.config.n_steps + 1).to_numpy()
            yield KindCurves(kind, curves, rows["last_step"].to_numpy(), rows["prompt"].to_numpy())

    def mean_curve(self, kind: str, experiment: str, schedule: str, response: str) -> MeanCurve:
        """The mean over every pair at each step, some pairs in memory at a time, in float64; NaN over none.

        Points behind an absolute path's target count as any other: a mean over the paths that have not come to
        theirs would be of other pairs at each step. A curve with a point that is not finite is left out whole.

        Raises:
            RunFolderError: if the folder's curves are gone.
        """
        total, n = np.zeros(self.config.n_steps + 1), 0
        for block in self._blocks_of(kind, experiment, schedule, response):
            finite = block.response[np.isfinite(block.response).all(axis=1)]
            total += finite.sum(axis=0, dtype=np.float64)
            n += len(finite)
        return MeanCurve(kind, n, total / n if n else np.full(total.size, np.nan))

    @cached_property
    def prompts(self) -> dict[int, str]:
        """Text of every prompt by its index, each once: several example pairs share one."""
        return dict(self.folder.prompts().select("prompt", "text").iter_rows())

    def only(self, group: Group, kinds: Iterable[str]) -> tuple[Sample, ...]:
        """The samples of some kinds."""
        wanted = set(kinds)
        return tuple(sample for sample in self.samples.get(group, ()) if sample.kind in wanted)


def load(folder: RunFolder) -> RunData:
    """Read the configuration and the values; curves are read when they are first asked for.

    Raises:
        RunFolderError: if the run has not come to its step values yet, or was made with what is not known here.
    """
    config = folder.config()
    experiments = _made(EXPERIMENTS, config.experiments, folder, config)
    statistics = _made(STATISTICS, config.statistics, folder, config)
    responses = _made(RESPONSES, config.responses, folder, config)
    summarised = [label for label, each in experiments.items() if each.summarised]
    steps = _steps(folder, summarised)
    found = _of_one_pair(steps)
    for column, known in (("statistic", statistics), ("response", responses), ("experiment", experiments)):
        strange = sorted(set(found[column]) - set(known))
        if strange:
            raise RunFolderError(
                f"{folder.path / 'steps.parquet'} has the {column} {strange[0]!r}, which config.yaml does not list"
            )
    shown = [kind for each in experiments.values() if not each.summarised for kind in each.labels(config)]
    order = [*PAPER_ORDER, *config.kinds]
    measured = found["kind"].unique().to_list()
    kinds = _ordered([*measured, *shown], order)
    return RunData(
        folder=folder,
        config=config,
        experiments=experiments,
        statistics=statistics,
        responses=responses,
        kinds=kinds,
        reference=_label_of(REFERENCE, config, _ordered(measured, order)),
        samples=Samples(steps, kinds, _ordered_groups(found, experiments, statistics, responses)),
    )


def _made(
    registry: Registry[D], table: Mapping[str, Mapping[str, object]], folder: RunFolder, config: RunConfig
) -> dict[str, D]:
    """What the run lists, in the order in which it is shown."""
    known = registry.all()
    for label in table:
        name = registry.name_of(label, table)
        if name not in known:
            plugins = f", one of {', '.join(config.plugins)}" if config.plugins else ""
            raise RunFolderError(
                f"{folder.path} was made with the {registry.sort} {name!r}, which is not known here: pass --plugin "
                f"FILE, the plugin that registers it{plugins} (its code is run), or in Python import it first"
            )
    try:
        made = registry.make(table, of=f"{registry.sort}s")
    except ConfigError as error:
        raise RunFolderError(f"{folder.path / 'config.yaml'}: {error}") from None
    return dict(sorted(made.items(), key=lambda item: (item[1].place, list(table).index(item[0]))))


def _called(label: str, made: Statistic | Response | None, registry: Registry[Any]) -> str:
    """What a reader calls what stands under a label, or would, if the run had it."""
    known = registry.all().get(label) if made is None else type(made)
    return known().short if known is not None and label == known.name else label


def _steps(folder: RunFolder, experiments: Sequence[str]) -> pl.LazyFrame:
    """Values; none for a run whose experiments are only shown, which writes no such table."""
    if not experiments:
        return pl.LazyFrame(schema={**dict.fromkeys((*Group._fields, "kind"), pl.String), "pair": pl.Int64})
    return folder.scan_steps()


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


def _ordered_groups(
    found: pl.DataFrame, experiments: Iterable[str], statistics: Iterable[str], responses: Iterable[str]
) -> list[Group]:
    have = set(found.select(Group._fields).iter_rows())
    return [
        group
        for experiment in experiments
        for statistic in statistics
        for response in responses
        for schedule in SCHEDULES
        if (group := Group(experiment, statistic, response, schedule)) in have
    ]
