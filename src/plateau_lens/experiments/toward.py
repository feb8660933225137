"""Toward: model-generated bases, pushed toward targets of each kind (Figures 2, A.1, B.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plateau_lens.experiments.registry import EXPERIMENTS, Drawn, Experiment, Paths, experiment

if TYPE_CHECKING:
    from plateau_lens.runs.config import RunConfig


@experiment("toward")
class Toward(Experiment):
    """From each pair's own activation, toward an activation of each kind. arXiv 2409.15019v2, section 4.1."""

    title = "Toward"
    sentence = "from a model-generated base, toward a target of each kind"
    place = 10

    def whole(self, config: RunConfig) -> tuple[str, ...]:
        """Kinds of which Figure 1 shows single paths: beside them it has the mean of all paths, at every step."""
        every = EXPERIMENTS.make(config.experiments, of="experiments").values()
        return tuple(kind for each in every if not each.summarised for kind in each.labels(config))

    def paths(self, drawn: Drawn) -> Iterator[Paths]:
        """One set of paths a kind."""
        for kind, target in drawn.activations.items():
            yield Paths(kind, drawn.block.base, target, kept={f"target.{drawn.label}.{kind}": target})
