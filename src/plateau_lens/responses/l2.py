"""L2: how far the residual stream at a read site has moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plateau_lens.responses.registry import Response, response

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@response("l2")
class L2(Response):
    """``|F(X[n]) - F(X[0])|`` at the read site, residual-stream units, >= 0; summed in float64.

    Source: arXiv 2409.15019v2, section 4.1; there at ``blocks.11.hook_resid_post`` of GPT-2.
    """

    symbol = "L2"
    title = "L2 distance at the read site"
    axis = "L2 at read site (units)"
    unit = "residual-stream units"
    place = 10
    reads = "state"
    least_slope = "auto"

    site: str = "auto"
    """Read site of this response; auto: the run's ``read_site``."""

    @property
    def read_site(self) -> str:
        """See `site`."""
        return self.site

    def resolve(self, read_site: str) -> L2:
        """With the name of its site."""
        return self.model_copy(update={"site": read_site})

    def of(self, seen: Float[Tensor, "pair step d_model"]) -> Float[Tensor, "pair step"]:
        """Distance of each state to step 0's."""
        import torch

        from plateau_lens._devices import double

        return torch.linalg.vector_norm(double(seen - seen[:, :1]), dim=-1)
