"""Codes: what real and synthetic SAE codes are like, latent by latent (Figures E.1, E.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from plateau_lens.experiments.registry import Codes, Drawn, Experiment, PairSet, experiment

if TYPE_CHECKING:
    from plateau_lens.runs.config import RunConfig

_PROMPTS_A_UNIT = 50
"""The codes of so many prompts are held at once, kind by kind."""


@experiment("codes")
class CodesAlone(Experiment):
    """The codes of many prompts' own activations, and of every kind that makes codes; nothing is pushed.

    Real codes are those of the prompts' own activations, each prompt's once. A kind whose codes are the encoder's of
    another prompt's activation, as ``model-generated`` and ``sae-reconstruction``, would show the same codes again in
    another order: it is left out, as is a kind without codes. arXiv 2409.15019v2, appendix E.
    """

    title = "Codes"
    sentence = (
        "the codes of many prompts' own activations and of every kind that makes codes; nothing is pushed"
    )
    place = 40
    summarised = False
    lays_paths = False
    needs_sae = True

    prompts: int = Field(default=2000, ge=1)
    """So many of the run's population, or all of a smaller one."""

    def pairs(self, config: RunConfig, first: int) -> Iterator[PairSet]:
        """One pair a prompt, from the first prompt on."""
        prompts = min(self.prompts, config.prompts.population)
        for start in range(0, prompts, _PROMPTS_A_UNIT):
            prompt = tuple(range(start, min(start + _PROMPTS_A_UNIT, prompts)))
            yield PairSet(tuple(first + each for each in prompt), prompt, (1,) * len(prompt))

    def codes(self, drawn: Drawn) -> Iterator[Codes]:
        """The prompts' own codes, and those that are made."""
        block = drawn.block
        yield Codes(None, block.code, read_off=block.base)
        for kind, code in drawn.codes.items():
            if code is not block.code and code is not block.other_code:
                yield Codes(kind, code)
