"""Each step as a whole prompt of its own, through the whole model: what parallel steps are held against."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plateau_lens.models import interventions
from plateau_lens.models.memory import in_pieces
from plateau_lens.models.parallel import ParallelSteps
from plateau_lens.models.proof import Behind
from plateau_lens.models.sites import Site


def last_site(steps: ParallelSteps) -> Site:
    """Behind the last block: whatever a read site shows on the way there is part of that."""
    return Site(len(steps.blocks) - 1, "hook_resid_post")


@dataclass(frozen=True)
class Alone:
    """Prompts, a few points of each, and what the model gives for each of these points alone."""

    tokens: Int[Tensor, "pair pos"]
    points: Float[Tensor, "pair step d_model"]
    behind: Behind

    @classmethod
    def of(
        cls, steps: ParallelSteps, tokens: Int[Tensor, "pair pos"], points: Float[Tensor, "pair step d_model"]
    ) -> Alone:
        """One pass of one prompt for every point.

        Args:
            steps: of the model; of how they are driven, only how products are computed is used.
            tokens: the prompts.
            points: what the site's last token is set to.
        """
        n, last = points.shape[1], last_site(steps)
        prompts, pushed = tokens.repeat_interleave(n, dim=0), points.flatten(0, 1).to(steps.products.dtype)
        takes = inspect.signature(steps.model.forward).parameters
        arguments = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

        def run(rows: slice) -> Behind:
            with (
                steps.stream.replaced(steps.site, pushed[rows], position=-1) as pushing,
                interventions.read_output(steps.blocks[last.block], position=-1) as reading,
            ):
                logits = steps.whole(prompts[rows], by=steps.model, **arguments).logits[:, -1]
            pushing.require(f"pushing at {steps.site}")
            return Behind(reading.required(f"reading {last}"), logits)

        parts = [*in_pieces(len(prompts), 1, run)]
        behind = Behind(*(torch.cat(each).unflatten(0, (-1, n)) for each in zip(*parts, strict=True)))
        return cls(tokens, points, behind)
