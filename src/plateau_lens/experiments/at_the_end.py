"""At the end: pushes behind the last block, where only the final norm and the unembedding are left (appendix C)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from plateau_lens.experiments.registry import experiment
from plateau_lens.experiments.toward import Toward
from plateau_lens.glossary import Schedule

if TYPE_CHECKING:
    from plateau_lens.responses.registry import Response


@experiment("at-end")
class AtTheEnd(Toward):
    """From each pair's own activation at the last block's output, toward an activation of each kind there.

    A control of responses of the output: what of their shape is there with no block between push and response. The
    model-generated target comes from the same other prompt as that of ``toward``, so that pairs can be compared one by
    one. Relative schedule: activations grow along the stream, so that a step size in units of the run's site would say
    nothing here. arXiv 2409.15019v2, appendix C.
    """

    title = "At the end"
    sentence = "from a model-generated base, toward a target of each kind, pushed at the last block's output"
    place = 25
    usual_kinds = ("model-generated", "random")

    schedules: Annotated[tuple[Schedule, ...], Field(min_length=1)] | None = ("relative",)
    site: str | None = "blocks.last.hook_resid_post"
    fitted_to: Annotated[int, Field(ge=2)] | None = 2000

    def reads(self, response: Response) -> bool:
        """Those of the output: there is no stream behind it to read."""
        return response.reads != "state"
