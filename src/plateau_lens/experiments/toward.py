"""Toward: model-generated bases, pushed toward targets of each kind (Figures 2, A.1, B.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from plateau_lens.experiments.registry import Drawn, Experiment, Paths, experiment

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@experiment("toward")
class Toward(Experiment):
    """From each pair's own activation, toward an activation of each kind. arXiv 2409.15019v2, section 4.1."""

    title = "Toward"
    sentence = "from a model-generated base, toward a target of each kind"
    place = 10

    distance: Literal["own", "model-generated"] = "own"
    """``own``: targets as they are drawn; ``model-generated``: moved along their direction from the base until they
    are as far from it as the pair's model-generated target, so that no kind is nearer than another."""

    def paths(self, drawn: Drawn) -> Iterator[Paths]:
        """One set of paths a kind."""
        for kind, own in drawn.activations.items():
            target = own if self.distance == "own" else _as_far(drawn.block.base, own, drawn.block.other)
            yield Paths(kind, drawn.block.base, target, kept={f"target.{drawn.label}.{kind}": target})


def _as_far(
    base: Float[Tensor, "pair d_model"],
    target: Float[Tensor, "pair d_model"],
    other: Float[Tensor, "pair d_model"],
) -> Float[Tensor, "pair d_model"]:
    """``A + |O - A| (T - A) / |T - A|``, in float64; NaN where a target is its base, which has no direction."""
    wide = base.double()
    apart, wanted = target.double() - wide, (other.double() - wide).norm(dim=-1)
    return (wide + (wanted / apart.norm(dim=-1))[:, None] * apart).to(target)
