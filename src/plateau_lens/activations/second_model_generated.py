"""Second model-generated: an independent second draw of model-generated activations, the ceiling of every scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from plateau_lens._errors import ConfigError
from plateau_lens.activations.registry import Activations, Kind, PairBlock, kind

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float


@kind("second-model-generated")
class SecondModelGenerated(Kind):
    """An activation of the population, uniformly drawn, which is neither the pair's own nor its model-generated one.

    Nothing but chance sets it apart from `model-generated`: how far it is from it is how near any kind could come in
    a run of this size. Pairs are drawn one by one, so that two of them may have the same one.
    """

    def draw(self, block: PairBlock, purpose: str) -> Activations:
        """The draws, with the SAE's codes where there is one.

        Raises:
            ConfigError: if the population has no third activation.
        """
        drawn = torch.stack(
            [_another(block, row, generator) for row, generator in enumerate(block.rngs(purpose))]
        )
        return Activations(drawn, None if block.dictionary is None else block.dictionary.encode(drawn))


def _another(block: PairBlock, row: int, generator: np.random.Generator) -> Float[torch.Tensor, " d_model"]:
    everyone = block.population.activations
    for place in generator.permutation(len(everyone)).tolist():
        found = everyone[place]
        if not torch.equal(found, block.base[row]) and not torch.equal(found, block.other[row]):
            return found
    raise ConfigError(
        "second-model-generated draws a third activation for each pair, and the population has no more than two; set "
        "prompts.population"
    )
