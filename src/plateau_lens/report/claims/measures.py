"""What a claim may look at: the values and paths of a run's kinds, with the resamples of its pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Float

from plateau_lens._errors import RunFolderError
from plateau_lens.numerics.bootstrap import PairBootstrap
from plateau_lens.numerics.survival import Survival
from plateau_lens.report.estimates import group_survivals, pair_bootstrap
from plateau_lens.report.run_data import Group, KindCurves, RunData

T = TypeVar("T")
GROUPS_HELD = 4
"""Groups whose survival functions are held at a time: what most claims compare with one another."""


class NotMeasuredError(Exception):
    """A run has not what a claim is about.

    Args:
        lacking: what, each as it stands behind "the run has no".
    """

    def __init__(self, *lacking: str):
        self.lacking = lacking
        super().__init__(f"the run has no {' and no '.join(lacking)}")


@dataclass(frozen=True)
class KindOf:
    """A kind of activation, whatever label a run has it under."""

    name: str
    code: Literal["base", "other"] = "base"
    """Whose code it is made of, if it is made of one."""

    def __str__(self) -> str:
        return self.name if self.code == "base" else f"{self.name} with code: {self.code}"


class Measures:
    """The numbers of one run, each computed once however many claims are about it.

    Args:
        data: the run.
    """

    def __init__(self, data: RunData):
        self.data = data
        self.survivals = lru_cache(maxsize=GROUPS_HELD)(self._survivals)
        self.distances = lru_cache(maxsize=GROUPS_HELD)(self._distances)

    def resamples(self, n_pairs: int) -> PairBootstrap:
        """The resamples of the run's pairs."""
        return pair_bootstrap(n_pairs, self.data.config.seed)

    def label_of(self, kind: KindOf) -> str:
        """The label of a kind in this run: its own name if that is one, else the first.

        Raises:
            NotMeasuredError: if the run has none.
        """
        kinds = self.data.config.kinds
        labels = [
            label
            for label in dict.fromkeys((kind.name, *kinds))
            if label in self.data.kinds
            and kinds.get(label, {}).get("kind", label) == kind.name
            and kinds.get(label, {}).get("code", "base") == kind.code
            # Not what is moved to another norm or given other values.
            and kinds.get(label, {}).get("norm", "own") == "own"
            and kinds.get(label, {}).get("values", "kept") == "kept"
        ]
        if not labels:
            raise NotMeasuredError(str(kind))
        return labels[0]

    def called(self, kind: KindOf) -> str:
        """What a reader of this run calls a kind: its label, or else its name."""
        try:
            return self.label_of(kind)
        except NotMeasuredError:
            return str(kind)

    def survival(self, group: Group, kind: KindOf) -> Survival:
        """The values of one kind in one group.

        Raises:
            NotMeasuredError: if the run has no such kind, or no such values of it.
        """
        label = self.label_of(kind)
        if group not in self.data.samples:
            raise NotMeasuredError(f"{self.data.called(group)}, of experiment {group.experiment!r}")
        found = self.survivals(group)
        if label not in found:
            raise NotMeasuredError(f"{label} in experiment {group.experiment!r}")
        return found[label]

    def distance(self, experiment: str, kind: KindOf) -> Float[np.ndarray, " pair"]:
        """From base to target, residual-stream units, pair by pair.

        Raises:
            NotMeasuredError: if the run has no such kind or experiment, or its curves are gone.
        """
        label, found = self.label_of(kind), self.distances(experiment)
        if label not in found:
            raise NotMeasuredError(f"curves of {label} in experiment {experiment!r}")
        return found[label]

    def curves(self, experiment: str, response: str, schedule: str, kind: KindOf) -> KindCurves:
        """The curves of one kind.

        Raises:
            NotMeasuredError: if the run has none, or they are gone.
        """
        label = self.label_of(kind)
        for found in self._whole(self.data.curves(experiment, schedule, response)):
            if found.kind == label:
                return found
        raise NotMeasuredError(
            f"{self.data.response_called(response)} curves of {label} in experiment {experiment!r}, {schedule} schedule"
        )

    def _survivals(self, group: Group) -> dict[str, Survival]:
        return group_survivals(self.data, group)

    def _distances(self, experiment: str) -> dict[str, Float[np.ndarray, " pair"]]:
        columns = ("kind", "pair", "distance")
        blocks = [
            # A pair's distance stands beside each of its schedules.
            block.filter(pl.col("experiment") == experiment)
            .select(columns)
            .unique(("kind", "pair"))
            .collect()
            for block in self._whole(self.data.folder.curve_blocks())
        ]
        if not blocks:  # of a run whose experiments lay no paths
            return {}
        parts = pl.concat(blocks).sort("pair").partition_by("kind", as_dict=True)
        return {str(kind): part["distance"].cast(pl.Float64).to_numpy() for (kind,), part in parts.items()}

    @staticmethod
    def _whole(blocks: Iterator[T]) -> Iterator[T]:
        try:
            yield from blocks
        except RunFolderError as error:
            raise NotMeasuredError(f"curves any more ({error})") from None
