"""The registry of activation kinds, and what a kind is given to draw from.

A new kind is a function of a `PairBlock`::

    from plateau_lens import kind

    @kind("halfway")
    def halfway(block):
        "Halfway between the base and another prompt's activation."
        return (block.base + block.other) / 2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, ValidationError

from plateau_lens._errors import ConfigError, nearest
from plateau_lens.activations.population import Population, rng

if TYPE_CHECKING:
    import torch

    from plateau_lens.saes.dictionary import Dictionary
    from plateau_lens.saes.firing import Firing

BUILT_IN = (
    "model_generated",
    "random",
    "synthetic_baseline",
    "synthetic_structured",
    "sae_reconstruction",
    "latent_swap",
    "single_latent",
    "isotropic",
    "shuffled_decoder",
    "random_dictionary",
    "covariance_mixture",
)
"""Modules of this folder that register the kinds that come with the library."""


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
    """Measured mean decoder cosine between the top latents of two model-generated activations, or NaN."""
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


class Kind(BaseModel):
    """One way to make activations. Fields are its parameters; `draw` makes one activation a pair."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    needs_sae: ClassVar[bool] = False

    def draw(self, block: PairBlock, purpose: str) -> Float[torch.Tensor, "pair d_model"]:
        """Activations of this kind.

        Args:
            block: the pairs.
            purpose: what to seed randomness by, unique to this kind's label in the run.
        """
        raise NotImplementedError


_REGISTRY: dict[str, type[Kind]] = {}
_K = TypeVar("_K", bound=type[Kind])
_F = TypeVar("_F", bound=Callable[[PairBlock], Any])


class _Register:
    def __init__(self, name: str):
        self.name = name

    @overload
    def __call__(self, made: _K) -> _K: ...
    @overload
    def __call__(self, made: _F) -> _F: ...
    def __call__(self, made: Any) -> Any:
        if isinstance(made, type) and issubclass(made, Kind):
            _REGISTRY[self.name] = made
        else:
            _REGISTRY[self.name] = _from_function(made)
        return made


def kind(name: str) -> _Register:
    """Register a `Kind` subclass, or a function of a `PairBlock`, under ``name``. The last one stands."""
    return _Register(name)


def _from_function(function: Callable[[PairBlock], Any]) -> type[Kind]:
    def draw(self: Kind, block: PairBlock, purpose: str) -> Any:
        return function(block)

    return type(
        function.__name__, (Kind,), {"draw": draw, "__doc__": function.__doc__, "__module__": __name__}
    )


def kinds() -> Mapping[str, type[Kind]]:
    """All registered kinds by name."""
    for module in BUILT_IN:
        import_module(f"plateau_lens.activations.{module}")
    return dict(_REGISTRY)


def make_kinds(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Kind]:
    """Build the kinds of a run from its configuration: label to parameters.

    Raises:
        ConfigError: naming every unknown kind or parameter, with the nearest legal one.
    """
    known = kinds()
    made: dict[str, Kind] = {}
    wrong: list[str] = []
    for label, parameters in table.items():
        name = parameters.get("kind", label)
        if not isinstance(name, str) or name not in known:
            wrong.append(
                f"unknown kind {name!r}{nearest(str(name), known)} (legal: {', '.join(sorted(known))})"
            )
            continue
        given = {key: value for key, value in parameters.items() if key != "kind"}
        try:
            made[label] = known[name].model_validate(given)
        except ValidationError as error:
            for item in error.errors():
                key = ".".join(map(str, item["loc"]))
                legal = list(known[name].model_fields)
                hint = nearest(key, legal) if item["type"] == "extra_forbidden" else ""
                wrong.append(
                    f"kinds.{label}.{key}: {item['msg']}{hint} (parameters: {', '.join(legal) or 'none'})"
                )
    if wrong:
        raise ConfigError("the activation kinds cannot be made:\n  " + "\n  ".join(wrong))
    return made
