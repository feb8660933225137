"""Residual centring: the mean-free residual stream that the paper's SAE and distances live in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def resolve_centre(model: PreTrainedModel, centre: bool | str) -> bool:
    """Whether to subtract the d_model mean at the site and the read site.

    ``auto`` centres the models whose every norm is a LayerNorm: those subtract that mean themselves before each
    use, and so compute the same from a mean-free stream. Explicit ``True`` and ``False`` are taken as they are
    here; `SuffixEngine` tries the model and overrules ``auto``, or refuses ``True``, where that is not so.
    """
    if isinstance(centre, bool):
        return centre
    norms = [
        type(module).__name__
        for module in model.modules()
        if "norm" in type(module).__name__.lower() and not list(module.children())
    ]
    return bool(norms) and all("LayerNorm" in name and "RMS" not in name for name in norms)


def centred(activations: Float[Tensor, "*batch d_model"], apply: bool) -> Float[Tensor, "*batch d_model"]:
    """Activations less their mean over d_model if ``apply``, else as they are."""
    return activations - activations.mean(dim=-1, keepdim=True) if apply else activations
