"""From: bases of each kind, put into a real prompt and pushed toward random targets (Figure 3)."""

from __future__ import annotations

from collections.abc import Iterator

from plateau_lens.experiments.registry import Drawn, Experiment, Paths, experiment


@experiment("from")
class FromKinds(Experiment):
    """From an activation of each kind, toward a fresh random activation, the same for every kind of a pair.

    Distances are to the base's own read-out. arXiv 2409.15019v2, section 4.4.
    """

    title = "From"
    sentence = "from a base of each kind put into a real prompt, toward a fresh random activation"
    place = 20
    varies = "base"

    def paths(self, drawn: Drawn) -> Iterator[Paths]:
        """One set of paths a kind."""
        fresh = drawn.block.population.gaussian(drawn.block.rngs("from-target"))
        for kind, base in drawn.activations.items():
            kept = {f"target.{drawn.label}": fresh, f"base.{drawn.label}.{kind}": base}
            yield Paths(kind, base, fresh, kept=kept)
