"""The registry of activation kinds, and what a kind is given to draw from.

A new kind is a function of a `PairBlock`::

    from plateau_lens import kind

    @kind("halfway")
    def halfway(block):
        "Halfway between the base and another prompt's activation."
        return (block.base + block.other) / 2

It stands in a file of this folder or in a plugin, and nothing else has to know of it. One with parameters is a `Kind`;
one that is made of SAE latents returns `Activations` with their codes, and is described by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from plateau_lens._errors import ConfigError
from plateau_lens._registry import Described, Registry
from plateau_lens.activations.population import Population, rng

if TYPE_CHECKING:
    import torch

    from plateau_lens.saes.dictionary import Dictionary
    from plateau_lens.saes.firing import Firing


@dataclass(frozen=True)
class PairBlock:
    """Some pairs of a run, and everything a kind may draw their activations from.

    Activations are as the site has them: mean-free where the run centres the residual stream.
    """

    pair: Int[np.ndarray, " pair"]
    """Indices of the pairs; what randomness is seeded by."""
    base: Float[torch.Tensor, "pair d_model"]
    """Model-generated activation of each pair's own prompt."""
    other: Float[torch.Tensor, "pair d_model"]
    """Model-generated activation of another prompt, drawn without replacement."""
    population: Population
    dictionary: Dictionary | None
    """The run's SAE, or None where it has none."""
    top_cosine: float
    """Measured mean cosine between two model-generated activations about the SAE's decoder bias, or NaN."""
    seed: int
    firing: Firing | None = None
    """Where the SAE's latents fire on the population, or None where the run has no SAE."""

    def rngs(self, purpose: str) -> list[np.random.Generator]:
        """One generator a pair; the same pair and purpose give the same numbers in any block."""
        return [rng(self.seed, purpose, int(index)) for index in self.pair]

    @cached_property
    def code(self) -> Float[torch.Tensor, "pair d_sae"]:
        """SAE code of the base."""
        return self.latents.encode(self.base)

    @cached_property
    def other_code(self) -> Float[torch.Tensor, "pair d_sae"]:
        """SAE code of the other prompt's activation."""
        return self.latents.encode(self.other)

    @cached_property
    def ties(self) -> Int[torch.Tensor, " d_sae"]:
        """A random place for each latent, the same all over a run: the order of latents that fire equally often."""
        import torch

        order = rng(self.seed, "frequency-ties", 0).permutation(self.latents.d_sae)
        return torch.from_numpy(order).to(self.base.device)

    @property
    def centre(self) -> Float[torch.Tensor, " d_model"]:
        """What an activation is rescaled about: the SAE's decoder bias, or without an SAE the population's mean."""
        return self.population.mean if self.dictionary is None else self.dictionary.bias

    @property
    def latents(self) -> Dictionary:
        """The dictionary, or an error that says a run needs one."""
        if self.dictionary is None:
            raise ConfigError(
                "this activation kind is made of SAE latents, but the run has no sae; set sae.source"
            )
        return self.dictionary

    @property
    def fired(self) -> Firing:
        """Where the latents fire on the population, or an error that says a run needs an SAE."""
        if self.firing is None:
            raise ConfigError(
                "this activation kind looks at which SAE latents fire together, but the block has no firing; "
                "pass Firing(dictionary, population.activations), and in a run set sae.source"
            )
        return self.firing


class Activations(NamedTuple):
    """What a kind makes: one activation a pair, and the codes they stand for."""

    activation: Float[torch.Tensor, "pair d_model"]
    code: Float[torch.Tensor, "pair d_sae"] | None = None
    """SAE codes; None where the activations have none, and then nothing is said of their latents."""


class Kind(Described):
    """One way to make activations. Fields are its parameters; `draw` makes one activation a pair."""

    needs_sae: ClassVar[bool] = False

    norm: Literal["own", "base", "other"] = "own"
    """``own``: as it is drawn; ``base`` or ``other``: rescaled about the SAE's decoder bias to the norm of the pair's
    own activation, or of the other prompt's. Without an SAE about the population's mean."""

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"] | Activations:
        """Activations of this kind, with their codes or without.

        Args:
            block: the pairs.
            purpose: what to seed randomness by, unique to this kind's label in the run.
        """
        raise NotImplementedError

    def make(self, block: PairBlock, purpose: str) -> Activations:
        """What `draw` returns, a plain tensor as activations without codes."""
        drawn = self.draw(block, purpose)
        return drawn if isinstance(drawn, Activations) else Activations(drawn)

    def at_site(self, made: Activations, block: PairBlock, *, centre: bool) -> Activations:
        """What `make` made, as the site has it: mean-free if the run centres, and of the norm that `norm` asks for.

        A code is multiplied by what the activation is, so that decoding it still gives the activation. NaN where
        no rescaling has the norm (see `plateau_lens.activations.norms.with_norm`).
        """
        from plateau_lens.activations.norms import with_norm
        from plateau_lens.models.centring import centred

        activation = centred(made.activation.to(block.base), centre)
        if self.norm == "own":
            return made._replace(activation=activation)
        real = block.base if self.norm == "base" else block.other
        found = with_norm(activation, real.double().norm(dim=-1), centred(block.centre, centre))
        code = None if made.code is None else made.code * found.scale[:, None].to(made.code)
        return Activations(found.activation, code)


KINDS: Registry[Kind] = Registry("kind", "plateau_lens.activations")
_M = TypeVar("_M", bound="type[Kind] | Callable[[PairBlock], Any]")


def kind(name: str) -> Callable[[_M], _M]:
    """Register a `Kind` subclass, or a function of a `PairBlock`, under ``name``: a decorator. The last one stands."""

    def register(made: _M) -> _M:
        KINDS.add(name)(_as_class(made))
        return made

    return register


def _as_class(made: Any) -> type[Kind]:
    if isinstance(made, type) and issubclass(made, Kind):
        return made

    def draw(self: Kind, block: PairBlock, purpose: str) -> Any:
        return made(block)

    return type(made.__name__, (Kind,), {"draw": draw, "__doc__": made.__doc__, "__module__": __name__})


def kinds() -> Mapping[str, type[Kind]]:
    """All registered kinds by name."""
    return KINDS.all()


def make_kinds(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Kind]:
    """Build the kinds of a run from its configuration: label to parameters.

    Raises:
        ConfigError: naming every unknown kind or parameter, with the nearest legal one.
    """
    return KINDS.make(table, of="kinds")
