"""Own activation: what the model computed for the pair's own prompt."""

from __future__ import annotations

from plateau_lens.activations.registry import Activations, Kind, PairBlock, kind


@kind("own-activation")
class OwnActivation(Kind):
    """The pair's own activation: a model-generated base that stays in its own prompt.

    For `from`, where `model-generated` is another prompt's activation put into the pair's prompt: what the two differ
    in is what the transplant makes. Toward it there is no path, since it is the base, and every number is undefined.
    """

    def draw(self, block: PairBlock, purpose: str) -> Activations:
        """The bases; the codes are the SAE's, where there is one."""
        return Activations(block.base, None if block.dictionary is None else block.code)
