"""Model-generated: the activation that the model computed for another prompt."""

from __future__ import annotations

from plateau_lens.activations.registry import Activations, Kind, PairBlock, kind


@kind("model-generated")
class ModelGenerated(Kind):
    """Another prompt's activation, drawn without replacement, never the pair's own."""

    def draw(self, block: PairBlock, purpose: str) -> Activations:
        """See `plateau_lens.activations.population.Population.others`; the codes are the SAE's, where there is one."""
        return Activations(block.other, None if block.dictionary is None else block.other_code)
