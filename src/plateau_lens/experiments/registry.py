"""The registry of experiments: from which bases, toward which targets, paths lead.

A new experiment is a class with one method::

    from plateau_lens import Experiment, Paths, experiment

    @experiment("home")
    class Home(Experiment):
        "From a base of each kind back to the prompt's own activation."
        title = "Home"

        def paths(self, drawn):
            for kind, activation in drawn.activations.items():
                yield Paths(kind, base=activation, target=drawn.block.base)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from plateau_lens._registry import Described, Registry
from plateau_lens.glossary import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from plateau_lens.activations.registry import PairBlock
    from plateau_lens.runs.config import RunConfig


@dataclass(frozen=True)
class PairSet:
    """Some pairs: what a work unit is made of."""

    pair: tuple[int, ...]
    """Indices of the pairs; what their randomness is seeded by."""
    prompt: tuple[int, ...]
    """Which prompt each pair's base comes from."""
    hop: tuple[int, ...]
    """Which other prompt gives the model-generated target (see `Population.others`)."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The activations of a work unit, one a pair of each kind, that an experiment may lay paths between."""

    block: PairBlock
    """The pairs: their own activations, the population, the SAE, a generator a pair."""
    activations: Mapping[str, Float[Tensor, "pair d_model"]]
    """Label of a kind to its activations, as the site has them."""


@dataclass(frozen=True, eq=False)
class Paths:
    """Paths of one kind: from bases toward targets, one a pair."""

    kind: str
    base: Float[Tensor, "pair d_model"]
    target: Float[Tensor, "pair d_model"]
    kept: Mapping[str, Float[Tensor, "pair d_model"]] = field(default_factory=dict[str, Any])
    """What of it goes into ``activations/part-*.safetensors``, by name; the pairs' own activations are there as
    ``base``."""


class Experiment(Described):
    """One experiment. Fields are its parameters; `paths` lays its paths."""

    title: ClassVar[str] = ""
    """What headings call it, e.g. ``Toward``; the name with a capital unless given."""
    sentence: ClassVar[str] = ""
    """What leads where, e.g. ``from a model-generated base, toward a target of each kind``."""
    summarised: ClassVar[bool] = True
    """Whether its curves are measured and summarised in tables; False for those that are only shown."""
    varies: ClassVar[Literal["target", "base"]] = "target"
    """Which end of a path is of a kind."""

    schedules: Annotated[tuple[Schedule, ...], Field(min_length=1)] | None = None
    """Instead of the run's own."""

    def pairs(self, config: RunConfig, first: int) -> Iterator[PairSet] | None:
        """Pairs of its own, a work unit each, their indices from ``first`` on; None: it shares the run's pairs."""
        return None

    def labels(self, config: RunConfig) -> tuple[str, ...]:
        """Labels of the kinds it needs; all of the run's, unless it says otherwise.

        Raises:
            ConfigError: if it asks for one that the run has not.
        """
        return tuple(config.kinds)

    def resolve(self, config: RunConfig) -> Experiment:
        """The same with every parameter that is ``auto`` written out."""
        return self

    def paths(self, drawn: Drawn) -> Iterator[Paths]:
        """Its paths, one set a kind."""
        raise NotImplementedError

    @property
    def heading(self) -> str:
        """`title`, or what stands for it."""
        return self.title or self.name.capitalize()

    @property
    def meaning(self) -> str:
        """`sentence`, or the docstring's first line."""
        return self.sentence or (self.__doc__ or "").strip().split("\n")[0].rstrip(".")


C = TypeVar("C", bound=type[Experiment])
EXPERIMENTS: Registry[Experiment] = Registry("experiment", "plateau_lens.experiments")


def experiment(name: str) -> Callable[[C], C]:
    """Register an `Experiment` subclass under ``name``."""
    return EXPERIMENTS.add(name)
